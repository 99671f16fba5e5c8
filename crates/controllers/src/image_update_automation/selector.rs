//! Label selectors, with the errors of Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// A label selector that is valid.
pub(super) struct Selector {
    requirements: Vec<Requirement>,
}

enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

/// A label selector that is not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectorError {
    #[error("\"{0}\" is not a valid label selector operator")]
    Operator(String),
    #[error("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")]
    NoValues,
    #[error("values: Invalid value: {0:?}: values set must be empty for exists and does not exist")]
    Values(Vec<String>),
}

impl Selector {
    /// Reads a selector. An absent or empty one matches everything.
    pub(super) fn new(selector: Option<&LabelSelector>) -> Result<Selector, SelectorError> {
        let empty = LabelSelector::default();
        let selector = selector.unwrap_or(&empty);
        let equal = selector.match_labels.iter().flatten();
        let equal = equal.map(|(name, value)| Requirement::In(name.clone(), vec![value.clone()]));
        let expressions = selector.match_expressions.iter().flatten().map(requirement);
        let requirements = equal.map(Ok).chain(expressions).collect::<Result<_, _>>()?;
        Ok(Selector { requirements })
    }

    /// Returns whether an object with these labels is selected.
    pub(super) fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = |name: &String| labels.and_then(|labels| labels.get(name));
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::In(name, values) => value(name).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(name, values) => !value(name).is_some_and(|v| values.contains(v)),
            Requirement::Exists(name) => value(name).is_some(),
            Requirement::DoesNotExist(name) => value(name).is_none(),
        })
    }
}

fn requirement(expression: &LabelSelectorRequirement) -> Result<Requirement, SelectorError> {
    let name = expression.key.clone();
    let values = expression.values.clone().unwrap_or_default();
    match (expression.operator.as_str(), values.is_empty()) {
        ("In" | "NotIn", true) => Err(SelectorError::NoValues),
        ("In", false) => Ok(Requirement::In(name, values)),
        ("NotIn", false) => Ok(Requirement::NotIn(name, values)),
        ("Exists" | "DoesNotExist", false) => Err(SelectorError::Values(values)),
        ("Exists", true) => Ok(Requirement::Exists(name)),
        ("DoesNotExist", true) => Ok(Requirement::DoesNotExist(name)),
        (operator, _) => Err(SelectorError::Operator(operator.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, labels: &[(&str, &str)], expected: Result<bool, &str>) {
        let selector = serde_json::from_str(selector).expect("a selector");
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let matches = Selector::new(Some(&selector)).map(|s| s.matches(Some(&labels)));
        let matches = matches.map_err(|error| error.to_string());
        assert_eq!(matches, expected.map_err(str::to_owned));
    }

    #[test]
    fn selectors_match_as_in_kubernetes() {
        let dev = [("env", "dev")];
        check("{}", &dev, Ok(true));
        check(r#"{"matchLabels": {"env": "dev"}}"#, &dev, Ok(true));
        check(r#"{"matchLabels": {"env": "dev", "a": "b"}}"#, &dev, Ok(false));
        let of = |operator: &str, values: &str| {
            format!(
                r#"{{"matchExpressions": [{{"key": "env", "operator": "{operator}", "values": {values}}}]}}"#
            )
        };
        check(&of("In", r#"["dev", "x"]"#), &dev, Ok(true));
        check(&of("In", r#"["x"]"#), &dev, Ok(false));
        check(&of("NotIn", r#"["x"]"#), &dev, Ok(true));
        check(&of("NotIn", r#"["x"]"#), &[], Ok(true));
        check(&of("Exists", "[]"), &dev, Ok(true));
        check(&of("Exists", "[]"), &[], Ok(false));
        check(&of("DoesNotExist", "[]"), &[], Ok(true));
        check(&of("Bogus", "[]"), &dev, Err("\"Bogus\" is not a valid label selector operator"));
    }
}
