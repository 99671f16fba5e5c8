//! The server: its store, its table of resources, and the doors for the process that it runs in.

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::Router;
use clock::Clock;
use jiff::Timestamp;
use parking_lot::RwLock;
use serde_json::Value;

use crate::{
    builtin, object, openapi,
    resource::{Resource, Table},
    router,
    status::Status,
    store::{self, Damage, Door, OnDamage, OpenError, StatusKey, Store},
    write::{Options, Part, Written},
};

/// The namespace of what names none.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// A Kubernetes API. Cheap to clone; all clones are one server.
#[derive(Clone, Debug)]
pub struct Server {
    api: Arc<Api>,
}

/// Why an object could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The text is not YAML.
    #[error("cannot read the manifest")]
    Yaml(#[source] yaml::Error),
    /// No resource has this type.
    #[error("no resource is defined for kind {kind:?} of {api_version:?}")]
    UnknownKind {
        /// `apiVersion` of the object.
        api_version: String,
        /// `kind` of the object.
        kind: String,
    },
    /// The API refused the object.
    #[error(transparent)]
    Refused(#[from] Status),
}

/// What requests work on.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) table: RwLock<Table>,
    /// What was made of the table for those who ask what is served.
    pub(crate) index: openapi::Index,
    clock: Clock,
    /// Where identities come from: unpredictable for each process, distinct within it.
    random: RandomState,
    n_random: AtomicU64,
}

impl Server {
    /// Returns a server whose objects live in memory.
    pub fn in_memory(clock: Clock) -> Server {
        Server::of(Store::in_memory(), clock)
    }

    /// Returns a server whose objects live in a file, with those that are in it.
    ///
    /// The file is made if it is missing; its folder must exist. One server at a time has it
    /// open. A request that writes is answered when what it wrote is durable. If the file is
    /// damaged and `on_damage` says to move it aside, the server begins without objects, and
    /// what has happened is returned; the log has it too.
    pub fn open(
        path: &Path,
        clock: Clock,
        on_damage: OnDamage,
    ) -> Result<(Server, Option<Damage>), OpenError> {
        let (store, damage) = match (Store::open(path), on_damage) {
            (Err(OpenError::Damaged { reason, .. }), OnDamage::MoveAside) => {
                let damage = store::move_aside(path, reason)?;
                (Store::open(path)?, Some(damage))
            }
            (opened, OnDamage::MoveAside | OnDamage::Refuse) => (opened?, None),
        };
        Ok((Server::on_disk(store, clock), damage))
    }

    /// As [`Server::open`], for worlds under virtual time: the file is read and written by what
    /// `door` makes of it, and by whoever waits for a write, so that nothing depends on a thread.
    ///
    /// A damaged file is refused.
    pub fn open_unthreaded(path: &Path, clock: Clock, door: Door) -> Result<Server, OpenError> {
        Ok(Server::on_disk(Store::open_unthreaded(path, door)?, clock))
    }

    fn on_disk(store: Store, clock: Clock) -> Server {
        let server = Server::of(store, clock);
        server.api.redefine();
        server.api.resume_deletions();
        server
    }

    fn of(store: Store, clock: Clock) -> Server {
        let api = Api {
            store,
            table: RwLock::new(builtin::table()),
            index: openapi::Index::default(),
            clock,
            random: RandomState::new(),
            n_random: AtomicU64::new(0),
        };
        let server = Server { api: Arc::new(api) };
        // Like every cluster, it begins with the namespace that clients use unless told otherwise.
        if let Err(error) = server.api.ensure_namespace(DEFAULT_NAMESPACE) {
            tracing::error!(%error, "Could not create the default namespace");
        }
        server
    }

    /// Returns the service that answers requests.
    pub fn router(&self) -> Router {
        router::router(Arc::clone(&self.api))
    }

    /// Installs custom resource definitions, or replaces them.
    pub fn install_yaml(&self, definitions: &str) -> Result<(), LoadError> {
        for document in yaml::documents(definitions.as_bytes()) {
            let document = document.map_err(LoadError::Yaml)?;
            if !document.value.is_null() {
                self.load(&document.value)?;
            }
        }
        Ok(())
    }

    /// Installs one custom resource definition, or replaces it.
    pub fn install_crd(&self, definition: &Value) -> Result<(), LoadError> {
        self.load(definition).map(drop)
    }

