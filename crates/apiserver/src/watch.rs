//! Watches: the changes of a resource as they happen.
//!
//! A watcher holds nothing but its place. It reads the store when its connection takes more,
//! so that one that does not read costs no memory and keeps nobody waiting; when it reads
//! again and its place is forgotten, it is told so and cut off.

use std::{sync::Arc, time::Duration};

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
    store::{Change, Expired, Key, Listing, Record},
};

/// Changes that are written in one piece: a slow reader makes the server hold no more than this.
const CHUNK_MAX: usize = 256;

/// Bytes after which a piece gets no further change.
const CHUNK_BYTES_MAX: usize = 256 << 10;

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
    /// Where the objects begin that were there at the start and are still to be told.
    initial: Option<Key>,
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
    read::check_watch(query)?;
    let sends_initial = query.flag("sendInitialEvents");
    // Subscribed before anything is read, so that no change falls between.
    let changed = api.store.changes(&resource.id);
    let asked = query.revision().map_err(Status::unexplained)?;
    let current = api.store.revision();
    if asked > current {
        // A position of another server, or of an earlier life of this one.
        return Err(Status::expired(format!("unknown resource version: {asked} ({current})")));
    }
    let starts_over = asked == 0 || sends_initial;
    let initial = (starts_over && query.text("sendInitialEvents") != "false")
        .then(|| (namespace.clone().unwrap_or_default(), String::new()));
    let position = if starts_over { current } else { asked };
    let now = Instant::now();
    let watcher = Watcher {
        api,
        resource,
        form,
        namespace,
        selector,
        initial,
        marks_initial_end: sends_initial && query.flag("allowWatchBookmarks"),
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
        let mut lines = String::new();
        while lines.is_empty() {
            if self.is_over {
                return None;
            }
            self.changed.borrow_and_update();
            let told = match self.initial.take() {
                Some(start) => self.initial_lines(&start),
                None => self.change_lines(),
            };
            lines = match told {
                Err(expired) => {
                    let (position, oldest) = (self.position, expired.oldest);
                    let message = format!("too old resource version: {position} ({oldest})");
                    self.is_over = true;
                    line("ERROR", &json!(Status::expired(message)))
                }
                Ok(None) => self.wait().await,
                Ok(Some(lines)) => lines,
            };
        }
        Some(lines)
    }

    /// Returns the lines for objects that were there at the start.
    fn initial_lines(&mut self, start: &Key) -> Result<Option<String>, Expired> {
        let listing = Listing {
            namespace: self.namespace.as_deref(),
            start: Some(start),
            at: self.position,
            limit: CHUNK_MAX,
            bytes: CHUNK_BYTES_MAX,
            counts_rest: false,
        };
        let page = self.api.store.list(&self.resource.id, &listing, None)?;
        let mut lines = String::new();
        for stored in &page.objects {
            if self.selector.matches(&stored.value) {
                lines.push_str(&self.line("ADDED", &stored.value));
            }
        }
        self.initial = page.next;
        if self.marks_initial_end && self.initial.is_none() {
            self.marks_initial_end = false;
            lines.push_str(&self.bookmark(json!({"k8s.io/initial-events-end": "true"})));
        }
        Ok(Some(lines))
    }

    /// Returns the lines for the next changes, or `None` if there are no changes.
    fn change_lines(&mut self) -> Result<Option<String>, Expired> {
        let current = self.api.store.revision();
        let (id, position) = (&self.resource.id, self.position);
        let changes = self.api.store.changes_after(id, position, CHUNK_MAX, CHUNK_BYTES_MAX)?;
        let Some(last) = changes.last() else {
            self.position = position.max(current);
            return Ok(None);
        };
        self.position = last.revision;
        Ok(Some(changes.iter().filter_map(|change| self.tell(change)).collect()))
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
        if self.namespace.as_deref().is_some_and(|own| own != change.key.0) {
            return None;
        }
        let new = change.new.decode().value;
        let is_seen = !change.is_removal && self.selector.matches(&new);
        let was_seen = change.old.as_deref().is_some_and(|old| self.saw(old));
        let type_ = match (was_seen, is_seen) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(self.line(type_, &new))
    }

    fn saw(&self, old: &Record) -> bool {
        self.selector.is_empty() || self.selector.matches(&old.decode().value)
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
