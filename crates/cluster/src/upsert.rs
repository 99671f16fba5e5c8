//! Creating what is not there and updating what differs.

use api::Kind;
use golang::time::Duration;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::Value;

use crate::cluster::{Cluster, known_kind, writer};
use crate::error::Error;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upserted {
    /// It was not there.
    Created,
    /// It was there and differed.
    Updated,
    /// It was there as asked; nothing was written.
    Unchanged,
}

impl Cluster {
    /// Creates an object, or gives the one that is there the same labels and spec.
    pub async fn create_or_update(
        &self,
        kind: Kind,
        object: &DynamicObject,
    ) -> Result<Upserted, Error> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let api = self.of(kind, namespace);
        let mut existing = match api.get(name).await.map_err(Error::from) {
            Ok(existing) => existing,
            Err(error) => match known_kind(error, kind) {
                Error::NotFound(_) => {
                    api.create(&post(), object).await?;
                    return Ok(Upserted::Created);
                }
                error => return Err(error),
            },
        };
        let (labels, spec) = (&object.metadata.labels, &object.data["spec"]);
        // No labels and an empty set of them are the same.
        let has_labels = labels.clone().unwrap_or_default()
            == existing.metadata.labels.clone().unwrap_or_default();
        let has_spec = is_same(spec, &existing.data["spec"]);
        if has_labels && has_spec {
            return Ok(Upserted::Unchanged);
        }
        existing.metadata.labels = labels.clone().filter(|labels| !labels.is_empty());
        // What means the same stays as it is written: another generation would be reconciled.
        if !has_spec {
            existing.data["spec"] = spec.clone();
        }
        existing.metadata.managed_fields = None;
        api.replace(name, &post(), &existing).await?;
        Ok(Upserted::Updated)
    }

    /// Creates a Secret, or gives the one that is there the same entries beside its own, with labels and annotations merged.
    pub async fn apply_secret(&self, secret: Secret) -> Result<(), Error> {
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        let name = secret.metadata.name.clone().unwrap_or_default();
        let secret = with_data(secret);
        let api = Api::<Secret>::namespaced(self.client().clone(), &namespace);
        let mut existing = match api.get(&name).await.map_err(Error::from) {
            Ok(existing) => existing,
            Err(Error::NotFound(_)) => {
                api.create(&post(), &secret).await?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        existing.data.get_or_insert_default().extend(secret.data.unwrap_or_default());
        let labels = secret.metadata.labels.unwrap_or_default();
        existing.metadata.labels.get_or_insert_default().extend(labels);
        let annotations = secret.metadata.annotations.unwrap_or_default();
        existing.metadata.annotations.get_or_insert_default().extend(annotations);
        existing.metadata.managed_fields = None;
        api.replace(&name, &post(), &existing).await?;
        Ok(())
    }
}

/// Writes entries as data: what an API makes of `stringData` itself.
fn with_data(mut secret: Secret) -> Secret {
    let texts = secret.string_data.take().unwrap_or_default();
    let entries = texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes())));
    secret.data.get_or_insert_default().extend(entries);
    secret
}

fn post() -> PostParams {
    PostParams { field_manager: writer().field_manager, ..PostParams::default() }
}

/// Compares two specs; durations are compared by what they mean.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|b| is_same(value, b)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::String(a), Value::String(b)) => a == b || is_same_duration(a, b),
        _ => a == b,
    }
}

fn is_same_duration(a: &str, b: &str) -> bool {
    match (a.parse::<Duration>(), b.parse::<Duration>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
