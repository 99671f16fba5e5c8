//! The writer against what `sigs.k8s.io/yaml` writes for the same values.

#![expect(clippy::disallowed_methods, reason = "a test reads its golden file")]

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
};

use expect_test::expect;
use serde_json::{Value, json};

/// Every recorded value is written as in Go, or differs for one of the reasons in `kind`, and always reads back as itself.
#[test]
fn golden_values_are_written_as_in_go() {
    let file = File::open("tests/golden/json_to_yaml.jsonl.gz").expect("the golden file is there");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
        let record: Value = serde_json::from_str(&line.expect("a line")).expect("a record");
        let json = record["json"].as_str().expect("every record has its JSON");
        let Ok(value) = serde_json::from_str::<Value>(json) else {
            *counts.entry("JSON that serde_json refuses").or_default() += 1;
            continue;
        };
        // The second keeps integers as they are, the first knows floats alone.
        let expected = ["marshal", "json_to_yaml"].map(|key| record[key].as_str());
        let written = yaml::to_string(&value);
        let is_as_go = expected.contains(&Some(&*written));
        let kind = if is_as_go { "as Go" } else { kind(&record, json) };
        assert_ne!(kind, "unknown", "{json}\nexpected: {expected:#?}\nwritten:\n{written}");
        *counts.entry(kind).or_default() += 1;
        assert_eq!(read(&written), numbers_as_go(value), "{json}\n{written}");
    }
    expect![[r#"
        {
            "Go cannot write it": 13,
            "as Go": 1536,
            "line breaks of Unicode": 15,
            "the key of a merge": 1,
        }
    "#]]
    .assert_debug_eq(&counts);
}

fn kind(record: &Value, json: &str) -> &'static str {
    if record["marshal_err"].is_string() {
        return "Go cannot write it";
    }
    let breaks = ["\u{85}", "\u{2028}", "\u{2029}", "\\u0085", "\\u2028", "\\u2029"];
    match json {
        _ if breaks.iter().any(|text| json.contains(text)) => "line breaks of Unicode",
        _ if json.contains("\"<<\"") => "the key of a merge",
        _ => "unknown",
    }
}

fn read(text: &str) -> Value {
    let mut documents = yaml::documents(text.as_bytes());
    let document = documents.remove(0).expect("what was written can be read");
    assert!(documents.is_empty(), "{text}");
    document.value
}

/// A float without a fraction is an integer to Go's JSON.
fn numbers_as_go(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(numbers_as_go).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, numbers_as_go(value))).collect()
        }
        Value::Number(number) if number.is_f64() => read(&yaml::to_string(&number.into())),
        value => value,
    }
}

#[test]
fn keys_that_would_confuse_a_sort_are_written_in_some_order() {
    let keys = ["001a", "0001", "01A01", "010é001", "1z ", "a", "A"];
    let mut map = serde_json::Map::new();
    for n in 0..200 {
        map.insert(format!("{}{n}", keys[n % keys.len()]), json!(n));
    }
    let value = Value::Object(map);
    assert_eq!(read(&yaml::to_string(&value)), value);
}
