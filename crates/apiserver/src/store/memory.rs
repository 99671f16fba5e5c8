//! All objects in memory: what readers see, what writers have said since, and what was.
//!
//! Readers see the published state. A write joins the queue first and counts for other writers
//! at once; it is published when it is durable, which without a disk is at once. The changes
//! of each resource are remembered within bounds: they feed watches, and undone one by one
//! they show a list as it was at an earlier revision.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    Change, Expected, Expired, Failed, Failure, Key, LIVES, Listing, Record, Refused,
    STORE_BYTES_MAX, StatusKey,
};

/// Changes that are remembered of each resource: enough for a watcher that was away for a
/// moment during a start with a thousand objects, each written a few times.
pub(super) const HISTORY_MAX: usize = 8192;

/// Bytes of superseded objects that are remembered of each resource: a thousand objects of the
/// usual size, each written once. The newest text of an object costs its history nothing.
pub(super) const HISTORY_BYTES_MAX: usize = 2 << 20;

/// Writes of objects that end some time, which are remembered; a flood of them ends the oldest early.
const MORTALS_MAX: usize = 16_384;

/// Objects whose lives one write may end: more than it begins, so that they get fewer.
const ENDS_MAX: usize = 16;

/// Failures of the disk that are remembered for those who wait for their writes; failures in a
/// row are one.
const FAILURES_MAX: usize = 64;

/// What is known of all resources.
#[derive(Debug)]
pub(super) struct State {
    /// Revision of the last published change.
    pub(super) revision: u64,
    /// Revision of the last write, published or not.
    pub(super) tip: u64,
    /// Revision at which this process began: nothing before it is remembered.
    begun: u64,
    kept: HashMap<Arc<str>, Kept>,
    /// Writes that wait to be made durable, in order.
    queue: Queue,
    /// Bytes of writes that are not published.
    pub(super) pending_bytes: usize,
    failures: VecDeque<Failure>,
    /// The last failure, until whoever waits for everything has heard of it.
    untold: Option<Failed>,
    /// Bytes of the published objects.
    pub(super) bytes: usize,
    /// Statuses for objects that do not exist yet.
    pub(super) statuses: Arc<Statuses>,
}

pub(super) type Statuses = BTreeMap<StatusKey, Box<str>>;

/// Writes on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) writes: Vec<Write>,
    /// All statuses, if they are to be replaced.
    pub(super) statuses: Option<Arc<Statuses>>,
}

/// One write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) resource: Arc<str>,
    pub(super) key: Arc<Key>,
    /// The object after; for a removal, how it was last seen.
    pub(super) record: Arc<Record>,
    pub(super) is_removal: bool,
}

/// A place, and what readers see in it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) resource: Arc<str>,
    pub(super) key: Arc<Key>,
    pub(super) record: Option<Arc<Record>>,
}

/// The objects of one resource.
#[derive(Debug)]
struct Kept {
    objects: BTreeMap<Arc<Key>, Arc<Record>>,
    /// The last write of each object that is not published yet.
    pending: BTreeMap<Arc<Key>, Write>,
    history: History,
    changed: watch::Sender<u64>,
    /// How long an object lives after it was last written, if it does not live for ever.
    life: Option<Duration>,
    /// When each write was that an object may end after, in order; what was written again since
    /// stands again further behind.
    written: VecDeque<(Instant, Arc<Key>, u64)>,
}

#[derive(Debug)]
struct History {
    changes: VecDeque<Change>,
    bytes: usize,
    /// Revision of the last change that is forgotten.
    forgotten: u64,
}

/// A part of a list.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) records: Vec<(Arc<Key>, Arc<Record>)>,
    /// How many follow; at least one if they are not to be counted.
    pub(super) n_more: usize,
}

impl State {
    /// Returns a state without objects whose next change gets the revision after this one.
    pub(super) fn new(revision: u64) -> State {
        State {
            revision,
            tip: revision,
            begun: revision,
            kept: HashMap::new(),
            queue: Queue::default(),
            pending_bytes: 0,
            failures: VecDeque::new(),
            untold: None,
            bytes: 0,
            statuses: Arc::default(),
        }
    }

    /// Takes over an object that is on disk.
    pub(super) fn restore(&mut self, resource: &Arc<str>, key: Key, record: Record) {
        self.bytes += record.size();
        let (kept, key) = (self.kept(resource), Arc::new(key));
        if kept.life.is_some() {
            // When it was written is not known any more.
            kept.written.push_back((Instant::now(), Arc::clone(&key), record.revision));
        }
        kept.objects.insert(key, Arc::new(record));
    }

