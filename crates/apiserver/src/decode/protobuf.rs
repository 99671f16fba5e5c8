//! Reading protobuf, in which clients written in Go send the built-in kinds.
//!
//! A body is a prefix, then an envelope that names the kind, then the object. What the
//! object's fields are called stands in a table; fields that it does not know are skipped.

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What every body begins with.
const PREFIX: &[u8] = b"k8s\0";

/// Nesting of the deepest message; those of the table are no deeper than five.
const DEPTH_MAX: usize = 16;

/// A type of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Int,
    Bool,
    /// JSON inside a message of its own.
    Json,
    Time,
    MicroTime,
    Texts,
    Blobs,
    Message(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: &'static str,
    type_: Type,
    repeats: bool,
}

type Messages = HashMap<&'static str, HashMap<u64, Field>>;

static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    let lines = include_str!("messages.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, fields)| (name, table(fields)))
        .collect()
});

fn table(fields: &'static str) -> HashMap<u64, Field> {
    let mut table = HashMap::new();
    for field in fields.split(", ") {
        let mut words = field.split(' ');
        let (number, name, type_) = (words.next(), words.next(), words.next());
        let number = number.and_then(|number| number.parse().ok()).expect("a number comes first");
        let type_ = type_.expect("a type comes last");
        let repeats = type_.starts_with("[]");
        let type_ = match type_.trim_start_matches("[]") {
            "string" => Type::Text,
            "int" => Type::Int,
            "bool" => Type::Bool,
            "json" => Type::Json,
            "time" => Type::Time,
            "microtime" => Type::MicroTime,
            "map" => Type::Texts,
            "bytesmap" => Type::Blobs,
            message => Type::Message(message),
        };
        table.insert(number, Field { name: name.expect("a name follows"), type_, repeats });
    }
    table
}

/// What cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    #[error("no kind of this server is read from protobuf by that name")]
    Kind,
    #[error("unexpected EOF")]
    Truncated,
    #[error("a value is not of the type of its field")]
    Type,
}

/// Reads an object.
pub(super) fn read(body: &[u8]) -> Result<Value, Error> {
    let body = body.strip_prefix(PREFIX).ok_or(Error::Prefix)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for part in (Parts { rest: body }) {
        match part? {
            (1, Raw::Bytes(meta)) => {
                for part in (Parts { rest: meta }) {
                    match part? {
                        (1, Raw::Bytes(text)) => api_version = utf8(text)?,
                        (2, Raw::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Raw::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let qualified = format!("{kind}.{group}");
    let names = [qualified.as_str(), kind.as_str()];
    let fields = names.iter().find_map(|name| MESSAGES.get(name)).ok_or(Error::Kind)?;
    let mut object = message(raw, fields, 0)?;
    object.insert("apiVersion".to_owned(), Value::String(api_version));
    object.insert("kind".to_owned(), Value::String(kind));
    Ok(Value::Object(object))
}

/// A value as it is on the wire.
#[derive(Clone, Copy, Debug)]
enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The numbered values of a message.
struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Error::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Type)
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], Error> {
        let n = usize::try_from(n).map_err(|_| Error::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn part(&mut self) -> Result<(u64, Raw<'a>), Error> {
        let tag = self.varint()?;
        let raw = match tag & 7 {
            0 => Raw::Number(self.varint()?),
            1 => self.take(8).map(|_| Raw::Fixed)?,
            2 => {
                let n = self.varint()?;
                Raw::Bytes(self.take(n)?)
            }
            5 => self.take(4).map(|_| Raw::Fixed)?,
            _ => return Err(Error::Type),
        };
        Ok((tag >> 3, raw))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u64, Raw<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.rest = &[];
        }
        Some(part)
    }
}

fn message(
    bytes: &[u8],
    fields: &HashMap<u64, Field>,
    depth: usize,
) -> Result<Map<String, Value>, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::Type);
    }
    let mut object = Map::new();
    for part in (Parts { rest: bytes }) {
        let (number, raw) = part?;
        let Some(field) = fields.get(&number) else {
            continue;
        };
        let name = field.name.to_owned();
        if matches!(field.type_, Type::Texts | Type::Blobs) {
            let (key, value) = entry(raw, field.type_)?;
            let map = object.entry(name).or_insert_with(|| json!({}));
            map[key] = value;
            continue;
        }
        let value = value(raw, field.type_, depth)?;
        if field.repeats {
            let list = object.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().ok_or(Error::Type)?.push(value);
        } else if !is_unset(&value) {
            object.insert(name, value);
        }
    }
    Ok(object)
}

/// Returns whether a value is what Go writes for a field that nobody set.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Array(_) => false,
    }
}

