//! Structural schemas: what the objects of a definition look like.

mod default;
mod pattern;
mod prune;
mod shape;
mod validate;

pub(crate) use shape::{Shape, Taken};

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Number, Value};

/// Nesting of the deepest schema; real ones stay below twenty.
const DEPTH_MAX: usize = 64;

/// A compiled schema.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    type_: Option<Type>,
    is_nullable: bool,
    /// Whether fields that the schema does not know stay.
    preserves_unknown: bool,
    is_int_or_string: bool,
    is_embedded: bool,
    properties: BTreeMap<String, Schema>,
    additional: Option<Box<Schema>>,
    /// Whether further fields of any kind are allowed.
    allows_additional: bool,
    items: Option<Box<Schema>>,
    required: Vec<String>,
    default: Option<Value>,
    enumeration: Option<Vec<Value>>,
    pattern: Option<Regex>,
    format: Option<Format>,
    bounds: Bounds,
    list: List,
    /// Whether an object is one whole, whose fields have one owner.
    is_atomic_map: bool,
    patch: Option<PatchStrategy>,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    DateTime,
    Date,
    Byte,
    Int32,
    Int64,
    Uuid,
    Ipv4,
    Ipv6,
}

#[derive(Debug, Default)]
struct Bounds {
    minimum: Option<Number>,
    maximum: Option<Number>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    multiple_of: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    unique_items: bool,
}

/// What the items of a list are to each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum List {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

/// How a strategic merge patch changes a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PatchStrategy {
    /// Values are added.
    Union,
    /// Items with the same value of this field are merged.
    MergeBy(String),
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct SchemaError {
    pub(crate) path: String,
    pub(crate) problem: String,
}

impl Type {
    const fn as_str(self) -> &'static str {
        match self {
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
        }
    }
}

impl Schema {
    /// Compiles `openAPIV3Schema`.
    pub(crate) fn compile(schema: &Value) -> Result<Schema, SchemaError> {
        compile(schema, "openAPIV3Schema", 0)
    }

    /// Returns the schema of a field that it knows by name.
    pub(crate) fn property(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name)
    }

    /// Returns the schema of the fields that it does not know by name.
    pub(crate) fn additional(&self) -> Option<&Schema> {
        self.additional.as_deref()
    }

    pub(crate) fn items(&self) -> Option<&Schema> {
        self.items.as_deref()
    }

    pub(crate) fn list(&self) -> &List {
        &self.list
    }

    pub(crate) fn is_atomic_map(&self) -> bool {
        self.is_atomic_map
    }

    pub(crate) fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    pub(crate) fn patch_strategy(&self) -> Option<&PatchStrategy> {
        self.patch.as_ref()
    }

    /// Returns whether `null` stays as it is.
    fn takes_null(&self) -> bool {
        self.is_nullable || (self.type_.is_none() && self.preserves_unknown)
    }
}

fn compile(schema: &Value, path: &str, depth: usize) -> Result<Schema, SchemaError> {
    let error = |problem: &str| SchemaError { path: path.to_owned(), problem: problem.to_owned() };
    let Some(fields) = schema.as_object() else {
        return Err(error("a schema must be an object"));
    };
    if depth > DEPTH_MAX {
        return Err(error("schemas are nested too deeply"));
    }
    let flag = |field: &str| fields.get(field) == Some(&Value::Bool(true));
    let below =
        |field: &str, schema: &Value| compile(schema, &format!("{path}.{field}"), depth + 1);
    let boxed = |field: &str| -> Result<Option<Box<Schema>>, SchemaError> {
        fields.get(field).map(|schema| below(field, schema).map(Box::new)).transpose()
    };
    let many = |field: &str| -> Result<Vec<Schema>, SchemaError> {
        let schemas = fields.get(field).and_then(Value::as_array);
        schemas.into_iter().flatten().map(|schema| below(field, schema)).collect()
    };
    let mut properties = BTreeMap::new();
    for (name, schema) in fields.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        properties.insert(name.clone(), below(&format!("properties[{name}]"), schema)?);
    }
    let (additional, allows_additional) = match fields.get("additionalProperties") {
        None | Some(Value::Bool(false)) => (None, false),
        Some(Value::Bool(true)) => (None, true),
        Some(schema) => (Some(Box::new(below("additionalProperties", schema)?)), true),
    };
    let pattern = match text(fields, "pattern") {
        Some(pattern) => Some(pattern::compile(pattern).map_err(|e| error(&e.to_string()))?),
        None => None,
    };
    let type_ = match text(fields, "type") {
        Some(name) => Some(type_of(name).ok_or_else(|| error("the type is unknown"))?),
        None => None,
    };
    Ok(Schema {
        type_,
        is_nullable: flag("nullable"),
        preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        is_int_or_string: flag("x-kubernetes-int-or-string"),
        is_embedded: flag("x-kubernetes-embedded-resource"),
        properties,
        additional,
        allows_additional,
        items: boxed("items")?,
        required: texts(fields, "required"),
        default: fields.get("default").cloned(),
        enumeration: fields.get("enum").and_then(Value::as_array).cloned(),
        pattern,
        format: text(fields, "format").and_then(format_of),
        bounds: bounds(fields),
        list: list(fields),
        is_atomic_map: text(fields, "x-kubernetes-map-type") == Some("atomic"),
        patch: patch_strategy(fields),
        all_of: many("allOf")?,
        any_of: many("anyOf")?,
        one_of: many("oneOf")?,
        not: boxed("not")?,
    })
}

fn type_of(name: &str) -> Option<Type> {
    [Type::Object, Type::Array, Type::String, Type::Integer, Type::Number, Type::Boolean]
        .into_iter()
        .find(|type_| type_.as_str() == name)
}

/// Formats that are not known here are not checked, as the API does it.
fn format_of(name: &str) -> Option<Format> {
    Some(match name {
        "date-time" => Format::DateTime,
        "date" => Format::Date,
        "byte" => Format::Byte,
        "int32" => Format::Int32,
        "int64" => Format::Int64,
        "uuid" => Format::Uuid,
        "ipv4" => Format::Ipv4,
        "ipv6" => Format::Ipv6,
        _ => return None,
    })
}

fn bounds(fields: &Map<String, Value>) -> Bounds {
    let count = |field: &str| fields.get(field).and_then(Value::as_u64);
    let number = |field: &str| fields.get(field).and_then(Value::as_number).cloned();
    let flag = |field: &str| fields.get(field) == Some(&Value::Bool(true));
    Bounds {
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: fields.get("multipleOf").and_then(Value::as_f64).filter(|n| *n > 0.0),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        unique_items: flag("uniqueItems"),
    }
}

fn list(fields: &Map<String, Value>) -> List {
    match text(fields, "x-kubernetes-list-type") {
        Some("set") => List::Set,
        Some("map") => List::Map(texts(fields, "x-kubernetes-list-map-keys")),
        _ => List::Atomic,
    }
}

fn patch_strategy(fields: &Map<String, Value>) -> Option<PatchStrategy> {
    if text(fields, "x-kubernetes-patch-strategy") != Some("merge") {
        return None;
    }
    let key = text(fields, "x-kubernetes-patch-merge-key");
    Some(key.map_or(PatchStrategy::Union, |key| PatchStrategy::MergeBy(key.to_owned())))
}

fn text<'a>(fields: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    fields.get(field).and_then(Value::as_str)
}

fn texts(fields: &Map<String, Value>, field: &str) -> Vec<String> {
    let list = fields.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
