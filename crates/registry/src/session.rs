//! One conversation with a registry: ping, challenge, token, retries.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use api::Repository;
use auth::Credential;
use base64::Engine as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use net::{AddressPolicy, Reach, Redirects, Request, Response, Route, is_loopback_host, origin};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::challenge::{Challenge, answerable, parse_challenges};
use crate::client::{Access, Inner};
use crate::error::{ERROR_BODY_MAX, ExchangeError, StatusError, clean};
use crate::realm::RealmRule;
use crate::scheduler::{TooLate, retry_after};
use crate::token::{TOKEN_BODY_MAX, Token, TokenKey, read_answer};

/// How often a request is sent, the first time included.
const ATTEMPTS_MAX: u32 = 3;

/// Pause before the second attempt; each further one is three times as long.
const BACKOFF: Duration = Duration::from_secs(1);

/// How long what a ping found is taken for granted.
const PING_LIFE: Duration = Duration::from_secs(3_600);

/// How long https may take where http is tried after it.
const HTTPS_PATIENCE: Duration = Duration::from_secs(10);

/// Most registries whose ping is remembered.
const PINGS_MAX: usize = 4_096;

/// Longest scope and most scopes that a registry can add.
const SCOPE_MAX: usize = 1_024;
const SCOPES_MAX: usize = 4;

/// What the registry said to `GET /v2/`.
#[derive(Clone)]
pub(crate) struct Ping {
    scheme: &'static str,
    challenge: Option<Challenge>,
    reach: Reach,
}

type PingSlot = Arc<tokio::sync::Mutex<Option<(Ping, Instant)>>>;

#[derive(Clone, PartialEq, Eq, Hash)]
struct PingKey {
    registry: String,
    insecure: bool,
    route: Route,
}

/// What registries said, shared by all conversations.
#[derive(Default)]
pub(crate) struct PingCache {
    slots: Mutex<HashMap<PingKey, PingSlot>>,
}

impl PingCache {
    fn slot(&self, key: PingKey) -> PingSlot {
        let mut slots = self.slots.lock();
        if slots.len() >= PINGS_MAX && !slots.contains_key(&key) {
            // One ping each brings them back.
            slots.clear();
        }
        slots.entry(key).or_default().clone()
    }
}

/// A request to the registry, as the protocol sees it.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) redirects: Redirects,
}

impl Ask {
    pub(crate) fn new(method: Method, url: Url) -> Ask {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Ask { method, url, headers, body, redirects: Redirects::Follow }
    }
}

/// An answer; while its body is read the host's permit is held.
pub(crate) struct Answer {
    pub(crate) response: Response,
    _permit: OwnedSemaphorePermit,
}

impl Answer {
    /// Reads the body to its end, so that the connection serves the next
    /// request, and gives the permit back.
    async fn drain(self) {
        self.response.beginning(ERROR_BODY_MAX).await;
    }
}

/// One conversation with one registry about one repository.
pub(crate) struct Session<'a> {
    inner: &'a Inner,
    access: &'a Access,
    repository: &'a Repository,
    credential: Option<Credential>,
    deadline: Instant,
    ping_slot: PingSlot,
    ping: Ping,
    scopes: Vec<String>,
    /// The token sent last, with the key of its place in the cache.
    token: Option<(TokenKey, Token)>,
}

