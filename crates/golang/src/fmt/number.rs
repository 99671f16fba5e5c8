//! Padding, integers and floats under flags.

use super::{Buffer, Overflow};
use crate::strconv::format_float;
use crate::unicode::{is_print, runes};

/// Flags, width and precision of one verb.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spec {
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`: field names in structs.
    pub(super) plus_v: bool,
    /// `%#v`: Go syntax.
    pub(super) sharp_v: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

impl Spec {
    /// Writes `text` padded to the width, which counts characters.
    pub(super) fn pad(&self, out: &mut Buffer, text: &[u8]) {
        let missing = self.width.unwrap_or(0).saturating_sub(runes(text).count());
        if missing == 0 {
            return out.push(text);
        }
        let fill = if self.zero && !self.minus { b'0' } else { b' ' };
        if missing + text.len() > out.limit {
            out.overflow(Overflow::Bytes);
            return;
        }
        let padding = vec![fill; missing];
        if self.minus {
            out.push(text);
            out.push(&padding);
        } else {
            out.push(&padding);
            out.push(text);
        }
    }

    pub(super) fn integer(&self, out: &mut Buffer, value: i128, verb: char) {
        let (base, prefix) = match verb {
            'b' => (2, "0b"),
            'o' | 'O' => (8, "0"),
            'x' => (16, "0x"),
            'X' => (16, "0X"),
            _ => (10, ""),
        };
        let mut digits = match base {
            2 => format!("{:b}", value.unsigned_abs()),
            8 => format!("{:o}", value.unsigned_abs()),
            16 if verb == 'X' => format!("{:X}", value.unsigned_abs()),
            16 => format!("{:x}", value.unsigned_abs()),
            _ => value.unsigned_abs().to_string(),
        };
        let mut wanted = 0;
        if let Some(precision) = self.precision {
            if precision == 0 && value == 0 {
                let blank = Spec { zero: false, ..*self };
                return blank.pad(out, b"");
            }
            wanted = precision;
        } else if self.zero && !self.minus && self.width.is_some() {
            let signed = value < 0 || self.plus || self.space;
            wanted = self.width.unwrap_or(0).saturating_sub(usize::from(signed));
        }
        if wanted > out.limit {
            out.overflow(Overflow::Bytes);
            return;
        }
        if digits.len() < wanted {
            digits.insert_str(0, &"0".repeat(wanted - digits.len()));
        }
        let mut text = String::from(match value {
            ..0 => "-",
            _ if self.plus => "+",
            _ if self.space => " ",
            _ => "",
        });
        if self.sharp && (verb != 'o' || !digits.starts_with('0')) {
            text.push_str(prefix);
        }
        if verb == 'O' {
            text.push_str("0o");
        }
        text.push_str(&digits);
        Spec { zero: false, ..*self }.pad(out, text.as_bytes());
    }

    /// Writes `U+0041`, with `#` also the character.
    pub(super) fn unicode(&self, out: &mut Buffer, value: u64) {
        let digits = self.precision.unwrap_or(4).max(4).min(out.limit);
        let mut text = format!("U+{value:0>digits$X}");
        let rune = u32::try_from(value).ok().and_then(char::from_u32);
        if let Some(rune) = rune.filter(|rune| self.sharp && is_print(*rune)) {
            text.push_str(&format!(" '{rune}'"));
        }
        Spec { zero: false, ..*self }.pad(out, text.as_bytes());
    }

    pub(super) fn float(&self, out: &mut Buffer, value: f64, verb: char, precision: Option<usize>) {
        let precision = self.precision.or(precision);
        let text = format_float(value, verb, precision);
        let signed = if text.starts_with(['+', '-']) { text } else { format!("+{text}") };
        let mut spec = *self;
        let (mut sign, mut digits) = (signed[..1].to_owned(), signed[1..].to_owned());
        if self.space && sign == "+" && !self.plus {
            sign = " ".into();
        }
        if !value.is_finite() {
            // Infinities and NaN are not padded with zeros.
            spec.zero = false;
            if value.is_nan() && !self.space && !self.plus {
                sign.clear();
            }
        } else if self.sharp && verb != 'b' {
            digits = with_point(&digits, verb, precision);
        }
        if self.plus || sign != "+" {
            if spec.zero && !spec.minus && spec.width.is_some_and(|width| width > digits.len() + 1)
            {
                // The sign stands before the zeros.
                out.push(sign.as_bytes());
                spec.width = spec.width.map(|width| width - sign.len());
                return spec.pad(out, digits.as_bytes());
            }
            return spec.pad(out, (sign + &digits).as_bytes());
        }
        spec.pad(out, digits.as_bytes());
    }
}

/// `#`: always a decimal point, and for `%g` the zeros that it would drop.
fn with_point(text: &str, verb: char, precision: Option<usize>) -> String {
    let hex = matches!(verb, 'x' | 'X');
    // Go counts the digits of %X otherwise than those of %x.
    let mut missing = match verb {
        'v' | 'g' | 'G' | 'x' => precision.unwrap_or(6) as i64,
        _ => 0,
    };
    let tail_at = match hex {
        true => text.find(['p', 'P']),
        false => text.find(['e', 'E']),
    };
    let (mut digits, tail) = match tail_at {
        Some(at) => (text[..at].to_owned(), &text[at..]),
        None => (text.to_owned(), ""),
    };
    let mut seen = false;
    for byte in digits.as_bytes().iter().filter(|byte| **byte != b'.') {
        seen |= *byte != b'0';
        missing -= i64::from(seen);
    }
    if !digits.contains('.') {
        if digits == "0" {
            missing -= 1;
        }
        digits.push('.');
    }
    let zeros = usize::try_from(missing).unwrap_or(0);
    digits.extend(std::iter::repeat_n('0', zeros));
    digits + tail
}
