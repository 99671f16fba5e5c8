//! Objects by resource, namespace and name, with a bounded history of their changes.
//!
//! Writes compare and swap: whoever computed a new object from an old one names the old
//! one's revision. A write is accepted at once and counts for the writers after it, but readers
//! see it, and whoever asked for it is answered, only when it is durable. One thread writes
//! all that has gathered in one transaction, so that many writers share one wait for the disk;
//! without a disk, a write is published as it comes.
//!
//! All objects are in memory as texts: reading touches no disk and goes on when the disk fails.
//! The history is in memory alone, so that after a restart whoever watched begins anew.
//!
//! Watchers have no queue of their own; each reads the history behind its own position, and
//! one that fell behind what is remembered is told so. A slow one costs no memory.

use std::{io, path::Path, sync::Arc, sync::mpsc, thread, time::Duration};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use serde_json::Value;
use tokio::sync::watch;

mod disk;
mod memory;
mod record;
mod writer;

pub(crate) use disk::move_aside;
pub use disk::{Damage, Door, OnDamage, OpenError};
pub(crate) use record::{Record, Stored};

use memory::{State, Statuses};

/// Bytes of all objects together: what a machine of the smallest size can hold beside its work.
const STORE_BYTES_MAX: usize = 512 << 20;

/// Bytes of writes that wait for the disk, above which new ones are not begun.
const PENDING_BYTES_MAX: usize = 32 << 20;

/// Resources whose objects end some time after they were last written, as events do in Kubernetes.
const LIVES: [(&str, Duration); 1] = [("events.", Duration::from_secs(3600))];

/// Namespace and name. The namespace of what has none is empty.
pub(crate) type Key = (String, String);

/// Resource, namespace and name of an object whose status is kept.
pub type StatusKey = (String, String, String);

/// A change of an object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) key: Arc<Key>,
    /// The object before; none when it was made.
    pub(crate) old: Option<Arc<Record>>,
    /// The object after; for a removal, how it was last seen, with the removal's revision.
    pub(crate) new: Arc<Record>,
    pub(crate) is_removal: bool,
}

/// What a writer computed its object from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Absent,
    Revision(u64),
}

/// Why a write is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The object is no longer, or not yet, what the writer expected.
    Conflict,
    /// The object could not be read back.
    TooDeep,
    /// The objects take all the memory that they may.
    Full,
}

/// The history does not reach back to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    /// The oldest revision that could be served.
    pub(crate) oldest: u64,
}

/// Why writes that had been accepted did not become durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Whether the disk has no space left.
    pub(crate) is_full: bool,
    pub(crate) message: Arc<str>,
}

/// All writes after one revision and up to another have failed.
#[derive(Clone, Debug)]
struct Failure {
    after: u64,
    up_to: u64,
    error: Failed,
}

/// Which objects to list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing<'a> {
    pub(crate) namespace: Option<&'a str>,
    /// The first object that may be in the list.
    pub(crate) start: Option<&'a Key>,
    /// The revision that the list shows.
    pub(crate) at: u64,
    /// Objects at most.
    pub(crate) limit: usize,
    /// No further object is added when there are as many bytes.
    pub(crate) bytes: usize,
    /// Whether the objects after the last are counted.
    pub(crate) counts_rest: bool,
}

/// Objects of a list, in the order of their keys.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Stored>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Key>,
    /// How many objects follow, if the list has no selector.
    pub(crate) n_more: Option<usize>,
}

/// A place in the sequence of writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u64);

#[derive(Debug)]
pub(crate) struct Store {
    shared: Arc<Shared>,
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Shared {
    /// Held for reading while a request writes, and for writing while the disk's thread takes
    /// what was written: the writes of one request are never torn apart.
    requests: RwLock<()>,
    state: RwLock<State>,
    /// Revision up to which all writes are durable or have failed.
    settled: watch::Sender<u64>,
}

/// Who writes to the disk.
#[derive(Debug)]
enum Writer {
    /// A thread of its own.
    Thread {
        /// Rings when there is something to write; gone when there will be no more.
        bell: Option<mpsc::SyncSender<()>>,
        thread: Option<thread::JoinHandle<()>>,
    },
    /// Whoever waits for what was written.
    Waiter(Mutex<disk::Disk>),
}

impl Shared {
    fn new(state: State) -> Arc<Shared> {
        let settled = watch::Sender::new(state.revision);
        Arc::new(Shared { requests: RwLock::new(()), state: RwLock::new(state), settled })
    }
}

impl Store {
    /// Returns an empty store that is gone with the process.
    pub(crate) fn in_memory() -> Store {
        Store { shared: Shared::new(State::new(1)), writer: None }
    }

    /// Opens the store in a file, which is made if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Store, OpenError> {
        Store::open_through(path, disk::file_door())
    }

