//! Reads manifests of older versions as the version that is served.
//!
//! Only manifests from files come here: an API server serves one version.

use serde_json::Value;

use crate::kinds::{IMAGE_GROUP, Kind, SOURCE_GROUP};

/// A manifest of the served version.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The manifest.
    pub value: Value,
    /// What was changed, a sentence each.
    pub notices: Vec<String>,
}

/// Why a manifest of one of our kinds cannot be read as the served version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The object is of none of our kinds.
    #[error("`{api_version}` `{kind}` is not a kind that is reconciled here")]
    UnknownKind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// The version's fields differ too much.
    #[error("{object}: version `{found}` cannot be read; write it as `{served}`")]
    Version {
        /// Kind, namespace and name.
        object: String,
        /// The `apiVersion` it has.
        found: String,
        /// The `apiVersion` it should have.
        served: String,
    },
}

/// Versions whose objects differ from `v1` by removed fields alone.
fn older_versions(group: &str) -> &'static [&'static str] {
    match group {
        IMAGE_GROUP | SOURCE_GROUP => &["v1beta2", "v1beta1"],
        _ => &[],
    }
}

/// Fields of a spec that older versions had, that had no effect of their own in the end.
fn removed_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::GitRepository => &["gitImplementation", "accessFrom"],
        Kind::ImageRepository | Kind::ImagePolicy | Kind::ImageUpdateAutomation => &[],
    }
}

/// Returns a manifest of one of our kinds in the version that is served.
///
/// The status of an older version is dropped: its fields differ, and a manifest's status says nothing.
pub fn convert(mut value: Value) -> Result<Converted, ConvertError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, name) = (text(&value["apiVersion"]), text(&value["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let Some(kind) = Kind::of(group, &name) else {
        return Err(ConvertError::UnknownKind { api_version, kind: name });
    };
    let served = kind.api_version();
    if api_version == served {
        return Ok(Converted { value, notices: Vec::new() });
    }
    let metadata = &value["metadata"];
    let object = match metadata["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{}", text(&metadata["name"])),
        None => format!("{kind} {}", text(&metadata["name"])),
    };
    if !older_versions(group).contains(&version) {
        return Err(ConvertError::Version { object, found: api_version, served });
    }
    let mut notices = vec![format!("{object}: `{api_version}` is read as `{served}`")];
    if let Some(spec) = value["spec"].as_object_mut() {
        for field in removed_fields(kind) {
            if spec.remove(*field).is_some() {
                notices.push(format!("{object}: `spec.{field}` no longer exists and is ignored"));
            }
        }
    }
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
        fields.insert("apiVersion".to_owned(), served.into());
    }
    Ok(Converted { value, notices })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, expected: Result<(Value, usize), &str>) {
        match (convert(value), expected) {
            (Ok(converted), Ok((value, n_notices))) => {
                assert_eq!(converted.value, value);
                assert_eq!(converted.notices.len(), n_notices, "{:?}", converted.notices);
            }
            (Err(error), Err(text)) => assert_eq!(error.to_string(), text),
            (converted, _) => panic!("{converted:?}"),
        }
    }

    #[test]
    fn the_served_version_is_left_as_it_is() {
        let policy =
            json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy", "x": 1});
        check(policy.clone(), Ok((policy, 0)));
    }

    #[test]
    fn older_versions_lose_their_status_and_removed_fields() {
        let old = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1beta2", "kind": "GitRepository",
            "metadata": {"name": "g"}, "spec": {"url": "u", "gitImplementation": "go-git"}, "status": {},
        });
        let new = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "g"}, "spec": {"url": "u"},
        });
        check(old, Ok((new, 2)));
    }

    #[test]
    fn other_versions_and_kinds_are_errors() {
        check(
            json!({"apiVersion": "image.toolkit.fluxcd.io/v1alpha1", "kind": "ImagePolicy",
                "metadata": {"name": "p", "namespace": "ns"}}),
            Err("ImagePolicy ns/p: version `image.toolkit.fluxcd.io/v1alpha1` cannot be read; \
                 write it as `image.toolkit.fluxcd.io/v1`"),
        );
        check(
            json!({"apiVersion": "apps/v1", "kind": "Deployment"}),
            Err("`apps/v1` `Deployment` is not a kind that is reconciled here"),
        );
        check(Value::Null, Err("`` `` is not a kind that is reconciled here"));
    }
}
