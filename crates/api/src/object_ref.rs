//! References between objects.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Kind;

/// Names an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalObjectReference {
    /// Name of the object.
    pub name: String,
}

/// Names an object, of the same namespace unless it says another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacedObjectReference {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; absent means the referrer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl NamespacedObjectReference {
    /// Returns the namespace that is meant when the referrer lives in `own`.
    pub fn namespace_or<'a>(&'a self, own: &'a str) -> &'a str {
        namespace_or(self.namespace.as_deref(), own)
    }
}

/// One object of ours: the key of queues, indexes and reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// Returns the reference to this object.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> ObjectRef {
        ObjectRef { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// An empty namespace means the same as none.
pub(crate) fn namespace_or<'a>(namespace: Option<&'a str>, own: &'a str) -> &'a str {
    namespace.filter(|namespace| !namespace.is_empty()).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::NamespacedObjectReference;

    #[test]
    fn an_empty_namespace_means_the_referrers_own() {
        for (namespace, expected) in [(None, "own"), (Some(""), "own"), (Some("other"), "other")] {
            let reference = NamespacedObjectReference {
                name: "x".to_owned(),
                namespace: namespace.map(str::to_owned),
            };
            assert_eq!(reference.namespace_or("own"), expected);
        }
    }
}
