//! Values as Go's `fmt` sees them.

use std::borrow::Cow;
use std::fmt;

use golang::fmt::{Operand, View};

use super::{Map, Type, Value};

impl Operand for Value {
    fn view(&self) -> View<'_, Value> {
        match self {
            Value::Nil => View::Nil,
            Value::Bool(value) => View::Bool(*value),
            Value::Int(value) | Value::Int64(value) => View::Int(*value),
            Value::Uint8(value) => View::Uint(u64::from(*value)),
            Value::Uint64(value) => View::Uint(*value),
            Value::Float(value) => View::Float(*value),
            Value::Complex(real, imaginary) => View::Complex(*real, *imaginary),
            Value::String(text) => View::Text(text),
            Value::List(list) if **list.element() == Type::Uint8 => {
                let bytes = list.items().iter().filter_map(|item| match item {
                    Value::Uint8(byte) => Some(*byte),
                    _ => None,
                });
                View::Bytes(Cow::Owned(bytes.collect()))
            }
            Value::List(list) => View::List((!list.is_nil()).then(|| Cow::Borrowed(list.items()))),
            Value::Map(map) => View::Map((!map.is_nil()).then(|| map.entries())),
            Value::Object(object) => match object.text() {
                Some(text) => View::Stringer(Cow::Owned(text.into_bytes())),
                None => View::Struct(
                    object
                        .fields()
                        .into_iter()
                        .map(|field| (Cow::Borrowed(field.name), field.value))
                        .collect(),
                ),
            },
        }
    }

    fn type_name(&self) -> Cow<'_, str> {
        Cow::Owned(self.go_type().to_string())
    }
}

/// Debug output is Go's `%v` of the value's outermost level; containers show only their size, they may hold themselves.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::String(text) => write!(f, "{:?}", String::from_utf8_lossy(text)),
            Value::List(list) => write!(f, "{} of {}", self.go_type(), list.len()),
            Value::Map(map) => write!(f, "{} of {}", self.go_type(), map.len()),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) | Value::Int64(value) => write!(f, "{value}"),
            Value::Uint8(value) => write!(f, "{value}"),
            Value::Uint64(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Complex(real, imaginary) => write!(f, "({real}{imaginary:+}i)"),
            Value::Object(object) => f.write_str(&object.type_name()),
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.map_type(), self.len())
    }
}

impl fmt::Debug for super::List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[]{} of {}", self.element(), self.len())
    }
}
