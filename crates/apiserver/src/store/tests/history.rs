//! The past, as far as it is remembered.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::{super::*, memory::HISTORY_BYTES_MAX};

const ALL: Listing<'static> = Listing {
    namespace: None,
    start: None,
    at: 0,
    limit: usize::MAX,
    bytes: usize::MAX,
    counts_rest: true,
};

/// A generator of numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

/// Lists in pages of every size, at every revision, against copies that were made then.
#[test]
fn a_list_shows_what_was_there_at_its_revision() {
    let store = Store::in_memory();
    let resource: Arc<str> = "xs".into();
    let mut random = Random(7);
    let mut now: BTreeMap<Key, u64> = BTreeMap::new();
    let mut then = vec![(store.revision(), now.clone())];
    for n in 0..400 {
        let key = (format!("n{}", random.below(3)), format!("{}", random.below(12)));
        let value = json!({"n": n});
        match now.get(&key).copied() {
            Some(old) if random.below(3) == 0 => {
                store.remove(&resource, key.clone(), old, value).expect("as it is");
                now.remove(&key);
            }
            old => {
                let expected = old.map_or(Expected::Absent, Expected::Revision);
                let put = store.put(&resource, key.clone(), expected, value).expect("as it is");
                now.insert(key, put.revision);
            }
        }
        then.push((store.revision(), now.clone()));
    }
    for (at, expected) in &then {
        let namespace = ["n0", "n1", "n2"].get(usize::try_from(random.below(4)).expect("small"));
        let limit = usize::try_from(1 + random.below(9)).expect("small");
        let expected: BTreeMap<&Key, u64> = expected
            .iter()
            .filter(|(key, _)| namespace.is_none_or(|namespace| key.0 == *namespace))
            .map(|(key, revision)| (key, *revision))
            .collect();
        let mut start = None;
        let mut found = Vec::new();
        loop {
            let listing = Listing {
                namespace: namespace.copied(),
                start: start.as_ref(),
                at: *at,
                limit,
                ..ALL
            };
            let page = store.list("xs", &listing, None).expect("it is remembered");
            found.extend(page.objects.iter().map(|stored| stored.revision));
            let n_more = page.n_more.expect("there is no selector");
            assert_eq!(found.len() + n_more, expected.len());
            start = page.next;
            if start.is_none() {
                break;
            }
        }
        let expected: Vec<u64> = expected.into_values().collect();
        assert_eq!(found, expected, "at {at}");
    }
}

#[test]
fn what_is_remembered_takes_so_many_bytes_and_no_more() {
    let store = Store::in_memory();
    let resource: Arc<str> = "xs".into();
    let text = "x".repeat(100_000);
    let mut last = None;
    for n in 0..100 {
        let expected = last.map_or(Expected::Absent, Expected::Revision);
        let key = (String::new(), "a".to_owned());
        let put = store.put(&resource, key, expected, json!({"text": text, "n": n}));
        last = Some(put.expect("as it is").revision);
    }
    let last = last.expect("it was written");
    let expired = store.changes_after("xs", 1, 1, 1).expect_err("it is long ago");
    let n_kept = usize::try_from(last - expired.oldest).expect("a few");
    assert!(
        (HISTORY_BYTES_MAX / 110_000..=HISTORY_BYTES_MAX / 90_000).contains(&n_kept),
        "{n_kept}"
    );
    // The others' past is their own.
    assert!(store.changes_after("ys", 1, 1, 1).is_ok());
    let listing = Listing { at: expired.oldest - 1, ..ALL };
    assert_eq!(store.list("xs", &listing, None).err(), Some(expired));
}

#[tokio::test]
async fn a_store_that_is_full_takes_no_more_and_lets_go() {
    let store = Store::in_memory();
    let resource: Arc<str> = "xs".into();
    store.shared.state.write().bytes = STORE_BYTES_MAX - 10_000;
    let put = |name: &str, size: usize| {
        let value = json!({"text": "x".repeat(size)});
        store.put(&resource, (String::new(), name.to_owned()), Expected::Absent, value)
    };
    let small = put("a", 5000).expect("there is room");
    assert_eq!(put("b", 50_000), Err(Refused::Full));
    let key = (String::new(), "a".to_owned());
    store.remove(&resource, key, small.revision, small.value).expect("it makes room");
    put("c", 6000).expect("there is room again");
}

