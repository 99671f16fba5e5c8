//! Reads documents as values, by the rules of `sigs.k8s.io/yaml` on go-yaml v2.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::{
    Error, Reason,
    resolve::{Resolved, is_timestamp, resolve},
    scan::{self, Event, Kind, Scalar, Style},
};

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its value; null for an empty document.
    pub value: Value,
    /// The line on which its first node stands, counted from 1.
    pub line: usize,
}

/// Reads all documents of a text, each with its value or its fault.
///
/// Scalars mean what YAML 1.1 says (`yes` is true, `0777` is octal), `<<` merges in order of appearance, of duplicate keys the
/// last wins, aliases are expanded as far as go-yaml allows. A fault spoils its own document only: reading goes on at the next
/// line that begins with `---`. Documents without a node are left out.
pub fn documents(bytes: &[u8]) -> Vec<Result<Document, Error>> {
    let text = match scan::text(bytes) {
        Ok(text) => text,
        Err(error) => return vec![Err(error)],
    };
    let mut documents = Vec::new();
    let (mut rest, mut lines) = (text, 0);
    loop {
        let (stream, error) = scan::scan_prefix(rest);
        let complete = read_stream(&stream.events, lines, &mut documents);
        let Some(mut error) = error else { return documents };
        let resume = next_separator(rest, complete, error.line);
        error.line += lines;
        documents.push(Err(error));
        let Some(resume) = resume else { return documents };
        lines += memchr::memchr_iter(b'\n', &rest.as_bytes()[..resume]).count();
        rest = &rest[resume..];
    }
}

