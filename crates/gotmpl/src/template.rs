//! Templates as callers use them.

use std::sync::Arc;

use crate::exec::{Context, ExecError, execute};
use crate::function::Functions;
use crate::parse::{ParseError, Trees, parse};
use crate::run::Run;
use crate::value::Value;

/// A parsed template with all templates that it defines. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    trees: Arc<Trees>,
    functions: Functions,
    missing_key: MissingKey,
}

// A parsed template is kept and shared between threads; values are not.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Template>();
    is_shared::<Functions>();
};

/// How a template is read and what a missing key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a> {
    /// The opening and the closing delimiter.
    pub delimiters: (&'a str, &'a str),
    /// What a missing key of a map gives.
    pub missing_key: MissingKey,
}

/// What a missing key of a map gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// Nothing, which prints as `<no value>`.
    #[default]
    NoValue,
    /// The zero value of the map's type.
    Zero,
    /// An error.
    Error,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { delimiters: ("{{", "}}"), missing_key: MissingKey::NoValue }
    }
}

impl Template {
    /// Returns the parsed template, or Go's text of why it is none.
    pub fn parse(name: &str, text: &str, functions: &Functions) -> Result<Template, ParseError> {
        Template::parse_with(name, text, functions, Options::default())
    }

    /// Returns the parsed template, read with `options`.
    pub fn parse_with(
        name: &str,
        text: &str,
        functions: &Functions,
        options: Options<'_>,
    ) -> Result<Template, ParseError> {
        let mut trees = Trees::new();
        parse(name, text, options.delimiters, functions, &mut trees)?;
        Ok(Template {
            name: name.into(),
            trees: Arc::new(trees),
            functions: functions.clone(),
            missing_key: options.missing_key,
        })
    }

    /// Parses another text into the same set: its definitions, and itself under `name`, can then be called.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        let trees = Arc::make_mut(&mut self.trees);
        parse(name, text, ("{{", "}}"), &self.functions, trees)
    }

    /// Returns what the template writes for `data`.
    pub fn execute(&self, data: &Value, run: &mut Run) -> Result<Vec<u8>, ExecError> {
        self.execute_named(&self.name, data, run)
    }

    /// Returns what the template of that name within this set writes for `data`.
    pub fn execute_named(
        &self,
        name: &str,
        data: &Value,
        run: &mut Run,
    ) -> Result<Vec<u8>, ExecError> {
        let context = Context {
            trees: &self.trees,
            functions: &self.functions,
            missing_key: self.missing_key,
        };
        execute(&context, name, data, run, 0)
    }
}
