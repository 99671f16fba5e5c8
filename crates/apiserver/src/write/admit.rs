//! What an object must be before it is stored, and what is added to it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Options, Part, is_definition, metadata};
use crate::{
    builtin,
    collect::is_namespace,
    definition, object,
    query::FieldValidation,
    resource::Resource,
    schema::Shape,
    server::Api,
    status::{FieldError, Problem, Status},
    store::Key,
};

/// Letters of generated names: no vowels, so that no words arise.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Letters that a generated name adds.
const NAME_SUFFIX: usize = 5;

/// Bytes of the longest prefix of a generated name.
const NAME_PREFIX_MAX: usize = 63 - NAME_SUFFIX;

/// Metadata that only the server sets.
const SERVER_FIELDS: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

impl Api {
    /// Gives a new object its name and namespace.
    pub(super) fn name(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &mut Value,
    ) -> Result<(), Status> {
        // Programs write `creationTimestamp: null` for what they do not know.
        if let Some(metadata) = object.get_mut("metadata") {
            builtin::metadata().default(metadata);
        }
        let own = object::namespace(object);
        if !own.is_empty() && own != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let prefix: String =
            object::text(object, "generateName").chars().take(NAME_PREFIX_MAX).collect();
        let is_generated = object::name(object).is_empty() && !prefix.is_empty();
        let metadata = object::metadata_mut(object);
        if is_generated {
            let mut random = self.random();
            let mut name = prefix;
            for _ in 0..NAME_SUFFIX {
                let n_letters = NAME_LETTERS.len() as u64;
                name.push(char::from(NAME_LETTERS[(random % n_letters) as usize]));
                random /= n_letters;
            }
            metadata.insert("name".to_owned(), Value::String(name));
        }
        if resource.is_namespaced {
            metadata.insert("namespace".to_owned(), json!(namespace));
        } else {
            metadata.remove("namespace");
        }
        check_metadata_types(resource, object)
    }

    /// Gives a new object what only the server can give.
    pub(super) fn initialise(&self, resource: &Resource, object: &mut Value) -> Result<(), Status> {
        if !object::text(object, "resourceVersion").is_empty() {
            return Err(Status::unexplained(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let metadata = object::metadata_mut(object);
        for field in SERVER_FIELDS.iter().chain(&["resourceVersion"]) {
            metadata.remove(*field);
        }
        metadata.insert("uid".to_owned(), json!(self.uid()));
        metadata.insert("creationTimestamp".to_owned(), json!(self.timestamp()));
        if resource.has_generation {
            metadata.insert("generation".to_owned(), json!(1));
        }
        if is_definition(resource) {
            definition::complete(object);
            let status = definition::established(object, self.now());
            object::set_field(object, "status", Some(status));
        }
        if resource.group.is_empty() && resource.kind == "Namespace" {
            let name = object::name(object).to_owned();
            let labels = object::metadata_mut(object)
                .entry("labels")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Some(labels) = labels.as_object_mut() {
                labels.insert("kubernetes.io/metadata.name".to_owned(), Value::String(name));
            }
            object::set_field(object, "status", Some(json!({"phase": "Active"})));
        }
        Ok(())
    }
}

/// Gives a new object what nobody owns. A namespace names who empties it, which is the server.
pub(super) fn finish(resource: &Resource, object: &mut Value) {
    if is_namespace(resource) {
        object::set_field(object, "spec", Some(json!({"finalizers": ["kubernetes"]})));
    }
}

/// Checks that an object is of the resource that it was sent to.
pub(super) fn check_type(resource: &Resource, object: &Value) -> Result<(), Status> {
    if !object.is_object() {
        return Err(Status::bad_request("the body is not an object"));
    }
    let wrong = |what: &str, actual: &Value, expected: &str| {
        let actual = actual.as_str().unwrap_or_default();
        Err(Status::bad_request(format!(
            "the {what} in the data ({actual}) does not match the expected {what} ({expected})"
        )))
    };
    let api_version = resource.api_version();
    // A typed client may leave out what the path says.
    let differs = |actual: &Value, expected: &str| !actual.is_null() && actual != expected;
    if differs(&object["apiVersion"], &api_version) {
        return wrong("API version", &object["apiVersion"], &api_version);
    }
    if differs(&object["kind"], &resource.kind) && !resource.is_builtin {
        let kind = object["kind"].as_str().unwrap_or_default();
        return Err(Status::wrong_kind(resource, kind, object::name(object)));
    }
    if differs(&object["kind"], &resource.kind) {
        return wrong("kind", &object["kind"], &resource.kind);
    }
    Ok(())
}

/// Removes unknown fields; returns warnings about them, or refuses them.
pub(crate) fn prune(
    resource: &Resource,
    object: &mut Value,
    options: &Options,
) -> Result<Vec<String>, Status> {
    let unknown = match &resource.schema {
        Some(schema) => schema.prune(object),
        None => Vec::new(),
    };
    let mut told = options.problems.clone();
    told.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    match options.validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(told),
        FieldValidation::Strict if told.is_empty() => Ok(Vec::new()),
        FieldValidation::Strict => {
            Err(undecodable(resource, &format!("strict decoding error: {}", told.join(", "))))
        }
    }
}

/// Returns the answer to an object that cannot be read as one of its kind.
fn undecodable(resource: &Resource, why: &str) -> Status {
    let (kind, version) = (&resource.kind, &resource.version);
    Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
    ))
}

