//! A registry in memory with tokens: it counts what is asked, and says when a list was sent.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use parking_lot::Mutex;
use serde_json::json;
use testkit::HttpServer;

/// The token that everybody gets.
const TOKEN: &str = "a-token-of-the-benchmark";

/// Images `app-0`, `app-1` and so on.
pub(crate) struct Registry {
    world: Arc<World>,
    server: HttpServer,
}

#[derive(Default)]
struct World {
    images: Mutex<HashMap<String, Image>>,
    n_lists: AtomicU64,
    n_tokens: AtomicU64,
}

#[derive(Default)]
struct Image {
    tags: Vec<String>,
    /// When the list was sent for the first time since it last changed.
    told: Option<Instant>,
}

/// The tag number `n`: 27 bytes, greater than those before it.
pub(crate) fn tag(n: usize) -> String {
    format!("branch-{:010}-{:09x}", 1_715_000_000 + n, n * 7_919)
}

impl Registry {
    /// Starts one with `n_images` images of `n_tags` tags each.
    pub(crate) fn start(n_images: usize, n_tags: usize) -> Registry {
        let tags: Vec<String> = (0..n_tags).map(tag).collect();
        let image = || Image { tags: tags.clone(), told: None };
        let images = (0..n_images).map(|n| (format!("app-{n}"), image())).collect();
        let world = Arc::new(World { images: Mutex::new(images), ..World::default() });
        let router = Router::new()
            .route("/v2/", get(ping))
            .route("/v2/{name}/tags/list", get(list))
            .route("/token", get(token))
            .with_state(Arc::clone(&world));
        Registry { world, server: HttpServer::start(router, None) }
    }

    /// Returns the host as images name it.
    pub(crate) fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// Adds a tag to an image.
    pub(crate) fn add(&self, n_image: usize, tag: String) {
        let mut images = self.world.images.lock();
        let image = images.get_mut(&format!("app-{n_image}")).expect("an image of this registry");
        image.tags.push(tag);
        image.told = None;
    }

    /// Returns when the present list of an image was sent for the first time.
    pub(crate) fn told(&self, n_image: usize) -> Option<Instant> {
        self.world.images.lock().get(&format!("app-{n_image}"))?.told
    }

    /// Returns how many lists and tokens were sent so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.world.n_lists.load(Ordering::Relaxed), self.world.n_tokens.load(Ordering::Relaxed))
    }
}

async fn ping(headers: HeaderMap) -> Response {
    if is_authorised(&headers) { Json(json!({})).into_response() } else { refuse(&headers, "") }
}

async fn token(State(world): State<Arc<World>>) -> Response {
    world.n_tokens.fetch_add(1, Ordering::Relaxed);
    Json(json!({"token": TOKEN, "expires_in": 3_600})).into_response()
}

async fn list(
    State(world): State<Arc<World>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !is_authorised(&headers) {
        return refuse(&headers, &name);
    }
    let mut images = world.images.lock();
    let Some(image) = images.get_mut(&name) else { return StatusCode::NOT_FOUND.into_response() };
    world.n_lists.fetch_add(1, Ordering::Relaxed);
    image.told.get_or_insert_with(Instant::now);
    Json(json!({"name": name, "tags": image.tags})).into_response()
}

fn is_authorised(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    sent == Some(&format!("Bearer {TOKEN}"))
}

fn refuse(headers: &HeaderMap, name: &str) -> Response {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let realm = format!(
        "Bearer realm=\"http://{host}/token\",service=\"bench\",scope=\"repository:{name}:pull\""
    );
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, realm)]).into_response()
}
