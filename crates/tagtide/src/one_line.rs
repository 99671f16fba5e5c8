//! Keeps a log line one line: what objects and servers say may hold line breaks and escape sequences,
//! and must not look like lines of ours, or speak to a terminal.

use std::io::{self, Write};

/// Writes what it is given at once as one line, control characters escaped.
pub(crate) struct OneLine<W>(pub(crate) W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = match text.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (&*text, ""),
        };
        self.0.write_all(format!("{}{end}", escaped(text)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' => out.push(letter),
            // The two that Unicode breaks lines at beside the control characters.
            letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => {
                out.extend(letter.escape_default());
            }
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_tells_terminals_nothing() {
        let written = |text: &str| {
            let mut out = Vec::new();
            OneLine(&mut out).write_all(text.as_bytes()).expect("memory takes it");
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(written("a\tb é\n"), "a\tb é\n");
        assert_eq!(
            written("a\nINFO b\r\x1b[31m\u{9b}\u{2028}\0\n"),
            "a\\nINFO b\\r\\u{1b}[31m\\u{9b}\\u{2028}\\u{0}\n"
        );
    }
}
