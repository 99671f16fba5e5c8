//! The values that templates work on: Go's, as far as a template can see them.

mod compare;
mod container;
mod show;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

pub(crate) use compare::deep_equal;
pub use container::{List, Map, MapType};

use crate::function::{Call, Fault, Param};

/// A value. Cloning is cheap: strings, lists and maps are shared, a map with its changes.
#[derive(Clone)]
pub enum Value {
    /// Nothing: Go's nil interface.
    Nil,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `int64`, which Sprig's arithmetic yields.
    Int64(i64),
    /// `uint8`, a byte of a string.
    Uint8(u8),
    /// `uint64`.
    Uint64(u64),
    /// `float64`.
    Float(f64),
    /// `complex128`: real and imaginary part.
    Complex(f64, f64),
    /// `string`, which need not be UTF-8.
    String(Rc<[u8]>),
    /// A slice.
    List(List),
    /// A map.
    Map(Map),
    /// A struct or another thing of the caller.
    Object(Rc<dyn Object>),
}

/// A Go type, for signatures, errors and the zero values of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`.
    Interface,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `int64`.
    Int64,
    /// `uint8`.
    Uint8,
    /// `uint64`.
    Uint64,
    /// `float64`.
    Float,
    /// `complex128`.
    Complex,
    /// `string`.
    String,
    /// A slice of a type.
    List(Rc<Type>),
    /// A map.
    Map(Rc<MapType>),
    /// A caller's type by its name, e.g. `update.Change`.
    Named(Cow<'static, str>),
}

/// A caller's value with fields and methods.
pub trait Object {
    /// Returns the name of the type as Go prints it, e.g. `update.Change`.
    fn type_name(&self) -> Cow<'static, str>;
    /// Returns the fields in order of declaration.
    fn fields(&self) -> Vec<Field>;
    /// Returns the method of that name.
    fn method(&self, name: &str) -> Option<Method> {
        let _ = name;
        None
    }
    /// Returns what the value's own `String` method gives, if it has one.
    fn text(&self) -> Option<String> {
        None
    }
    /// Returns the text that stands for the value in JSON, if the type has a form of its own there.
    fn json(&self) -> Option<String> {
        None
    }
    /// Returns the value itself to functions that know its type.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }
    /// Returns whether this is a pointer: then `type_name` starts with `*`.
    fn is_pointer(&self) -> bool {
        false
    }
}

/// One field of an [`Object`].
#[derive(Debug, Clone)]
pub struct Field {
    /// The name as templates write it.
    pub name: &'static str,
    /// The name in JSON; `None` leaves the field out, `Some("")` puts an embedded struct's fields in its place.
    pub json: Option<&'static str>,
    /// Whether JSON leaves the field out when it is empty.
    pub omit_empty: bool,
    /// Whether the struct is embedded: its fields and methods can be reached without naming it.
    pub embedded: bool,
    /// The value.
    pub value: Value,
}

impl Field {
    /// Returns a plain field whose JSON name is its own.
    pub fn new(name: &'static str, value: Value) -> Self {
        Field { name, json: Some(name), omit_empty: false, embedded: false, value }
    }
}

/// The body of a method: it gets the call's account and the checked arguments.
type MethodBody = Rc<dyn Fn(&mut Call<'_>, &[Value]) -> Result<Value, Fault>>;

/// A method of an [`Object`], bound to it.
#[derive(Clone)]
pub struct Method {
    /// The parameters.
    pub params: &'static [Param],
    /// The body.
    pub body: MethodBody,
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method").field("params", &self.params).finish_non_exhaustive()
    }
}

impl fmt::Debug for dyn Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.type_name(), self.fields())
    }
}

impl Value {
    /// Returns a string of these bytes.
    pub fn string(text: impl AsRef<[u8]>) -> Value {
        Value::String(Rc::from(text.as_ref()))
    }

    /// Returns a list of type `[]interface {}`.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
        Value::List(List::new(Type::Interface, items.into_iter().collect()))
    }

    /// Returns a list of type `[]string`.
    pub fn strings<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Value {
        Value::List(List::new(Type::String, items.into_iter().map(Value::string).collect()))
    }

    /// Returns a map of type `map[string]interface {}`.
    pub fn dict<K: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(Map::with_strings(MapType::dict(), entries))
    }

    /// Returns the value's type; [`Value::Nil`] has `interface {}`.
    pub fn go_type(&self) -> Type {
        match self {
            Value::Nil => Type::Interface,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Int64(_) => Type::Int64,
            Value::Uint8(_) => Type::Uint8,
            Value::Uint64(_) => Type::Uint64,
            Value::Float(_) => Type::Float,
            Value::Complex(..) => Type::Complex,
            Value::String(_) => Type::String,
            Value::List(list) => Type::List(list.element().clone()),
            Value::Map(map) => Type::Map(map.map_type().clone()),
            Value::Object(object) => Type::Named(object.type_name()),
        }
    }

    /// Returns the value's kind as Go's `reflect.Kind` prints it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "invalid",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Int64(_) => "int64",
            Value::Uint8(_) => "uint8",
            Value::Uint64(_) => "uint64",
            Value::Float(_) => "float64",
            Value::Complex(..) => "complex128",
            Value::String(_) => "string",
            Value::List(_) => "slice",
            Value::Map(_) => "map",
            Value::Object(object) if object.is_pointer() => "ptr",
            Value::Object(_) => "struct",
        }
    }

    /// Returns whether the value counts as true: not nil, false, zero or empty.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) | Value::Int64(value) => *value != 0,
            Value::Uint8(value) => *value != 0,
            Value::Uint64(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Value::String(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Object(_) => true,
        }
    }

    /// Returns the signed integer, whatever its Go type.
    pub(crate) fn as_signed(&self) -> Option<i64> {
        match self {
            Value::Int(value) | Value::Int64(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the unsigned integer, whatever its Go type.
    pub(crate) fn as_unsigned(&self) -> Option<u64> {
        match self {
            Value::Uint8(value) => Some(u64::from(*value)),
            Value::Uint64(value) => Some(*value),
            _ => None,
        }
    }
}

impl Type {
    /// Returns the zero value of the type.
    pub(crate) fn zero(&self) -> Value {
        match self {
            Type::Interface | Type::Named(_) => Value::Nil,
            Type::Bool => Value::Bool(false),
            Type::Int => Value::Int(0),
            Type::Int64 => Value::Int64(0),
            Type::Uint8 => Value::Uint8(0),
            Type::Uint64 => Value::Uint64(0),
            Type::Float => Value::Float(0.0),
            Type::Complex => Value::Complex(0.0, 0.0),
            Type::String => Value::string(""),
            Type::List(element) => Value::List(List::nil(element.clone())),
            Type::Map(map_type) => Value::Map(Map::nil(map_type.clone())),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Interface => f.write_str("interface {}"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Int64 => f.write_str("int64"),
            Type::Uint8 => f.write_str("uint8"),
            Type::Uint64 => f.write_str("uint64"),
            Type::Float => f.write_str("float64"),
            Type::Complex => f.write_str("complex128"),
            Type::String => f.write_str("string"),
            Type::List(element) => write!(f, "[]{element}"),
            Type::Map(map_type) => write!(f, "{map_type}"),
            Type::Named(name) => f.write_str(name),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::string(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}
