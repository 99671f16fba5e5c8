//! Objects by resource, namespace and name, with a bounded history of their changes.
//!
//! Writes compare and swap: whoever computed a new object from an old one names the old
//! one's revision. Watchers have no queue of their own; each reads the history behind its
//! own position, and one that fell behind what is kept is told so. Memory is the only
//! place for now; a place on disk will take part in `State::record`.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::watch;

use crate::object;

/// Changes that are kept for each resource: enough for a watcher that was away for a
/// moment during a start with a thousand objects, each written a few times.
const HISTORY_MAX: usize = 8192;

/// Namespace and name. The namespace of what has none is empty.
pub(crate) type Key = (String, String);

/// An object at one revision.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    pub(crate) revision: u64,
}

/// A change of an object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    /// The object before; none when it was made.
    pub(crate) old: Option<Arc<Stored>>,
    /// The object after; for a removal, how it was last seen, with the removal's revision.
    pub(crate) new: Arc<Stored>,
    pub(crate) is_removal: bool,
}

/// What a writer computed its object from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Absent,
    Revision(u64),
}

/// The object is no longer, or not yet, what the writer expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// The history no longer reaches back to a watcher's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    /// The oldest position that could be served.
    pub(crate) oldest: u64,
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Stored>>,
    /// The revision that the page shows.
    pub(crate) revision: u64,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Key>,
}

#[derive(Debug)]
pub(crate) struct Store {
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    /// Revision of the last change, of all resources.
    revision: u64,
    kept: HashMap<Arc<str>, Kept>,
}

/// The objects of one resource.
#[derive(Debug)]
struct Kept {
    objects: BTreeMap<Key, Arc<Stored>>,
    history: VecDeque<Change>,
    /// Revision of the last change that the history has forgotten.
    forgotten: u64,
    changed: watch::Sender<u64>,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store { state: RwLock::new(State { revision: 1, kept: HashMap::new() }) }
    }

    pub(crate) fn get(&self, resource: &str, key: &Key) -> Option<Arc<Stored>> {
        self.state.read().kept.get(resource)?.objects.get(key).cloned()
    }

    /// Lists the objects that `select` picks, in the order of their keys, at most `limit` of them.
    pub(crate) fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
        start: Option<&Key>,
        limit: usize,
        select: impl Fn(&Value) -> bool,
    ) -> Page {
        let state = self.state.read();
        let mut page = Page { objects: Vec::new(), revision: state.revision, next: None };
        let Some(kept) = state.kept.get(resource) else {
            return page;
        };
        let start = match (start, namespace) {
            (Some(key), _) => Bound::Included(key.clone()),
            (None, Some(namespace)) => Bound::Included((namespace.to_owned(), String::new())),
            (None, None) => Bound::Unbounded,
        };
        let in_namespace = |key: &Key| namespace.is_none_or(|namespace| key.0 == namespace);
        let objects = kept.objects.range((start, Bound::Unbounded));
        for (key, stored) in objects.take_while(|(key, _)| in_namespace(key)) {
            if !select(&stored.value) {
                continue;
            }
            if page.objects.len() == limit {
                page.next = Some(key.clone());
                break;
            }
            page.objects.push(Arc::clone(stored));
        }
        page
    }

    /// Stores an object and gives it the next revision.
    pub(crate) fn put(
        &self,
        resource: &Arc<str>,
        key: Key,
        expected: Expected,
        value: Value,
    ) -> Result<Arc<Stored>, Conflict> {
        self.state.write().record(resource, key, expected, value, false)
    }

    /// Removes an object, of which `value` is the last that is seen.
    pub(crate) fn remove(
        &self,
        resource: &Arc<str>,
        key: Key,
        expected: u64,
        value: Value,
    ) -> Result<Arc<Stored>, Conflict> {
        self.state.write().record(resource, key, Expected::Revision(expected), value, true)
    }

    /// Returns the revision of the last change.
    pub(crate) fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// Returns what tells that a resource changed.
    pub(crate) fn changes(&self, resource: &Arc<str>) -> watch::Receiver<u64> {
        if let Some(kept) = self.state.read().kept.get(resource) {
            return kept.changed.subscribe();
        }
        self.state.write().kept(resource).changed.subscribe()
    }

    /// Returns up to `limit` changes after a revision.
    pub(crate) fn changes_after(
        &self,
        resource: &str,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<Change>, Expired> {
        let state = self.state.read();
        let Some(kept) = state.kept.get(resource) else {
            return Ok(Vec::new());
        };
        if revision < kept.forgotten {
            return Err(Expired { oldest: kept.forgotten });
        }
        let start = kept.history.partition_point(|change| change.revision <= revision);
        Ok(kept.history.range(start..).take(limit).cloned().collect())
    }
}

