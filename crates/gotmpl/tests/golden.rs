//! Every template that was recorded from Go's text/template gives the same output, or the same error.

use std::io::Read as _;

use gotmpl::{Functions, Limits, Options, Run, Template, Value};
use serde_json::Value as Json;

/// Fewer executed records would mean that functions got lost.
const EXECUTED_MIN: usize = 900;

#[test]
fn templates_give_what_go_gives() {
    let (mut executed, mut later, mut failures) = (0, 0, Vec::new());
    for record in records() {
        let got = render(&record);
        match got {
            Err(text) if text.ends_with("is not yet supported") => later += 1,
            got if got == expected(&record) => executed += 1,
            got if is_outside_of_the_set(&got) => {}
            got => failures.push(format!(
                "{}\n  want {:?}\n  got  {got:?}",
                record["tpl"],
                expected(&record)
            )),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(executed >= EXECUTED_MIN, "only {executed} records were executed, {later} were not");
}

/// The records were made with Sprig's whole text set; what reads the clock or the network is not in the hermetic one.
fn is_outside_of_the_set(got: &Result<Vec<u8>, String>) -> bool {
    const OUTSIDE: [&str; 9] = [
        "date",
        "dateInZone",
        "dateModify",
        "date_in_zone",
        "date_modify",
        "getHostByName",
        "htmlDate",
        "htmlDateInZone",
        "now",
    ];
    OUTSIDE.iter().any(|name| {
        let text = format!("function \"{name}\" not defined");
        got.as_ref().is_err_and(|error| error.ends_with(&text))
    })
}

fn records() -> impl Iterator<Item = Json> {
    let packed: &[u8] = include_bytes!("golden/text.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("the file is sound");
    let lines: Vec<Json> =
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    lines.into_iter()
}

fn expected(record: &Json) -> Result<Vec<u8>, String> {
    if let Some(error) = record["err"].as_str() {
        return Err(error.to_owned());
    }
    match (record["out"].as_str(), record["out_b64"].as_str()) {
        (Some(out), _) => Ok(out.into()),
        (None, Some(out)) => Ok(decode_base64(out)),
        _ => Err("the record has no result".into()),
    }
}

/// Decodes through the functions under test, which have their own records.
fn decode_base64(text: &str) -> Vec<u8> {
    let template = Template::parse("decode", "{{ b64dec . }}", &Functions::hermetic());
    let template = template.expect("the template is sound");
    template.execute(&text.into(), &mut Run::new(Limits::default())).expect("base64")
}

fn render(record: &Json) -> Result<Vec<u8>, String> {
    let mut options = Options::default();
    if let Some(delimiters) = record["delims"].as_array() {
        options.delimiters =
            (delimiters[0].as_str().unwrap_or("{{"), delimiters[1].as_str().unwrap_or("}}"));
    }
    let text = record["tpl"].as_str().unwrap_or_default();
    let template = Template::parse_with("text", text, &Functions::hermetic(), options)
        .map_err(|error| error.to_string())?;
    let data = value(&record["data"]);
    let limits = Limits { output: 1 << 20, ..Limits::default() };
    template.execute(&data, &mut Run::new(limits)).map_err(|error| error.to_string())
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or_default()),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::list(items.iter().map(value)),
        Json::Object(entries) => Value::dict(entries.iter().map(|(k, v)| (k, value(v)))),
    }
}
