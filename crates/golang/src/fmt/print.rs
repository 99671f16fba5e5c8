//! The verbs themselves.

use super::number::Spec;
use super::{Buffer, DEPTH_MAX, Operand, Overflow, View};
use crate::strconv::{can_backquote, quote, quote_rune, quote_rune_to_ascii, quote_to_ascii};
use crate::unicode::{REPLACEMENT, rune_indices};

/// Widths and precisions beyond this are an error of the format, as in Go.
const NUMBER_MAX: i64 = 1_000_000;

/// Writes the operands with `%v`, a space between two that are both no strings.
pub fn sprint<V: Operand>(out: &mut Buffer, operands: &[V]) {
    let mut was_text = false;
    for (at, operand) in operands.iter().enumerate() {
        let is_text = matches!(operand.view(), View::Text(_));
        if at > 0 && !is_text && !was_text {
            out.push(b" ");
        }
        print(out, &Spec::default(), operand, 'v', 0);
        was_text = is_text;
    }
}

/// Writes the operands with `%v`, spaces between all, a line feed at the end.
pub fn sprintln<V: Operand>(out: &mut Buffer, operands: &[V]) {
    for (at, operand) in operands.iter().enumerate() {
        if at > 0 {
            out.push(b" ");
        }
        print(out, &Spec::default(), operand, 'v', 0);
    }
    out.push(b"\n");
}

/// Writes the operands as `format` says; what does not fit is shown as Go shows it, e.g. `%!d(string=x)`.
pub fn sprintf<V: Operand>(out: &mut Buffer, format: &[u8], operands: &[V]) {
    let mut state =
        Formatter { out, format, at: 0, operands, next: 0, reordered: false, good_index: true };
    state.run();
}

struct Formatter<'a, V: Operand> {
    out: &'a mut Buffer,
    format: &'a [u8],
    at: usize,
    operands: &'a [V],
    next: usize,
    /// Whether `[n]` was used anywhere: then unused operands are no error.
    reordered: bool,
    good_index: bool,
}

