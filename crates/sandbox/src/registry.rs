//! An OCI registry in memory.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const DIGEST_HEADER: &str = "docker-content-digest";

/// The largest manifest that is taken, as the distribution specification advises.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// What a token endpoint gives out; there is one for everyone who may have one.
const TOKEN: &str = "sandbox-token";

/// Who may read from and write to a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Everyone.
    #[default]
    Anonymous,
    /// Everyone with a token, which its endpoint `/token` gives to everyone.
    Token,
    /// Everyone with a token, which its endpoint `/token` gives to this user alone.
    TokenFor {
        /// The user's name.
        username: String,
        /// The user's password.
        password: String,
    },
}

/// Whether a tag listing carries an `ETag` and heeds `If-None-Match`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validators {
    /// It has none, as most registries.
    #[default]
    None,
    /// Each page has one.
    ETag,
}

/// How a registry behaves; the default is open, without validators, in pages of 1,000 tags.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Who may use it.
    pub authentication: Authentication,
    /// The tags on one page at most; a client may ask for fewer.
    pub page_size: usize,
    /// Whether listings can be asked for conditionally.
    pub validators: Validators,
}

impl Default for RegistryOptions {
    fn default() -> RegistryOptions {
        RegistryOptions {
            authentication: Authentication::default(),
            page_size: 1000,
            validators: Validators::default(),
        }
    }
}

type Intercept = Box<dyn FnMut(&Parts) -> Option<Response> + Send>;

/// A registry; clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    options: RegistryOptions,
    repositories: Mutex<HashMap<String, Repository>>,
    requests: Mutex<Vec<String>>,
    intercept: Mutex<Option<Intercept>>,
}

#[derive(Default)]
struct Repository {
    /// Tag to digest.
    tags: BTreeMap<String, String>,
    /// Digest to media type and content, manifests and blobs alike.
    content: HashMap<String, (String, Bytes)>,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl Registry {
    /// Returns an empty registry that is open to everyone.
    pub fn new() -> Registry {
        Registry::with(RegistryOptions::default())
    }

    /// Returns an empty registry.
    pub fn with(options: RegistryOptions) -> Registry {
        Registry {
            shared: Arc::new(Shared {
                options,
                repositories: Mutex::default(),
                requests: Mutex::default(),
                intercept: Mutex::default(),
            }),
        }
    }

    /// Makes `tag` name an image that no other tag has, and returns the manifest's digest.
    pub fn push(&self, repository: &str, tag: &str) -> String {
        self.push_image(repository, tag, tag)
    }

    /// Makes `tag` name the image that `content` stands for and returns the manifest's digest:
    /// the same content gives the same digest, other content re-points the tag.
    pub fn push_image(&self, repository: &str, tag: &str, content: &str) -> String {
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"content": content}},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let config = Bytes::from(config.to_string());
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "size": config.len(), "digest": digest(&config)},
            "layers": [],
        });
        let mut repositories = self.shared.repositories.lock();
        let repository = repositories.entry(repository.to_owned()).or_default();
        repository.add("application/octet-stream", config);
        let digest = repository.add(MANIFEST_TYPE, manifest.to_string().into());
        repository.tags.insert(tag.to_owned(), digest.clone());
        digest
    }

    /// Removes a tag, and returns whether it was there; its manifest stays reachable by digest.
    pub fn delete(&self, repository: &str, tag: &str) -> bool {
        let mut repositories = self.shared.repositories.lock();
        repositories
            .get_mut(repository)
            .is_some_and(|repository| repository.tags.remove(tag).is_some())
    }

    /// Returns the tags of a repository, in the order in which they are listed.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let repositories = self.shared.repositories.lock();
        repositories
            .get(repository)
            .map(|repository| repository.tags.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Asks `intercept` about every request from now on; what it returns is the answer instead of
    /// the registry's own.
    pub fn intercept(&self, intercept: impl FnMut(&Parts) -> Option<Response> + Send + 'static) {
        *self.shared.intercept.lock() = Some(Box::new(intercept));
    }

    /// Returns the requests so far, as `METHOD /path?query`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().clone()
    }

    /// Returns the registry as a service.
    pub fn router(&self) -> Router {
        let serve = axum::routing::any(serve);
        Router::new()
            .route("/token", serve.clone())
            .route("/v2/", serve.clone())
            .route("/v2/{*rest}", serve)
            .with_state(self.shared.clone())
    }
}

impl Repository {
    fn add(&mut self, media_type: &str, content: Bytes) -> String {
        let digest = digest(&content);
        self.content.insert(digest.clone(), (media_type.to_owned(), content));
        digest
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    shared.requests.lock().push(format!("{} {target}", parts.method));
    let answer = shared.intercept.lock().as_mut().and_then(|intercept| intercept(&parts));
    if let Some(answer) = answer {
        return answer;
    }
    if parts.uri.path() == "/token" {
        return shared.token(&parts);
    }
    if let Some(challenge) = shared.refuse(&parts) {
        return challenge;
    }
    let path = parts.uri.path().trim_start_matches("/v2/");
    if path.is_empty() {
        return axum::Json(serde_json::json!({})).into_response();
    }
    if let Some(repository) = path.strip_suffix("/tags/list") {
        return shared.list(repository, &parts);
    }
    if let Some((repository, reference)) = path.rsplit_once("/manifests/") {
        return match parts.method {
            Method::PUT => shared.put_manifest(repository, reference, &parts.headers, body).await,
            _ => shared.manifest(repository, reference, &parts.method),
        };
    }
    if let Some((repository, digest)) = path.rsplit_once("/blobs/") {
        return shared.content(repository, digest, &parts.method, "BLOB_UNKNOWN");
    }
    error(StatusCode::NOT_FOUND, "UNSUPPORTED", "this registry does not do that")
}

impl Shared {
    /// Gives out the token.
    fn token(&self, parts: &Parts) -> Response {
        if let Authentication::TokenFor { username, password } = &self.options.authentication {
            let given = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
            let pair = format!("{username}:{password}");
            if given != Some(format!("Basic {}", STANDARD.encode(pair)).as_bytes()) {
                return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "not you");
            }
        }
        axum::Json(serde_json::json!({"token": TOKEN, "expires_in": 300})).into_response()
    }

