//! One API, and the effects on a single object in it.

use api::{Kind, annotation};
use clock::Clock;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::json;

use crate::error::Error;

/// Times that a request to reconcile is written anew when the object changed meanwhile.
const CONFLICTS_MAX: usize = 4;

/// One Kubernetes API.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    pub(crate) clock: Clock,
}

impl Cluster {
    /// Returns the API behind `client`.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    /// Returns the client, for what is no object of our kinds.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the clock that requests are stamped with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns an object.
    pub async fn get(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<DynamicObject, Error> {
        let found = self.of(kind, namespace).get(name).await;
        found.map_err(|error| known_kind(error.into(), kind))
    }

    /// Deletes an object; its finalizers may keep it for a while.
    pub async fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<(), Error> {
        self.of(kind, namespace).delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Suspends an object, or resumes it. Nothing is written when it already is as asked.
    ///
    /// Returns the object as it stands now.
    pub async fn set_suspended(
        &self,
        kind: Kind,
        object: &DynamicObject,
        suspended: bool,
    ) -> Result<DynamicObject, Error> {
        // Flux drops the field when it is false.
        let value = if suspended { json!(true) } else { json!(null) };
        if object.data["spec"]["suspend"].as_bool().unwrap_or(false) == suspended {
            return Ok(object.clone());
        }
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let patch = json!({"spec": {"suspend": value}});
        let patched = self.of(kind, namespace).patch(name, &writer(), &Patch::Merge(patch)).await?;
        Ok(patched)
    }

    /// Asks for an object to be reconciled now.
    pub async fn request_reconciliation(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<(), Error> {
        let api = self.of(kind, namespace);
        let mut conflicts = 0;
        loop {
            let now = self.clock.now().to_string();
            let patch = json!({"metadata": {"annotations": {annotation::REQUESTED_AT: now}}});
            match api.patch(name, &writer(), &Patch::Merge(patch)).await.map_err(Error::from) {
                Err(error) if error.is_conflict() && conflicts < CONFLICTS_MAX => conflicts += 1,
                written => return written.map(drop),
            }
        }
    }

    pub(crate) fn of(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    pub(crate) fn everywhere(&self, kind: Kind) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(kind))
    }
}

/// Writes are the verbs' own, as kubectl's are kubectl's.
pub(crate) fn writer() -> PatchParams {
    PatchParams { field_manager: Some("flux".to_owned()), ..PatchParams::default() }
}

pub(crate) fn resource(kind: Kind) -> ApiResource {
    let names = kind.names();
    let kind = GroupVersionKind::gvk(names.group, names.version, names.kind);
    ApiResource::from_gvk_with_plural(&kind, names.plural)
}

/// A path that the API does not know is a kind that it does not serve; an object that is missing has details.
pub(crate) fn known_kind(error: Error, kind: Kind) -> Error {
    match error {
        Error::NotFound(status) if status.details.as_ref().is_none_or(|d| d.name.is_empty()) => {
            Error::UnknownKind { kind: kind.to_string(), api_version: kind.api_version() }
        }
        error => error,
    }
}