impl<V: Operand> Formatter<'_, V> {
    fn run(&mut self) {
        while self.at < self.format.len() && !self.out.is_full() {
            let rest = &self.format[self.at..];
            let plain = memchr::memchr(b'%', rest).unwrap_or(rest.len());
            self.out.push(&rest[..plain]);
            self.at += plain;
            if plain < rest.len() {
                self.at += 1;
                self.verb();
            }
        }
        if !self.reordered && self.next < self.operands.len() {
            self.extra();
        }
    }

    fn extra(&mut self) {
        self.out.push(b"%!(EXTRA ");
        for (at, operand) in self.operands[self.next..].iter().enumerate() {
            if at > 0 {
                self.out.push(b", ");
            }
            if matches!(operand.view(), View::Nil) {
                self.out.push(b"<nil>");
            } else {
                self.out.push(operand.type_name().as_bytes());
                self.out.push(b"=");
                print(self.out, &Spec::default(), operand, 'v', 0);
            }
        }
        self.out.push(b")");
    }

    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    /// Handles what follows a `%`.
    fn verb(&mut self) {
        let mut spec = self.flags();
        self.good_index = true;
        let mut after_index = self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.star() {
                Some(width) => {
                    spec.minus |= width < 0;
                    spec.width = Some(width.unsigned_abs() as usize);
                }
                None => self.out.push(b"%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            spec.width = self.number();
            if after_index && spec.width.is_some() {
                self.good_index = false;
            }
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if after_index {
                self.good_index = false;
            }
            after_index = self.index();
            if self.peek() == Some(b'*') {
                self.at += 1;
                match self.star() {
                    Some(precision) if precision >= 0 => spec.precision = Some(precision as usize),
                    Some(_) => {}
                    None => self.out.push(b"%!(BADPREC)"),
                }
                after_index = false;
            } else {
                spec.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.index();
        }
        self.finish_verb(spec);
    }

    fn finish_verb(&mut self, mut spec: Spec) {
        let Some((_, verb, width)) = rune_indices(&self.format[self.at..]).next() else {
            return self.out.push(b"%!(NOVERB)");
        };
        self.at += width;
        if verb == '%' {
            return self.out.push(b"%");
        }
        let operand = if self.good_index { self.operands.get(self.next) } else { None };
        let Some(operand) = operand else {
            self.out.push(b"%!");
            self.out.push_char(verb);
            return self.out.push(if self.good_index { b"(MISSING)" } else { b"(BADINDEX)" });
        };
        self.next += 1;
        if verb == 'v' {
            spec.sharp_v = std::mem::take(&mut spec.sharp);
            spec.plus_v = std::mem::take(&mut spec.plus);
        }
        print(self.out, &spec, operand, verb, 0);
    }

    fn flags(&mut self) -> Spec {
        let mut spec = Spec::default();
        while let Some(flag) = self.peek() {
            match flag {
                b'#' => spec.sharp = true,
                b'0' => spec.zero = true,
                b'+' => spec.plus = true,
                b'-' => spec.minus = true,
                b' ' => spec.space = true,
                _ => break,
            }
            self.at += 1;
        }
        spec
    }

    /// Reads digits; a number that is too large for a width counts as absent, its verb then as bad.
    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        let mut number = 0i64;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            if number > NUMBER_MAX {
                self.at = self.format.len();
                return None;
            }
            number = number * 10 + i64::from(digit - b'0');
            self.at += 1;
        }
        (self.at > start).then_some(number as usize)
    }

    /// Takes the next operand as a width or precision.
    fn star(&mut self) -> Option<i64> {
        let operand = self.operands.get(self.next);
        if operand.is_some() {
            self.next += 1;
        }
        let number = match operand?.view() {
            View::Int(number) => number,
            View::Uint(number) => i64::try_from(number).ok()?,
            _ => return None,
        };
        (-NUMBER_MAX..=NUMBER_MAX).contains(&number).then_some(number)
    }

    /// Reads `[n]`; returns whether there was one.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let Some(end) = memchr::memchr(b']', rest) else {
            self.at += 1;
            self.good_index = false;
            return false;
        };
        let digits = &rest[1..end];
        self.at += end + 1;
        let number = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<usize>().ok());
        match number {
            Some(number) if (1..=self.operands.len()).contains(&number) => {
                self.next = number - 1;
                true
            }
            _ => {
                self.good_index = false;
                number.is_some()
            }
        }
    }
}

/// Writes one operand under one verb.
fn print<V: Operand>(out: &mut Buffer, spec: &Spec, operand: &V, verb: char, depth: usize) {
    if depth > DEPTH_MAX {
        out.overflow(Overflow::Depth);
    }
    if out.is_full() {
        return;
    }
    let view = operand.view();
    if verb == 'T' && depth == 0 {
        return match view {
            View::Nil => spec.pad(out, b"<nil>"),
            _ => text(out, spec, operand.type_name().as_bytes(), 's'),
        };
    }
    match view {
        View::Nil if depth > 0 => {
            if spec.sharp_v {
                out.push(b"interface {}(nil)");
            } else {
                out.push(b"<nil>");
            }
        }
        View::Nil if verb == 'v' => spec.pad(out, b"<nil>"),
        View::Bool(value) if matches!(verb, 't' | 'v') => {
            spec.pad(out, if value { b"true" } else { b"false" });
        }
        View::Int(value) => integer(out, spec, operand, i128::from(value), verb),
        View::Uint(value) if verb == 'v' && spec.sharp_v => {
            Spec { sharp: true, sharp_v: false, ..*spec }.integer(out, i128::from(value), 'x');
        }
        View::Uint(value) => integer(out, spec, operand, i128::from(value), verb),
        View::Float(value) => float(out, spec, operand, value, verb),
        View::Complex(real, imaginary) => complex(out, spec, operand, (real, imaginary), verb),
        View::Text(value) if verb == 'v' && spec.sharp_v => text(out, spec, value, 'q'),
        View::Text(value) if is_text_verb(verb) => text(out, spec, value, verb),
        View::Stringer(value) if !spec.sharp_v && is_text_verb(verb) => {
            text(out, spec, &value, verb)
        }
        View::Bytes(value) if matches!(verb, 's' | 'q' | 'x' | 'X') => {
            text(out, spec, &value, verb)
        }
        View::Bytes(value) => bytes(out, spec, operand, &value, verb),
        View::List(items) => list(out, spec, operand, items.as_deref(), (verb, depth)),
        View::Map(entries) => map(out, spec, operand, entries.as_deref(), (verb, depth)),
        View::Struct(fields) => {
            if spec.sharp_v {
                out.push(operand.type_name().as_bytes());
            }
            out.push(b"{");
            for (at, (name, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(if spec.sharp_v { b", " } else { b" " });
                }
                if spec.plus_v || spec.sharp_v {
                    out.push(name.as_bytes());
                    out.push(b":");
                }
                print(out, spec, value, verb, depth + 1);
            }
            out.push(b"}");
        }
        View::Address if matches!(verb, 'v' | 'p') => out.push(b"0x0"),
        View::Nil | View::Bool(_) | View::Text(_) | View::Stringer(_) | View::Address => {
            bad_verb(out, spec, operand, verb);
        }
    }
}

