//! Labels given as `key=value`, checked as Kubernetes checks them and with its words.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Characters of a name or a value.
const LENGTH_MAX: usize = 63;
/// Characters of the part before the slash.
const PREFIX_LENGTH_MAX: usize = 253;

const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Reads labels; of a key that is given twice the last value counts.
pub(super) fn parse(labels: &[String]) -> Result<BTreeMap<String, String>> {
    let mut parsed = BTreeMap::new();
    for label in labels {
        let parts: Vec<&str> = label.split('=').collect();
        let [key, value] = parts[..] else {
            bail!("invalid label format '{label}', must be key=value");
        };
        let mistakes = key_mistakes(key);
        if !mistakes.is_empty() {
            bail!("invalid label '{key}': [{}]", mistakes.join(" "));
        }
        let mistakes = value_mistakes(value);
        if !mistakes.is_empty() {
            bail!("invalid label value '{value}': [{}]", mistakes.join(" "));
        }
        parsed.insert(key.to_owned(), value.to_owned());
    }
    Ok(parsed)
}

fn key_mistakes(key: &str) -> Vec<String> {
    let parts: Vec<&str> = key.split('/').collect();
    let (prefix, name) = match parts[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => {
            return vec![format!(
                "a qualified name {NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    let mut mistakes = Vec::new();
    match prefix {
        Some("") => mistakes.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            if prefix.len() > PREFIX_LENGTH_MAX {
                mistakes.push(format!(
                    "prefix part must be no more than {PREFIX_LENGTH_MAX} characters"
                ));
            }
            if !is_subdomain(prefix) {
                mistakes.push(format!("prefix part {SUBDOMAIN}"));
            }
        }
        None => {}
    }
    match name {
        "" => mistakes.push("name part must be non-empty".to_owned()),
        name if name.len() > LENGTH_MAX => {
            mistakes.push(format!("name part must be no more than {LENGTH_MAX} characters"));
        }
        _ => {}
    }
    if !is_name(name) {
        mistakes.push(format!("name part {NAME}"));
    }
    mistakes
}

fn value_mistakes(value: &str) -> Vec<String> {
    let mut mistakes = Vec::new();
    if value.len() > LENGTH_MAX {
        mistakes.push(format!("must be no more than {LENGTH_MAX} characters"));
    }
    if !value.is_empty() && !is_name(value) {
        mistakes.push(VALUE.to_owned());
    }
    mistakes
}

fn is_name(name: &str) -> bool {
    let is_outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    is_outer(bytes.first())
        && is_outer(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn is_subdomain(prefix: &str) -> bool {
    let is_outer = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    prefix.split('.').map(str::as_bytes).all(|part| {
        is_outer(part.first())
            && is_outer(part.last())
            && part.iter().all(|byte| is_outer(Some(byte)) || *byte == b'-')
    })
}
