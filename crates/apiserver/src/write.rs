//! Writing: creating, replacing, patching and deleting objects.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    builtin::{self, DEFINITION_GROUP, DEFINITIONS},
    collect, definition,
    form::Form,
    managed_fields::{self, Writer},
    object,
    patch::Patch,
    query::{FieldValidation, Query},
    read,
    resource::Resource,
    server::{Api, DEFAULT_NAMESPACE},
    status::{FieldError, Problem, Status},
    store::{Expected, Key, Refused, Stored},
};

mod admit;
mod metadata;

pub(crate) use admit::{check_uid, prune};
pub(crate) use metadata::{key_problems, label_problems};

/// Attempts of a write that names no version, before the client hears of the conflict.
const ATTEMPTS_MAX: usize = 10;

/// Who owns what the server writes of its own.
const INTERNAL_MANAGER: &str = "apiserver";

/// How an object is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    /// Who writes.
    pub(crate) manager: String,
    /// Whether an apply takes fields from their owners.
    pub(crate) force: bool,
    /// What was wrong with the body but could be read all the same.
    pub(crate) problems: Vec<String>,
}

/// Where the owners of an object's fields come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// The writer becomes the owner of what changes.
    Changes,
    /// They stand in the object already.
    Given,
}

/// Which part of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
}

/// How an object is to be deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletion {
    pub(crate) dry_run: bool,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// What became of an object that was deleted.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// Finalizers hold it.
    Held(Value),
    /// Nothing is left of it.
    Gone { uid: String },
}

/// An object as it stands after a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

impl Options {
    /// Returns the options of the server's own writes.
    pub(crate) fn internal() -> Options {
        Options {
            dry_run: false,
            validation: FieldValidation::Ignore,
            manager: INTERNAL_MANAGER.to_owned(),
            force: false,
            problems: Vec::new(),
        }
    }
}

impl Part {
    /// Returns the part as paths and owners name it.
    pub(crate) fn subresource(self) -> &'static str {
        match self {
            Part::Main => "",
            Part::Status => "status",
        }
    }
}

impl Api {
    /// Creates an object.
    pub(crate) fn create(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        object: Value,
        options: &Options,
    ) -> Result<Written, Status> {
        self.create_tracked(resource, namespace, object, options, Tracking::Changes)
    }

    /// Creates an object whose owners come from where `tracking` says.
    pub(crate) fn create_tracked(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        mut object: Value,
        options: &Options,
        tracking: Tracking,
    ) -> Result<Written, Status> {
        admit::check_type(resource, &object)?;
        self.name(resource, namespace, &mut object)?;
        let warnings = admit::prune(resource, &mut object, options)?;
        if resource.has_status {
            object::set_field(&mut object, "status", None);
        }
        let given = admit::take_managed_fields(&mut object);
        self.initialise(resource, &mut object)?;
        admit::complete(resource, &mut object)?;
        admit::validate(resource, &object, None)?;
        let key: Key = (namespace.to_owned(), object::name(&object).to_owned());
        self.admits(resource, namespace, &key.1)?;
        if let Some(other) = self.store.latest(&resource.id, &key) {
            return Err(if object::is_terminating(&other.value) {
                Status::still_exists(resource, &key.1)
            } else {
                Status::already_exists(resource, &key.1)
            });
        }
        self.take_status(resource, &key, &mut object);
        let empty = json!({});
        self.track(resource, &empty, &mut object, given, Part::Main, options, tracking);
        admit::finish(resource, &mut object);
        resource.store(&mut object);
        if options.dry_run {
            return Ok(Written { object: resource.present(&object), warnings });
        }
        let stored = self.store.put(&resource.id, key.clone(), Expected::Absent, object).map_err(
            |refused| match refused {
                Refused::Conflict => Status::already_exists(resource, &key.1),
                refused => Status::refused(refused, resource, &key.1),
            },
        )?;
        self.defined(resource, &stored.value)?;
        Ok(Written { object: resource.present(&stored.value), warnings })
    }

