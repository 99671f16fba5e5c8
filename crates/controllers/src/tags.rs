//! The tag store: the last complete listing of every ImageRepository.
//!
//! A list is kept under its content hash (the revision its status names) and shared by all objects
//! that have the same one, so two objects of one image cost one list. Every tag keeps the time at
//! which a listing first had it. Lists live in memory; with a database they also outlive the
//! process, and whatever does not read back under its own hash is as good as absent.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use api::tag::TagList;
use jiff::Timestamp;
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::queue::ObjectKey;

/// `namespace/name` of an ImageRepository → [`Entry`] as JSON.
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tag_entries");
/// Revision → the tags, a line each.
const LISTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tag_lists");
/// Revision → how many entries name it.
const REFERENCES: TableDefinition<'_, &str, u64> = TableDefinition::new("tag_references");
/// `namespace/name` of an ImagePolicy → [`GuardRecord`] as JSON.
const GUARDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("guards");

/// What is known about the tags of one ImageRepository.
#[derive(Debug)]
pub struct Stored {
    /// The tags after exclusion, in descending order.
    pub tags: Arc<TagList>,
    /// The content hash of `tags`.
    pub revision: String,
    /// What changed since the list before, if one was known.
    pub step: Option<Step>,
    /// When each tag was first seen, as runs of (number of tags, seconds since the epoch).
    first_seen: Vec<(u32, i64)>,
}

/// The difference between two lists of one object.
#[derive(Debug)]
pub struct Step {
    /// The revision of the list before.
    pub from: String,
    /// Tags that were not in it.
    pub added: TagList,
    /// Tags that are no longer there.
    pub removed: TagList,
}

/// What the guard against going backwards remembers about a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardRecord {
    /// The hash of the spec under which the standing choice was made.
    #[serde(default)]
    pub spec: String,
    /// The exclusions under which the standing choice was made.
    pub exclusions: Vec<String>,
    /// The standing choice that the registry did not find, and when it first said so.
    pub missing: Option<(String, Timestamp)>,
    /// The choice before, when it was given up because it left the registry.
    pub left: Option<String>,
}

/// The store; clones share it.
#[derive(Clone, Debug, Default)]
pub struct TagStore {
    memory: Arc<Mutex<Memory>>,
    disk: Option<Arc<Database>>,
}

#[derive(Debug, Default)]
struct Memory {
    stored: HashMap<ObjectKey, Arc<Stored>>,
    lists: HashMap<String, Weak<TagList>>,
    guards: HashMap<ObjectKey, GuardRecord>,
}

/// Why the tag store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the tag store cannot be used")]
pub struct TagStoreError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// What the database keeps beside a list.
#[derive(Serialize, Deserialize)]
struct Entry {
    revision: String,
    first_seen: Vec<(u32, i64)>,
}

impl Stored {
    /// Returns when the tag at `index` was first seen.
    pub fn first_seen(&self, index: usize) -> Option<Timestamp> {
        let mut end = 0;
        for (n, seconds) in &self.first_seen {
            end += *n as usize;
            if index < end {
                return Timestamp::from_second(*seconds).ok();
            }
        }
        None
    }
}

impl TagStore {
    /// Returns a store that keeps nothing between processes.
    pub fn in_memory() -> TagStore {
        TagStore::default()
    }

    /// Returns a store whose lists outlive the process in `database`.
    pub fn on_disk(database: Arc<Database>) -> TagStore {
        TagStore { memory: Arc::default(), disk: Some(database) }
    }

    /// Returns the tags of an ImageRepository, or `None` when no scan has succeeded yet.
    pub fn get(&self, repository: &ObjectKey) -> Result<Option<Arc<Stored>>, TagStoreError> {
        if let Some(stored) = self.memory.lock().stored.get(repository) {
            return Ok(Some(Arc::clone(stored)));
        }
        let Some(database) = &self.disk else { return Ok(None) };
        let Some((entry, tags)) = read(database, &repository.to_string())? else { return Ok(None) };
        let mut memory = self.memory.lock();
        let tags = memory.intern(&entry.revision, Arc::new(tags));
        let stored = Arc::new(Stored {
            tags,
            revision: entry.revision,
            step: None,
            first_seen: entry.first_seen,
        });
        memory.stored.insert(repository.clone(), Arc::clone(&stored));
        Ok(Some(stored))
    }

