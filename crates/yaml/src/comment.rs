//! Which node a comment belongs to, by the rules of go-yaml v3.
//!
//! Those rules are what users know from tools written in Go: a comment behind a scalar on its line is its *line comment*; a comment
//! on lines of its own is the *head comment* of the node that follows, unless it is the foot of what precedes it. The rules
//! work on tokens, so the tokens between the parser's nodes are read from the text first.

mod fold;
pub(crate) mod tokens;

use crate::scan::Stream;

/// Where a comment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the line comment of the scalar that is this event; `alone` unless it shares it with another comment.
    Line {
        /// The index of the scalar in [`Stream::events`].
        event: usize,
        /// Whether it is the scalar's only line comment.
        alone: bool,
    },
    /// It is the head comment of the scalar that is this event.
    Head {
        /// The index of the scalar in [`Stream::events`].
        event: usize,
        /// Whether it is the scalar's only head comment, and the scalar has no line comment.
        alone: bool,
    },
    /// It belongs to a collection, an alias or a document, or to nothing that follows.
    Elsewhere,
    /// It stands below a node and is taken for its foot.
    Foot,
}

/// Returns the place of every comment of a stream, in the order of [`Stream::comments`].
pub fn places(stream: &Stream<'_>) -> Vec<Place> {
    let tokens = tokens::tokens(stream);
    fold::places(stream, &tokens)
}