    /// Gives a new object the status that was kept for it, unless its definition no longer takes it.
    fn take_status(&self, resource: &Resource, key: &Key, object: &mut Value) {
        let status = self.store.waiting_status(&resource.id, &resource.kind, key);
        let Some(status) = status.filter(|_| resource.has_status) else { return };
        let mut with_status = object.clone();
        object::set_field(&mut with_status, "status", Some(status));
        let is_taken = admit::prune(resource, &mut with_status, &Options::internal())
            .and_then(|_| admit::complete(resource, &mut with_status))
            .and_then(|()| admit::validate(resource, &with_status, None));
        match is_taken {
            Ok(()) => *object = with_status,
            Err(error) => {
                tracing::warn!(%error, name = key.1, "The kept status is not taken over");
            }
        }
    }

    /// Replaces an object, or its status.
    pub(crate) fn update(
        &self,
        resource: &Arc<Resource>,
        key: &Key,
        part: Part,
        object: Value,
        options: &Options,
    ) -> Result<Written, Status> {
        self.change(resource, key, part, options, Tracking::Changes, |_| {
            admit::check_names(key, &object)?;
            check_version(resource, key, &object)?;
            Ok(object.clone())
        })
    }

    /// Replaces an object whatever its version.
    pub(crate) fn replace_unconditionally(
        &self,
        resource: &Arc<Resource>,
        key: &Key,
        object: Value,
        options: &Options,
    ) -> Result<Written, Status> {
        self.change(resource, key, Part::Main, options, Tracking::Changes, |_| Ok(object.clone()))
    }

    /// Replaces the status of an object whatever its version.
    pub(crate) fn replace_status(
        &self,
        resource: &Arc<Resource>,
        object: &Value,
    ) -> Result<Written, Status> {
        let key = (object::namespace(object).to_owned(), object::name(object).to_owned());
        let options = Options::internal();
        self.change(resource, &key, Part::Status, &options, Tracking::Changes, |old| {
            let mut new = old.clone();
            object::metadata_mut(&mut new).remove("resourceVersion");
            object::set_field(&mut new, "status", object.get("status").cloned());
            Ok(new)
        })
    }

    /// Patches an object, or its status.
    pub(crate) fn patch(
        &self,
        resource: &Arc<Resource>,
        key: &Key,
        part: Part,
        patch: &Patch,
        options: &Options,
    ) -> Result<Written, Status> {
        self.change(resource, key, part, options, Tracking::Changes, |old| {
            let mut new = old.clone();
            patch.change(resource, &key.1, &mut new)?;
            admit::check_uid(resource, key, old, &new)?;
            Ok(new)
        })
    }

    /// Deletes an object, or marks it if finalizers hold it.
    pub(crate) fn delete(
        &self,
        resource: &Arc<Resource>,
        key: &Key,
        deletion: &Deletion,
    ) -> Result<Deleted, Status> {
        for _ in 0..ATTEMPTS_MAX {
            let old = self.existing(resource, key)?;
            if collect::is_namespace(resource) && key.1 == DEFAULT_NAMESPACE {
                let why = "this namespace may not be deleted";
                return Err(Status::forbidden(resource, &key.1, why));
            }
            deletion.check(resource, &old)?;
            let mut object = old.value.clone();
            let has_finalizers = object::finalizers(&object).next().is_some();
            let is_held = has_finalizers || self.holds_others(resource, &key.1);
            if is_held && (deletion.dry_run || (has_finalizers && object::is_terminating(&object)))
            {
                return Ok(Deleted::Held(resource.present(&object)));
            }
            let gone = Deleted::Gone { uid: object::uid(&object).to_owned() };
            if deletion.dry_run {
                return Ok(gone);
            }
            if is_held {
                self.mark_deleted(resource, &mut object);
                let expected = Expected::Revision(old.revision);
                if let Ok(stored) = self.store.put(&resource.id, key.clone(), expected, object) {
                    self.defined(resource, &stored.value)?;
                    self.clear(resource, &key.1);
                    return Ok(Deleted::Held(resource.present(&stored.value)));
                }
            } else if self.store.remove(&resource.id, key.clone(), old.revision, object).is_ok() {
                self.removed(resource, key);
                return Ok(gone);
            }
        }
        Err(Status::modified(resource, &key.1))
    }

