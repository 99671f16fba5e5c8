//! How one scalar is written: as plain text, quoted, or as a block.

use golang::strconv::format_float;
use serde_json::Number;

use crate::resolve::{Resolved, resolve};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// What matters about a text for the choice of its style.
#[derive(Debug, Default)]
pub(super) struct Scalar {
    /// Reads as something else than text when it is not quoted.
    is_typed: bool,
    /// Holds something that only stands in quotes.
    has_indicators: bool,
    has_breaks: bool,
    /// Begins or ends with a space or a line break.
    is_padded: bool,
    ends_with_space: bool,
    has_space_before_break: bool,
    /// Holds what must be escaped.
    has_specials: bool,
}

impl Scalar {
    pub(super) fn of(text: &str) -> Self {
        let mut scalar = Self {
            is_typed: !matches!(resolve(text), Resolved::String | Resolved::Merge)
                || is_base_60(text),
            has_indicators: text.starts_with("---") || text.starts_with("..."),
            is_padded: text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']),
            ends_with_space: text.ends_with(' '),
            ..Self::default()
        };
        let mut previous = ' ';
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let next = rest.as_str().chars().next();
            let before_blank = next.is_none_or(|next| matches!(next, ' ' | '\t'));
            let is_first = rest.as_str().len() + c.len_utf8() == text.len();
            scalar.has_indicators |= match c {
                '#' if is_first => true,
                '#' => matches!(previous, ' ' | '\t' | '\n'),
                ':' => before_blank,
                '?' | '-' => is_first && before_blank,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => is_first,
                _ => false,
            };
            scalar.has_breaks |= c == '\n';
            scalar.has_space_before_break |= c == '\n' && previous == ' ' && !is_first;
            scalar.has_specials |= is_special(c);
            previous = c;
        }
        scalar
    }

    /// `must_quote` forbids plain text, `is_on_one_line` a block.
    pub(super) fn style(&self, must_quote: bool, is_on_one_line: bool) -> Style {
        if self.has_specials || self.has_space_before_break {
            return Style::DoubleQuoted;
        }
        if self.has_breaks {
            let fits = !self.ends_with_space && !is_on_one_line;
            return if fits { Style::Literal } else { Style::DoubleQuoted };
        }
        match (self.is_typed || must_quote, self.has_indicators || self.is_padded) {
            (true, _) => Style::DoubleQuoted,
            (false, true) => Style::SingleQuoted,
            (false, false) => Style::Plain,
        }
    }
}

/// `^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`: a number to readers of YAML 1.1.
fn is_base_60(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let leads = parts
        .next()
        .is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()) && is_digits(part));
    let is_sixtieth =
        |part: &str| matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    leads && whole.contains(':') && parts.all(is_sixtieth) && is_digits(fraction)
}

/// Returns whether a character breaks lines to readers of YAML 1.1.
pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_special(c: char) -> bool {
    let is_printable =
        matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{feff}' | '\u{ff00}'..='\u{fffd}');
    !is_printable || c == '\u{feff}' || is_break(c) && c != '\n'
}

/// Returns a character as it stands between double quotes.
pub(super) fn escape_if_special(c: char) -> String {
    if is_special(c) || matches!(c, '\n' | '"' | '\\') { escape(c) } else { c.to_string() }
}

/// Returns the escape sequence of a character.
pub(super) fn escape(c: char) -> String {
    let letter = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let code = u32::from(c);
            return match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{letter}")
}

/// Returns a number as yaml.v2 writes what it has read from JSON.
pub(super) fn number(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let magnitude = float.abs();
    let is_small = magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude);
    // Go's JSON, in which a float without a fraction is an integer to the next reader.
    let json = format_float(float, if is_small { 'e' } else { 'f' }, None);
    match resolve(&json) {
        Resolved::Int(integer) => integer.to_string(),
        Resolved::Uint(integer) => integer.to_string(),
        _ => format_float(float, 'g', None),
    }
}
