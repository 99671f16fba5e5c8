//! Everything that the process says and hears passes here, and may go wrong.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::sync::Notify;

use super::plan::Fault;

/// A listing of this world is far smaller.
const BODY_MAX: usize = 1 << 20;

#[derive(Clone, Default)]
pub(super) struct Wire {
    state: Arc<Mutex<Trouble>>,
    /// Told when the process has to die.
    pub(super) killed: Arc<Notify>,
    /// Whether the process of this wire is dead: what is left of it reaches nothing any more.
    is_dead: Arc<AtomicBool>,
}

#[derive(Default)]
pub(super) struct Trouble {
    pub(super) registry: VecDeque<Fault>,
    pub(super) git: VecDeque<Fault>,
    /// How many of the next writes of a status fail.
    pub(super) api: usize,
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
}

impl Wire {
    pub(super) fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.state.lock().expect("nothing panics with it")
    }

    /// Returns the same wire for another process.
    pub(super) fn for_another(&self) -> Wire {
        Wire { is_dead: Arc::default(), ..self.clone() }
    }

    /// Takes note that the process is dead.
    pub(super) fn cut(&self) {
        self.is_dead.store(true, Relaxed);
    }

    /// Waits for ever if the process is dead.
    async fn alive(&self) {
        if self.is_dead.load(Relaxed) {
            std::future::pending().await
        }
    }

    /// Returns registry and Git host behind this wire.
    pub(super) fn servers(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), serve))
    }

    /// Returns the API behind this wire.
    pub(super) fn api(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), answer))
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
        let Some(acted) = dies else { return next.run(request).await };
        if acted {
            next.run(request).await;
        }
        self.cut();
        self.killed.notify_one();
        std::future::pending().await
    }
}

async fn serve(State(wire): State<Wire>, request: Request, next: Next) -> Response {
    wire.alive().await;
    let path = request.uri().path().to_owned();
    let (fault, race) = {
        let mut trouble = wire.trouble();
        if path.contains(".git/") {
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

async fn answer(State(wire): State<Wire>, request: Request, next: Next) -> Response {
    wire.alive().await;
    if request.method() == "GET" {
        return next.run(request).await;
    }
    {
        let mut trouble = wire.trouble();
        if request.uri().path().ends_with("/status") {
            trouble.n_statuses += 1;
            if trouble.api > 0 {
                trouble.api -= 1;
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        }
    }
    let request = if request.uri().path().contains("/events") {
        note_event(&wire, request).await
    } else {
        request
    };
    wire.pass(request, next).await
}

async fn note_event(wire: &Wire, request: Request) -> Request {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_MAX).await.expect("it is in memory");
    let event = format!("{} {}", parts.uri.path(), String::from_utf8_lossy(&bytes));
    wire.trouble().events.push(event);
    Request::from_parts(parts, Body::from(bytes))
}
