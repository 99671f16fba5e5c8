//! The store as its users see it.

use std::sync::Arc;

use serde_json::json;

use super::{memory::HISTORY_MAX, *};

mod damage;
mod faults;
mod history;

/// Everything that a store serves.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    revision: u64,
    /// Resource, key, revision and text.
    objects: Vec<(String, Key, u64, String)>,
}

fn content(store: &Store) -> Content {
    let state = store.shared.state.read();
    let mut objects: Vec<(String, Key, u64, String)> = state
        .all()
        .into_iter()
        .filter_map(|published| {
            let record = published.record?;
            let (resource, key) = (published.resource.to_string(), (*published.key).clone());
            Some((resource, key, record.revision, record.json.to_string()))
        })
        .collect();
    objects.sort();
    Content { revision: state.revision, objects }
}

fn key(name: &str) -> Key {
    ("n".to_owned(), name.to_owned())
}

#[test]
fn a_writer_that_computed_from_something_else_is_refused() {
    let store = Store::in_memory();
    let resource: Arc<str> = "xs".into();
    let key = || ("n".to_owned(), "a".to_owned());
    let put = |expected| store.put(&resource, key(), expected, json!({}));
    let first = put(Expected::Absent).expect("nothing is there").revision;
    assert_eq!(put(Expected::Absent), Err(Refused::Conflict));
    let second = put(Expected::Revision(first)).expect("the first is there").revision;
    assert_eq!(put(Expected::Revision(first)), Err(Refused::Conflict));
    assert_eq!(store.remove(&resource, key(), first, json!({})), Err(Refused::Conflict));
    let removal = store.remove(&resource, key(), second, json!({})).expect("the second is");
    assert!(removal.revision > second && store.get("xs", &key()).is_none());
    let kinds: Vec<bool> = store
        .changes_after("xs", first, 10, usize::MAX)
        .expect("the history is short")
        .iter()
        .map(|change| change.is_removal)
        .collect();
    assert_eq!(kinds, [false, true]);
}

#[test]
fn a_position_behind_the_history_is_expired() {
    let store = Store::in_memory();
    let resource: Arc<str> = "xs".into();
    let key = || (String::new(), "a".to_owned());
    let first = store.put(&resource, key(), Expected::Absent, json!({})).expect("free").revision;
    let mut last = first;
    for _ in 0..HISTORY_MAX {
        let put = store.put(&resource, key(), Expected::Revision(last), json!({}));
        last = put.expect("computed from the last").revision;
    }
    let after = |revision| store.changes_after("xs", revision, usize::MAX, usize::MAX);
    assert_eq!(after(first - 1).err(), Some(Expired { oldest: first }));
    assert_eq!(after(first).map(|changes| changes.len()), Ok(HISTORY_MAX));
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("objects.redb");
    let resource: Arc<str> = "xs".into();
    let revision = {
        let store = Store::open(&path).expect("a new file");
        let mark = store.mark();
        let a = store.put(&resource, key("a"), Expected::Absent, json!({"x": 1})).expect("free");
        store.put(&resource, key("b"), Expected::Absent, json!({"x": 2})).expect("free");
        assert_eq!(store.latest("xs", &key("a")).as_ref(), Some(&a));
        store.settled(mark).await.expect("the disk takes it");
        assert_eq!(store.get("xs", &key("a")), Some(a));
        let mark = store.mark();
        let b = store.latest("xs", &key("b")).expect("it is there");
        store.remove(&resource, key("b"), b.revision, b.value).expect("as it is");
        store.settled(mark).await.expect("the disk takes it");
        assert_eq!(store.get("xs", &key("b")), None);
        store.revision()
    };
    let store = Store::open(&path).expect("the same file");
    assert_eq!(store.revision(), revision);
    assert_eq!(store.get("xs", &key("a")).expect("it is kept").value["x"], 1);
    assert_eq!(store.get("xs", &key("b")), None);
    let before = store.changes_after("xs", revision - 1, 1, usize::MAX);
    assert_eq!(before.err(), Some(Expired { oldest: revision }));
    assert!(matches!(Store::open(&path), Err(OpenError::InUse { .. })));
}
