//! What may go wrong between the process and the API.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{StreamExt as _, stream};
use serde_json::json;
use tokio::time::Instant;

use super::{BODY_MAX, Wire};
use crate::simulate::plan::{ApiFault, Server};

/// What a watch hears whose past is forgotten.
const EXPIRED: &str = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\
     \"metadata\":{},\"status\":\"Failure\",\"message\":\"too old resource version\",\
     \"reason\":\"Expired\",\"code\":410}}\n";

pub(super) async fn answer(State(wire): State<Wire>, request: Request, next: Next) -> Response {
    wire.alive().await;
    if let Err(refusal) = wire.reach(Server::Api).await {
        return refusal;
    }
    if request.method() == Method::GET {
        return if is_watch(&request) {
            watch(&wire, next.run(request).await)
        } else {
            list(&wire, request, next).await
        };
    }
    let fault = {
        let mut trouble = wire.trouble();
        if request.uri().path().ends_with("/status") {
            trouble.n_statuses += 1;
        }
        trouble.api.pop_front()
    };
    match fault {
        None => write(&wire, request, next).await,
        Some(ApiFault::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(ApiFault::Conflict) => refusal(StatusCode::CONFLICT, "Conflict"),
        Some(ApiFault::TooMany) => refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        Some(ApiFault::LoseReply) => {
            write(&wire, request, next).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
    }
}

fn is_watch(request: &Request) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
}

fn refusal(code: StatusCode, reason: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the simulation wants it so", "reason": reason, "code": code.as_u16(),
    });
    (code, axum::Json(status)).into_response()
}

/// Shows a list, or what it showed when it was first asked for.
async fn list(wire: &Wire, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let of_ours = path.rsplit('/').next().is_some_and(|plural| plural.ends_with('s'));
    if !of_ours || !path.contains("toolkit.fluxcd.io") || response.status() != StatusCode::OK {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, BODY_MAX).await.expect("it is in memory");
    let mut trouble = wire.trouble();
    let first = trouble.lists.entry(path).or_insert_with(|| (parts.clone(), bytes.clone())).clone();
    if trouble.n_stale == 0 {
        return Response::from_parts(parts, Body::from(bytes));
    }
    trouble.n_stale -= 1;
    Response::from_parts(first.0, Body::from(first.1))
}

/// Lets a watch tell late, and end with all others.
fn watch(wire: &Wire, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let state = (body.into_data_stream(), wire.clone(), wire.watches.subscribe(), false);
    let lines = stream::unfold(state, |(mut lines, wire, mut ends, is_over)| async move {
        if is_over {
            return None;
        }
        tokio::select! {
            biased;
            _ = ends.changed() => {
                let (_, expired) = *ends.borrow_and_update();
                let last = if expired { EXPIRED } else { "" };
                Some((Ok(Bytes::from_static(last.as_bytes())), (lines, wire, ends, true)))
            }
            line = lines.next() => {
                let late = wire.trouble().late.filter(|(end, _)| Instant::now() < *end);
                if let Some((_, delay)) = late {
                    tokio::time::sleep(delay).await;
                }
                Some((line?, (lines, wire, ends, is_over)))
            }
        }
    });
    Response::from_parts(parts, Body::from_stream(lines))
}

async fn write(wire: &Wire, request: Request, next: Next) -> Response {
    if !request.uri().path().contains("/events") {
        return wire.pass(request, next).await;
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_MAX).await.expect("it is in memory");
    let event = format!("{} {}", parts.uri.path(), String::from_utf8_lossy(&bytes));
    wire.trouble().events.push(event);
    let told = (parts.method == Method::POST).then(|| serde_json::from_slice(&bytes)).transpose();
    let response = wire.pass(Request::from_parts(parts, Body::from(bytes)), next).await;
    if response.status().is_success() {
        wire.trouble().told.extend(told.expect("an event is JSON"));
    }
    response
}
