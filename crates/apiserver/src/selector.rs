//! Selectors: which objects of a list or a watch are meant.

mod labels;

use serde_json::Value;

use crate::{object, status::Status};

/// Bytes of the longest selector; a longer one is a mistake or an attack.
const SELECTOR_MAX: usize = 64 << 10;

/// Labels and fields that an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    path: Vec<String>,
    value: String,
    equal: bool,
}

/// What a field selector may name beside name and namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selectable<'a> {
    pub(crate) fields: &'a [String],
    /// Whether the kind is one that Kubernetes itself brings.
    pub(crate) is_plain: bool,
}

impl Selector {
    /// Reads both selectors; `selectable` names the fields that may be asked for beside name and namespace.
    pub(crate) fn parse(
        labels: &str,
        fields: &str,
        selectable: &Selectable<'_>,
    ) -> Result<Selector, Status> {
        if labels.len() > SELECTOR_MAX || fields.len() > SELECTOR_MAX {
            return Err(Status::bad_request("the selector is too long"));
        }
        let labels = labels::parse(labels).map_err(Status::bad_request)?;
        let fields = split(fields)
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| parse_field(&part, selectable))
            .collect::<Result<_, _>>()?;
        Ok(Selector { labels, fields })
    }

    /// Returns whether every object matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.holds(object))
            && self.fields.iter().all(|requirement| requirement.holds(object))
    }
}

impl Requirement {
    fn holds(&self, object: &Value) -> bool {
        let value = object::metadata(object)
            .and_then(|metadata| metadata.get("labels"))
            .and_then(|labels| labels.get(&self.key))
            .and_then(Value::as_str);
        match (&self.test, value) {
            (Test::In(values), Some(value)) => values.iter().any(|v| v == value),
            (Test::NotIn(values), Some(value)) => values.iter().all(|v| v != value),
            (Test::Above(bound), Some(value)) => value.parse().is_ok_and(|n: i64| n > *bound),
            (Test::Below(bound), Some(value)) => value.parse().is_ok_and(|n: i64| n < *bound),
            (Test::Exists, Some(_)) | (Test::NotIn(_) | Test::Absent, None) => true,
            (Test::Absent, Some(_))
            | (Test::In(_) | Test::Exists | Test::Above(_) | Test::Below(_), None) => false,
        }
    }
}

impl FieldRequirement {
    fn holds(&self, object: &Value) -> bool {
        let value = self.path.iter().try_fold(object, |value, key| value.get(key));
        let is_equal = match value {
            None | Some(Value::Null) => self.value.is_empty(),
            Some(Value::String(text)) => *text == self.value,
            Some(other) => self.value.parse::<Value>().is_ok_and(|value| value == *other),
        };
        is_equal == self.equal
    }
}

/// Splits at commas that no backslash protects, which stays for now.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for character in text.chars() {
        if character == ',' && !is_escaped {
            parts.push(String::new());
            continue;
        }
        is_escaped = character == '\\' && !is_escaped;
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts
}

/// Returns a value without the backslashes that protect its commas, equal signs and backslashes.
fn unescaped(value: &str) -> String {
    let mut characters = value.chars();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

fn parse_field(part: &str, selectable: &Selectable<'_>) -> Result<FieldRequirement, Status> {
    let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
        (field, value, false)
    } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (field, value, true)
    } else {
        let message = format!("invalid selector: '{part}'; can't understand '{part}'");
        return Err(Status::bad_request(message));
    };
    let is_known = matches!(field, "metadata.name" | "metadata.namespace")
        || selectable.fields.iter().any(|known| known == field);
    if !is_known {
        let message = if selectable.is_plain && selectable.fields.is_empty() {
            format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )
        } else {
            format!("field label not supported: {field}")
        };
        return Err(Status::bad_request(message));
    }
    let path = field.split('.').map(str::to_owned).collect();
    Ok(FieldRequirement { path, value: unescaped(value), equal })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Selectable, Selector};

    #[test]
    fn labels_select() {
        for (selector, expected) in [
            ("", true),
            ("env=dev", true),
            ("env==dev,tier", true),
            ("env!=dev", false),
            ("missing!=x", true),
            ("env in (prod, dev)", true),
            ("env in(prod)", false),
            ("env notin (prod,dev),tier", false),
            ("missing notin (x)", true),
            ("!missing", true),
            ("!env", false),
            ("missing", false),
            ("a.b/c-d=1", true),
            ("n>4", true),
            ("n<5", false),
            ("env>1", false),
            ("missing<1", false),
        ] {
            check(selector, "", expected);
        }
    }

    #[test]
    fn fields_select() {
        check("", "metadata.name=a,metadata.namespace=n", true);
        check("", "metadata.name!=a", false);
        check("", "type=Opaque", true);
        check("", "type=", false);
        check("", r"metadata.name!=a\,b\=c", true);
    }

    #[test]
    fn nonsense_is_refused() {
        for (labels, fields) in [("a b", ""), ("=x", ""), ("", "spec.x=1"), ("", "metadata.name")] {
            let selectable = Selectable { fields: &[], is_plain: false };
            assert!(Selector::parse(labels, fields, &selectable).is_err(), "{labels} {fields}");
        }
    }

    #[track_caller]
    fn check(labels: &str, fields: &str, expected: bool) {
        let selectable = Selectable { fields: &["type".to_owned()], is_plain: false };
        let selector = Selector::parse(labels, fields, &selectable).expect("a selector");
        let object = json!({
            "metadata": {
                "name": "a",
                "namespace": "n",
                "labels": {"env": "dev", "tier": "", "a.b/c-d": "1", "n": "5"},
            },
            "type": "Opaque",
        });
        assert_eq!(selector.matches(&object), expected, "{labels} {fields}");
    }
}
