//! Why a request failed, in Go's words where Flux shows them.

use std::fmt;
use std::net::IpAddr;

use http::Method;
use url::Url;

use crate::redact::redacted;

/// A request that brought no response, or a response that was cut short.
///
/// Prints as Go's `url.Error`: `Get "https://host/v2/": dial tcp …`. The
/// underlying library error is turned into text on purpose: as a source it
/// could carry a URL with a credential into a log.
#[derive(Clone, Debug)]
pub struct Error {
    method: Method,
    url: String,
    kind: ErrorKind,
}

/// Which stage or limit failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// No connection to the host (or to its proxy).
    #[error("dial tcp {address}: {reason}")]
    Connect {
        /// Host and port.
        address: String,
        /// `connect: connection refused`, `i/o timeout` …
        reason: String,
    },
    /// The host's name has no address.
    #[error("dial tcp: lookup {host}: {reason}")]
    Lookup {
        /// The name.
        host: String,
        /// `no such host` …
        reason: String,
    },
    /// No connection to or through the proxy.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
    /// The TLS handshake failed.
    #[error("tls: {0}")]
    Tls(String),
    /// The route's certificates or key cannot be used.
    #[error("cannot use the TLS configuration: {0}")]
    TlsConfig(String),
    /// The deadline passed.
    #[error("context deadline exceeded")]
    Deadline,
    /// The server sent no response header in time.
    #[error("timeout awaiting response headers")]
    HeaderTimeout,
    /// The body stood still for too long.
    #[error("timeout awaiting response body: nothing came for {seconds} s")]
    IdleTimeout {
        /// How long was waited.
        seconds: u64,
    },
    /// A redirect that is not followed, or one too many.
    #[error("{0}")]
    Redirect(String),
    /// The host is, or resolves to, an address that may not be contacted.
    #[error("connection to {host} refused: its address is not allowed here")]
    Address {
        /// Name or address.
        host: String,
    },
    /// The URL cannot be requested.
    #[error("{0}")]
    Url(String),
    /// The body is longer than its limit, on the wire or unpacked.
    #[error("response body exceeds the limit of {limit} bytes")]
    BodyLimit {
        /// In bytes.
        limit: u64,
    },
    /// The body unpacks to far more than was sent.
    #[error("compressed response body unpacks to more than {factor} times its size")]
    Ratio {
        /// The greatest factor accepted.
        factor: u64,
    },
    /// The body was cut short or its encoding is broken.
    #[error("{0}")]
    Body(String),
    /// The exchange broke for another reason (protocol error, reset).
    #[error("{0}")]
    Exchange(String),
}

impl Error {
    pub(crate) fn new(method: &Method, url: &Url, kind: ErrorKind) -> Error {
        Error { method: method.clone(), url: redacted(url), kind }
    }

    /// Returns which stage or limit failed.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Returns the URL, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Says whether the same request may succeed soon: the network or the
    /// server failed, no limit or rule of ours was hit.
    pub fn is_temporary(&self) -> bool {
        use ErrorKind as K;
        match &self.kind {
            K::Connect { .. } | K::Proxy(_) | K::Lookup { .. } | K::HeaderTimeout => true,
            K::IdleTimeout { .. } | K::Body(_) | K::Exchange(_) => true,
            K::Tls(_) | K::TlsConfig(_) | K::Deadline | K::Redirect(_) | K::Address { .. } => false,
            K::Url(_) | K::BodyLimit { .. } | K::Ratio { .. } => false,
        }
    }

    /// Says whether the connection itself failed: nothing was sent.
    pub fn is_connect(&self) -> bool {
        use ErrorKind as K;
        matches!(&self.kind, K::Connect { .. } | K::Proxy(_) | K::Lookup { .. } | K::Tls(_))
    }

    /// Says whether a deadline or timeout passed.
    pub fn is_timeout(&self) -> bool {
        use ErrorKind as K;
        matches!(&self.kind, K::Deadline | K::HeaderTimeout | K::IdleTimeout { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\": {}", title(&self.method), self.url, self.kind)
    }
}

impl std::error::Error for Error {}

/// Address refused by the policy while a name was resolved; travels inside the
/// library's error until [`classify`] finds it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) host: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no address that is allowed here", self.host)
    }
}

impl std::error::Error for Refused {}

/// A name without an address; travels like [`Refused`].
#[derive(Debug)]
pub(crate) struct NoAddress {
    pub(crate) host: String,
    pub(crate) reason: String,
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lookup {}: {}", self.host, self.reason)
    }
}

impl std::error::Error for NoAddress {}