impl State {
    fn kept(&mut self, resource: &Arc<str>) -> &mut Kept {
        self.kept.entry(Arc::clone(resource)).or_insert_with(|| Kept {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten: 0,
            changed: watch::Sender::new(0),
        })
    }

    fn record(
        &mut self,
        resource: &Arc<str>,
        key: Key,
        expected: Expected,
        mut value: Value,
        is_removal: bool,
    ) -> Result<Arc<Stored>, Conflict> {
        let revision = self.revision + 1;
        let kept = self.kept(resource);
        let old = kept.objects.get(&key).cloned();
        let is_expected = match (&old, expected) {
            (None, Expected::Absent) => true,
            (Some(old), Expected::Revision(revision)) => old.revision == revision,
            (None, Expected::Revision(_)) | (Some(_), Expected::Absent) => false,
        };
        if !is_expected {
            return Err(Conflict);
        }
        let text = Value::String(revision.to_string());
        object::metadata_mut(&mut value).insert("resourceVersion".to_owned(), text);
        let new = Arc::new(Stored { value, revision });
        if is_removal {
            kept.objects.remove(&key);
        } else {
            kept.objects.insert(key, Arc::clone(&new));
        }
        if kept.history.len() == HISTORY_MAX {
            kept.forgotten = kept.history.pop_front().map_or(0, |change| change.revision);
        }
        kept.history.push_back(Change { revision, old, new: Arc::clone(&new), is_removal });
        self.revision = revision;
        self.kept(resource).changed.send_replace(revision);
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_writer_that_computed_from_something_else_is_refused() {
        let store = Store::new();
        let resource: Arc<str> = "xs".into();
        let key = || ("n".to_owned(), "a".to_owned());
        let put = |expected| store.put(&resource, key(), expected, json!({}));
        let first = put(Expected::Absent).expect("nothing is there").revision;
        assert_eq!(put(Expected::Absent), Err(Conflict));
        let second = put(Expected::Revision(first)).expect("the first is there").revision;
        assert_eq!(put(Expected::Revision(first)), Err(Conflict));
        assert_eq!(store.remove(&resource, key(), first, json!({})), Err(Conflict));
        let removal = store.remove(&resource, key(), second, json!({})).expect("the second is");
        assert!(removal.revision > second && store.get("xs", &key()).is_none());
        let kinds: Vec<bool> = store
            .changes_after("xs", first, 10)
            .expect("the history is short")
            .iter()
            .map(|change| change.is_removal)
            .collect();
        assert_eq!(kinds, [false, true]);
    }

    #[test]
    fn a_position_behind_the_history_is_expired() {
        let store = Store::new();
        let resource: Arc<str> = "xs".into();
        let key = || (String::new(), "a".to_owned());
        let first =
            store.put(&resource, key(), Expected::Absent, json!({})).expect("free").revision;
        let mut last = first;
        for _ in 0..HISTORY_MAX {
            let put = store.put(&resource, key(), Expected::Revision(last), json!({}));
            last = put.expect("computed from the last").revision;
        }
        assert_eq!(store.changes_after("xs", first - 1, 1).err(), Some(Expired { oldest: first }));
        assert_eq!(store.changes_after("xs", first, usize::MAX).map(|c| c.len()), Ok(HISTORY_MAX));
    }
}
