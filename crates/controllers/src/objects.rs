//! The objects as last seen, by kind. The driver alone writes here: from its watches and from the
//! replies to its own writes, so that a run never works on something older than what it wrote.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    image::{ImagePolicy, ImageRepository, ImageUpdateAutomation},
    source::GitRepository,
};
use parking_lot::RwLock;

use crate::queue::ObjectKey;

/// The objects of all kinds.
#[derive(Default)]
pub struct Objects {
    /// Sources.
    pub git_repositories: Store<GitRepository>,
    /// Image repositories.
    pub image_repositories: Store<ImageRepository>,
    /// Policies.
    pub image_policies: Store<ImagePolicy>,
    /// Automations.
    pub automations: Store<ImageUpdateAutomation>,
}

/// The objects of one kind.
pub struct Store<K> {
    entries: RwLock<BTreeMap<ObjectKey, Entry<K>>>,
}

/// An object, or why it cannot be read.
pub type Decoded<K> = Result<Arc<K>, Arc<str>>;

struct Entry<K> {
    resource_version: String,
    object: Decoded<K>,
}

/// What an observation replaced.
pub enum Observed<K> {
    /// The store has this or something newer already.
    Stale,
    /// The object is new to the store.
    New,
    /// It took the place of this.
    Changed(Decoded<K>),
}

impl<K> Default for Store<K> {
    fn default() -> Store<K> {
        Store { entries: RwLock::default() }
    }
}

impl<K> Store<K> {
    /// Returns an object, or why it cannot be read; `None` when there is none.
    pub fn get(&self, key: &ObjectKey) -> Option<Decoded<K>> {
        self.entries.read().get(key).map(|entry| entry.object.clone())
    }

    /// Returns an object that can be read.
    pub fn find(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.get(key)?.ok()
    }

    /// Returns the objects of a namespace that can be read, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<(ObjectKey, Arc<K>)> {
        let entries = self.entries.read();
        let from = ObjectKey::new(namespace, "");
        let of_namespace = entries.range(from..).take_while(|(key, _)| key.namespace == namespace);
        of_namespace.filter_map(readable).collect()
    }

    /// Returns the keys of the readable objects that `wanted` accepts.
    pub fn keys_where(&self, wanted: impl Fn(&ObjectKey, &K) -> bool) -> Vec<ObjectKey> {
        let entries = self.entries.read();
        let objects = entries
            .iter()
            .filter_map(|(key, entry)| entry.object.as_ref().ok().map(|object| (key, object)));
        objects.filter(|(key, object)| wanted(key, object)).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the keys of all objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.entries.read().keys().cloned().collect()
    }

    /// Returns all objects, by key.
    pub fn all(&self) -> Vec<(ObjectKey, Decoded<K>)> {
        let entries = self.entries.read();
        entries.iter().map(|(key, entry)| (key.clone(), entry.object.clone())).collect()
    }

    /// Returns whether this version of an object, or a newer one, is known. Whatever a watch says of
    /// our own writes is, and need not be read again.
    pub(crate) fn knows(&self, key: &ObjectKey, resource_version: &str) -> bool {
        let entries = self.entries.read();
        entries.get(key).is_some_and(|known| !is_newer(resource_version, &known.resource_version))
    }

    /// Takes note of an object unless something newer is known.
    pub(crate) fn observe(
        &self,
        key: &ObjectKey,
        resource_version: &str,
        object: Decoded<K>,
    ) -> Observed<K> {
        let mut entries = self.entries.write();
        let entry = Entry { resource_version: resource_version.to_owned(), object };
        match entries.get(key) {
            Some(known) if !is_newer(resource_version, &known.resource_version) => Observed::Stale,
            _ => match entries.insert(key.clone(), entry) {
                Some(before) => Observed::Changed(before.object),
                None => Observed::New,
            },
        }
    }

    /// Drops an object and returns it.
    pub(crate) fn remove(&self, key: &ObjectKey) -> Option<Decoded<K>> {
        self.entries.write().remove(key).map(|entry| entry.object)
    }
}

fn readable<K>((key, entry): (&ObjectKey, &Entry<K>)) -> Option<(ObjectKey, Arc<K>)> {
    Some((key.clone(), Arc::clone(entry.object.as_ref().ok()?)))
}

/// Kubernetes promises that the resource versions of one resource compare as whole numbers. Where
/// they are none, whatever comes last counts.
fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}
