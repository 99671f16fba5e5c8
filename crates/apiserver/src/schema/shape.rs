//! What a schema says of a value somewhere inside an object.

use serde_json::Value;

use super::{List, Schema};
use crate::builtin;

/// What is known of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape<'a> {
    /// The object itself, whose metadata every kind shares.
    Root(Option<&'a Schema>),
    Of(&'a Schema),
    Unknown,
}

/// How a value is taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taken<'a> {
    /// It is one whole.
    Leaf,
    Map,
    Items(&'a List),
}

impl<'a> Shape<'a> {
    /// Returns the shape of a field.
    pub(crate) fn field(self, name: &str) -> Shape<'a> {
        let of = |schema: &'a Schema| match schema.property(name) {
            Some(schema) => Shape::Of(schema),
            None => schema.additional().map_or(Shape::Unknown, Shape::Of),
        };
        match self {
            Shape::Root(_) if name == "metadata" => Shape::Of(builtin::metadata()),
            Shape::Root(Some(schema)) | Shape::Of(schema) => of(schema),
            Shape::Root(None) | Shape::Unknown => Shape::Unknown,
        }
    }

    /// Returns whether the schema knows the field by its name.
    pub(crate) fn names(self, name: &str) -> bool {
        match self {
            Shape::Root(schema) => {
                matches!(name, "apiVersion" | "kind" | "metadata")
                    || schema.is_some_and(|schema| schema.property(name).is_some())
            }
            Shape::Of(schema) => schema.property(name).is_some(),
            Shape::Unknown => false,
        }
    }

    /// Returns the shape of the items of a list.
    pub(crate) fn item(self) -> Shape<'a> {
        self.schema().and_then(Schema::items).map_or(Shape::Unknown, Shape::Of)
    }

    /// Returns the schema of a value that is not the object itself.
    pub(crate) fn schema(self) -> Option<&'a Schema> {
        match self {
            Shape::Of(schema) => Some(schema),
            Shape::Root(_) | Shape::Unknown => None,
        }
    }

    /// Returns how a value of this shape is taken apart: where the schema says nothing, maps are and lists are not.
    pub(crate) fn take(self, value: &Value) -> Taken<'a> {
        match (self, value) {
            (Shape::Of(schema), Value::Object(_)) if schema.is_atomic_map() => Taken::Leaf,
            (_, Value::Object(_)) => Taken::Map,
            (Shape::Of(schema), Value::Array(_)) => match schema.list() {
                List::Atomic => Taken::Leaf,
                list => Taken::Items(list),
            },
            _ => Taken::Leaf,
        }
    }
}
