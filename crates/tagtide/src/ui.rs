//! Everything a person or a program reads from us goes through here.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

/// Standard output and standard error; a reader that went away is not an error.
pub(crate) struct Ui;

impl Ui {
    /// Writes data: what another program may read.
    pub(crate) fn data(&self, text: &str) -> Result<()> {
        ignore_broken_pipe(anstream::stdout().write_all(text.as_bytes()))
    }

    /// Writes one JSON document and a newline.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.data(&text)
    }

    /// Writes a question to standard error, whose answer goes on the same line.
    pub(crate) fn ask(&self, question: &str) -> Result<()> {
        ignore_broken_pipe(write!(anstream::stderr(), "{question}"))
    }

    /// Writes a line for a person to standard error.
    pub(crate) fn note(&self, text: &str) -> Result<()> {
        ignore_broken_pipe(writeln!(anstream::stderr(), "{text}"))
    }
}

/// Returns a number with its noun, such as `1 file` or `2 files`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

fn ignore_broken_pipe(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
