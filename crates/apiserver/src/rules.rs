//! The rules of a definition, written in the Common Expression Language.

use std::fmt;

use kube_cel::{
    CompiledSchema, ErrorKind, ValidationError, Validator, WarningKind, compile_schema,
    estimate_rule_cost,
};
use serde_json::Value;

use crate::status::{FieldError, Problem};

/// The compiled rules of a schema.
pub(crate) struct Rules {
    compiled: CompiledSchema,
    /// The fields at the top that have rules, if these can tell nothing new about values that did not change: no rule is about the
    /// whole object or compares with the value before.
    fields: Option<Vec<String>>,
}

/// The name under which a rule reads the value before.
const VALUE_BEFORE: &str = "oldSelf";

impl Rules {
    /// Compiles the rules of a schema; `None` if it has none.
    ///
    /// Rules whose cost is not bounded by the schema are refused here, since
    /// nothing bounds them while they run.
    pub(crate) fn compile(schema: &Value) -> Result<Option<Rules>, String> {
        if !has_rules(schema) {
            return Ok(None);
        }
        let compiled = compile_schema(schema);
        check_rules(&compiled)?;
        Ok(Some(Rules { compiled, fields: fields_with_rules(schema) }))
    }

    /// Checks an object that its schema has accepted; `old` is the object that it replaces.
    ///
    /// What did not change was accepted before, perhaps by other rules, and stays accepted, as in Kubernetes.
    pub(crate) fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        if let (Some(fields), Some(old)) = (&self.fields, old)
            && fields.iter().all(|field| object.get(field) == old.get(field))
        {
            return Vec::new();
        }
        match Validator::new().validate_compiled(&self.compiled, object, old) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.iter().map(|error| field_error(object, error)).collect(),
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").finish_non_exhaustive()
    }
}

/// Checks the rules of a schema and of those below it, whose depth the compiler has limited.
fn check_rules(schema: &CompiledSchema) -> Result<(), String> {
    for rule in &schema.validations {
        let rule = rule.as_ref().map_err(ToString::to_string)?;
        let warnings = estimate_rule_cost(&rule.rule.rule, schema);
        if let Some(warning) = warnings.iter().find(|w| w.kind == WarningKind::CostExceeded) {
            return Err(format!("rule `{}`: {}", rule.rule.rule, warning.message));
        }
    }
    let below = schema.properties.values();
    let below = below.chain(schema.items.as_deref()).chain(schema.additional_properties.as_deref());
    let below = below.chain(&schema.all_of).chain(&schema.any_of).chain(&schema.one_of);
    below.into_iter().try_for_each(check_rules)
}

fn field_error(object: &Value, error: &ValidationError) -> FieldError {
    let path = error.field_path.trim_start_matches('.');
    let value = shown(object, path);
    let detail = match error.kind {
        ErrorKind::ValidationFailure => error.message.clone(),
        _ => format!("{} evaluating rule: {}", error.message, error.rule),
    };
    let problem = match error.reason.as_deref() {
        Some("FieldValueForbidden") => Problem::Forbidden(detail),
        Some("FieldValueRequired") => Problem::Required(detail),
        Some("FieldValueDuplicate") => Problem::Duplicate(value),
        _ => Problem::Invalid { value, detail },
    };
    FieldError::new(if path.is_empty() { "<nil>" } else { path }, problem)
}

/// Returns the value at a path as messages show it: objects and lists not at all.
fn shown(object: &Value, path: &str) -> String {
    let mut value = Some(object);
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        value = value.and_then(|value| match part.strip_suffix(']') {
            Some(index) => value.get(index.parse::<usize>().ok()?),
            None => value.get(part),
        });
    }
    match value {
        Some(Value::Object(_) | Value::Array(_)) | None => String::new(),
        Some(value) => value.to_string(),
    }
}

/// Returns what [`Rules::fields`] is for this schema.
fn fields_with_rules(schema: &Value) -> Option<Vec<String>> {
    let without_fields = schema.as_object()?.iter().filter(|(name, _)| *name != "properties");
    if without_fields.clone().any(|(name, _)| name == "x-kubernetes-validations")
        || without_fields.clone().any(|(_, value)| has_rules(value))
        || compares(schema)
    {
        return None;
    }
    let fields = schema.get("properties")?.as_object()?.iter();
    Some(fields.filter(|(_, field)| has_rules(field)).map(|(name, _)| name.clone()).collect())
}

/// Returns whether a rule below reads the value before.
fn compares(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.values().any(compares),
        Value::Array(items) => items.iter().any(compares),
        Value::String(text) => text.contains(VALUE_BEFORE),
        _ => false,
    }
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.contains_key("x-kubernetes-validations") || fields.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn errors(schema: &Value, object: &Value, old: &Value) -> usize {
        let rules = Rules::compile(schema).expect("sound rules").expect("rules");
        rules.check(object, Some(old)).len()
    }

    fn schema(rule: &str) -> Value {
        json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"n": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": rule, "message": "refused"}]},
            "status": {"type": "object", "properties": {"n": {"type": "integer"}}},
        }})
    }

    #[test]
    fn what_did_not_change_stays_accepted() {
        let schema = schema("self.n < 10");
        let old = json!({"spec": {"n": 11}, "status": {"n": 1}});
        assert_eq!(errors(&schema, &json!({"spec": {"n": 11}, "status": {"n": 2}}), &old), 0);
        assert_eq!(errors(&schema, &json!({"spec": {"n": 12}, "status": {"n": 1}}), &old), 1);
        assert_eq!(errors(&schema, &json!({"spec": {"n": 9}, "status": {"n": 1}}), &old), 0);
    }

    #[test]
    fn a_rule_about_the_change_or_the_whole_object_is_always_asked() {
        let object = json!({"spec": {"n": 11}, "status": {"n": 1}});
        assert_eq!(errors(&schema("self.n > oldSelf.n"), &object, &object), 1);
        let mut whole = schema("self.n > 0");
        whole["x-kubernetes-validations"] =
            json!([{"rule": "self.spec.n < 10", "message": "refused"}]);
        assert_eq!(errors(&whole, &object, &object), 1);
    }
}