    /// Deletes every object that the request selects; returns them.
    pub(crate) fn delete_all(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        query: &Query,
        deletion: &Deletion,
    ) -> Result<Value, Status> {
        let selector = read::selector(resource, query)?;
        let mut objects = self.store.latest_all(&resource.id, namespace);
        objects.retain(|stored| selector.matches(&stored.value));
        for stored in &objects {
            match self.delete(resource, &key_of(&stored.value), deletion) {
                // Someone else was faster.
                Err(status) if status.reason == "NotFound" => {}
                result => drop(result?),
            }
        }
        let items: Vec<Value> =
            objects.iter().map(|stored| resource.present(&stored.value)).collect();
        let metadata = read::list_metadata(resource, self.store.revision());
        Ok(Form::Whole.list(resource, metadata, items, self.now()))
    }

    /// Computes a new object from the old one and swaps them, again if someone was faster.
    pub(crate) fn change(
        &self,
        resource: &Arc<Resource>,
        key: &Key,
        part: Part,
        options: &Options,
        tracking: Tracking,
        compute: impl Fn(&Value) -> Result<Value, Status>,
    ) -> Result<Written, Status> {
        for _ in 0..ATTEMPTS_MAX {
            let old = self.existing(resource, key)?;
            let shown = resource.present(&old.value);
            let mut new = compute(&shown)?;
            // Of a patch that names no version this is the one that it was computed from.
            let version = object::text(&new, "resourceVersion");
            if !version.is_empty() && version != old.revision.to_string() {
                return Err(Status::modified(resource, &key.1));
            }
            let warnings = admit::prune(resource, &mut new, options)?;
            let given = admit::take_managed_fields(&mut new);
            let mut new = admit::succeed(resource, key, &shown, new, part)?;
            self.track(resource, &shown, &mut new, given, part, options, tracking);
            if admit::is_same(&shown, &new) || options.dry_run {
                return Ok(Written { object: new, warnings });
            }
            if let Some(object) = self.swap(resource, key, &old, new)? {
                return Ok(Written { object, warnings });
            }
        }
        Err(Status::modified(resource, &key.1))
    }

    /// Sets the owners of an object's fields.
    #[expect(clippy::too_many_arguments, reason = "each is another fact of one write")]
    fn track(
        &self,
        resource: &Resource,
        old: &Value,
        new: &mut Value,
        given: Option<Value>,
        part: Part,
        options: &Options,
        tracking: Tracking,
    ) {
        match tracking {
            Tracking::Given => object::set_metadata(new, "managedFields", given),
            Tracking::Changes => {
                let (manager, now) = (options.manager.as_str(), self.timestamp());
                let writer = Writer { manager, subresource: part.subresource(), now: &now };
                managed_fields::update(resource, old, new, given.as_ref(), writer);
            }
        }
    }

    /// Swaps an object; returns the new one, or `None` if someone was faster.
    ///
    /// An object that is to go and is held by nothing any more goes.
    fn swap(
        &self,
        resource: &Arc<Resource>,
        key: &Key,
        old: &Stored,
        mut new: Value,
    ) -> Result<Option<Value>, Status> {
        resource.store(&mut new);
        let is_last = object::is_terminating(&new)
            && object::finalizers(&new).next().is_none()
            && !self.holds_others(resource, &key.1);
        let result = if is_last {
            self.store.remove(&resource.id, key.clone(), old.revision, new)
        } else {
            let expected = Expected::Revision(old.revision);
            self.store.put(&resource.id, key.clone(), expected, new)
        };
        let stored = match result {
            Ok(stored) => stored,
            Err(Refused::Conflict) => return Ok(None),
            Err(refused) => return Err(Status::refused(refused, resource, &key.1)),
        };
        if is_last {
            self.removed(resource, key);
        } else {
            self.defined(resource, &stored.value)?;
        }
        Ok(Some(resource.present(&stored.value)))
    }