    /// Returns the name of a resource as it is kept.
    pub(super) fn resource(&self, name: &str) -> Arc<str> {
        self.kept.get_key_value(name).map_or_else(|| name.into(), |(kept, _)| Arc::clone(kept))
    }

    /// Returns all published objects.
    pub(super) fn all(&self) -> Vec<Published> {
        let kept = self.kept.iter();
        kept.flat_map(|(resource, kept)| {
            let objects = kept.objects.iter();
            objects.map(|(key, record)| Published {
                resource: Arc::clone(resource),
                key: Arc::clone(key),
                record: Some(Arc::clone(record)),
            })
        })
        .collect()
    }

    /// Returns an object as it is published.
    pub(super) fn get(&self, resource: &str, key: &Key) -> Option<&Arc<Record>> {
        self.kept.get(resource)?.objects.get(key)
    }

    /// Returns an object as the next writer finds it.
    pub(super) fn latest(&self, resource: &str, key: &Key) -> Option<&Arc<Record>> {
        self.kept.get(resource)?.latest(key)
    }

    /// Returns all objects of a resource as the next writer finds them.
    pub(super) fn latest_all(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Record>> {
        let Some(kept) = self.kept.get(resource) else { return Vec::new() };
        let range = (lower(namespace, None), Bound::Unbounded);
        let in_namespace = |key: &Key| namespace.is_none_or(|namespace| key.0 == namespace);
        let mut records: BTreeMap<&Key, &Arc<Record>> =
            kept.objects.range(range.clone()).map(|(key, record)| (&**key, record)).collect();
        for (key, write) in kept.pending.range(range) {
            if write.is_removal {
                records.remove(&**key);
            } else {
                records.insert(key, &write.record);
            }
        }
        let records = records.into_iter().take_while(|(key, _)| in_namespace(key));
        records.map(|(_, record)| Arc::clone(record)).collect()
    }

    /// Adds a write to the queue and returns its revision.
    pub(super) fn record(
        &mut self,
        resource: &Arc<str>,
        key: Key,
        expected: Expected,
        json: Box<str>,
        is_removal: bool,
    ) -> Result<u64, Refused> {
        let revision = self.tip + 1;
        let bytes = self.bytes + self.pending_bytes;
        let kept = self.kept(resource);
        let old = kept.latest(&key);
        let is_expected = match (old, expected) {
            (None, Expected::Absent) => true,
            (Some(old), Expected::Revision(revision)) => old.revision == revision,
            (None, Expected::Revision(_)) | (Some(_), Expected::Absent) => false,
        };
        if !is_expected {
            return Err(Refused::Conflict);
        }
        let record = Arc::new(Record { revision, json });
        let grows = record.size() > old.map_or(0, |old| old.size());
        if grows && !is_removal && bytes + record.size() > STORE_BYTES_MAX {
            return Err(Refused::Full);
        }
        let size = record.size();
        let key = Arc::new(key);
        let write = Write { resource: Arc::clone(resource), key, record, is_removal };
        kept.pending.insert(Arc::clone(&write.key), write.clone());
        if kept.life.is_some() && !is_removal {
            kept.written.push_back((Instant::now(), Arc::clone(&write.key), revision));
        }
        self.pending_bytes += size;
        self.queue.writes.push(write);
        self.tip = revision;
        if !is_removal {
            self.end_lives(resource);
        }
        Ok(revision)
    }

    /// Replaces the statuses that wait for objects.
    pub(super) fn replace_statuses(&mut self, statuses: Statuses) {
        self.statuses = Arc::new(statuses);
        self.queue.statuses = Some(Arc::clone(&self.statuses));
        // So that somebody can wait for it.
        self.tip += 1;
    }

    /// Takes all writes that wait; the last has the tip's revision.
    pub(super) fn take_queue(&mut self) -> Queue {
        std::mem::take(&mut self.queue)
    }

    /// Shows writes to readers, up to and with revision `tip`.
    pub(super) fn publish(&mut self, writes: Vec<Write>, tip: u64) {
        let mut changed: Vec<Arc<str>> = Vec::new();
        for write in writes {
            if !changed.contains(&write.resource) {
                changed.push(Arc::clone(&write.resource));
            }
            self.publish_one(write);
        }
        self.revision = tip;
        for resource in changed {
            self.kept(&resource).changed.send_replace(tip);
        }
    }

    fn publish_one(&mut self, write: Write) {
        let Write { resource, key, record, is_removal } = write;
        self.pending_bytes = self.pending_bytes.saturating_sub(record.size());
        self.forget_status(&resource, &key);
        let kept = self.kept(&resource);
        if kept.pending.get(&key).is_some_and(|last| last.record.revision == record.revision) {
            kept.pending.remove(&key);
        }
        let old = if is_removal {
            kept.objects.remove(&key)
        } else {
            kept.objects.insert(Arc::clone(&key), Arc::clone(&record))
        };
        let (gone, come) = (old.as_ref().map_or(0, |old| old.size()), record.size());
        let revision = record.revision;
        kept.history.push(Change { revision, key, old, new: record, is_removal });
        self.bytes = (self.bytes + if is_removal { 0 } else { come }).saturating_sub(gone);
    }

    /// Forgets all writes that are not published; those who wait for them get the failure.
    pub(super) fn fail(&mut self, error: Failed) {
        self.untold = Some(error.clone());
        let failure = Failure { after: self.revision, up_to: self.tip, error };
        for kept in self.kept.values_mut() {
            kept.pending.clear();
        }
        self.queue = Queue::default();
        self.pending_bytes = 0;
        let is_same = |last: &&mut Failure| last.after == failure.after;
        match self.failures.back_mut().filter(is_same) {
            Some(last) => *last = failure,
            None => self.failures.push_back(failure),
        }
        if self.failures.len() > FAILURES_MAX {
            self.failures.pop_front();
        }
    }

    /// Returns the revision of the last write that has failed.
    pub(super) fn last_failed(&self) -> u64 {
        self.failures.back().map_or(0, |failure| failure.up_to)
    }

    /// Returns the failure that befell a write after one revision and up to another.
    pub(super) fn failure(&self, after: u64, up_to: u64) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.after < up_to && after < failure.up_to)
    }

    /// Returns the last failure, if nobody has taken it yet.
    pub(super) fn take_failure(&mut self) -> Option<Failed> {
        self.untold.take()
    }

    /// Returns what tells that a resource changed.
    pub(super) fn changes(&mut self, resource: &Arc<str>) -> watch::Receiver<u64> {
        self.kept(resource).changed.subscribe()
    }

    /// Returns changes after a revision: up to `limit` of them, and no more after `bytes`.
    pub(super) fn changes_after(
        &self,
        resource: &str,
        revision: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Change>, Expired> {
        let Some(kept) = self.kept.get(resource) else {
            let oldest = self.begun;
            return if revision < oldest { Err(Expired { oldest }) } else { Ok(Vec::new()) };
        };
        let mut size = 0;
        let changes = kept.history.after(revision)?.take(limit).take_while(|change| {
            let is_within = size < bytes;
            size += change.new.json.len();
            is_within
        });
        Ok(changes.cloned().collect())
    }

    /// Returns a part of a list as it was at a revision.
    pub(super) fn slice(&self, resource: &str, listing: &Listing<'_>) -> Result<Slice, Expired> {
        let Some(kept) = self.kept.get(resource) else {
            let oldest = self.begun;
            let is_known = listing.at >= oldest;
            return if is_known { Ok(Slice::default()) } else { Err(Expired { oldest }) };
        };
        // What each object was that has changed since.
        let mut before: BTreeMap<&Key, Option<&Arc<Record>>> = BTreeMap::new();
        for change in kept.history.after(listing.at)? {
            before.entry(&change.key).or_insert(change.old.as_ref());
        }
        let range = (lower(listing.namespace, listing.start), Bound::Unbounded);
        let in_namespace = |key: &Key| listing.namespace.is_none_or(|namespace| key.0 == namespace);
        let unchanged = kept
            .objects
            .range(range.clone())
            .take_while(|(key, _)| in_namespace(key))
            .filter(|(key, _)| !before.contains_key(&***key));
        let restored = before
            .range::<Key, _>(range)
            .take_while(|(key, _)| in_namespace(key))
            .filter_map(|(key, record)| Some((*key, (*record)?)));
        Ok(merge(unchanged, restored, listing))
    }

    fn kept(&mut self, resource: &Arc<str>) -> &mut Kept {
        let forgotten = self.begun;
        self.kept.entry(Arc::clone(resource)).or_insert_with(|| Kept {
            objects: BTreeMap::new(),
            pending: BTreeMap::new(),
            history: History { changes: VecDeque::new(), bytes: 0, forgotten },
            changed: watch::Sender::new(0),
            life: LIVES.iter().find(|(name, _)| *name == &**resource).map(|(_, life)| *life),
            written: VecDeque::new(),
        })
    }

    /// Ends the lives of objects of a resource that were not written for long.
    fn end_lives(&mut self, resource: &Arc<str>) {
        for _ in 0..ENDS_MAX {
            let kept = self.kept(resource);
            let Some(life) = kept.life else { return };
            let is_over = kept.written.front().is_some_and(|(written, ..)| {
                written.elapsed() >= life || kept.written.len() > MORTALS_MAX
            });
            if !is_over {
                return;
            }
            let Some((_, key, revision)) = kept.written.pop_front() else { return };
            let Some(last) = kept.latest(&key).filter(|last| last.revision == revision) else {
                continue;
            };
            let (key, json) = ((*key).clone(), last.json.clone());
            // It is as it was looked at: nobody else is here.
            let _ = self.record(resource, key, Expected::Revision(revision), json, true);
        }
    }

    /// Forgets the status that waited for an object.
    fn forget_status(&mut self, resource: &str, key: &Key) {
        if self.statuses.is_empty() {
            return;
        }
        let key = (resource.to_owned(), key.0.clone(), key.1.clone());
        if self.statuses.contains_key(&key) {
            Arc::make_mut(&mut self.statuses).remove(&key);
        }
    }
}

