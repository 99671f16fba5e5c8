//! Numbers, times and URLs are read and written as Go does.

use std::io::Read as _;

use golang::strconv::{format_float, parse_float, parse_int, parse_uint};
use golang::time::Time;
use golang::url::Url;
use serde_json::{Value as Json, json};

#[test]
fn numbers_are_read_as_go_reads_them() {
    check(include_bytes!("golden/numbers.jsonl.gz"), |record| {
        let (text, number) = (text(record, "text"), |key: &str| record[key].as_u64().unwrap_or(0));
        let (base, bits) = (number("base") as u32, number("bits") as u32);
        let float = parse_float(text).map(|float| format_float(float, 'x', None));
        json!({
            "float": float.unwrap_or_else(|error| error.to_string()),
            "int": parse_int(text, base, bits).map_or_else(|error| error.to_string(), |n| n.to_string()),
            "uint": parse_uint(text, base, bits).map_or_else(|error| error.to_string(), |n| n.to_string()),
        })
    });
}

#[test]
fn times_are_read_and_written_as_go_does() {
    check(include_bytes!("golden/time.jsonl.gz"), |record| {
        let layout = text(record, "layout").as_bytes();
        let time = match Time::parse(layout, text(record, "text").as_bytes()) {
            Ok(time) => time,
            Err(error) => return json!({ "err": error.to_string() }),
        };
        let add = |at: usize| record["add"][at].as_i64().unwrap_or_default();
        json!({
            "unix": time.unix(),
            "nanos": time.nanosecond(),
            "shown": String::from_utf8_lossy(&time.format(layout)),
            "string": time.to_string(),
            "yday": time.year_day(),
            "added": time.add_date(add(0), add(1), add(2)).to_string(),
        })
    });
}

#[test]
fn urls_are_read_and_written_as_go_does() {
    check(include_bytes!("golden/url.jsonl.gz"), |record| {
        let url = match Url::parse(text(record, "text").as_bytes()) {
            Ok(url) => url,
            Err(error) => return json!({ "err": without_address(&error.to_string()) }),
        };
        let rebuilt = Url {
            raw_path: Vec::new(),
            raw_fragment: Vec::new(),
            force_query: false,
            omit_host: false,
            ..url.clone()
        };
        let user = url.user.as_ref().map(|user| user.to_bytes()).unwrap_or_default();
        let parts: [&[u8]; 8] = [
            &url.scheme,
            &url.opaque,
            &user,
            &url.host,
            url.hostname(),
            &url.path,
            &url.raw_query,
            &url.fragment,
        ];
        json!({
            "parts": parts.map(String::from_utf8_lossy),
            "string": String::from_utf8_lossy(&url.to_bytes()),
            "rebuilt": String::from_utf8_lossy(&rebuilt.to_bytes()),
        })
    });
}

/// Compares every result with the record's members of the same names; an error must be recorded as one.
#[track_caller]
fn check(packed: &[u8], result: impl Fn(&Json) -> Json) {
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("the file is sound");
    let mut failures = Vec::new();
    for line in text.lines() {
        let mut record: Json = serde_json::from_str(line).expect("a record");
        if let Some(error) = record["err"].as_str() {
            record["err"] = without_address(error).into();
        }
        let got = result(&record);
        let members = got.as_object().expect("an object");
        let agrees = members.iter().all(|(key, value)| record.get(key) == Some(value));
        if !agrees || record.get("err").is_some() != members.contains_key("err") {
            failures.push(format!("{line}\n  got {got}"));
        }
    }
    assert!(text.lines().count() > 3_000, "there are records");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Cuts off what exactly is wrong with an IP address: Go's words for that are not imitated.
fn without_address(error: &str) -> &str {
    match error.find(": ParseAddr(") {
        Some(at) => &error[..at],
        None => error,
    }
}

fn text<'j>(record: &'j Json, key: &str) -> &'j str {
    record[key].as_str().expect("a text")
}