fn value(raw: Raw<'_>, type_: Type, depth: usize) -> Result<Value, Error> {
    match (type_, raw) {
        (Type::Text, Raw::Bytes(bytes)) => utf8(bytes).map(Value::String),
        // Negative numbers are written in two's complement.
        (Type::Int, Raw::Number(number)) => Ok(json!(number.cast_signed())),
        (Type::Bool, Raw::Number(number)) => Ok(json!(number != 0)),
        (Type::Time | Type::MicroTime, Raw::Bytes(bytes)) => time(bytes, type_),
        (Type::Json, Raw::Bytes(bytes)) => {
            for part in (Parts { rest: bytes }) {
                if let (1, Raw::Bytes(json)) = part? {
                    return serde_json::from_slice(json).map_err(|_| Error::Type);
                }
            }
            Ok(Value::Null)
        }
        (Type::Message(name), Raw::Bytes(bytes)) => {
            let fields = MESSAGES.get(name).ok_or(Error::Kind)?;
            message(bytes, fields, depth + 1).map(Value::Object)
        }
        _ => Err(Error::Type),
    }
}

/// Reads an entry of a map, which is a message of a key and a value.
fn entry(raw: Raw<'_>, type_: Type) -> Result<(String, Value), Error> {
    let Raw::Bytes(bytes) = raw else {
        return Err(Error::Type);
    };
    let (mut key, mut value) = (String::new(), &[][..]);
    for part in (Parts { rest: bytes }) {
        match part? {
            (1, Raw::Bytes(text)) => key = utf8(text)?,
            (2, Raw::Bytes(bytes)) => value = bytes,
            _ => return Err(Error::Type),
        }
    }
    let value = if type_ == Type::Blobs { STANDARD.encode(value) } else { utf8(value)? };
    Ok((key, Value::String(value)))
}

/// Reads a moment; one that nobody set is nothing.
fn time(bytes: &[u8], type_: Type) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    for part in (Parts { rest: bytes }) {
        match part? {
            (1, Raw::Number(number)) => seconds = number.cast_signed(),
            (2, Raw::Number(number)) => nanoseconds = number.cast_signed(),
            _ => return Err(Error::Type),
        }
    }
    let nanoseconds = i32::try_from(nanoseconds).map_err(|_| Error::Type)?;
    let moment = Timestamp::new(seconds, nanoseconds).map_err(|_| Error::Type)?;
    let format =
        if type_ == Type::MicroTime { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(json!(moment.strftime(format).to_string()))
}

fn utf8(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Type)
}

#[cfg(test)]
mod tests {
    use super::{Error, MESSAGES, Type, read};

    #[test]
    fn every_message_of_the_table_is_there() {
        for fields in MESSAGES.values() {
            for field in fields.values() {
                if let Type::Message(name) = field.type_ {
                    assert!(MESSAGES.contains_key(name), "{name}");
                }
            }
        }
    }

    #[test]
    fn an_object_is_read() {
        let object = read(&body(b"v1", b"Secret", SECRET)).expect("a sound message");
        assert_eq!(
            object.to_string(),
            r#"{"apiVersion":"v1","data":{"k":"AAE="},"immutable":true,"kind":"Secret","metadata":{"labels":{"a":""},"name":"s"},"type":"Opaque"}"#
        );
    }

    #[test]
    fn hostile_bodies_are_refused() {
        assert_eq!(read(b"{}"), Err(Error::Prefix));
        assert_eq!(read(&body(b"v1", b"Pod", b"")), Err(Error::Kind));
        assert_eq!(read(&body(b"v1", b"Secret", &[0x08, 0x01])), Err(Error::Type));
        let sound = body(b"v1", b"Secret", SECRET);
        for length in 0..sound.len() {
            // A message may end after any of its fields; it must not end the process.
            let _ = read(&sound[..length]);
            for bit in 0..8 {
                let mut damaged = sound.clone();
                damaged[length] ^= 1 << bit;
                let _ = read(&damaged);
            }
        }
        assert_eq!(read(&[b"k8s\0".as_slice(), &[0xff; 20]].concat()), Err(Error::Type));
    }

    /// A name, a label, two bytes of data, a type, `immutable`, and an empty time of creation.
    const SECRET: &[u8] = b"\x0a\x0c\x0a\x01s\x42\x00\x5a\x05\x0a\x01a\x12\x00\x12\x07\x0a\x01k\x12\x02\x00\x01\x1a\x06Opaque\x28\x01";

    fn body(api_version: &[u8], kind: &[u8], raw: &[u8]) -> Vec<u8> {
        let field = |number: u8, bytes: &[u8]| {
            let length = u8::try_from(bytes.len()).expect("a short field");
            [&[number << 3 | 2, length], bytes].concat()
        };
        let meta = [field(1, api_version), field(2, kind)].concat();
        [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat()
    }
}
