//! Where a URL leads: its origin, and the domain somebody registered.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// Scheme, host and port of a URL. Credentials belong to one origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the host, in lower case; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, the scheme's own when the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if default_port(&self.scheme) == Some(self.port) {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// Returns the URL's scheme, host and port.
///
/// A URL without a host or known port (never one that [`crate::Client`] would
/// contact) gets an empty host and port 0.
pub fn origin(url: &Url) -> Origin {
    Origin {
        scheme: url.scheme().to_owned(),
        host: url.host_str().unwrap_or_default().trim_end_matches('.').to_owned(),
        port: url.port_or_known_default().unwrap_or_default(),
    }
}

/// Says whether both hosts belong to one registrable domain (`a.example.co.uk`
/// and `example.co.uk`), by the public-suffix list.
///
/// IP addresses, single labels and public suffixes themselves have no
/// registrable domain: they match only when equal. A suffix the list does not
/// know counts as public when it is a single label.
pub fn same_registrable_domain(a: &str, b: &str) -> bool {
    let (a, b) = (normal(a), normal(b));
    if a == b {
        return true;
    }
    match (registrable(&a), registrable(&b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Says whether the host is this machine: `localhost`, `*.localhost` or a
/// loopback address (also one mapped into IPv6). `host` has no port.
pub fn is_loopback_host(host: &str) -> bool {
    let host = normal(host);
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    literal.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn registrable(host: &str) -> Option<&str> {
    if !matches!(Host::parse(host), Ok(Host::Domain(_))) {
        return None;
    }
    psl::domain_str(host)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_print_as_people_write_them() {
        let check = |url: &str, expected: &str| {
            let url = Url::parse(url).expect("a valid URL");
            assert_eq!(origin(&url).to_string(), expected);
        };
        check("https://Registry.Example:443/v2/", "https://registry.example");
        check("http://registry.example.:80/v2/", "http://registry.example");
        check("https://u:p@[::1]:5000/x?y", "https://[::1]:5000");
    }

    #[test]
    fn origins_differ_in_scheme_host_or_port() {
        let of = |url: &str| origin(&Url::parse(url).expect("a valid URL"));
        assert_eq!(of("https://a.example/x"), of("https://a.example:443/y?z"));
        assert_ne!(of("https://a.example/"), of("http://a.example/"));
        assert_ne!(of("https://a.example/"), of("https://a.example:8443/"));
        assert_ne!(of("https://a.example/"), of("https://b.example/"));
    }

    #[test]
    fn registrable_domains_follow_the_public_suffix_list() {
        let check = |a: &str, b: &str, expected: bool| {
            assert_eq!(same_registrable_domain(a, b), expected, "{a} {b}");
            assert_eq!(same_registrable_domain(b, a), expected, "{b} {a}");
        };
        check("index.docker.io", "auth.docker.io", true);
        check("a.example.co.uk", "example.co.uk", true);
        check("a.co.uk", "b.co.uk", false);
        check("me.github.io", "you.github.io", false);
        check("me.github.io", "a.me.github.io", true);
        check("github.io", "me.github.io", false);
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("1.0.0.1", "2.0.0.1", false);
        check("[::1]", "[::2]", false);
        check("localhost", "localhost", true);
        check("registry", "evil", false);
        check("Registry.Example.COM.", "example.com", true);
        check("example.com.evil.net", "example.com", false);
        check("com", "example.com", false);
        check("", "example.com", false);
    }

    #[test]
    fn loopback_hosts() {
        for host in [
            "localhost",
            "LOCALHOST",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in
            ["localhost.example", "notlocalhost", "10.0.0.1", "[::2]", "127.0.0.1.nip.io", ""]
        {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
