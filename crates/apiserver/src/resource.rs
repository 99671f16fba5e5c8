//! The resources that are served: names, scope, subresources, schema.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value};

use crate::{object, rules::Rules, schema::Schema, table::Column};

/// A resource in one of its versions.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    /// Names under which it is asked for together with others.
    pub(crate) categories: Vec<String>,
    pub(crate) is_namespaced: bool,
    pub(crate) has_status: bool,
    /// Whether its objects count the generations of what is wanted.
    pub(crate) has_generation: bool,
    /// What a table of its objects shows.
    pub(crate) columns: Vec<Column>,
    /// Fields that a field selector may name.
    pub(crate) selectable: Vec<String>,
    /// What whoever uses this version is warned with; empty for nothing.
    pub(crate) deprecation: String,
    /// Whether it is served without a definition.
    pub(crate) is_builtin: bool,
    /// Whether its definition was asked to go: nothing new is taken.
    pub(crate) is_going: bool,
    /// What its objects look like, as it was written.
    pub(crate) openapi: Arc<Value>,
    /// The same, compiled.
    pub(crate) schema: Option<Arc<Schema>>,
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

    /// Returns whether its objects go one by one: those that hold others do.
    pub(crate) fn goes_one_by_one(&self) -> bool {
        self.is_builtin && self.kind == "Namespace"
    }

    /// Returns whether the objects of a namespace, or of the cluster, can be deleted at once.
    pub(crate) fn has_delete_collection(&self, namespace: Option<&str>) -> bool {
        self.is_namespaced == namespace.is_some() && !self.goes_one_by_one()
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

pub(crate) fn qualify(name: &str, group: &str) -> String {
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

    /// Returns every resource: groups by name, versions best first, resources by name.
    pub(crate) fn all(&self) -> Vec<Arc<Resource>> {
        let mut all: Vec<Arc<Resource>> = self.resources.values().cloned().collect();
        all.sort_by(|a, b| {
            a.group
                .cmp(&b.group)
                .then_with(|| rank(&b.version).cmp(&rank(&a.version)))
                .then_with(|| a.version.cmp(&b.version))
                .then_with(|| a.plural.cmp(&b.plural))
        });
        all
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

/// Returns how good a version is: `v2` before `v1` before `v1beta2` before `v1alpha1` before any other name.
pub(crate) fn rank(version: &str) -> (u8, u64, u64) {
    const NONE: (u8, u64, u64) = (0, 0, 0);
    let Some(rest) = version.strip_prefix('v') else {
        return NONE;
    };
    let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (major, rest) = rest.split_at(n_digits);
    let Ok(major) = major.parse() else {
        return NONE;
    };
    let minor = |stability, digits: &str| match digits.parse() {
        Ok(minor) => (stability, major, minor),
        Err(_) => NONE,
    };
    if rest.is_empty() {
        (3, major, 0)
    } else if let Some(digits) = rest.strip_prefix("beta") {
        minor(2, digits)
    } else if let Some(digits) = rest.strip_prefix("alpha") {
        minor(1, digits)
    } else {
        NONE
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn stable_versions_come_first() {
        let mut versions =
            ["foo10", "v1", "v10beta3", "v2", "v1alpha1", "v11alpha2", "v3beta1", "v10"];
        versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v10beta3", "v3beta1", "v11alpha2", "v1alpha1", "foo10"]
        );
    }
}
