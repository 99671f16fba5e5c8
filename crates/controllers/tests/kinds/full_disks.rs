//! A disk that fails at each write in turn, once or for good: a run does all of a thing or nothing,
//! says so, and the next one heals.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use redb::{Database, StorageBackend};

use super::{image_loop::three_environments, world::World};

/// The branch that gets the new tag.
const BRANCH: &str = "image-update-dev";

/// A disk in memory that outlives its database, and fails as it is told.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    faults: Arc<Mutex<Faults>>,
}

/// When a disk fails.
#[derive(Debug, Default)]
struct Faults {
    /// How many writes are still to succeed before one does not; `None` if all do.
    n_left: Option<usize>,
    /// Whether those after it fail too.
    last: bool,
    has_failed: bool,
}

impl Disk {
    /// Returns another disk with the same bytes.
    fn copy(&self) -> Disk {
        Disk { bytes: Arc::new(Mutex::new(self.bytes().clone())), faults: Arc::default() }
    }

    fn fail_at(&self, n: usize, last: bool) {
        *self.faults() = Faults { n_left: Some(n), last, has_failed: false };
    }

    /// Ends all faults; returns whether there were any.
    fn repair(&self) -> bool {
        std::mem::take(&mut *self.faults()).has_failed
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().expect("no test panics with it")
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no test panics with it")
    }

    fn database(&self) -> Arc<Database> {
        Arc::new(Database::builder().create_with_backend(self.clone()).expect("it opens"))
    }

    fn writes(&self) -> io::Result<()> {
        let mut faults = self.faults();
        let fails = match faults.n_left {
            None => false,
            Some(0) => !faults.has_failed || faults.last,
            Some(n) => {
                faults.n_left = Some(n - 1);
                false
            }
        };
        faults.has_failed |= fails;
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("it fits");
        let bytes = self.bytes();
        out.copy_from_slice(
            bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writes()?;
        self.bytes().resize(usize::try_from(len).expect("it fits"), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.writes()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.writes()?;
        let offset = usize::try_from(offset).expect("it fits");
        let mut bytes = self.bytes();
        let target =
            bytes.get_mut(offset..offset + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        target.copy_from_slice(data);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_once_is_said_and_healed() {
    check(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_is_said_and_healed() {
    check(true).await;
}

/// Fails at each write of a run that finds a new tag, and looks where the run after it leads.
async fn check(lasts: bool) {
    // What all begin with.
    let disk = Disk::default();
    let first = World { cache: Some(disk.database()), ..three_environments() };
    first.run_once_as_session().await;
    drop(first);
    let mut n_failed = 0;
    // Some of them, with and without others after it: all take a minute.
    for n in (if lasts { 5 } else { 0 }..).step_by(11) {
        let disk = disk.copy();
        let mut world = World { cache: Some(disk.database()), ..three_environments() };
        world.run_once_as_session().await;
        world.registry.push("app", "branch-dev-1715557000-f12a34b");
        tokio::time::sleep(Duration::from_secs(60)).await;
        disk.fail_at(n, lasts);
        let harmed = world.run_once_as_session().await;
        // The process ends, and the disk is sound again.
        world.cache = None;
        if !disk.repair() {
            break;
        }
        n_failed += 1;
        // It is told, unless only a thing that may be forgotten could not be kept.
        let messages: Vec<_> = harmed.objects.iter().map(|object| &object.message).collect();
        assert!(harmed.is_ok() || messages.iter().any(|m| says_why(m)), "{n}: {messages:#?}");
        let n_commits = world.git.log("fleet", BRANCH).expect("it is there").len();
        assert_eq!(n_commits - 2, harmed.report.commits.len(), "{n}: {harmed:#?}");

        world.cache = Some(disk.database());
        let summary = world.run_once_as_session().await;
        assert!(summary.is_ok(), "{n}: {summary:#?}");
        let n_commits = world.git.log("fleet", BRANCH).expect("it is there").len();
        assert_eq!(n_commits, 3, "{n}: one commit for each of the two choices");
        let automation = world.get("ImageUpdateAutomation", "envs", "dev").await;
        let tip = world.git.tip("fleet", BRANCH).expect("it is there");
        assert_eq!(automation["status"]["lastPushCommit"], tip, "{n}");
    }
    assert!(n_failed >= 2, "{n_failed}");
}

fn says_why(message: &str) -> bool {
    ["no storage space", "I/O error"].iter().any(|words| message.contains(words))
}
