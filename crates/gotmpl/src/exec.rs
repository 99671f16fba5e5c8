//! Executes templates; error texts are Go's.

mod call;
mod eval;

use golang::fmt::{Buffer, Overflow, sprint};
use golang::strconv::quote;

use crate::function::Functions;
use crate::node::{Block, Command, Expr, Node, Pipe, Tree, show_template};
use crate::parse::Trees;
use crate::run::{Limit, Run};
use crate::template::MissingKey;
use crate::value::{Type, Value};

/// Why an execution ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// The template did something wrong; the text is Go's.
    #[error("{0}")]
    Template(String),
    /// A limit was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// What all executions of one set of templates share.
pub(crate) struct Context<'a> {
    pub(crate) trees: &'a Trees,
    pub(crate) functions: &'a Functions,
    pub(crate) missing_key: MissingKey,
}

/// A value in the place it was found in.
///
/// Go tells apart "no value" (`Nil`, not boxed) and a nil in an interface (`Nil`, boxed), and names the interface in
/// errors about what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) value: Value,
    pub(crate) boxed: bool,
}

impl Slot {
    pub(crate) fn plain(value: Value) -> Slot {
        Slot { value, boxed: false }
    }

    /// Returns a value that came out of a container with items of this type.
    pub(crate) fn of(value: Value, element: &Type) -> Slot {
        Slot { value, boxed: *element == Type::Interface }
    }

    fn is_invalid(&self) -> bool {
        !self.boxed && matches!(self.value, Value::Nil)
    }

    /// Returns the name of the static type.
    fn type_name(&self) -> String {
        if self.boxed { Type::Interface.to_string() } else { self.value.go_type().to_string() }
    }
}

