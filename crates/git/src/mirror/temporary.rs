//! A folder that goes with its process, and what processes left that could not take theirs along.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use tempfile::TempDir;

/// What the folders are called.
const PREFIX: &str = "tagtide-mirrors-";

/// Held for as long as the folder is used. It gets this name when it is held already.
const LOCK: &str = "lock";

/// The lock before that.
const NEW_LOCK: &str = "lock.new";

/// Entries of the folder for temporary files that are looked at, and folders removed at a time: a
/// start must not take long because others left much behind.
const ENTRIES_MAX: usize = 100_000;
const REMOVED_MAX: usize = 100;

/// How long a folder may be without its lock before nobody is at making it any more.
const MAKING_MAX: Duration = Duration::from_secs(3600);

/// A new folder of this process.
pub(crate) struct Temporary {
    folder: TempDir,
    /// Goes after the folder.
    _lock: File,
}

impl Temporary {
    /// Makes a folder, and removes those of processes that were killed.
    pub(crate) fn create() -> io::Result<Temporary> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        let lock = File::create_new(folder.path().join(NEW_LOCK))?;
        lock.try_lock()?;
        fs::rename(folder.path().join(NEW_LOCK), folder.path().join(LOCK))?;
        if let Err(error) = remove_abandoned(folder.path()) {
            tracing::debug!(%error, "Folders of killed processes are not looked for");
        }
        Ok(Temporary { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders beside `own` that belong to the same user and to no process.
fn remove_abandoned(own: &Path) -> io::Result<()> {
    let user = fs::metadata(own)?.uid();
    let above = own.parent().unwrap_or(own);
    let mut n_removed = 0;
    for entry in fs::read_dir(above)?.take(ENTRIES_MAX) {
        let entry = entry?;
        let is_like_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_like_ours || entry.path() == own || n_removed == REMOVED_MAX {
            continue;
        }
        // Of the entry itself: links are never followed.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && metadata.uid() == user && remove_if_abandoned(&entry.path()) {
            tracing::info!(folder = %entry.path().display(), "Removed what a killed process left");
            n_removed += 1;
        }
    }
    Ok(())
}

/// Removes a folder if its lock is there and nobody holds it, or it has had none for long.
fn remove_if_abandoned(folder: &Path) -> bool {
    let held = |name: &str| {
        let lock = File::options().write(true).open(folder.join(name)).ok()?;
        lock.try_lock().ok().map(|()| lock)
    };
    if let Some(_lock) = held(LOCK) {
        return fs::remove_dir_all(folder).is_ok();
    }
    if folder.join(LOCK).exists() || !is_old(folder) {
        return false;
    }
    if let Some(_lock) = held(NEW_LOCK) {
        return fs::remove_dir_all(folder).is_ok();
    }
    // Only if it is empty.
    fs::remove_dir(folder).is_ok()
}

fn is_old(folder: &Path) -> bool {
    let modified = fs::metadata(folder).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > MAKING_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a folder as a process leaves it, and returns whether the next one takes it away.
    fn check(make: impl FnOnce(&Path) -> Option<File>) -> bool {
        let above = tempfile::tempdir().expect("a temporary folder");
        let (own, other) = (above.path().join("own"), above.path().join(format!("{PREFIX}x")));
        fs::create_dir(&own).and_then(|()| fs::create_dir(&other)).expect("they are new");
        let _held = make(&other);
        remove_abandoned(&own).expect("the folder can be listed");
        !other.exists()
    }

    fn long_ago(path: &Path) {
        let time = std::time::SystemTime::UNIX_EPOCH;
        File::open(path).and_then(|file| file.set_modified(time)).expect("a time can be set");
    }

    #[test]
    fn only_what_is_provably_nobodys_is_removed() {
        let write = |path: &Path| fs::write(path, "").expect("the folder can be written");
        let lock = |path: &Path| {
            let file = File::create(path).expect("the folder can be written");
            file.try_lock().expect("nobody holds it");
            Some(file)
        };
        assert!(check(|folder| {
            write(&folder.join(LOCK));
            write(&folder.join("pack"));
            None
        }));
        assert!(!check(|folder| lock(&folder.join(LOCK))), "its process lives");
        assert!(!check(|_| None), "it may be just being made");
        assert!(!check(|folder| {
            write(&folder.join(NEW_LOCK));
            None
        }));
        assert!(check(|folder| {
            long_ago(folder);
            None
        }));
        assert!(check(|folder| {
            write(&folder.join(NEW_LOCK));
            long_ago(folder);
            None
        }));
        assert!(!check(|folder| {
            let file = lock(&folder.join(NEW_LOCK));
            long_ago(folder);
            file
        }));
        assert!(!check(|folder| {
            write(&folder.join("letter.txt"));
            long_ago(folder);
            None
        }));
    }

    #[test]
    fn a_live_folder_is_left_alone_by_the_next() {
        let first = Temporary::create().expect("a temporary folder");
        let second = Temporary::create().expect("a temporary folder");
        assert!(first.path().join(LOCK).exists());
        assert_ne!(first.path(), second.path());
    }
}
