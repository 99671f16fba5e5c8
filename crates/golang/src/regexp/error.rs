//! Why a pattern was refused, in Go's words.

use std::fmt;

/// Why a pattern is not a regular expression; prints Go's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    expression: Vec<u8>,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A range in a class runs backwards, or names a class that does not exist.
    InvalidCharRange,
    /// An escape sequence that RE2 does not know.
    InvalidEscape,
    /// The name of a group is not made of letters, digits and `_`.
    InvalidNamedCapture,
    /// A `(?…` that RE2 does not know.
    InvalidPerlOp,
    /// A repetition of a repetition, such as `a**`.
    InvalidRepeatOp,
    /// A repeat count over 1000, or one that runs backwards.
    InvalidRepeatSize,
    /// The pattern is not UTF-8.
    InvalidUtf8,
    /// A class without its `]`.
    MissingBracket,
    /// A group without its `)`.
    MissingParen,
    /// A repetition of nothing, such as `*`.
    MissingRepeatArgument,
    /// The pattern ends in `\`.
    TrailingBackslash,
    /// A `)` without its group.
    UnexpectedParen,
    /// Groups nest deeper than [`HEIGHT_MAX`](super::HEIGHT_MAX).
    NestingDepth,
    /// The compiled expression would be too large.
    Large,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, expression: &[u8]) -> Error {
        Error { kind, expression: expression.to_vec() }
    }

    /// Returns what is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the part of the pattern that is wrong, as it was given.
    pub fn expression(&self) -> &[u8] {
        &self.expression
    }

    /// Returns Go's text as bytes: unlike `Display` it keeps a part that is not UTF-8.
    pub fn message(&self) -> Vec<u8> {
        let mut message = format!("error parsing regexp: {}: `", self.kind.text()).into_bytes();
        message.extend_from_slice(&self.expression);
        message.push(b'`');
        message
    }
}

impl ErrorKind {
    fn text(self) -> &'static str {
        match self {
            ErrorKind::InvalidCharRange => "invalid character class range",
            ErrorKind::InvalidEscape => "invalid escape sequence",
            ErrorKind::InvalidNamedCapture => "invalid named capture",
            ErrorKind::InvalidPerlOp => "invalid or unsupported Perl syntax",
            ErrorKind::InvalidRepeatOp => "invalid nested repetition operator",
            ErrorKind::InvalidRepeatSize => "invalid repeat count",
            ErrorKind::InvalidUtf8 => "invalid UTF-8",
            ErrorKind::MissingBracket => "missing closing ]",
            ErrorKind::MissingParen => "missing closing )",
            ErrorKind::MissingRepeatArgument => "missing argument to repetition operator",
            ErrorKind::TrailingBackslash => "trailing backslash at end of expression",
            ErrorKind::UnexpectedParen => "unexpected )",
            ErrorKind::NestingDepth => "expression nests too deeply",
            ErrorKind::Large => "expression too large",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl std::error::Error for Error {}
