//! Where an HTTP/1 message begins and ends.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A head longer than this is not waited for: its connection is treated as one exchange.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// What can be read at the start of a message.
pub(super) enum Start {
    /// The head, with its empty line.
    Head(Head),
    /// These bytes are no HTTP/1.
    Opaque(Vec<u8>),
    /// The other side closed its connection before the first byte.
    Closed,
}

/// The start line and the headers of a message.
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
    /// The words of the start line.
    words: Vec<String>,
    /// Names are in lower case.
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: Vec<u8>) -> Result<Head, Vec<u8>> {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.lines();
        let words: Vec<String> =
            lines.next().unwrap_or_default().splitn(3, ' ').map(str::to_owned).collect();
        if words.len() < 2 || !words.iter().any(|word| word.starts_with("HTTP/1.")) {
            return Err(bytes);
        }
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Head { bytes, words, headers })
    }

    /// Returns the method of a request.
    pub(super) fn method(&self) -> &str {
        &self.words[0]
    }

    /// Returns the target of a request.
    pub(super) fn target(&self) -> &str {
        &self.words[1]
    }

    /// Whether this reply only says that another one follows.
    pub(super) fn is_interim(&self) -> bool {
        self.words[1].starts_with('1')
    }

    /// Returns what follows the head of a request.
    pub(super) fn request_body(&self) -> Body {
        self.framing().unwrap_or(Body::Fixed(0))
    }

    /// Returns what follows the head of a reply to a request with `method`.
    pub(super) fn reply_body(&self, method: &str) -> Body {
        if method == "HEAD" || matches!(self.words[1].as_str(), "204" | "304") {
            return Body::Fixed(0);
        }
        self.framing().unwrap_or(Body::UntilClosed)
    }

    fn framing(&self) -> Option<Body> {
        let value = |name: &str| {
            self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
        };
        if value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Some(Body::Chunked(Chunk::Size(0)));
        }
        value("content-length").and_then(|value| value.parse().ok()).map(Body::Fixed)
    }
}

/// Reads a head; bytes after it are left in `buffer`, which may hold some from before.
pub(super) async fn read_start(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Start> {
    loop {
        if let Some(end) = head_end(buffer) {
            let rest = buffer.split_off(end);
            let head = std::mem::replace(buffer, rest);
            return Ok(Head::parse(head).map_or_else(Start::Opaque, Start::Head));
        }
        // Heads begin with a letter; a TLS record does not, and would never have an end.
        let is_opaque = buffer.first().is_some_and(|byte| !byte.is_ascii_alphabetic());
        if is_opaque || buffer.len() > HEAD_BYTES_MAX {
            return Ok(Start::Opaque(std::mem::take(buffer)));
        }
        if reader.read_buf(buffer).await? == 0 {
            let rest = std::mem::take(buffer);
            return Ok(if rest.is_empty() { Start::Closed } else { Start::Opaque(rest) });
        }
    }
}

fn head_end(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|position| position + 4)
}

/// How much of a body is still to come.
pub(super) enum Body {
    Fixed(u64),
    Chunked(Chunk),
    UntilClosed,
}

/// Where in a chunked body we are.
pub(super) enum Chunk {
    /// In a size line, of which the digits so far make this number.
    Size(u64),
    /// In a size line behind its digits.
    Extension(u64),
    /// This many bytes of data, with their line end, are left.
    Data(u64),
    /// In the trailer; the flag says that the current line is empty so far.
    Trailer {
        empty: bool,
    },
    Done,
}

impl Body {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Body::Fixed(0) | Body::Chunked(Chunk::Done))
    }

    /// Returns how many of `bytes` belong to this body.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        match self {
            Body::UntilClosed => bytes.len(),
            Body::Fixed(left) => take(left, bytes),
            Body::Chunked(chunk) => {
                let mut n_bytes = 0;
                while n_bytes < bytes.len() && !matches!(chunk, Chunk::Done) {
                    n_bytes += chunk.advance(&bytes[n_bytes..]);
                }
                n_bytes
            }
        }
    }
}

impl Chunk {
    fn advance(&mut self, bytes: &[u8]) -> usize {
        if let Chunk::Data(left) = self {
            let n_bytes = take(left, bytes);
            if *left == 0 {
                *self = Chunk::Size(0);
            }
            return n_bytes;
        }
        let byte = bytes[0];
        *self = match (&*self, byte) {
            (Chunk::Size(0) | Chunk::Extension(0), b'\n') => Chunk::Trailer { empty: true },
            // The data is followed by a line end of two bytes.
            (Chunk::Size(size) | Chunk::Extension(size), b'\n') => Chunk::Data(size + 2),
            (Chunk::Size(size), digit) => match char::from(digit).to_digit(16) {
                Some(digit) => Chunk::Size(size.saturating_mul(16).saturating_add(digit.into())),
                None => Chunk::Extension(*size),
            },
            (Chunk::Extension(size), _) => Chunk::Extension(*size),
            (Chunk::Trailer { empty: true }, b'\n') => Chunk::Done,
            (Chunk::Trailer { .. }, b'\n') => Chunk::Trailer { empty: true },
            (Chunk::Trailer { empty }, b'\r') => Chunk::Trailer { empty: *empty },
            (Chunk::Trailer { .. }, _) => Chunk::Trailer { empty: false },
            (Chunk::Data(_) | Chunk::Done, _) => return 0,
        };
        1
    }
}

fn take(left: &mut u64, bytes: &[u8]) -> usize {
    let n_bytes = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *left -= n_bytes as u64;
    n_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_ends_where_its_trailer_does() {
        check("5;x=y\r\nhello\r\n0\r\n\r\n", "GET /");
        check("A\r\n0123456789\r\n1\r\n\n\r\n0\r\nTrailer: x\r\n\r\n", "");
    }

    /// However the bytes arrive, the body ends before `rest`.
    #[track_caller]
    fn check(body: &str, rest: &str) {
        let text = format!("{body}{rest}");
        for step in 1..=text.len() {
            let mut chunked = Body::Chunked(Chunk::Size(0));
            let mut end = 0;
            for piece in text.as_bytes().chunks(step) {
                if !chunked.is_done() {
                    end += chunked.advance(piece);
                }
            }
            assert!(chunked.is_done(), "in steps of {step}");
            assert_eq!(end, body.len(), "in steps of {step}");
        }
    }
}
