//! Turns a YAML text into events and comments with byte spans, under limits.

use std::{borrow::Cow, ops::Range};

use granit_parser::{ErrorKind, Event as Parsed, Parser, ScanError, StructureStyle, Tag};

use crate::{Error, Reason};

/// The longest text that is read, in bytes: ten times a large rendered manifest.
pub const BYTES_MAX: usize = 32 << 20;
/// The deepest nesting of collections of one kind. Manifests stay below 30; `serde_json` stops at 128 when it reads.
pub const DEPTH_MAX: usize = 200;
/// The most events and comments of one text. Each is about 100 bytes, so a hostile text costs at most 400 MiB.
pub const EVENTS_MAX: usize = 4_000_000;

/// A parsed text: its events in order and its comments in order.
#[derive(Debug)]
pub struct Stream<'t> {
    /// The text, without a change.
    pub text: &'t str,
    /// Document boundaries and nodes, in source order.
    pub events: Vec<Event<'t>>,
    /// Comments, in source order.
    pub comments: Vec<Comment>,
}

/// A document boundary, a node, or the end of a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'t> {
    /// What it is.
    pub kind: Kind<'t>,
    /// The bytes it covers: of a scalar the value with its quotes, of a block scalar its content only; no anchor or tag.
    pub span: Range<usize>,
    /// The line of its first byte, counted from 1.
    pub line: usize,
    /// The column of its first byte in characters, counted from 1.
    pub column: usize,
    /// The bytes of its explicit tag.
    pub tag: Option<Range<usize>>,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind<'t> {
    /// A document begins.
    DocumentStart,
    /// A document ends.
    DocumentEnd,
    /// A scalar.
    Scalar(Scalar<'t>),
    /// A reference to the node with this anchor number.
    Alias(usize),
    /// A sequence begins.
    SequenceStart(Collection),
    /// A sequence ends.
    SequenceEnd,
    /// A mapping begins.
    MappingStart(Collection),
    /// A mapping ends.
    MappingEnd,
}

/// A scalar node.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar<'t> {
    /// The value, with quotes, escapes and folding resolved.
    pub value: Cow<'t, str>,
    /// How it is written.
    pub style: Style,
    /// The number of its anchor, 0 for none.
    pub anchor: usize,
    /// Its explicit tag: `!!int` in long form, `!` for the non-specific one.
    pub tag: Option<String>,
}

/// A collection node.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// Whether it is written with brackets or braces.
    pub flow: bool,
    /// The number of its anchor, 0 for none.
    pub anchor: usize,
    /// Its explicit tag.
    pub tag: Option<String>,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// A `|` block.
    Literal,
    /// A `>` block.
    Folded,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The bytes from `#` up to the line's end, without a final carriage return.
    pub span: Range<usize>,
    /// Its line, counted from 1.
    pub line: usize,
    /// The column of `#` in characters, counted from 1.
    pub column: usize,
}

impl Event<'_> {
    /// Returns the scalar, if the event is one.
    pub fn scalar(&self) -> Option<&Scalar<'_>> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }
}

/// Returns the bytes as text, or why they are none.
///
/// UTF-16 and UTF-32 are recognised by their byte-order mark or by a zero byte among the first four.
pub fn text(bytes: &[u8]) -> Result<&str, Error> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::at(1, 1, Reason::TooLong));
    }
    if is_wide(bytes) {
        return Err(Error::at(1, 1, Reason::WideEncoding));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = &bytes[..error.valid_up_to()];
        let start = memchr::memrchr(b'\n', valid).map_or(0, |at| at + 1);
        let line = memchr::memchr_iter(b'\n', valid).count() + 1;
        let column = String::from_utf8_lossy(&valid[start..]).chars().count() + 1;
        Error::at(line, column, Reason::NotUtf8)
    })
}

/// Returns whether the bytes look like UTF-16 or UTF-32.
pub fn is_wide(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4)];
    head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) || head.contains(&0)
}

