//! What goes when something else goes: the objects of a namespace, and those of a definition.
//!
//! A namespace or a definition that still holds something is only marked; it goes with the
//! last object that is in it. Objects in their turn may be held by finalizers.

use std::sync::Arc;

use serde_json::json;

use crate::{
    builtin::{DEFINITION_GROUP, DEFINITIONS},
    object,
    resource::Resource,
    server::Api,
    status::Status,
    store::Key,
    write::{Deletion, Options, is_definition},
};

impl Api {
    /// Returns whether an object holds others that must go before it.
    pub(crate) fn holds_others(&self, resource: &Resource, name: &str) -> bool {
        self.contents(resource, name)
            .iter()
            .any(|(resource, namespace)| self.store.has_any(&resource.id, namespace.as_deref()))
    }

    /// Deletes what an object holds; what finalizers hold there stays for now.
    pub(crate) fn clear(&self, resource: &Resource, name: &str) {
        for (resource, namespace) in self.contents(resource, name) {
            for stored in self.store.latest_all(&resource.id, namespace.as_deref()) {
                let key = (
                    object::namespace(&stored.value).to_owned(),
                    object::name(&stored.value).to_owned(),
                );
                // An object that someone else has just removed is as gone as it can be.
                let _ = self.delete(&resource, &key, &Deletion::default());
            }
        }
    }

    /// Goes on with what was being deleted when the last process ended.
    pub(crate) fn resume_deletions(&self) {
        for (group, plural) in [("", "namespaces"), (DEFINITION_GROUP, DEFINITIONS)] {
            let Ok(resource) = self.resource(group, "v1", plural) else {
                continue;
            };
            for stored in self.store.latest_all(&resource.id, None) {
                if object::is_terminating(&stored.value) {
                    let name = object::name(&stored.value);
                    self.clear(&resource, name);
                    self.release(group, plural, name);
                }
            }
        }
    }

    /// Takes notice of an object that is gone: whatever waited for it may go too.
    pub(crate) fn removed(&self, resource: &Resource, key: &Key) {
        if is_definition(resource) {
            let (plural, group) = key.1.split_once('.').unwrap_or_default();
            self.table.write().remove(group, plural);
        }
        if resource.is_namespaced {
            self.release("", "namespaces", &key.0);
        }
        if !resource.is_builtin {
            self.release(DEFINITION_GROUP, DEFINITIONS, &resource.id);
        }
    }

    /// Checks that an object may be created where it is to live.
    pub(crate) fn admits(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        if resource.is_going {
            return Err(Status::not_allowed(
                "create not allowed while custom resource definition is terminating",
            ));
        }
        if !resource.is_namespaced {
            return Ok(());
        }
        let namespaces = self.resource("", "v1", "namespaces")?;
        let key = (String::new(), namespace.to_owned());
        let Some(stored) = self.store.latest(&namespaces.id, &key) else {
            return Err(Status::not_found(&namespaces, namespace));
        };
        if object::is_terminating(&stored.value) {
            return Err(Status::namespace_terminating(resource, name, namespace));
        }
        Ok(())
    }

    /// Returns the resources, each with the namespace, that an object holds.
    fn contents(&self, resource: &Resource, name: &str) -> Vec<(Arc<Resource>, Option<String>)> {
        let table = self.table.read();
        if is_definition(resource) {
            let (plural, group) = name.split_once('.').unwrap_or_default();
            let defined = table.versions(group, plural).into_iter().next();
            return defined.into_iter().map(|defined| (defined, None)).collect();
        }
        if !is_namespace(resource) {
            return Vec::new();
        }
        let mut resources = table.namespaced();
        resources.sort_by(|a, b| a.id.cmp(&b.id));
        resources.dedup_by(|a, b| a.id == b.id);
        resources.into_iter().map(|resource| (resource, Some(name.to_owned()))).collect()
    }

    /// Removes a namespace or a definition that was asked to go, if nothing holds it any more.
    fn release(&self, group: &str, plural: &str, name: &str) {
        let Ok(resource) = self.resource(group, "v1", plural) else {
            return;
        };
        let key = (String::new(), name.to_owned());
        let Some(stored) = self.store.latest(&resource.id, &key) else {
            return;
        };
        let is_held = !object::is_terminating(&stored.value)
            || object::finalizers(&stored.value).next().is_some()
            || self.holds_others(&resource, name);
        if is_held {
            return;
        }
        // Whoever was faster than this removal has removed it.
        let value = stored.value.clone();
        if self.store.remove(&resource.id, key.clone(), stored.revision, value).is_ok() {
            self.removed(&resource, &key);
        }
    }

    /// Makes a namespace if it is missing: manifests often leave it out.
    pub(crate) fn ensure_namespace(&self, namespace: &str) -> Result<(), Status> {
        let resource = self.resource("", "v1", "namespaces")?;
        let key = (String::new(), namespace.to_owned());
        if namespace.is_empty() || self.store.latest(&resource.id, &key).is_some() {
            return Ok(());
        }
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        match self.create(&resource, "", object, &Options::internal()) {
            // Someone else was faster.
            Err(status) if status.reason == "AlreadyExists" => Ok(()),
            result => result.map(drop),
        }
    }
}

pub(crate) fn is_namespace(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}
