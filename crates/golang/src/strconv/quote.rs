//! Quoting and unquoting of strings and characters.

use std::fmt::Write as _;

use super::SyntaxError;
use crate::unicode::{REPLACEMENT, is_print, rune_indices};

/// Returns the text as a Go string literal in double quotes.
pub fn quote(text: &[u8]) -> String {
    quote_with(text, '"', false)
}

/// Returns the text as a Go string literal of ASCII characters only.
pub fn quote_to_ascii(text: &[u8]) -> String {
    quote_with(text, '"', true)
}

/// Returns the character as a Go character literal; what is no character is U+FFFD.
pub fn quote_rune(rune: u32) -> String {
    quote_rune_with(rune, false)
}

/// Returns the character as a Go character literal of ASCII characters only.
pub fn quote_rune_to_ascii(rune: u32) -> String {
    quote_rune_with(rune, true)
}

/// Returns whether the text can stand between back quotes unchanged: no control character but tab, no back quote.
pub fn can_backquote(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| {
        text.chars().all(|c| c == '\t' || c >= ' ' && !"\u{7f}`\u{feff}".contains(c))
    })
}

/// Returns what a Go string or character literal (`"…"`, `` `…` ``, `'…'`) stands for.
pub fn unquote(literal: &[u8]) -> Result<Vec<u8>, SyntaxError> {
    let [quote @ (b'"' | b'`' | b'\''), inner @ .., last] = literal else {
        return Err(SyntaxError);
    };
    if quote != last {
        return Err(SyntaxError);
    }
    match quote {
        b'`' if inner.contains(&b'`') => Err(SyntaxError),
        b'`' => Ok(inner.iter().copied().filter(|byte| *byte != b'\r').collect()),
        _ if inner.contains(&b'\n') => Err(SyntaxError),
        b'\'' => {
            let mut out = Vec::new();
            let rest = unquote_char(inner, b'\'')?.push(&mut out);
            if rest.is_empty() { Ok(out) } else { Err(SyntaxError) }
        }
        _ => {
            let (mut out, mut rest) = (Vec::with_capacity(inner.len()), inner);
            while !rest.is_empty() {
                rest = unquote_char(rest, b'"')?.push(&mut out);
            }
            Ok(out)
        }
    }
}

/// One character or byte of a literal, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unquoted<'a> {
    /// The character, or the byte's value where `is_byte`.
    pub value: u32,
    /// Whether it was written as `\x..` or octal, thus stands for a byte and not a character.
    pub is_byte: bool,
    /// The rest of the literal.
    pub rest: &'a [u8],
}

impl<'a> Unquoted<'a> {
    fn push(self, out: &mut Vec<u8>) -> &'a [u8] {
        if self.is_byte {
            out.push(self.value as u8);
        } else {
            let rune = char::from_u32(self.value).unwrap_or(REPLACEMENT);
            out.extend_from_slice(rune.encode_utf8(&mut [0; 4]).as_bytes());
        }
        self.rest
    }
}

/// Returns the first character or byte of a literal between `quote`s.
pub fn unquote_char(text: &[u8], quote: u8) -> Result<Unquoted<'_>, SyntaxError> {
    let first = *text.first().ok_or(SyntaxError)?;
    if first == quote && (quote == b'\'' || quote == b'"') {
        return Err(SyntaxError);
    }
    if first != b'\\' {
        let (_, rune, width) = rune_indices(text).next().ok_or(SyntaxError)?;
        return Ok(Unquoted { value: u32::from(rune), is_byte: false, rest: &text[width..] });
    }
    let escape = *text.get(1).ok_or(SyntaxError)?;
    let rest = &text[2..];
    let plain = |value: u8| Ok(Unquoted { value: u32::from(value), is_byte: false, rest });
    match escape {
        b'a' => plain(0x07),
        b'b' => plain(0x08),
        b'f' => plain(0x0c),
        b'n' => plain(b'\n'),
        b'r' => plain(b'\r'),
        b't' => plain(b'\t'),
        b'v' => plain(0x0b),
        b'\\' => plain(b'\\'),
        b'\'' | b'"' if escape == quote => plain(escape),
        b'x' => number(rest, 2, 16).map(|(value, rest)| Unquoted { value, is_byte: true, rest }),
        b'u' => rune_escape(rest, 4),
        b'U' => rune_escape(rest, 8),
        b'0'..=b'7' => {
            let (value, rest) = number(&text[1..], 3, 8)?;
            if value > 255 {
                return Err(SyntaxError);
            }
            Ok(Unquoted { value, is_byte: true, rest })
        }
        _ => Err(SyntaxError),
    }
}

fn rune_escape(text: &[u8], digits: usize) -> Result<Unquoted<'_>, SyntaxError> {
    let (value, rest) = number(text, digits, 16)?;
    char::from_u32(value).ok_or(SyntaxError)?;
    Ok(Unquoted { value, is_byte: false, rest })
}

fn number(text: &[u8], digits: usize, base: u32) -> Result<(u32, &[u8]), SyntaxError> {
    let (number, rest) = text.split_at_checked(digits).ok_or(SyntaxError)?;
    let mut value = 0u32;
    for digit in number {
        let digit = char::from(*digit).to_digit(base).ok_or(SyntaxError)?;
        value = value.checked_mul(base).and_then(|v| v.checked_add(digit)).ok_or(SyntaxError)?;
    }
    Ok((value, rest))
}

fn quote_with(text: &[u8], quote: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for (at, rune, width) in rune_indices(text) {
        if rune == REPLACEMENT && width == 1 {
            let _ = write!(out, "\\x{:02x}", text[at]);
        } else {
            escape_rune(&mut out, rune, quote, ascii);
        }
    }
    out.push(quote);
    out
}

fn quote_rune_with(rune: u32, ascii: bool) -> String {
    let mut out = String::from("'");
    escape_rune(&mut out, char::from_u32(rune).unwrap_or(REPLACEMENT), '\'', ascii);
    out.push('\'');
    out
}

fn escape_rune(out: &mut String, rune: char, quote: char, ascii: bool) {
    if rune == quote || rune == '\\' {
        out.extend(['\\', rune]);
        return;
    }
    if is_print(rune) && (rune.is_ascii() || !ascii) {
        out.push(rune);
        return;
    }
    let _ = match rune {
        '\u{7}' => write!(out, "\\a"),
        '\u{8}' => write!(out, "\\b"),
        '\u{c}' => write!(out, "\\f"),
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        '\u{b}' => write!(out, "\\v"),
        ..' ' | '\u{7f}' => write!(out, "\\x{:02x}", u32::from(rune)),
        ..='\u{ffff}' => write!(out, "\\u{:04x}", u32::from(rune)),
        _ => write!(out, "\\U{:08x}", u32::from(rune)),
    };
}
