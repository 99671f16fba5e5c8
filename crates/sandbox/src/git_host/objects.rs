//! Objects in memory, and what is reachable from what.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use gix::{
    ObjectId,
    hash::Kind as HashKind,
    objs::{self, CommitRef, Kind, TagRef, TreeRef, WriteTo, tree::EntryKind},
};

use super::GitError;

#[derive(Clone)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) data: Bytes,
}

/// A file of a tree, with its whole path.
#[derive(Clone)]
pub(super) struct File {
    pub(super) mode: objs::tree::EntryMode,
    pub(super) id: ObjectId,
}

#[derive(Clone, Default)]
pub(super) struct Objects {
    by_id: HashMap<ObjectId, Object>,
}

impl Objects {
    pub(super) fn insert(&mut self, kind: Kind, data: Bytes) -> ObjectId {
        let id = id_of(kind, &data);
        self.by_id.entry(id).or_insert(Object { kind, data });
        id
    }

    pub(super) fn write(&mut self, object: &impl WriteTo) -> ObjectId {
        let mut data = Vec::new();
        object.write_to(&mut data).expect("memory can be written");
        self.insert(object.kind(), data.into())
    }

    pub(super) fn get(&self, id: &ObjectId) -> Option<&Object> {
        self.by_id.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ObjectId, &Object)> {
        self.by_id.iter()
    }

    pub(super) fn need(&self, id: &ObjectId) -> Result<&Object, GitError> {
        self.get(id).ok_or(GitError::NoObject(*id))
    }

    pub(super) fn commit(&self, id: &ObjectId) -> Result<CommitRef<'_>, GitError> {
        let object = self.need(id)?;
        if object.kind != Kind::Commit {
            return Err(GitError::BadObject(*id));
        }
        CommitRef::from_bytes(&object.data, HashKind::Sha1).map_err(|_| GitError::BadObject(*id))
    }

    /// Follows annotated tags to what they name.
    pub(super) fn peel(&self, id: &ObjectId) -> Result<ObjectId, GitError> {
        let mut id = *id;
        loop {
            let object = self.need(&id)?;
            if object.kind != Kind::Tag {
                return Ok(id);
            }
            // A tag names what existed before it, so this ends.
            id = tag_target(&id, object)?;
        }
    }

    /// Returns what an object names directly; a commit of a submodule lives elsewhere.
    pub(super) fn links(&self, id: &ObjectId) -> Result<Vec<ObjectId>, GitError> {
        let object = self.need(id)?;
        match object.kind {
            Kind::Blob => Ok(Vec::new()),
            Kind::Tag => Ok(vec![tag_target(id, object)?]),
            Kind::Commit => {
                let commit = self.commit(id)?;
                Ok(std::iter::once(commit.tree()).chain(commit.parents()).collect())
            }
            Kind::Tree => Ok(tree(id, object)?
                .entries
                .iter()
                .filter(|entry| !entry.mode.is_commit())
                .map(|entry| entry.oid.to_owned())
                .collect()),
        }
    }

    /// Returns everything reachable from `roots` that is not reached through `stop`, roots first.
    ///
    /// The parents of the commits in `shallow` are left out.
    pub(super) fn reachable(
        &self,
        roots: impl IntoIterator<Item = ObjectId>,
        stop: &HashSet<ObjectId>,
        shallow: &HashSet<ObjectId>,
    ) -> Result<Vec<ObjectId>, GitError> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut pending: Vec<ObjectId> = roots.into_iter().collect();
        while let Some(id) = pending.pop() {
            if stop.contains(&id) || !seen.insert(id) {
                continue;
            }
            found.push(id);
            if shallow.contains(&id) {
                pending.push(self.commit(&id)?.tree());
            } else {
                pending.extend(self.links(&id)?);
            }
        }
        Ok(found)
    }

    /// Returns the files of a tree and of all trees in it, by path.
    pub(super) fn files(&self, root: ObjectId) -> Result<BTreeMap<String, File>, GitError> {
        let mut files = BTreeMap::new();
        let mut pending = vec![(String::new(), root)];
        while let Some((prefix, id)) = pending.pop() {
            for entry in &tree(&id, self.need(&id)?)?.entries {
                let path = format!("{prefix}{}", entry.filename);
                if entry.mode.is_tree() {
                    pending.push((format!("{path}/"), entry.oid.to_owned()));
                } else {
                    files.insert(path, File { mode: entry.mode, id: entry.oid.to_owned() });
                }
            }
        }
        Ok(files)
    }

    /// Writes the trees that hold `files` and returns the root.
    pub(super) fn write_trees(&mut self, files: &BTreeMap<String, File>) -> ObjectId {
        let mut folders: BTreeMap<&str, BTreeMap<String, File>> = BTreeMap::new();
        let mut entries = Vec::new();
        for (path, file) in files {
            if let Some((folder, rest)) = path.split_once('/') {
                folders.entry(folder).or_default().insert(rest.to_owned(), file.clone());
            } else {
                entries.push(entry(file.mode, path, file.id));
            }
        }
        for (name, files) in &folders {
            let id = self.write_trees(files);
            entries.push(entry(EntryKind::Tree.into(), name, id));
        }
        entries.sort();
        self.write(&objs::Tree { entries })
    }
}

pub(super) fn id_of(kind: Kind, data: &[u8]) -> ObjectId {
    objs::compute_hash(HashKind::Sha1, kind, data).expect("our own objects collide with nothing")
}

fn entry(mode: objs::tree::EntryMode, name: &str, oid: ObjectId) -> objs::tree::Entry {
    objs::tree::Entry { mode, filename: name.into(), oid }
}

fn tree<'a>(id: &ObjectId, object: &'a Object) -> Result<TreeRef<'a>, GitError> {
    if object.kind != Kind::Tree {
        return Err(GitError::BadObject(*id));
    }
    TreeRef::from_bytes(&object.data, HashKind::Sha1).map_err(|_| GitError::BadObject(*id))
}

fn tag_target(id: &ObjectId, object: &Object) -> Result<ObjectId, GitError> {
    TagRef::from_bytes(&object.data, HashKind::Sha1)
        .map(|tag| tag.target())
        .map_err(|_| GitError::BadObject(*id))
}
