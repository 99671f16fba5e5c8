//! TLS and proxy Secrets.

use std::collections::BTreeMap;

use net::{Pem, Proxy, Secret, Tls};
use url::Url;

/// Longest proxy address, in bytes.
const PROXY_MAX: usize = 2048;

/// A Secret that cannot be used; Flux's texts. `secret` is `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SecretError {
    #[error("secret '{secret}' contains 'tls.crt' but missing 'tls.key'")]
    NoKey { secret: String },
    #[error("secret '{secret}' contains 'tls.key' but missing 'tls.crt'")]
    NoCertificate { secret: String },
    #[error("secret '{secret}' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'")]
    NoTls { secret: String },
    #[error("failed to parse CA certificate")]
    Ca,
    #[error("failed to parse TLS certificate and key: {reason}")]
    Pair { reason: String },
    #[error("secret '{secret}': key 'address' not found")]
    NoAddress { secret: String },
    #[error("secret '{secret}': proxy address is empty")]
    EmptyAddress { secret: String },
    #[error("secret '{secret}': proxy URL exceeds maximum length of {PROXY_MAX} characters")]
    LongAddress { secret: String },
    #[error("secret '{secret}': failed to parse proxy address: {reason}")]
    Address { secret: String, reason: String },
    #[error(
        "secret '{secret}': proxy URL must use one of the supported schemes (http, https, socks5), got '{scheme}'"
    )]
    Scheme { secret: String, scheme: String },
}

/// Returns the TLS material of a Secret: `ca.crt` and/or `tls.crt` with
/// `tls.key`, or the older names `caFile`, `certFile`, `keyFile`.
///
/// `secret` is `namespace/name`, for messages.
///
/// # Errors
/// When the keys are missing, incomplete or cannot be used.
pub fn tls_from_secret(secret: &str, data: &BTreeMap<String, Vec<u8>>) -> Result<Tls, SecretError> {
    let certificate = either(data, "tls.crt", "certFile");
    let key = either(data, "tls.key", "keyFile");
    let ca = either(data, "ca.crt", "caFile");
    let secret = || secret.to_owned();
    if ca.is_none() && certificate.is_none() && key.is_none() {
        return Err(SecretError::NoTls { secret: secret() });
    }
    match (&certificate, &key) {
        (Some(_), None) => return Err(SecretError::NoKey { secret: secret() }),
        (None, Some(_)) => return Err(SecretError::NoCertificate { secret: secret() }),
        (Some(_), Some(_)) | (None, None) => {}
    }
    checked(ca, certificate, key)
}

/// Returns the TLS material after a trial: each half of it has its own message.
pub(crate) fn checked(
    ca: Option<&[u8]>,
    certificate: Option<&[u8]>,
    key: Option<&[u8]>,
) -> Result<Tls, SecretError> {
    let identity =
        certificate.zip(key).map(|(certificate, key)| (pem(certificate), Secret::new(pem(key))));
    let own = Tls { ca: None, identity };
    net::check_tls(&own).map_err(|reason| SecretError::Pair { reason })?;
    let trusted = Tls { ca: ca.map(pem), identity: None };
    net::check_tls(&trusted).map_err(|_| SecretError::Ca)?;
    Ok(Tls { ca: trusted.ca, identity: own.identity })
}

/// Returns the proxy of a Secret: `address`, and `username` with `password`
/// where the proxy wants them. A password without a username is ignored, as in
/// Flux.
///
/// # Errors
/// When the address is missing or not a proxy's.
pub fn proxy_from_secret(
    secret: &str,
    data: &BTreeMap<String, Vec<u8>>,
) -> Result<Proxy, SecretError> {
    let secret = || secret.to_owned();
    let address = data.get("address").ok_or_else(|| SecretError::NoAddress { secret: secret() })?;
    if address.is_empty() {
        return Err(SecretError::EmptyAddress { secret: secret() });
    }
    if address.len() > PROXY_MAX {
        return Err(SecretError::LongAddress { secret: secret() });
    }
    let unparsable =
        |reason: &str| SecretError::Address { secret: secret(), reason: reason.to_owned() };
    let address =
        std::str::from_utf8(address).map_err(|_| unparsable("it is not text"))?.trim_end();
    if !address.contains("://") {
        let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme).to_owned();
        return Err(SecretError::Scheme { secret: secret(), scheme });
    }
    // The parser's message names what is wrong without quoting the address.
    let mut url = Url::parse(address).map_err(|error| unparsable(&error.to_string()))?;
    if !["http", "https", "socks5"].contains(&url.scheme()) {
        return Err(SecretError::Scheme { secret: secret(), scheme: url.scheme().to_owned() });
    }
    if !url.has_host() {
        return Err(unparsable("it has no host"));
    }
    let (username, password) = match data.get("username") {
        Some(username) => {
            (Some(text(username)), data.get("password").map(|p| Secret::new(text(p))))
        }
        None => from_userinfo(&url),
    };
    // Fails only for URLs that cannot have userinfo.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(Proxy::Url { url, username, password })
}