fn is_text_verb(verb: char) -> bool {
    matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
}

fn list<V: Operand>(
    out: &mut Buffer,
    spec: &Spec,
    operand: &V,
    items: Option<&[V]>,
    (verb, depth): (char, usize),
) {
    if verb == 'p' {
        return out.push(b"0x0");
    }
    if spec.sharp_v {
        out.push(operand.type_name().as_bytes());
        if items.is_none() {
            return out.push(b"(nil)");
        }
    }
    out.push(if spec.sharp_v { b"{" } else { b"[" });
    for (at, item) in items.unwrap_or_default().iter().enumerate() {
        if at > 0 {
            out.push(if spec.sharp_v { b", " } else { b" " });
        }
        print(out, spec, item, verb, depth + 1);
    }
    out.push(if spec.sharp_v { b"}" } else { b"]" });
}

fn map<V: Operand>(
    out: &mut Buffer,
    spec: &Spec,
    operand: &V,
    entries: Option<&[(V, V)]>,
    (verb, depth): (char, usize),
) {
    if verb == 'p' {
        return out.push(b"0x0");
    }
    if spec.sharp_v {
        out.push(operand.type_name().as_bytes());
        if entries.is_none() {
            return out.push(b"(nil)");
        }
        out.push(b"{");
    } else {
        out.push(b"map[");
    }
    for (at, (key, value)) in entries.unwrap_or_default().iter().enumerate() {
        if at > 0 {
            out.push(if spec.sharp_v { b", " } else { b" " });
        }
        print(out, spec, key, verb, depth + 1);
        out.push(b":");
        print(out, spec, value, verb, depth + 1);
    }
    out.push(if spec.sharp_v { b"}" } else { b"]" });
}

fn bytes<V: Operand>(out: &mut Buffer, spec: &Spec, operand: &V, value: &[u8], verb: char) {
    if !matches!(verb, 'v' | 'd') {
        return bad_verb(out, spec, operand, verb);
    }
    out.push(if spec.sharp_v { b"[]byte{" } else { b"[" });
    for (at, byte) in value.iter().enumerate() {
        if at > 0 {
            out.push(if spec.sharp_v { b", " } else { b" " });
        }
        let shown = if spec.sharp_v { Spec { sharp: true, ..*spec } } else { *spec };
        shown.integer(out, i128::from(*byte), if spec.sharp_v { 'x' } else { 'd' });
    }
    out.push(if spec.sharp_v { b"}" } else { b"]" });
}

