//! Answers without what differs from run to run, and what differs between two of them.

use http::{HeaderMap, StatusCode, header, response::Parts};
use regex::Regex;
use serde_json::{Value, json};
use std::sync::LazyLock;

use crate::script::Case;

/// An answer.
pub(crate) struct Answer {
    code: StatusCode,
    media_type: String,
    warnings: Vec<String>,
    /// JSON, or a list of the lines of a watch, or a text.
    body: Value,
}

/// Texts of messages and names that differ from run to run.
static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"gen-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "gen-RANDOM"),
        // The real server shows the whole object that it could not read, with its version.
        (r#"(?s)(patch: )?Invalid value: "\{\\*"apiVersion.*"#, "${1}Invalid value: OBJECT"),
        (r"(resource version: \d+, current:) \d+", "$1 N"),
        (r"(old resource version: \d+) \(\d+\)", "$1 (N)"),
        (r"(ResourceVersion in (precondition|record)) \(\d+\)", "$1 (N)"),
    ]
    .map(|(pattern, mask)| (Regex::new(pattern).expect("a sound pattern"), mask))
    .into()
});

static AGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\d+s$").expect("a sound pattern"));

impl Answer {
    pub(crate) fn of(parts: &Parts, body: &[u8]) -> Answer {
        let text = |name| texts(&parts.headers, name).concat();
        Answer {
            code: parts.status,
            media_type: text(header::CONTENT_TYPE),
            warnings: texts(&parts.headers, header::WARNING),
            body: read(body),
        }
    }

    pub(crate) fn code(&self) -> StatusCode {
        self.code
    }

    /// Returns the body as it came.
    pub(crate) fn raw(&self) -> &Value {
        &self.body
    }

    /// Returns what is compared.
    pub(crate) fn to_value(&self) -> Value {
        let mut body = self.body.clone();
        mask("", &mut body);
        json!({
            "code": self.code.as_u16(),
            "type": self.media_type,
            "warnings": self.warnings,
            "body": body,
        })
    }

    /// Returns what is recorded.
    pub(crate) fn record(&self, case: &Case) -> Value {
        json!({"name": case.name, "request": case.text, "answer": self.to_value()})
    }
}

fn texts(headers: &HeaderMap, name: header::HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap_or("no text").to_owned()).collect()
}

fn read(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    if let Ok(value) = serde_json::from_str(&text) {
        return value;
    }
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    lines.map_or_else(|_| Value::String(text.trim().to_owned()), Value::Array)
}

fn mask(key: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if key == "columnDefinitions" {
                fields.remove("description");
            }
            // An opaque word, and addresses: of the one server and not of the other.
            fields.remove("storageVersionHash");
            fields.remove("serverAddressByClientCIDRs");
            for (key, value) in fields.iter_mut() {
                mask(key, value);
            }
            order_causes(value);
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| mask(key, item));
            match key {
                "managedFields" | "verbs" => items.sort_by_key(Value::to_string),
                "resources" => items.sort_by_key(|item| item["name"].to_string()),
                _ => {}
            }
        }
        Value::String(text) => {
            let masked = match key {
                "resourceVersion" if !matches!(text.as_str(), "" | "0") => "N".to_owned(),
                "continue" if !text.is_empty() => "TOKEN".to_owned(),
                "cells" if AGE.is_match(text) => "AGE".to_owned(),
                _ => MASKS.iter().fold(text.clone(), |text, (pattern, mask)| {
                    pattern.replace_all(&text, *mask).into_owned()
                }),
            };
            *text = masked;
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Puts the causes of a failure into an order: the real server tells some of them in any order.
fn order_causes(status: &mut Value) {
    let Some(causes) = status.pointer_mut("/details/causes").and_then(Value::as_array_mut) else {
        return;
    };
    causes.sort_by_key(Value::to_string);
    if causes.len() > 1
        && let Some(message) = status["message"].as_str()
        && let Some((head, tail)) = message.split_once('[')
    {
        let mut parts: Vec<&str> = tail.trim_end_matches(']').split(", ").collect();
        parts.sort_unstable();
        status["message"] = Value::String(format!("{head}[{}]", parts.join(", ")));
    }
}

/// Returns where two values differ, as JSON pointers.
pub(crate) fn differences(theirs: &Value, ours: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    compare("", theirs, ours, &mut found);
    found
}

fn compare(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<(String, String, String)>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => compare(&path, a, b, found),
                    (a, b) => found.push((path, shown(a), shown(b))),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}/{index}"), a, b, found);
            }
        }
        _ if theirs == ours => {}
        _ => found.push((path.to_owned(), shown(Some(theirs)), shown(Some(ours)))),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
