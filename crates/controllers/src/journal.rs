//! What automations were about to push, until a status says what became of it.
//!
//! An intent is written before its push is sent and taken away when the automation's status and
//! event are as durable as they get. One that is still there when the automation is reconciled is a
//! push of which nobody was told: the process ended, or lost sight of the server or of the API.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use git::{CommitId, Intent};
use jiff::Timestamp;
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::queue::ObjectKey;

/// `namespace/name` of an ImageUpdateAutomation → its [`Entry`]s as JSON, the oldest first.
const INTENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("intents");

/// Intents that are kept of one automation. It is more than the races of one update, of which only
/// the last can have been won.
const INTENTS_MAX: usize = 32;

/// The intents of all automations.
#[derive(Default)]
pub(crate) struct Journal {
    database: Option<Arc<Database>>,
    pending: Mutex<BTreeMap<String, Vec<Intent>>>,
    /// What is to be taken away once the statuses are durable.
    settled: Mutex<Vec<(String, Vec<CommitId>)>>,
}

/// An intent in the database.
#[derive(Serialize, Deserialize)]
struct Entry {
    url: String,
    branch: String,
    base: String,
    commit: String,
    message: String,
    time: Timestamp,
}

impl Journal {
    /// Returns the journal in `database`, or one that lives in memory.
    pub(crate) fn open(database: Option<Arc<Database>>) -> Journal {
        let pending = database.as_deref().map(read_all).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "Earlier pushes are forgotten: the journal cannot be read");
            None
        });
        let pending = Mutex::new(pending.unwrap_or_default());
        Journal { database, pending, settled: Mutex::default() }
    }

    /// Returns what an automation intended and nobody knows the end of.
    pub(crate) fn pending(&self, automation: &ObjectKey) -> Vec<Intent> {
        let owner = automation.to_string();
        let mut pending = self.pending.lock().get(&owner).cloned().unwrap_or_default();
        let settled = self.settled.lock();
        let is_settled = |intent: &Intent| {
            settled.iter().any(|(of, commits)| *of == owner && commits.contains(&intent.commit))
        };
        pending.retain(|intent| !is_settled(intent));
        pending
    }

    /// Takes away intents whose end is told in a durable status.
    pub(crate) fn settle(&self, automation: &ObjectKey, commits: &[CommitId]) {
        self.take_away(&[(automation.to_string(), commits.to_vec())]);
    }

    /// As [`Journal::settle`], once [`Journal::settle_rest`] says that the status is durable.
    pub(crate) fn settle_later(&self, automation: &ObjectKey, commits: Vec<CommitId>) {
        self.settled.lock().push((automation.to_string(), commits));
    }

    /// Takes away what was to be settled later, and what belongs to none of `automations`.
    pub(crate) fn settle_rest(&self, automations: &BTreeSet<String>) {
        let mut settled = std::mem::take(&mut *self.settled.lock());
        for (owner, intents) in &*self.pending.lock() {
            if !automations.contains(owner) {
                settled.push((owner.clone(), intents.iter().map(|i| i.commit).collect()));
            }
        }
        self.take_away(&settled);
    }

    fn take_away(&self, settled: &[(String, Vec<CommitId>)]) {
        let mut pending = self.pending.lock();
        let mut changed = BTreeMap::new();
        for (owner, commits) in settled {
            let Some(intents) = pending.get(owner) else { continue };
            let left = intents.iter().filter(|intent| !commits.contains(&intent.commit));
            changed.insert(owner.clone(), left.cloned().collect::<Vec<_>>());
        }
        if let Err(error) = self.write(&changed) {
            // They are looked for once more, which tells the same again.
            tracing::warn!(%error, "Pushes that are known cannot be taken from the journal");
        }
        for (owner, intents) in changed {
            if intents.is_empty() {
                pending.remove(&owner);
            } else {
                pending.insert(owner, intents);
            }
        }
    }

    /// Writes what some automations intend, in one piece; nothing is as good as no entry.
    fn write(&self, changed: &BTreeMap<String, Vec<Intent>>) -> Result<(), redb::Error> {
        let Some(database) = self.database.as_ref().filter(|_| !changed.is_empty()) else {
            return Ok(());
        };
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(INTENTS)?;
            for (owner, intents) in changed {
                if intents.is_empty() {
                    table.remove(owner.as_str())?;
                    continue;
                }
                let entries: Vec<Entry> = intents.iter().map(Entry::of).collect();
                let json = serde_json::to_vec(&entries).expect("texts and times are always JSON");
                table.insert(owner.as_str(), json.as_slice())?;
            }
        }
        transaction.commit()?;
        tracing::trace!(target: "durable", step = "journal written", "Durable step");
        Ok(())
    }
}