/// Returns the stage at which a library error happened.
pub(crate) fn classify(
    error: &(dyn std::error::Error + 'static),
    url: &Url,
    proxied: bool,
) -> ErrorKind {
    let kind = classify_direct(error, url);
    match kind {
        ErrorKind::Connect { .. } | ErrorKind::Lookup { .. } if proxied => {
            ErrorKind::Proxy(reason_of(error))
        }
        kind => kind,
    }
}

fn classify_direct(error: &(dyn std::error::Error + 'static), url: &Url) -> ErrorKind {
    if let Some(refused) = find::<Refused>(error) {
        return ErrorKind::Address { host: refused.host.clone() };
    }
    if let Some(none) = find::<NoAddress>(error) {
        return ErrorKind::Lookup { host: none.host.clone(), reason: none.reason.clone() };
    }
    if let Some(tls) = find_tls(error) {
        return ErrorKind::Tls(tls_text(tls, url));
    }
    let connecting = find::<reqwest::Error>(error).is_some_and(reqwest::Error::is_connect);
    if !connecting {
        return ErrorKind::Exchange(exchange_text(error));
    }
    let reason = match find::<std::io::Error>(error) {
        Some(io) if io.kind() == std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        Some(io) => format!("connect: {}", io_text(io)),
        None if is_timeout(error) => "i/o timeout".to_owned(),
        None => reason_of(error),
    };
    ErrorKind::Connect { address: dialled(url), reason }
}

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    find::<reqwest::Error>(error).is_some_and(reqwest::Error::is_timeout)
}

/// Whether a connection that stood was closed or reset before an answer began.
pub(crate) fn broke_unanswered(error: &reqwest::Error) -> bool {
    let text = exchange_text(error);
    !error.is_connect() && ["EOF", "connection reset by peer", "broken pipe"].contains(&&*text)
}

/// Returns the text of an exchange that broke after the connection stood.
fn exchange_text(error: &(dyn std::error::Error + 'static)) -> String {
    let root = root_of(error);
    if let Some(io) = find::<std::io::Error>(error) {
        return match io.kind() {
            std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
            _ => io_text(io),
        };
    }
    match root.to_string() {
        text if text.contains("connection closed before message completed") => "EOF".to_owned(),
        text => shortened(&text),
    }
}

/// Returns the text of a body that could not be read to its end.
pub(crate) fn body_text(error: &(dyn std::error::Error + 'static)) -> String {
    let text = root_of(error).to_string();
    // What Go says when a body ends before its announced length.
    if text.contains("end of file") || text.contains("unexpected EOF") || text.contains("closed") {
        return "unexpected EOF".to_owned();
    }
    exchange_text(error)
}

fn reason_of(error: &(dyn std::error::Error + 'static)) -> String {
    match find::<std::io::Error>(error) {
        Some(io) => io_text(io),
        None => shortened(&root_of(error).to_string()),
    }
}

/// Returns an operating system error in Go's spelling: `connection refused`.
fn io_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => shortened(&first.to_lowercase().chain(letters).collect::<String>()),
        None => "unknown error".to_owned(),
    }
}

/// Returns at most 200 characters, without control characters.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn tls_text(error: &rustls::Error, url: &Url) -> String {
    use rustls::CertificateError as C;
    let host = url.host_str().unwrap_or_default();
    let reason = match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => {
            "certificate signed by unknown authority".to_owned()
        }
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "certificate has expired or is not yet valid".to_owned()
        }
        rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "certificate has expired or is not yet valid: its start lies ahead".to_owned()
        }
        rustls::Error::InvalidCertificate(
            C::NotValidForName | C::NotValidForNameContext { .. },
        ) => {
            format!("certificate is not valid for {host}")
        }
        rustls::Error::InvalidCertificate(other) => shortened(&other.to_string()),
        rustls::Error::AlertReceived(alert) => return format!("remote error: {alert:?}"),
        other => return shortened(&other.to_string()),
    };
    format!("failed to verify certificate: x509: {reason}")
}

/// Returns host and port as Go's dialler prints them.
fn dialled(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

fn find<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref::<T>())
}

/// Finds rustls' error inside the `io::Error`s that tokio-rustls and the
/// connector wrap around it: those are no `source` of one another.
fn find_tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    chain(error).find_map(|error| {
        let mut error = error;
        for _ in 0..CAUSES_MAX {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(tls);
            }
            error = error.downcast_ref::<std::io::Error>()?.get_ref()?;
        }
        None
    })
}

fn root_of<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    chain(error).last().unwrap_or(error)
}

/// Longest chain of causes that is looked at.
const CAUSES_MAX: usize = 32;

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source()).take(CAUSES_MAX)
}

/// Returns a method as Go's `url.Error` spells it: `Get`.
fn title(method: &Method) -> String {
    let name = method.as_str();
    let (first, rest) = name.split_at(name.len().min(1));
    format!("{first}{}", rest.to_ascii_lowercase())
}

/// Returns whether a host is written as an address.
pub(crate) fn is_address(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}
