//! Go's `net/url`: reading a URL and writing it again.

mod escape;
mod host;

use crate::strconv::quote;
use escape::{Part, escape, is_encoded, unescape};

/// A URL in parts, unescaped where nothing else is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Url {
    /// In lower case, without the colon.
    pub scheme: Vec<u8>,
    /// What follows the scheme of a URL such as `mailto:a@b`, as it stands.
    pub opaque: Vec<u8>,
    /// User and password.
    pub user: Option<Userinfo>,
    /// Host and port.
    pub host: Vec<u8>,
    /// The path.
    pub path: Vec<u8>,
    /// The query as it stands, without the question mark.
    pub raw_query: Vec<u8>,
    /// The fragment, without the hash.
    pub fragment: Vec<u8>,
    /// The path as it stood, if escaping `path` does not give it again.
    pub raw_path: Vec<u8>,
    /// The fragment as it stood, likewise.
    pub raw_fragment: Vec<u8>,
    /// Whether a question mark is written even before an empty query.
    pub force_query: bool,
    /// Whether there were no slashes for an empty host.
    pub omit_host: bool,
}

/// User and password of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Userinfo {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

/// Why a text is not a URL; prints Go's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {}: {reason}", quote(.text))]
pub struct Error {
    text: Vec<u8>,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("net/url: invalid control character in URL")]
    Control,
    #[error("missing protocol scheme")]
    Scheme,
    #[error("first path segment in URL cannot contain colon")]
    Colon,
    #[error("net/url: invalid userinfo")]
    Userinfo,
    #[error("invalid URL escape {}", quote(.0))]
    Escape(Vec<u8>),
    #[error("invalid character {} in host name", quote(&[*.0]))]
    HostCharacter(u8),
    #[error("invalid port {} after host", quote(.0))]
    Port(Vec<u8>),
    #[error("invalid IP-literal")]
    IpLiteral,
    #[error("missing ']' in host")]
    Bracket,
    #[error("invalid host: ParseAddr({}): {reason}", quote(.text))]
    Address { text: Vec<u8>, reason: &'static str },
}

impl Url {
    /// Reads a URL, which may be relative.
    ///
    /// # Errors
    /// Go's, with Go's text; what is wrong with an IP address in brackets is said in fewer words.
    pub fn parse(text: &[u8]) -> Result<Url, Error> {
        let (before, fragment) = cut(text, b'#');
        let fail = |text: &[u8]| {
            let text = text.to_vec();
            move |reason| Error { text, reason }
        };
        let mut url = parse(before).map_err(fail(before))?;
        if let Some(fragment) = fragment {
            url.fragment = unescape(fragment, Part::Fragment).map_err(fail(text))?;
            if escape(&url.fragment, Part::Fragment) != fragment {
                url.raw_fragment = fragment.to_vec();
            }
        }
        Ok(url)
    }

    /// Returns the host without port and brackets.
    pub fn hostname(&self) -> &[u8] {
        let mut host = &self.host[..];
        if let Some(colon) = memchr::memrchr(b':', host)
            && host::is_optional_port(&host[colon..])
        {
            host = &host[..colon];
        }
        host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
    }

    /// Returns the URL as text.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(&self.scheme);
            out.push(b':');
        }
        match self.opaque.is_empty() {
            true => self.write_hierarchy(&mut out),
            false => out.extend_from_slice(&self.opaque),
        }
        if self.force_query || !self.raw_query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.raw_query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            out.extend(written(&self.fragment, &self.raw_fragment, Part::Fragment));
        }
        out
    }

    fn write_hierarchy(&self, out: &mut Vec<u8>) {
        let has_authority = !self.host.is_empty() || self.user.is_some();
        let is_marked = has_authority || !self.scheme.is_empty() && !self.omit_host;
        if is_marked && (has_authority || !self.path.is_empty()) {
            out.extend_from_slice(b"//");
        }
        if let Some(user) = &self.user {
            out.extend(user.to_bytes());
            out.push(b'@');
        }
        out.extend(escape(&self.host, Part::Host));
        let path = match self.path.as_slice() {
            // An asterisk alone is the whole server.
            b"*" if self.raw_path.is_empty() => b"*".to_vec(),
            path => written(path, &self.raw_path, Part::Path),
        };
        if path.first().is_some_and(|first| *first != b'/') && !self.host.is_empty() {
            out.push(b'/');
        }
        // A colon in the first part of a relative path would make a scheme of it.
        if out.is_empty() && cut(&path, b'/').0.contains(&b':') {
            out.extend_from_slice(b"./");
        }
        out.extend(path);
    }
}

