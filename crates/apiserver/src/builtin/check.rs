//! What the built-in kinds ask of their objects beyond their schemas.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    object,
    resource::Resource,
    server::DEFAULT_NAMESPACE,
    status::{FieldError, Problem},
};

/// Bytes of data that one secret or config map may hold.
const DATA_MAX: usize = 1 << 20;

/// Letters of the longest key.
const KEY_MAX: usize = 253;

/// Finalizers that have no domain.
const FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

/// Checks an object; `old` is the one that it replaces.
pub(crate) fn check(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    if !resource.group.is_empty() {
        return Vec::new();
    }
    let mut errors = Vec::new();
    check_finalizers(object, &mut errors);
    match resource.kind.as_str() {
        "Event" => check_event(object, &mut errors),
        "Secret" => {
            check_data(object, &["data"], old, &mut errors);
            check_secret_type(object, old, &mut errors);
        }
        "ConfigMap" => check_data(object, &["data", "binaryData"], old, &mut errors),
        _ => {}
    }
    errors
}

/// Checks the finalizers of a kind that Kubernetes itself brings: a name without a domain is its own.
fn check_finalizers(object: &Value, errors: &mut Vec<FieldError>) {
    for (index, finalizer) in object::finalizers(object).enumerate() {
        if !finalizer.contains('/') && !FINALIZERS.contains(&finalizer) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            let field = format!("metadata.finalizers[{index}]");
            errors.push(FieldError::invalid(field, &json!(finalizer), detail));
        }
    }
}

/// Checks that an event lives where the object lives that it is about.
fn check_event(event: &Value, errors: &mut Vec<FieldError>) {
    let about = &event["involvedObject"]["namespace"];
    let about = about.as_str().unwrap_or_default();
    let own = object::namespace(event);
    // What has no namespace itself is told of in the default one.
    if about != own && !(about.is_empty() && own == DEFAULT_NAMESPACE) {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", &json!(about), detail));
    }
}

fn check_data(object: &Value, fields: &[&str], old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut n_bytes = 0;
    for &field in fields {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            if let Some(detail) = key_problem(key) {
                errors.push(FieldError::invalid(format!("{field}[{key}]"), &json!(key), detail));
            }
            let text = value.as_str().unwrap_or_default();
            let is_text = field == "data" && fields.len() > 1;
            n_bytes += if is_text { text.len() } else { text.len() / 4 * 3 };
        }
    }
    if fields.len() > 1 {
        let repeated = object["binaryData"].as_object().into_iter().flatten();
        for (key, _) in repeated.filter(|(key, _)| object["data"].get(key.as_str()).is_some()) {
            let detail = "duplicate of key present in binaryData";
            let field = format!("data[{key}]");
            errors.push(FieldError::invalid(field, &json!(key), detail));
        }
    }
    if n_bytes > DATA_MAX {
        // Two fields are too long together, and the API machinery names neither.
        let field = if fields.len() > 1 { "[]" } else { fields[0] };
        errors.push(FieldError::new(field, Problem::TooLong(DATA_MAX as u64)));
    }
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    let detail = "field is immutable when `immutable` is set";
    let same = |field: &str| {
        let is_empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
        old[field] == object[field] || (is_empty(&old[field]) && is_empty(&object[field]))
    };
    if object["immutable"] != true {
        errors.push(FieldError::new("immutable", Problem::Forbidden(detail.to_owned())));
    }
    for &field in fields.iter().filter(|field| !same(field)) {
        errors.push(FieldError::new(field, Problem::Forbidden(detail.to_owned())));
    }
}

fn key_problem(key: &str) -> Option<String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if key.len() > KEY_MAX {
        return Some(format!("must be no more than {KEY_MAX} characters"));
    }
    if key.is_empty() || !key.bytes().all(is_letter) {
        return Some("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    match key {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if key.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

fn check_secret_type(secret: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let type_ = secret["type"].as_str().unwrap_or_default();
    if let Some(old) = old
        && old["type"] != secret["type"]
    {
        errors.push(FieldError::invalid("type", &secret["type"], "field is immutable"));
    }
    let data = |key: &str| secret["data"].get(key).and_then(Value::as_str);
    let mut require = |key: &str| {
        if data(key).is_none() {
            let problem = Problem::Required(String::new());
            errors.push(FieldError::new(format!("data[{key}]"), problem));
        }
    };
    let json_key = match type_ {
        "kubernetes.io/dockercfg" => ".dockercfg",
        "kubernetes.io/dockerconfigjson" => ".dockerconfigjson",
        "kubernetes.io/ssh-auth" => return require("ssh-privatekey"),
        "kubernetes.io/tls" => {
            require("tls.crt");
            return require("tls.key");
        }
        "kubernetes.io/basic-auth" => {
            if data("username").is_none() && data("password").is_none() {
                require("username");
                require("password");
            }
            return;
        }
        _ => return,
    };
    require(json_key);
    if let Some(encoded) = data(json_key) {
        let decoded = STANDARD.decode(encoded).unwrap_or_default();
        if let Err(error) = serde_json::from_slice::<Value>(&decoded) {
            let problem = Problem::Invalid {
                value: "\"<secret contents redacted>\"".to_owned(),
                detail: error.to_string(),
            };
            errors.push(FieldError::new(format!("data[{json_key}]"), problem));
        }
    }
}