    /// Opens a store whose file is read and written by what `door` returns.
    fn open_through(path: &Path, door: Door) -> Result<Store, OpenError> {
        let (disk, state) = disk::Disk::open(path, door)?;
        let shared = Shared::new(state);
        let writer = writer::start(disk, Arc::clone(&shared)).map_err(|source| {
            let path = path.to_owned();
            OpenError::Io { path, source }
        })?;
        Ok(Store { shared, writer: Some(writer) })
    }

    /// As [`Store::open_through`], without a thread: whoever waits for a write does it.
    pub(crate) fn open_unthreaded(path: &Path, door: Door) -> Result<Store, OpenError> {
        let (disk, state) = disk::Disk::open(path, door)?;
        let writer = Writer::Waiter(Mutex::new(disk));
        Ok(Store { shared: Shared::new(state), writer: Some(writer) })
    }

    /// Begins a request: all that is accepted while the guard is held becomes durable together.
    pub(crate) fn request(&self) -> RwLockReadGuard<'_, ()> {
        // A request within a request is part of it.
        self.shared.requests.read_recursive()
    }

    /// Returns an object as readers see it.
    pub(crate) fn get(&self, resource: &str, key: &Key) -> Option<Stored> {
        let record = self.shared.state.read().get(resource, key).cloned();
        record.map(|record| record.decode())
    }

    /// Returns an object as the next writer finds it: it may not be durable yet.
    pub(crate) fn latest(&self, resource: &str, key: &Key) -> Option<Stored> {
        let record = self.shared.state.read().latest(resource, key).cloned();
        record.map(|record| record.decode())
    }

    /// Returns the objects of a resource, or of one of its namespaces, as the next writer finds them.
    pub(crate) fn latest_all(&self, resource: &str, namespace: Option<&str>) -> Vec<Stored> {
        let records = self.shared.state.read().latest_all(resource, namespace);
        records.iter().map(|record| record.decode()).collect()
    }

    /// Returns whether the next writer finds any object of a resource, or of one of its namespaces.
    pub(crate) fn has_any(&self, resource: &str, namespace: Option<&str>) -> bool {
        !self.shared.state.read().latest_all(resource, namespace).is_empty()
    }

    /// Lists objects as they were at a revision; with `select`, those that it picks.
    pub(crate) fn list(
        &self,
        resource: &str,
        listing: &Listing<'_>,
        select: Option<&dyn Fn(&Value) -> bool>,
    ) -> Result<Page, Expired> {
        let Some(select) = select else {
            let slice = self.shared.state.read().slice(resource, listing)?;
            let next = (slice.n_more > 0).then(|| slice.records.last()).flatten();
            return Ok(Page {
                next: next.map(|(key, _)| following(key)),
                objects: slice.records.iter().map(|(_, record)| record.decode()).collect(),
                n_more: Some(slice.n_more),
            });
        };
        // Reading them takes time, which must not be a writer's.
        let all = Listing { limit: usize::MAX, bytes: usize::MAX, ..*listing };
        let slice = self.shared.state.read().slice(resource, &all)?;
        let mut page = Page { objects: Vec::new(), next: None, n_more: None };
        let mut bytes = 0;
        for (key, record) in slice.records {
            let stored = record.decode();
            if !select(&stored.value) {
                continue;
            }
            if page.objects.len() == listing.limit || bytes >= listing.bytes {
                page.next = Some((*key).clone());
                break;
            }
            bytes += record.json.len();
            page.objects.push(stored);
        }
        Ok(page)
    }

    /// Accepts an object and gives it the next revision.
    pub(crate) fn put(
        &self,
        resource: &Arc<str>,
        key: Key,
        expected: Expected,
        value: Value,
    ) -> Result<Stored, Refused> {
        self.record(resource, key, expected, value, false)
    }

    /// Accepts the removal of an object, of which `value` is the last that is seen.
    pub(crate) fn remove(
        &self,
        resource: &Arc<str>,
        key: Key,
        expected: u64,
        value: Value,
    ) -> Result<Stored, Refused> {
        self.record(resource, key, Expected::Revision(expected), value, true)
    }

    fn record(
        &self,
        resource: &Arc<str>,
        key: Key,
        expected: Expected,
        mut value: Value,
        is_removal: bool,
    ) -> Result<Stored, Refused> {
        let json = record::encode(&mut value).ok_or(Refused::TooDeep)?;
        let mut state = self.shared.state.write();
        let revision = state.record(resource, key, expected, json, is_removal)?;
        self.accepted(&mut state);
        Ok(Stored::new(value, revision))
    }

    /// Sees to what has been accepted.
    fn accepted(&self, state: &mut State) {
        let Some(writer) = &self.writer else {
            let (queue, tip) = (state.take_queue(), state.tip);
            state.publish(queue.writes, tip);
            self.shared.settled.send_replace(tip);
            return;
        };
        if let Writer::Thread { bell: Some(bell), .. } = writer {
            // A bell that has not been heard yet rings for this write too.
            let _ = bell.try_send(());
        }
    }

    /// Returns the revision of the last change that readers see.
    pub(crate) fn revision(&self) -> u64 {
        self.shared.state.read().revision
    }

    /// Returns the status that was kept for an object that does not exist yet.
    pub(crate) fn waiting_status(&self, resource: &str, kind: &str, key: &Key) -> Option<Value> {
        let state = self.shared.state.read();
        let text = [resource, kind].into_iter().find_map(|resource| {
            state.statuses.get(&(resource.to_owned(), key.0.clone(), key.1.clone()))
        })?;
        serde_json::from_str(text).ok()
    }

    /// Keeps the statuses of these objects, all or none, and forgets all others that were kept.
    ///
    /// An object that exists gets its status; the others' wait until they are made.
    pub(crate) fn keep_statuses(&self, statuses: impl Iterator<Item = (StatusKey, Value)>) {
        let mut waiting = Statuses::new();
        let mut state = self.shared.state.write();
        for ((resource, namespace, name), status) in statuses {
            let key = (namespace, name);
            let Some(old) = state.latest(&resource, &key).map(|record| record.decode()) else {
                waiting.insert((resource, key.0, key.1), status.to_string().into_boxed_str());
                continue;
            };
            let mut value = old.value;
            crate::object::set_field(&mut value, "status", Some(status));
            if let Some(json) = record::encode(&mut value) {
                let expected = Expected::Revision(old.revision);
                // It is as it was read: the state is locked. What is too large keeps its old one.
                let _ = state.record(&resource.into(), key, expected, json, false);
            }
        }
        state.replace_statuses(waiting);
        self.accepted(&mut state);
    }

    /// Returns the place from which on nothing is known to be durable.
    pub(crate) fn mark(&self) -> Mark {
        let state = self.shared.state.read();
        Mark(state.revision.max(state.last_failed()))
    }

    /// Waits until all that was accepted since `mark` is durable.
    ///
    /// If the disk fails meanwhile, it is an error even if it was others' writes that were lost.
    pub(crate) async fn settled(&self, mark: Mark) -> Result<(), Failed> {
        self.write();
        let tip = self.shared.state.read().tip;
        let mut settled = self.shared.settled.subscribe();
        // The sender lives as long as this store.
        let _ = settled.wait_for(|settled| *settled >= tip).await;
        match self.shared.state.read().failure(mark.0, tip) {
            None => Ok(()),
            Some(failure) => Err(failure.error.clone()),
        }
    }

    /// Waits until all that was accepted is durable or has failed; tells a failure once.
    pub(crate) async fn settled_all(&self) -> Result<(), Failed> {
        self.write();
        let tip = self.shared.state.read().tip;
        let mut settled = self.shared.settled.subscribe();
        let _ = settled.wait_for(|settled| *settled >= tip).await;
        self.shared.state.write().take_failure().map_or(Ok(()), Err)
    }

    /// Writes what was accepted, if no thread does.
    fn write(&self) {
        if let Some(Writer::Waiter(disk)) = &self.writer {
            writer::write(&mut disk.lock(), &self.shared);
        }
    }

    /// Waits until there is room for another write.
    pub(crate) async fn room(&self) {
        self.write();
        let mut settled = self.shared.settled.subscribe();
        while self.shared.state.read().pending_bytes > PENDING_BYTES_MAX {
            let _ = settled.changed().await;
        }
    }

    /// Returns what tells that a resource changed.
    pub(crate) fn changes(&self, resource: &Arc<str>) -> watch::Receiver<u64> {
        self.shared.state.write().changes(resource)
    }

    /// Returns changes after a revision: up to `limit` of them, and no more after `bytes`.
    pub(crate) fn changes_after(
        &self,
        resource: &str,
        revision: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Change>, Expired> {
        self.shared.state.read().changes_after(resource, revision, limit, bytes)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.write();
        let Some(Writer::Thread { bell, thread }) = &mut self.writer else { return };
        *bell = None;
        if let Some(thread) = thread.take() {
            // What has been accepted is written still; a panic has been told by the thread.
            let _ = thread.join();
        }
    }
}

impl Failed {
    fn new(error: &(dyn std::error::Error + 'static)) -> Failed {
        let mut message = "cannot write the objects".to_owned();
        let mut is_full = false;
        let mut next = Some(error);
        while let Some(error) = next {
            message = format!("{message}: {error}");
            let kind = match error.downcast_ref::<redb::Error>() {
                Some(redb::Error::Io(error)) => Some(error.kind()),
                _ => error.downcast_ref::<io::Error>().map(io::Error::kind),
            };
            is_full |=
                matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
            next = error.source();
        }
        Failed { is_full, message: message.into() }
    }
}

/// Returns the least key after this one.
fn following(key: &Key) -> Key {
    (key.0.clone(), format!("{}\0", key.1))
}

#[cfg(test)]
mod tests;
