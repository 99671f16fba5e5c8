//! The lines that Git's protocols are made of.

use super::GitError;

/// The longest payload of one line.
pub(super) const LINE_BYTES_MAX: usize = 65_516;

/// Ends a message or a section of one.
pub(super) const FLUSH: &[u8] = b"0000";

/// Separates sections of a message in protocol v2.
pub(super) const DELIMITER: &[u8] = b"0001";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    Line(&'a [u8]),
    Flush,
    Delimiter,
}

/// Appends a line.
pub(super) fn write(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= LINE_BYTES_MAX, "callers cut what is longer");
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

/// Appends `bytes` as lines of a side band, and the flush that ends it.
pub(super) fn write_band(out: &mut Vec<u8>, band: u8, bytes: &[u8]) {
    for piece in bytes.chunks(LINE_BYTES_MAX - 1) {
        out.extend_from_slice(format!("{:04x}", piece.len() + 5).as_bytes());
        out.push(band);
        out.extend_from_slice(piece);
    }
}

/// Takes the first packet off `input`; `None` at its end.
pub(super) fn read<'a>(input: &mut &'a [u8]) -> Result<Option<Packet<'a>>, GitError> {
    if input.is_empty() {
        return Ok(None);
    }
    let broken = || GitError::Protocol("a packet line is cut short or has no length".to_owned());
    let (digits, rest) = input.split_at_checked(4).ok_or_else(broken)?;
    let digits = std::str::from_utf8(digits).map_err(|_| broken())?;
    let length = usize::from_str_radix(digits, 16).map_err(|_| broken())?;
    let packet = match length {
        0 => Packet::Flush,
        1 => Packet::Delimiter,
        2 | 3 => return Err(broken()),
        _ => {
            let (line, rest) = rest.split_at_checked(length - 4).ok_or_else(broken)?;
            *input = rest;
            return Ok(Some(Packet::Line(line)));
        }
    };
    *input = rest;
    Ok(Some(packet))
}

/// Returns a line as text without its line end.
pub(super) fn text(line: &[u8]) -> Result<&str, GitError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    std::str::from_utf8(line).map_err(|_| GitError::Protocol("a line is not text".to_owned()))
}