    /// Keeps a complete listing, sorted in descending order, and returns it with its revision.
    pub fn put(
        &self,
        repository: &ObjectKey,
        tags: Arc<TagList>,
        now: Timestamp,
    ) -> Result<Arc<Stored>, TagStoreError> {
        let before = self.get(repository)?;
        let revision = tags.revision();
        if let Some(before) = &before
            && before.revision == revision
        {
            return Ok(Arc::clone(before));
        }
        let tags = self.memory.lock().intern(&revision, tags);
        let (first_seen, step) = compare(before.as_deref(), &tags, now.as_second());
        let stored = Arc::new(Stored { tags, revision, step, first_seen });
        if let Some(database) = &self.disk {
            write(database, &repository.to_string(), &stored).map_err(failed)?;
            tracing::trace!(target: "durable", step = "tags kept", "Durable step");
        }
        self.memory.lock().stored.insert(repository.clone(), Arc::clone(&stored));
        Ok(stored)
    }

    /// Forgets the tags of an ImageRepository.
    pub fn remove(&self, repository: &ObjectKey) -> Result<(), TagStoreError> {
        self.memory.lock().stored.remove(repository);
        let Some(database) = &self.disk else { return Ok(()) };
        remove(database, &repository.to_string()).map_err(failed)
    }

    /// Returns what the guard remembers about an ImagePolicy.
    pub fn guard(&self, policy: &ObjectKey) -> Result<Option<GuardRecord>, TagStoreError> {
        if let Some(record) = self.memory.lock().guards.get(policy) {
            return Ok(Some(record.clone()));
        }
        let Some(database) = &self.disk else { return Ok(None) };
        read_guard(database, &policy.to_string()).map_err(failed)
    }

    /// Keeps what the guard must remember about an ImagePolicy; `None` forgets it.
    pub fn put_guard(
        &self,
        policy: &ObjectKey,
        record: Option<GuardRecord>,
    ) -> Result<(), TagStoreError> {
        if self.guard(policy)? == record {
            return Ok(());
        }
        if let Some(database) = &self.disk {
            write_guard(database, &policy.to_string(), record.as_ref()).map_err(failed)?;
            tracing::trace!(target: "durable", step = "guard kept", "Durable step");
        }
        let mut memory = self.memory.lock();
        match record {
            Some(record) => memory.guards.insert(policy.clone(), record),
            None => memory.guards.remove(policy),
        };
        Ok(())
    }
}

impl Memory {
    /// Returns the one list with this content.
    fn intern(&mut self, revision: &str, tags: Arc<TagList>) -> Arc<TagList> {
        if let Some(known) = self.lists.get(revision).and_then(Weak::upgrade) {
            return known;
        }
        self.lists.retain(|_, list| list.strong_count() > 0);
        self.lists.insert(revision.to_owned(), Arc::downgrade(&tags));
        tags
    }
}

/// Returns the first-seen times of `tags` and the step from the list before. Both lists descend, so
/// one pass over both is enough.
fn compare(before: Option<&Stored>, tags: &TagList, now: i64) -> (Vec<(u32, i64)>, Option<Step>) {
    let mut runs: Vec<(u32, i64)> = Vec::new();
    let mut push = |seconds: i64| match runs.last_mut() {
        Some((n, last)) if *last == seconds => *n += 1,
        _ => runs.push((1, seconds)),
    };
    let Some(before) = before else {
        tags.iter().for_each(|_| push(now));
        return (runs, None);
    };
    let (mut added, mut removed) = (TagList::new(), TagList::new());
    let times = before.first_seen.iter().flat_map(|(n, time)| (0..*n).map(|_| *time));
    let mut old = before.tags.iter().zip(times).peekable();
    let mut last_match: Option<(&str, i64)> = None;
    for tag in tags.iter() {
        while let Some((gone, _)) = old.next_if(|(other, _)| *other > tag) {
            removed.push(gone);
        }
        if let Some((_, time)) = old.next_if(|(other, _)| *other == tag) {
            last_match = Some((tag, time));
            push(time);
        } else if let Some((_, time)) = last_match.filter(|(other, _)| *other == tag) {
            push(time); // A further copy of a tag that was there.
            added.push(tag);
        } else {
            push(now);
            added.push(tag);
        }
    }
    old.for_each(|(gone, _)| removed.push(gone));
    (runs, Some(Step { from: before.revision.clone(), added, removed }))
}