/// The node that an error text names.
#[derive(Clone, Copy)]
enum Spot<'a> {
    Start,
    Pipe(&'a Pipe),
    Command(&'a Command),
    Expr(&'a Expr),
    Action(usize, &'a Pipe),
    Template(usize, &'a str, Option<&'a Pipe>),
}

/// What comes after a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct State<'a> {
    context: &'a Context<'a>,
    name: &'a str,
    tree: &'a Tree,
    run: &'a mut Run,
    out: &'a mut Vec<u8>,
    variables: Vec<(&'a str, Slot)>,
    spot: Spot<'a>,
    depth: usize,
}

type Executed<T> = Result<T, ExecError>;

/// Returns what the template `name` writes for `data`. `depth` counts the levels of the execution that calls it.
pub(crate) fn execute(
    context: &Context<'_>,
    name: &str,
    data: &Value,
    run: &mut Run,
    depth: usize,
) -> Executed<Vec<u8>> {
    let Some((name, tree)) = context.trees.get_key_value(name) else {
        let quoted = quote(name.as_bytes());
        return Err(ExecError::Template(format!(
            "template: no template {quoted} associated with template {quoted}"
        )));
    };
    let mut out = Vec::new();
    let dot = Slot::plain(data.clone());
    let variables = vec![("$", dot.clone())];
    let mut state =
        State { context, name, tree, run, out: &mut out, variables, spot: Spot::Start, depth };
    state.walk(&dot, &tree.root)?;
    Ok(out)
}

impl<'a> State<'a> {
    /// Returns an error at the current node.
    fn fail<T>(&self, message: impl AsRef<str>) -> Executed<T> {
        let (at, context) = match self.spot {
            Spot::Start => {
                let text = format!("template: {}: {}", self.name, message.as_ref());
                return Err(ExecError::Template(text));
            }
            Spot::Pipe(pipe) => (pipe.at, pipe.to_string()),
            Spot::Command(command) => (command.at, command.to_string()),
            Spot::Expr(expr) => (expr.at, expr.to_string()),
            Spot::Action(at, pipe) => (at, format!("{{{{{pipe}}}}}")),
            Spot::Template(at, name, pipe) => (at, show_template(name, pipe)),
        };
        let (location, name) = (self.tree.location(at), quote(self.name.as_bytes()));
        Err(ExecError::Template(format!(
            "template: {location}: executing {name} at <{context}>: {}",
            message.as_ref()
        )))
    }

    /// Goes one level deeper; the caller comes back up.
    fn deeper(&mut self) -> Executed<()> {
        self.depth += 1;
        let depth = self.run.limits().depth;
        if self.depth > depth { Err(Limit::Depth(depth).into()) } else { Ok(()) }
    }

    fn walk(&mut self, dot: &Slot, block: &'a Block) -> Executed<Flow> {
        self.deeper()?;
        for node in block {
            self.run.charge(1)?;
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                self.depth -= 1;
                return Ok(flow);
            }
        }
        self.depth -= 1;
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Slot, node: &'a Node) -> Executed<Flow> {
        match node {
            Node::Text(text) => self.write(text.as_bytes())?,
            Node::Action { at, pipe } => {
                let slot = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.spot = Spot::Action(*at, pipe);
                    self.print(&slot.value)?;
                }
            }
            Node::If { pipe, list, or_else } => {
                let mark = self.variables.len();
                let flow = match self.pipeline(dot, pipe)?.value.is_true() {
                    true => self.walk(dot, list)?,
                    false => self.walk_else(dot, or_else.as_ref())?,
                };
                self.variables.truncate(mark);
                return Ok(flow);
            }
            Node::With { pipe, list, or_else } => {
                let mark = self.variables.len();
                let slot = self.pipeline(dot, pipe)?;
                let flow = match slot.value.is_true() {
                    true => self.walk(&slot, list)?,
                    false => self.walk_else(dot, or_else.as_ref())?,
                };
                self.variables.truncate(mark);
                return Ok(flow);
            }
            Node::Range { pipe, list, or_else } => {
                let mark = self.variables.len();
                let flow = match self.range(dot, pipe, list)? {
                    // Nothing to iterate over.
                    None => self.walk_else(dot, or_else.as_ref())?,
                    Some(()) => Flow::Next,
                };
                self.variables.truncate(mark);
                return Ok(flow);
            }
            Node::Template { at, name, pipe } => self.template(dot, *at, name, pipe.as_ref())?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn walk_else(&mut self, dot: &Slot, or_else: Option<&'a Block>) -> Executed<Flow> {
        or_else.map_or(Ok(Flow::Next), |block| self.walk(dot, block))
    }

    /// Executes a range; `None` when there was nothing to iterate over.
    fn range(&mut self, dot: &Slot, pipe: &'a Pipe, list: &'a Block) -> Executed<Option<()>> {
        let value = self.pipeline(dot, pipe)?.value;
        let mark = self.variables.len();
        let once = |state: &mut Self, index: Value, slot: Slot| {
            state.set_range_variables(pipe, index, &slot)?;
            let flow = state.walk(&slot, list)?;
            state.variables.truncate(mark);
            Ok::<bool, ExecError>(flow != Flow::Break)
        };
        match &value {
            Value::Nil => Ok(None),
            Value::List(items) if items.is_empty() => Ok(None),
            Value::List(items) => {
                for (index, item) in items.items().iter().enumerate() {
                    let slot = Slot::of(item.clone(), items.element());
                    if !once(self, Value::Int(index as i64), slot)? {
                        break;
                    }
                }
                Ok(Some(()))
            }
            Value::Map(map) if map.is_empty() => Ok(None),
            Value::Map(map) => {
                self.run.charge(map.len() as u64)?;
                for (key, item) in map.entries() {
                    if !once(self, key, Slot::of(item, &map.map_type().element))? {
                        break;
                    }
                }
                Ok(Some(()))
            }
            Value::Int(_) | Value::Int64(_) | Value::Uint8(_) | Value::Uint64(_) => {
                if pipe.variables.len() > 1 {
                    let shown = self.show(&value)?;
                    return self
                        .fail(format!("can't use {shown} to iterate over more than one variable"));
                }
                let end = value.as_signed().unwrap_or_default();
                let end = value.as_unsigned().unwrap_or(u64::try_from(end).unwrap_or(0));
                for number in 0..end {
                    let item = match value {
                        Value::Int64(_) => Value::Int64(number as i64),
                        Value::Uint8(_) => Value::Uint8(number as u8),
                        Value::Uint64(_) => Value::Uint64(number),
                        _ => Value::Int(number as i64),
                    };
                    if !once(self, Value::Nil, Slot::plain(item))? {
                        break;
                    }
                }
                Ok((end > 0).then_some(()))
            }
            _ => {
                let shown = self.show(&value)?;
                self.fail(format!("range can't iterate over {shown}"))
            }
        }
    }

    fn set_range_variables(&mut self, pipe: &'a Pipe, index: Value, slot: &Slot) -> Executed<()> {
        // A single item still costs a step, even if the body is empty.
        self.run.charge(1)?;
        let top = self.variables.len();
        let index = Slot::plain(index);
        match (&pipe.variables[..], pipe.is_assign) {
            ([], _) => {}
            ([item], true) => self.set_variable(item, slot.clone())?,
            ([key, item, ..], true) => {
                self.set_variable(key, index)?;
                self.set_variable(item, slot.clone())?;
            }
            ([_], false) => self.variables[top - 1].1 = slot.clone(),
            ([_, _, ..], false) => {
                self.variables[top - 1].1 = slot.clone();
                self.variables[top - 2].1 = index;
            }
        }
        Ok(())
    }

    fn template(
        &mut self,
        dot: &Slot,
        at: usize,
        name: &'a str,
        pipe: Option<&'a Pipe>,
    ) -> Executed<()> {
        self.spot = Spot::Template(at, name, pipe);
        let Some((name, tree)) = self.context.trees.get_key_value(name) else {
            return self.fail(format!("template {} not defined", quote(name.as_bytes())));
        };
        let dot = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Slot::plain(Value::Nil),
        };
        let mut state = State {
            context: self.context,
            name,
            tree,
            run: self.run,
            out: self.out,
            variables: vec![("$", dot.clone())],
            spot: Spot::Start,
            depth: self.depth,
        };
        state.walk(&dot, &tree.root)?;
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> Executed<()> {
        self.run.charge_output(text.len())?;
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn print(&mut self, value: &Value) -> Executed<()> {
        match value {
            Value::Nil => self.write(b"<no value>"),
            Value::String(text) => self.write(text),
            _ => {
                let mut buffer = Buffer::new(self.run.output_left());
                sprint(&mut buffer, std::slice::from_ref(value));
                match buffer.finish() {
                    Ok(text) => self.write(&text),
                    Err(Overflow::Bytes) => Err(Limit::Output(self.run.limits().output).into()),
                    Err(Overflow::Depth) => Err(Limit::Nesting(golang::fmt::DEPTH_MAX).into()),
                }
            }
        }
    }

    /// Returns a value as error texts show it.
    fn show(&mut self, value: &Value) -> Executed<String> {
        let text = crate::builtin::format_values(self.run, |out| {
            golang::fmt::sprintf(out, b"%v", std::slice::from_ref(value));
        })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn set_variable(&mut self, name: &str, slot: Slot) -> Executed<()> {
        match self.variables.iter_mut().rev().find(|(other, _)| *other == name) {
            Some((_, variable)) => {
                *variable = slot;
                Ok(())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }
}