fn integer<V: Operand>(out: &mut Buffer, spec: &Spec, operand: &V, value: i128, verb: char) {
    let rune = u32::try_from(value).ok().filter(|value| char::from_u32(*value).is_some());
    let rune = rune.unwrap_or(u32::from(REPLACEMENT));
    match verb {
        'v' | 'd' => spec.integer(out, value, 'd'),
        'b' | 'o' | 'O' | 'x' | 'X' => spec.integer(out, value, verb),
        'c' => spec.pad(out, char::from_u32(rune).unwrap_or(REPLACEMENT).to_string().as_bytes()),
        'q' if spec.plus => spec.pad(out, quote_rune_to_ascii(rune).as_bytes()),
        'q' => spec.pad(out, quote_rune(rune).as_bytes()),
        'U' => spec.unicode(out, value as u64),
        _ => bad_verb(out, spec, operand, verb),
    }
}

fn float<V: Operand>(out: &mut Buffer, spec: &Spec, operand: &V, value: f64, verb: char) {
    match verb {
        'v' => spec.float(out, value, 'g', None),
        'b' | 'g' | 'G' | 'x' | 'X' => spec.float(out, value, verb, None),
        'f' | 'e' | 'E' => spec.float(out, value, verb, Some(6)),
        'F' => spec.float(out, value, 'f', Some(6)),
        _ => bad_verb(out, spec, operand, verb),
    }
}

fn complex<V: Operand>(out: &mut Buffer, spec: &Spec, operand: &V, value: (f64, f64), verb: char) {
    let (shown, precision) = match verb {
        'v' => ('g', None),
        'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
        'f' | 'F' => ('f', Some(6)),
        'e' | 'E' => (verb, Some(6)),
        _ => return bad_verb(out, spec, operand, verb),
    };
    out.push(b"(");
    spec.float(out, value.0, shown, precision);
    Spec { plus: true, ..*spec }.float(out, value.1, shown, precision);
    out.push(b"i)");
}

/// Writes a string under `%s`, `%v`, `%q`, `%x` or `%X`.
fn text(out: &mut Buffer, spec: &Spec, value: &[u8], verb: char) {
    if matches!(verb, 'x' | 'X') {
        return hexadecimal(out, spec, value, verb == 'X');
    }
    let end = match spec.precision {
        Some(count) => rune_indices(value).nth(count).map_or(value.len(), |(at, ..)| at),
        None => value.len(),
    };
    let value = &value[..end];
    match verb {
        'q' if spec.sharp && can_backquote(value) => {
            spec.pad(out, &[b"`", value, b"`"].concat());
        }
        'q' if spec.plus => spec.pad(out, quote_to_ascii(value).as_bytes()),
        'q' => spec.pad(out, quote(value).as_bytes()),
        _ => spec.pad(out, value),
    }
}

fn hexadecimal(out: &mut Buffer, spec: &Spec, value: &[u8], upper: bool) {
    let value = &value[..spec.precision.unwrap_or(value.len()).min(value.len())];
    if value.len().saturating_mul(2) > out.limit {
        out.overflow(Overflow::Bytes);
        return;
    }
    let mut digits = Vec::with_capacity(value.len() * 2);
    let table: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    for (at, byte) in value.iter().enumerate() {
        if spec.space && at > 0 {
            digits.push(b' ');
        }
        if spec.sharp && (spec.space || at == 0) {
            digits.extend([b'0', if upper { b'X' } else { b'x' }]);
        }
        digits.extend([table[usize::from(byte >> 4)], table[usize::from(byte & 15)]]);
    }
    spec.pad(out, &digits);
}

/// `%!verb(type=value)`.
fn bad_verb<V: Operand>(out: &mut Buffer, spec: &Spec, operand: &V, verb: char) {
    out.push(b"%!");
    out.push_char(verb);
    out.push(b"(");
    if matches!(operand.view(), View::Nil) {
        out.push(b"<nil>");
    } else {
        out.push(operand.type_name().as_bytes());
        out.push(b"=");
        print(out, spec, operand, 'v', 0);
    }
    out.push(b")");
}