impl<'a> Session<'a> {
    /// Begins a conversation: waits for the host's turn and learns how it
    /// wants to be spoken to.
    pub(crate) async fn open(
        inner: &'a Inner,
        repository: &'a Repository,
        access: &'a Access,
        deadline: Instant,
    ) -> Result<Session<'a>, ExchangeError> {
        let registry = repository.registry();
        let started = inner.scheduler.start(registry, deadline).await;
        started.map_err(|late| too_late(registry, late))?;
        let key = PingKey {
            registry: registry.to_owned(),
            insecure: access.insecure,
            route: access.route.clone(),
        };
        let ping_slot = inner.pings.slot(key);
        let mut session = Session {
            inner,
            access,
            repository,
            credential: access.keychain.lookup(registry, repository.path()),
            deadline,
            ping_slot,
            ping: Ping { scheme: "https", challenge: None, reach: Reach::Public },
            scopes: vec![format!("repository:{}:pull", repository.path())],
            token: None,
        };
        session.ping = session.pinged().await?;
        Ok(session)
    }

    /// Returns the URL of `/v2/REPOSITORY/TAIL`.
    pub(crate) fn url(&self, tail: &str) -> Result<Url, ExchangeError> {
        self.registry_url(self.ping.scheme, &format!("{}/{tail}", self.repository.path()))
    }

    /// Says whether a URL is on the registry itself.
    pub(crate) fn is_registry(&self, url: &Url) -> bool {
        let own = self.registry_url(self.ping.scheme, "");
        own.is_ok_and(|own| origin(&own) == origin(url))
    }

    /// Sends a request with the credentials that belong to its URL. A `401`
    /// brings a new token once; `429` and the like are tried again.
    pub(crate) async fn fetch(&mut self, ask: &Ask) -> Result<Answer, ExchangeError> {
        let mut challenged = false;
        loop {
            let authorization = self.authorization(&ask.url).await?;
            let answer = match self.retrying(ask, authorization, &self.access.route).await {
                Err(error) => {
                    // The registry may speak differently from now on.
                    *self.ping_slot.lock().await = None;
                    return Err(error);
                }
                Ok(answer) => answer,
            };
            let unauthorized = answer.response.status == StatusCode::UNAUTHORIZED;
            if !unauthorized || challenged || !self.is_registry(&answer.response.url) {
                return Ok(answer);
            }
            let Some(challenge) = answerable(challenges_of(&answer.response)) else {
                return Ok(answer);
            };
            if !self.take_challenge(challenge).await {
                return Ok(answer);
            }
            answer.drain().await;
            challenged = true;
        }
    }

    /// Turns an answer with the wrong status into an error.
    pub(crate) async fn refused(&self, ask: &Ask, answer: Answer) -> ExchangeError {
        let response = answer.response;
        let (status, url) = (response.status, response.url.clone());
        let wait = retry_after(&response.headers, self.inner.clock.now());
        let body = response.beginning(ERROR_BODY_MAX).await;
        let secrets = self.secrets();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let mut error = StatusError::new(&ask.method, &url, status, &body, &secrets);
        error.retry_after = wait;
        ExchangeError::Status(Box::new(error))
    }

    /// Waits before attempt `n` (from 1) is repeated; says whether there is
    /// time for it.
    pub(crate) async fn back_off(&self, attempt: u32) -> bool {
        let pause = back_off(attempt, self.repository);
        if attempt >= ATTEMPTS_MAX || Instant::now() + pause >= self.deadline {
            return false;
        }
        self.inner.clock.sleep(pause).await;
        true
    }

    // === Sending ===

    async fn retrying(
        &self,
        ask: &Ask,
        authorization: Option<HeaderValue>,
        route: &Route,
    ) -> Result<Answer, ExchangeError> {
        let mut attempt = 1;
        loop {
            let (result, asked) = self.send(ask, authorization.clone(), route).await?;
            let pause = match &result {
                Ok(answer) if !is_worth_repeating(answer.response.status) => return result,
                Err(ExchangeError::Net(error)) if !error.is_temporary() || error.is_connect() => {
                    return result;
                }
                _ => asked.unwrap_or_default().max(back_off(attempt, self.repository)),
            };
            if attempt == ATTEMPTS_MAX || Instant::now() + pause >= self.deadline {
                return result;
            }
            drop(result);
            self.inner.clock.sleep(pause).await;
            attempt += 1;
        }
    }

    /// Sends once; returns also how long the host wants to be left alone.
    async fn send(
        &self,
        ask: &Ask,
        authorization: Option<HeaderValue>,
        route: &Route,
    ) -> Result<(Result<Answer, ExchangeError>, Option<Duration>), ExchangeError> {
        let host = host_of(&ask.url);
        let admitted = self.inner.scheduler.admit(&host, self.deadline).await;
        let permit = admitted.map_err(|late| too_late(&host, late))?;
        let mut request = Request::new(ask.method.clone(), ask.url.clone());
        request.headers = ask.headers.clone();
        request.body = ask.body.clone();
        request.redirects = ask.redirects;
        if let Some(value) = authorization {
            request.headers.insert(AUTHORIZATION, value);
        }
        match self.inner.net.send(request, route, self.deadline).await {
            Err(error) => Ok((Err(error.into()), None)),
            Ok(response) => {
                let asked = self.note_pause(&host, &response);
                Ok((Ok(Answer { response, _permit: permit }), asked))
            }
        }
    }

    /// Keeps everybody from a host that asks for it.
    fn note_pause(&self, host: &str, response: &Response) -> Option<Duration> {
        let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE]
            .contains(&response.status);
        let pause = retry_after(&response.headers, self.inner.clock.now()).filter(|_| asks)?;
        self.inner.scheduler.pause(host, pause);
        Some(pause)
    }

    // === Ping ===

    /// Returns what the registry says to a ping, asking at most once an hour.
    async fn pinged(&self) -> Result<Ping, ExchangeError> {
        let slot = self.ping_slot.clone();
        let Ok(mut known) = tokio::time::timeout_at(self.deadline, slot.lock()).await else {
            return Err(ExchangeError::Busy { host: self.repository.registry().to_owned() });
        };
        if let Some((ping, until)) = known.as_ref()
            && *until > Instant::now()
        {
            return Ok(ping.clone());
        }
        let ping = self.ping_any().await?;
        *known = Some((ping.clone(), Instant::now() + PING_LIFE));
        Ok(ping)
    }

    async fn ping_any(&self) -> Result<Ping, ExchangeError> {
        if !self.repository.may_use_http(self.access.insecure) {
            return self.ping_with("https").await;
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let patience = HTTPS_PATIENCE.min(left / 2);
        let https = match tokio::time::timeout(patience, self.ping_with("https")).await {
            Ok(Ok(ping)) => return Ok(ping),
            Ok(Err(error)) => error,
            Err(_) => ExchangeError::Busy { host: self.repository.registry().to_owned() },
        };
        self.ping_with("http")
            .await
            .map_err(|http| ExchangeError::Ping { https: Box::new(https), http: Box::new(http) })
    }

    async fn ping_with(&self, scheme: &'static str) -> Result<Ping, ExchangeError> {
        let ask = Ask::new(Method::GET, self.registry_url(scheme, "")?);
        let answer = self.retrying(&ask, None, &self.access.route).await?;
        let status = answer.response.status;
        if status != StatusCode::OK && status != StatusCode::UNAUTHORIZED {
            return Err(self.refused(&ask, answer).await);
        }
        let challenge = match status {
            StatusCode::UNAUTHORIZED => answerable(challenges_of(&answer.response)),
            _ => None,
        };
        // A registry without a port of its own may send us from http to https.
        let upgraded = answer.response.url.scheme() == "https"
            && !self.repository.registry().contains(':')
            && answer.response.url.host_str() == ask.url.host_str();
        let scheme = if upgraded { "https" } else { scheme };
        let reach = answer.response.reach();
        answer.drain().await;
        Ok(Ping { scheme, challenge, reach })
    }

    fn registry_url(&self, scheme: &str, path: &str) -> Result<Url, ExchangeError> {
        let text = format!("{scheme}://{}/v2/{path}", self.repository.registry());
        Url::parse(&text).map_err(|error| ExchangeError::Token(format!("parse {text:?}: {error}")))
    }

    // === Credentials ===

    /// Takes up the challenge of a `401`; says whether asking again makes sense.
    async fn take_challenge(&mut self, challenge: Challenge) -> bool {
        let basic = challenge.scheme == "basic";
        let had_basic = self.ping.challenge.as_ref().is_some_and(|c| c.scheme == "basic");
        let has_basic = matches!(self.credential, Some(Credential::Basic { .. }));
        if basic && (had_basic || !has_basic) {
            return false;
        }
        if let Some(scope) = challenge.parameter("scope")
            && scope.len() <= SCOPE_MAX
            && self.scopes.len() < SCOPES_MAX
            && !self.scopes.iter().any(|known| known == scope)
        {
            // Some registries look only at the first scope.
            self.scopes.insert(0, scope.to_owned());
        }
        if let Some((key, stale)) = self.token.take() {
            let slot = self.inner.tokens.slot(&key);
            let mut known = slot.lock().await;
            if known.as_ref().is_some_and(|known| known.text == stale.text) {
                *known = None;
            }
        }
        self.ping.challenge = Some(challenge);
        *self.ping_slot.lock().await = Some((self.ping.clone(), Instant::now() + PING_LIFE));
        true
    }

    /// Returns the `Authorization` for a URL: none away from the registry.
    async fn authorization(&mut self, url: &Url) -> Result<Option<HeaderValue>, ExchangeError> {
        if !self.is_registry(url) {
            return Ok(None);
        }
        let Some(challenge) = self.ping.challenge.clone() else { return Ok(None) };
        let text = match (challenge.scheme.as_str(), &self.credential) {
            ("basic", Some(Credential::Basic { username, password })) => {
                basic(username, password.expose())
            }
            ("basic", _) => return Ok(None),
            (_, Some(Credential::RegistryToken(token))) => format!("Bearer {}", token.expose()),
            _ => format!("Bearer {}", self.token(&challenge).await?.text.expose()),
        };
        if self.credential.is_some() {
            self.check_plain(url)?;
        }
        sensitive(&text).map(Some)
    }

    /// Refuses credentials over plain http, but to this machine or where the
    /// user asked for it.
    fn check_plain(&self, url: &Url) -> Result<(), ExchangeError> {
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "http" || self.access.insecure || is_loopback_host(host) {
            return Ok(());
        }
        Err(ExchangeError::PlainCredentials { host: host_of(url) })
    }

    /// Returns the token for this conversation, from the cache or fetched.
    async fn token(&mut self, challenge: &Challenge) -> Result<Token, ExchangeError> {
        let realm = self.realm(challenge)?;
        if self.credential.is_some() {
            self.check_plain(&realm)?;
            self.check_plain(&self.registry_url(self.ping.scheme, "")?)?;
        }
        let key = TokenKey {
            realm,
            service: challenge.parameter("service").unwrap_or_default().to_owned(),
            scopes: self.scopes.clone(),
            credential: self.credential.clone(),
            route: self.access.route.clone(),
        };
        let slot = self.inner.tokens.slot(&key);
        let Ok(mut known) = tokio::time::timeout_at(self.deadline, slot.lock()).await else {
            return Err(ExchangeError::Busy { host: host_of(&key.realm) });
        };
        let fresh = known.as_ref().filter(|token| token.expires > Instant::now()).cloned();
        let token = match fresh {
            Some(token) => token,
            None => self.fetch_token(&key).await?,
        };
        *known = Some(token.clone());
        drop(known);
        self.token = Some((key, token.clone()));
        Ok(token)
    }

    fn realm(&self, challenge: &Challenge) -> Result<Url, ExchangeError> {
        let Some(realm) = challenge.parameter("realm") else {
            let text = "malformed www-authenticate, missing realm".to_owned();
            return Err(ExchangeError::Token(text));
        };
        let registry = self.registry_url(self.ping.scheme, "")?;
        let rule = RealmRule {
            registry: registry.host_str().unwrap_or_default(),
            plain_http: self.repository.may_use_http(self.access.insecure),
            allowed: &self.inner.options.allow_realms,
        };
        Ok(rule.check(realm)?)
    }

    async fn fetch_token(&self, key: &TokenKey) -> Result<Token, ExchangeError> {
        let mut ask = match &key.credential {
            Some(Credential::IdentityToken(token)) => exchange_request(key, token.expose()),
            _ => Ask::new(Method::GET, token_url(key)),
        };
        // Whoever gets our credentials may not send them on.
        ask.redirects = Redirects::SameOrigin;
        let authorization = match &key.credential {
            Some(Credential::Basic { username, password }) => {
                Some(sensitive(&basic(username, password.expose()))?)
            }
            _ => None,
        };
        let answer = self.retrying(&ask, authorization, &self.realm_route(&key.realm)).await?;
        if answer.response.status != StatusCode::OK {
            return Err(self.refused(&ask, answer).await);
        }
        let url = net::redacted(&answer.response.url);
        let body = answer.response.bytes(TOKEN_BODY_MAX).await?;
        read_answer(&body, Instant::now())
            .map_err(|reason| ExchangeError::Token(format!("{} {url}: {reason}", ask.method)))
    }

    /// Returns the route to a realm: a host that only the registry named may
    /// not be nearer to us than the registry itself.
    fn realm_route(&self, realm: &Url) -> Route {
        let host = realm.host_str().unwrap_or_default();
        let registry = self.registry_url(self.ping.scheme, "");
        let same = registry.is_ok_and(|registry| registry.host_str() == Some(host));
        let allowed = self.inner.options.allow_realms.iter().any(|a| a.eq_ignore_ascii_case(host));
        let mut route = self.access.route.clone();
        if !same && !allowed {
            route.addresses = AddressPolicy::named_by(self.ping.reach);
        }
        route
    }

    /// Returns every text that must not come back in an error.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        match &self.credential {
            Some(Credential::Basic { username, password }) => {
                secrets.push(basic(username, password.expose())[6..].to_owned());
                secrets.push(password.expose().clone());
            }
            Some(Credential::IdentityToken(token) | Credential::RegistryToken(token)) => {
                secrets.push(token.expose().clone());
            }
            None => {}
        }
        secrets.extend(self.token.iter().map(|(_, token)| token.text.expose().clone()));
        secrets
    }
}

