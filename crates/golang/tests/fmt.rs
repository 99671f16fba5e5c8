//! Formatted values are those of Go.

use std::borrow::Cow;
use std::io::Read as _;

use golang::fmt::{Buffer, Operand, View, sprintf};
use serde_json::Value as Json;

#[derive(Clone)]
struct Value(Json, bool);

impl Operand for Value {
    fn view(&self) -> View<'_, Value> {
        let nested = |json: &Json| Value(json.clone(), false);
        match &self.0 {
            Json::Null => View::Nil,
            Json::Bool(value) => View::Bool(*value),
            Json::Number(number) if self.1 => View::Int(number.as_i64().unwrap_or_default()),
            Json::Number(number) => View::Float(number.as_f64().unwrap_or_default()),
            Json::String(text) => View::Text(text.as_bytes()),
            Json::Array(items) => View::List(Some(Cow::Owned(items.iter().map(nested).collect()))),
            Json::Object(entries) => {
                let entry =
                    |(key, value): (&String, &Json)| (nested(&key.as_str().into()), nested(value));
                View::Map(Some(entries.iter().map(entry).collect()))
            }
        }
    }

    fn type_name(&self) -> Cow<'_, str> {
        match &self.0 {
            Json::Null => "<nil>",
            Json::Bool(_) => "bool",
            Json::Number(_) if self.1 => "int",
            Json::Number(_) => "float64",
            Json::String(_) => "string",
            Json::Array(_) => "[]interface {}",
            Json::Object(_) => "map[string]interface {}",
        }
        .into()
    }
}

#[test]
fn every_recorded_format_gives_what_go_gives() {
    let packed: &[u8] = include_bytes!("golden/fmt.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("the file is sound");
    let mut failures = Vec::new();
    for line in text.lines() {
        let record: Json = serde_json::from_str(line).expect("a record");
        let value = Value(record["arg"].clone(), record["kind"] == "int");
        let format = record["format"].as_str().expect("a format");
        let mut out = Buffer::new(2_000_000);
        sprintf(&mut out, format.as_bytes(), &[value]);
        let got = out.finish().unwrap_or_else(|full| format!("{full:?}").into_bytes());
        let got = String::from_utf8_lossy(&got);
        let want = record["out"].as_str().expect("an output");
        if got != want {
            failures.push(format!("{format} of {}: want {want:?}, got {got:?}", record["arg"]));
        }
    }
    assert!(text.lines().count() > 10_000, "there are records");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
