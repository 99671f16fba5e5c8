//! A response whose body is read under limits.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;
use url::Url;

use crate::address::Reach;
use crate::error::{Error, ErrorKind, body_text};
use crate::gzip::{Broken, Gzip, RATIO_MAX};

/// Any error of the layers below.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body as the wire gives it.
pub(crate) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// An answer: its head, and a body that is read piece by piece.
///
/// The body is unpacked when it came as gzip. Reading fails when the request's
/// deadline passes, when nothing comes for the idle time, at the limit of
/// [`Response::limit`], and when it ends early.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The URL that gave this answer, after redirects.
    pub url: Url,
    method: Method,
    reach: Reach,
    body: Incoming,
    decoding: Decoding,
    limits: Limits,
    read: Read,
}

/// When reading has to stop.
pub(crate) struct Limits {
    pub(crate) deadline: Instant,
    pub(crate) idle: Duration,
    pub(crate) bytes: u64,
}

#[derive(Default)]
struct Read {
    wire: u64,
    unpacked: u64,
}

enum Decoding {
    Plain,
    Gzip { gzip: Box<Gzip>, pending: Bytes, ended: bool },
}

impl Response {
    pub(crate) fn new(
        method: Method,
        url: Url,
        reach: Reach,
        parts: http::response::Parts,
        body: Incoming,
        limits: Limits,
    ) -> Response {
        let decoding = if is_gzip(&parts.headers) {
            Decoding::Gzip { gzip: Box::new(Gzip::new()), pending: Bytes::new(), ended: false }
        } else {
            Decoding::Plain
        };
        let (status, headers) = (parts.status, parts.headers);
        Response {
            status,
            headers,
            url,
            method,
            reach,
            body,
            decoding,
            limits,
            read: Read::default(),
        }
    }

    /// Returns how near the server is, so that nobody it names may be nearer.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Returns how many bytes of the body came over the wire so far.
    pub fn wire_bytes(&self) -> u64 {
        self.read.wire
    }

    /// Lets the body have at most `bytes`, on the wire and unpacked.
    pub fn limit(&mut self, bytes: u64) {
        self.limits.bytes = bytes;
    }

    /// Returns the next piece of the body, `None` at its end.
    ///
    /// # Errors
    /// When the body ends early, is damaged, too slow or too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.piece().await {
            Ok(piece) => Ok(piece),
            Err(kind) => Err(Error::new(&self.method, &self.url, kind)),
        }
    }

    /// Returns the whole body, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Response::chunk`].
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        self.limit(limit as u64);
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(piece) = self.chunk().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Returns the beginning of the body, at most `limit` bytes, whatever
    /// follows: for the text of an error answer.
    pub async fn beginning(mut self, limit: usize) -> Bytes {
        let mut start = BytesMut::new();
        while start.len() < limit {
            match self.chunk().await {
                Ok(Some(piece)) => start.extend_from_slice(&piece),
                Ok(None) | Err(_) => break,
            }
        }
        start.truncate(limit);
        start.freeze()
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ErrorKind> {
        self.check_announced()?;
        loop {
            if let Decoding::Gzip { gzip, pending, .. } = &mut self.decoding
                && !pending.is_empty()
            {
                let piece = gzip.step(pending).map_err(broken)?;
                if !piece.is_empty() {
                    return self.counted(piece).map(Some);
                }
                continue;
            }
            let Some(data) = self.wire_piece().await? else { return self.last_piece() };
            match &mut self.decoding {
                Decoding::Plain => return self.counted(data).map(Some),
                Decoding::Gzip { pending, .. } => *pending = data,
            }
        }
    }

    /// Refuses a body that announces more than its limit before reading it.
    fn check_announced(&self) -> Result<(), ErrorKind> {
        let announced =
            self.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        match announced {
            Some(length) if self.read.wire == 0 && self.method != Method::HEAD => {
                self.check_limit(length)
            }
            _ => Ok(()),
        }
    }

    fn last_piece(&mut self) -> Result<Option<Bytes>, ErrorKind> {
        let Decoding::Gzip { gzip, ended, .. } = &mut self.decoding else { return Ok(None) };
        if std::mem::replace(ended, true) {
            return Ok(None);
        }
        let piece = gzip.finish().map_err(broken)?;
        if piece.is_empty() { Ok(None) } else { self.counted(piece).map(Some) }
    }

    fn counted(&mut self, piece: Bytes) -> Result<Bytes, ErrorKind> {
        self.read.unpacked += piece.len() as u64;
        self.check_limit(self.read.unpacked)?;
        Ok(piece)
    }

    fn check_limit(&self, bytes: u64) -> Result<(), ErrorKind> {
        if bytes > self.limits.bytes {
            return Err(ErrorKind::BodyLimit { limit: self.limits.bytes });
        }
        Ok(())
    }

    /// Returns the next non-empty piece from the wire.
    async fn wire_piece(&mut self) -> Result<Option<Bytes>, ErrorKind> {
        let idle_end = Instant::now() + self.limits.idle;
        let end = idle_end.min(self.limits.deadline);
        loop {
            let frame = match tokio::time::timeout_at(end, self.body.frame()).await {
                Err(_) if end == self.limits.deadline => return Err(ErrorKind::Deadline),
                Err(_) => {
                    return Err(ErrorKind::IdleTimeout { seconds: self.limits.idle.as_secs() });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(ErrorKind::Body(body_text(error.as_ref()))),
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers are of no use to us.
            let Ok(data) = frame.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            self.read.wire += data.len() as u64;
            self.check_limit(self.read.wire)?;
            return Ok(Some(data));
        }
    }
}

impl fmt::Debug for Response {
    // Header fields and the URL's query may hold tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

fn is_gzip(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        ["gzip", "x-gzip"].contains(&value.trim().to_ascii_lowercase().as_str())
    })
}

fn broken(broken: Broken) -> ErrorKind {
    match broken {
        Broken::Malformed => ErrorKind::Body("malformed gzip response body".to_owned()),
        Broken::Bomb => ErrorKind::Ratio { factor: RATIO_MAX },
    }
}
