//! Sends a request and follows its redirects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HOST, HeaderName, LOCATION, PROXY_AUTHORIZATION,
    USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use ipnet::IpNet;
use tokio::time::Instant;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use url::Url;

use crate::address::{AddressPolicy, Reach, reach_of_url};
use crate::body::{BoxError, Incoming, Limits, Response};
use crate::environment::EnvironmentProxies;
use crate::error::{Error, ErrorKind};
use crate::origin::origin;
use crate::redact::redacted;
use crate::route::Route;
use crate::socket::Sockets;

/// The body of a request as it goes to the wire.
pub type Body = Full<Bytes>;

/// Redirects that are followed before giving up.
const REDIRECTS_MAX: usize = 5;

/// Longest URL that is requested; servers refuse longer ones anyway.
const URL_MAX: usize = 8 << 10;

/// Header fields that belong to the origin they were made for.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// Sends requests. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    wire: Wire,
    options: Arc<Options>,
}

#[derive(Clone)]
enum Wire {
    Sockets(Arc<Sockets>),
    Service(BoxCloneSyncService<http::Request<Body>, http::Response<Incoming>, BoxError>),
}

/// What holds for all requests of a client.
#[derive(Clone, Debug)]
pub struct Options {
    /// Proxies of the environment, for routes with [`crate::Proxy::Environment`].
    pub proxies: EnvironmentProxies,
    /// Networks that may be connected to although the address policy refuses them.
    pub allow_addresses: Vec<IpNet>,
    /// How long the stages of a request may take, besides its deadline.
    pub timeouts: Timeouts,
    /// Longest body unless [`Response::limit`] says otherwise, in bytes.
    pub body_max: u64,
    /// `User-Agent` of requests that bring none.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            proxies: EnvironmentProxies::default(),
            allow_addresses: Vec::new(),
            timeouts: Timeouts::default(),
            body_max: 4 << 30,
            user_agent: concat!("tagtide/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// How long the stages of a request may take, besides its deadline.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// From there until the response's header is there.
    pub headers: Duration,
    /// Longest pause within a body.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            // A Git server may think for long about a push.
            headers: Duration::from_secs(120),
            idle: Duration::from_secs(30),
        }
    }
}

/// One request.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to; userinfo is never sent, credentials go into the header.
    pub url: Url,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body, empty for none.
    pub body: Bytes,
    /// What to do when the server sends us elsewhere.
    pub redirects: Redirects,
}

impl Request {
    /// Returns a request without header fields and body that refuses redirects.
    pub fn new(method: Method, url: Url) -> Request {
        Request {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            redirects: Redirects::Refuse,
        }
    }
}

/// What to do when the server sends us elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// A redirect is an error.
    Refuse,
    /// Follow up to five, never from `https` to `http`; credentials stay
    /// behind when the origin changes.
    Follow,
    /// Follow up to five within the origin; any other is an error.
    SameOrigin,
}

/// One step of a chain of redirects.
struct Hop {
    request: Request,
    addresses: AddressPolicy,
}

impl Client {
    /// Returns a client that opens connections.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn new(options: Options) -> Result<Client, Error> {
        let options_shared = Arc::new(options.clone());
        Ok(Client { wire: Wire::Sockets(Arc::new(Sockets::new(options))), options: options_shared })
    }

    /// Returns a client that hands every request to `service` instead of
    /// opening connections: an axum router, or any other tower service.
    pub fn with_service<S, B>(service: S) -> Client
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<B>>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service
            .map_response(|response: http::Response<B>| {
                response.map(|body| body.map_err(Into::into).boxed_unsync())
            })
            .map_err(Into::into);
        Client {
            wire: Wire::Service(BoxCloneSyncService::new(service)),
            options: Arc::new(Options::default()),
        }
    }

    /// Returns the same client with other options; one that opens connections
    /// starts without any.
    pub fn with_options(self, options: Options) -> Client {
        let shared = Arc::new(options.clone());
        match self.wire {
            Wire::Sockets(_) => {
                Client { wire: Wire::Sockets(Arc::new(Sockets::new(options))), options: shared }
            }
            wire @ Wire::Service(_) => Client { wire, options: shared },
        }
    }

    /// Sends a request and returns the answer, whatever its status; redirects
    /// are treated as the request says. The body has to be read before
    /// `deadline` as well.
    ///
    /// # Errors
    /// When no answer came; the error names the URL without credentials.
    pub async fn send(
        &self,
        request: Request,
        route: &Route,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let mut hop = Hop { request, addresses: route.addresses };
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_once(&hop, route, deadline).await?;
            let Some(target) = redirect_target(&response) else { return Ok(response) };
            hop = hop.redirected(&response, &target)?;
        }
        let text = format!("stopped after {REDIRECTS_MAX} redirects");
        Err(hop.error(ErrorKind::Redirect(text)))
    }

    async fn send_once(
        &self,
        hop: &Hop,
        route: &Route,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let timeouts = self.options.timeouts;
        let request = hop.checked(&self.options).map_err(|kind| hop.error(kind))?;
        let header_end = Instant::now() + timeouts.connect + timeouts.headers;
        let end = header_end.min(deadline);
        let exchange = self.exchange(request, &hop.request.url, route, hop.addresses);
        let (response, reach) = match tokio::time::timeout_at(end, exchange).await {
            Ok(result) => result.map_err(|kind| hop.error(kind))?,
            Err(_) if end == deadline => return Err(hop.error(ErrorKind::Deadline)),
            Err(_) => return Err(hop.error(ErrorKind::HeaderTimeout)),
        };
        let (parts, body) = response.into_parts();
        let limits = Limits { deadline, idle: timeouts.idle, bytes: self.options.body_max };
        let (method, url) = (hop.request.method.clone(), hop.request.url.clone());
        Ok(Response::new(method, url, reach, parts, body, limits))
    }

    async fn exchange(
        &self,
        request: http::Request<Body>,
        url: &Url,
        route: &Route,
        addresses: AddressPolicy,
    ) -> Result<(http::Response<Incoming>, Reach), ErrorKind> {
        match &self.wire {
            Wire::Sockets(sockets) => sockets.send(request, url, route, addresses).await,
            Wire::Service(service) => match service.clone().oneshot(request).await {
                Ok(response) => Ok((response, reach_of_url(url))),
                Err(error) => Err(ErrorKind::Exchange(error.to_string())),
            },
        }
    }
}