fn failed(error: redb::Error) -> TagStoreError {
    TagStoreError(Box::new(error))
}

/// Returns the entry and its list; one that does not read back under its own hash is absent.
fn read(database: &Database, key: &str) -> Result<Option<(Entry, TagList)>, TagStoreError> {
    let Some((entry, text)) = read_bytes(database, key).map_err(failed)? else { return Ok(None) };
    let Ok(entry) = serde_json::from_slice::<Entry>(&entry) else { return Ok(None) };
    let Ok(text) = String::from_utf8(text) else { return Ok(None) };
    let mut tags = TagList::new();
    text.lines().for_each(|tag| tags.push(tag));
    let n_seen: usize = entry.first_seen.iter().map(|(n, _)| *n as usize).sum();
    if tags.revision() != entry.revision || n_seen != tags.len() {
        tracing::warn!(repository = key, "Ignoring stored tags that were damaged");
        return Ok(None);
    }
    // They are in this order already; now the list knows it.
    tags.sort_descending();
    Ok(Some((entry, tags)))
}

type EntryAndList = (Vec<u8>, Vec<u8>);

fn read_bytes(database: &Database, key: &str) -> Result<Option<EntryAndList>, redb::Error> {
    let transaction = database.begin_read()?;
    let entries = match transaction.open_table(ENTRIES) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(entry) = entries.get(key)?.map(|value| value.value().to_vec()) else {
        return Ok(None);
    };
    let Some(revision) = revision_of(&entry) else { return Ok(None) };
    let lists = transaction.open_table(LISTS)?;
    let list = lists.get(revision.as_str())?.map(|value| value.value().to_vec());
    Ok(list.map(|list| (entry, list)))
}

fn revision_of(entry: &[u8]) -> Option<String> {
    serde_json::from_slice::<Entry>(entry).ok().map(|entry| entry.revision)
}