    /// Returns the challenge for a request that needs a token and has none.
    fn refuse(&self, parts: &Parts) -> Option<Response> {
        let given = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if self.options.authentication == Authentication::Anonymous
            || given == Some(format!("Bearer {TOKEN}").as_bytes())
        {
            return None;
        }
        let path = parts.uri.path().trim_start_matches("/v2/");
        let repository = ["/tags/list", "/manifests/", "/blobs/"]
            .iter()
            .find_map(|place| path.rfind(place))
            .map_or("", |end| &path[..end]);
        let origin = origin(&parts.uri, &parts.headers);
        let mut challenge = format!("Bearer realm=\"{origin}/token\",service=\"sandbox\"");
        if !repository.is_empty() {
            challenge += &format!(",scope=\"repository:{repository}:pull\"");
        }
        let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "a token is needed");
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        Some(response)
    }

    fn list(&self, name: &str, parts: &Parts) -> Response {
        let repositories = self.repositories.lock();
        let Some(repository) = repositories.get(name) else {
            return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known");
        };
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let size = query.n.unwrap_or(usize::MAX).min(self.options.page_size).max(1);
        let start = query.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = repository.tags.range::<str, _>((start, Bound::Unbounded));
        let mut page: Vec<&String> =
            rest.map(|(tag, _)| tag).take(size.saturating_add(1)).collect();
        let has_more = page.len() > size;
        page.truncate(size);
        let body = serde_json::json!({"name": name, "tags": page}).to_string();
        let mut headers = HeaderMap::new();
        if let (true, Some(last)) = (has_more, page.last()) {
            let link =
                format!("</v2/{name}/tags/list?last={}&n={size}>; rel=\"next\"", escape(last));
            headers.extend(HeaderValue::from_str(&link).ok().map(|link| (header::LINK, link)));
        }
        if self.options.validators == Validators::ETag {
            let etag = HeaderValue::from_str(&format!("\"{}\"", digest(body.as_bytes())));
            let etag = etag.expect("a digest is a header value");
            let same = parts.headers.get(header::IF_NONE_MATCH) == Some(&etag);
            headers.insert(header::ETAG, etag);
            if same {
                return (StatusCode::NOT_MODIFIED, headers).into_response();
            }
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (headers, body).into_response()
    }

    fn manifest(&self, name: &str, reference: &str, method: &Method) -> Response {
        let digest = {
            let repositories = self.repositories.lock();
            let tags = repositories.get(name).map(|repository| &repository.tags);
            tags.and_then(|tags| tags.get(reference)).cloned()
        };
        let digest = digest.as_deref().unwrap_or(reference);
        self.content(name, digest, method, "MANIFEST_UNKNOWN")
    }

    fn content(&self, name: &str, digest: &str, method: &Method, unknown: &str) -> Response {
        let repositories = self.repositories.lock();
        let found = repositories.get(name).and_then(|repository| repository.content.get(digest));
        let Some((media_type, content)) = found else {
            return error(StatusCode::NOT_FOUND, unknown, "not known to this repository");
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let length = content.len();
        let body = if method == Method::HEAD { Bytes::new() } else { content.clone() };
        let response = Response::builder()
            .header(header::CONTENT_TYPE, media_type)
            .header(header::CONTENT_LENGTH, length)
            .header(DIGEST_HEADER, digest)
            .body(Body::from(body));
        response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }

    async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Response {
        let Ok(content) = axum::body::to_bytes(body, MANIFEST_BYTES_MAX).await else {
            return error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "SIZE_INVALID",
                "the manifest is too large",
            );
        };
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut repositories = self.repositories.lock();
        let repository = repositories.entry(name.to_owned()).or_default();
        let digest = repository.add(media_type.unwrap_or(MANIFEST_TYPE), content);
        if reference != digest {
            if reference.starts_with("sha256:") {
                return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "another digest");
            }
            repository.tags.insert(reference.to_owned(), digest.clone());
        }
        let location = format!("/v2/{name}/manifests/{digest}");
        let headers = [(header::LOCATION.as_str(), location), (DIGEST_HEADER, digest)];
        (StatusCode::CREATED, headers).into_response()
    }
}

/// What of a listing a client asks for.
#[derive(Default)]
struct Query {
    n: Option<usize>,
    last: Option<String>,
}

impl Query {
    fn parse(query: &str) -> Query {
        let mut parsed = Query::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "n" => parsed.n = value.parse().ok(),
                "last" => parsed.last = Some(unescape(value)),
                _ => {}
            }
        }
        parsed
    }
}

/// Escapes what has a meaning in a query; tags are made of few other characters.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) if byte == b'%' => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns where the client believes us to be.
fn origin(uri: &Uri, headers: &HeaderMap) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(host);
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
    (status, axum::Json(body)).into_response()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}