impl Hop {
    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.request.method, &self.request.url, kind)
    }

    /// Returns the request for the wire, if it may be sent at all.
    fn checked(&self, options: &Options) -> Result<http::Request<Body>, ErrorKind> {
        let url = &self.request.url;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(ErrorKind::Url(format!(
                "unsupported protocol scheme \"{}\"",
                url.scheme()
            )));
        }
        if url.as_str().len() > URL_MAX {
            return Err(ErrorKind::Url(format!("URL is longer than {URL_MAX} bytes")));
        }
        self.addresses.check_literal(url, &options.allow_addresses)?;
        let bare = without_userinfo(url);
        let uri: http::Uri =
            bare.as_str().parse().map_err(|_| ErrorKind::Url("invalid URL".to_owned()))?;
        let mut request = http::Request::new(Full::new(self.request.body.clone()));
        *request.method_mut() = self.request.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        *headers = self.request.headers.clone();
        if let Ok(host) = HeaderValue::from_str(&host_field(url)) {
            headers.insert(HOST, host);
        }
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip"));
        if let Ok(agent) = HeaderValue::from_str(&options.user_agent) {
            headers.entry(USER_AGENT).or_insert(agent);
        }
        Ok(request)
    }

    /// Returns the next hop, if the rules allow to follow.
    fn redirected(self, response: &Response, target: &str) -> Result<Hop, Error> {
        match self.follow(response, target) {
            Ok(next) => Ok(next),
            Err(text) => Err(self.error(ErrorKind::Redirect(text))),
        }
    }

    fn follow(&self, response: &Response, target: &str) -> Result<Hop, String> {
        let from = &self.request.url;
        let to = from.join(target).map_err(|_| "redirect to an invalid URL".to_owned())?;
        let to = with_fragment_of(to, None);
        let refused = |why: &str| Err(format!("redirect to {} refused: {why}", redacted(&to)));
        let crosses = origin(from) != origin(&to);
        match self.request.redirects {
            Redirects::Refuse => return refused("no redirect is followed here"),
            Redirects::SameOrigin if crosses => return refused("it leads to another origin"),
            Redirects::SameOrigin | Redirects::Follow => {}
        }
        if !["http", "https"].contains(&to.scheme()) {
            return refused("only http and https are followed");
        }
        if from.scheme() == "https" && to.scheme() == "http" {
            return refused("it leads from https to http");
        }
        if !to.username().is_empty() || to.password().is_some() {
            return refused("it names a user");
        }
        let (method, body) = method_after(&self.request, response.status);
        if crosses && !body.is_empty() {
            return refused("the request has a body, which stays with its origin");
        }
        let mut request = Request { method, url: to, body, ..self.request.clone() };
        let mut addresses = self.addresses;
        if crosses {
            for name in CREDENTIALS {
                request.headers.remove(name);
            }
            addresses = addresses.and(AddressPolicy::named_by(response.reach()));
        }
        Ok(Hop { request, addresses })
    }
}

/// Returns where a redirect leads, `None` for any other answer.
fn redirect_target(response: &Response) -> Option<String> {
    let redirect = matches!(
        response.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if !redirect {
        return None;
    }
    let location = response.headers.get(LOCATION)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// Returns method and body after a redirect, as browsers and Go do it: 307 and
/// 308 keep both, the others turn everything but HEAD into a GET.
fn method_after(request: &Request, status: StatusCode) -> (Method, Bytes) {
    let keeps = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if keeps || request.method == Method::GET || request.method == Method::HEAD {
        return (request.method.clone(), request.body.clone());
    }
    (Method::GET, Bytes::new())
}

fn with_fragment_of(mut url: Url, fragment: Option<&str>) -> Url {
    url.set_fragment(fragment);
    url
}

fn without_userinfo(url: &Url) -> Url {
    let mut bare = url.clone();
    // Fails only for URLs that cannot have userinfo.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare
}

fn host_field(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
