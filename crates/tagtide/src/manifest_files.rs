//! Manifests on disk as they change: which files are new, changed, broken or gone.
//!
//! Files are looked at again and again, so that nothing is missed on any file system.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::manifests::{self, Loaded, ManifestFile};

/// Looks in a row that must miss a file: editors take a file away for a moment when they save it.
const ABSENT_MIN: u32 = 2;
/// A file that changed this shortly before it was read may change again without showing it.
const SETTLED_SECONDS: i64 = 2;

/// The files of some paths, as last read.
pub(crate) struct ManifestFiles {
    roots: Vec<Root>,
    /// Of objects that name none.
    namespace: String,
    known: BTreeMap<PathBuf, Known>,
    n_looks: u32,
}

/// A path that was given.
struct Root {
    path: PathBuf,
    is_folder: bool,
    /// Whether the last look could read it.
    is_readable: bool,
}

struct Known {
    stamp: Option<Stamp>,
    loaded: Loaded,
    /// Whether part of it could not be read: then nothing of it counts as removed.
    is_broken: bool,
    n_absent: u32,
}

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
    bytes: u64,
}

/// What a look at the files has found.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Files that are new or were written to.
    pub(crate) written: BTreeSet<PathBuf>,
    /// Whether files have gone.
    pub(crate) is_less: bool,
}

impl ManifestFiles {
    /// Returns the files of `paths`, none of which was read yet.
    pub(crate) fn new(paths: &[PathBuf], namespace: &str) -> Result<Self> {
        let root = |path: &PathBuf| {
            let path = std::path::absolute(path)?;
            Ok(Root { is_folder: path.is_dir(), path, is_readable: true })
        };
        let roots = paths.iter().map(root).collect::<Result<_>>()?;
        Ok(Self { roots, namespace: namespace.to_owned(), known: BTreeMap::new(), n_looks: 0 })
    }

    /// Looks at all files and reads those that changed.
    ///
    /// # Errors
    /// When a path cannot be read, after everything else was looked at.
    pub(crate) fn look(&mut self) -> (Changes, Result<()>) {
        self.n_looks = self.n_looks.saturating_add(1);
        let mut changes = Changes::default();
        let mut result = Ok(());
        let mut present = BTreeSet::new();
        for index in 0..self.roots.len() {
            match self.look_at(index, &mut changes) {
                Ok(files) => present.extend(files),
                Err(error) => result = Err(error),
            }
        }
        let roots = &self.roots;
        self.known.retain(|path, known| {
            let is_here = present.contains(path) || is_hidden(roots, path);
            known.n_absent = if is_here { 0 } else { known.n_absent + 1 };
            changes.is_less |= known.n_absent >= ABSENT_MIN;
            known.n_absent < ABSENT_MIN
        });
        (changes, result)
    }

    /// Returns everything that the files hold.
    pub(crate) fn found(&self) -> Loaded {
        let mut all = Loaded::default();
        self.known.values().for_each(|known| all.extend(known.loaded.clone()));
        all
    }

    /// Returns the files that were read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.known.keys()
    }

    /// Returns whether what once stood in a file and stands nowhere now was taken out of it: the
    /// file is gone for certain, or was read in whole.
    pub(crate) fn has_given_up(&self, file: &Path) -> bool {
        match self.known.get(file) {
            Some(known) => !known.is_broken && known.n_absent == 0,
            None => self.n_looks >= ABSENT_MIN && !is_hidden(&self.roots, file),
        }
    }

    /// Returns whether a file is among those that are looked at.
    pub(crate) fn covers(&self, file: &Path) -> bool {
        self.roots.iter().any(|root| file.starts_with(&root.path))
    }

    fn look_at(&mut self, index: usize, changes: &mut Changes) -> Result<Vec<PathBuf>> {
        let root = &mut self.roots[index];
        let files = match (root.is_folder, root.path.is_dir()) {
            (true, false) => Err(anyhow::anyhow!("{} is no folder any more", root.path.display())),
            // What cannot be seen is not gone: the whole root is as it was.
            _ => manifests::files(&root.path).and_then(|found| match found.unreadable.first() {
                Some(problem) => Err(anyhow::anyhow!("{}", problem.message)),
                None => Ok(found.files),
            }),
        };
        root.is_readable = files.is_ok();
        let mut present = Vec::new();
        for file in files? {
            let Some(stamp) = stamp(&file.path) else { continue };
            if self.read(&file, stamp) {
                changes.written.insert(file.path.clone());
            }
            present.push(file.path);
        }
        Ok(present)
    }

    /// Reads a file if it is not as it was; returns whether it was read.
    fn read(&mut self, file: &ManifestFile, before: Stamp) -> bool {
        let known = self.known.get(&file.path);
        if known.is_some_and(|known| known.stamp == Some(before)) {
            return false;
        }
        let read = manifests::read(file, &self.namespace);
        // One that was written to meanwhile, or just before, is read again the next time.
        let is_settled = stamp(&file.path) == Some(before) && before.is_settled();
        let stamp = is_settled.then_some(before);
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(error) => Loaded { problems: vec![file.unreadable(&error)], ..Loaded::default() },
        };
        let is_same = known.is_some_and(|known| known.loaded == loaded && known.stamp.is_none());
        let is_broken = loaded.is_partial || !loaded.problems.is_empty();
        self.known.insert(file.path.clone(), Known { stamp, loaded, is_broken, n_absent: 0 });
        !is_same
    }
}

impl Stamp {
    fn is_settled(self) -> bool {
        let now = jiff::Timestamp::now().as_second();
        self.modified.0.max(self.changed.0) + SETTLED_SECONDS < now
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
        bytes: metadata.len(),
    })
}

/// Returns whether a file cannot be seen, which is not the same as gone.
fn is_hidden(roots: &[Root], file: &Path) -> bool {
    roots.iter().any(|root| !root.is_readable && file.starts_with(&root.path))
}