/// A statuses' life: kept for an object that is not there, then the object's own.
#[tokio::test]
async fn statuses_wait_for_their_objects() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("objects.redb");
    let place = |name: &str| ("xs".to_owned(), "n".to_owned(), name.to_owned());
    let key = |name: &str| ("n".to_owned(), name.to_owned());
    let keep = async |names: &[&str]| {
        let store = Store::open(&path).expect("it opens");
        let mark = store.mark();
        let statuses = names.iter().map(|name| (place(name), json!({"of": name})));
        store.keep_statuses(statuses);
        store.settled(mark).await.expect("the disk takes it");
    };
    keep(&["a", "b"]).await;
    keep(&["a", "c"]).await;
    let store = Store::open(&path).expect("it opens");
    assert_eq!(store.waiting_status("xs", "X", &key("a")), Some(json!({"of": "a"})));
    assert_eq!(store.waiting_status("xs", "X", &key("b")), None);
    let mark = store.mark();
    store
        .put(&"xs".into(), key("a"), Expected::Absent, json!({"status": {"of": 1}}))
        .expect("free");
    store.settled(mark).await.expect("the disk takes it");
    assert_eq!(store.waiting_status("xs", "X", &key("a")), None);
    drop(store);
    keep(&["a"]).await;
    let store = Store::open(&path).expect("it opens");
    let object = store.get("xs", &key("a")).expect("it is there");
    assert_eq!(object.value["status"], json!({"of": "a"}));
    assert_eq!(store.waiting_status("xs", "X", &key("c")), None, "nobody has kept it");
}

/// Before there was a schema number, a file had a table of statuses by kind and nothing else.
#[test]
fn a_file_without_a_schema_number_is_taken_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("objects.redb");
    {
        let database = redb::Database::create(&path).expect("a database");
        let transaction = database.begin_write().expect("a transaction");
        let table = redb::TableDefinition::<&str, &[u8]>::new("statuses");
        let mut statuses = transaction.open_table(table).expect("a table");
        statuses.insert("X/n/a", br#"{"of":"a"}"#.as_slice()).expect("inserted");
        drop(statuses);
        transaction.commit().expect("committed");
    }
    for _ in 0..2 {
        let store = Store::open(&path).expect("it is taken over");
        let status = store.waiting_status("xs", "X", &("n".to_owned(), "a".to_owned()));
        assert_eq!(status, Some(json!({"of": "a"})));
    }
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("objects.redb");
    drop(Store::open(&path).expect("a new file"));
    {
        let database = redb::Database::create(&path).expect("a database");
        let transaction = database.begin_write().expect("a transaction");
        let table = redb::TableDefinition::<&str, u64>::new("meta");
        let mut meta = transaction.open_table(table).expect("a table");
        meta.insert("schema", 2).expect("inserted");
        drop(meta);
        transaction.commit().expect("committed");
    }
    let error = Store::open(&path).expect_err("it is newer").to_string();
    assert!(
        error.ends_with("have schema 2, this program knows up to 1; use the newer program"),
        "{error}"
    );
    assert!(path.exists());
}

#[tokio::test(start_paused = true)]
async fn events_end_an_hour_after_they_were_written() {
    let store = Store::in_memory();
    let events: Arc<str> = "events.".into();
    let key = |name: &str| ("n".to_owned(), name.to_owned());
    let put = |name: &str| {
        let last = store.latest("events.", &key(name)).map(|last| last.revision);
        let expected = last.map_or(Expected::Absent, Expected::Revision);
        store.put(&events, key(name), expected, json!({})).expect("nobody else writes");
    };
    let sleep = async |minutes: u64| tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
    put("old");
    put("repeated");
    store.put(&"xs".into(), key("x"), Expected::Absent, json!({})).expect("nobody else writes");
    sleep(40).await;
    put("repeated");
    sleep(40).await;
    let before = store.revision();
    put("new");
    let names: Vec<String> =
        store.shared.state.read().all().iter().map(|published| published.key.1.clone()).collect();
    let mut names = names;
    names.sort();
    assert_eq!(names, ["new", "repeated", "x"]);
    let changes = store.changes_after("events.", before, 10, usize::MAX).expect("remembered");
    assert_eq!(changes.iter().map(|change| change.is_removal).collect::<Vec<_>>(), [false, true]);
    sleep(100).await;
    put("newer");
    assert_eq!(store.latest_all("events.", None).len(), 1);
}
