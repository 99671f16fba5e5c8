//! The reader against what `sigs.k8s.io/yaml` makes of the same texts.

#![expect(clippy::disallowed_methods, reason = "a test reads its golden file")]

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::{Expect, expect};
use serde_json::Value;

/// Every recorded text reads as in Go, or differs for one of the reasons in `kind`; the counts keep both honest.
#[test]
fn golden_texts_read_as_in_go() {
    let file = File::open("tests/golden/yaml_to_json.jsonl.gz").expect("the golden file is there");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
        let record: Value = serde_json::from_str(&line.expect("a line")).expect("a record");
        let input = input(&record);
        let kind = if reads_as_recorded(&record, &input) { "as Go" } else { kind(&input) };
        assert_ne!(
            kind,
            "unknown",
            "{}: {:?}",
            String::from_utf8_lossy(&input),
            yaml::documents(&input)
        );
        *counts.entry(kind).or_default() += 1;
    }
    expect![[r#"
        {
            "UTF-16 is refused": 2,
            "a collection as a key": 1,
            "a directive of another version or in the middle": 5,
            "a fault behind the first document": 1,
            "a tab before a token is white space": 14,
            "an end marker before any document": 2,
            "an indicator inside a flow collection": 12,
            "as Go": 2287,
            "escapes of JSON": 3,
            "only LF and CR break lines": 19,
            "where a tag, an anchor or a comment ends": 7,
        }
    "#]]
    .assert_debug_eq(&counts);
}

fn input(record: &Value) -> Vec<u8> {
    match record["yaml"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            STANDARD.decode(record["yaml_b64"].as_str().expect("text or base64")).expect("base64")
        }
    }
}

/// `YAMLToJSON` reads the first document only.
fn reads_as_recorded(record: &Value, input: &[u8]) -> bool {
    let first = yaml::documents(input).into_iter().next();
    match (record["json"].as_str(), first) {
        (None, Some(Err(_))) => true,
        (Some("null"), None) => true,
        (Some(json), Some(Ok(document))) => {
            same(&serde_json::from_str(json).expect("JSON"), &document.value)
        }
        _ => false,
    }
}

/// Equal but for the last bit of a float, which `serde_json` does not parse exactly.
fn same(want: &Value, got: &Value) -> bool {
    match (want, got) {
        (Value::Number(want), Value::Number(got)) if want.is_f64() || got.is_f64() => {
            let (want, got) = (want.as_f64().expect("a number"), got.as_f64().expect("a number"));
            (want - got).abs() <= want.abs() * 1e-15
        }
        (Value::Array(want), Value::Array(got)) => {
            want.len() == got.len() && want.iter().zip(got).all(|(want, got)| same(want, got))
        }
        (Value::Object(want), Value::Object(got)) => {
            want.len() == got.len()
                && want.iter().all(|(key, want)| got.get(key).is_some_and(|got| same(want, got)))
        }
        _ => want == got,
    }
}

/// Returns why a text may be read differently: what our parser reads by YAML 1.2 and libyaml by YAML 1.1.
fn kind(input: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(input) else { return "UTF-16 is refused" };
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    let tab_in_indentation = text.lines().any(|line| {
        let line = line.trim_start_matches(['\u{feff}', ' ', '-', '?', ':']);
        line.starts_with('\t')
    });
    if has(&["\u{85}", "\u{2028}", "\u{2029}"]) {
        "only LF and CR break lines"
    } else if tab_in_indentation {
        "a tab before a token is white space"
    } else if text.lines().any(|line| line.starts_with('%')) {
        "a directive of another version or in the middle"
    } else if has(&["\\/", "\\ud8"]) {
        "escapes of JSON"
    } else if text.starts_with("...") {
        "an end marker before any document"
    } else if has(&["!}", "!,", "!]", "!!str}", "!!str,", "!!str]", "[#", "&:"]) {
        "where a tag, an anchor or a comment ends"
    } else if has(&["{", "["])
        && has(&[":}", ":,", ":]", "{k: -}", " :a", "[::", "?}", "?,", "?]", " ?a"])
    {
        "an indicator inside a flow collection"
    } else if text.starts_with("[]:") {
        "a collection as a key"
    } else if text.starts_with("{}{") {
        "a fault behind the first document"
    } else {
        "unknown"
    }
}

fn check(text: &str, documents: Expect) {
    let documents_read: Vec<String> = yaml::documents(text.as_bytes())
        .into_iter()
        .map(|document| match document {
            Ok(document) => format!("{}: {}", document.line, document.value),
            Err(error) => error.to_string(),
        })
        .collect();
    documents.assert_eq(&documents_read.join("\n"));
}

#[test]
fn each_document_has_its_line() {
    check(
        "# a\n---\na: 1\n---\n---\n\nb: 2\n",
        expect![[r#"
        3: {"a":1}
        4: null
        7: {"b":2}"#]],
    );
}

#[test]
fn a_fault_spoils_its_own_document_only() {
    check(
        "a: 1\n---\nb: [\n---\nc: 3\n---\nd: *x\n---\ne: .inf\n---\nf: 6\n",
        expect![[r#"
        1: {"a":1}
        line 3, column 4: unclosed bracket '['
        5: {"c":3}
        line 7, column 4: while parsing node, found unknown anchor
        line 9, column 4: `.inf` has no form in JSON
        11: {"f":6}"#]],
    );
}

#[test]
fn aliases_expand_and_merge() {
    check(
        "a: &a {p: 1, q: 2}\nb: {q: 3, <<: *a}\nc: {<<: [*a, {p: 9, r: 4}]}\n",
        expect![[r#"1: {"a":{"p":1,"q":2},"b":{"p":1,"q":2},"c":{"p":1,"q":2,"r":4}}"#]],
    );
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
    }
    check(&text, expect!["line 1, column 16: the document contains excessive aliasing"]);
}

#[test]
fn deep_nesting_is_refused() {
    check(
        &"[".repeat(100_000),
        expect!["line 1, column 201: the file nests more than 200 levels deep"],
    );
    check(
        &"- ".repeat(100_000),
        expect!["line 1, column 401: the file nests more than 200 levels deep"],
    );
}

#[test]
fn nesting_through_aliases_is_refused() {
    let mut text = "- &a0 x\n".to_owned();
    for level in 1..60 {
        text += &format!("- &a{level} {}*a{}{}\n", "[".repeat(20), level - 1, "]".repeat(20));
    }
    check(&text, expect!["line 1, column 7: the file nests more than 200 levels deep"]);
}

#[test]
fn a_node_that_contains_itself_is_refused() {
    check("a: &a [*a]\n", expect!["line 1, column 8: an anchor's value contains itself"]);
}

#[test]
fn other_encodings_are_refused_with_their_place() {
    let read = |bytes: &[u8]| yaml::documents(bytes).remove(0).expect_err("not UTF-8").to_string();
    expect!["line 2, column 4: the file is not valid UTF-8"].assert_eq(&read(b"a: b\nc: \xff\n"));
    expect!["line 1, column 1: the file is not UTF-8 but UTF-16 or UTF-32: save it as UTF-8"]
        .assert_eq(&read(b"\xff\xfea\0:\0"));
}
