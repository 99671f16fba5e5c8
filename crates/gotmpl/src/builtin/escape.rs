//! Escaping for HTML, JavaScript and URL queries.

use golang::unicode::{is_print, rune_indices};

pub(super) fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend("\u{fffd}".as_bytes()),
            b'"' => out.extend(b"&#34;"),
            b'\'' => out.extend(b"&#39;"),
            b'&' => out.extend(b"&amp;"),
            b'<' => out.extend(b"&lt;"),
            b'>' => out.extend(b"&gt;"),
            _ => out.push(*byte),
        }
    }
    out
}

pub(super) fn js(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (at, rune, width) in rune_indices(text) {
        match rune {
            '\\' => out.extend(br"\\"),
            '\'' => out.extend(br"\'"),
            '"' => out.extend(br#"\""#),
            '<' | '>' | '&' | '=' | '\0'..' ' => {
                out.extend(format!("\\u{:04X}", u32::from(rune)).bytes());
            }
            ' '..='\u{7f}' => out.push(text[at]),
            _ if is_print(rune) => out.extend(&text[at..at + width]),
            _ => out.extend(format!("\\u{:04X}", u32::from(rune)).bytes()),
        }
    }
    out
}

pub(super) fn url_query(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            b' ' => out.push(b'+'),
            _ => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
    out
}
