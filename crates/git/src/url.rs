//! A remote repository's URL, which prints without the credentials it may hold.

use std::{fmt, str::FromStr, sync::Arc};

use net::Secret;
use url::Url;

/// Longest URL accepted, in bytes: twice what servers commonly accept in a request line.
const URL_BYTES_MAX: usize = 16 * 1024;

/// The URL of a repository, over `https` or `http`.
///
/// User name and password of the URL are kept apart and never printed.
#[derive(Clone)]
pub struct RemoteUrl(Arc<Parts>);

struct Parts {
    /// Without userinfo, query, fragment and trailing slashes.
    url: Url,
    userinfo: Option<Userinfo>,
}

/// User name and password that stood in a URL.
#[derive(Clone)]
pub(crate) struct Userinfo {
    pub(crate) username: String,
    pub(crate) password: Secret<String>,
}

/// Why a text is no URL that this crate can talk to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("the repository URL is not a URL")]
    Syntax(#[source] url::ParseError),
    /// A scheme without a transport here.
    #[error("the scheme `{0}` of the repository URL is not supported yet: use https")]
    Scheme(String),
    /// No host, or far too long, or with a query.
    #[error("the repository URL must name a host and a path, without query or fragment")]
    Shape,
}

impl RemoteUrl {
    /// Returns whether requests go out in the clear.
    pub fn is_http(&self) -> bool {
        self.0.url.scheme() == "http"
    }

    /// Returns the URL without credentials.
    pub fn as_url(&self) -> &Url {
        &self.0.url
    }

    pub(crate) fn userinfo(&self) -> Option<&Userinfo> {
        self.0.userinfo.as_ref()
    }
}

impl FromStr for RemoteUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<RemoteUrl, UrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::Shape);
        }
        let mut url = Url::parse(text).map_err(UrlError::Syntax)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme(url.scheme().to_owned()));
        }
        if url.host_str().is_none_or(str::is_empty)
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(UrlError::Shape);
        }
        let userinfo = take_userinfo(&mut url);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(RemoteUrl(Arc::new(Parts { url, userinfo })))
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A bare host prints as `https://host`, as it was most likely written.
        f.write_str(self.0.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for RemoteUrl {
    fn eq(&self, other: &RemoteUrl) -> bool {
        self.0.url == other.0.url
    }
}

impl Eq for RemoteUrl {}

fn take_userinfo(url: &mut Url) -> Option<Userinfo> {
    let username = decode(url.username());
    let password = url.password().map(decode);
    // Neither call fails on a URL with a host, which the caller checked.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if username.is_empty() && password.is_none() {
        return None;
    }
    Some(Userinfo { username, password: Secret::new(password.unwrap_or_default()) })
}

/// Undoes percent encoding; bytes that are no UTF-8 afterwards become U+FFFD.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match byte {
            Some(byte) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn prints_without_credentials() {
        check(
            "https://me:p%40ss@git.example/org/repo.git/",
            expect!["https://git.example/org/repo.git user=me"],
        );
        check("http://git.example:8080/repo", expect!["http://git.example:8080/repo"]);
        check("https://git.example", expect!["https://git.example"]);
    }

    #[test]
    fn refuses_what_it_cannot_talk_to() {
        check(
            "ssh://git@git.example/repo",
            expect![
                "error: the scheme `ssh` of the repository URL is not supported yet: use https"
            ],
        );
        check("git.example/repo", expect!["error: the repository URL is not a URL"]);
        check(
            "https://git.example/repo?x=1",
            expect![
                "error: the repository URL must name a host and a path, without query or fragment"
            ],
        );
    }

    #[test]
    fn passwords_are_decoded() {
        let url: RemoteUrl = "https://me:p%40%zz@h/r".parse().expect("a valid URL");
        assert_eq!(url.userinfo().expect("given").password.expose(), "p@%zz");
    }

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let actual = match text.parse::<RemoteUrl>() {
            Ok(url) => match url.userinfo() {
                Some(userinfo) => format!("{url} user={}", userinfo.username),
                None => url.to_string(),
            },
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&actual);
    }
}
