//! Sorts the comments of each gap into line, head and foot comments and hands them to the scalars.

use std::ops::Range;

use super::{
    Place,
    tokens::{Token, TokenKind},
};
use crate::scan::{Comment, Stream};

/// go-yaml looks this many characters ahead for a comment behind a token.
const BLANKS_MAX: usize = 511;

/// Comments that belong together, waiting for the first token at or behind `mark`.
struct Group {
    mark: usize,
    is_line: bool,
    comments: Range<usize>,
    /// Whether a blank line inside the group or at its end may cut it off at the beginning of a document.
    blank_before: Option<usize>,
}

/// Returns the place of every comment.
pub(super) fn places(stream: &Stream<'_>, tokens: &[Token]) -> Vec<Place> {
    let mut places = vec![Place::Elsewhere; stream.comments.len()];
    let groups = groups(stream, tokens, &mut places);
    hand_out(tokens, &groups, &mut places);
    places
}

fn groups(stream: &Stream<'_>, tokens: &[Token], places: &mut [Place]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut document = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.kind == TokenKind::Boundary && !token.span.is_empty() {
            document = line_behind(stream.text, token.span.end);
        }
        if !token.comments.is_empty() {
            let comments = token.comments.clone();
            let gap =
                Gap { text: stream.text, all: &stream.comments, tokens, at, document, comments };
            gap.sort(&mut groups, places);
        }
    }
    groups
}

/// Documents are read one by one: the first line of each is the one behind its separator.
fn line_behind(text: &str, at: usize) -> usize {
    memchr::memchr(b'\n', &text.as_bytes()[at..]).map_or(text.len(), |length| at + length + 1)
}

/// The comments between two tokens.
struct Gap<'a> {
    text: &'a str,
    all: &'a [Comment],
    tokens: &'a [Token],
    at: usize,
    /// Where the first line of the document begins.
    document: usize,
    comments: Range<usize>,
}

impl Gap<'_> {
    fn sort(mut self, groups: &mut Vec<Group>, places: &mut [Place]) {
        let token = &self.tokens[self.at];
        if let Some(mark) = self.line_comment_mark(token.span.end) {
            let comment = self.comments.start;
            groups.push(Group {
                mark,
                is_line: true,
                comments: comment..comment + 1,
                blank_before: None,
            });
            self.comments.start += 1;
        }
        if !self.comments.is_empty() {
            self.head_and_feet(groups, places);
        }
    }

    /// Returns the token that a comment behind the token on its own line waits for, if there is such a comment.
    fn line_comment_mark(&self, end: usize) -> Option<usize> {
        let token = &self.tokens[self.at];
        if matches!(token.kind, TokenKind::Entry | TokenKind::Boundary) {
            return None;
        }
        let between = self.text.get(end..self.all[self.comments.start].span.start)?;
        if between.len() > BLANKS_MAX || between.contains(['\n', '\r']) {
            return None;
        }
        let prior = match token.kind {
            TokenKind::Value => !token.flow,
            TokenKind::FlowEntry => token.flow,
            _ => false,
        };
        let before = if prior { self.at.checked_sub(1) } else { None };
        Some(self.tokens[before.unwrap_or(self.at)].span.start)
    }

    /// go-yaml's `scan_comments`: comments up to a blank line directly below content are its foot, others head what follows.
    fn head_and_feet(&self, groups: &mut Vec<Group>, places: &mut [Place]) {
        let token = &self.tokens[self.at];
        let indent = token.indent.max(0);
        let newlines = self.newlines();
        let foot_line = self.foot_line(newlines);
        let value = self.last_kind() == TokenKind::Value;
        let first = &self.all[self.comments.start];
        let mut first_empty = newlines <= 1;
        let mut group: Range<usize> = self.comments.start..self.comments.start;
        let (mut start_line, mut start_column, mut line) = (0, 0, zero_based(first.line));
        let mut blank_before = None;
        for index in self.comments.clone() {
            let comment = &self.all[index];
            let column = zero_based(comment.column) + 1;
            if !group.is_empty() && column - 1 < indent && column != start_column {
                self.flush(group.start..index, places);
                group = index..index;
            }
            if group.is_empty() {
                (start_line, start_column) = (line, column);
                blank_before = None;
            }
            group.end = index + 1;
            line = zero_based(comment.line);
            let mut recent_empty = false;
            for _ in 1..self.breaks_behind(index) {
                let below = start_line == foot_line && !value || start_column - 1 < indent;
                if !recent_empty && first_empty && below {
                    self.flush(group.clone(), places);
                    group = index + 1..index + 1;
                } else if !recent_empty && !group.is_empty() {
                    blank_before = Some(index + 1);
                }
                (first_empty, recent_empty) = (false, true);
                line += 1;
            }
        }
        if group.is_empty() || self.ends_as_foot(indent, start_column) {
            return self.flush(group, places);
        }
        groups.push(Group {
            mark: self.all[group.start].span.start,
            is_line: false,
            comments: group,
            blank_before,
        });
    }

    fn flush(&self, group: Range<usize>, places: &mut [Place]) {
        places[group].fill(Place::Foot);
    }

    /// The line on which a comment must begin to be the foot of the content before it; -1 for none.
    fn foot_line(&self, newlines: isize) -> isize {
        let first = &self.all[self.comments.start];
        let token = &self.tokens[self.at];
        // A plain scalar takes the white space behind it along, a block scalar its last line break.
        let moved = match token.kind {
            TokenKind::Scalar(_) => newlines > 0 && self.is_plain(token),
            TokenKind::BlockScalar(_) => true,
            _ => false,
        };
        let line = zero_based(first.line);
        let content = self.text[..first.span.start].trim_end_matches([' ', '\t', '\r', '\n']).len();
        let behind = self.text.get(self.document..content).unwrap_or_default();
        // The search ends at the document's first line break, so it costs the same for every comment.
        if !moved && memchr::memchr2(b'\n', b'\r', behind.as_bytes()).is_none() {
            return -1;
        }
        line - newlines + 1 + isize::from(newlines == 0 && zero_based(first.column) > 1)
    }

    /// The number of line breaks since the last character that is not white space.
    fn newlines(&self) -> isize {
        let before = &self.text[..self.all[self.comments.start].span.start];
        breaks(&before[before.trim_end_matches([' ', '\t', '\r', '\n']).len()..])
    }

    fn is_plain(&self, token: &Token) -> bool {
        let quoted = self.text[token.span.clone()].starts_with(['"', '\'']);
        !quoted && self.comments.start == token.comments.start
    }

    fn last_kind(&self) -> TokenKind {
        match self.tokens[self.at].kind {
            TokenKind::FlowEntry if self.at > 0 => self.tokens[self.at - 1].kind,
            kind => kind,
        }
    }

    fn breaks_behind(&self, index: usize) -> isize {
        let from = self.all[index].span.end;
        let next = if index + 1 < self.comments.end {
            self.all[index + 1].span.start
        } else {
            self.next_token().map_or(self.text.len(), |token| token.span.start)
        };
        breaks(self.text.get(from..next).unwrap_or_default())
    }

    /// Returns the next token that is written in the text.
    fn next_token(&self) -> Option<&Token> {
        self.tokens[self.at + 1..]
            .iter()
            .find(|token| !matches!(token.kind, TokenKind::SequenceEnd | TokenKind::MappingEnd))
    }

    /// The last comments before a closing bracket, and those indented less than the collection around them, are feet.
    fn ends_as_foot(&self, indent: isize, start_column: isize) -> bool {
        let Some(next) = self.next_token() else { return false };
        match next.kind {
            TokenKind::Boundary => false,
            TokenKind::FlowEnd => self.tokens[self.at].flow,
            _ => {
                let column = column(self.text, next.span.start) + 1;
                column - 1 < indent && column != start_column
            }
        }
    }
}