impl Kept {
    fn latest(&self, key: &Key) -> Option<&Arc<Record>> {
        match self.pending.get(key) {
            Some(write) if write.is_removal => None,
            Some(write) => Some(&write.record),
            None => self.objects.get(key),
        }
    }
}

impl History {
    fn push(&mut self, change: Change) {
        self.bytes += change.cost();
        self.changes.push_back(change);
        while self.changes.len() > HISTORY_MAX || self.bytes > HISTORY_BYTES_MAX {
            let Some(change) = self.changes.pop_front() else { return };
            self.bytes -= change.cost();
            self.forgotten = change.revision;
        }
    }

    fn after(&self, revision: u64) -> Result<impl Iterator<Item = &Change>, Expired> {
        if revision < self.forgotten {
            return Err(Expired { oldest: self.forgotten });
        }
        let start = self.changes.partition_point(|change| change.revision <= revision);
        Ok(self.changes.range(start..))
    }
}

impl Change {
    /// Bytes that only the history holds.
    fn cost(&self) -> usize {
        let removed = if self.is_removal { self.new.size() } else { 0 };
        self.old.as_ref().map_or(0, |old| old.size()) + removed
    }
}

/// Returns where a list of a namespace begins.
fn lower(namespace: Option<&str>, start: Option<&Key>) -> Bound<Key> {
    match (start, namespace) {
        (Some(key), _) => Bound::Included(key.clone()),
        (None, Some(namespace)) => Bound::Included((namespace.to_owned(), String::new())),
        (None, None) => Bound::Unbounded,
    }
}

/// Merges what stands and what stood, both in order and without a key in common.
fn merge<'a>(
    unchanged: impl Iterator<Item = (&'a Arc<Key>, &'a Arc<Record>)>,
    restored: impl Iterator<Item = (&'a Key, &'a Arc<Record>)>,
    listing: &Listing<'_>,
) -> Slice {
    let (mut unchanged, mut restored) = (unchanged.peekable(), restored.peekable());
    let mut slice = Slice::default();
    let mut bytes = 0;
    loop {
        let takes_restored = match (unchanged.peek(), restored.peek()) {
            (None, None) => return slice,
            (Some((left, _)), Some((right, _))) => ***left > **right,
            (left, _) => left.is_none(),
        };
        let next = if takes_restored {
            restored.next().map(|(key, record)| (Arc::new(key.clone()), record))
        } else {
            unchanged.next().map(|(key, record)| (Arc::clone(key), record))
        };
        let Some((key, record)) = next else { return slice };
        if slice.records.len() < listing.limit && bytes < listing.bytes {
            bytes += record.json.len();
            slice.records.push((key, Arc::clone(record)));
        } else {
            slice.n_more += 1;
            if !listing.counts_rest {
                return slice;
            }
        }
    }
}
