//! Posts events to an address, in the form in which Flux's controllers send them to its notification
//! controller. No reconcile waits for it, and what could not be sent is sent by the next process.

mod outbox;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::Kind;
use bytes::Bytes;
use clock::Clock;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use net::{Request, Route};
use redb::Database;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::outbox::{EVENTS_MAX, Outbox};
use crate::events::{Event, Level};

/// The longest message that Flux sends, in bytes.
const MESSAGE_BYTES_MAX: usize = 39_000;
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many attempts follow one that the receiver itself has failed at. One that is not there is
/// waited for.
const RETRIES_MAX: u32 = 4;
/// The pauses between attempts.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long events may still be sent when nobody tells any more.
const FAREWELL: Duration = Duration::from_secs(5);
/// By this a receiver knows an event that it was sent before: sending is at least once.
const ID: HeaderName = HeaderName::from_static("idempotency-key");

/// Sends events to one address. Cheap to clone; its task ends soon after the last clone is gone.
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
    /// What waits is kept in `cache`, if there is one, and sent by whoever opens that next.
    pub fn new(
        client: net::Client,
        address: Url,
        instance: &str,
        clock: Clock,
        cache: Option<Arc<Database>>,
    ) -> (Notifier, impl Future<Output = ()> + Send + use<>) {
        let (waiting, due) = mpsc::channel::<Bytes>(EVENTS_MAX);
        let outbox = Arc::new(Outbox::open(cache));
        let sender = Sender { client, address, clock, outbox };
        (Notifier { waiting, instance: instance.into() }, sender.run(due))
    }

    /// Has an event sent; with too many at once it is lost, and that is logged.
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

/// What sends.
struct Sender {
    client: net::Client,
    address: Url,
    clock: Clock,
    outbox: Arc<Outbox>,
}

/// What became of an attempt.
enum Attempt {
    /// It was taken, or never will be.
    Over,
    /// The receiver failed over it.
    Failed(String),
    /// There is no receiver.
    Away(String),
}

impl Sender {
    async fn run(self, mut due: mpsc::Receiver<Bytes>) {
        let closed = CancellationToken::new();
        let keep = async {
            let mut new = Vec::new();
            while due.recv_many(&mut new, EVENTS_MAX).await > 0 {
                let (outbox, new) = (Arc::clone(&self.outbox), std::mem::take(&mut new));
                // It writes to the disk; a panic of that is its own.
                drop(tokio::task::spawn_blocking(move || outbox.keep(new)).await);
            }
            self.outbox.close();
            closed.cancel();
        };
        let send = async {
            while let Some((number, body)) = self.outbox.next().await {
                self.send(&body).await;
                self.outbox.done(number);
            }
        };
        let farewell = async {
            closed.cancelled().await;
            self.clock.sleep(FAREWELL).await;
        };
        let send = async {
            tokio::select! {
                () = send => {}
                () = farewell => {}
            }
        };
        futures::join!(keep, send);
        match self.outbox.flush() {
            (0, _) => {}
            (n_events, true) => tracing::info!(n_events, "Events are left for the next start"),
            (n_events, false) => tracing::warn!(n_events, "Events are lost: they were not sent"),
        }
    }

