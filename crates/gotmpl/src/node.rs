//! The parsed template, and how its pieces print in error texts.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// A block of nodes.
pub(crate) type Block = Vec<Node>;

/// A step of a template.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(Arc<str>),
    Action { at: usize, pipe: Pipe },
    If { pipe: Pipe, list: Block, or_else: Option<Block> },
    With { pipe: Pipe, list: Block, or_else: Option<Block> },
    Range { pipe: Pipe, list: Block, or_else: Option<Block> },
    Template { at: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

/// Commands, each the last argument of the next, and the variables that take the result.
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    pub(crate) at: usize,
    pub(crate) is_assign: bool,
    pub(crate) variables: Vec<String>,
    pub(crate) commands: Vec<Command>,
}

/// A word with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) at: usize,
    pub(crate) args: Vec<Expr>,
}

/// An operand and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    pub(crate) kind: ExprKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ExprKind {
    Bool(bool),
    Dot,
    Nil,
    Number(Number),
    String {
        quoted: String,
        text: Arc<[u8]>,
    },
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`: the name, then the fields.
    Variable(Vec<String>),
    Identifier(String),
    Pipe(Box<Pipe>),
    /// `(…).A.B` or `f.A.B`.
    Chain(Box<Expr>, Vec<String>),
}

/// A constant with all the types that it can have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Number {
    pub(crate) text: String,
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    pub(crate) complex: Option<(f64, f64)>,
}

/// Returns whether a block writes nothing: then a later definition of the same name replaces it.
pub(crate) fn is_empty(block: &Block) -> bool {
    block.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// The whole of what one name stands for.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// The name under which its text was parsed, which error texts show.
    pub(crate) parse_name: Arc<str>,
    /// The text, for lines and columns.
    pub(crate) text: Arc<str>,
    pub(crate) root: Arc<Block>,
}

impl Tree {
    /// Returns `NAME:LINE:COLUMN` of a byte offset, columns counted in bytes as Go does.
    pub(crate) fn location(&self, at: usize) -> String {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let column = match before.iter().rposition(|byte| *byte == b'\n') {
            None => before.len(),
            Some(newline) => before.len() - newline - 1,
        };
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("{}:{line}:{column}", self.parse_name)
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.is_assign { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            if at > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, arg) in self.args.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            match &arg.kind {
                ExprKind::Pipe(pipe) => write!(f, "({pipe})")?,
                _ => write!(f, "{arg}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Dot => f.write_str("."),
            ExprKind::Nil => f.write_str("nil"),
            ExprKind::Number(number) => f.write_str(&number.text),
            ExprKind::String { quoted, .. } => f.write_str(quoted),
            ExprKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            ExprKind::Variable(names) => f.write_str(&names.join(".")),
            ExprKind::Identifier(name) => f.write_str(name),
            ExprKind::Pipe(pipe) => write!(f, "{pipe}"),
            ExprKind::Chain(node, names) => {
                match &node.kind {
                    ExprKind::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => write!(f, "{node}")?,
                }
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
        }
    }
}

/// Returns the text of `{{template …}}` as error texts show it.
pub(crate) fn show_template(name: &str, pipe: Option<&Pipe>) -> String {
    let name = golang::strconv::quote(name.as_bytes());
    match pipe {
        Some(pipe) => format!("{{{{template {name} {pipe}}}}}"),
        None => format!("{{{{template {name}}}}}"),
    }
}

/// Returns the text of a string node for values.
pub(crate) fn shared(text: &Arc<[u8]>) -> Rc<[u8]> {
    Rc::from(&**text)
}
