//! Everything that the process says and hears passes here, and may go wrong.

mod api;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header, response::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use k8s_openapi::api::core::v1::Event;
use serde_json::Value;
use testkit::Power;
use tokio::{sync::watch, time::Instant};

use super::plan::{ApiFault, Fault, Server};

/// A listing of this world is far smaller.
const BODY_MAX: usize = 1 << 20;

#[derive(Clone, Default)]
pub(super) struct Wire {
    state: Arc<Mutex<Trouble>>,
    /// Of the process of this wire: without it, what is left of the process reaches nothing.
    pub(super) power: Power,
    /// Ends all watches; true if they are told that they come too late.
    watches: watch::Sender<(u64, bool)>,
}

#[derive(Default)]
pub(super) struct Trouble {
    pub(super) registry: VecDeque<Fault>,
    pub(super) git: VecDeque<Fault>,
    /// What befalls the next writes to the API.
    pub(super) api: VecDeque<ApiFault>,
    /// Until when a server is away, and whether it answers nothing at all meanwhile.
    pub(super) away: BTreeMap<Server, (Instant, bool)>,
    /// Until when, and by how much, watches tell late.
    pub(super) late: Option<(Instant, Duration)>,
    /// How many of the next lists show what once was.
    pub(super) n_stale: usize,
    /// Requests that still work before the process dies, and whether the last is acted upon.
    pub(super) kill: Option<(usize, bool)>,
    /// What a person does just before the next pushes arrive.
    pub(super) races: VecDeque<Box<dyn FnOnce() + Send>>,
    /// Listings that lacked tags: the image's name and what was left.
    pub(super) halves: Vec<(String, Vec<String>)>,
    /// Writes of a status.
    pub(super) n_statuses: usize,
    /// Events as they were written.
    pub(super) events: Vec<String>,
    /// Events that were taken. The API forgets them after an hour.
    pub(super) told: Vec<Event>,
    /// What every list showed first.
    pub(super) lists: BTreeMap<String, (Parts, Bytes)>,
}

impl Wire {
    pub(super) fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.state.lock().expect("nothing panics with it")
    }

    /// Returns the same wire for another process.
    pub(super) fn for_another(&self) -> Wire {
        Wire { power: Power::default(), ..self.clone() }
    }

    /// Waits for ever if the process is dead.
    async fn alive(&self) {
        if self.power.is_off() {
            std::future::pending().await
        }
    }

    /// Ends all watches.
    pub(super) fn end_watches(&self, expired: bool) {
        self.watches.send_modify(|(n, how)| (*n, *how) = (*n + 1, expired));
    }

    /// Lets a server be away.
    pub(super) fn away(&self, server: Server, time: Duration, hangs: bool) {
        let end = Instant::now() + time;
        self.trouble().away.insert(server, (end, hangs));
        if server == Server::Api {
            self.end_watches(false);
        }
    }

    /// Returns what a server that is away answers, if it is away and says so.
    async fn reach(&self, server: Server) -> Result<(), Response> {
        let away = self.trouble().away.get(&server).copied();
        match away.filter(|(end, _)| Instant::now() < *end) {
            None => Ok(()),
            Some((_, true)) => std::future::pending().await,
            Some((_, false)) => Err(StatusCode::SERVICE_UNAVAILABLE.into_response()),
        }
    }

    /// Returns registry and Git host behind this wire.
    pub(super) fn servers(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), serve))
    }

    /// Returns the API behind this wire.
    pub(super) fn api(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), api::answer))
    }

    /// Passes a request on, unless the process dies of it.
    async fn pass(&self, request: Request, next: Next) -> Response {
        let dies = {
            let mut trouble = self.trouble();
            match &mut trouble.kill {
                Some((0, acted)) => Some(*acted),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        let acted = dies.unwrap_or(true);
        let response = if acted { Some(next.run(request).await) } else { None };
        if dies.is_some() {
            self.power.cut();
        }
        self.alive().await;
        response.expect("who is alive has acted")
    }
}

async fn serve(State(wire): State<Wire>, request: Request, next: Next) -> Response {
    wire.alive().await;
    let path = request.uri().path().to_owned();
    let server = if path.contains(".git/") { Server::Git } else { Server::Registry };
    if let Err(refusal) = wire.reach(server).await {
        return refusal;
    }
    let (fault, race) = {
        let mut trouble = wire.trouble();
        if server == Server::Git {
            let is_push = request.method() == "POST" && path.ends_with("/git-receive-pack");
            let race = if is_push { trouble.races.pop_front() } else { None };
            (trouble.git.pop_front(), race)
        } else {
            (trouble.registry.pop_front(), None)
        }
    };
    if let Some(race) = race {
        race();
    }
    match fault {
        None => wire.pass(request, next).await,
        Some(Fault::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(Fault::Refused) => StatusCode::FORBIDDEN.into_response(),
        Some(Fault::TooMany) => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "20")]).into_response()
        }
        Some(Fault::Garbage) => "{\"garbage".into_response(),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::LoseReply) => {
            wire.pass(request, next).await;
            StatusCode::BAD_GATEWAY.into_response()
        }
        Some(Fault::Half) => {
            let response = wire.pass(request, next).await;
            if path.ends_with("/tags/list") { half(&wire, &path, response).await } else { response }
        }
    }
}

/// Leaves out the last tags of a listing, among them the newest.
async fn half(wire: &Wire, path: &str, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, BODY_MAX).await.expect("it is in memory");
    let Ok(mut listing) = serde_json::from_slice::<Value>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    if let Some(tags) = listing["tags"].as_array_mut() {
        tags.truncate(tags.len().div_ceil(2));
        let left = tags.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let image = path.trim_start_matches("/v2/").trim_end_matches("/tags/list").to_owned();
        wire.trouble().halves.push((image, left));
    }
    let bytes = listing.to_string();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    parts.headers.remove(header::ETAG);
    parts.headers.remove(header::LAST_MODIFIED);
    Response::from_parts(parts, Body::from(bytes))
}
