//! A commit's files, read from the mirror: walked, looked into, and changed into a next commit.

mod ahead;

use std::sync::Arc;

use api::path::clamp;
use gix::{ObjectId, objs::Kind};

use crate::{
    blob_index::{BlobIndex, Finder, SkipReason, Skipped, Summary, SummaryHit},
    commit::{self, Commit, CommitError, FileChange, Signature},
    limits::{Limits, PATH_BYTES_MAX, TREE_DEPTH_MAX},
    objects::{ObjectError, Objects},
    reference::CommitId,
    tree::{self, Entry, Mode, TreeError},
};

/// Passed-over entries that are reported for a folder; beyond it they are only passed over.
const SKIPPED_MAX: usize = 1_000;

/// A commit whose files can be read. Reading blocks: it belongs into the mirror's pool.
pub struct Snapshot {
    objects: Objects,
    limits: Limits,
    commit: CommitId,
    tree: ObjectId,
}

/// A file in which something was found.
#[derive(Debug)]
pub struct Hit<V> {
    /// From the root of the repository.
    pub path: String,
    /// From the folder that was walked; the file's name if the path named a file.
    pub relative: String,
    /// The blob.
    pub id: ObjectId,
    /// What was found.
    pub value: Arc<V>,
}

/// What a walk found, in the order of Go's `filepath.Walk`.
#[derive(Debug)]
pub struct Walk<V> {
    /// Files in which something was found.
    pub hits: Vec<Hit<V>>,
    /// What was not looked into.
    pub skipped: Vec<Skipped>,
    /// Folders and blobs that had to be read; nothing when nothing changed.
    pub n_read: usize,
}

/// Why files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is nothing at the path to walk.
    #[error("path `{path}` does not exist in commit {commit}")]
    NoPath {
        /// The path asked for.
        path: String,
        /// The commit.
        commit: CommitId,
    },
    /// The path leads through a link or another repository.
    #[error("path `{path}` leads through a symbolic link or submodule, which is never followed")]
    Link {
        /// The path asked for.
        path: String,
    },
    /// An object could not be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A folder is not one that Git accepts.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// More than is walked.
    #[error("the repository exceeds the limit of {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: usize,
    },
}

impl Snapshot {
    pub(crate) fn new(
        objects: Objects,
        limits: Limits,
        commit: CommitId,
        tree: ObjectId,
    ) -> Snapshot {
        Snapshot { objects, limits, commit, tree }
    }

    /// Returns the commit.
    pub fn commit_id(&self) -> CommitId {
        self.commit
    }

    /// Returns the contents of a file found by [`Snapshot::walk`].
    pub fn read(&mut self, id: ObjectId) -> Result<Vec<u8>, ObjectError> {
        Ok(self.objects.read_up_to(id, Kind::Blob, self.limits.file_bytes)?.to_vec())
    }

