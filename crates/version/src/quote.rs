//! Quotes a text as Go's `%q`, for error messages.

use std::fmt::Write as _;

/// Returns the text in double quotes with Go's escapes.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push(&mut quoted, c);
    }
    quoted.push('"');
    quoted
}

fn push(quoted: &mut String, c: char) {
    let escape = match c {
        '"' => '"',
        '\\' => '\\',
        '\x07' => 'a',
        '\x08' => 'b',
        '\x0C' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\x0B' => 'v',
        c if is_printable(c) => return quoted.push(c),
        c => return push_code(quoted, c),
    };
    quoted.push('\\');
    quoted.push(escape);
}

fn push_code(quoted: &mut String, c: char) {
    let code = u32::from(c);
    let written = match code {
        0..0x80 => write!(quoted, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(quoted, "\\u{code:04x}"),
        _ => write!(quoted, "\\U{code:08x}"),
    };
    written.expect("writing to a string does not fail");
}

/// Reports whether a character is shown as it is. The standard library's table decides; behind a
/// letter, because it also escapes a combining mark that has nothing to stand on.
fn is_printable(c: char) -> bool {
    let mut buffer = [b'a'; 5];
    let len = c.encode_utf8(&mut buffer[1..]).len();
    let text = str::from_utf8(&buffer[..=len]).expect("a letter and a character are text");
    c == '\'' || text.escape_debug().nth(1) == Some(c)
}
