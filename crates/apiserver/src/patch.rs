//! Patches: merge, JSON and strategic merge patches, and what is applied.

mod apply;
mod json;
mod strategic;

use json_patch::PatchOperation;
use serde_json::{Map, Value};

use crate::{decode, resource::Resource, status::Status};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// A change of an object.
#[derive(Debug)]
pub(crate) enum Patch {
    Merge(Value),
    Json(Vec<PatchOperation>),
    Strategic(Map<String, Value>),
    /// What its sender wants to own of the object.
    Apply(Value),
}

impl Patch {
    /// Reads a patch of the media type that the request names; also returns what is wrong with it
    /// but could be read all the same.
    pub(crate) fn parse(
        resource: &Resource,
        media_type: &str,
        body: &[u8],
    ) -> Result<(Patch, Vec<String>), Status> {
        let object = |body: &[u8]| {
            let input = decode::json(body)?;
            match input.object {
                Value::Object(fields) => Ok((fields, input.problems)),
                _ => Err(Status::bad_request("the patch must be an object")),
            }
        };
        match decode::essence(media_type) {
            JSON => Ok((Patch::Json(json::parse(body)?), Vec::new())),
            MERGE => {
                let (fields, problems) = object(body)?;
                Ok((Patch::Merge(Value::Object(fields)), problems))
            }
            STRATEGIC if resource.is_builtin => {
                let (fields, problems) = object(body)?;
                Ok((Patch::Strategic(fields), problems))
            }
            APPLY => {
                let input = decode::yaml(body)?;
                Ok((Patch::Apply(input.object), input.problems))
            }
            _ => Err(Status::unsupported_media_type(media_types(resource))),
        }
    }

    /// Changes an object. What is applied changes it by its owners and not here.
    pub(crate) fn change(
        &self,
        resource: &Resource,
        name: &str,
        object: &mut Value,
    ) -> Result<(), Status> {
        match self {
            Patch::Merge(patch) => {
                json_patch::merge(object, patch);
                Ok(())
            }
            Patch::Json(operations) => json::apply(operations, resource, name, object),
            Patch::Strategic(patch) => strategic::apply(object, patch, resource.schema.as_deref()),
            Patch::Apply(_) => Ok(()),
        }
    }
}

/// Returns the media types of the patches that a resource takes.
pub(crate) fn media_types(resource: &Resource) -> &'static [&'static str] {
    if resource.is_builtin { &[JSON, MERGE, STRATEGIC, APPLY] } else { &[JSON, MERGE, APPLY] }
}