impl Userinfo {
    /// Reads `name` or `name:password`.
    fn parse(text: &[u8]) -> Result<Userinfo, Reason> {
        let is_valid =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
        if !text.iter().all(is_valid) {
            return Err(Reason::Userinfo);
        }
        let (name, password) = cut(text, b':');
        let name = unescape(name, Part::User)?;
        let password = password.map(|password| unescape(password, Part::User)).transpose()?;
        Ok(Userinfo { name, password })
    }

    /// Returns the escaped text of user and password.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = escape(&self.name, Part::User);
        if let Some(password) = &self.password {
            out.push(b':');
            out.extend(escape(password, Part::User));
        }
        out
    }
}

/// Reads what stands before the fragment.
fn parse(text: &[u8]) -> Result<Url, Reason> {
    if text.iter().any(u8::is_ascii_control) {
        return Err(Reason::Control);
    }
    if text == b"*" {
        return Ok(Url { path: b"*".to_vec(), ..Url::default() });
    }
    let (scheme, mut rest) = scheme(text)?;
    let mut url = Url { scheme: scheme.to_ascii_lowercase(), ..Url::default() };
    let (before, query) = cut(rest, b'?');
    rest = before;
    url.force_query = query.is_some_and(<[u8]>::is_empty);
    url.raw_query = query.unwrap_or_default().to_vec();
    if !rest.starts_with(b"/") {
        if !scheme.is_empty() {
            url.opaque = rest.to_vec();
            return Ok(url);
        }
        if cut(rest, b'/').0.contains(&b':') {
            return Err(Reason::Colon);
        }
    }
    let authority =
        rest.strip_prefix(b"//").filter(|after| !scheme.is_empty() || !after.starts_with(b"/"));
    if let Some(after) = authority {
        let end = memchr::memchr(b'/', after).unwrap_or(after.len());
        url.read_authority(&after[..end])?;
        rest = &after[end..];
    } else {
        url.omit_host = !scheme.is_empty() && rest.starts_with(b"/");
    }
    url.path = unescape(rest, Part::Path)?;
    if escape(&url.path, Part::Path) != rest {
        url.raw_path = rest.to_vec();
    }
    Ok(url)
}

impl Url {
    fn read_authority(&mut self, authority: &[u8]) -> Result<(), Reason> {
        let Some(at) = memchr::memrchr(b'@', authority) else {
            self.host = host::parse(&self.scheme, authority)?;
            return Ok(());
        };
        self.host = host::parse(&self.scheme, &authority[at + 1..])?;
        self.user = Some(Userinfo::parse(&authority[..at])?);
        Ok(())
    }
}

/// Splits the scheme off; there need be none.
fn scheme(text: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let end = text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len());
    match text[end..] {
        [b':', ..] if end == 0 => Err(Reason::Scheme),
        [b':', ..] if text[0].is_ascii_alphabetic() => Ok((&text[..end], &text[end + 1..])),
        _ => Ok((b"", text)),
    }
}

/// Returns the part as it stood, if that is still a way to write it, else escaped.
fn written(value: &[u8], raw: &[u8], part: Part) -> Vec<u8> {
    let is_same = || unescape(raw, part).is_ok_and(|unescaped| unescaped == value);
    if !raw.is_empty() && is_encoded(raw, part) && is_same() {
        return raw.to_vec();
    }
    escape(value, part)
}

fn cut(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(separator, text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}
