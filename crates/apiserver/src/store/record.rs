//! An object as it is kept: its text at one revision.

use serde_json::Value;

use crate::object;

/// Levels of nesting in one object. What reads a text back gives up at 128.
const DEPTH_MAX: usize = 120;

/// An object's JSON at one revision, without its `resourceVersion`: the revision is known only
/// when the text is ready.
///
/// A text takes a fifth of the memory of the tree it is read into.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(super) revision: u64,
    pub(super) json: Box<str>,
}

/// An object at one revision.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    pub(crate) revision: u64,
}

impl Record {
    /// Reads the object back.
    pub(crate) fn decode(&self) -> Stored {
        let value = serde_json::from_str(&self.json)
            .expect("a record is made of a value, or its text is read when the file is opened");
        Stored::new(value, self.revision)
    }

    /// Bytes that this record takes, about.
    pub(super) fn size(&self) -> usize {
        /// The record, its share of two maps and its key.
        const OVERHEAD: usize = 192;
        self.json.len() + OVERHEAD
    }
}

impl Stored {
    /// Returns the object with its `resourceVersion`.
    pub(super) fn new(mut value: Value, revision: u64) -> Stored {
        let text = Value::String(revision.to_string());
        object::metadata_mut(&mut value).insert("resourceVersion".to_owned(), text);
        Stored { value, revision }
    }
}

/// Returns the text that is kept of an object, or `None` if it could not be read back.
pub(super) fn encode(value: &mut Value) -> Option<Box<str>> {
    object::metadata_mut(value).remove("resourceVersion");
    is_within(value, DEPTH_MAX).then(|| value.to_string().into_boxed_str())
}

fn is_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_within(item, depth - 1)),
        Value::Object(fields) => {
            depth > 0 && fields.values().all(|field| is_within(field, depth - 1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_encoded_can_be_read_back() {
        let mut value = json!({"metadata": {"name": "a", "resourceVersion": "7"}, "x": [1, null]});
        let json = encode(&mut value).expect("a flat object");
        assert_eq!(&*json, r#"{"metadata":{"name":"a"},"x":[1,null]}"#);
        let stored = Record { revision: 9, json }.decode();
        assert_eq!(stored.value["metadata"]["resourceVersion"], "9");
    }

    #[test]
    fn an_object_that_is_nested_too_deeply_is_not_taken() {
        let nest = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        // The object itself is the first level.
        let mut deepest = json!({"x": nest(DEPTH_MAX - 1)});
        let json = encode(&mut deepest).expect("as deep as it may be");
        Record { revision: 1, json }.decode();
        assert_eq!(encode(&mut json!({"x": nest(DEPTH_MAX)})), None);
    }
}
