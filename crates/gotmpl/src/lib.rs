//! Go's text/template with Sprig's functions, bounded by fuel.
//!
//! ```
//! let functions = gotmpl::Functions::hermetic();
//! let template = gotmpl::Template::parse("greeting", "Hello {{ .name | upper }}!", &functions)?;
//! let data = gotmpl::Value::dict([("name", gotmpl::Value::from("world"))]);
//! let out = template.execute(&data, &mut gotmpl::Run::new(gotmpl::Limits::default()))?;
//! assert_eq!(out, b"Hello WORLD!");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A template is parsed once with the functions it may call ([`Functions`]) and executed on a [`Value`]. What an
//! execution may cost is said by [`Limits`]; a [`Run`] keeps the account and can be shared by several executions.
//! Texts of errors are Go's, byte for byte; reaching a limit is an error of its own kind ([`ExecError::Limit`]).

mod builtin;
mod exec;
mod function;
mod json;
mod lex;
mod node;
mod parse;
mod run;
mod sprig;
mod template;
mod value;

pub use exec::ExecError;
pub use function::{Call, Fault, Function, Functions, Param};
pub use parse::ParseError;
pub use run::{Limit, Limits, Run};
pub use template::{MissingKey, Options, Template};
pub use value::{Field, List, Map, MapType, Method, Object, Type, Value};