    /// Sends one event, and tries again where that may help, for as long as nobody is there.
    async fn send(&self, body: &Bytes) {
        let (mut pause, mut n_failures, mut is_away) = (PAUSE_MIN, 0, false);
        let address = &self.address;
        loop {
            match self.attempt(body).await {
                Attempt::Over => break,
                Attempt::Failed(error) if n_failures == RETRIES_MAX => {
                    tracing::warn!(%address, %error, "An event could not be sent");
                    break;
                }
                Attempt::Failed(_) => n_failures += 1,
                Attempt::Away(error) => {
                    if !is_away {
                        tracing::warn!(%address, %error, "Events wait to be sent");
                    }
                    is_away = true;
                }
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, body: &Bytes) -> Attempt {
        let address = &self.address;
        match post(&self.client, address, body).await {
            Ok(status) if status.is_success() => Attempt::Over,
            // It has heard this lately.
            Ok(StatusCode::TOO_MANY_REQUESTS) => Attempt::Over,
            Ok(status) if status.is_client_error() => {
                tracing::warn!(%address, %status, "An event was refused");
                Attempt::Over
            }
            Ok(status) if AWAY.contains(&status) => Attempt::Away(format!("it answered {status}")),
            Ok(status) => Attempt::Failed(format!("it answered {status}")),
            Err(error) => Attempt::Away(crate::outcome::chain(&error)),
        }
    }
}

/// What stands between us and a receiver that is not there says so.
const AWAY: [StatusCode; 3] =
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

async fn post(client: &net::Client, address: &Url, body: &Bytes) -> Result<StatusCode, net::Error> {
    let mut request = Request::new(Method::POST, address.clone());
    let json = HeaderValue::from_static("application/json");
    request.headers.insert(header::CONTENT_TYPE, json);
    if let Ok(id) = HeaderValue::from_str(&id_of(body)) {
        request.headers.insert(ID, id);
    }
    request.body = body.clone();
    let deadline = Instant::now() + ATTEMPT_TIMEOUT;
    Ok(client.send(request, &Route::default(), deadline).await?.status)
}

/// Returns the id of an event: the same for what says the same of the same moment.
fn id_of(body: &[u8]) -> String {
    Sha256::digest(body).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, extract::State, http::HeaderMap, routing::post};
    use parking_lot::Mutex;

    /// Who hears events: what it answers, and what it has heard with which id.
    #[derive(Clone)]
    struct Receiver {
        answer: Arc<Mutex<StatusCode>>,
        heard: Arc<Mutex<Vec<(String, String)>>>,
    }

    impl Receiver {
        fn new(answer: StatusCode) -> Receiver {
            Receiver { answer: Arc::new(Mutex::new(answer)), heard: Arc::default() }
        }

        fn answers(&self, status: StatusCode) {
            *self.answer.lock() = status;
        }

        fn client(&self) -> net::Client {
            let hear = async |State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes| {
                let status = *receiver.answer.lock();
                let id = headers[ID].to_str().expect("a word").to_owned();
                if status.is_success() {
                    let event: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                    let message = event["message"].as_str().expect("a text").to_owned();
                    receiver.heard.lock().push((message, id));
                }
                status
            };
            net::Client::with_service(Router::new().route("/", post(hear)).with_state(self.clone()))
        }

        fn messages(&self) -> Vec<String> {
            self.heard.lock().iter().map(|(message, _)| message.clone()).collect()
        }
    }

    fn clock() -> Clock {
        Clock::starting_at("2026-01-01T00:00:00Z".parse().expect("a time"))
    }

    fn start(
        receiver: &Receiver,
        cache: Option<Arc<Database>>,
    ) -> (Notifier, tokio::task::JoinHandle<()>) {
        let address = "http://receiver.example/".parse().expect("a URL");
        let (notifier, send) = Notifier::new(receiver.client(), address, "host", clock(), cache);
        (notifier, tokio::spawn(send))
    }

    fn tell(notifier: &Notifier, message: &str) {
        let event = Event::good(message.to_owned());
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let (about, metadata) = (ObjectReference::default(), BTreeMap::new());
        notifier.notify(Kind::ImagePolicy, &about, &metadata, &event, now);
    }

    fn database() -> Arc<Database> {
        let backend = redb::backends::InMemoryBackend::new();
        Arc::new(Database::builder().create_with_backend(backend).expect("memory takes it"))
    }

    #[tokio::test(start_paused = true)]
    async fn events_outlive_a_day_without_a_receiver_and_the_process() {
        let (receiver, database) = (Receiver::new(StatusCode::SERVICE_UNAVAILABLE), database());
        let (notifier, sending) = start(&receiver, Some(Arc::clone(&database)));
        let told: Vec<String> = (0..200).map(|n| format!("event {n}")).collect();
        for message in &told[..100] {
            tell(&notifier, message);
        }
        tokio::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
        assert_eq!(receiver.messages(), [""; 0]);
        drop(notifier);
        sending.await.expect("it ends soon");

        let (notifier, sending) = start(&receiver, Some(Arc::clone(&database)));
        for message in &told[100..] {
            tell(&notifier, message);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        receiver.answers(StatusCode::OK);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(receiver.messages(), told, "each once, in order");
        drop(notifier);
        sending.await.expect("it ends");
        let (notifier, sending) = start(&receiver, Some(database));
        drop(notifier);
        sending.await.expect("nothing is left");
        assert_eq!(receiver.messages().len(), told.len());
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_a_receiver_fails_at_holds_no_other() {
        let receiver = Receiver::new(StatusCode::INTERNAL_SERVER_ERROR);
        let (notifier, sending) = start(&receiver, None);
        tell(&notifier, "poison");
        tokio::time::sleep(Duration::from_secs(120)).await;
        receiver.answers(StatusCode::BAD_REQUEST);
        tell(&notifier, "refused");
        tokio::time::sleep(Duration::from_secs(1)).await;
        receiver.answers(StatusCode::OK);
        tell(&notifier, "good");
        drop(notifier);
        sending.await.expect("it ends");
        assert_eq!(receiver.messages(), ["good"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_is_of_what_is_said_and_a_long_message_ends_between_characters() {
        let receiver = Receiver::new(StatusCode::OK);
        let (notifier, sending) = start(&receiver, None);
        let long = format!("x{}", "é".repeat(30_000));
        for message in ["a", "b", "a", &long] {
            tell(&notifier, message);
        }
        drop(notifier);
        sending.await.expect("it ends");
        let heard = receiver.heard.lock().clone();
        assert_eq!((heard[0].1 == heard[2].1, heard[0].1 == heard[1].1), (true, false));
        assert_eq!(heard[3].0, format!("x{}", "é".repeat(19_499)), "38,999 of 39,000 bytes");
    }
}