/// Takes the owners of an object's fields out of it.
pub(super) fn take_managed_fields(object: &mut Value) -> Option<Value> {
    object::metadata_mut(object).remove("managedFields").filter(|fields| !fields.is_null())
}

/// Fills in what a schema, or the kind itself, has defaults for.
pub(super) fn complete(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    if let Some(metadata) = object.get_mut("metadata") {
        builtin::metadata().default(metadata);
        drop_empty(metadata, &["labels", "annotations", "finalizers", "ownerReferences"]);
    }
    if let Some(schema) = &resource.schema {
        schema.default(object);
    }
    if resource.is_builtin {
        drop_empty(object, &["data", "binaryData"]);
    }
    if resource.group.is_empty() && resource.kind == "Secret" {
        complete_secret(resource, object)?;
    }
    if is_definition(resource) {
        definition::complete(object);
    }
    Ok(())
}

/// Removes maps and lists that hold nothing: they say the same as if they were not there.
fn drop_empty(object: &mut Value, fields: &[&str]) {
    let Some(object) = object.as_object_mut() else { return };
    for &field in fields {
        let is_empty = match object.get(field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            _ => false,
        };
        if is_empty {
            object.remove(field);
        }
    }
}

/// Checks an object against its schema and its rules.
pub(super) fn validate(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let name = object::name(object);
    let wrong = match &resource.schema {
        Some(schema) => schema.validate(object),
        None => Vec::new(),
    };
    if resource.is_builtin {
        check_types(resource, &wrong)?;
    }
    let mut errors = metadata::check(resource, object);
    errors.extend(wrong);
    if resource.is_builtin {
        errors.extend(builtin::check(resource, object, old));
    }
    if is_definition(resource)
        && let Err(problems) = definition::compile(object)
    {
        errors.extend(problems);
    }
    if let Some(rules) = &resource.rules {
        if errors.iter().any(FieldError::is_blocking) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid("<nil>", &Value::Null, detail));
        } else {
            errors.extend(rules.check(object, old));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(resource, name, &errors)) }
}

/// Refuses an object of a built-in kind whose fields have the wrong types: it cannot even be read.
fn check_types(resource: &Resource, errors: &[FieldError]) -> Result<(), Status> {
    let shape = Shape::Root(resource.schema.as_deref());
    refuse_types(resource, &resource.kind, shape, errors)
}

/// Refuses an object whose metadata has the wrong types.
fn check_metadata_types(resource: &Resource, object: &Value) -> Result<(), Status> {
    let metadata = &object["metadata"];
    let errors = builtin::metadata().validate(metadata);
    let owner = if resource.is_builtin { "ObjectMeta.metadata" } else { "ObjectMeta" };
    refuse_types(resource, owner, Shape::Of(builtin::metadata()), &errors)
}

fn refuse_types(
    resource: &Resource,
    owner: &str,
    shape: Shape<'_>,
    errors: &[FieldError],
) -> Result<(), Status> {
    for error in errors {
        if let Problem::Type { value, wanted, .. } = &error.problem {
            let actual = match value.trim_matches('"') {
                "boolean" => "bool",
                "integer" => "number",
                other => other,
            };
            let wanted = match *wanted {
                "boolean" => "bool",
                "integer" => "int64",
                "date-time" => "time.Time",
                other => other,
            };
            let field = struct_field(shape, &error.field);
            return Err(undecodable(
                resource,
                &format!(
                    "json: cannot unmarshal {actual} into Go struct field {owner}{field} of type {wanted}"
                ),
            ));
        }
    }
    Ok(())
}

/// Returns the part of a path that names fields: neither indexes nor the keys of maps.
fn struct_field(mut shape: Shape<'_>, path: &str) -> String {
    let mut field = String::new();
    for part in path.split('.') {
        let (name, index) = part.split_once('[').map_or((part, false), |(name, _)| (name, true));
        if !shape.names(name) {
            break;
        }
        field += &format!(".{name}");
        shape = shape.field(name);
        if index {
            shape = shape.item();
        }
    }
    field
}