/// Returns username and password of a URL, percent-decoded.
pub(crate) fn from_userinfo(url: &Url) -> (Option<String>, Option<Secret<String>>) {
    let username = Some(decoded(url.username())).filter(|name| !name.is_empty());
    (username, url.password().map(|password| Secret::new(decoded(password))))
}

/// Returns text with `%XX` turned into the bytes they stand for.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns the first of two keys that has a value.
pub(crate) fn either<'a>(
    data: &'a BTreeMap<String, Vec<u8>>,
    key: &str,
    legacy: &str,
) -> Option<&'a [u8]> {
    [key, legacy]
        .iter()
        .find_map(|key| data.get(*key).filter(|value| !value.is_empty()))
        .map(Vec::as_slice)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pem(text: &[u8]) -> Pem {
    Pem::new(text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn tls_secrets_that_are_wrong_say_so_in_flux_words() {
        let check = |pairs: &[(&str, &str)], expected: &str| {
            let error = tls_from_secret("apps/certs", &data(pairs)).expect_err("wrong");
            assert_eq!(error.to_string(), expected);
        };
        let none =
            "secret 'apps/certs' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'";
        check(&[], none);
        check(&[("ca.crt", ""), ("other", "x")], none);
        check(&[("tls.crt", "x")], "secret 'apps/certs' contains 'tls.crt' but missing 'tls.key'");
        check(&[("certFile", "x")], "secret 'apps/certs' contains 'tls.crt' but missing 'tls.key'");
        check(
            &[("tls.key", "x"), ("ca.crt", "y")],
            "secret 'apps/certs' contains 'tls.key' but missing 'tls.crt'",
        );
        check(&[("ca.crt", "canary")], "failed to parse CA certificate");
        check(&[("caFile", "canary")], "failed to parse CA certificate");
        check(
            &[("tls.crt", "canary"), ("tls.key", "canary")],
            "failed to parse TLS certificate and key: no certificate found in the PEM text",
        );
    }

    #[test]
    fn proxy_secrets_that_are_wrong_say_so_in_flux_words() {
        let check = |pairs: &[(&str, &str)], expected: &str| {
            let error = proxy_from_secret("apps/proxy", &data(pairs)).expect_err("wrong");
            assert_eq!(error.to_string(), expected);
        };
        check(&[("username", "u")], "secret 'apps/proxy': key 'address' not found");
        check(&[("address", "")], "secret 'apps/proxy': proxy address is empty");
        let long = "x".repeat(2049);
        check(
            &[("address", &long)],
            "secret 'apps/proxy': proxy URL exceeds maximum length of 2048 characters",
        );
        let schemes = "secret 'apps/proxy': proxy URL must use one of the supported schemes (http, https, socks5), got";
        check(&[("address", "ftp://proxy")], &format!("{schemes} 'ftp'"));
        check(&[("address", "proxy:3128")], &format!("{schemes} 'proxy'"));
        check(&[("address", "proxy")], &format!("{schemes} ''"));
        check(
            &[("address", "http://user:canary@pro xy")],
            "secret 'apps/proxy': failed to parse proxy address: invalid international domain name",
        );
    }

    #[test]
    fn a_proxy_has_its_credentials_apart_from_its_url() {
        let check = |pairs: &[(&str, &str)], url: &str, user: Option<&str>, word: Option<&str>| {
            let proxy = proxy_from_secret("apps/proxy", &data(pairs)).expect("a proxy");
            let expected = Proxy::Url {
                url: Url::parse(url).expect("a valid URL"),
                username: user.map(str::to_owned),
                password: word.map(Secret::<String>::from),
            };
            assert_eq!(proxy, expected);
        };
        let address = ("address", "http://a:b%40@proxy:3128");
        check(&[address], "http://proxy:3128", Some("a"), Some("b@"));
        check(
            &[address, ("username", "u"), ("password", "p")],
            "http://proxy:3128",
            Some("u"),
            Some("p"),
        );
        check(&[address, ("username", "u")], "http://proxy:3128", Some("u"), None);
        check(&[("address", "socks5://p:1"), ("password", "p")], "socks5://p:1", None, None);
    }

    #[test]
    fn userinfo_is_decoded() {
        for (text, expected) in
            [("a%40b", "a@b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%A9", "é"), ("", "")]
        {
            assert_eq!(decoded(text), expected);
        }
    }
}
