//! Percent-encoding.

use super::Reason;

/// The part of a URL, which decides what may stand there as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    Host,
    /// The zone of an IPv6 address.
    Zone,
    User,
    Fragment,
}

impl Part {
    /// Returns what may stand there beside letters and digits.
    fn allowed(self) -> &'static [u8] {
        match self {
            Part::Path => b"$&+,-./:;=@_~",
            Part::Host | Part::Zone => b"!\"$&'()*+,-.:;<=>[]_~",
            Part::User => b"$&+,-.;=_~",
            Part::Fragment => b"!$&()*+,-./:;=?@_~",
        }
    }

    fn allows(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || self.allowed().contains(&byte)
    }
}

/// Returns the text with everything escaped that may not stand in the part.
pub(super) fn escape(text: &[u8], part: Part) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if part.allows(byte) {
            out.push(byte);
        } else {
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
    out
}

/// Returns whether the text is a way to write the part, better or worse.
pub(super) fn is_encoded(text: &[u8], part: Part) -> bool {
    text.iter().all(|byte| b"!$&'()*+,;=:@[]%".contains(byte) || part.allows(*byte))
}

/// Returns the text with every escape replaced by its byte.
pub(super) fn unescape(text: &[u8], part: Part) -> Result<Vec<u8>, Reason> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let is_host = matches!(part, Part::Host | Part::Zone);
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            if is_host && first.is_ascii() && !part.allows(*first) {
                return Err(Reason::HostCharacter(*first));
            }
            out.push(*first);
            rest = after;
            continue;
        }
        let escape = &rest[..rest.len().min(3)];
        let byte = hexadecimal(after).filter(|byte| may_be_escaped(*byte, part));
        out.push(byte.ok_or_else(|| Reason::Escape(escape.to_vec()))?);
        rest = &rest[3..];
    }
    Ok(out)
}

/// In a host only what is not ASCII may be escaped, and a percent sign; in a zone what may also stand there, and a space.
fn may_be_escaped(byte: u8, part: Part) -> bool {
    match part {
        Part::Host => byte == b'%' || !byte.is_ascii(),
        Part::Zone => byte == b'%' || byte == b' ' || Part::Host.allows(byte),
        Part::Path | Part::User | Part::Fragment => true,
    }
}

fn hexadecimal(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    Some((digit(0)? << 4 | digit(1)?) as u8)
}
