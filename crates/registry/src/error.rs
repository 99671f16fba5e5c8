//! Why a registry was not read, in Flux's words where it has some.

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};
use net::redacted;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::link::LinkError;
use crate::realm::RealmError;
use crate::tags::Malformed;

/// How much of an error answer is read.
pub(crate) const ERROR_BODY_MAX: usize = 64 << 10;

/// How much of a foreign text is shown, in characters.
const SHOWN_MAX: usize = 1_024;

/// Most errors of one answer that are shown.
const ERRORS_MAX: usize = 8;

/// A listing that did not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScanError {
    /// The exchange with the registry or its token service failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// An answer is not a tag list.
    #[error("GET {url}: {source}")]
    Malformed {
        /// The page.
        url: String,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The next page is not part of this listing.
    #[error("GET {url}: {source}")]
    Link {
        /// The page that names it.
        url: String,
        /// Why it is not followed.
        source: LinkError,
    },
    /// The pages go in a circle, or on without tags.
    #[error("GET {url}: the pages do not end: {reason}")]
    Endless {
        /// The page.
        url: String,
        /// `a page came twice` …
        reason: &'static str,
    },
    /// The answer says that a listing is unchanged which nobody has.
    #[error("the registry calls the listing unchanged, but there is none to compare it with")]
    Unchanged,
    /// A limit was hit.
    #[error("the listing exceeds the limit of {limit}")]
    Limit {
        /// Number and unit.
        limit: String,
    },
}

/// A manifest's digest that is not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ManifestError {
    /// The exchange with the registry or its token service failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The answer lacks a header field or has one that is none.
    #[error("{0}")]
    Answer(String),
    /// The reference cannot be asked for.
    #[error("`{0}` is neither a tag nor a digest")]
    Reference(String),
}

/// A request that brought no usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// No answer came, or it was cut short.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// Neither https nor http brought an answer.
    #[error("{https}; {http}")]
    Ping {
        /// What https gave.
        https: Box<ExchangeError>,
        /// What http gave.
        http: Box<ExchangeError>,
    },
    /// An answer with another status than hoped for.
    #[error(transparent)]
    Status(Box<StatusError>),
    /// The token realm does not belong to the registry.
    #[error("{0}")]
    Realm(String),
    /// The challenge or the token answer is not understood.
    #[error("{0}")]
    Token(String),
    /// Credentials would go over the wire in the clear.
    #[error(
        "credentials for {host} are not sent over plain http: serve it over https, or set `insecure: true`"
    )]
    PlainCredentials {
        /// Where they would go.
        host: String,
    },
    /// The host asked for a pause that lasts beyond the deadline.
    #[error("{host} asked for a pause of {seconds} s more (Retry-After)")]
    Paused {
        /// The host.
        host: String,
        /// From now on.
        seconds: u64,
    },
    /// Too many requests of ours wait for the host.
    #[error("context deadline exceeded while waiting for other requests to {host}")]
    Busy {
        /// The host.
        host: String,
    },
}

impl From<RealmError> for ExchangeError {
    fn from(error: RealmError) -> ExchangeError {
        ExchangeError::Realm(error.to_string())
    }
}

impl ScanError {
    /// Returns how long the host wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ScanError::Exchange(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Says whether the deadline ended the scan, which a caller with a later
    /// deadline need not accept.
    pub(crate) fn is_deadline(&self) -> bool {
        match self {
            ScanError::Exchange(ExchangeError::Net(error)) => {
                *error.kind() == net::ErrorKind::Deadline
            }
            ScanError::Exchange(ExchangeError::Paused { .. } | ExchangeError::Busy { .. }) => true,
            _ => false,
        }
    }
}

impl ManifestError {
    /// Returns how long the host wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ManifestError::Exchange(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl ExchangeError {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            ExchangeError::Paused { seconds, .. } => Some(Duration::from_secs(*seconds)),
            ExchangeError::Status(error) => error.retry_after,
            _ => None,
        }
    }
}

/// An answer with another status than hoped for; prints as Flux does:
/// `GET http://…: NAME_UNKNOWN: repository name not known to registry; map[name:x]`.
#[derive(Clone, Debug)]
pub struct StatusError {
    /// The status.
    pub status: StatusCode,
    /// How long the server asks us to wait.
    pub retry_after: Option<Duration>,
    method: Method,
    url: String,
    text: String,
}

impl StatusError {
    /// Reads an error answer. `secrets` are taken out of whatever it says.
    pub(crate) fn new(
        method: &Method,
        url: &Url,
        status: StatusCode,
        body: &[u8],
        secrets: &[&str],
    ) -> StatusError {
        let text = clean(&text_of(method, status, body), secrets);
        StatusError { status, retry_after: None, method: method.clone(), url: redacted(url), text }
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.method, self.url, self.text)
    }
}

