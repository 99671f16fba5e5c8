//! Selectors: which objects of a list or a watch are meant.

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
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Selector {
    /// Reads both selectors; `selectable` names the fields that may be asked for beside name and namespace.
    pub(crate) fn parse(
        labels: &str,
        fields: &str,
        selectable: &[String],
    ) -> Result<Selector, Status> {
        if labels.len() > SELECTOR_MAX || fields.len() > SELECTOR_MAX {
            return Err(Status::bad_request("the selector is too long"));
        }
        let labels = split(labels).map(parse_label).collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| parse_field(part, selectable))
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
            (Test::Exists, Some(_)) | (Test::NotIn(_) | Test::Absent, None) => true,
            (Test::Absent, Some(_)) | (Test::In(_) | Test::Exists, None) => false,
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

/// Splits at commas outside parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

fn parse_label(part: &str) -> Result<Requirement, Status> {
    let requirement = |key: &str, test| Requirement { key: key.trim().to_owned(), test };
    let one = |value: &str| vec![value.trim().to_owned()];
    let parsed = if let Some(key) = part.strip_prefix('!') {
        requirement(key, Test::Absent)
    } else if let Some((key, value)) = part.split_once("!=") {
        requirement(key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        requirement(key, Test::In(one(value)))
    } else if let Some((key, values)) = set(part, " notin ") {
        requirement(key, Test::NotIn(values))
    } else if let Some((key, values)) = set(part, " in ") {
        requirement(key, Test::In(values))
    } else {
        requirement(part, Test::Exists)
    };
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if parsed.key.is_empty() || !parsed.key.bytes().all(is_key) {
        return Err(Status::bad_request(format!(
            "unable to parse requirement: `{part}` is not of the form key, !key, key=value, key!=value, key in (a,b) or key notin (a,b)"
        )));
    }
    Ok(parsed)
}

fn set<'a>(part: &'a str, operator: &str) -> Option<(&'a str, Vec<String>)> {
    // The blank before the parenthesis may be missing.
    let operator = operator.trim_end();
    let (key, values) = part.split_once(operator)?;
    let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some((key, values.split(',').map(|value| value.trim().to_owned()).collect()))
}

fn parse_field(part: &str, selectable: &[String]) -> Result<FieldRequirement, Status> {
    let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
        (field, value, false)
    } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (field, value, true)
    } else {
        let message = format!("invalid field selector: {part:?}; can't understand {part:?}");
        return Err(Status::bad_request(message));
    };
    let is_known = matches!(field, "metadata.name" | "metadata.namespace")
        || selectable.iter().any(|known| known == field);
    if !is_known {
        return Err(Status::bad_request(format!("field label not supported: {field}")));
    }
    let path = field.split('.').map(str::to_owned).collect();
    Ok(FieldRequirement { path, value: value.to_owned(), equal })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Selector;

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
    }

    #[test]
    fn nonsense_is_refused() {
        for (labels, fields) in [("a b", ""), ("=x", ""), ("", "spec.x=1"), ("", "metadata.name")] {
            assert!(Selector::parse(labels, fields, &[]).is_err(), "{labels} {fields}");
        }
    }

    #[track_caller]
    fn check(labels: &str, fields: &str, expected: bool) {
        let selector = Selector::parse(labels, fields, &["type".to_owned()]).expect("a selector");
        let object = json!({
            "metadata": {
                "name": "a",
                "namespace": "n",
                "labels": {"env": "dev", "tier": "", "a.b/c-d": "1"},
            },
            "type": "Opaque",
        });
        assert_eq!(selector.matches(&object), expected, "{labels} {fields}");
    }
}