/// Returns the challenges of all `WWW-Authenticate` fields.
fn challenges_of(response: &Response) -> Vec<Challenge> {
    let values = response.headers.get_all(WWW_AUTHENTICATE).iter().take(8);
    values.flat_map(|value| parse_challenges(&String::from_utf8_lossy(value.as_bytes()))).collect()
}

fn token_url(key: &TokenKey) -> Url {
    let mut url = key.realm.clone();
    let kept: Vec<(String, String)> = key
        .realm
        .query_pairs()
        .filter(|(name, _)| name != "scope" && name != "service")
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut query = url.query_pairs_mut();
    query.clear().extend_pairs(kept);
    key.scopes.iter().for_each(|scope| {
        query.append_pair("scope", scope);
    });
    if !key.service.is_empty() {
        query.append_pair("service", &key.service);
    }
    drop(query);
    url
}

fn exchange_request(key: &TokenKey, token: &str) -> Ask {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "tagtide")
        .append_pair("service", &key.service)
        .append_pair("scope", &key.scopes.join(" "))
        .append_pair("refresh_token", token);
    let mut ask = Ask::new(Method::POST, key.realm.clone());
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    ask.headers.insert(CONTENT_TYPE, form_type);
    ask.body = form.finish().into();
    ask
}

fn basic(username: &str, password: &str) -> String {
    let text = format!("{username}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

fn sensitive(text: &str) -> Result<HeaderValue, ExchangeError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        ExchangeError::Token("the credential holds characters that no header can carry".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_worth_repeating(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504 | 499 | 522)
}

/// Returns the pause after attempt `n`, a tenth more or less so that many
/// repositories do not come back together.
fn back_off(attempt: u32, repository: &Repository) -> Duration {
    let mut hasher = DefaultHasher::new();
    (repository, attempt).hash(&mut hasher);
    let part = f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX);
    (BACKOFF * 3_u32.pow(attempt.saturating_sub(1).min(4))).mul_f64(0.9 + 0.2 * part)
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn too_late(host: &str, late: TooLate) -> ExchangeError {
    let host = clean(host, &[]);
    if late.paused {
        return ExchangeError::Paused { host, seconds: late.wait.as_secs().max(1) };
    }
    ExchangeError::Busy { host }
}
