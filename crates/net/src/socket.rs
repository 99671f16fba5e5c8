//! Connections through real sockets: one pooled client per route.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use ipnet::IpNet;
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use crate::address::{AddressPolicy, Reach, reach_of, reach_of_url};
use crate::body::{BoxError, Incoming};
use crate::client::{Body, Options};
use crate::error::{ErrorKind, NoAddress, Refused, broke_unanswered, classify};
use crate::route::{Proxy, Route, Tls};
use crate::tls;

/// Most routes whose connections are kept; each holds a TLS configuration of
/// about 100 KB. The least recently used one makes room.
const ROUTES_MAX: usize = 256;

/// Idle connections kept per host and route.
const IDLE_MAX: usize = 8;

/// How long an idle connection is kept; common load balancers cut at 60 s.
const IDLE_TIME: Duration = Duration::from_secs(50);

/// The real network.
pub(crate) struct Sockets {
    options: Options,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    clients: HashMap<Key, Entry>,
    uses: u64,
}

struct Entry {
    client: reqwest::Client,
    last_use: u64,
}

/// What makes two requests share connections.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tls: Tls,
    proxy: Option<Url>,
    addresses: AddressPolicy,
}

impl Sockets {
    pub(crate) fn new(options: Options) -> Sockets {
        Sockets { options, pool: Mutex::default() }
    }

    /// Sends one request, follows nothing.
    pub(crate) async fn send(
        &self,
        request: http::Request<Body>,
        url: &Url,
        route: &Route,
        addresses: AddressPolicy,
    ) -> Result<(Response<Incoming>, Reach), ErrorKind> {
        let proxy = self.proxy_for(&route.proxy, url)?;
        let proxied = proxy.is_some();
        // Behind a proxy it is the proxy that is connected to.
        let addresses = if proxied { AddressPolicy::default() } else { addresses };
        let client = self.client(Key { tls: route.tls.clone(), proxy, addresses })?;
        let response = execute(&client, request, url)
            .await
            .map_err(|error| classify(&error.without_url(), url, proxied))?;
        let reach = match response.remote_addr() {
            Some(peer) if !proxied => reach_of(peer.ip()),
            _ => reach_of_url(url),
        };
        let response = http::Response::<reqwest::Body>::from(response);
        Ok((response.map(|body| body.map_err(boxed).boxed_unsync()), reach))
    }

    fn proxy_for(&self, proxy: &Proxy, url: &Url) -> Result<Option<Url>, ErrorKind> {
        let found = match proxy {
            Proxy::None => None,
            Proxy::Environment => self.options.proxies.proxy_for(url).map_err(|_| {
                ErrorKind::Url("the proxy in the environment is not a valid URL".to_owned())
            })?,
            Proxy::Url { url, username, password } => {
                let mut url = url.clone();
                let name = username.as_deref().unwrap_or_default();
                let word = password.as_ref().map(|password| password.expose().as_str());
                let fits = name.is_empty() && word.is_none()
                    || url.set_username(name).is_ok() && url.set_password(word).is_ok();
                if !fits {
                    return Err(ErrorKind::Url("the proxy URL cannot hold a user".to_owned()));
                }
                Some(url)
            }
        };
        if let Some(proxy) = &found {
            AddressPolicy::default().check_literal(proxy, &self.options.allow_addresses)?;
        }
        Ok(found)
    }

    fn client(&self, key: Key) -> Result<reqwest::Client, ErrorKind> {
        let mut pool = self.pool.lock();
        pool.uses += 1;
        let now = pool.uses;
        if let Some(entry) = pool.clients.get_mut(&key) {
            entry.last_use = now;
            return Ok(entry.client.clone());
        }
        let client = self.build(&key)?;
        if pool.clients.len() >= ROUTES_MAX {
            let oldest = pool.clients.iter().min_by_key(|(_, entry)| entry.last_use);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                pool.clients.remove(&oldest);
            }
        }
        pool.clients.insert(key, Entry { client: client.clone(), last_use: now });
        Ok(client)
    }

    fn build(&self, key: &Key) -> Result<reqwest::Client, ErrorKind> {
        let resolver = Resolver {
            addresses: key.addresses,
            allowed: self.options.allow_addresses.clone().into(),
        };
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::configuration(&key.tls)?)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_gzip()
            .no_proxy()
            .dns_resolver(Arc::new(resolver))
            .connect_timeout(self.options.timeouts.connect)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIME)
            .http2_adaptive_window(true)
            .tcp_nodelay(true);
        let builder = match &key.proxy {
            Some(proxy) => builder.proxy(through(proxy)?),
            None => builder,
        };
        builder.build().map_err(|error| ErrorKind::TlsConfig(error.without_url().to_string()))
    }
}

/// Sends a request, and a harmless one twice if its connection went before an
/// answer began: a server may close an idle connection at the very moment at
/// which a request is sent on it (RFC 9110, 9.2.2; Go's client does the same).
async fn execute(
    client: &reqwest::Client,
    request: http::Request<Body>,
    url: &Url,
) -> Result<reqwest::Response, reqwest::Error> {
    let again = request.method().is_safe().then(|| request.clone());
    match (client.execute(translated(request, url)).await, again) {
        (Err(error), Some(again)) if broke_unanswered(&error) => {
            client.execute(translated(again, url)).await
        }
        (result, _) => result,
    }
}

/// Returns the proxy as the library wants it. `socks5` lets the proxy resolve
/// names, as Go does: a name may exist only behind it.
fn through(proxy: &Url) -> Result<reqwest::Proxy, ErrorKind> {
    let text = match proxy.as_str().strip_prefix("socks5://") {
        Some(rest) => format!("socks5h://{rest}"),
        None => proxy.as_str().to_owned(),
    };
    // The library's error may quote the URL with its password.
    reqwest::Proxy::all(text).map_err(|_| ErrorKind::Url("the proxy URL cannot be used".to_owned()))
}

fn translated(request: http::Request<Body>, url: &Url) -> reqwest::Request {
    let (parts, body) = request.into_parts();
    let mut translated = reqwest::Request::new(parts.method, url.clone());
    *translated.headers_mut() = parts.headers;
    *translated.body_mut() = Some(reqwest::Body::wrap(body));
    translated
}

fn boxed(error: reqwest::Error) -> BoxError {
    error.without_url().into()
}

/// Resolves names and leaves out addresses that the policy refuses, so that
/// the address which was checked is the one connected to.
struct Resolver {
    addresses: AddressPolicy,
    allowed: Arc<[IpNet]>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (addresses, allowed) = (self.addresses, self.allowed.clone());
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0))
                .await
                .map_err(|error| no_address(&host, &error))?
                .collect();
            if found.is_empty() {
                return Err(no_such_host(&host));
            }
            let permitted: Vec<SocketAddr> =
                found.into_iter().filter(|a| addresses.permits(a.ip(), &allowed)).collect();
            if permitted.is_empty() {
                return Err(Box::new(Refused { host }) as BoxError);
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

fn no_such_host(host: &str) -> BoxError {
    Box::new(NoAddress { host: host.to_owned(), reason: "no such host".to_owned() })
}

/// The resolver's own texts differ between systems; a name that does not exist
/// and a resolver that does not answer are told apart by "temporary".
fn no_address(host: &str, error: &std::io::Error) -> BoxError {
    if error.to_string().to_ascii_lowercase().contains("temporary") {
        let reason = "temporary failure in name resolution".to_owned();
        return Box::new(NoAddress { host: host.to_owned(), reason });
    }
    no_such_host(host)
}
