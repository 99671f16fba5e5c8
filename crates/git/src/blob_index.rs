//! What a caller's function finds in blobs, kept by blob and folder id, so nothing is read twice.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use gix::ObjectId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Entries kept in memory, blobs and folders each; about 100 MB when full of small values.
const MEMORY_ENTRIES_MAX: usize = 500_000;

/// Largest value that is kept in the store, in bytes; larger ones are found anew.
const STORED_BYTES_MAX: usize = 4 << 20;

/// A pure function from the bytes of a file to what is of interest in it.
pub trait Finder: Send + Sync + 'static {
    /// What is found.
    type Value: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Names this function's rules: other rules, other number. Kept values are void then.
    fn version(&self) -> u32;

    /// Returns whether a file of this name, without its folders, is looked into.
    fn is_candidate(&self, file_name: &str) -> bool;

    /// Returns what is in these bytes, or none if nothing is.
    fn find(&self, bytes: &[u8]) -> Option<Self::Value>;
}

/// Keeps entries between processes. It may forget whatever it wants.
pub trait IndexStore: Send + Sync {
    /// Returns the value under a key.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Keeps these entries.
    fn put(&self, entries: Vec<(Vec<u8>, Vec<u8>)>);
}

/// An index over blobs and folders of any number of repositories.
pub struct BlobIndex<F: Finder> {
    finder: F,
    store: Option<Arc<dyn IndexStore>>,
    blobs: Mutex<Generations<ObjectId, Option<Arc<F::Value>>>>,
    folders: Mutex<Generations<ObjectId, Arc<Summary>>>,
    unsaved: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
}

/// What lies in and below a folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Files in which something is found, by path from the folder, in walking order.
    pub(crate) hits: Vec<SummaryHit>,
    /// What was passed over.
    pub(crate) skipped: Vec<Skipped>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SummaryHit {
    pub(crate) path: String,
    #[serde(with = "hex")]
    pub(crate) id: ObjectId,
}

/// Something that was not looked into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// From the root of the repository; bytes that are no UTF-8 as U+FFFD.
    pub path: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why something was not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkipReason {
    /// A symbolic link, which is never followed.
    Symlink,
    /// Another repository's commit.
    Submodule,
    /// A name that some file system takes for `.git`.
    DangerousName,
    /// A name that is not UTF-8.
    Encoding,
    /// A file beyond the size that is looked into.
    TooLarge,
}

impl<F: Finder> BlobIndex<F> {
    /// Returns an index that lives in memory.
    pub fn in_memory(finder: F) -> BlobIndex<F> {
        BlobIndex {
            finder,
            store: None,
            blobs: Mutex::default(),
            folders: Mutex::default(),
            unsaved: Mutex::default(),
        }
    }

    /// Returns an index that is kept in a store as well.
    pub fn with_store(finder: F, store: Arc<dyn IndexStore>) -> BlobIndex<F> {
        BlobIndex { store: Some(store), ..BlobIndex::in_memory(finder) }
    }

    pub(crate) fn finder(&self) -> &F {
        &self.finder
    }

    /// Returns what is known of a blob: nothing, or whether something was found and what.
    pub(crate) fn blob(&self, id: &ObjectId) -> Option<Option<Arc<F::Value>>> {
        if let Some(found) = self.blobs.lock().get(id) {
            return Some(found);
        }
        let stored = self.stored(b'b', id)?;
        let value = match stored.as_slice() {
            b"" => None,
            json => Some(Arc::new(serde_json::from_slice(json).ok()?)),
        };
        self.blobs.lock().insert(*id, value.clone());
        Some(value)
    }

    pub(crate) fn set_blob(&self, id: ObjectId, value: Option<F::Value>) -> Option<Arc<F::Value>> {
        let json = || match &value {
            None => Some(Vec::new()),
            Some(value) => serde_json::to_vec(value).ok(),
        };
        self.remember(b'b', &id, json);
        let value = value.map(Arc::new);
        self.blobs.lock().insert(id, value.clone());
        value
    }

    pub(crate) fn folder(&self, id: &ObjectId) -> Option<Arc<Summary>> {
        if let Some(found) = self.folders.lock().get(id) {
            return Some(found);
        }
        let summary = Arc::new(serde_json::from_slice(&self.stored(b't', id)?).ok()?);
        self.folders.lock().insert(*id, Arc::clone(&summary));
        Some(summary)
    }

    pub(crate) fn set_folder(&self, id: ObjectId, summary: Summary) -> Arc<Summary> {
        self.remember(b't', &id, || serde_json::to_vec(&summary).ok());
        let summary = Arc::new(summary);
        self.folders.lock().insert(id, Arc::clone(&summary));
        summary
    }

    /// Hands what is new to the store, in one piece.
    pub(crate) fn save(&self) {
        let entries = std::mem::take(&mut *self.unsaved.lock());
        if let Some(store) = &self.store
            && !entries.is_empty()
        {
            store.put(entries);
        }
    }

    fn stored(&self, kind: u8, id: &ObjectId) -> Option<Vec<u8>> {
        self.store.as_ref()?.get(&self.key(kind, id))
    }

    fn remember(&self, kind: u8, id: &ObjectId, json: impl FnOnce() -> Option<Vec<u8>>) {
        if self.store.is_none() {
            return;
        }
        if let Some(json) = json().filter(|json| json.len() <= STORED_BYTES_MAX) {
            self.unsaved.lock().push((self.key(kind, id), json));
        }
    }

    /// Kind, version of the function, id.
    fn key(&self, kind: u8, id: &ObjectId) -> Vec<u8> {
        let mut key = Vec::with_capacity(25);
        key.push(kind);
        key.extend_from_slice(&self.finder.version().to_be_bytes());
        key.extend_from_slice(id.as_slice());
        key
    }
}

/// A map that forgets what was not asked for while half of it was filled anew.
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Generations<K, V> {
        Generations { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash + Copy, V: Clone> Generations<K, V> {
    fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(*key, value.clone());
        Some(value)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= MEMORY_ENTRIES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

mod hex {
    use gix::ObjectId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &ObjectId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectId, D::Error> {
        let text = String::deserialize(from)?;
        ObjectId::from_hex(text.as_bytes()).map_err(|_| D::Error::custom("not an object id"))
    }
}
