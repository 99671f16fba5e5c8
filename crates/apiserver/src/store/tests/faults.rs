//! A disk without space, and power that goes away at any point.

use std::{
    fs::{self, File},
    io,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend, backends::FileBackend};
use serde_json::json;

use super::{super::*, Content, content, key};

/// A file on a disk that takes so many operations more, and remembers them.
#[derive(Debug)]
struct Watched {
    file: FileBackend,
    /// Operations that are left; below zero every one fails.
    left: Arc<AtomicI64>,
    log: Arc<Mutex<Vec<Operation>>>,
}

#[derive(Clone, Debug)]
enum Operation {
    Write(usize, Vec<u8>),
    Resize(usize),
    Sync,
    /// Everything up to here was answered.
    Answered {
        tip: Vec<u8>,
    },
}

impl Watched {
    fn take(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn at(offset: u64) -> usize {
        usize::try_from(offset).expect("a small file")
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.take()?;
        self.log.lock().push(Operation::Resize(Watched::at(len)));
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.log.lock().push(Operation::Sync);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.take()?;
        self.log.lock().push(Operation::Write(Watched::at(offset), data.to_vec()));
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// A store on such a disk.
struct Desk {
    folder: tempfile::TempDir,
    store: Store,
    left: Arc<AtomicI64>,
    log: Arc<Mutex<Vec<Operation>>>,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let log = Arc::new(Mutex::new(Vec::new()));
        let door = {
            let (left, log) = (Arc::clone(&left), Arc::clone(&log));
            move |file: File| -> Box<dyn StorageBackend> {
                let file = FileBackend::new(file).expect("a file can be wrapped");
                Box::new(Watched { file, left: Arc::clone(&left), log: Arc::clone(&log) })
            }
        };
        let path = folder.path().join("objects.redb");
        let store = Store::open_through(&path, Arc::new(door)).expect("a new file");
        Desk { folder, store, left, log }
    }

    /// Writes an object and waits until it is durable.
    async fn put(&self, name: &str, n: u64) -> Result<(), Failed> {
        let mark = self.store.mark();
        let value = json!({"n": n, "text": "x".repeat(3000)});
        loop {
            let expected = match self.store.latest("xs", &key(name)) {
                Some(old) => Expected::Revision(old.revision),
                None => Expected::Absent,
            };
            match self.store.put(&"xs".into(), key(name), expected, value.clone()) {
                // A write that failed was taken back between the two.
                Err(Refused::Conflict) => {}
                written => break drop(written.expect("nobody else writes")),
            }
        }
        self.store.settled(mark).await
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).expect("it is there")
    }

    /// Returns what another process finds.
    fn reopened(self) -> Content {
        let path = self.folder.path().join("objects.redb");
        drop(self.store);
        content(&Store::open(&path).expect("the file is sound"))
    }
}

#[tokio::test]
async fn without_space_writes_fail_and_reading_goes_on() {
    // At which operation the disk is full: in the first transaction that fails, before it, and
    // while the database is opened again.
    for n_left in 0..24 {
        let desk = Desk::new();
        desk.put("a", 1).await.expect("there is space");
        desk.left.store(n_left, Ordering::SeqCst);
        let mut n_failed = 0;
        let mut is_written = Vec::new();
        for n in 2..8 {
            let name = format!("b{n}");
            let before = content(&desk.store);
            match desk.put(&name, n).await {
                Ok(()) => is_written.push(name),
                Err(failed) => {
                    n_failed += 1;
                    assert!(failed.is_full, "{failed:?}");
                    assert!(content(&desk.store) == before, "readers see what failed");
                    assert_eq!(desk.store.latest("xs", &key(&name)), None);
                }
            }
        }
        assert!(n_failed > 0, "{n_left} operations were enough");
        desk.left.store(i64::MAX, Ordering::SeqCst);
        desk.put("a", 9).await.expect("there is space again");
        let served = content(&desk.store);
        let mut expected = vec!["a".to_owned()];
        expected.extend(is_written);
        let names: Vec<String> = served.objects.iter().map(|(_, key, ..)| key.1.clone()).collect();
        assert_eq!(names, expected);
        assert!(desk.reopened() == served, "the file has something else");
    }
}

/// Writers that computed from what fails fail too, and the next ones do not.
#[tokio::test]
async fn what_was_computed_from_a_failed_write_fails_too() {
    let desk = Desk::new();
    desk.put("a", 1).await.expect("there is space");
    desk.left.store(0, Ordering::SeqCst);
    let (first, second) = tokio::join!(desk.put("a", 2), desk.put("a", 3));
    assert!(first.is_err() && second.is_err());
    assert_eq!(desk.store.get("xs", &key("a")).expect("it is there").value["n"], 1);
    desk.left.store(i64::MAX, Ordering::SeqCst);
    let revision = desk.store.revision();
    desk.put("a", 4).await.expect("there is space again");
    let stored = desk.store.get("xs", &key("a")).expect("it is there");
    assert_eq!(stored.value["n"], 4);
    assert!(stored.revision > revision + 2, "a revision that failed is never given again");
}

#[tokio::test]
async fn a_file_that_is_lost_meanwhile_is_written_anew() {
    let desk = Desk::new();
    desk.put("a", 1).await.expect("there is space");
    desk.put("b", 1).await.expect("there is space");
    desk.left.store(0, Ordering::SeqCst);
    desk.put("a", 2).await.expect_err("there is none");
    fs::remove_file(desk.folder.path().join("objects.redb")).expect("it was there");
    desk.left.store(i64::MAX, Ordering::SeqCst);
    desk.put("c", 3).await.expect("there is space again");
    let served = content(&desk.store);
    assert_eq!(served.objects.len(), 3);
    assert!(desk.reopened() == served);
}

#[tokio::test]
async fn power_may_go_away_at_any_point() {
    let desk = Desk::new();
    let base = desk.file("objects.redb");
    desk.log.lock().clear();
    let mut states = vec![content(&desk.store)];
    for n in 0..14 {
        desk.put(&format!("{}", n % 5), n).await.expect("there is space");
        states.push(content(&desk.store));
        desk.log.lock().push(Operation::Answered { tip: desk.file("objects.tip") });
    }
    let log = desk.log.lock().clone();
    let mut random = 1;
    for end in 0..=log.len() {
        let operations = log.get(..end).expect("within the log");
        let n_answered =
            operations.iter().filter(|o| matches!(o, Operation::Answered { .. })).count();
        for lost in [Lost::Nothing, Lost::Everything, Lost::Some, Lost::Some] {
            let (objects, tip) = after(&base, operations, lost, &mut random);
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("objects.redb");
            fs::write(&path, objects).expect("written");
            fs::write(path.with_extension("tip"), tip).expect("written");
            let found = content(&Store::open(&path).expect("the file is sound"));
            let which = states.iter().position(|state| *state == found);
            let which = which.unwrap_or_else(|| panic!("operation {end}: never was like this"));
            assert!(
                which >= n_answered,
                "operation {end}: {which} of {n_answered} writes are there"
            );
        }
    }
}

/// What is lost of that which was written after the last sync.
#[derive(Clone, Copy)]
enum Lost {
    Nothing,
    Everything,
    Some,
}

/// Returns the file as it is found after these operations, and the last tip.
fn after(
    base: &[u8],
    operations: &[Operation],
    lost: Lost,
    random: &mut u64,
) -> (Vec<u8>, Vec<u8>) {
    let is_sync = |operation: &Operation| matches!(operation, Operation::Sync);
    let synced = operations.iter().rposition(is_sync).unwrap_or(0);
    let (mut file, mut tip) = (base.to_vec(), Vec::new());
    for (n, operation) in operations.iter().enumerate() {
        *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let is_lost = n >= synced
            && match lost {
                Lost::Nothing => false,
                Lost::Everything => true,
                Lost::Some => *random >> 63 == 1,
            };
        match operation {
            Operation::Resize(length) => file.resize(*length, 0),
            Operation::Write(offset, data) if !is_lost => {
                let end = offset + data.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file.get_mut(*offset..end).expect("made above").copy_from_slice(data);
            }
            Operation::Answered { tip: told } => tip.clone_from(told),
            Operation::Write(..) | Operation::Sync => {}
        }
    }
    (file, tip)
}

#[test]
fn a_file_that_is_much_larger_than_its_objects_is_compacted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("objects.redb");
    let size = || fs::metadata(&path).expect("it is there").len();
    let resource: Arc<str> = "xs".into();
    let store = Store::open(&path).expect("a new file");
    let text = "x".repeat(100_000);
    for n in 0..100 {
        let put =
            store.put(&resource, key(&n.to_string()), Expected::Absent, json!({"text": text}));
        put.expect("nothing is there");
    }
    drop(store);
    let large = size();
    let store = Store::open(&path).expect("it is sound");
    for n in 0..99 {
        let key = key(&n.to_string());
        let stored = store.latest("xs", &key).expect("it was put");
        store.remove(&resource, key, stored.revision, stored.value).expect("as it is");
    }
    drop(store);
    let store = Store::open(&path).expect("it is sound");
    assert!(large > 10_000_000 && size() < 2_000_000, "{large} {}", size());
    assert_eq!(content(&store).objects.len(), 1);
}
