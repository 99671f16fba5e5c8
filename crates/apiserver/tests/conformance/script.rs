//! The requests: a text of paragraphs that begin with `## NAME`.
//!
//! The next line is `METHOD PATH`; lines that begin with `> ` are headers; the rest is the body.
//! `${NAME:/a/b}` is a value of an earlier answer, `${N*TEXT}` is a text N times.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::{Captures, Regex};
use serde_json::Value;

/// One request.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// As it is written.
    pub(crate) text: String,
}

static REPEATED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{(\d+)\*([^}]*)\}").expect("a sound pattern"));

static SAID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{([\w-]+):([^}]*)\}").expect("a sound pattern"));

/// Reads all requests.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let paragraphs = text.split("\n## ").skip(1);
    let cases: Vec<Case> = paragraphs.map(case).collect();
    let names: std::collections::BTreeSet<&str> = cases.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "every request has a name of its own");
    cases
}

fn case(paragraph: &str) -> Case {
    let lines = || paragraph.lines().filter(|line| !line.starts_with("# ") && !line.is_empty());
    let text = lines().skip(1).collect::<Vec<_>>().join("\n");
    let mut lines = lines().peekable();
    let name = lines.next().expect("a paragraph has a name").to_owned();
    let (method, path) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .unwrap_or_else(|| panic!("{name} has no request"));
    let mut headers = Vec::new();
    while let Some((key, value)) =
        lines.next_if(|line| line.starts_with("> ")).and_then(|line| line[2..].split_once(": "))
    {
        headers.push((key.to_owned(), value.to_owned()));
    }
    let body = lines.collect::<Vec<_>>().join("\n");
    let (method, path) = (method.to_owned(), path.to_owned());
    Case { name, method, path, headers, body, text }
}

/// Fills in what earlier answers said.
pub(crate) fn filled(text: &str, said: &BTreeMap<String, Value>) -> String {
    let text = REPEATED.replace_all(text, |found: &Captures<'_>| {
        found[2].repeat(found[1].parse().expect("a number"))
    });
    let filled = SAID.replace_all(&text, |found: &Captures<'_>| {
        let answer = said.get(&found[1]).unwrap_or_else(|| panic!("no answer {}", &found[1]));
        match answer.pointer(&found[2]) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "absent".to_owned(),
        }
    });
    filled.into_owned()
}
