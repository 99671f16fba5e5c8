//! Writes a value as `sigs.k8s.io/yaml` does: natural order of keys, plain text where it reads back, lines folded at 80 columns.

mod order;
mod scalar;

use serde_json::{Map, Value};

use self::scalar::{Scalar, Style};

/// Columns after which a space becomes a line break.
const WIDTH: usize = 80;
/// Columns per level.
const INDENT: usize = 2;
/// Bytes that a key may have before it is announced by `? `.
const SIMPLE_KEY_BYTES_MAX: usize = 128;

/// Returns a value as YAML, ending with a line feed.
///
/// Integers stay integers; a float without a fraction becomes one, as in Go. Text that would
/// not read back as the same text is quoted, also where Go forgets it: the key `<<`, and the
/// line breaks of Unicode. Recursion is as deep as the value, which its reader has bounded.
pub fn to_string(value: &Value) -> String {
    let mut writer = Writer::default();
    match value {
        Value::Object(map) if !map.is_empty() => writer.mapping(map, 0),
        Value::Array(items) if !items.is_empty() => writer.sequence(items, 0),
        _ => writer.scalar(value, INDENT, Role::Value),
    }
    writer.end_line();
    writer.text
}

/// Where a scalar stands.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// Before `:` on one line.
    SimpleKey,
    /// After `? `.
    ComplexKey,
    Value,
}

#[derive(Default)]
struct Writer {
    text: String,
    /// Characters since the last line feed.
    column: usize,
}

impl Writer {
    /// Writes the entries of a mapping whose first key goes where the writer stands.
    fn mapping(&mut self, map: &Map<String, Value>, indent: usize) {
        for (n, key) in order::sorted(map.keys()).into_iter().enumerate() {
            if n > 0 {
                self.begin_line(indent);
            }
            let value = &map[key];
            if is_simple_key(key) {
                self.string(key, indent + INDENT, Role::SimpleKey);
                self.put(":");
                self.value_of_key(value, indent);
            } else {
                self.put("? ");
                self.string(key, indent + INDENT, Role::ComplexKey);
                self.begin_line(indent);
                self.put(":");
                self.value_behind_indicator(value, indent);
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize) {
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                self.begin_line(indent);
            }
            self.put("-");
            self.value_behind_indicator(item, indent);
        }
    }

    /// A collection begins on a line of its own; a sequence is not indented further than its key.
    fn value_of_key(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.begin_line(indent + INDENT);
                self.mapping(map, indent + INDENT);
            }
            Value::Array(items) if !items.is_empty() => {
                self.begin_line(indent);
                self.sequence(items, indent);
            }
            _ => {
                self.put(" ");
                self.scalar(value, indent + INDENT, Role::Value);
            }
        }
    }

    /// A collection begins on the line of its `-` or `:`.
    fn value_behind_indicator(&mut self, value: &Value, indent: usize) {
        self.put(" ");
        match value {
            Value::Object(map) if !map.is_empty() => self.mapping(map, indent + INDENT),
            Value::Array(items) if !items.is_empty() => self.sequence(items, indent + INDENT),
            _ => self.scalar(value, indent + INDENT, Role::Value),
        }
    }

    /// Writes what has no items: its lines after the first begin at `indent`.
    fn scalar(&mut self, value: &Value, indent: usize, role: Role) {
        match value {
            Value::Object(_) => self.put("{}"),
            Value::Array(_) => self.put("[]"),
            Value::Null => self.put("null"),
            Value::Bool(value) => self.put(if *value { "true" } else { "false" }),
            Value::Number(number) => self.put(&scalar::number(number)),
            Value::String(text) => self.string(text, indent, role),
        }
    }

    fn string(&mut self, text: &str, indent: usize, role: Role) {
        let scalar = Scalar::of(text);
        let may_fold = role != Role::SimpleKey;
        match scalar.style(role != Role::Value && text == "<<", role == Role::SimpleKey) {
            Style::Plain => self.folded(text, indent, may_fold, text.len(), |writer, c| {
                writer.put_char(c);
            }),
            Style::SingleQuoted => {
                self.put("'");
                self.folded(text, indent, may_fold, text.len().saturating_sub(1), |writer, c| {
                    if c == '\'' {
                        writer.put_char(c);
                    }
                    writer.put_char(c);
                });
                self.put("'");
            }
            Style::DoubleQuoted => self.double_quoted(text, indent, may_fold),
            Style::Literal => self.literal(text, indent),
        }
    }

    /// Writes text whose single spaces, behind the first character and before `end`, may become line breaks.
    fn folded(
        &mut self,
        text: &str,
        indent: usize,
        may_fold: bool,
        end: usize,
        mut put: impl FnMut(&mut Self, char),
    ) {
        let mut follows_space = false;
        for (at, c) in text.char_indices() {
            let before_space = text[at + c.len_utf8()..].starts_with(' ');
            let folds = c == ' '
                && may_fold
                && !follows_space
                && !before_space
                && self.column > WIDTH
                && (1..end).contains(&at);
            if folds {
                self.begin_line(indent);
            } else {
                put(self, c);
            }
            follows_space = c == ' ';
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, may_fold: bool) {
        self.put("\"");
        let mut follows_space = false;
        // As in Go, a byte order mark at the start has all that follows it escaped.
        let escapes_all = text.starts_with('\u{feff}');
        for (at, c) in text.char_indices() {
            if escapes_all {
                self.put(&scalar::escape(c));
            } else if c != ' ' {
                self.put(&scalar::escape_if_special(c));
            } else if may_fold
                && !follows_space
                && self.column > WIDTH
                && (1..text.len() - 1).contains(&at)
            {
                self.begin_line(indent);
                if text[at + 1..].starts_with(' ') {
                    self.put("\\");
                }
            } else {
                self.put(" ");
            }
            follows_space = c == ' ';
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        let body = text.strip_suffix('\n');
        match body {
            None => self.put("-"),
            Some(body) if body.is_empty() || body.ends_with('\n') => self.put("+"),
            Some(_) => {}
        }
        for line in body.unwrap_or(text).split('\n') {
            self.put("\n");
            if !line.is_empty() {
                self.begin_line(indent);
                self.put(line);
            }
        }
        if body.is_some() {
            self.put("\n");
        }
    }

    /// Ends the line, unless nothing stands on it, and moves to column `indent`.
    fn begin_line(&mut self, indent: usize) {
        self.end_line();
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    fn end_line(&mut self) {
        if self.column > 0 {
            self.put("\n");
        }
    }

    fn put(&mut self, text: &str) {
        text.chars().for_each(|c| self.put_char(c));
    }

    fn put_char(&mut self, c: char) {
        self.text.push(c);
        self.column = if c == '\n' { 0 } else { self.column + 1 };
    }
}

fn is_simple_key(key: &str) -> bool {
    key.len() <= SIMPLE_KEY_BYTES_MAX && !key.contains(scalar::is_break)
}