fn write(database: &Database, key: &str, stored: &Stored) -> Result<(), redb::Error> {
    let entry = Entry { revision: stored.revision.clone(), first_seen: stored.first_seen.clone() };
    let entry = serde_json::to_vec(&entry).expect("numbers and texts are always JSON");
    let transaction = database.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let before = entries.insert(key, entry.as_slice())?.map(|value| value.value().to_vec());
        let mut lists = transaction.open_table(LISTS)?;
        let mut references = transaction.open_table(REFERENCES)?;
        let revision = stored.revision.as_str();
        let n = references.get(revision)?.map_or(0, |value| value.value());
        references.insert(revision, n + 1)?;
        if n == 0 {
            lists.insert(revision, text(&stored.tags).as_bytes())?;
        }
        if let Some(before) = before.as_deref().and_then(revision_of) {
            release(&mut lists, &mut references, &before)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn remove(database: &Database, key: &str) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let before = entries.remove(key)?.map(|value| value.value().to_vec());
        let mut lists = transaction.open_table(LISTS)?;
        let mut references = transaction.open_table(REFERENCES)?;
        if let Some(before) = before.as_deref().and_then(revision_of) {
            release(&mut lists, &mut references, &before)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Counts one reference less and drops a list that nobody names any more.
fn release(
    lists: &mut redb::Table<'_, &str, &[u8]>,
    references: &mut redb::Table<'_, &str, u64>,
    revision: &str,
) -> Result<(), redb::Error> {
    let n = references.get(revision)?.map_or(0, |value| value.value());
    if n > 1 {
        references.insert(revision, n - 1)?;
    } else {
        references.remove(revision)?;
        lists.remove(revision)?;
    }
    Ok(())
}

fn text(tags: &TagList) -> String {
    let mut text = String::new();
    for tag in tags.iter() {
        text.push_str(tag);
        text.push('\n');
    }
    text
}

fn read_guard(database: &Database, key: &str) -> Result<Option<GuardRecord>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(GUARDS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let record = table.get(key)?;
    Ok(record.and_then(|record| serde_json::from_slice(record.value()).ok()))
}

fn write_guard(
    database: &Database,
    key: &str,
    record: Option<&GuardRecord>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(GUARDS)?;
        if let Some(record) = record {
            let record = serde_json::to_vec(record).expect("times and texts are always JSON");
            table.insert(key, record.as_slice())?;
        } else {
            table.remove(key)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tags: &str) -> TagList {
        let mut list: TagList = tags.split_whitespace().collect();
        list.sort_descending();
        list
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    fn seen(stored: &Stored) -> String {
        let times = stored.tags.iter().enumerate().map(|(index, tag)| {
            let time = stored.first_seen(index).expect("every tag has a time");
            format!("{tag}@{}", time.as_second())
        });
        times.collect::<Vec<_>>().join(" ")
    }

    fn put(store: &TagStore, name: &str, tags: &str, second: i64) -> Arc<Stored> {
        store.put(&key(name), Arc::new(list(tags)), at(second)).expect("the store works")
    }

    fn get(store: &TagStore, name: &str) -> Option<Arc<Stored>> {
        store.get(&key(name)).expect("the store works")
    }

    fn database(path: &std::path::Path) -> Arc<Database> {
        Arc::new(Database::create(path.join("cache.redb")).expect("a database"))
    }

    #[test]
    fn first_seen_times_stay_with_their_tags() {
        let store = TagStore::in_memory();
        assert_eq!(seen(&put(&store, "a", "1 2 3", 10)), "3@10 2@10 1@10");
        let stored = put(&store, "a", "0 2 2 3 4", 20);
        assert_eq!(seen(&stored), "4@20 3@10 2@10 2@10 0@20");
        let step = stored.step.as_ref().expect("there was a list before");
        assert_eq!(step.added, list("4 2 0"));
        assert_eq!(step.removed, list("1"));
        assert!(Arc::ptr_eq(&stored, &put(&store, "a", "4 3 2 2 0", 30)), "nothing changed");
    }

    #[test]
    fn equal_lists_are_kept_once() {
        let store = TagStore::in_memory();
        let (a, b) = (put(&store, "a", "1 2", 1), put(&store, "b", "2 1", 2));
        assert!(Arc::ptr_eq(&a.tags, &b.tags));
        assert_eq!(seen(&b), "2@2 1@2");
    }

    #[test]
    fn lists_and_times_outlive_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        {
            let store = TagStore::on_disk(database(folder.path()));
            put(&store, "a", "1 2", 1);
            put(&store, "b", "1 2", 2);
            put(&store, "a", "1 2 3", 3);
            put(&store, "c", "9", 3);
            store.remove(&key("c")).expect("the store works");
        }
        let store = TagStore::on_disk(database(folder.path()));
        assert_eq!(get(&store, "a").map(|a| seen(&a)), Some("3@3 2@1 1@1".to_owned()));
        assert_eq!(get(&store, "b").map(|b| seen(&b)), Some("2@2 1@2".to_owned()));
        assert!(get(&store, "c").is_none());
        assert_eq!(n_lists(&store), 2, "a list that nobody names is dropped");
    }

    fn n_lists(store: &TagStore) -> u64 {
        use redb::ReadableTableMetadata;
        let disk = store.disk.as_ref().expect("it is on disk");
        let transaction = disk.begin_read().expect("readable");
        transaction.open_table(LISTS).and_then(|lists| Ok(lists.len()?)).expect("readable")
    }

    #[test]
    fn a_damaged_list_is_absent() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = database(folder.path());
        let revision = put(&TagStore::on_disk(Arc::clone(&disk)), "a", "1 2", 1).revision.clone();
        let transaction = disk.begin_write().expect("writable");
        {
            let mut lists = transaction.open_table(LISTS).expect("a table");
            lists.insert(revision.as_str(), b"2\n7\n".as_slice()).expect("written");
        }
        transaction.commit().expect("written");
        let store = TagStore::on_disk(disk);
        assert!(get(&store, "a").is_none());
        assert_eq!(seen(&put(&store, "a", "1 2", 5)), "2@5 1@5");
    }

    #[test]
    fn guard_records_outlive_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = GuardRecord {
            spec: "5".to_owned(),
            exclusions: vec!["x".to_owned()],
            missing: Some(("1.2".to_owned(), at(7))),
            left: None,
        };
        {
            let store = TagStore::on_disk(database(folder.path()));
            store.put_guard(&key("p"), Some(record.clone())).expect("kept");
            store.put_guard(&key("q"), Some(GuardRecord::default())).expect("kept");
            store.put_guard(&key("q"), None).expect("forgotten");
        }
        let store = TagStore::on_disk(database(folder.path()));
        assert_eq!(store.guard(&key("p")).expect("read"), Some(record));
        assert_eq!(store.guard(&key("q")).expect("read"), None);
    }
}
