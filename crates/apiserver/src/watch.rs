//! Watches: the changes of a resource as they happen.

use std::{sync::Arc, time::Duration, vec};

use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{
    form::Form,
    query::Query,
    read,
    resource::Resource,
    selector::Selector,
    server::Api,
    status::Status,
    store::{Change, Stored},
};

/// Changes that are written in one piece: a slow reader makes the server hold no more than this.
const CHUNK_MAX: usize = 256;

/// Time between bookmarks, as in Kubernetes.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// Time after which a watch ends unless the client asks for another.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// The longest time that a client may ask for.
const TIMEOUT_MAX: u64 = 24 * 3600;

/// One client's place in the history of a resource.
struct Watcher {
    api: Arc<Api>,
    resource: Arc<Resource>,
    form: Form,
    namespace: Option<String>,
    selector: Arc<Selector>,
    /// Objects that were there at the start and are still to be told.
    initial: vec::IntoIter<Arc<Stored>>,
    /// Whether a bookmark is to tell the end of the initial objects.
    marks_initial_end: bool,
    /// Revision up to which all changes were told.
    position: u64,
    changed: watch::Receiver<u64>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    is_over: bool,
}

/// Starts a watch; its items are lines of JSON.
pub(crate) fn watch(
    api: Arc<Api>,
    resource: Arc<Resource>,
    form: Form,
    namespace: Option<String>,
    query: &Query,
) -> Result<impl Stream<Item = Result<Bytes, std::convert::Infallible>> + use<>, Status> {
    let selector = read::selector(&resource, query)?;
    let timeout = match query.number("timeoutSeconds")? {
        None | Some(0) => TIMEOUT_DEFAULT,
        Some(seconds) => Duration::from_secs(seconds.min(TIMEOUT_MAX)),
    };
    let sends_initial = query.flag("sendInitialEvents");
    if sends_initial && query.text("resourceVersionMatch") != "NotOlderThan" {
        let message = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Status::bad_request(message));
    }
    // Subscribed before anything is read, so that no change falls between.
    let changed = api.store.changes(&resource.id);
    let position = query.number("resourceVersion")?.unwrap_or_default();
    let (initial, position) = if sends_initial || position == 0 {
        let page = api.store.list(&resource.id, namespace.as_deref(), None, usize::MAX, |object| {
            selector.matches(object)
        });
        (page.objects, page.revision)
    } else if position > api.store.revision() {
        // A position of another server, or of an earlier life of this one.
        let current = api.store.revision();
        return Err(Status::expired(format!("unknown resource version: {position} ({current})")));
    } else {
        (Vec::new(), position)
    };
    let now = Instant::now();
    let watcher = Watcher {
        api,
        resource,
        form,
        namespace,
        selector,
        initial: initial.into_iter(),
        marks_initial_end: sends_initial,
        position,
        changed,
        bookmarks: query.flag("allowWatchBookmarks"),
        next_bookmark: now + BOOKMARK_INTERVAL,
        end: now + timeout,
        is_over: false,
    };
    Ok(futures::stream::unfold(watcher, |mut watcher| async move {
        let chunk = watcher.next().await?;
        Some((Ok(Bytes::from(chunk)), watcher))
    }))
}

impl Watcher {
    /// Returns the next lines, or `None` at the end.
    async fn next(&mut self) -> Option<String> {
        let mut lines = self.initial_lines();
        while lines.is_empty() {
            if self.is_over {
                return None;
            }
            self.changed.borrow_and_update();
            let current = self.api.store.revision();
            let id = &self.resource.id;
            match self.api.store.changes_after(id, self.position, CHUNK_MAX) {
                Err(expired) => {
                    let (position, oldest) = (self.position, expired.oldest);
                    let message = format!("too old resource version: {position} ({oldest})");
                    lines = line("ERROR", &json!(Status::expired(message)));
                    self.is_over = true;
                }
                Ok(changes) if changes.is_empty() => {
                    self.position = self.position.max(current);
                    lines = self.wait().await;
                }
                Ok(changes) => {
                    self.position = changes.last().map_or(self.position, |c| c.revision);
                    lines = changes.iter().filter_map(|change| self.tell(change)).collect();
                }
            }
        }
        Some(lines)
    }

    fn initial_lines(&mut self) -> String {
        let mut lines = String::new();
        let initial: Vec<Arc<Stored>> = self.initial.by_ref().take(CHUNK_MAX).collect();
        for stored in initial {
            lines.push_str(&self.line("ADDED", &stored.value));
        }
        if self.marks_initial_end && self.initial.len() == 0 {
            self.marks_initial_end = false;
            lines.push_str(&self.bookmark(json!({"k8s.io/initial-events-end": "true"})));
        }
        lines
    }

    /// Waits for a change, a bookmark's time or the end; returns the lines that time brings.
    async fn wait(&mut self) -> String {
        let wake = if self.bookmarks { self.end.min(self.next_bookmark) } else { self.end };
        tokio::select! {
            changed = self.changed.changed() => {
                // The sender lives as long as the store.
                self.is_over = changed.is_err();
                return String::new();
            }
            () = tokio::time::sleep_until(wake) => {}
        }
        self.is_over = Instant::now() >= self.end;
        if !self.bookmarks {
            return String::new();
        }
        self.next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
        self.bookmark(json!({}))
    }

    /// Returns the line for a change, if this watch sees it.
    fn tell(&mut self, change: &Change) -> Option<String> {
        let sees = |stored: &Stored| {
            let namespace = crate::object::namespace(&stored.value);
            self.namespace.as_deref().is_none_or(|own| own == namespace)
                && self.selector.matches(&stored.value)
        };
        let saw = change.old.as_deref().is_some_and(sees);
        let type_ = match (saw, !change.is_removal && sees(&change.new)) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(self.line(type_, &change.new.value))
    }

    /// Returns the line for an object, in the form that was asked for.
    fn line(&mut self, type_: &str, stored: &Value) -> String {
        let object = self.resource.present(stored);
        let shown = self.form.object(&self.resource, object, self.api.now());
        self.form = self.form.without_head();
        line(type_, &shown)
    }

    fn bookmark(&self, annotations: Value) -> String {
        let metadata = json!({
            "resourceVersion": self.position.to_string(),
            "annotations": annotations,
        });
        line("BOOKMARK", &self.form.bookmark(&self.resource, metadata))
    }
}

fn line(type_: &str, object: &Value) -> String {
    format!("{{\"type\":\"{type_}\",\"object\":{object}}}\n")
}
