//! Base64 and base32 with padding.

use super::{Entry, fixed, text};
use crate::function::Param;
use crate::value::Value;

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn functions() -> Vec<Entry> {
    use Param::String;
    vec![
        fixed("b64enc", &[String], |_, args| Ok(encode(text(args, 0), BASE64, 6).into())),
        fixed("b64dec", &[String], |_, args| Ok(decoded(text(args, 0), BASE64, 6))),
        fixed("b32enc", &[String], |_, args| Ok(encode(text(args, 0), BASE32, 5).into())),
        fixed("b32dec", &[String], |_, args| Ok(decoded(text(args, 0), BASE32, 5))),
    ]
}

/// Returns how many characters make a full group.
fn group(bits: u32) -> usize {
    if bits == 6 { 4 } else { 8 }
}

fn encode(data: &[u8], alphabet: &[u8], bits: u32) -> String {
    let mut out = String::with_capacity(data.len() * 8 / bits as usize + 8);
    let (mut buffer, mut filled) = (0u32, 0);
    for byte in data {
        buffer = (buffer << 8 | u32::from(*byte)) & 0xffff;
        filled += 8;
        while filled >= bits {
            filled -= bits;
            out.push(char::from(alphabet[(buffer >> filled) as usize & ((1 << bits) - 1)]));
        }
    }
    if filled > 0 {
        out.push(char::from(alphabet[(buffer << (bits - filled)) as usize & ((1 << bits) - 1)]));
    }
    while !out.len().is_multiple_of(group(bits)) {
        out.push('=');
    }
    out
}

/// Returns the decoded data, or the text of the error: Sprig does not fail here.
fn decoded(text: &[u8], alphabet: &[u8], bits: u32) -> Value {
    match decode(text, alphabet, bits) {
        Ok(data) => Value::string(data),
        Err(at) => format!("illegal base{} data at input byte {at}", 1 << bits).into(),
    }
}

fn decode(text: &[u8], alphabet: &[u8], bits: u32) -> Result<Vec<u8>, usize> {
    let mut values = [255u8; 256];
    for (value, byte) in alphabet.iter().enumerate() {
        values[usize::from(*byte)] = value as u8;
    }
    let group = group(bits);
    let mut out = Vec::with_capacity(text.len() * bits as usize / 8);
    // Line ends may stand anywhere; offsets in errors count them.
    let mut chars = text.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    loop {
        let (mut buffer, mut n_chars) = (0u64, 0);
        while n_chars < group {
            match chars.next() {
                None if n_chars == 0 => return Ok(out),
                None => return Err(text.len() - n_chars),
                Some((at, b'=')) => {
                    padding(&mut chars, (at, text.len()), n_chars, group)?;
                    let n_bytes = n_chars * bits as usize / 8;
                    let shift = n_chars as u32 * bits - n_bytes as u32 * 8;
                    out.extend_from_slice(&(buffer >> shift).to_be_bytes()[8 - n_bytes..]);
                    return Ok(out);
                }
                Some((at, byte)) => match values[usize::from(*byte)] {
                    255 => return Err(at),
                    value => {
                        buffer = buffer << bits | u64::from(value);
                        n_chars += 1;
                    }
                },
            }
        }
        let n_bytes = group * bits as usize / 8;
        out.extend_from_slice(&buffer.to_be_bytes()[8 - n_bytes..]);
    }
}

/// Checks that the padding that began fills the group and that nothing follows it.
fn padding<'t>(
    chars: &mut impl Iterator<Item = (usize, &'t u8)>,
    (start, end): (usize, usize),
    n_chars: usize,
    group: usize,
) -> Result<(), usize> {
    let is_possible = match group {
        4 => n_chars >= 2,
        _ => matches!(n_chars, 2 | 4 | 5 | 7),
    };
    if !is_possible {
        return Err(start);
    }
    for _ in n_chars + 1..group {
        match chars.next() {
            Some((_, b'=')) => {}
            Some((at, _)) => return Err(at),
            None => return Err(end),
        }
    }
    chars.next().map_or(Ok(()), |(at, _)| Err(at))
}