    /// Applies an object as `manager`, which takes the fields it sets from whoever owned them.
    ///
    /// What the same manager applied before and now leaves out goes. The namespace is made if
    /// it is missing. Returns the object as it stands now.
    pub fn apply(&self, object: &Value, manager: &str) -> Result<Value, LoadError> {
        let (resource, namespace) = self.locate(object)?;
        self.api.ensure_namespace(&namespace)?;
        let key = (namespace, object::name(object).to_owned());
        let options = Options { manager: manager.to_owned(), force: true, ..Options::internal() };
        let applied = self.api.apply(&resource, &key, Part::Main, object, &options)?;
        Ok(applied.0.object)
    }

    /// Creates an object, or replaces what has its name. Its status is kept out, as by any client.
    ///
    /// Returns the object as it stands now. On disk it is after [`Server::flush`].
    pub fn load(&self, object: &Value) -> Result<Value, LoadError> {
        let (resource, namespace) = self.locate(object)?;
        let options = Options::internal();
        Ok(self.api.create_or_replace(&resource, &namespace, object, &options)?.object)
    }

    /// Replaces the status of an object that is there: how a server begins where another ended.
    ///
    /// Returns the object as it stands now.
    pub fn load_status(&self, object: &Value) -> Result<Value, LoadError> {
        let (resource, _) = self.locate(object)?;
        Ok(self.api.replace_status(&resource, object)?.object)
    }

    /// Returns the resource and the namespace that an object belongs to.
    fn locate(&self, object: &Value) -> Result<(Arc<Resource>, String), LoadError> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let found = self.api.table.read().of_kind(&api_version, &kind);
        let resource = found.ok_or(LoadError::UnknownKind { api_version, kind })?;
        let namespace = match (resource.is_namespaced, object::namespace(object)) {
            (false, _) => "",
            (true, "") => DEFAULT_NAMESPACE,
            (true, namespace) => namespace,
        };
        Ok((resource, namespace.to_owned()))
    }

    /// Waits until all that was loaded is durable.
    ///
    /// An error says that some of it, or of what others wrote meanwhile, is lost.
    pub async fn flush(&self) -> Result<(), Status> {
        let flushed = self.api.store.settled_all().await;
        flushed.map_err(|failed| {
            self.api.redefine();
            Status::not_written(&failed)
        })
    }

    /// Returns the last status of an object, or of one that does not exist yet.
    ///
    /// `resource` is the plural name and the group of its kind, with a dot between them.
    pub fn kept_status(
        &self,
        resource: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Value> {
        let key = (namespace.to_owned(), name.to_owned());
        match self.api.store.get(resource, &key) {
            Some(stored) => stored.value.get("status").cloned(),
            None => self.api.store.waiting_status(resource, kind, &key),
        }
    }

    /// Keeps statuses, all or none, and forgets those that were kept before.
    ///
    /// An object that exists gets its status; the statuses of others wait, and whoever creates
    /// the object finds it with its status. Keys are resource, namespace and name.
    pub async fn keep_statuses(
        &self,
        statuses: impl Iterator<Item = (StatusKey, Value)>,
    ) -> Result<(), Status> {
        let mark = self.api.store.mark();
        self.api.store.keep_statuses(statuses);
        let settled = self.api.store.settled(mark).await;
        settled.map_err(|failed| Status::not_written(&failed))
    }
}

impl Api {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the resource that a path names.
    pub(crate) fn resource(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Result<Arc<Resource>, Status> {
        self.table.read().get(group, version, plural).ok_or_else(Status::no_such_path)
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.hash_one(self.n_random.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns a new identity in the form of a random UUID.
    pub(crate) fn uid(&self) -> String {
        let (high, low) = (self.random(), self.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    fn create_or_replace(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        object: &Value,
        options: &Options,
    ) -> Result<Written, Status> {
        self.ensure_namespace(namespace)?;
        let name = object::name(object).to_owned();
        let mut object = object.clone();
        // What another server gave it means nothing here.
        for field in ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"]
        {
            object::metadata_mut(&mut object).remove(field);
        }
        let key = (namespace.to_owned(), name);
        let Some(old) = self.store.latest(&resource.id, &key) else {
            return self.create(resource, namespace, object, options);
        };
        // Finalizers belong to those who set them, not to a manifest that knows of none.
        if object::finalizers(&object).next().is_none() {
            object::keep(&mut object, &old.value, "finalizers");
        }
        self.replace_unconditionally(resource, &key, object, options)
    }
}
