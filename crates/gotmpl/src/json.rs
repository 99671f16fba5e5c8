//! JSON as Go's `encoding/json` writes and reads it.

mod read;

use golang::strconv::format_float;
use golang::unicode::{REPLACEMENT, rune_indices};

pub(crate) use read::decode;

use crate::function::Fault;
use crate::run::{Limit, Run};
use crate::value::{Field, Type, Value};

/// How deeply values nest in JSON.
const NESTING_MAX: usize = 200;

/// How JSON is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// No blanks; `<`, `>` and `&` escaped.
    Compact,
    /// As compact, on lines indented by two blanks.
    Pretty,
    /// No blanks, nothing escaped for HTML.
    Raw,
}

/// Returns the value as JSON, charged to the run.
pub(crate) fn encode(run: &mut Run, value: &Value, style: Style) -> Result<String, Fault> {
    let mut writer = Writer { run, style, out: String::new() };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'a> {
    run: &'a mut Run,
    style: Style,
    out: String,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Fault> {
        self.run.charge(1)?;
        if depth > NESTING_MAX {
            return Err(Limit::Nesting(NESTING_MAX).into());
        }
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) | Value::Int64(value) => self.out.push_str(&value.to_string()),
            Value::Uint8(value) => self.out.push_str(&value.to_string()),
            Value::Uint64(value) => self.out.push_str(&value.to_string()),
            Value::Float(value) => self.float(*value)?,
            Value::Complex(..) => return Err(unsupported("complex128")),
            Value::String(text) => self.string(text)?,
            Value::List(list) if list.is_nil() => self.out.push_str("null"),
            Value::List(list) => {
                let items = list.items();
                self.container(['[', ']'], items.len(), depth, |writer, at| {
                    writer.value(&items[at], depth + 1)
                })?;
            }
            Value::Map(map) if map.map_type().key != Type::String => {
                return Err(unsupported(&map.map_type().to_string()));
            }
            Value::Map(map) if map.is_nil() => self.out.push_str("null"),
            Value::Map(map) => {
                let entries = map.string_entries();
                self.container(['{', '}'], entries.len(), depth, |writer, at| {
                    let (key, value) = &entries[at];
                    writer.member(key, value, depth)
                })?;
            }
            Value::Object(object) => {
                if let Some(text) = object.json() {
                    return self.string(text.as_bytes());
                }
                let mut fields = Vec::new();
                collect(object.fields(), &mut fields);
                self.container(['{', '}'], fields.len(), depth, |writer, at| {
                    let (name, value) = &fields[at];
                    writer.member(name.as_bytes(), value, depth)
                })?;
            }
        }
        Ok(())
    }

    fn container(
        &mut self,
        [open, close]: [char; 2],
        len: usize,
        depth: usize,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.out.push(open);
        for at in 0..len {
            if at > 0 {
                self.out.push(',');
            }
            self.line(depth + 1)?;
            item(self, at)?;
        }
        if len > 0 {
            self.line(depth)?;
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) -> Result<(), Fault> {
        if self.style == Style::Pretty {
            self.run.charge_bytes(depth * 2)?;
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", depth));
        }
        Ok(())
    }

    fn member(&mut self, key: &[u8], value: &Value, depth: usize) -> Result<(), Fault> {
        self.string(key)?;
        self.out.push_str(if self.style == Style::Pretty { ": " } else { ":" });
        self.value(value, depth + 1)
    }

    fn float(&mut self, value: f64) -> Result<(), Fault> {
        if !value.is_finite() {
            let shown = format_float(value, 'g', None);
            return Err(Fault::Message(format!("json: unsupported value: {shown}")));
        }
        let magnitude = value.abs();
        let is_plain = magnitude == 0.0 || (1e-6..1e21).contains(&magnitude);
        let text = format_float(value, if is_plain { 'f' } else { 'e' }, None);
        // e-09 is written e-9.
        let is_padded = text.len() >= 4 && text.as_bytes()[text.len() - 4..].starts_with(b"e-0");
        match (is_plain, is_padded) {
            (false, true) => {
                let (head, last) = text.split_at(text.len() - 1);
                self.out.push_str(&head[..head.len() - 1]);
                self.out.push_str(last);
            }
            _ => self.out.push_str(&text),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.run.charge_bytes(text.len())?;
        self.out.push('"');
        for (at, rune, width) in rune_indices(text) {
            match rune {
                '"' | '\\' => self.out.extend(['\\', rune]),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '<' | '>' | '&' if self.style != Style::Raw => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(rune)));
                }
                ..' ' | '\u{2028}' | '\u{2029}' => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(rune)));
                }
                REPLACEMENT if width == 1 && text[at] >= 0x80 => self.out.push_str("\\ufffd"),
                _ => self.out.push(rune),
            }
        }
        self.out.push('"');
        Ok(())
    }
}

/// Collects the members of a struct, those of embedded ones in their place.
fn collect(fields: Vec<Field>, out: &mut Vec<(&'static str, Value)>) {
    for field in fields {
        match (field.json, &field.value) {
            (None, _) => {}
            (Some(""), Value::Object(object)) => collect(object.fields(), out),
            (Some(_), value) if field.omit_empty && !value.is_true() => {}
            (Some(name), _) => out.push((name, field.value)),
        }
    }
}

fn unsupported(type_name: &str) -> Fault {
    Fault::Message(format!("json: unsupported type: {type_name}"))
}
