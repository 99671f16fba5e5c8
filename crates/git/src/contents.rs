//! Everything in a commit, for whoever makes a copy of it.

use gix::{ObjectId, objs::Kind};

use crate::{
    limits::{PATH_BYTES_MAX, TREE_DEPTH_MAX},
    objects::ObjectError,
    snapshot::{Snapshot, SnapshotError, too_many},
    tree::{self, Mode},
};

/// Something in a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// From the root of the repository, as stored.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ItemKind,
    /// Its object.
    pub id: ObjectId,
}

/// What something in a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A folder; what is in it follows.
    Folder,
    /// A file.
    File {
        /// Whether it may be run.
        is_executable: bool,
    },
    /// A symbolic link.
    Symlink,
    /// A commit of another repository.
    Submodule,
}

impl Snapshot {
    /// Returns everything in the commit, in the order of Go's `filepath.Walk`.
    ///
    /// Names by which `.git` could be reached on some file system are left out.
    pub fn contents(&mut self) -> Result<Vec<Item>, SnapshotError> {
        let mut items = Vec::new();
        let root = self.tree();
        self.add_folder(root, &[], 0, &mut items)?;
        Ok(items)
    }

    /// Returns the contents of a file that [`Snapshot::contents`] has found.
    pub fn read_file(&mut self, id: ObjectId) -> Result<Vec<u8>, ObjectError> {
        Ok(self.objects().read(id, Kind::Blob)?.to_vec())
    }

    /// Returns the first line of the commit's message.
    pub fn subject(&mut self) -> Result<String, ObjectError> {
        let id = self.commit_id().0;
        let text = self.objects().read(id, Kind::Commit)?;
        // The message follows the first empty line of the commit.
        let headers = memchr::memmem::find(text, b"\n\n").map_or(text.len(), |at| at + 2);
        let subject = text[headers..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(String::from_utf8_lossy(subject).into_owned())
    }

    fn add_folder(
        &mut self,
        id: ObjectId,
        path: &[u8],
        depth: usize,
        items: &mut Vec<Item>,
    ) -> Result<(), SnapshotError> {
        if depth > TREE_DEPTH_MAX {
            return Err(too_many("folders within folders", TREE_DEPTH_MAX));
        }
        let limit = self.limits().walk_entries;
        for item in self.entries(id, path)? {
            let folder = (item.kind == ItemKind::Folder).then(|| (item.id, item.path.clone()));
            items.push(item);
            if items.len() > limit {
                return Err(too_many("files and folders", limit));
            }
            if let Some((id, path)) = folder {
                self.add_folder(id, &path, depth + 1, items)?;
            }
        }
        Ok(())
    }

    /// Returns what is in a folder, by name alone.
    fn entries(&mut self, id: ObjectId, path: &[u8]) -> Result<Vec<Item>, SnapshotError> {
        let data = self.objects().read(id, Kind::Tree)?;
        let entries = tree::parse(id, data)?;
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| !tree::is_dangerous(entry.name)) {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let path = [path, slash, entry.name].concat();
            if path.len() > PATH_BYTES_MAX {
                return Err(too_many("bytes in a path", PATH_BYTES_MAX));
            }
            let kind = match entry.mode {
                Mode::Folder => ItemKind::Folder,
                Mode::File => ItemKind::File { is_executable: entry.is_executable },
                Mode::Symlink => ItemKind::Symlink,
                Mode::Submodule => ItemKind::Submodule,
            };
            items.push(Item { path, kind, id: entry.id });
        }
        items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(items)
    }
}
