//! What objects look like, as OpenAPI names it.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::{builtin, resource::Resource};

/// Names of what all kinds share.
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Keywords that version 2 does not have.
const NEW_KEYWORDS: [&str; 4] = ["anyOf", "oneOf", "not", "nullable"];

/// Returns the name of a resource's objects, such as `com.example.v1.Widget`.
pub(super) fn name(resource: &Resource) -> String {
    let (group, version, kind) = (&resource.group, &resource.version, &resource.kind);
    match group.as_str() {
        "" => format!("io.k8s.api.core.{version}.{kind}"),
        "apiextensions.k8s.io" => {
            format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}")
        }
        "events.k8s.io" => format!("io.k8s.api.events.{version}.{kind}"),
        _ => {
            let reversed: Vec<&str> = group.rsplit('.').collect();
            format!("{}.{version}.{kind}", reversed.join("."))
        }
    }
}

/// Returns the name of a list of them.
pub(super) fn list_name(resource: &Resource) -> String {
    let name = name(resource);
    let namespace = name.strip_suffix(&resource.kind).unwrap_or(&name);
    format!("{namespace}{}", resource.list_kind)
}

pub(super) fn reference(name: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::Two => json!({"$ref": format!("#/definitions/{name}")}),
        Dialect::Three => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

/// Returns the schemas that all kinds share.
pub(super) fn shared(dialect: Dialect) -> Map<String, Value> {
    let text = json!({"type": "string"});
    let shared = [
        (OBJECT_META, builtin::metadata_as_written().clone()),
        (
            LIST_META,
            json!({
                "description": "What every list has beside its items.",
                "type": "object",
                "properties": {
                    "continue": text,
                    "remainingItemCount": {"type": "integer", "format": "int64"},
                    "resourceVersion": text,
                    "selfLink": text,
                },
            }),
        ),
        (
            DELETE_OPTIONS,
            json!({
                "description": "How an object is to be deleted.",
                "type": "object",
                "properties": {
                    "apiVersion": text,
                    "dryRun": {"type": "array", "items": text},
                    "gracePeriodSeconds": {"type": "integer", "format": "int64"},
                    "kind": text,
                    "preconditions": {
                        "type": "object",
                        "properties": {"resourceVersion": text, "uid": text},
                    },
                    "propagationPolicy": text,
                },
            }),
        ),
        (PATCH, json!({"description": "A change of an object.", "type": "object"})),
        (
            STATUS,
            json!({
                "description": "An answer that is not an object.",
                "type": "object",
                "properties": {
                    "apiVersion": text,
                    "code": {"type": "integer", "format": "int32"},
                    "details": {"type": "object"},
                    "kind": text,
                    "message": text,
                    "metadata": reference(LIST_META, dialect),
                    "reason": text,
                    "status": text,
                },
            }),
        ),
    ];
    shared.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// Adds the schemas of a resource's objects and of their lists.
pub(super) fn add(resource: &Resource, dialect: Dialect, schemas: &mut Map<String, Value>) {
    let of_kind =
        |kind: &str| json!([{"group": resource.group, "version": resource.version, "kind": kind}]);
    let mut schema = (*resource.openapi).clone();
    if dialect == Dialect::Two {
        reduce(&mut schema);
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.entry("type").or_insert_with(|| json!("object"));
        let properties = fields.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = described("Version of the schema of this object.");
        properties["kind"] = described("What the object is.");
        properties["metadata"] = metadata(OBJECT_META, dialect);
        fields.insert("x-kubernetes-group-version-kind".to_owned(), of_kind(&resource.kind));
    }
    schemas.insert(name(resource), schema);
    let list = json!({
        "description": format!("A list of objects of the kind {}.", resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": described("Version of the schema of this list."),
            "items": {
                "description": "The objects.",
                "type": "array",
                "items": reference(&name(resource), dialect),
            },
            "kind": described("What the list is."),
            "metadata": metadata(LIST_META, dialect),
        },
        "x-kubernetes-group-version-kind": of_kind(&resource.list_kind),
    });
    schemas.insert(list_name(resource), list);
}

fn described(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn metadata(name: &str, dialect: Dialect) -> Value {
    const DESCRIPTION: &str = "What every object has beside what it is for.";
    match dialect {
        Dialect::Two => reference(name, dialect),
        Dialect::Three => json!({
            "description": DESCRIPTION,
            "default": {},
            "allOf": [reference(name, dialect)],
        }),
    }
}

/// Removes what version 2 does not have. A schema is no deeper than its compiler allows.
fn reduce(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for keyword in NEW_KEYWORDS {
                // A property may have the name of a keyword; then it is a schema, not a list or a flag.
                if fields.get(keyword).is_some_and(|value| !value.is_object()) {
                    fields.remove(keyword);
                }
            }
            fields.values_mut().for_each(reduce);
        }
        Value::Array(items) => items.iter_mut().for_each(reduce),
        _ => {}
    }
}
