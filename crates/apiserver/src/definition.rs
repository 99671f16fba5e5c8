//! Custom resource definitions: from the object to the resources that it defines.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    object,
    resource::{self, Resource, api_version},
    rules::Rules,
    schema::Schema,
    status::{FieldError, Problem},
    table::Column,
};

/// Versions that one definition may have.
const VERSIONS_MAX: usize = 32;

/// Levels of a schema whose types are checked; deeper ones do not compile.
const SCHEMA_DEPTH_MAX: usize = 64;

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
    check_versions(versions, &mut errors);
    let stored = versions.iter().find(|version| version["storage"] == true);
    let stored = stored.and_then(|version| version["name"].as_str()).unwrap_or_default();
    let mut resources = Vec::new();
    for (index, version) in versions.iter().enumerate().take(VERSIONS_MAX) {
        let path = format!("spec.versions[{index}]");
        let (columns, problems) = Column::defined(version);
        errors.extend(problems.into_iter().map(|(index, problem)| {
            let field = format!("{path}.additionalPrinterColumns[{index}].jsonPath");
            let path = &version["additionalPrinterColumns"][index]["jsonPath"];
            FieldError::invalid(field, path, problem)
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
                deprecation: deprecation(spec, version),
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

/// Checks the versions of a definition against each other.
fn check_versions(versions: &[Value], errors: &mut Vec<FieldError>) {
    let n_stored = versions.iter().filter(|version| version["storage"] == true).count();
    if n_stored != 1 || versions.len() > VERSIONS_MAX {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &json!("array"), detail));
    }
    let mut names: Vec<String> =
        versions.iter().map(|version| version["name"].to_string()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < versions.len() {
        let detail = "must contain unique version names";
        errors.push(FieldError::invalid("spec.versions", &json!("array"), detail));
    }
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
    for (path, pointer) in [
        ("spec.group", "/spec/group"),
        ("spec.scope", "/spec/scope"),
        ("spec.names.kind", "/spec/names/kind"),
    ] {
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
        errors.push(FieldError::new(path, Problem::Required(String::new())));
        return None;
    }
    let n_errors = errors.len();
    check_types(schema, &path, "at the root", 0, errors);
    check_defaults(schema, &path, 0, errors);
    if errors.len() > n_errors {
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

/// Checks that a schema says the type of everything: of itself, of fields and of items.
fn check_types(
    schema: &Value,
    path: &str,
    place: &str,
    depth: usize,
    errors: &mut Vec<FieldError>,
) {
    let is_free = schema["x-kubernetes-preserve-unknown-fields"] == true && depth > 0;
    let is_typed = schema["type"].as_str().is_some_and(|type_| !type_.is_empty());
    if !is_typed && !is_free && schema["x-kubernetes-int-or-string"] != true {
        let detail = format!("must not be empty {place}");
        errors.push(FieldError::new(format!("{path}.type"), Problem::Required(detail)));
    }
    if depth == SCHEMA_DEPTH_MAX {
        return;
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.properties[{name}]");
        check_types(field, &path, "for specified object fields", depth + 1, errors);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            let place = match part {
                "items" => "for specified array items",
                _ => "for specified object fields",
            };
            check_types(&schema[part], &format!("{path}.{part}"), place, depth + 1, errors);
        }
    }
}

/// Checks that the defaults of a schema are what it asks for.
fn check_defaults(schema: &Value, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if depth == SCHEMA_DEPTH_MAX {
        return;
    }
    if let Some(default) = schema.get("default")
        && let Ok(compiled) = Schema::compile(schema)
    {
        errors.extend(compiled.validate(default).into_iter().map(|error| {
            let inner = error.field.strip_prefix("<nil>").unwrap_or(&error.field);
            let dot = if inner.is_empty() { "" } else { "." };
            FieldError::new(format!("{path}.default{dot}{inner}"), error.problem)
        }));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        check_defaults(field, &format!("{path}.properties[{name}]"), depth + 1, errors);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            check_defaults(&schema[part], &format!("{path}.{part}"), depth + 1, errors);
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

/// Returns what whoever uses a version is warned with: its own words, or which one to use.
fn deprecation(spec: &Value, version: &Value) -> String {
    if version["deprecated"] != true {
        return String::new();
    }
    if let Some(warning) = version["deprecationWarning"].as_str() {
        return warning.to_owned();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, kind) = (text(&spec["group"]), text(&spec["names"]["kind"]));
    let name = |version: &Value| format!("{group}/{} {kind}", text(&version["name"]));
    let rank = |version: &Value| resource::rank(version["name"].as_str().unwrap_or_default());
    let others = spec["versions"].as_array().into_iter().flatten();
    let better = others
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .filter(|other| rank(other) > rank(version))
        .max_by_key(|other| rank(other));
    match better {
        Some(better) => format!("{} is deprecated; use {}", name(version), name(better)),
        None => format!("{} is deprecated", name(version)),
    }
}

fn selectable(version: &Value) -> Vec<String> {
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let paths = fields.filter_map(|field| field["jsonPath"].as_str());
    paths.map(|path| path.trim_start_matches('.').to_owned()).collect()
}
