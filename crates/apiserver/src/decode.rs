//! Reading bodies: JSON, with the fields that appear twice, YAML and protobuf.

mod protobuf;

use std::fmt::{self, Write as _};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::status::Status;

/// Fields that appear twice and are told at most.
const TOLD_MAX: usize = 100;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What a client sent.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) object: Value,
    /// What is wrong with it but could be read all the same.
    pub(crate) problems: Vec<String>,
}

/// Reads the object of a request.
pub(crate) fn object(media_type: &str, body: &Bytes) -> Result<Input, Status> {
    match essence(media_type) {
        "" | JSON => json(body),
        YAML => yaml(body),
        PROTOBUF => match protobuf::read(body) {
            Ok(object) => Ok(Input { object, problems: Vec::new() }),
            Err(error) => Err(unreadable(&error)),
        },
        _ => Err(Status::unsupported_media_type(&[JSON, YAML, PROTOBUF])),
    }
}

/// Returns a media type without its parameters.
pub(crate) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// Reads JSON. The last of several fields with one name counts, and the name is told.
pub(crate) fn json(body: &[u8]) -> Result<Input, Status> {
    let mut reader = Reader::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    // The deserializer itself refuses what is nested deeper than 128 times.
    let object = Seed(&mut reader).deserialize(&mut deserializer);
    let object = object.and_then(|object| deserializer.end().map(|()| object));
    match object {
        Ok(object) => Ok(Input { object, problems: reader.problems }),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Reads YAML, of which JSON is a part.
pub(crate) fn yaml(body: &[u8]) -> Result<Input, Status> {
    let mut documents = yaml::documents(body).into_iter();
    match (documents.next(), documents.next()) {
        (Some(Ok(document)), None) => Ok(Input { object: document.value, problems: Vec::new() }),
        (Some(Err(error)), _) => Err(unreadable(&error)),
        (None, _) => Err(Status::bad_request("the body is empty")),
        (Some(Ok(_)), Some(_)) => Err(Status::bad_request("the body has more than one document")),
    }
}

fn unreadable(error: &dyn fmt::Display) -> Status {
    let message = format!("the object provided is unrecognized (must be of type Object): {error}");
    Status::bad_request(message)
}

/// Where the reader is, and what it found so far.
#[derive(Debug, Default)]
struct Reader {
    path: String,
    problems: Vec<String>,
}

/// Reads one value.
struct Seed<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Seed(reader) = self;
        let length = reader.path.len();
        let mut list = Vec::new();
        loop {
            // Writing to a text cannot fail.
            let _ = write!(reader.path, "[{}]", list.len());
            let item = items.next_element_seed(Seed(&mut *reader))?;
            reader.path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let Seed(reader) = self;
        let length = reader.path.len();
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if length > 0 {
                reader.path.push('.');
            }
            reader.path.push_str(&name);
            let value = fields.next_value_seed(Seed(&mut *reader))?;
            if map.insert(name, value).is_some() && reader.problems.len() < TOLD_MAX {
                let problem = format!("duplicate field {:?}", reader.path);
                if !reader.problems.contains(&problem) {
                    reader.problems.push(problem);
                }
            }
            reader.path.truncate(length);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::json;

    #[test]
    fn fields_that_appear_twice_are_told() {
        let input = json(br#"{"a": {"b": 1, "b": 2.5}, "c": [{"d": null, "d": "x", "d": true}]}"#);
        let input = input.expect("readable");
        assert_eq!(input.object.to_string(), r#"{"a":{"b":2.5},"c":[{"d":true}]}"#);
        assert_eq!(input.problems, [r#"duplicate field "a.b""#, r#"duplicate field "c[0].d""#]);
    }

    #[test]
    fn hostile_bodies_are_refused() {
        let deep = "[".repeat(100_000);
        for body in [deep.as_str(), "", "{", "{}{}", "\u{0}", "{\"a\":1e999}"] {
            assert!(json(body.as_bytes()).is_err(), "{:?}", &body[..body.len().min(20)]);
        }
    }
}
