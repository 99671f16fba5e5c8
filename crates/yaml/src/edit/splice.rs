//! The bytes that write a value in the style of the scalar it replaces.

use std::{collections::HashMap, fmt::Write, ops::Range};

use super::{Edit, EditError};
use crate::{
    comment::tokens::{Token, TokenKind, tokens},
    resolve::is_text_everywhere,
    scan::{Event, Kind, Scalar, Stream, Style},
};

/// A scalar and its new value.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The index of the scalar's event.
    pub(super) event: usize,
    pub(super) line: usize,
    pub(super) value: &'a str,
}

/// New text for a range of the old.
#[derive(Debug)]
pub(super) struct Splice {
    pub(super) line: usize,
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

/// Finds the scalars of the edits.
pub(super) fn targets<'a>(
    stream: &Stream<'_>,
    edits: &[Edit<'a>],
) -> Result<Vec<Target<'a>>, EditError> {
    edits.iter().map(|edit| target(stream, edit)).collect()
}

fn target<'a>(stream: &Stream<'_>, edit: &Edit<'a>) -> Result<Target<'a>, EditError> {
    let first = stream.events.partition_point(|event| event.span.start < edit.span.start);
    stream.events[first..]
        .iter()
        .enumerate()
        .take_while(|(_, event)| event.span.start == edit.span.start)
        .find(|(_, event)| event.span == edit.span && event.scalar().is_some())
        .map(|(at, event)| Target { event: first + at, line: event.line, value: edit.value })
        .ok_or(EditError::NoScalar(edit.span.start))
}

/// Returns how the values are written, in the order of the text.
pub(super) fn splices(stream: &Stream<'_>, targets: &[Target<'_>]) -> Vec<Splice> {
    let mut splices = Vec::with_capacity(targets.len());
    let mut headers = None;
    for target in targets {
        let event = &stream.events[target.event];
        let Kind::Scalar(scalar) = &event.kind else { continue };
        let mut push = |range, text| splices.push(Splice { line: event.line, range, text });
        if let Some(tag) = event.tag.clone().filter(|_| is_no_text(scalar.tag.as_deref())) {
            push(tag, "!!str".to_owned());
        }
        if !matches!(scalar.style, Style::Literal | Style::Folded) {
            push(event.span.clone(), inline(scalar, target.value));
            continue;
        }
        let headers = headers.get_or_insert_with(|| headers_of(stream));
        if let Some(header) = headers.get(&target.event) {
            block(stream.text, event, header, target.value, push);
        }
    }
    splices
}

/// Whether a tag of YAML's own says that the value is something else than text.
pub(super) fn is_no_text(tag: Option<&str>) -> bool {
    let kind = tag.and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:"));
    kind.is_some_and(|kind| {
        matches!(kind, "int" | "float" | "bool" | "null" | "timestamp" | "binary")
    })
}

fn inline(scalar: &Scalar<'_>, value: &str) -> String {
    match scalar.style {
        Style::Plain if is_plain(value) && is_text_everywhere(value) => value.to_owned(),
        Style::Single if value.chars().all(is_printable) => {
            format!("'{}'", value.replace('\'', "''"))
        }
        _ => double_quoted(value),
    }
}

/// Whether a value can stand without quotes in any place, with room to spare: only what image references consist of.
fn is_plain(value: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/');
    let safe = |byte: u8| first(byte) || matches!(byte, b'-' | b'@' | b'+' | b':');
    value.bytes().next().is_some_and(first)
        && value.bytes().all(safe)
        && !value.ends_with(':')
        && !value.starts_with("...")
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn double_quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        // Writing to a string cannot fail.
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if is_printable(c) => quoted.push(c),
            c if u32::from(c) < 0x100 => drop(write!(quoted, "\\x{:02x}", u32::from(c))),
            c => drop(write!(quoted, "\\u{:04x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// The header of a block scalar, such as `|2-`.
struct Header {
    span: Range<usize>,
    /// The column of the collection around it, -1 for none.
    indent: isize,
}

fn headers_of(stream: &Stream<'_>) -> HashMap<usize, Header> {
    let header = |Token { kind, span, indent, .. }| match kind {
        TokenKind::BlockScalar(event) => Some((event, Header { span, indent })),
        _ => None,
    };
    tokens(stream).into_iter().filter_map(header).collect()
}

fn block(
    text: &str,
    event: &Event<'_>,
    header: &Header,
    value: &str,
    mut push: impl FnMut(Range<usize>, String),
) {
    let body = body(text, event, header);
    if value.is_empty() || value.starts_with([' ', '\t']) || !value.chars().all(is_printable) {
        push(header.span.clone(), double_quoted(value));
        let rest = &text[body.end..];
        let n_break = if rest.starts_with("\r\n") { 2 } else { rest.len().min(1) };
        return push(
            body.start..if body.is_empty() { body.end } else { body.end + n_break },
            String::new(),
        );
    }
    let written = &text[header.span.clone()];
    if !written.contains('-') {
        push(header.span.clone(), format!("{}-", written.replace('+', "")));
    }
    let line = if body.is_empty() {
        empty_body_line(text, header, written, value, body.start)
    } else {
        let line =
            memchr::memrchr(b'\n', &text.as_bytes()[..event.span.start]).map_or(0, |at| at + 1);
        format!("{}{value}", &text[line..event.span.start])
    };
    push(body, line);
}

/// Returns the lines of a block scalar, from behind its header's line to the end of its last line that is not blank.
fn body(text: &str, event: &Event<'_>, header: &Header) -> Range<usize> {
    let bytes = text.as_bytes();
    let start = memchr::memchr(b'\n', &bytes[header.span.end..])
        .map_or(text.len(), |length| header.span.end + length + 1);
    let last = event.span.start + text[event.span.clone()].trim_end().len();
    if last == event.span.start || last <= start {
        return start..start;
    }
    let end =
        memchr::memchr2(b'\r', b'\n', &bytes[last..]).map_or(text.len(), |length| last + length);
    start..end
}

/// Returns a first line for a block scalar that has none, with its line break.
fn empty_body_line(
    text: &str,
    header: &Header,
    written: &str,
    value: &str,
    start: usize,
) -> String {
    let step =
        written.bytes().find(u8::is_ascii_digit).map_or(2, |digit| usize::from(digit - b'0'));
    let indent = usize::try_from(header.indent).unwrap_or(0) + step;
    let line_break = if text[..start].ends_with("\r\n") { "\r\n" } else { "\n" };
    let line = format!("{:indent$}{value}", "");
    if text[..start].ends_with('\n') { line + line_break } else { format!("{line_break}{line}") }
}