impl std::error::Error for StatusError {}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Value,
}

fn text_of(method: &Method, status: StatusCode, body: &[u8]) -> String {
    let errors = serde_json::from_slice::<Answer>(body).map(|answer| answer.errors);
    let texts: Vec<String> =
        errors.unwrap_or_default().iter().take(ERRORS_MAX).map(Diagnostic::text).collect();
    match texts.as_slice() {
        [] => unexpected(method, status, body),
        [only] => only.clone(),
        several => format!("multiple errors returned: {}", several.join("; ")),
    }
}

fn unexpected(method: &Method, status: StatusCode, body: &[u8]) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    let text = format!("unexpected status code {} {reason}", status.as_u16());
    if *method == Method::HEAD {
        return text + " (HEAD responses have no body, use GET for details)";
    }
    match String::from_utf8_lossy(body).trim() {
        "" => text,
        body => format!("{text}: {body}"),
    }
}

impl Diagnostic {
    fn text(&self) -> String {
        let text = format!("{}: {}", self.code, self.message);
        if self.detail.is_null() {
            return text;
        }
        let mut detail = String::new();
        print(&self.detail, &mut detail);
        format!("{text}; {detail}")
    }
}

/// Prints a value as Go's `%v` prints the decoded JSON.
fn print(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => print_all("[", items.iter().map(|item| (None, item)), out),
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(key, item)| (Some(key.as_str()), item)).collect();
            fields.sort_by_key(|(key, _)| *key);
            print_all("map[", fields.into_iter(), out);
        }
    }
}

fn print_all<'a>(
    open: &str,
    items: impl Iterator<Item = (Option<&'a str>, &'a Value)>,
    out: &mut String,
) {
    out.push_str(open);
    for (n, (key, item)) in items.enumerate() {
        if n > 0 {
            out.push(' ');
        }
        if let Some(key) = key {
            out.push_str(key);
            out.push(':');
        }
        print(item, out);
    }
    out.push(']');
}

/// Returns a foreign text as it may be shown: without our secrets and control
/// characters, and not too long.
pub(crate) fn clean(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, "****");
    }
    let spaced = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = spaced.take(SHOWN_MAX).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, status: u16, body: &str, expected: &str) {
        let url =
            Url::parse("http://127.0.0.1:5001/v2/nosuch/tags/list?n=1000").expect("a valid URL");
        let status = StatusCode::from_u16(status).expect("a status");
        let error = StatusError::new(&method, &url, status, body.as_bytes(), &["canary"]);
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn registry_errors_print_as_in_flux() {
        let get = "GET http://127.0.0.1:5001/v2/nosuch/tags/list?n=1000:";
        check(
            Method::GET,
            404,
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry","detail":{"name":"nosuch"}}]}"#,
            &format!("{get} NAME_UNKNOWN: repository name not known to registry; map[name:nosuch]"),
        );
        check(
            Method::GET,
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository","Class":"","Action":"pull"},1,true,null]}]}"#,
            &format!(
                "{get} UNAUTHORIZED: authentication required; [map[Action:pull Class: Type:repository] 1 true <nil>]"
            ),
        );
        check(
            Method::GET,
            400,
            r#"{"errors":[{"code":"A","message":"a"},{"code":"B","message":"b","detail":"d"}]}"#,
            &format!("{get} multiple errors returned: A: a; B: b; d"),
        );
        check(Method::GET, 502, "", &format!("{get} unexpected status code 502 Bad Gateway"));
        check(
            Method::GET,
            418,
            "short\nand stout",
            &format!("{get} unexpected status code 418 I'm a teapot: short and stout"),
        );
        check(
            Method::HEAD,
            403,
            "",
            "HEAD http://127.0.0.1:5001/v2/nosuch/tags/list?n=1000: unexpected status code 403 Forbidden (HEAD responses have no body, use GET for details)",
        );
    }

    #[test]
    fn what_a_registry_echoes_is_cleaned_and_cut() {
        let get = "GET http://127.0.0.1:5001/v2/nosuch/tags/list?n=1000: unexpected status code 500 Internal Server Error:";
        check(Method::GET, 500, "you sent canary\u{1b}[31m", &format!("{get} you sent **** [31m"));
        let url = Url::parse("http://h/").expect("a valid URL");
        let long = StatusError::new(
            &Method::GET,
            &url,
            StatusCode::BAD_GATEWAY,
            "é".repeat(60_000).as_bytes(),
            &[],
        );
        assert!(long.to_string().chars().count() < 1_100);
        assert!(long.to_string().ends_with("é…"));
    }
}
