//! The tokens of a text, as libyaml cuts it, as far as comments depend on them.

use std::ops::Range;

use crate::scan::{Event, Kind, Stream, Style};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A scalar: the index of its event.
    Scalar(usize),
    /// The header of a block scalar, with its event. The content belongs to the same token.
    BlockScalar(usize),
    Alias,
    /// An anchor or a tag.
    Property,
    /// `-`
    Entry,
    /// `?`
    Key,
    /// `:`
    Value,
    /// `,`
    FlowEntry,
    FlowStart,
    FlowEnd,
    SequenceStart,
    MappingStart,
    SequenceEnd,
    MappingEnd,
    /// The beginning or the end of a document, or a directive: nothing joins what stands before and behind.
    Boundary,
}

/// A token; those that begin and end block collections are empty.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Range<usize>,
    /// The column of the innermost block collection when the text behind this token is scanned, -1 outside of all.
    pub(crate) indent: isize,
    /// Whether the text behind this token is inside brackets or braces.
    pub(crate) flow: bool,
    /// The comments behind this token and before the next one.
    pub(crate) comments: Range<usize>,
}

/// Returns the tokens of a stream; every comment belongs to the gap behind one of them.
pub(crate) fn tokens(stream: &Stream<'_>) -> Vec<Token> {
    let mut lexer = Lexer::new(stream);
    for (at, event) in stream.events.iter().enumerate() {
        match &event.kind {
            Kind::Scalar(scalar) => {
                let omitted = scalar.style == Style::Plain && event.span.is_empty();
                let block = matches!(scalar.style, Style::Literal | Style::Folded);
                match (omitted, block) {
                    (true, _) => {}
                    (false, true) => lexer.block_scalar(at, event),
                    (false, false) => lexer.node(TokenKind::Scalar(at), &event.span),
                }
            }
            Kind::Alias(_) => lexer.node(TokenKind::Alias, &event.span),
            Kind::MappingStart(collection) if !collection.flow => lexer.mapping(event),
            _ => {}
        }
    }
    lexer.gap(stream.text.len());
    lexer.tokens
}

struct Lexer<'s, 't> {
    stream: &'s Stream<'t>,
    bytes: &'t [u8],
    tokens: Vec<Token>,
    /// The columns of the open block collections, and whether each is a mapping.
    open: Vec<(isize, bool)>,
    n_flow: usize,
    at: usize,
    comment: usize,
}

impl<'s, 't> Lexer<'s, 't> {
    fn new(stream: &'s Stream<'t>) -> Lexer<'s, 't> {
        let mut lexer = Lexer {
            stream,
            bytes: stream.text.as_bytes(),
            tokens: Vec::with_capacity(stream.events.len() * 2),
            open: Vec::new(),
            n_flow: 0,
            at: 0,
            comment: 0,
        };
        // Comments at the top belong to the gap behind the beginning of the stream.
        lexer.push(TokenKind::Boundary, 0..0);
        lexer
    }

    fn node(&mut self, kind: TokenKind, span: &Range<usize>) {
        self.gap(span.start);
        self.close(span.start);
        self.push(kind, span.clone());
        self.at = self.at.max(span.end);
    }

    /// The token is the header; the comment on its line belongs to the gap behind it, as do those below the content.
    fn block_scalar(&mut self, at: usize, event: &Event<'_>) {
        self.gap(event.span.start);
        let unclaimed = |token: &Token| token.kind == TokenKind::BlockScalar(usize::MAX);
        if let Some(token) = self.tokens.iter_mut().rev().take(4).find(|token| unclaimed(token)) {
            token.kind = TokenKind::BlockScalar(at);
        }
        self.at = self.at.max(event.span.end);
    }

    fn mapping(&mut self, event: &Event<'_>) {
        self.gap(event.span.start);
        if self.n_flow > 0 {
            return;
        }
        self.close(event.span.start);
        let column = self.column(event.span.start);
        if self.indent() < column {
            self.open.push((column, true));
            self.push(TokenKind::MappingStart, event.span.start..event.span.start);
        }
    }

