//! Events that wait to be sent: kept in a database until they are, bounded, the oldest first.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::Notify;

/// A number that grows → an event as it is sent.
const OUTBOX: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("outbox");

/// Events that wait at most, and their bytes: more than a day of them where a thousand objects fail
/// now and then. Of more, the oldest are lost.
pub(super) const EVENTS_MAX: usize = 4_096;
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events that were sent and are taken out of the database together; after a crash they are sent
/// once more, and known by their ids.
const SENT_MAX: usize = 64;

/// The events of one address.
pub(super) struct Outbox {
    database: Option<Arc<Database>>,
    inner: Mutex<Inner>,
    /// Whether there is something new to look at.
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<(u64, Bytes)>,
    n_bytes: usize,
    /// The number of the next event.
    next: u64,
    /// Numbers that are done with and still in the database.
    done: Vec<u64>,
    is_closed: bool,
}

impl Outbox {
    /// Returns the outbox in `database`, or one that lives in memory.
    pub(super) fn open(database: Option<Arc<Database>>) -> Outbox {
        let waiting = database.as_deref().map(read_all).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "Earlier events are forgotten: the outbox cannot be read");
            None
        });
        let waiting: VecDeque<_> = waiting.unwrap_or_default().into();
        let next = waiting.back().map_or(0, |(number, _)| number + 1);
        let n_bytes = waiting.iter().map(|(_, body)| body.len()).sum();
        let inner = Inner { waiting, n_bytes, next, ..Inner::default() };
        Outbox { database, inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// Keeps events behind those that wait already; of too many, the oldest are lost.
    pub(super) fn keep(&self, events: Vec<Bytes>) {
        let mut inner = self.inner.lock();
        let first = inner.next;
        for body in events {
            let number = inner.next;
            inner.next += 1;
            inner.n_bytes += body.len();
            inner.waiting.push_back((number, body));
        }
        let mut n_lost = 0;
        while inner.waiting.len() > EVENTS_MAX || inner.n_bytes > BYTES_MAX {
            let Some((number, body)) = inner.waiting.pop_front() else { break };
            inner.n_bytes -= body.len();
            inner.done.push(number);
            n_lost += 1;
        }
        if n_lost > 0 {
            tracing::warn!(n_events = n_lost, "Events are lost: too many wait to be sent");
        }
        self.write(&mut inner, first);
        drop(inner);
        self.changed.notify_one();
    }

    /// Says that no event comes any more.
    pub(super) fn close(&self) {
        self.inner.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Returns the event that has waited longest, once there is one; `None` when there is none and
    /// none comes.
    pub(super) async fn next(&self) -> Option<(u64, Bytes)> {
        loop {
            {
                let inner = self.inner.lock();
                match inner.waiting.front() {
                    Some(event) => return Some(event.clone()),
                    None if inner.is_closed => return None,
                    None => {}
                }
            }
            self.changed.notified().await;
        }
    }

    /// Takes away an event that is done with.
    pub(super) fn done(&self, number: u64) {
        let mut inner = self.inner.lock();
        if inner.waiting.front().is_some_and(|(front, _)| *front == number)
            && let Some((_, body)) = inner.waiting.pop_front()
        {
            inner.n_bytes -= body.len();
            inner.done.push(number);
        }
        if inner.waiting.is_empty() || inner.done.len() >= SENT_MAX {
            self.flush_locked(&mut inner);
        }
    }

    /// Takes what is done with out of the database; returns how many events wait, and whether they
    /// outlive the process.
    pub(super) fn flush(&self) -> (usize, bool) {
        let mut inner = self.inner.lock();
        self.flush_locked(&mut inner);
        (inner.waiting.len(), self.database.is_some())
    }

    fn flush_locked(&self, inner: &mut Inner) {
        let next = inner.next;
        self.write(inner, next);
    }

    /// Writes events from number `first` on, and takes out those that are done with.
    fn write(&self, inner: &mut Inner, first: u64) {
        let done = std::mem::take(&mut inner.done);
        let new: Vec<_> = inner.waiting.iter().filter(|(number, _)| *number >= first).collect();
        if done.is_empty() && new.is_empty() {
            return;
        }
        let Some(database) = &self.database else { return };
        let write = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(OUTBOX)?;
                for number in &done {
                    table.remove(number)?;
                }
                for (number, body) in new {
                    table.insert(number, body.as_ref())?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "Events that wait to be sent are not kept on disk");
        }
    }
}

fn read_all(database: &Database) -> Result<Vec<(u64, Bytes)>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(OUTBOX) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut waiting = Vec::new();
    for row in table.iter()? {
        let (number, body) = row?;
        waiting.push((number.value(), Bytes::copy_from_slice(body.value())));
    }
    Ok(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn database() -> Arc<Database> {
        let backend = redb::backends::InMemoryBackend::new();
        Arc::new(Database::builder().create_with_backend(backend).expect("memory takes it"))
    }

    fn event(n: usize) -> Bytes {
        format!("event {n}").into()
    }

    /// Returns what waits, in order, and takes it away.
    fn drain(outbox: &Outbox) -> Vec<Bytes> {
        let mut all = Vec::new();
        while let Some(Some((number, body))) = outbox.next().now_or_never() {
            all.push(body);
            outbox.done(number);
        }
        all
    }

    #[test]
    fn what_waits_outlives_the_process_until_it_is_done_with() {
        let database = database();
        let outbox = Outbox::open(Some(Arc::clone(&database)));
        outbox.keep(vec![event(1), event(2)]);
        outbox.keep(vec![event(3)]);
        let (number, body) = outbox.next().now_or_never().flatten().expect("it waits");
        assert_eq!(body, event(1));
        outbox.done(number);
        outbox.done(number);
        assert_eq!(outbox.flush(), (2, true));
        let outbox = Outbox::open(Some(Arc::clone(&database)));
        outbox.keep(vec![event(4)]);
        assert_eq!(drain(&outbox), [event(2), event(3), event(4)]);
        // The last one takes all that were done out of the database.
        let outbox = Outbox::open(Some(database));
        outbox.close();
        assert_eq!(outbox.next().now_or_never(), Some(None));
    }

    #[test]
    fn of_too_many_the_newest_are_kept_on_disk_too() {
        let database = database();
        let outbox = Outbox::open(Some(Arc::clone(&database)));
        outbox.keep((0..EVENTS_MAX).map(event).collect());
        outbox.keep((EVENTS_MAX..EVENTS_MAX + 10).map(event).collect());
        let outbox = Outbox::open(Some(database));
        let all = drain(&outbox);
        assert_eq!((all.len(), &all[0]), (EVENTS_MAX, &event(10)));
        // Few and large ones are as bounded.
        outbox.keep((0..20).map(|n| vec![n; 1024 * 1024].into()).collect());
        assert_eq!(drain(&outbox).len(), 16);
    }
}
