//! Custom resource definitions: from the object to the resources that it defines.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    object,
    resource::{Resource, api_version},
    rules::Rules,
    schema::Schema,
    status::{FieldError, Problem},
    table::Column,
};

/// Versions that one definition may have.
const VERSIONS_MAX: usize = 32;

/// Compiles a definition into one resource for each version that is served.
pub(crate) fn compile(definition: &Value) -> Result<Vec<Resource>, Vec<FieldError>> {
    let spec = &definition["spec"];
    let mut errors = Vec::new();
    let group = required(spec, "group", "spec.group", &mut errors);
    let plural = required(&spec["names"], "plural", "spec.names.plural", &mut errors);
    let kind = required(&spec["names"], "kind", "spec.names.kind", &mut errors);
    let is_namespaced = match spec["scope"].as_str() {
        Some("Namespaced") => true,
        Some("Cluster") => false,
        _ => {
            let supported = ["Cluster", "Namespaced"].map(str::to_owned).to_vec();
            let problem = Problem::NotSupported { value: spec["scope"].to_string(), supported };
            errors.push(FieldError::new("spec.scope", problem));
            false
        }
    };
    let name = format!("{plural}.{group}");
    if object::name(definition) != name {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        let value = Value::from(object::name(definition));
        errors.push(FieldError::invalid("metadata.name", &value, detail));
    }
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let n_stored = versions.iter().filter(|version| version["storage"] == true).count();
    if n_stored != 1 || versions.len() > VERSIONS_MAX {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &json!("array"), detail));
    }
    let stored = versions.iter().find(|version| version["storage"] == true);
    let stored = stored.and_then(|version| version["name"].as_str()).unwrap_or_default();
    let mut resources = Vec::new();
    for (index, version) in versions.iter().enumerate().take(VERSIONS_MAX) {
        let path = format!("spec.versions[{index}]");
        let (columns, problems) = Column::defined(version);
        errors.extend(problems.into_iter().map(|(index, problem)| {
            let field = format!("{path}.additionalPrinterColumns[{index}].jsonPath");
            FieldError::invalid(field, &json!(""), problem)
        }));
        if let Some((schema, rules)) = compile_schema(version, &path, &mut errors)
            && version["served"] == true
        {
            resources.push(Resource {
                group: group.clone(),
                version: required(version, "name", &format!("{path}.name"), &mut errors),
                kind: kind.clone(),
                list_kind: list_kind(spec, &kind),
                plural: plural.clone(),
                singular: singular(spec, &kind),
                short_names: texts(&spec["names"]["shortNames"]),
                categories: texts(&spec["names"]["categories"]),
                columns,
                is_namespaced,
                has_status: version["subresources"]["status"].is_object(),
                has_generation: true,
                selectable: selectable(version),
                is_builtin: false,
                is_going: object::is_terminating(definition),
                openapi: Arc::new(version["schema"]["openAPIV3Schema"].clone()),
                schema: Some(Arc::new(schema)),
                rules,
                renames: &[],
                stored_as: api_version(&group, stored),
                id: name.clone().into(),
            });
        }
    }
    if errors.is_empty() { Ok(resources) } else { Err(errors) }
}

/// Fills in the names that a definition leaves to the server.
pub(crate) fn complete(definition: &mut Value) {
    let Some(kind) = definition["spec"]["names"]["kind"].as_str().map(str::to_owned) else {
        return;
    };
    let spec = &mut definition["spec"];
    for (field, name) in [("listKind", format!("{kind}List")), ("singular", kind.to_lowercase())] {
        if spec["names"][field].as_str().is_none_or(str::is_empty) {
            spec["names"][field] = Value::String(name);
        }
    }
    if spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
}

/// Brings the status of a definition that was replaced up to date.
pub(crate) fn refresh(definition: &mut Value) {
    let spec = &definition["spec"];
    let names = spec["names"].clone();
    let mut stored = definition["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    let storage = stored_versions(spec).cloned();
    stored.extend(storage.filter(|version| !stored.contains(version)).collect::<Vec<_>>());
    if definition["status"].is_object() {
        definition["status"]["acceptedNames"] = names;
        definition["status"]["storedVersions"] = Value::Array(stored);
    }
}

/// Returns what may not change between two definitions of one name but did.
pub(crate) fn changed(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (path, pointer) in [("spec.scope", "/spec/scope"), ("spec.names.kind", "/spec/names/kind")]
    {
        let (old, new) = (old.pointer(pointer), new.pointer(pointer));
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            errors.push(FieldError::invalid(path, new, "field is immutable"));
        }
    }
    errors
}

fn stored_versions(spec: &Value) -> impl Iterator<Item = &Value> {
    let versions = spec["versions"].as_array().into_iter().flatten();
    versions.filter(|version| version["storage"] == true).map(|version| &version["name"])
}

/// Returns the status of a definition that is served.
pub(crate) fn established(definition: &Value, now: Timestamp) -> Value {
    let spec = &definition["spec"];
    let names = spec["names"].clone();
    let stored: Vec<&Value> = stored_versions(spec).collect();
    let condition = |type_: &str, reason: &str, message: &str| {
        json!({
            "type": type_,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    };
    json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    })
}

fn compile_schema(
    version: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Option<(Schema, Option<Rules>)> {
    let path = format!("{path}.schema.openAPIV3Schema");
    let schema = &version["schema"]["openAPIV3Schema"];
    if schema.is_null() {
        errors.push(FieldError::new(path, Problem::Required("schemas are required".to_owned())));
        return None;
    }
    let compiled = Schema::compile(schema).map_err(|error| error.to_string());
    let rules = Rules::compile(schema);
    match compiled.and_then(|schema| rules.map(|rules| (schema, rules))) {
        Ok(compiled) => Some(compiled),
        Err(detail) => {
            errors.push(FieldError::invalid(path, &json!("object"), detail));
            None
        }
    }
}

fn required(object: &Value, field: &str, path: &str, errors: &mut Vec<FieldError>) -> String {
    match object[field].as_str() {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => {
            errors.push(FieldError::new(path, Problem::Required(String::new())));
            String::new()
        }
    }
}

fn singular(spec: &Value, kind: &str) -> String {
    spec["names"]["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned)
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn list_kind(spec: &Value, kind: &str) -> String {
    spec["names"]["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned)
}

fn selectable(version: &Value) -> Vec<String> {
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let paths = fields.filter_map(|field| field["jsonPath"].as_str());
    paths.map(|path| path.trim_start_matches('.').to_owned()).collect()
}
