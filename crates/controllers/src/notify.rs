//! Posts events to an address, in the form in which Flux's controllers send them to its notification
//! controller. No reconcile waits for it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::Kind;
use bytes::Bytes;
use clock::Clock;
use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use net::{Request, Route};
use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};
use url::Url;

use crate::events::{Event, Level};

/// Events that wait to be sent; a thousand objects may fail at once.
const WAITING_MAX: usize = 4_096;
/// The longest message that Flux sends, in bytes.
const MESSAGE_BYTES_MAX: usize = 39_000;
/// How long one attempt may take, how many follow a failed one, and how long they wait for it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES_MAX: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Sends events to one address. Cheap to clone; when the last clone is gone, its task ends with the
/// events that still wait.
#[derive(Clone, Debug)]
pub struct Notifier {
    waiting: mpsc::Sender<Bytes>,
    /// Who sends: the host.
    instance: Arc<str>,
}

/// An event as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification<'a> {
    involved_object: &'a ObjectReference,
    severity: &'static str,
    timestamp: String,
    message: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    reporting_controller: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reporting_instance: &'a str,
}

impl Notifier {
    /// Returns a notifier and the work of its sending, which ends after the last clone is dropped.
    pub fn new(
        client: net::Client,
        address: Url,
        instance: &str,
        clock: Clock,
    ) -> (Notifier, impl Future<Output = ()> + Send + use<>) {
        let (waiting, mut due) = mpsc::channel::<Bytes>(WAITING_MAX);
        let send = async move {
            while let Some(body) = due.recv().await {
                send(&client, &address, &body, &clock).await;
            }
        };
        (Notifier { waiting, instance: instance.into() }, send)
    }

    /// Has an event sent; with too many waiting already it is lost, and that is logged.
    pub(crate) fn notify(
        &self,
        kind: Kind,
        about: &ObjectReference,
        metadata: &BTreeMap<String, String>,
        event: &Event,
        now: Timestamp,
    ) {
        let end = event.message.floor_char_boundary(MESSAGE_BYTES_MAX);
        let notification = Notification {
            involved_object: about,
            severity: match event.level {
                Level::Normal => "info",
                Level::Warning => "error",
            },
            timestamp: api::condition::seconds(now).0.to_string(),
            message: &event.message[..end],
            reason: &event.reason,
            metadata,
            reporting_controller: kind.controller(),
            reporting_instance: &self.instance,
        };
        let body = serde_json::to_vec(&notification).expect("texts and maps of texts are JSON");
        if self.waiting.try_send(body.into()).is_err() {
            tracing::warn!("An event is not sent: too many wait already");
        }
    }
}

/// Sends one event, and tries again where that may help.
async fn send(client: &net::Client, address: &Url, body: &Bytes, clock: &Clock) {
    let mut pause = PAUSE_MIN;
    for attempt in 0..=RETRIES_MAX {
        let error = match post(client, address, body).await {
            Ok(status) if status.is_success() => return,
            // It has heard this lately.
            Ok(StatusCode::TOO_MANY_REQUESTS) => return,
            Ok(status) if status.is_client_error() => {
                tracing::warn!(%address, %status, "An event was refused");
                return;
            }
            Ok(status) => format!("it answered {status}"),
            Err(error) => crate::outcome::chain(&error),
        };
        if attempt == RETRIES_MAX {
            tracing::warn!(%address, %error, "An event could not be sent");
            return;
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn post(client: &net::Client, address: &Url, body: &Bytes) -> Result<StatusCode, net::Error> {
    let mut request = Request::new(Method::POST, address.clone());
    let json = HeaderValue::from_static("application/json");
    request.headers.insert(header::CONTENT_TYPE, json);
    request.body = body.clone();
    let deadline = Instant::now() + ATTEMPT_TIMEOUT;
    Ok(client.send(request, &Route::default(), deadline).await?.status)
}
