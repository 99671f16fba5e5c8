//! What an object must be before it is stored, and what is added to it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Options, Part, is_definition};
use crate::{
    definition, object,
    query::FieldValidation,
    resource::Resource,
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

/// Bytes that all annotations of an object may have together.
const ANNOTATIONS_MAX: usize = 256 << 10;

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
        check_metadata(resource, object)
    }

    /// Gives a new object what only the server can give.
    pub(super) fn initialise(&self, resource: &Resource, object: &mut Value) -> Result<(), Status> {
        if !object::text(object, "resourceVersion").is_empty() {
            return Err(Status::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let metadata = object::metadata_mut(object);
        for field in SERVER_FIELDS.iter().chain(&["managedFields", "resourceVersion"]) {
            metadata.remove(*field);
        }
        metadata.insert("uid".to_owned(), json!(self.uid()));
        metadata.insert("creationTimestamp".to_owned(), json!(self.timestamp()));
        if resource.has_generation {
            metadata.insert("generation".to_owned(), json!(1));
        }
        if is_definition(resource) {
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

    /// Makes the namespace of a new object if it is missing: manifests often leave it out.
    pub(super) fn ensure_namespace(&self, namespace: &str) -> Result<(), Status> {
        let resource = self.resource("", "v1", "namespaces")?;
        let key = (String::new(), namespace.to_owned());
        if namespace.is_empty() || self.store.latest(&resource.id, &key).is_some() {
            return Ok(());
        }
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let options = Options { dry_run: false, validation: FieldValidation::Ignore };
        match self.create(&resource, "", object, options) {
            // Someone else was faster.
            Err(status) if status.reason == "AlreadyExists" => Ok(()),
            result => result.map(drop),
        }
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
    if differs(&object["kind"], &resource.kind) {
        return wrong("kind", &object["kind"], &resource.kind);
    }
    Ok(())
}

/// Removes unknown fields; returns warnings about them, or refuses them.
pub(super) fn prune(
    resource: &Resource,
    object: &mut Value,
    validation: FieldValidation,
) -> Result<Vec<String>, Status> {
    let Some(schema) = &resource.schema else {
        return Ok(Vec::new());
    };
    let unknown = schema.prune(object);
    let told = unknown.iter().map(|path| format!("unknown field \"{path}\""));
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(told.collect()),
        FieldValidation::Strict if unknown.is_empty() => Ok(Vec::new()),
        FieldValidation::Strict => {
            let (kind, version) = (&resource.kind, &resource.version);
            let told: Vec<String> = told.collect();
            Err(Status::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                told.join(", ")
            )))
        }
    }
}

/// Fills in what a schema, or the kind itself, has defaults for.
pub(super) fn complete(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    if let Some(schema) = &resource.schema {
        schema.default(object);
    }
    if resource.group.is_empty() && resource.kind == "Secret" {
        complete_secret(resource, object)?;
    }
    Ok(())
}

/// Checks an object against its schema and its rules.
pub(super) fn validate(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let name = object::name(object);
    let mut errors = match &resource.schema {
        Some(schema) => schema.validate(object),
        None => Vec::new(),
    };
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
    }
    object::keep(&mut new, old, "resourceVersion");
    object::metadata_mut(&mut new).remove("managedFields");
    complete(resource, &mut new)?;
    check_metadata(resource, &new)?;
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

fn check_identity(resource: &Resource, key: &Key, old: &Value, new: &Value) -> Result<(), Status> {
    let name = object::name(new);
    if name != key.1 {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.1
        )));
    }
    let namespace = object::namespace(new);
    if !namespace.is_empty() && namespace != key.0 {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
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

/// Checks name, labels and annotations.
fn check_metadata(resource: &Resource, object: &Value) -> Result<(), Status> {
    let mut errors = Vec::new();
    let name = object::name(object);
    if name.is_empty() {
        let detail = "name or generateName is required".to_owned();
        errors.push(FieldError::new("metadata.name", Problem::Required(detail)));
    } else if !is_subdomain(name) {
        let detail = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        errors.push(FieldError::invalid("metadata.name", &json!(name), detail));
    }
    for (_, value) in texts(object, "labels", &mut errors) {
        if !is_label_value(value) {
            let detail = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
            errors.push(FieldError::invalid("metadata.labels", &json!(value), detail));
        }
    }
    let n_bytes: usize =
        texts(object, "annotations", &mut errors).iter().map(|(k, v)| k.len() + v.len()).sum();
    if n_bytes > ANNOTATIONS_MAX {
        let problem = Problem::TooLong(ANNOTATIONS_MAX as u64);
        errors.push(FieldError::new("metadata.annotations", problem));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(resource, name, &errors)) }
}

/// Returns the pairs of a map of texts in the metadata.
fn texts<'a>(
    object: &'a Value,
    field: &str,
    errors: &mut Vec<FieldError>,
) -> Vec<(&'a str, &'a str)> {
    let map = object::metadata(object).and_then(|m| m.get(field)).and_then(Value::as_object);
    let mut pairs = Vec::new();
    for (key, value) in map.into_iter().flatten() {
        match value.as_str() {
            Some(text) => pairs.push((key.as_str(), text)),
            None => errors.push(FieldError::invalid(
                format!("metadata.{field}.{key}"),
                value,
                "must be a string",
            )),
        }
    }
    pairs
}

fn is_subdomain(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(is_inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn is_label_value(value: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.len() <= 63
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && is_edge(value.bytes().next())
        && is_edge(value.bytes().next_back())
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
            let (kind, version) = (&resource.kind, &resource.version);
            return Err(Status::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: data.{key} is not base64"
            )));
        }
    }
    Ok(())
}