    /// Returns the contents of the regular file at this path, or none if there is none.
    pub fn read_path(&mut self, path: &str) -> Result<Option<Vec<u8>>, SnapshotError> {
        match self.locate(&clamp(path)) {
            Ok((Mode::File, id)) => Ok(Some(self.read(id)?)),
            Ok(_) | Err(SnapshotError::NoPath { .. } | SnapshotError::Link { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks into the regular files at and below `path`, reading only what is new to the index.
    ///
    /// `path` is cleaned as Flux cleans `spec.update.path`: `..` never leaves the repository.
    pub fn walk<F: Finder>(
        &mut self,
        path: &str,
        index: &BlobIndex<F>,
    ) -> Result<Walk<F::Value>, SnapshotError> {
        let root = clamp(path);
        let (mode, id) = self.locate(&root)?;
        let mut walker = Walker {
            objects: &mut self.objects,
            limits: &self.limits,
            index,
            n_read: 0,
            n_entries: 0,
        };
        let walked = match mode {
            Mode::Folder => walker
                .look_ahead(id)
                .and_then(|()| walker.folder(id, 0))
                .and_then(|summary| walker.collect(&root, &summary)),
            Mode::File | Mode::Symlink | Mode::Submodule => {
                walker.single(id, &root).and_then(|s| walker.collect(parent_of(&root), &s))
            }
        };
        index.save();
        walked
    }

    /// Makes a commit on top of this one; none if no file differs. The snapshot then is that commit.
    pub(crate) fn commit(
        &mut self,
        changes: &[FileChange],
        signature: &Signature,
        message: &str,
    ) -> Result<Option<Commit>, CommitError> {
        let commit =
            commit::commit(&mut self.objects, self.commit, self.tree, changes, signature, message)?;
        if let Some(commit) = &commit {
            (self.commit, self.tree) = (commit.id, commit.tree);
        }
        Ok(commit)
    }

    pub(crate) fn tree(&self) -> ObjectId {
        self.tree
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn objects(&mut self) -> &mut Objects {
        &mut self.objects
    }

    /// Returns what is at a cleaned path: a folder or a file.
    fn locate(&mut self, path: &str) -> Result<(Mode, ObjectId), SnapshotError> {
        let missing = SnapshotError::NoPath { path: path.to_owned(), commit: self.commit };
        let mut at = (Mode::Folder, self.tree);
        let names = path.split('/').filter(|name| !name.is_empty());
        for name in names {
            if at.0 != Mode::Folder {
                return Err(missing);
            }
            let data = self.objects.read(at.1, Kind::Tree)?;
            let entries = tree::parse(at.1, data)?;
            let Some(entry) = entries.iter().find(|entry| entry.name == name.as_bytes()) else {
                return Err(missing);
            };
            if matches!(entry.mode, Mode::Symlink | Mode::Submodule) {
                return Err(SnapshotError::Link { path: path.to_owned() });
            }
            at = (entry.mode, entry.id);
        }
        Ok(at)
    }
}

fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

struct Walker<'a, F: Finder> {
    objects: &'a mut Objects,
    limits: &'a Limits,
    index: &'a BlobIndex<F>,
    n_read: usize,
    n_entries: usize,
}

/// An entry, owned, so that its folder's bytes can make room for the next.
struct Owned {
    mode: Mode,
    name: Vec<u8>,
    id: ObjectId,
}

impl<F: Finder> Walker<'_, F> {
    /// Returns what lies in and below a folder.
    fn folder(&mut self, id: ObjectId, depth: usize) -> Result<Arc<Summary>, SnapshotError> {
        if let Some(summary) = self.index.folder(&id) {
            return Ok(summary);
        }
        if depth > TREE_DEPTH_MAX {
            return Err(too_many("folders within folders", TREE_DEPTH_MAX));
        }
        let mut summary = Summary::default();
        for entry in self.entries(id)? {
            self.entry(&entry, depth, &mut summary)?;
            if summary.hits.len() > self.limits.walk_hits {
                return Err(too_many("files with findings", self.limits.walk_hits));
            }
        }
        summary.skipped.truncate(SKIPPED_MAX);
        Ok(self.index.set_folder(id, summary))
    }

    /// Returns a folder's entries as Go walks them: by name alone.
    fn entries(&mut self, id: ObjectId) -> Result<Vec<Owned>, SnapshotError> {
        self.n_read += 1;
        let data = self.objects.read(id, Kind::Tree)?;
        let parsed = tree::parse(id, data)?;
        self.n_entries += parsed.len();
        if self.n_entries > self.limits.walk_entries {
            return Err(too_many("files and folders", self.limits.walk_entries));
        }
        let finder = self.index.finder();
        let is_candidate =
            |name: &[u8]| std::str::from_utf8(name).is_ok_and(|n| finder.is_candidate(n));
        let interesting = |entry: &&Entry<'_>| entry.mode != Mode::File || is_candidate(entry.name);
        let mut entries: Vec<Owned> = parsed
            .iter()
            .filter(interesting)
            .map(|entry| Owned { mode: entry.mode, name: entry.name.to_vec(), id: entry.id })
            .collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn entry(
        &mut self,
        entry: &Owned,
        depth: usize,
        summary: &mut Summary,
    ) -> Result<(), SnapshotError> {
        let reason = match (entry.mode, std::str::from_utf8(&entry.name)) {
            _ if tree::is_dangerous(&entry.name) => SkipReason::DangerousName,
            (Mode::Symlink, _) => SkipReason::Symlink,
            (Mode::Submodule, _) => SkipReason::Submodule,
            (Mode::Folder | Mode::File, Err(_)) => SkipReason::Encoding,
            (Mode::File, Ok(name)) => return self.file(entry.id, name, summary),
            (Mode::Folder, Ok(name)) => {
                let below = self.folder(entry.id, depth + 1)?;
                return append(summary, name, &below);
            }
        };
        let path = String::from_utf8_lossy(&entry.name).into_owned();
        summary.skipped.push(Skipped { path, reason });
        Ok(())
    }

    fn file(
        &mut self,
        id: ObjectId,
        name: &str,
        summary: &mut Summary,
    ) -> Result<(), SnapshotError> {
        match self.find(id) {
            Ok(Some(_)) => summary.hits.push(SummaryHit { path: name.to_owned(), id }),
            Ok(None) => {}
            Err(ObjectError::TooLarge { .. }) => {
                let path = name.to_owned();
                summary.skipped.push(Skipped { path, reason: SkipReason::TooLarge });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Returns what is in a blob, reading it only if the index does not know.
    fn find(&mut self, id: ObjectId) -> Result<Option<Arc<F::Value>>, ObjectError> {
        if let Some(known) = self.index.blob(&id) {
            return Ok(known);
        }
        self.n_read += 1;
        let bytes = self.objects.read_up_to(id, Kind::Blob, self.limits.file_bytes)?;
        Ok(self.index.set_blob(id, self.index.finder().find(bytes)))
    }

    /// Returns the summary of a path that names a file.
    fn single(&mut self, id: ObjectId, path: &str) -> Result<Arc<Summary>, SnapshotError> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut summary = Summary::default();
        if self.index.finder().is_candidate(name) {
            self.file(id, name, &mut summary)?;
        }
        Ok(Arc::new(summary))
    }

    /// Returns the walk that a summary stands for.
    fn collect(&mut self, root: &str, summary: &Summary) -> Result<Walk<F::Value>, SnapshotError> {
        let mut hits = Vec::with_capacity(summary.hits.len());
        for SummaryHit { path, id } in &summary.hits {
            if let Some(value) = self.find(*id)? {
                let relative = path.clone();
                hits.push(Hit { path: join(root, path), relative, id: *id, value });
            }
        }
        let skipped = summary
            .skipped
            .iter()
            .map(|skipped| Skipped { path: join(root, &skipped.path), reason: skipped.reason })
            .collect();
        Ok(Walk { hits, skipped, n_read: self.n_read })
    }
}

pub(crate) fn too_many(what: &'static str, limit: usize) -> SnapshotError {
    SnapshotError::Limit { what, limit }
}

/// Adds what lies below a folder, with its name in front.
fn append(summary: &mut Summary, name: &str, below: &Summary) -> Result<(), SnapshotError> {
    for hit in &below.hits {
        let path = join(name, &hit.path);
        if path.len() > PATH_BYTES_MAX {
            return Err(too_many("bytes in a path", PATH_BYTES_MAX));
        }
        summary.hits.push(SummaryHit { path, id: hit.id });
    }
    let room = SKIPPED_MAX.saturating_sub(summary.skipped.len());
    summary.skipped.extend(
        below
            .skipped
            .iter()
            .take(room)
            .map(|skipped| Skipped { path: join(name, &skipped.path), reason: skipped.reason }),
    );
    Ok(())
}
