//! What is wrong with a YAML text, and where.

/// A fault in a YAML text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct Error {
    /// The line of the fault, counted from 1.
    pub line: usize,
    /// The column of the fault in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: Reason,
}

/// What can be wrong with a YAML text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The text is UTF-16 or UTF-32.
    #[error("the file is not UTF-8 but UTF-16 or UTF-32: save it as UTF-8")]
    WideEncoding,
    /// Some bytes are not UTF-8.
    #[error("the file is not valid UTF-8")]
    NotUtf8,
    /// The text exceeds [`crate::scan::BYTES_MAX`].
    #[error("the file has more than {} bytes", crate::scan::BYTES_MAX)]
    TooLong,
    /// The text exceeds [`crate::scan::DEPTH_MAX`].
    #[error("the file nests more than {} levels deep", crate::scan::DEPTH_MAX)]
    TooDeep,
    /// The text exceeds [`crate::scan::EVENTS_MAX`].
    #[error("the file has more than {} nodes and comments", crate::scan::EVENTS_MAX)]
    TooManyNodes,
    /// The parser refuses the text.
    #[error("{0}")]
    Syntax(String),
    /// A collection contains an alias to itself.
    #[error("an anchor's value contains itself")]
    AliasCycle,
    /// Aliases multiply the document beyond what Go's reader allows.
    #[error("the document contains excessive aliasing")]
    ExcessiveAliasing,
    /// `<<` has a value other than a mapping or a sequence of mappings.
    #[error("a merge key requires a mapping or a sequence of mappings as its value")]
    Merge,
    /// A mapping key that has no text in JSON: a collection, null, or a number above `i64::MAX`.
    #[error("this mapping key cannot be a JSON key")]
    Key,
    /// A scalar that its explicit tag does not allow.
    #[error("cannot decode `{value}` as a {tag}")]
    Tag {
        /// The scalar's text.
        value: String,
        /// Its tag in short form, such as `!!int`.
        tag: String,
    },
    /// A number that JSON cannot hold: not a number, or infinite.
    #[error("`{0}` has no form in JSON")]
    NotJson(String),
}

impl Error {
    pub(crate) fn at(line: usize, column: usize, reason: Reason) -> Error {
        Error { line, column, reason }
    }
}
