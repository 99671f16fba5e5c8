//! What the binary serves beside the Kubernetes API, behind the same token; measurements and health
//! also alone, for those who read them where Flux's controllers have them.
//!
//! ```text
//! /metrics                                   measurements, for Prometheus
//! /tagtide/v1/controllers                    who reconciles what, and whether he is ready
//! /tagtide/v1/logs?tail=N&follow=true        log lines, a JSON object each
//! /tagtide/v1/tags?namespace=NS&name=NAME    the last complete listing of an ImageRepository
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use api::Kind;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use controllers::{Driver, ObjectKey, metrics};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::log_book::LogBook;
use crate::process;
use crate::requests::Requests;

/// What the endpoints tell of.
#[derive(Clone)]
pub(crate) struct Endpoints {
    pub(crate) driver: Arc<Driver>,
    pub(crate) logs: LogBook,
    pub(crate) requests: Requests,
    /// Where Flux's controllers would run.
    pub(crate) namespace: String,
}

#[derive(Deserialize)]
struct Logs {
    /// Of the lines there are, only the last ones.
    tail: Option<u64>,
    #[serde(default)]
    follow: bool,
}

#[derive(Deserialize)]
struct Named {
    namespace: String,
    name: String,
}

/// Returns `api` with the endpoints beside it.
pub(crate) fn beside(api: Router, endpoints: Endpoints) -> Router {
    Router::new()
        .route("/metrics", get(measurements))
        .route("/tagtide/v1/controllers", get(controllers))
        .route("/tagtide/v1/logs", get(logs))
        .route("/tagtide/v1/tags", get(tags))
        .with_state(endpoints)
        .fallback_service(api)
}

/// Returns the measurements alone.
pub(crate) fn only_metrics(endpoints: Endpoints) -> Router {
    Router::new().route("/metrics", get(measurements)).with_state(endpoints)
}

/// Returns what tells whether we live, and whether all objects are known and seen to.
pub(crate) fn only_health(driver: Arc<Driver>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readiness))
        .with_state(driver)
}

async fn measurements(State(endpoints): State<Endpoints>) -> Response {
    let mut text = metrics::Text::default();
    process::tell(&mut text);
    endpoints.requests.tell(&mut text);
    let text = endpoints.driver.metrics() + &text.finish();
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response()
}

async fn readiness(State(driver): State<Arc<Driver>>) -> Response {
    let unready: Vec<&str> =
        Kind::ALL.into_iter().filter(|kind| !driver.is_ready(*kind)).map(Kind::as_str).collect();
    if unready.is_empty() {
        return "ok".into_response();
    }
    let message = format!("the objects of these kinds are not known yet: {}\n", unready.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
}

async fn controllers(State(endpoints): State<Endpoints>) -> Json<Value> {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let controllers = Kind::CONTROLLERS.map(|controller| {
        let kinds: Vec<_> =
            Kind::ALL.into_iter().filter(|kind| kind.controller() == controller).collect();
        json!({
            "name": controller,
            "namespace": endpoints.namespace,
            "version": version,
            "image": format!("tagtide:{version}"),
            "ready": kinds.iter().all(|kind| endpoints.driver.is_ready(*kind)),
            "kinds": kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        })
    });
    Json(json!({"version": version, "controllers": controllers}))
}

async fn logs(State(endpoints): State<Endpoints>, Query(query): Query<Logs>) -> Response {
    let book = endpoints.logs;
    let page = match query.tail {
        Some(n) => book.last(n),
        None => book.after(0),
    };
    let first = joined(&page.lines);
    let body = if query.follow {
        let rest =
            stream::unfold((book.count(), book, page.next), |(mut count, book, next)| async move {
                // The book is never closed while somebody reads in it.
                count.wait_for(|count| *count > next).await.ok()?;
                let page = book.after(next);
                Some((joined(&page.lines), (count, book, page.next)))
            });
        let all = futures::StreamExt::chain(stream::iter([first]), rest);
        Body::from_stream(futures::StreamExt::map(all, Ok::<_, Infallible>))
    } else {
        Body::from(first)
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

async fn tags(State(endpoints): State<Endpoints>, Query(named): Query<Named>) -> Response {
    let key = ObjectKey::new(named.namespace, named.name);
    let failed = |code: StatusCode, message: String| {
        (
            code,
            Json(
                json!({"kind": "Status", "status": "Failure", "message": message, "code": code.as_u16()}),
            ),
        )
    };
    match endpoints.driver.tags().get(&key) {
        Ok(Some(stored)) => {
            let tags: Vec<&str> = stored.tags.iter().collect();
            Json(json!({"revision": stored.revision, "tags": tags})).into_response()
        }
        Ok(None) => {
            let message = format!("ImageRepository {key} has no listing yet");
            failed(StatusCode::NOT_FOUND, message).into_response()
        }
        Err(error) => failed(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn joined(lines: &[Arc<str>]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
