//! Reads objects of a mirror, every one checked against its id, and holds new ones until pushed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gix::{
    ObjectId,
    objs::{Exists, Find, FindHeader, Kind, Write},
    odb::store::iter::Ordering as PackOrder,
};

use crate::limits::Limits;

/// Objects are read in the order of the packs when they are at least this share of all packed ones.
const ORDERED_SHARE: u64 = 16;

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is not there, or not what it should be: the mirror is dropped and made anew.
    #[error("object {id} of the local mirror is missing or damaged")]
    Damaged {
        /// The object.
        id: ObjectId,
    },
    /// It is something else than it was read as.
    #[error("object {id} is not a {expected}")]
    Kind {
        /// The object.
        id: ObjectId,
        /// What it should be.
        expected: Kind,
    },
    /// It is larger than is looked into.
    #[error("object {id} has more than {limit} bytes")]
    TooLarge {
        /// The object.
        id: ObjectId,
        /// What is accepted, in bytes.
        limit: u64,
    },
    /// The caller's time is over.
    #[error("the mirror was not read in time")]
    Interrupted,
}

/// An object that exists only in memory so far.
#[derive(Clone)]
pub(crate) struct Staged {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    pub(crate) data: Arc<[u8]>,
    /// The object it replaces, which the server has.
    pub(crate) base: Option<ObjectId>,
}

/// Objects of one mirror, and staged ones above them.
pub(crate) struct Objects {
    handle: gix::odb::Handle,
    staged: HashMap<ObjectId, Staged>,
    /// Set when something was found missing or damaged.
    damaged: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    object_bytes_max: u64,
    buffer: Vec<u8>,
}

impl Objects {
    pub(crate) fn new(
        handle: gix::odb::Handle,
        damaged: Arc<AtomicBool>,
        stop: Arc<AtomicBool>,
        limits: &Limits,
    ) -> Objects {
        let object_bytes_max = limits.object_bytes;
        let staged = HashMap::new();
        Objects { handle, staged, damaged, stop, object_bytes_max, buffer: Vec::new() }
    }

    /// Returns another reader of the same objects, for another thread.
    pub(crate) fn another(&self) -> Objects {
        Objects {
            handle: self.handle.clone(),
            staged: self.staged.clone(),
            damaged: Arc::clone(&self.damaged),
            stop: Arc::clone(&self.stop),
            object_bytes_max: self.object_bytes_max,
            buffer: Vec::new(),
        }
    }

    /// Returns the contents of an object of this kind.
    pub(crate) fn read(&mut self, id: ObjectId, kind: Kind) -> Result<&[u8], ObjectError> {
        self.read_up_to(id, kind, self.object_bytes_max)
    }

    /// Returns the contents of an object of this kind and of at most this size.
    pub(crate) fn read_up_to(
        &mut self,
        id: ObjectId,
        kind: Kind,
        limit: u64,
    ) -> Result<&[u8], ObjectError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ObjectError::Interrupted);
        }
        let found = match self.staged.get(&id) {
            Some(staged) => {
                self.buffer.clear();
                self.buffer.extend_from_slice(&staged.data);
                staged.kind
            }
            None => self.load(id, limit)?,
        };
        if found != kind {
            return Err(ObjectError::Kind { id, expected: kind });
        }
        Ok(&self.buffer)
    }

    /// Returns whether an object is there, without reading it.
    pub(crate) fn contains(&self, id: &ObjectId) -> bool {
        self.staged.contains_key(id) || self.handle.exists(id)
    }

    /// Returns the ids in the order in which their objects lie in the packs; those that are in none come last.
    ///
    /// Most objects of a pack are stored as changes of one that lies before them: read in this order, each is made from one that
    /// was just read. The order of all objects is not worth finding for a few of them.
    pub(crate) fn in_pack_order(&self, mut ids: Vec<ObjectId>) -> Vec<ObjectId> {
        let n_packed = self.handle.packed_object_count().unwrap_or(u64::MAX);
        if n_packed / ORDERED_SHARE > ids.len() as u64 {
            return ids;
        }
        let Ok(all) = self.handle.iter() else { return ids };
        let all = all.with_ordering(PackOrder::PackAscendingOffsetThenLooseLexicographical);
        let mut wanted: HashSet<ObjectId> = ids.iter().copied().collect();
        let ordered: Vec<ObjectId> = all.flatten().filter(|id| wanted.remove(id)).collect();
        ids.retain(|id| wanted.contains(id));
        ordered.into_iter().chain(ids).collect()
    }

    /// Adds an object in memory and returns its id.
    pub(crate) fn stage(&mut self, kind: Kind, data: Vec<u8>, base: Option<ObjectId>) -> Staged {
        let id = hash(kind, &data);
        let staged = Staged { id, kind, data: data.into(), base };
        self.staged.insert(id, staged.clone());
        staged
    }

    /// Writes objects to the mirror itself.
    pub(crate) fn write(&self, objects: &[Staged]) -> std::io::Result<()> {
        for object in objects {
            self.handle
                .write_buf_with_known_id(object.kind, &object.data, object.id)
                .map_err(|error| std::io::Error::other(error.to_string()))?;
            tracing::trace!(target: "durable", step = "object written", "Durable step");
        }
        Ok(())
    }

    fn load(&mut self, id: ObjectId, limit: u64) -> Result<Kind, ObjectError> {
        let header = match FindHeader::try_header(&self.handle, &id) {
            Ok(Some(header)) => header,
            Ok(None) | Err(_) => return Err(self.damage(id)),
        };
        if header.size > limit {
            return Err(ObjectError::TooLarge { id, limit });
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let kind = match self.handle.try_find(&id, &mut buffer) {
            Ok(Some(object)) if hash(object.kind, object.data) == id => Some(object.kind),
            Ok(_) | Err(_) => None,
        };
        self.buffer = buffer;
        kind.ok_or_else(|| self.damage(id))
    }

    fn damage(&self, id: ObjectId) -> ObjectError {
        self.damaged.store(true, Ordering::Relaxed);
        ObjectError::Damaged { id }
    }
}

/// Returns the id of an object.
pub(crate) fn hash(kind: Kind, data: &[u8]) -> ObjectId {
    use sha1::{Digest, Sha1};
    let mut hasher = Sha1::new();
    hasher.update(format!("{kind} {}\0", data.len()));
    hasher.update(data);
    ObjectId::Sha1(hasher.finalize().into())
}
