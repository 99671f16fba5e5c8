//! Which proxy the environment asks for, by Go's rules.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use url::Url;

use crate::error::is_address;
use crate::origin::is_loopback_host;

/// The values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, read by whoever
/// knows the environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EnvironmentProxies {
    /// Proxy for `http` URLs; empty means none.
    pub http: String,
    /// Proxy for `https` URLs; empty means none.
    pub https: String,
    /// Hosts, domains, addresses and networks to reach directly, comma separated.
    pub no_proxy: String,
}

impl fmt::Debug for EnvironmentProxies {
    // The values may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentProxies")
            .field("no_proxy", &self.no_proxy)
            .finish_non_exhaustive()
    }
}

/// A proxy variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl EnvironmentProxies {
    /// Returns the proxy for a URL, or none if it is to be reached directly.
    pub(crate) fn proxy_for(&self, url: &Url) -> Result<Option<Url>, Invalid> {
        let value = if url.scheme() == "https" { &self.https } else { &self.http };
        if value.is_empty() || !self.uses_proxy(url) {
            return Ok(None);
        }
        parse(value).map(Some)
    }

    fn uses_proxy(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if is_loopback_host(&host) && (is_address(&host) || host == "localhost") {
            return false;
        }
        let port = url.port_or_known_default().unwrap_or_default();
        !self.no_proxy.split(',').any(|entry| exempts(entry.trim(), &host, port))
    }
}

/// Reads a proxy URL; without a scheme it is `http://`.
fn parse(value: &str) -> Result<Url, Invalid> {
    let known = |url: &Url| ["http", "https", "socks5", "socks5h"].contains(&url.scheme());
    match Url::parse(value) {
        Ok(url) if known(&url) && url.has_host() => Ok(url),
        _ => Url::parse(&format!("http://{value}")).map_err(|_| Invalid),
    }
}

/// Says whether one entry of `NO_PROXY` exempts the host.
fn exempts(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if entry.is_empty() {
        return false;
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let address = literal.parse::<IpAddr>().ok();
    if let (Ok(network), Some(address)) = (entry.parse::<IpNet>(), address) {
        return network.contains(&address);
    }
    let (name, wanted) = split_port(entry);
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(exempt) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return address == Some(exempt);
    }
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix('*').unwrap_or(&name);
    match name.strip_prefix('.') {
        // Only what lies below the domain.
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn split_port(entry: &str) -> (&str, Option<u16>) {
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    match entry.rsplit_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        None => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(no_proxy: &str, url: &str, proxied: bool) {
        let environment = EnvironmentProxies {
            http: "proxy.example:3128".to_owned(),
            https: "https://proxy.example".to_owned(),
            no_proxy: no_proxy.to_owned(),
        };
        let url = Url::parse(url).expect("a valid URL");
        assert_eq!(
            environment.proxy_for(&url).map(|proxy| proxy.is_some()),
            Ok(proxied),
            "{no_proxy} {url}"
        );
    }

    #[test]
    fn no_proxy_follows_gos_rules() {
        check("", "https://registry.example/", true);
        check("*", "https://registry.example/", false);
        check("example", "https://registry.example/", false);
        check("registry.example", "https://registry.example./", false);
        check(".example", "https://registry.example/", false);
        check(".registry.example", "https://registry.example/", true);
        check("*.example", "https://registry.example/", false);
        check("stry.example", "https://registry.example/", true);
        check("registry.example:5000", "https://registry.example/", true);
        check("registry.example:443", "https://registry.example/", false);
        check("10.0.0.0/8", "http://10.1.2.3/", false);
        check("10.0.0.0/8", "http://11.1.2.3/", true);
        check("a, 10.1.2.3 ,b", "http://10.1.2.3:5000/", false);
        check("fd00::1", "http://[fd00::1]:5000/", false);
        check("[fd00::1]:80", "http://[fd00::1]:5000/", true);
    }

    #[test]
    fn this_machine_is_never_behind_a_proxy() {
        check("", "http://localhost:5000/", false);
        check("", "http://127.0.0.1:5000/", false);
        check("", "http://[::1]:5000/", false);
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let environment = EnvironmentProxies { https: "p:1".to_owned(), ..Default::default() };
        let of = |url: &str| environment.proxy_for(&Url::parse(url).expect("a valid URL"));
        assert_eq!(of("http://a.example/"), Ok(None));
        assert_eq!(
            of("https://a.example/").map(|url| url.map(String::from)),
            Ok(Some("http://p:1/".to_owned()))
        );
    }
}
