//! The functions that templates call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::builtin;
use crate::exec::{Context, ExecError, Slot, execute};
use crate::run::{Limit, Run};
use crate::sprig;
use crate::value::{MapType, Type, Value};

/// The type of a parameter, as Go's reflection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Param {
    /// `interface {}`: any value, nil too.
    Any,
    /// `reflect.Value`, the parameters of Go's own functions: any value or none.
    Reflect,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `uint32`, which only a constant can be.
    Uint32,
    /// `float64`.
    Float,
    /// `string`.
    String,
    /// `map[string]interface {}`.
    Dict,
    /// A type that no value of ours has, e.g. `time.Time`.
    Named(&'static str),
}

/// Why a function did not give a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The function's own error.
    Message(String),
    /// A limit was reached.
    Limit(Limit),
    /// A template that the function executed failed.
    Template(ExecError),
}

/// What a function gets beside its arguments.
pub struct Call<'a> {
    /// The account to which costly work is charged.
    pub run: &'a mut Run,
    pub(crate) context: &'a Context<'a>,
    pub(crate) depth: usize,
}

type Native = Arc<dyn Fn(&mut Call<'_>, &[Value]) -> Result<Value, Fault> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Body {
    /// One of Go's own, which see whether a value came out of an interface.
    Builtin(fn(&mut Run, &[Slot]) -> Result<Slot, Fault>),
    /// `and`: the first argument that is false, else the last; later ones are not evaluated.
    And,
    /// `or`: the first argument that is true, else the last.
    Or,
    /// `call`.
    Call,
    Native(Native),
}

/// A function with its signature.
#[derive(Clone)]
pub struct Function {
    pub(crate) params: Vec<Param>,
    pub(crate) variadic: Option<Param>,
    /// Whether the result is of type `interface {}`, which shows in error texts.
    pub(crate) returns_any: bool,
    pub(crate) body: Body,
}

/// A set of functions by name. Cloning is cheap.
#[derive(Clone)]
pub struct Functions(Arc<Set>);

#[derive(Clone)]
struct Set {
    functions: BTreeMap<&'static str, Function>,
    later: BTreeSet<&'static str>,
}

/// Whether a name can be called.
pub(crate) enum Known {
    Yes,
    /// The set has this name in Go, but not here yet.
    Later,
    No,
}

impl Functions {
    /// Returns Go's own functions: `and`, `index`, `printf`, ….
    pub fn builtin() -> Functions {
        Functions(Arc::new(Set {
            functions: builtin::functions().into_iter().collect(),
            later: BTreeSet::new(),
        }))
    }

    /// Returns Go's own functions and Sprig's hermetic text set: those that always give the same for the same input.
    pub fn hermetic() -> Functions {
        static HERMETIC: LazyLock<Functions> = LazyLock::new(|| {
            let mut functions = Functions::builtin();
            let set = Arc::make_mut(&mut functions.0);
            set.functions.extend(sprig::functions());
            set.later.extend(sprig::LATER);
            functions
        });
        HERMETIC.clone()
    }

    /// Returns the set with one more function, which replaces one of the same name.
    #[must_use]
    pub fn with(mut self, name: &'static str, function: Function) -> Functions {
        let set = Arc::make_mut(&mut self.0);
        set.later.remove(name);
        set.functions.insert(name, function);
        self
    }

    /// Returns the names of all functions.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.functions.keys().copied()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Function> {
        self.0.functions.get(name)
    }

    pub(crate) fn knows(&self, name: &str) -> Known {
        match (self.0.functions.contains_key(name), self.0.later.contains(name)) {
            (true, _) => Known::Yes,
            (false, true) => Known::Later,
            (false, false) => Known::No,
        }
    }
}

impl Function {
    /// Returns a function of these parameters whose result has a type of its own.
    pub fn new(
        params: &[Param],
        body: impl Fn(&mut Call<'_>, &[Value]) -> Result<Value, Fault> + Send + Sync + 'static,
    ) -> Function {
        let body = Body::Native(Arc::new(body));
        Function { params: params.to_vec(), variadic: None, returns_any: false, body }
    }

    /// Returns the function taking any number of further arguments of one type.
    #[must_use]
    pub fn variadic(mut self, param: Param) -> Function {
        self.variadic = Some(param);
        self
    }

    /// Returns the function with the result type `interface {}`.
    #[must_use]
    pub fn returns_any(mut self) -> Function {
        self.returns_any = true;
        self
    }
}

impl Call<'_> {
    /// Returns what another template of the same set writes for `data`.
    pub fn include(&mut self, name: &str, data: &Value) -> Result<Vec<u8>, Fault> {
        execute(self.context, name, data, self.run, self.depth + 1).map_err(|error| match error {
            ExecError::Limit(limit) => Fault::Limit(limit),
            error => Fault::Template(error),
        })
    }
}

impl Param {
    /// Returns whether nil can be passed.
    pub(crate) fn can_be_nil(self) -> bool {
        matches!(self, Param::Any | Param::Reflect | Param::Dict)
    }

    /// Returns what nil becomes.
    pub(crate) fn zero(self) -> Value {
        match self {
            Param::Dict => Type::Map(MapType::dict()).zero(),
            _ => Value::Nil,
        }
    }

    /// Returns whether a value has the type already.
    pub(crate) fn accepts(self, value: &Value) -> bool {
        match self {
            Param::Any | Param::Reflect => true,
            Param::Bool => matches!(value, Value::Bool(_)),
            Param::Int => matches!(value, Value::Int(_)),
            Param::Uint32 => false,
            Param::Float => matches!(value, Value::Float(_)),
            Param::String => matches!(value, Value::String(_)),
            Param::Dict => match value {
                Value::Map(map) => {
                    map.map_type().key == Type::String && map.map_type().element == Type::Interface
                }
                _ => false,
            },
            Param::Named(name) => {
                matches!(value, Value::Object(object) if object.type_name() == name)
            }
        }
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Param::Any => "interface {}",
            Param::Reflect => "reflect.Value",
            Param::Bool => "bool",
            Param::Int => "int",
            Param::Uint32 => "uint32",
            Param::Float => "float64",
            Param::String => "string",
            Param::Dict => "map[string]interface {}",
            Param::Named(name) => name,
        })
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Function");
        debug.field("params", &self.params).field("variadic", &self.variadic);
        debug.finish_non_exhaustive()
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl From<Limit> for Fault {
    fn from(limit: Limit) -> Self {
        Fault::Limit(limit)
    }
}

impl Fault {
    /// Returns a function's own error.
    pub fn message(text: impl Into<String>) -> Fault {
        Fault::Message(text.into())
    }
}