/// Reads the complete documents among the events and returns the byte after the last of them.
fn read_stream(
    events: &[Event<'_>],
    lines: usize,
    documents: &mut Vec<Result<Document, Error>>,
) -> usize {
    let (mut start, mut complete) = (0, 0);
    for (at, event) in events.iter().enumerate() {
        match event.kind {
            Kind::DocumentStart => start = at + 1,
            Kind::DocumentEnd => {
                documents.extend(read_document(&events[start..at], lines));
                complete = event.span.end;
            }
            _ => {}
        }
    }
    complete
}

/// Returns where the next document begins after a fault on `line`: always behind the first byte, so that reading ends.
fn next_separator(text: &str, complete: usize, line: usize) -> Option<usize> {
    let fault = memchr::memchr_iter(b'\n', text.as_bytes()).nth(line.max(2) - 2).unwrap_or(0);
    let from = complete.max(fault).max(1).min(text.len());
    let found = memchr::memmem::find(&text.as_bytes()[from - 1..], b"\n---")?;
    Some(from + found)
}

fn read_document(events: &[Event<'_>], lines: usize) -> Option<Result<Document, Error>> {
    let first = events.first()?;
    let empty = first
        .scalar()
        .is_some_and(|scalar| scalar.style == Style::Plain && scalar.value.is_empty());
    if empty && first.span.is_empty() {
        return None;
    }
    let line = first.line + lines;
    Some(match Reader::new(events).read() {
        Ok(value) => Ok(Document { value, line }),
        Err(mut error) => {
            error.line += lines;
            Err(error)
        }
    })
}

/// Decodes the events of one document; positions in the events stand for nodes.
struct Reader<'e, 't> {
    events: &'e [Event<'t>],
    /// The position behind each node, so that a value can be skipped and an alias be read in place.
    ends: Vec<usize>,
    /// The position of each anchor's node.
    anchors: HashMap<usize, usize>,
    /// The aliases that are being expanded.
    open: Vec<usize>,
    n_decoded: u64,
    n_from_aliases: u64,
    depth: usize,
}

/// The deepest value, aliases expanded: both kinds of collection at their limit. The stack of a thread holds it with ease.
const VALUE_DEPTH_MAX: usize = 2 * scan::DEPTH_MAX;

/// A mapping key as go-yaml keeps it: `1` and `"1"` differ until they become JSON.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key(String);

impl<'e, 't> Reader<'e, 't> {
    fn new(events: &'e [Event<'t>]) -> Reader<'e, 't> {
        let mut ends = vec![0; events.len()];
        let mut anchors = HashMap::new();
        let mut open = Vec::new();
        for (at, event) in events.iter().enumerate() {
            ends[at] = at + 1;
            match &event.kind {
                Kind::Scalar(scalar) => drop(anchors.insert(scalar.anchor, at)),
                Kind::SequenceStart(collection) | Kind::MappingStart(collection) => {
                    anchors.insert(collection.anchor, at);
                    open.push(at);
                }
                Kind::SequenceEnd | Kind::MappingEnd => {
                    if let Some(start) = open.pop() {
                        ends[start] = at + 1;
                    }
                }
                _ => {}
            }
        }
        Reader {
            events,
            ends,
            anchors,
            open: Vec::new(),
            n_decoded: 1,
            n_from_aliases: 0,
            depth: 0,
        }
    }

    fn read(&mut self) -> Result<Value, Error> {
        self.value(0)
    }

    fn value(&mut self, at: usize) -> Result<Value, Error> {
        self.count(at)?;
        if self.depth >= VALUE_DEPTH_MAX {
            return Err(self.error(at, Reason::TooDeep));
        }
        self.depth += 1;
        let value = self.node(at);
        self.depth -= 1;
        value
    }

    fn node(&mut self, at: usize) -> Result<Value, Error> {
        match &self.events[at].kind {
            Kind::Scalar(scalar) => self.scalar(at, scalar),
            Kind::Alias(anchor) => self.alias(at, *anchor, Reader::value),
            Kind::SequenceStart(_) => {
                let mut items = Vec::new();
                for item in self.children(at) {
                    items.push(self.value(item)?);
                }
                Ok(Value::Array(items))
            }
            _ => {
                let mut map = Map::new();
                self.mapping(at, &mut map)?;
                Ok(Value::Object(map))
            }
        }
    }

    /// Returns the positions of a collection's children.
    fn children(&self, at: usize) -> Vec<usize> {
        let (mut child, end) = (at + 1, self.ends[at] - 1);
        let mut children = Vec::new();
        while child < end {
            children.push(child);
            child = self.ends[child];
        }
        children
    }

    fn mapping(&mut self, at: usize, map: &mut Map<String, Value>) -> Result<(), Error> {
        for pair in self.children(at).chunks_exact(2) {
            let (key, value) = (pair[0], pair[1]);
            if self.is_merge(key) {
                self.merge(value, map)?;
                continue;
            }
            let Key(key) = self.key(key)?;
            let value = self.value(value)?;
            map.insert(key, value);
        }
        Ok(())
    }

    fn is_merge(&self, at: usize) -> bool {
        self.events[at].scalar().is_some_and(|scalar| {
            let tag = scalar.tag.as_deref();
            let implicit = tag == Some("!") || tag.is_none() && scalar.style == Style::Plain;
            scalar.value == "<<" && (implicit || tag.and_then(core) == Some("merge"))
        })
    }

    fn merge(&mut self, at: usize, map: &mut Map<String, Value>) -> Result<(), Error> {
        if !matches!(self.events[at].kind, Kind::SequenceStart(_)) {
            return self.merge_one(at, map);
        }
        // Earlier items take precedence.
        for item in self.children(at).into_iter().rev() {
            self.merge_one(item, map)?;
        }
        Ok(())
    }

    fn merge_one(&mut self, at: usize, map: &mut Map<String, Value>) -> Result<(), Error> {
        match self.events[at].kind {
            Kind::MappingStart(_) => {
                self.count(at)?;
                self.mapping(at, map)
            }
            Kind::Alias(anchor) => {
                self.count(at)?;
                self.alias(at, anchor, |reader, target| {
                    if !matches!(reader.events[target].kind, Kind::MappingStart(_)) {
                        return Err(reader.error(at, Reason::Merge));
                    }
                    reader.count(target)?;
                    reader.mapping(target, map)
                })
            }
            _ => Err(self.error(at, Reason::Merge)),
        }
    }

    fn alias<T>(
        &mut self,
        at: usize,
        anchor: usize,
        read: impl FnOnce(&mut Self, usize) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(&target) = self.anchors.get(&anchor) else {
            return Err(self.error(at, Reason::Syntax("unknown anchor".to_owned())));
        };
        if self.open.contains(&at) || self.open.len() > scan::DEPTH_MAX {
            return Err(self.error(at, Reason::AliasCycle));
        }
        self.open.push(at);
        let value = read(self, target);
        self.open.pop();
        value
    }

    fn key(&mut self, at: usize) -> Result<Key, Error> {
        self.count(at)?;
        let scalar = match &self.events[at].kind {
            Kind::Scalar(scalar) => scalar,
            Kind::Alias(anchor) => return self.alias(at, *anchor, Reader::key),
            _ => return Err(self.error(at, Reason::Key)),
        };
        Ok(Key(match self.resolved(at, scalar)? {
            Resolved::Bool(value) => value.to_string(),
            Resolved::Int(value) => value.to_string(),
            Resolved::Float(value) => short_float(value),
            Resolved::Null | Resolved::Uint(_) => return Err(self.error(at, Reason::Key)),
            Resolved::Timestamp | Resolved::Merge | Resolved::String => self.text(at, scalar)?,
        }))
    }

    fn scalar(&self, at: usize, scalar: &Scalar<'_>) -> Result<Value, Error> {
        Ok(match self.resolved(at, scalar)? {
            Resolved::Null => Value::Null,
            Resolved::Bool(value) => Value::Bool(value),
            Resolved::Int(value) => Value::from(value),
            Resolved::Uint(value) => Value::from(value),
            Resolved::Float(value) => match json_float(value) {
                Some(number) => Value::Number(number),
                None => return Err(self.error(at, Reason::NotJson(scalar.value.to_string()))),
            },
            Resolved::Timestamp | Resolved::Merge | Resolved::String => {
                Value::String(self.text(at, scalar)?)
            }
        })
    }

    fn text(&self, at: usize, scalar: &Scalar<'_>) -> Result<String, Error> {
        if scalar.tag.as_deref().and_then(core) != Some("binary") {
            return Ok(scalar.value.to_string());
        }
        match decode_base64(&scalar.value) {
            Some(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            None => Err(self.tag_error(at, scalar, "binary")),
        }
    }

    fn resolved(&self, at: usize, scalar: &Scalar<'_>) -> Result<Resolved, Error> {
        let Some(tag) = scalar.tag.as_deref() else {
            return Ok(match scalar.style {
                Style::Plain => resolve(&scalar.value),
                _ => Resolved::String,
            });
        };
        let Some(kind) = core(tag) else { return Ok(Resolved::String) };
        let resolved = match kind {
            "timestamp" if is_timestamp(&scalar.value) => Resolved::Timestamp,
            "bool" | "int" | "float" | "null" | "timestamp" => resolve(&scalar.value),
            _ => return Ok(Resolved::String),
        };
        match (kind, resolved) {
            ("bool", resolved @ Resolved::Bool(_))
            | ("int", resolved @ (Resolved::Int(_) | Resolved::Uint(_)))
            | ("null", resolved @ Resolved::Null)
            | ("timestamp", resolved @ Resolved::Timestamp)
            | ("float", resolved @ Resolved::Float(_)) => Ok(resolved),
            // As Go converts it.
            #[expect(clippy::cast_precision_loss, reason = "Go's conversion rounds as well")]
            ("float", Resolved::Int(value)) => Ok(Resolved::Float(value as f64)),
            _ => Err(self.tag_error(at, scalar, kind)),
        }
    }

    /// Counts a decoded node and refuses what go-yaml refuses: documents that consist of aliases for the most part.
    fn count(&mut self, at: usize) -> Result<(), Error> {
        self.n_decoded += 1;
        self.n_from_aliases += u64::from(!self.open.is_empty());
        let (n_from_aliases, n_decoded) = (self.n_from_aliases, self.n_decoded);
        if n_from_aliases > 100 && n_decoded > 1000 && is_excessive(n_from_aliases, n_decoded) {
            return Err(self.error(at, Reason::ExcessiveAliasing));
        }
        Ok(())
    }

    fn error(&self, at: usize, reason: Reason) -> Error {
        Error::at(self.events[at].line, self.events[at].column, reason)
    }

    fn tag_error(&self, at: usize, scalar: &Scalar<'_>, kind: &str) -> Error {
        self.error(at, Reason::Tag { value: scalar.value.to_string(), tag: format!("!!{kind}") })
    }
}

/// The share of nodes that may come from aliases: 99 % up to 400,000 nodes, falling to 10 % at 4,000,000.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn is_excessive(n_from_aliases: u64, n_decoded: u64) -> bool {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let decoded = n_decoded as f64;
    let allowed = 0.99 - 0.89 * ((decoded.clamp(LOW, HIGH) - LOW) / (HIGH - LOW));
    n_from_aliases as f64 / decoded > allowed
}

