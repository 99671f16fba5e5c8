//! What names, labels, annotations and owners must be.

use serde_json::{Map, Value, json};

use crate::{
    object,
    resource::Resource,
    status::{FieldError, Problem},
};

/// Bytes that all annotations of an object may have together.
const ANNOTATIONS_MAX: usize = 256 << 10;

/// Bytes of the longest name part of a key, and of the longest value of a label.
const LABEL_MAX: usize = 63;

/// Bytes of the longest name.
const NAME_MAX: usize = 253;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const HOST: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const KEY: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const LABEL: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Checks the metadata of an object; types were checked before.
pub(super) fn check(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = object::name(object);
    if name.is_empty() {
        let detail = "name or generateName is required".to_owned();
        errors.push(FieldError::new("metadata.name", Problem::Required(detail)));
    }
    let mut wrong = |field: &str, value: &str, problems: Vec<String>| {
        let value = json!(value);
        errors.extend(problems.into_iter().map(|p| FieldError::invalid(field, &value, p)));
    };
    if !name.is_empty() {
        let is_namespace = resource.is_builtin && resource.kind == "Namespace";
        let problems =
            if is_namespace { namespace_problems(name) } else { subdomain_problems(name) };
        wrong("metadata.name", name, problems);
    }
    for (key, value) in texts(object, "labels") {
        wrong("metadata.labels", key, key_problems(key));
        wrong("metadata.labels", value, label_problems(value));
    }
    let mut n_bytes = 0;
    for (key, value) in texts(object, "annotations") {
        wrong("metadata.annotations", key, key_problems(&key.to_lowercase()));
        n_bytes += key.len() + value.len();
    }
    for finalizer in object::finalizers(object) {
        wrong("metadata.finalizers", finalizer, key_problems(finalizer));
    }
    if n_bytes > ANNOTATIONS_MAX {
        let problem = Problem::TooLong(ANNOTATIONS_MAX as u64);
        errors.push(FieldError::new("metadata.annotations", problem));
    }
    check_owners(object, &mut errors);
    errors
}

/// Returns the pairs of a map of texts in the metadata.
fn texts<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let map: Option<&Map<String, Value>> =
        object::metadata(object).and_then(|m| m.get(field)).and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

fn check_owners(object: &Value, errors: &mut Vec<FieldError>) {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let mut controller: Option<String> = None;
    for owner in owners.into_iter().flatten() {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(field).is_empty() {
                let field = format!("metadata.ownerReferences.{field}");
                errors.push(FieldError::invalid(field, &json!(""), detail));
            }
        }
        if owner["controller"] == true {
            let this = format!("{}/{}", text("kind"), text("name"));
            if let Some(other) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {other} and {this}"
                );
                let field = "metadata.ownerReferences";
                errors.push(FieldError::new(
                    field,
                    Problem::Invalid { value: String::new(), detail },
                ));
            }
            controller.get_or_insert(this);
        }
    }
}

fn subdomain_problems(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > NAME_MAX {
        problems.push(format!("must be no more than {NAME_MAX} characters"));
    }
    if !is_subdomain(name) {
        problems.push(SUBDOMAIN.to_owned());
    }
    problems
}

/// Returns what is wrong with the name of a namespace, which is a part of the names of hosts.
fn namespace_problems(name: &str) -> Vec<String> {
    if name.contains('.') {
        return vec!["must not contain dots".to_owned()];
    }
    let mut problems = Vec::new();
    if name.len() > LABEL_MAX {
        problems.push(format!("must be no more than {LABEL_MAX} characters"));
    }
    if !is_subdomain(name) {
        problems.push(HOST.to_owned());
    }
    problems
}

/// Returns what is wrong with the key of a label, of which the prefix is optional.
pub(crate) fn key_problems(key: &str) -> Vec<String> {
    let (prefix, name) = match key.split_once('/') {
        None => (None, key),
        Some((_, rest)) if rest.contains('/') => {
            return vec![format!(
                "a valid label key {KEY} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    let mut problems = Vec::new();
    match prefix {
        Some("") => problems.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            let prefixed = subdomain_problems(prefix).into_iter();
            problems.extend(prefixed.map(|problem| format!("prefix part {problem}")));
        }
        None => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        problems.push(format!("name part must be no more than {LABEL_MAX} bytes"));
    }
    if name.is_empty() || !is_label(name) {
        problems.push(format!("name part {KEY}"));
    }
    problems
}

/// Returns what is wrong with the value of a label.
pub(crate) fn label_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > LABEL_MAX {
        problems.push(format!("must be no more than {LABEL_MAX} bytes"));
    }
    if !is_label(value) {
        problems.push(LABEL.to_owned());
    }
    problems
}

fn is_subdomain(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

fn is_label(value: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && is_edge(value.bytes().next())
        && is_edge(value.bytes().next_back())
}

#[cfg(test)]
mod tests {
    use super::key_problems;

    #[test]
    fn keys_have_a_name_and_maybe_a_prefix() {
        for key in ["a", "A.b_c-1", "example.com/a", &"a".repeat(63)] {
            assert!(key_problems(key).is_empty(), "{key}");
        }
        for key in ["", "-a", "a b", "/a", "a/", "a/b/c", "Ex.com/a", &"a".repeat(64), "ä"] {
            assert!(!key_problems(key).is_empty(), "{key}");
        }
    }
}