impl git::Journal for Journal {
    fn intend(&self, intents: &[Intent]) -> io::Result<()> {
        let mut pending = self.pending.lock();
        let mut changed: BTreeMap<String, Vec<Intent>> = BTreeMap::new();
        for intent in intents {
            let owner = &intent.owner;
            let kept = || pending.get(owner).cloned().unwrap_or_default();
            let all = changed.entry(owner.clone()).or_insert_with(kept);
            all.push(intent.clone());
            let n_too_many = all.len().saturating_sub(INTENTS_MAX);
            all.drain(..n_too_many);
        }
        self.write(&changed).map_err(io::Error::other)?;
        pending.extend(changed);
        Ok(())
    }
}

impl Entry {
    fn of(intent: &Intent) -> Entry {
        let Intent { owner: _, url, branch, base, commit, message, time } = intent;
        Entry {
            url: url.to_string(),
            branch: branch.to_string(),
            base: base.to_string(),
            commit: commit.to_string(),
            message: message.clone(),
            time: *time,
        }
    }

    /// Returns the intent, unless something in it is none of ours.
    fn intent(self, owner: &str) -> Option<Intent> {
        Some(Intent {
            owner: owner.to_owned(),
            url: self.url.parse().ok()?,
            branch: self.branch.parse().ok()?,
            base: self.base.parse().ok()?,
            commit: self.commit.parse().ok()?,
            message: self.message,
            time: self.time,
        })
    }
}

fn read_all(database: &Database) -> Result<BTreeMap<String, Vec<Intent>>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(INTENTS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut pending = BTreeMap::new();
    for row in table.iter()? {
        let (owner, json) = row?;
        let owner = owner.value();
        let entries: Vec<Entry> = serde_json::from_slice(json.value()).unwrap_or_default();
        let intents = entries.into_iter().filter_map(|entry| entry.intent(owner)).collect();
        pending.insert(owner.to_owned(), intents);
    }
    Ok(pending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use git::Journal as _;

    fn intent(owner: &str, n: u32) -> Intent {
        Intent {
            owner: owner.to_owned(),
            url: "https://git.example/app.git".parse().expect("a URL"),
            branch: "refs/heads/main".parse().expect("a name"),
            base: format!("{:040x}", 0).parse().expect("an id"),
            commit: format!("{n:040x}").parse().expect("an id"),
            message: format!("Update {n}\n"),
            time: Timestamp::UNIX_EPOCH,
        }
    }

    fn database() -> Arc<Database> {
        let backend = redb::backends::InMemoryBackend::new();
        Arc::new(Database::builder().create_with_backend(backend).expect("memory takes it"))
    }

    #[test]
    fn intents_outlive_the_process_until_they_are_settled() {
        let database = database();
        let (a, b) = (ObjectKey::new("ns", "a"), ObjectKey::new("ns", "b"));
        let journal = Journal::open(Some(Arc::clone(&database)));
        let intents = [intent("ns/a", 1), intent("ns/b", 2), intent("ns/a", 3)];
        journal.intend(&intents).expect("it is kept");
        drop(journal);
        let journal = Journal::open(Some(Arc::clone(&database)));
        assert_eq!(journal.pending(&a), [intent("ns/a", 1), intent("ns/a", 3)]);
        journal.settle(&a, &[intents[0].commit]);
        journal.settle_later(&b, vec![intents[1].commit]);
        assert_eq!(journal.pending(&b), []);
        let journal = Journal::open(Some(Arc::clone(&database)));
        assert_eq!(journal.pending(&a), [intent("ns/a", 3)]);
        assert_eq!(journal.pending(&b), [intent("ns/b", 2)]);
        journal.settle_later(&a, vec![intents[2].commit]);
        // One is settled, the other's automation is gone.
        journal.settle_rest(&BTreeSet::from(["ns/a".to_owned()]));
        let journal = Journal::open(Some(database));
        assert_eq!((journal.pending(&a), journal.pending(&b)), (Vec::new(), Vec::new()));
    }

    #[test]
    fn the_newest_intents_are_kept() {
        let journal = Journal::open(None);
        for n in 0..40 {
            journal.intend(&[intent("ns/a", n)]).expect("it is kept");
        }
        let pending = journal.pending(&ObjectKey::new("ns", "a"));
        assert_eq!((pending.len(), &pending[0]), (INTENTS_MAX, &intent("ns/a", 8)));
    }
}
