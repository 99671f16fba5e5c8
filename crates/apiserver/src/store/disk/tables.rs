//! What is in the database, and how it is checked.

use std::{path::Path, sync::Arc};

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    TableError, WriteTransaction,
};
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

use super::{OpenError, Repair, database_error};
use crate::store::{
    Key, StatusKey,
    memory::{Published, Queue, State, Statuses},
    record::Record,
};

/// The layout that this program writes.
pub(super) const SCHEMA: u64 = 1;

/// Resource, namespace and name of an object.
type Place = (&'static str, &'static str, &'static str);

/// Checksum, revision and text of each object.
const OBJECTS: TableDefinition<'_, Place, &[u8]> = TableDefinition::new("objects");

/// Checksum and text of each status that waits for its object.
const WAITING: TableDefinition<'_, Place, &[u8]> = TableDefinition::new("waiting_statuses");

/// `schema` and `revision`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Before there was a schema number: `Kind/namespace/name` and the text of the last status.
const UNNUMBERED_STATUSES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("statuses");

const SUM: usize = 8;

/// Why the content of a database is not taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("{0}")]
    Damaged(String),
    #[error("schema {0}")]
    Newer(u64),
    #[error(transparent)]
    Database(#[from] redb::Error),
}

impl LoadError {
    pub(super) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            LoadError::Damaged(reason) => OpenError::Damaged { path, reason },
            LoadError::Newer(found) => OpenError::Newer { path, found },
            LoadError::Database(error) => database_error(&path, error),
        }
    }
}

/// Returns the first bytes of a hash over several texts.
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; SUM] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut sum = [0; SUM];
    sum.copy_from_slice(hash.first_chunk::<SUM>().unwrap_or(&[0; SUM]));
    sum
}

/// Fills a new database.
pub(super) fn init(database: &Database, revision: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(WAITING)?;
    finish(transaction, revision)
}

/// Reads everything, and every checksum; a database of an older layout is brought up to date.
pub(super) fn load(database: &Database) -> Result<State, LoadError> {
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    if meta(&transaction, "schema")?.is_none() {
        drop(transaction);
        return migrate(database);
    }
    let mut state = State::new(last_revision(&transaction)?);
    let objects = transaction.open_table(OBJECTS).map_err(redb::Error::from)?;
    for entry in objects.iter().map_err(redb::Error::from)? {
        let (place, bytes) = entry.map_err(redb::Error::from)?;
        let place = place.value();
        let record = decode(place, bytes.value())
            .filter(|record| record.revision <= state.revision)
            .ok_or_else(|| damaged(place))?;
        let (resource, namespace, name) = place;
        let resource = state.resource(resource);
        state.restore(&resource, (namespace.to_owned(), name.to_owned()), record);
    }
    let mut statuses = Statuses::new();
    let waiting = transaction.open_table(WAITING).map_err(redb::Error::from)?;
    for entry in waiting.iter().map_err(redb::Error::from)? {
        let (place, bytes) = entry.map_err(redb::Error::from)?;
        let place = place.value();
        let record = decode(place, bytes.value()).ok_or_else(|| damaged(place))?;
        let (resource, namespace, name) = place;
        statuses.insert((resource.to_owned(), namespace.to_owned(), name.to_owned()), record.json);
    }
    state.statuses = Arc::new(statuses);
    Ok(state)
}

/// Returns the revision of the last transaction.
pub(super) fn revision(database: &Database) -> Result<u64, LoadError> {
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    last_revision(&transaction)
}

/// Writes in one transaction what has to be written again, then what is new.
pub(super) fn write(
    database: &Database,
    repair: &Repair,
    queue: &Queue,
    tip: u64,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    if repair.is_whole {
        transaction.delete_table(OBJECTS)?;
    }
    for statuses in [&repair.statuses, &queue.statuses].into_iter().flatten() {
        write_statuses(&transaction, statuses)?;
    }
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for Published { resource, key, record } in &repair.records {
            match record {
                Some(record) => {
                    let place = place(resource, key);
                    objects.insert(place, encode(place, record).as_slice())?;
                }
                None => drop(objects.remove(place(resource, key))?),
            }
        }
        let mut waiting = transaction.open_table(WAITING)?;
        for write in &queue.writes {
            let place = place(&write.resource, &write.key);
            if write.is_removal {
                objects.remove(place)?;
            } else {
                objects.insert(place, encode(place, &write.record).as_slice())?;
            }
            waiting.remove(place)?;
        }
    }
    finish(transaction, tip)
}

