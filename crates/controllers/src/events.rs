//! Kubernetes events: what a person should hear about an object.
//!
//! The name of an event is a hash of what it says, so the same sentence about the same object is one
//! event with a count, also after a restart.

use std::collections::{BTreeMap, HashMap, HashSet};

use api::{Kind, annotation, condition::Reason};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event as ApiEvent, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{context::Scope, driver, queue::ObjectKey};

/// Longer messages end in an ellipsis; the same limit as a condition's.
const MESSAGE_BYTES_MAX: usize = 32_768;
/// Counts remembered before all are forgotten; a forgotten one costs one more request.
const COUNTS_MAX: usize = 8_192;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How much it matters.
    pub level: Level,
    /// A word of CamelCase.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good or neutral news.
    Normal,
    /// A person may have to act.
    Warning,
}

impl Event {
    /// Returns good news.
    pub(crate) fn good(message: String) -> Event {
        let reason = Reason::Succeeded.as_str().to_owned();
        Event { level: Level::Normal, reason, message }
    }
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Normal => "Normal",
            Level::Warning => "Warning",
        }
    }
}

/// Writes events through the API.
#[derive(Debug, Default)]
pub struct Recorder {
    counts: Mutex<HashMap<String, i32>>,
    /// Events, by name, of objects whose status does not tell of them yet.
    ahead: Mutex<HashMap<(Kind, ObjectKey), HashSet<String>>>,
}

impl Recorder {
    /// Writes `event` about an object, ahead of its status: who is killed in between tells it once
    /// more, and never less than once. In one process it is told once until
    /// [`Recorder::caught_up`]. A passing fault of the API is waited for; an event that cannot be
    /// written then is logged and lost: it must not stop what it tells of.
    pub(crate) async fn record(
        &self,
        scope: &Scope<'_>,
        about: &ObjectReference,
        annotations: &BTreeMap<String, String>,
        event: &Event,
    ) {
        let name = name_of(about, event);
        let key = (scope.kind, scope.key.clone());
        if self.ahead.lock().get(&key).is_some_and(|told| told.contains(&name)) {
            return;
        }
        let now = scope.clock.now();
        let write = || self.write(&scope.client, &name, about, annotations, event, now);
        match driver::patiently(&scope.clock, write).await {
            Ok(()) => drop(self.ahead.lock().entry(key).or_default().insert(name)),
            Err(error) => tracing::warn!(reason = %event.reason, %error, "Cannot write an event"),
        }
    }

    /// Takes note that the status of an object tells of what was told of it, or that it is gone.
    pub(crate) fn caught_up(&self, kind: Kind, key: &ObjectKey) {
        self.ahead.lock().remove(&(kind, key.clone()));
    }

    async fn write(
        &self,
        client: &Client,
        name: &str,
        about: &ObjectReference,
        annotations: &BTreeMap<String, String>,
        event: &Event,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let events: Api<ApiEvent> = Api::namespaced(client.clone(), namespace);
        let known = self.counts.lock().get(name).copied();
        if let Some(n) = known {
            match repeat(&events, name, n + 1, now).await {
                Ok(()) => return self.remember(name, n + 1),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let object = object_of(name, about, annotations, event, now);
        match events.create(&PostParams::default(), &object).await {
            Ok(_) => self.remember(name, 1),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                let n = events.get(name).await?.count.unwrap_or(1).saturating_add(1);
                repeat(&events, name, n, now).await?;
                self.remember(name, n)
            }
            Err(error) => Err(error),
        }
    }

    fn remember(&self, name: &str, n: i32) -> Result<(), kube::Error> {
        let mut counts = self.counts.lock();
        if counts.len() >= COUNTS_MAX {
            counts.clear();
        }
        counts.insert(name.to_owned(), n);
        Ok(())
    }
}

/// Returns the annotations that travel from an object into its events.
pub(crate) fn inherited(
    annotations: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let own = annotations.into_iter().flatten();
    let own = own.filter(|(name, _)| name.starts_with(annotation::EVENT_PREFIX));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

async fn repeat(
    events: &Api<ApiEvent>,
    name: &str,
    n: i32,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let patch = json!({"count": n, "lastTimestamp": Time(now)});
    events.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

fn name_of(about: &ObjectReference, event: &Event) -> String {
    let mut hash = Sha256::new();
    let parts = [
        about.uid.as_deref().unwrap_or_default(),
        event.level.as_str(),
        &event.reason,
        &event.message,
    ];
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}.{hash}", about.name.as_deref().unwrap_or_default())
}

fn object_of(
    name: &str,
    about: &ObjectReference,
    annotations: &BTreeMap<String, String>,
    event: &Event,
    now: Timestamp,
) -> ApiEvent {
    let component = component_of(about);
    ApiEvent {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: about.namespace.clone(),
            annotations: (!annotations.is_empty()).then(|| annotations.clone()),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        type_: Some(event.level.as_str().to_owned()),
        reason: Some(event.reason.clone()),
        message: Some(trimmed(&event.message)),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(String::new()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        ..ApiEvent::default()
    }
}

/// Returns which of Flux's controllers tells of an object of this kind.
fn component_of(about: &ObjectReference) -> &'static str {
    let kind = about.kind.as_deref().and_then(|kind| kind.parse::<Kind>().ok());
    kind.map_or("tagtide", Kind::controller)
}

fn trimmed(message: &str) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX - '…'.len_utf8());
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_ends_between_characters() {
        assert_eq!(trimmed("é"), "é");
        let whole = "é".repeat(MESSAGE_BYTES_MAX / 2);
        assert_eq!(trimmed(&whole), whole);
        for message in [format!("{whole}é"), format!("x{whole}")] {
            let trimmed = trimmed(&message);
            assert!((MESSAGE_BYTES_MAX - 3..=MESSAGE_BYTES_MAX).contains(&trimmed.len()));
            let rest = trimmed.strip_suffix('…').expect("it says that more follows");
            assert!(message.starts_with(rest));
        }
    }
}
