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
}

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
        Ok(Some(Rules { compiled }))
    }

    /// Checks an object that its schema has accepted; `old` is the object that it replaces.
    pub(crate) fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
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

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.contains_key("x-kubernetes-validations") || fields.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}
