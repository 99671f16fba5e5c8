//! Server-side apply: an object is what its owners applied together.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    managed_fields::{self, Refusal, Writer},
    object,
    resource::Resource,
    server::Api,
    status::{FieldError, Problem, Status},
    store::Key,
    write::{self, Options, Part, Tracking, Written},
};

/// Whose applies may take over what `kubectl apply` wrote before without a server.
const SUCCESSOR: &str = "kubectl";

/// The annotation in which that keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Api {
    /// Applies a configuration: creates the object, or changes what its sender owns of it.
    pub(crate) fn apply(
        &self,
        resource: &Arc<Resource>,
        key: &Key,
        part: Part,
        config: &Value,
        options: &Options,
    ) -> Result<(Written, StatusCode), Status> {
        let (config, warnings) = check(resource, key, config, options)?;
        let options = &Options { problems: Vec::new(), ..options.clone() };
        let is_there = self.store.latest(&resource.id, key).is_some();
        let (mut written, code) = if is_there {
            let change = |live: &Value| {
                write::check_uid(resource, key, live, &config)?;
                self.merged(resource, live, &config, part, options)
            };
            let written = self.change(resource, key, part, options, Tracking::Given, change)?;
            (written, StatusCode::OK)
        } else if part == Part::Main {
            if !object::uid(&config).is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    object::uid(&config)
                );
                return Err(Status::conflict(resource, &key.1, &why));
            }
            let new = self.merged(resource, &json!({}), &config, part, options)?;
            let written = self.create_tracked(resource, &key.0, new, options, Tracking::Given)?;
            (written, StatusCode::CREATED)
        } else {
            return Err(Status::not_found(resource, &key.1));
        };
        written.warnings.splice(0..0, warnings);
        Ok((written, code))
    }

    fn merged(
        &self,
        resource: &Resource,
        live: &Value,
        config: &Value,
        part: Part,
        options: &Options,
    ) -> Result<Value, Status> {
        let now = self.timestamp();
        let writer =
            Writer { manager: &options.manager, subresource: part.subresource(), now: &now };
        let apply = |force| managed_fields::apply(resource, live, config, writer, force);
        let applied = match apply(options.force) {
            Err(Refusal::Conflicts(conflicts))
                if options.manager == SUCCESSOR
                    && managed_fields::is_last_applied(resource, live, &conflicts) =>
            {
                apply(true)
            }
            result => result,
        };
        let mut object = applied.map_err(|refusal| refusal.into_status(resource, config))?;
        if options.manager == SUCCESSOR && part == Part::Main {
            remember(live, config, &mut object);
        }
        Ok(object)
    }
}

/// Checks a configuration and removes what its schema does not know; returns warnings about it.
fn check(
    resource: &Resource,
    key: &Key,
    config: &Value,
    options: &Options,
) -> Result<(Value, Vec<String>), Status> {
    if options.manager.is_empty() {
        let problem = Problem::Required("is required for apply patch".to_owned());
        return Err(Status::invalid_options(
            "PatchOptions",
            &FieldError::new("fieldManager", problem),
        ));
    }
    let mut config = config.clone();
    if !config.is_object() {
        return Err(Status::bad_request("the configuration must be an object"));
    }
    let (version, expected) = (config["apiVersion"].as_str(), resource.api_version());
    if version != Some(&expected) {
        return Err(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {expected}",
            version.unwrap_or_default(),
        )));
    }
    if config["kind"].as_str() != Some(&resource.kind) {
        return Err(Status::bad_request(
            "the kind of the configuration is not that of the resource",
        ));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let given = object::namespace(&config).to_owned();
    let metadata = object::metadata_mut(&mut config);
    metadata.entry("name").or_insert_with(|| json!(key.1));
    if resource.is_namespaced {
        metadata.entry("namespace").or_insert_with(|| json!(key.0));
    }
    if object::name(&config) != key.1 {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            object::name(&config),
            key.1
        )));
    }
    // Nobody can own a field that the schema does not know, whatever validation was asked for.
    let unknown = resource.schema.as_deref().map(|schema| schema.prune(&mut config.clone()));
    if let Some(path) = unknown.unwrap_or_default().first() {
        return Err(Status::unexplained(format!(
            "failed to create typed patch object ({given}/{}; {}/{}, Kind={}): .{path}: field not declared in schema",
            key.1, resource.group, resource.version, resource.kind,
        )));
    }
    let warnings = write::prune(resource, &mut config, options)?;
    Ok((config, warnings))
}

/// Keeps the annotation of an object up to date whose owner now applies by the server.
fn remember(live: &Value, config: &Value, object: &mut Value) {
    if live["metadata"]["annotations"][LAST_APPLIED].is_null() {
        return;
    }
    let annotations = &mut object["metadata"]["annotations"];
    if annotations[LAST_APPLIED].is_string() {
        annotations[LAST_APPLIED] = Value::String(format!("{config}\n"));
    }
}
