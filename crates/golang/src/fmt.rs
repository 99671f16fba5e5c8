//! Go's formatting verbs, as `text/template` shows them.
//!
//! A caller's values implement [`Operand`]; [`sprintf`], [`sprint`] and [`sprintln`] write them as Go's `fmt` would.
//! Output goes to a [`Buffer`] with a limit: what would exceed it is not written, and the buffer says so.

mod number;
mod print;

use std::borrow::Cow;

pub use print::{sprint, sprintf, sprintln};

/// How deeply values may nest when printed. Deeper ones (as a map that holds itself) overflow the [`Buffer`].
pub const DEPTH_MAX: usize = 200;

/// A value that can be formatted.
pub trait Operand: Clone {
    /// Returns the value's shape and content.
    fn view(&self) -> View<'_, Self>;
    /// Returns the name of its Go type as `%T` prints it, e.g. `map[string]interface {}`.
    fn type_name(&self) -> Cow<'_, str>;
}

/// What a value looks like to the formatter.
#[derive(Debug, Clone)]
pub enum View<'a, V: Clone> {
    /// A nil interface.
    Nil,
    /// A boolean.
    Bool(bool),
    /// A signed integer of any size.
    Int(i64),
    /// An unsigned integer of any size.
    Uint(u64),
    /// A `float64`.
    Float(f64),
    /// A `complex128`: real and imaginary part.
    Complex(f64, f64),
    /// A string; Go's strings need not be UTF-8.
    Text(&'a [u8]),
    /// A slice of bytes.
    Bytes(Cow<'a, [u8]>),
    /// A slice; `None` is a nil one.
    List(Option<Cow<'a, [V]>>),
    /// A map with its entries in the order of printing; `None` is a nil one.
    Map(Option<Vec<(V, V)>>),
    /// A struct with its fields.
    Struct(Vec<(Cow<'a, str>, V)>),
    /// Anything that prints itself: an error, or a type with a `String` method.
    Stringer(Cow<'a, [u8]>),
    /// A function or another thing that shows as an address.
    Address,
}

/// Bytes written so far, never more than a limit.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
    overflow: Option<Overflow>,
}

/// Why something was left out of a [`Buffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The text would be longer than the limit.
    Bytes,
    /// A value nests more than [`DEPTH_MAX`] levels deep.
    Depth,
}

impl Buffer {
    /// Returns an empty buffer that takes at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Buffer { bytes: Vec::new(), limit, overflow: None }
    }

    /// Returns the bytes, or why something had to be left out.
    pub fn finish(self) -> Result<Vec<u8>, Overflow> {
        match self.overflow {
            None => Ok(self.bytes),
            Some(overflow) => Err(overflow),
        }
    }

    fn is_full(&self) -> bool {
        self.overflow.is_some()
    }

    fn overflow(&mut self, overflow: Overflow) {
        self.overflow.get_or_insert(overflow);
    }

    fn push(&mut self, text: &[u8]) {
        if text.len() > self.limit - self.bytes.len() {
            self.overflow(Overflow::Bytes);
        } else if !self.is_full() {
            self.bytes.extend_from_slice(text);
        }
    }

    fn push_char(&mut self, rune: char) {
        self.push(rune.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