/// Returns the name of a tag of YAML's own, such as `int` for `!!int`.
fn core(tag: &str) -> Option<&str> {
    tag.strip_prefix("tag:yaml.org,2002:")
}

/// Returns the number that Go's JSON text of a float stands for, or none if it has no JSON text.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn json_float(value: f64) -> Option<Number> {
    let integral =
        value.fract() == 0.0 && value.abs() < 9e18 && !(value == 0.0 && value.is_sign_negative());
    if integral { Some(Number::from(value as i64)) } else { Number::from_f64(value) }
}

/// Returns Go's `FormatFloat(value, 'g', -1, 32)` with YAML's spelling of the values that are no numbers.
#[expect(clippy::cast_possible_truncation, reason = "Go keeps 32 bits as well")]
fn short_float(value: f64) -> String {
    let value = value as f32;
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// Decodes standard base64 with padding; line breaks are skipped.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut n_symbols, mut n_padding) = (0u32, 0usize, 0usize);
    for byte in text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                n_padding += 1;
                continue;
            }
            _ => return None,
        };
        if n_padding > 0 {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        n_symbols += 1;
        if n_symbols % 4 == 0 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    match (n_symbols % 4, n_padding) {
        (0, 0) => {}
        (2, 2) => bytes.push((bits >> 4).to_be_bytes()[3]),
        (3, 1) => bytes.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
        _ => return None,
    }
    Some(bytes)
}