fn write_statuses(transaction: &WriteTransaction, statuses: &Statuses) -> Result<(), redb::Error> {
    transaction.delete_table(WAITING)?;
    let mut waiting = transaction.open_table(WAITING)?;
    for ((resource, namespace, name), json) in statuses {
        let place = (resource.as_str(), namespace.as_str(), name.as_str());
        let bytes = encode_text(place, 0, json);
        waiting.insert(place, bytes.as_slice())?;
    }
    Ok(())
}

fn finish(transaction: WriteTransaction, revision: u64) -> Result<(), redb::Error> {
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("schema", SCHEMA)?;
        meta.insert("revision", revision)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Takes over the statuses of a database that has no schema number yet.
fn migrate(database: &Database) -> Result<State, LoadError> {
    let mut state = State::new(1);
    state.statuses = Arc::new(unnumbered_statuses(database)?);
    let write = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.delete_table(UNNUMBERED_STATUSES)?;
        write_statuses(&transaction, &state.statuses)?;
        transaction.open_table(OBJECTS)?;
        finish(transaction, state.revision)
    };
    write()?;
    Ok(state)
}

fn unnumbered_statuses(database: &Database) -> Result<Statuses, redb::Error> {
    let mut statuses = Statuses::new();
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(UNNUMBERED_STATUSES) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(statuses),
        Err(error) => return Err(error.into()),
    };
    for entry in table.iter()? {
        let (key, bytes) = entry?;
        let (Some(key), Ok(json)) = (status_key(key.value()), std::str::from_utf8(bytes.value()))
        else {
            continue;
        };
        if is_json(json) {
            statuses.insert(key, json.into());
        }
    }
    Ok(statuses)
}

fn status_key(text: &str) -> Option<StatusKey> {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    Some((parts.next()?, parts.next()?, parts.next()?))
}

fn meta(transaction: &ReadTransaction, name: &str) -> Result<Option<u64>, redb::Error> {
    match transaction.open_table(META) {
        Ok(table) => Ok(table.get(name)?.map(|value| value.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn last_revision(transaction: &ReadTransaction) -> Result<u64, LoadError> {
    if let Some(schema) = meta(transaction, "schema")?
        && schema > SCHEMA
    {
        return Err(LoadError::Newer(schema));
    }
    let revision = meta(transaction, "revision")?;
    revision.ok_or_else(|| LoadError::Damaged("it has no revision".to_owned()))
}

fn place<'a>(resource: &'a str, key: &'a Key) -> (&'a str, &'a str, &'a str) {
    (resource, key.0.as_str(), key.1.as_str())
}

fn damaged(place: (&str, &str, &str)) -> LoadError {
    let (resource, namespace, name) = place;
    LoadError::Damaged(format!("{resource} {namespace}/{name} is not what was written"))
}

fn encode(place: (&str, &str, &str), record: &Record) -> Vec<u8> {
    encode_text(place, record.revision, &record.json)
}

fn encode_text(place: (&str, &str, &str), revision: u64, json: &str) -> Vec<u8> {
    let revision = revision.to_le_bytes();
    let mut bytes = Vec::with_capacity(SUM + revision.len() + json.len());
    bytes.extend(sum(place, revision, json.as_bytes()));
    bytes.extend(revision);
    bytes.extend(json.as_bytes());
    bytes
}

/// Returns a record that is as it was written.
fn decode(place: (&str, &str, &str), bytes: &[u8]) -> Option<Record> {
    let (expected, bytes) = bytes.split_first_chunk::<SUM>()?;
    let (revision, json) = bytes.split_first_chunk::<8>()?;
    if sum(place, *revision, json) != *expected {
        return None;
    }
    let json = std::str::from_utf8(json).ok().filter(|json| is_json(json))?;
    Some(Record { revision: u64::from_le_bytes(*revision), json: json.into() })
}

fn sum(place: (&str, &str, &str), revision: [u8; 8], json: &[u8]) -> [u8; SUM] {
    let (resource, namespace, name) = place;
    checksum(&[resource.as_bytes(), namespace.as_bytes(), name.as_bytes(), &revision, json])
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
