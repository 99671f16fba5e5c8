//! Patches: merge patch and JSON patch.

use json_patch::{PatchOperation, jsonptr::PointerBuf};
use serde_json::Value;

use crate::{resource::Resource, status::Status};

/// Operations of the longest JSON patch, as in Kubernetes.
const OPERATIONS_MAX: usize = 10_000;

/// Bytes that the copies of one JSON patch may add: each could double the object.
const COPIES_MAX: usize = 3 << 20;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A change of an object.
#[derive(Debug)]
pub(crate) enum Patch {
    Merge(Value),
    Json(Vec<PatchOperation>),
}

impl Patch {
    /// Reads a patch of the media type that the request names.
    pub(crate) fn parse(media_type: &str, body: &[u8]) -> Result<Patch, Status> {
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let bad = |error: serde_json::Error| Status::bad_request(error.to_string());
        match media_type {
            MERGE_PATCH => {
                let patch: Value = serde_json::from_slice(body).map_err(bad)?;
                if patch.is_object() {
                    Ok(Patch::Merge(patch))
                } else {
                    Err(Status::bad_request("a merge patch must be an object"))
                }
            }
            JSON_PATCH => {
                let operations: Vec<PatchOperation> = serde_json::from_slice(body).map_err(bad)?;
                if operations.len() > OPERATIONS_MAX {
                    return Err(Status::too_large(OPERATIONS_MAX));
                }
                Ok(Patch::Json(operations))
            }
            _ => Err(Status::unsupported_media_type(&[JSON_PATCH, MERGE_PATCH])),
        }
    }

    /// Changes an object.
    pub(crate) fn apply(
        &self,
        resource: &Resource,
        name: &str,
        object: &mut Value,
    ) -> Result<(), Status> {
        let operations = match self {
            Patch::Merge(patch) => {
                json_patch::merge(object, patch);
                return Ok(());
            }
            Patch::Json(operations) => operations,
        };
        let mut n_copied = 0;
        for operation in operations {
            if let PatchOperation::Copy(copy) = operation {
                n_copied += size_at(object, &copy.from);
                if n_copied > COPIES_MAX {
                    return Err(Status::too_large(COPIES_MAX));
                }
            }
            json_patch::patch(object, std::slice::from_ref(operation)).map_err(|error| {
                let what = resource.qualified();
                Status::unprocessable(format!("cannot apply the patch to {what} {name:?}: {error}"))
            })?;
        }
        Ok(())
    }
}

fn size_at(object: &Value, pointer: &PointerBuf) -> usize {
    object.pointer(pointer.as_str()).map_or(0, |value| value.to_string().len())
}
