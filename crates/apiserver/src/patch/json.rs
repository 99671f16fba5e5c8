//! JSON patches (RFC 6902).

use json_patch::{AddOperation, PatchOperation, jsonptr::PointerBuf};
use serde_json::Value;

use crate::{resource::Resource, status::Status};

/// Operations of the longest patch, as in Kubernetes.
const OPERATIONS_MAX: usize = 10_000;

/// Bytes that the copies of one patch may add: each could double the object.
const COPIES_MAX: usize = 3 << 20;

pub(super) fn parse(body: &[u8]) -> Result<Vec<PatchOperation>, Status> {
    let operations: Vec<Value> =
        serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))?;
    // What cannot even be tried is as wrong as what fails.
    let operations = operations.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
    let operations: Vec<PatchOperation> =
        operations.map_err(|error| Status::unprocessable(error.to_string()))?;
    if operations.len() > OPERATIONS_MAX {
        return Err(Status::too_large(OPERATIONS_MAX));
    }
    Ok(operations)
}

pub(super) fn apply(
    operations: &[PatchOperation],
    resource: &Resource,
    name: &str,
    object: &mut Value,
) -> Result<(), Status> {
    let mut n_copied = 0;
    for operation in operations {
        if let PatchOperation::Copy(copy) = operation {
            n_copied += size_at(object, &copy.from);
            if n_copied > COPIES_MAX {
                return Err(Status::too_large(COPIES_MAX));
            }
        }
        let operation = lenient(operation, object);
        json_patch::patch(object, std::slice::from_ref(&operation)).map_err(|error| {
            let what = resource.qualified();
            Status::unprocessable(format!("cannot apply the patch to {what} {name:?}: {error}"))
        })?;
    }
    Ok(())
}

/// Returns the operation that is meant: Kubernetes lets a field be replaced that is not there.
fn lenient(operation: &PatchOperation, object: &Value) -> PatchOperation {
    if let PatchOperation::Replace(replace) = operation
        && let Some((parent, _)) = replace.path.split_back()
        && object.pointer(parent.as_str()).is_some_and(Value::is_object)
    {
        let (path, value) = (replace.path.clone(), replace.value.clone());
        return PatchOperation::Add(AddOperation { path, value });
    }
    operation.clone()
}

fn size_at(object: &Value, pointer: &PointerBuf) -> usize {
    object.pointer(pointer.as_str()).map_or(0, |value| value.to_string().len())
}