    fn existing(&self, resource: &Resource, key: &Key) -> Result<Stored, Status> {
        self.store.latest(&resource.id, key).ok_or_else(|| Status::not_found(resource, &key.1))
    }

    fn mark_deleted(&self, resource: &Resource, object: &mut Value) {
        if object::is_terminating(object) {
            return;
        }
        let generation = object::generation(object);
        let metadata = object::metadata_mut(object);
        metadata.insert("deletionTimestamp".to_owned(), json!(self.timestamp()));
        if !collect::is_namespace(resource) {
            metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
        }
        if generation > 0 {
            metadata.insert("generation".to_owned(), json!(generation + 1));
        }
        if collect::is_namespace(resource) {
            object["status"]["phase"] = json!("Terminating");
        }
    }

    pub(crate) fn timestamp(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Serves what the definitions in the store define, and nothing else.
    pub(crate) fn redefine(&self) {
        let Ok(resource) = self.resource(DEFINITION_GROUP, "v1", DEFINITIONS) else { return };
        let mut table = builtin::table();
        for stored in self.store.latest_all(&resource.id, None) {
            match definition::compile(&stored.value) {
                Ok(resources) => resources.into_iter().for_each(|resource| table.insert(resource)),
                Err(errors) => {
                    let name = object::name(&stored.value);
                    let error = Status::invalid(&resource, name, &errors);
                    tracing::error!(%error, name, "The definition cannot be served");
                }
            }
        }
        *self.table.write() = table;
    }

    /// Takes notice of a definition that was written.
    fn defined(&self, resource: &Resource, object: &Value) -> Result<(), Status> {
        if !is_definition(resource) {
            return Ok(());
        }
        let name = object::name(object);
        let resources =
            definition::compile(object).map_err(|e| Status::invalid(resource, name, &e))?;
        let (plural, group) = name.split_once('.').unwrap_or_default();
        let mut table = self.table.write();
        table.remove(group, plural);
        resources.into_iter().for_each(|resource| table.insert(resource));
        Ok(())
    }
}

impl Deletion {
    fn check(&self, resource: &Resource, old: &Stored) -> Result<(), Status> {
        let name = object::name(&old.value);
        let conflict = |what: &str, wanted: &str, actual: &str, perhaps: &str| {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({actual}). The object might have been {perhaps}"
            );
            Err(Status::precondition_failed(resource, name, &why))
        };
        let (uid, version) = (object::uid(&old.value), old.revision.to_string());
        match (&self.uid, &self.resource_version) {
            (Some(wanted), _) if wanted != uid => {
                conflict("UID", wanted, uid, "deleted and then recreated")
            }
            (_, Some(wanted)) if *wanted != version => {
                conflict("ResourceVersion", wanted, &version, "modified")
            }
            _ => Ok(()),
        }
    }
}

/// Checks the version that an update names. Custom resources are never replaced blindly.
fn check_version(resource: &Resource, key: &Key, object: &Value) -> Result<(), Status> {
    let version = object::text(object, "resourceVersion");
    if version.is_empty() && !resource.is_builtin {
        let detail = "must be specified for an update";
        let problem = Problem::Invalid { value: "0".to_owned(), detail: detail.to_owned() };
        let error = FieldError::new("metadata.resourceVersion", problem);
        return Err(Status::invalid_update(resource, &key.1, error));
    }
    if !version.is_empty() && version.parse::<u64>().is_err() {
        let message = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
        return Err(Status::unexplained(message));
    }
    Ok(())
}

/// Returns whether objects of a resource define others.
pub(crate) fn is_definition(resource: &Resource) -> bool {
    resource.group == DEFINITION_GROUP && resource.plural == DEFINITIONS
}

fn key_of(object: &Value) -> Key {
    (object::namespace(object).to_owned(), object::name(object).to_owned())
}