    /// Reads the indicators and properties before `end`.
    fn gap(&mut self, end: usize) {
        while self.at < end {
            if self.skip_comment() {
                continue;
            }
            let start = self.at;
            let Some(&byte) = self.bytes.get(start) else { return };
            self.at += 1;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {}
                b'-' | b'.' if self.is_boundary(start) => self.boundary(start, start + 3),
                b'%' if self.column(start) == 0 => self.boundary(start, self.line_end(start)),
                b'-' => self.entry(start),
                b'?' => self.indicator(TokenKind::Key, start),
                b':' => self.indicator(TokenKind::Value, start),
                b',' => self.indicator(TokenKind::FlowEntry, start),
                b'[' | b'{' => {
                    self.close(start);
                    self.n_flow += 1;
                    self.push(TokenKind::FlowStart, start..start + 1);
                }
                b']' | b'}' => {
                    self.n_flow = self.n_flow.saturating_sub(1);
                    self.push(TokenKind::FlowEnd, start..start + 1);
                }
                b'|' | b'>' => self.header(start),
                b'&' | b'!' => self.property(start),
                _ => {}
            }
        }
    }

    fn skip_comment(&mut self) -> bool {
        let Some(comment) = self.stream.comments.get(self.comment) else { return false };
        if comment.span.start > self.at {
            return false;
        }
        self.at = self.at.max(comment.span.end);
        self.comment += 1;
        if let Some(token) = self.tokens.last_mut() {
            token.comments.end = self.comment;
        }
        true
    }

    fn is_boundary(&self, at: usize) -> bool {
        let is_marker =
            self.bytes[at..].starts_with(b"---") || self.bytes[at..].starts_with(b"...");
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        is_marker && self.bytes.get(at + 3).is_none_or(blank) && self.column(at) == 0
    }

    fn boundary(&mut self, start: usize, end: usize) {
        self.close_to(-1, start);
        self.push(TokenKind::Boundary, start..end);
        self.at = end;
    }

    fn entry(&mut self, start: usize) {
        if self.n_flow == 0 {
            self.close(start);
            let column = self.column(start);
            if self.indent() < column {
                self.open.push((column, false));
                self.push(TokenKind::SequenceStart, start..start);
            }
        }
        self.push(TokenKind::Entry, start..start + 1);
    }

    fn indicator(&mut self, kind: TokenKind, start: usize) {
        self.close(start);
        self.push(kind, start..start + 1);
    }

    fn header(&mut self, start: usize) {
        self.close(start);
        while self.bytes.get(self.at).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-'))
        {
            self.at += 1;
        }
        self.push(TokenKind::BlockScalar(usize::MAX), start..self.at);
    }

    fn property(&mut self, start: usize) {
        self.close(start);
        let verbatim = self.bytes[start..].starts_with(b"!<");
        let ends = |byte: &u8| match byte {
            b' ' | b'\t' | b'\r' | b'\n' => true,
            b',' | b'[' | b']' | b'{' | b'}' => self.n_flow > 0 && !verbatim,
            _ => false,
        };
        let length = self.bytes[start..].iter().position(ends);
        self.at = length.map_or(self.bytes.len(), |length| start + length);
        self.push(TokenKind::Property, start..self.at);
    }

    /// Ends the block collections that are indented deeper than the token at `start`.
    fn close(&mut self, start: usize) {
        if self.n_flow == 0 && !self.open.is_empty() {
            self.close_to(self.column(start), start);
        }
    }

    fn close_to(&mut self, column: isize, start: usize) {
        while self.indent() > column {
            let Some((_, is_mapping)) = self.open.pop() else { return };
            let kind = if is_mapping { TokenKind::MappingEnd } else { TokenKind::SequenceEnd };
            self.push(kind, start..start);
        }
    }

    fn push(&mut self, kind: TokenKind, span: Range<usize>) {
        let (indent, flow) = (self.indent(), self.n_flow > 0);
        let comments = self.comment..self.comment;
        self.tokens.push(Token { kind, span, indent, flow, comments });
    }

    fn indent(&self) -> isize {
        self.open.last().map_or(-1, |(column, _)| *column)
    }

    fn line_end(&self, at: usize) -> usize {
        memchr::memchr2(b'\r', b'\n', &self.bytes[at..])
            .map_or(self.bytes.len(), |length| at + length)
    }

    /// Returns the number of characters before `at` on its line; a byte-order mark counts for none.
    fn column(&self, at: usize) -> isize {
        let start = memchr::memrchr2(b'\r', b'\n', &self.bytes[..at]).map_or(0, |at| at + 1);
        let line =
            self.stream.text.get(start..at).unwrap_or_default().trim_start_matches('\u{feff}');
        isize::try_from(line.chars().count()).unwrap_or(isize::MAX)
    }
}
