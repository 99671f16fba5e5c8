//! Go's conversions between strings and basic values.

mod number;
mod quote;

pub use number::{format_float, parse_bool, parse_float, parse_int, parse_uint};
pub use quote::{
    can_backquote, quote, quote_rune, quote_rune_to_ascii, quote_to_ascii, unquote, unquote_char,
};

/// Why a text is not the value that was asked for; prints as Go's `NumError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("strconv.{function}: parsing {}: {reason}", quote(text.as_bytes()))]
pub struct NumError {
    /// The Go function whose grammar was not met, e.g. `ParseInt`.
    pub function: &'static str,
    /// The text as it was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The text does not follow the grammar.
    #[error("invalid syntax")]
    Syntax,
    /// The value does not fit the type.
    #[error("value out of range")]
    Range,
}

/// A quoted text that does not follow Go's grammar; prints as Go's `ErrSyntax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid syntax")]
pub struct SyntaxError;
