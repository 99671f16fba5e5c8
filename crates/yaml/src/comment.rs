//! Which node a comment belongs to, by the rules of go-yaml v3.
//!
//! Those rules are what users know from tools written in Go: a comment behind a scalar on its line is its *line comment*; a comment
//! on lines of its own is the *head comment* of the node that follows, unless it is the foot of what precedes it. The rules
//! work on tokens, so the tokens between the parser's nodes are read from the text first.

mod fold;
pub(crate) mod tokens;

use self::tokens::{Token, TokenKind};
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

/// The comments of a stream, attached to its nodes.
#[derive(Debug)]
pub struct Attached {
    /// The place of every comment, in the order of [`Stream::comments`].
    pub places: Vec<Place>,
    /// The scalars that begin before their value, and the byte where they do, in order.
    starts: Vec<(usize, usize)>,
}

impl Attached {
    /// Returns the byte where a scalar begins: at its anchor or tag, else at a block scalar's header, else at the value.
    pub fn start(&self, stream: &Stream<'_>, event: usize) -> usize {
        match self.starts.binary_search_by_key(&event, |(event, _)| *event) {
            Ok(at) => self.starts[at].1,
            Err(_) => stream.events[event].span.start,
        }
    }
}

/// Attaches every comment of a stream.
pub fn attach(stream: &Stream<'_>) -> Attached {
    let tokens = tokens::tokens(stream);
    Attached { places: fold::places(stream, &tokens), starts: starts(&tokens) }
}

fn starts(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut starts = Vec::new();
    let mut property = None;
    for token in tokens {
        match token.kind {
            TokenKind::Property => property = property.or(Some(token.span.start)),
            TokenKind::BlockScalar(event) => {
                starts.push((event, property.take().unwrap_or(token.span.start)))
            }
            TokenKind::Scalar(event) => starts.extend(property.take().map(|start| (event, start))),
            _ => property = None,
        }
    }
    starts
}
