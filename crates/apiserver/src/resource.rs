//! The resources that are served: names, scope, subresources, schema.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value};

use crate::{object, rules::Rules, schema::Schema};

/// A resource in one of its versions.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) is_namespaced: bool,
    pub(crate) has_status: bool,
    /// Whether its objects count the generations of what is wanted.
    pub(crate) has_generation: bool,
    /// Fields that a field selector may name.
    pub(crate) selectable: Vec<String>,
    /// What its objects look like; built-in resources take any fields.
    pub(crate) schema: Option<Schema>,
    pub(crate) rules: Option<Rules>,
    /// Fields that are called otherwise in the store: (here, there).
    pub(crate) renames: &'static [(&'static str, &'static str)],
    /// The version in which its objects are stored, with its group.
    pub(crate) stored_as: String,
    /// Where its objects are stored; versions of one resource share it.
    pub(crate) id: Arc<str>,
}

impl Resource {
    /// Returns `group/version`, or the version alone in the core group.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Returns `plural.group`, as messages name a resource.
    pub(crate) fn qualified(&self) -> String {
        qualify(&self.plural, &self.group)
    }

    /// Returns `Kind.group`, as messages name a kind.
    pub(crate) fn qualified_kind(&self) -> String {
        qualify(&self.kind, &self.group)
    }

    /// Turns an object as it is stored into one of this version.
    pub(crate) fn present(&self, stored: &Value) -> Value {
        let mut object = stored.clone();
        if !self.renames.is_empty() {
            rename(&mut object, self.renames.iter().map(|(here, there)| (*there, *here)));
        }
        self.set_type(&mut object, self.api_version());
        object
    }

    /// Turns an object of this version into one to be stored.
    pub(crate) fn store(&self, object: &mut Value) {
        if !self.renames.is_empty() {
            rename(object, self.renames.iter().copied());
        }
        self.set_type(object, self.stored_as.clone());
    }

    fn set_type(&self, object: &mut Value, api_version: String) {
        object::set_field(object, "apiVersion", Some(Value::String(api_version)));
        object::set_field(object, "kind", Some(Value::String(self.kind.clone())));
    }
}

pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

fn rename<'a>(object: &mut Value, renames: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let mut renamed = Map::new();
    for (from, to) in renames {
        if let Some(value) = object.remove(from) {
            renamed.insert(to.to_owned(), value);
        }
    }
    object.append(&mut renamed);
}

/// Every resource that is served.
#[derive(Debug, Default)]
pub(crate) struct Table {
    resources: HashMap<(String, String, String), Arc<Resource>>,
}

impl Table {
    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.resources.get(&key).cloned()
    }

    /// Returns the resource of objects of this type.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let resource =
            self.resources.values().find(|r| r.kind == kind && r.api_version() == api_version);
        resource.cloned()
    }

    /// Returns the versions of a resource.
    pub(crate) fn versions(&self, group: &str, plural: &str) -> Vec<Arc<Resource>> {
        let versions = self.resources.values();
        versions.filter(|r| r.group == group && r.plural == plural).cloned().collect()
    }

    /// Returns the resources that live in namespaces.
    pub(crate) fn namespaced(&self) -> Vec<Arc<Resource>> {
        self.resources.values().filter(|resource| resource.is_namespaced).cloned().collect()
    }

    pub(crate) fn insert(&mut self, resource: Resource) {
        let key = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
        self.resources.insert(key, Arc::new(resource));
    }

    /// Removes all versions of a resource.
    pub(crate) fn remove(&mut self, group: &str, plural: &str) {
        self.resources.retain(|key, _| key.0 != group || key.2 != plural);
    }
}
