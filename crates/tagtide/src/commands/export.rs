//! `export`: objects as YAML that another API takes.

use anyhow::{Context, Result, bail};
use api::Kind;
use cluster::{Cluster, Selection};
use golang::time::Duration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::args::flux::Export;
use crate::console::{Console, said};
use crate::error::Outcome;

/// Fields of our kinds that are left out when they are false.
const SWITCHES: [&str; 3] = ["suspend", "insecure", "recurseSubmodules"];
/// Fields of our kinds that hold a duration.
const DURATIONS: [&str; 2] = ["interval", "timeout"];

pub(crate) async fn run(export: &Export, console: &Console<'_>) -> Result<Outcome> {
    let (kind, names) = export.subject.named();
    let name = names.first().map(String::as_str);
    if name.is_none() && !export.all {
        bail!("name is required");
    }
    let namespace = console.checked_namespace()?;
    let cluster = console.cluster().await?;
    let objects = match name {
        Some(name) if !export.all => vec![cluster.get(kind, &namespace, name).await?],
        _ => {
            let selection = Selection { namespace: Some(&namespace), ..Selection::default() };
            cluster.list(kind, &selection).await?
        }
    };
    if objects.is_empty() {
        bail!("no objects found in {namespace} namespace");
    }
    for object in objects {
        let exported = exported(kind, &object);
        print(&exported, console)?;
        let secret = exported["spec"]["secretRef"]["name"].as_str();
        if let Some(secret) = secret.filter(|_| export.subject.with_credentials()) {
            print(&credentials(&cluster, &namespace, secret).await?, console)?;
        }
    }
    Ok(Outcome::Done)
}

/// Returns what of an object is its author's: name, labels, annotations and spec.
pub(crate) fn exported(kind: Kind, object: &DynamicObject) -> Value {
    let mut metadata = Map::new();
    let given = &object.metadata;
    let mut put = |field: &str, value: Value| {
        if !value.is_null() && value != json!({}) {
            metadata.insert(field.to_owned(), value);
        }
    };
    put("annotations", json!(given.annotations));
    put("labels", json!(given.labels));
    put("name", json!(given.name));
    put("namespace", json!(given.namespace));
    let mut spec = object.data["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        settle(spec);
    }
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": metadata,
        "spec": spec,
    })
}

/// Writes a spec as Flux does: no switch that is off, durations in full.
fn settle(spec: &mut Map<String, Value>) {
    let is_off = |field: &str, value: &Value| SWITCHES.contains(&field) && *value == json!(false);
    spec.retain(|field, value| !value.is_null() && !is_off(field, value));
    for field in DURATIONS {
        let duration = spec.get(field).and_then(Value::as_str).map(str::parse::<Duration>);
        if let Some(Ok(duration)) = duration {
            spec.insert(field.to_owned(), duration.to_string().into());
        }
    }
}

/// Prints an object as a YAML document.
pub(crate) fn print(object: &Value, console: &Console<'_>) -> Result<()> {
    console.ui.data(&format!("---\n{}\n", yaml::to_string(object).trim()))
}

async fn credentials(cluster: &Cluster, namespace: &str, name: &str) -> Result<Value> {
    let secrets = Api::<Secret>::namespaced(cluster.client().clone(), namespace);
    let secret = secrets.get(name).await.map_err(said);
    let secret = secret.with_context(|| format!("failed to retrieve secret {name}, error"))?;
    let mut exported = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
    });
    if let Some(data) = secret.data.filter(|data| !data.is_empty()) {
        exported["data"] = serde_json::to_value(data)?;
    }
    if let Some(type_) = secret.type_ {
        exported["type"] = type_.into();
    }
    Ok(exported)
}
