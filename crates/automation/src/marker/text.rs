//! Reads the text of a comment as a marker.

use serde_json::{Map, Value};

/// What precedes a setter's name in the long form of a marker.
const LONG_FORM: &str = "#/definitions/io.k8s.cli.setters.";

/// What a comment says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// It names a setter.
    Setter(String),
    /// It is meant as a marker but is none; the reason.
    Malformed(&'static str),
    /// It holds a marker behind other words.
    Behind,
}

/// Reads a comment, with its `#`; none if it is not about markers.
pub(super) fn read(comment: &str) -> Option<Text> {
    // JSON's own white space and no other.
    let text = comment.trim_start_matches('#').trim_matches([' ', '\t', '\r', '\n']);
    if !text.starts_with('{') {
        return mentions(text).then_some(Text::Behind);
    }
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(text) else {
        return mentions_loosely(text).then(|| Text::Malformed(fault(text)));
    };
    let short = fields.get("$imagepolicy");
    if let Some(setter) = short.and_then(Value::as_str)
        && !setter.is_empty()
        && fields.values().all(|value| value.is_string() || value.is_null())
    {
        return Some(decoded(setter));
    }
    if let Some(setter) =
        fields.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(LONG_FORM))
    {
        return Some(decoded(setter));
    }
    if short.is_some() {
        return Some(Text::Malformed(
            "marker has no effect: all values of its JSON object must be strings, and not empty",
        ));
    }
    let near = fields.keys().any(|key| key.eq_ignore_ascii_case("$imagepolicy"));
    near.then_some(Text::Malformed(
        "marker has no effect: its key is `$imagepolicy`, in lower case",
    ))
}

fn mentions(text: &str) -> bool {
    text.contains("{\"$imagepolicy\"") || text.contains("{ \"$imagepolicy\"")
}

fn mentions_loosely(text: &str) -> bool {
    let key = b"$imagepolicy";
    text.as_bytes().windows(key.len()).any(|window| window.eq_ignore_ascii_case(key))
}

fn fault(text: &str) -> &'static str {
    if text.contains('\'') && !text.contains("\"$imagepolicy\": \"") {
        return "marker has no effect: it is no JSON object; its strings take double quotes";
    }
    if text.ends_with('}') {
        return "marker has no effect: its comment is not one JSON object";
    }
    "marker has no effect: nothing may follow the JSON object in its comment"
}

/// A setter is a fragment of a URL.
fn decoded(setter: &str) -> Text {
    match percent_decoded(setter) {
        Some(setter) => Text::Setter(setter),
        None => Text::Malformed("marker has no effect: `%` in a policy's name begins a URL escape"),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        bytes.push(match byte {
            b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
