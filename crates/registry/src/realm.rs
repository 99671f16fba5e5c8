//! Whether a token realm belongs to the registry that names it.

use net::{redacted, same_registrable_domain};
use url::Url;

/// What decides whether a realm is acceptable.
pub(crate) struct RealmRule<'a> {
    /// The registry's host, without port.
    pub(crate) registry: &'a str,
    /// Whether the registry itself may be reached over plain http.
    pub(crate) plain_http: bool,
    /// Hosts the operator allows.
    pub(crate) allowed: &'a [String],
}

/// A realm that is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RealmError {
    #[error("the registry names a token realm that is not a URL")]
    Invalid,
    #[error(
        "the registry names the token realm {realm}, whose scheme is not allowed: it must be https"
    )]
    Scheme { realm: String },
    #[error("the registry names the token realm {realm}, which contains a user")]
    User { realm: String },
    #[error(
        "the registry names the token realm {realm}, which is on another domain: allow it with --allow-realm {host}"
    )]
    Host { realm: String, host: String },
}

impl RealmRule<'_> {
    /// Returns the realm's URL, if tokens may be asked for there.
    pub(crate) fn check(&self, realm: &str) -> Result<Url, RealmError> {
        let mut url = Url::parse(realm.trim()).map_err(|_| RealmError::Invalid)?;
        url.set_fragment(None);
        let shown = || {
            let mut shown = url.clone();
            shown.set_query(None);
            redacted(&shown)
        };
        match url.scheme() {
            "https" => {}
            "http" if self.plain_http => {}
            _ => return Err(RealmError::Scheme { realm: shown() }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RealmError::User { realm: shown() });
        }
        let host = url.host_str().ok_or(RealmError::Invalid)?;
        let allowed = self.allowed.iter().any(|name| name.eq_ignore_ascii_case(host));
        if !allowed && !same_registrable_domain(host, self.registry) {
            return Err(RealmError::Host { realm: shown(), host: host.to_owned() });
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(registry: &str, plain_http: bool, realm: &str, expected: &str) {
        let allowed = ["tokens.elsewhere.example".to_owned()];
        let rule = RealmRule { registry, plain_http, allowed: &allowed };
        let found = match rule.check(realm) {
            Ok(url) => url.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn realms_of_the_registry() {
        let ok = |registry: &str, plain: bool, realm: &str| check(registry, plain, realm, realm);
        ok("index.docker.io", false, "https://auth.docker.io/token");
        ok("registry.gitlab.com", false, "https://gitlab.com/jwt/auth");
        ok("ghcr.io", false, "https://ghcr.io/token");
        ok("registry.example.com", false, "https://tokens.elsewhere.example/t");
        ok("localhost", true, "http://localhost:5001/token");
        ok("10.0.0.1", true, "http://10.0.0.1:5001/token");
        ok("localhost", true, "https://localhost/token");
    }

    #[test]
    fn realms_that_are_refused_are_named() {
        let elsewhere = |registry: &str, plain: bool, realm: &str, host: &str| {
            let text = format!(
                "the registry names the token realm {realm}, which is on another domain: allow it with --allow-realm {host}"
            );
            check(registry, plain, realm, &text);
        };
        elsewhere("registry.example.com", false, "https://evil.net/token", "evil.net");
        elsewhere("me.github.io", false, "https://you.github.io/token", "you.github.io");
        elsewhere(
            "registry.example.com",
            false,
            "https://169.254.169.254/latest",
            "169.254.169.254",
        );
        elsewhere("10.0.0.1", true, "http://10.0.0.2/token", "10.0.0.2");
        elsewhere("localhost", true, "http://127.0.0.1/token", "127.0.0.1");
        let scheme = "whose scheme is not allowed: it must be https";
        check(
            "r.example.com",
            false,
            "http://r.example.com/t?a=b",
            &format!("the registry names the token realm http://r.example.com/t, {scheme}"),
        );
        check(
            "r.example.com",
            true,
            "ftp://r.example.com/t",
            &format!("the registry names the token realm ftp://r.example.com/t, {scheme}"),
        );
        check(
            "r.example.com",
            false,
            "https://u:canary@r.example.com/t",
            "the registry names the token realm https://r.example.com/t, which contains a user",
        );
        check(
            "r.example.com",
            false,
            "token",
            "the registry names a token realm that is not a URL",
        );
    }
}