/// Parses a text of any number of documents.
pub fn scan(text: &str) -> Result<Stream<'_>, Error> {
    let mut stream =
        Stream { text, events: Vec::with_capacity(text.len() / 16), comments: Vec::new() };
    match scan_into(&mut stream) {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// Parses a text up to its first fault: returns what stands before it, and the fault.
pub fn scan_prefix(text: &str) -> (Stream<'_>, Option<Error>) {
    let mut stream = Stream { text, events: Vec::new(), comments: Vec::new() };
    let error = scan_into(&mut stream);
    (stream, error)
}

fn scan_into<'t>(stream: &mut Stream<'t>) -> Option<Error> {
    if stream.text.len() > BYTES_MAX {
        return Some(Error::at(1, 1, Reason::TooLong));
    }
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        max_buffered_comment_events: EVENTS_MAX,
        block_scalar_eof_without_line_feed: true,
        bom_inside_document_as_content: true,
    };
    for parsed in Parser::new_from_str_with_options(stream.text, options) {
        let (event, parsed_span) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Some(syntax(&error)),
        };
        let (start, end) = match (parsed_span.start.byte_offset(), parsed_span.end.byte_offset()) {
            (Some(start), Some(end)) => (start, end.max(start)),
            _ => continue,
        };
        let (line, column) = (parsed_span.start.line(), parsed_span.start.col() + 1);
        if stream.events.len() + stream.comments.len() >= EVENTS_MAX {
            return Some(Error::at(line, column, Reason::TooManyNodes));
        }
        if let Parsed::Comment(..) = event {
            stream.comments.push(comment(stream.text, start..end, line, column));
        } else if let Some(kind) = kind(event) {
            let span = without_header(stream.text, &kind, start..end);
            let tag = parsed_span.tag_span().and_then(|tag| tag.byte_range());
            stream.events.push(Event { kind, span, line, column, tag });
        }
    }
    // The parser may hand over a comment after the node that follows it.
    stream.comments.sort_by_key(|comment| comment.span.start);
    None
}

/// The parser's span of a block scalar without content begins at the header when the text ends there.
fn without_header(text: &str, kind: &Kind<'_>, span: Range<usize>) -> Range<usize> {
    match kind {
        Kind::Scalar(scalar)
            if matches!(scalar.style, Style::Literal | Style::Folded)
                && scalar.value.bytes().all(|byte| byte == b'\n')
                && text[span.clone()].starts_with(['|', '>']) =>
        {
            span.end..span.end
        }
        _ => span,
    }
}

fn comment(text: &str, span: Range<usize>, line: usize, column: usize) -> Comment {
    let trimmed = text[span.clone()].trim_end_matches(['\r', '\n']).len();
    Comment { span: span.start..span.start + trimmed, line, column }
}

fn kind(event: Parsed<'_>) -> Option<Kind<'_>> {
    Some(match event {
        Parsed::DocumentStart(..) => Kind::DocumentStart,
        Parsed::DocumentEnd => Kind::DocumentEnd,
        Parsed::Alias(anchor) => Kind::Alias(anchor),
        Parsed::Scalar(value, style, anchor, tag) => {
            let tag = tag.as_deref().map(full_tag);
            Kind::Scalar(Scalar { value, style: self::style(style), anchor, tag })
        }
        Parsed::SequenceStart(style, anchor, tag) => {
            Kind::SequenceStart(collection(style, anchor, tag.as_deref()))
        }
        Parsed::MappingStart(style, anchor, tag) => {
            Kind::MappingStart(collection(style, anchor, tag.as_deref()))
        }
        Parsed::SequenceEnd => Kind::SequenceEnd,
        Parsed::MappingEnd => Kind::MappingEnd,
        _ => return None,
    })
}

fn collection(style: StructureStyle, anchor: usize, tag: Option<&Tag>) -> Collection {
    Collection { flow: style == StructureStyle::Flow, anchor, tag: tag.map(full_tag) }
}

fn full_tag(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

fn style(style: granit_parser::ScalarStyle) -> Style {
    match style {
        granit_parser::ScalarStyle::Plain => Style::Plain,
        granit_parser::ScalarStyle::SingleQuoted => Style::Single,
        granit_parser::ScalarStyle::DoubleQuoted => Style::Double,
        granit_parser::ScalarStyle::Literal => Style::Literal,
        granit_parser::ScalarStyle::Folded => Style::Folded,
    }
}

fn syntax(error: &ScanError) -> Error {
    let at = error.marker();
    let reason = match error.kind() {
        ErrorKind::RecursionLimitExceeded => Reason::TooDeep,
        _ => Reason::Syntax(error.info()),
    };
    Error::at(at.line().max(1), at.col() + 1, reason)
}
