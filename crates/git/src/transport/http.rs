//! Smart HTTP: requests with credentials, answers by status, replies read under limits.

use auth::GitCredential;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use net::{AddressPolicy, Redirects, Request, Response, Route};
use tokio::time::Instant;
use url::Url;

use crate::{access::scrub, error::RemoteError, transport::AGENT, url::RemoteUrl};

/// Requests to one repository.
pub(crate) struct Http<'a> {
    pub(crate) client: &'a net::Client,
    pub(crate) url: &'a RemoteUrl,
    pub(crate) credential: GitCredential,
    pub(crate) route: Route,
    pub(crate) deadline: Instant,
}

/// Where a repository is, after redirects.
#[derive(Clone)]
pub(crate) struct Base {
    url: Url,
    /// Where that host may be, if it is one that a server named.
    addresses: AddressPolicy,
}

impl Http<'_> {
    /// Returns where the repository is said to be.
    pub(crate) fn base(&self) -> Base {
        Base { url: self.url.as_url().clone(), addresses: self.route.addresses }
    }

    /// Returns what the server says about a service, and where the repository is after redirects.
    pub(crate) async fn advertisement(
        &self,
        service: &str,
        bytes_max: u64,
    ) -> Result<(Base, Bytes), RemoteError> {
        let mut url = below(self.url.as_url(), "info/refs");
        url.set_query(Some(&format!("service={service}")));
        let mut request = Request::new(Method::GET, url);
        request.headers = self.headers(&request.url, service == super::UPLOAD_PACK)?;
        request.redirects = Redirects::Follow;
        let reply = self.client.send(request, &self.route, self.deadline).await?;
        check_status(&reply)?;
        check_type(&reply, &format!("application/x-{service}-advertisement"))?;
        let base = self.base_of(&reply)?;
        let reply = whole(reply, bytes_max, "bytes of references").await?;
        Ok((base, reply))
    }

    /// Sends a request to a service and returns the reply to be read.
    pub(crate) async fn post(
        &self,
        base: &Base,
        service: &str,
        body: Bytes,
        v2: bool,
    ) -> Result<Response, RemoteError> {
        let mut request = Request::new(Method::POST, below(&base.url, service));
        request.headers = self.headers(&request.url, v2)?;
        let content = format!("application/x-{service}-request");
        request.headers.insert(CONTENT_TYPE, header(&content)?);
        let accept = format!("application/x-{service}-result");
        request.headers.insert(ACCEPT, header(&accept)?);
        request.body = body;
        let route = Route { addresses: base.addresses, ..self.route.clone() };
        let reply = self.client.send(request, &route, self.deadline).await?;
        check_status(&reply)?;
        check_type(&reply, &accept)?;
        Ok(reply)
    }

    /// Returns a server's words without our credentials, should it echo them.
    pub(crate) fn scrub(&self, text: &str) -> String {
        scrub(&self.credential, text)
    }

    fn base_of(&self, reply: &Response) -> Result<Base, RemoteError> {
        let url = without_tail(&reply.url).ok_or(RemoteError::NotGit)?;
        let addresses = match url.origin() == self.url.as_url().origin() {
            true => self.route.addresses,
            false => AddressPolicy::named_by(reply.reach()),
        };
        Ok(Base { url, addresses })
    }

    fn headers(&self, url: &Url, v2: bool) -> Result<HeaderMap, RemoteError> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if v2 {
            headers.insert("git-protocol", HeaderValue::from_static("version=2"));
        }
        // Credentials are for the origin they were given for, wherever redirects led.
        if url.origin() == self.url.as_url().origin()
            && let Some(value) = authorization(&self.credential)
        {
            let mut value = header(&value)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

fn authorization(credential: &GitCredential) -> Option<String> {
    match credential {
        GitCredential::Anonymous => None,
        GitCredential::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            Some(format!("Basic {}", STANDARD.encode(pair)))
        }
        GitCredential::Bearer(token) => Some(format!("Bearer {}", token.expose())),
    }
}

fn header(value: &str) -> Result<HeaderValue, RemoteError> {
    // Only a token can hold what a header cannot.
    HeaderValue::from_str(value).map_err(|_| RemoteError::AuthenticationRequired)
}

fn below(base: &Url, tail: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{tail}", base.path().trim_end_matches('/')));
    url
}

/// Returns the repository's URL from that of its advertisement.
fn without_tail(url: &Url) -> Option<Url> {
    let mut base = url.clone();
    base.set_path(url.path().strip_suffix("/info/refs")?);
    base.set_query(None);
    base.set_fragment(None);
    Some(base)
}

fn check_status(reply: &Response) -> Result<(), RemoteError> {
    match reply.status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED => Err(RemoteError::AuthenticationRequired),
        StatusCode::FORBIDDEN => Err(RemoteError::AuthorizationFailed),
        StatusCode::NOT_FOUND => Err(RemoteError::RepositoryNotFound),
        status => Err(RemoteError::Status(status.as_u16())),
    }
}

fn check_type(reply: &Response, expected: &str) -> Result<(), RemoteError> {
    let actual = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let actual = actual.and_then(|value| value.split(';').next()).map(str::trim);
    if actual == Some(expected) { Ok(()) } else { Err(RemoteError::NotGit) }
}

/// Returns the whole body of a reply that must be no longer than this.
pub(crate) async fn whole(
    mut reply: Response,
    limit: u64,
    what: &'static str,
) -> Result<Bytes, RemoteError> {
    // One byte more tells a body that is too long from one that just fits.
    reply.limit(limit.saturating_add(1));
    let mut body = Vec::new();
    while let Some(piece) = reply.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() as u64 > limit {
            return Err(RemoteError::Limit { what, limit });
        }
    }
    Ok(body.into())
}