/// Makes the successor of an object: what may change comes from `new`, the rest stays.
pub(super) fn succeed(
    resource: &Arc<Resource>,
    key: &Key,
    old: &Value,
    mut new: Value,
    part: Part,
) -> Result<Value, Status> {
    check_type(resource, &new)?;
    check_identity(resource, key, old, &new)?;
    if part == Part::Status {
        let status = new.get("status").cloned();
        new = old.clone();
        object::set_field(&mut new, "status", status);
    } else {
        SERVER_FIELDS.iter().for_each(|field| object::keep(&mut new, old, field));
        if resource.is_namespaced {
            object::metadata_mut(&mut new).insert("namespace".to_owned(), json!(key.0));
        }
        if resource.has_status {
            object::set_field(&mut new, "status", old.get("status").cloned());
        }
        if is_namespace(resource) {
            object::set_field(&mut new, "spec", old.get("spec").cloned());
        }
    }
    object::keep(&mut new, old, "resourceVersion");
    complete(resource, &mut new)?;
    if is_definition(resource) {
        let errors = definition::changed(old, &new);
        if !errors.is_empty() {
            return Err(Status::invalid(resource, &key.1, &errors));
        }
        definition::refresh(&mut new);
    }
    check_metadata_types(resource, &new)?;
    check_finalizers(resource, old, &new)?;
    validate(resource, &new, Some(old))?;
    let is_wanted_otherwise =
        part == Part::Main && resource.has_generation && wants_otherwise(resource, old, &new);
    if is_wanted_otherwise {
        let generation = object::generation(old) + 1;
        object::metadata_mut(&mut new).insert("generation".to_owned(), json!(generation));
    }
    for (field, value) in [("apiVersion", resource.api_version()), ("kind", resource.kind.clone())]
    {
        object::set_field(&mut new, field, Some(Value::String(value)));
    }
    Ok(new)
}

/// Returns whether nothing changed: such a write is none.
pub(super) fn is_same(old: &Value, new: &Value) -> bool {
    old == new
}

/// Returns whether anything but metadata and, if it is a part of its own, status differs.
fn wants_otherwise(resource: &Resource, old: &Value, new: &Value) -> bool {
    let is_other = |field: &str| field != "metadata" && (field != "status" || !resource.has_status);
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return true;
    };
    let changed = new.iter().any(|(field, value)| is_other(field) && old.get(field) != Some(value));
    changed || old.keys().any(|field| is_other(field) && !new.contains_key(field))
}

/// Checks that an object has the name and the namespace of the path that it was sent to.
pub(super) fn check_names(key: &Key, new: &Value) -> Result<(), Status> {
    let (namespace, name) = (object::namespace(new), object::name(new));
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            key.1
        )));
    }
    if name != key.1 {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.1
        )));
    }
    if !namespace.is_empty() && namespace != key.0 {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Checks that a patch leaves the identity of an object as it is.
pub(crate) fn check_uid(
    resource: &Resource,
    key: &Key,
    old: &Value,
    new: &Value,
) -> Result<(), Status> {
    let uid = object::uid(new);
    if uid.is_empty() || uid == object::uid(old) {
        return Ok(());
    }
    let error = FieldError::invalid("metadata.uid", &json!(uid), "field is immutable");
    Err(Status::invalid(resource, &key.1, &[error]))
}

fn check_identity(resource: &Resource, key: &Key, old: &Value, new: &Value) -> Result<(), Status> {
    check_names(key, new)?;
    let name = object::name(new);
    let (uid, old_uid) = (object::uid(new), object::uid(old));
    if !uid.is_empty() && uid != old_uid {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}"
        );
        return Err(Status::conflict(resource, name, &why));
    }
    Ok(())
}

fn check_finalizers(resource: &Resource, old: &Value, new: &Value) -> Result<(), Status> {
    if !object::is_terminating(old) {
        return Ok(());
    }
    let added: Vec<&str> = object::finalizers(new)
        .filter(|finalizer| object::finalizers(old).all(|kept| kept != *finalizer))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let quoted: Vec<String> = added.iter().map(|finalizer| format!("{finalizer:?}")).collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        quoted.join(", ")
    );
    let error = FieldError::new("metadata.finalizers", Problem::Forbidden(detail));
    Err(Status::invalid(resource, object::name(new), &[error]))
}

/// Moves `stringData` into `data`, and checks that.
fn complete_secret(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    let Some(secret) = object.as_object_mut() else {
        return Ok(());
    };
    secret.entry("type").or_insert_with(|| json!("Opaque"));
    if let Some(Value::Object(texts)) = secret.remove("stringData") {
        let data = secret.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if data.is_null() {
            *data = Value::Object(Map::new());
        }
        for (key, text) in texts {
            let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
            if let Some(data) = data.as_object_mut() {
                data.insert(key, Value::String(encoded));
            }
        }
    }
    for (key, value) in secret.get("data").and_then(Value::as_object).into_iter().flatten() {
        let is_base64 =
            value.is_null() || value.as_str().is_some_and(|v| STANDARD.decode(v).is_ok());
        if !is_base64 {
            return Err(undecodable(resource, &format!("data.{key} is not base64")));
        }
    }
    Ok(())
}