/// Hands each group to the first scalar at or behind its mark, unless another node comes first.
fn hand_out(tokens: &[Token], groups: &[Group], places: &mut [Place]) {
    let mut pending = groups.iter().peekable();
    let (mut lines, mut heads): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut document_begins = true;
    for (at, token) in tokens.iter().enumerate() {
        let ends = matches!(token.kind, TokenKind::SequenceEnd | TokenKind::MappingEnd);
        let n_heads = heads.len();
        while let Some(group) =
            pending.next_if(|group| !ends && at > 0 && group.mark <= token.span.start)
        {
            if group.is_line { &mut lines } else { &mut heads }.extend(group.comments.clone());
            if let Some(blank) = group.blank_before.filter(|_| document_begins) {
                heads.retain(|head| *head >= blank);
            }
        }
        if token.kind != TokenKind::Boundary {
            document_begins = false;
        }
        match token.kind {
            TokenKind::Scalar(event) | TokenKind::BlockScalar(event) => {
                let alone = lines.is_empty() && heads.len() == 1;
                heads.drain(..).for_each(|head| places[head] = Place::Head { event, alone });
                let alone = lines.len() == 1;
                lines.drain(..).for_each(|line| places[line] = Place::Line { event, alone });
            }
            TokenKind::Alias
            | TokenKind::FlowStart
            | TokenKind::FlowEnd
            | TokenKind::MappingEnd => {
                lines.clear();
                heads.clear();
            }
            TokenKind::Boundary => {
                lines.clear();
                heads.clear();
                document_begins = true;
            }
            // What stood before a `-` belongs to the collection that the `-` opens.
            TokenKind::SequenceStart | TokenKind::MappingStart
                if at > 0 && tokens[at - 1].kind == TokenKind::Entry =>
            {
                heads.drain(..n_heads);
            }
            _ => {}
        }
    }
}

fn breaks(text: &str) -> isize {
    let bytes = text.as_bytes();
    let count = memchr::memchr_iter(b'\n', bytes).count()
        + memchr::memchr_iter(b'\r', bytes).filter(|at| bytes.get(at + 1) != Some(&b'\n')).count();
    isize::try_from(count).unwrap_or(isize::MAX)
}

fn zero_based(one_based: usize) -> isize {
    isize::try_from(one_based).unwrap_or(isize::MAX) - 1
}

fn column(text: &str, at: usize) -> isize {
    let start = memchr::memrchr2(b'\r', b'\n', &text.as_bytes()[..at]).map_or(0, |at| at + 1);
    isize::try_from(text[start..at].chars().count()).unwrap_or(isize::MAX)
}
