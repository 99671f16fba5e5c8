//! What a cluster tells of the controllers that are installed in it: definitions and Deployments.

use std::collections::BTreeMap;

use anyhow::Result;
use cluster::{Cluster, Error};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

/// The label that all parts of an installation carry.
pub(crate) const PART_OF_FLUX: &str = "app.kubernetes.io/part-of=flux";

const VERSION_LABEL: &str = "app.kubernetes.io/version";
const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";
/// Labels that say which Kustomization applied an object; both when it was bootstrapped.
const BOOTSTRAP_LABELS: [&str; 2] =
    ["kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"];

/// What the definition of GitRepositories tells of who installed it.
pub(crate) struct Installation {
    labels: BTreeMap<String, String>,
}

impl Installation {
    /// Returns which distribution it is, such as `flux-v2.9.0`; empty if nothing tells.
    pub(crate) fn distribution(&self) -> String {
        let version = self.labels.get(VERSION_LABEL).cloned().unwrap_or_default();
        match self.labels.get(PART_OF_LABEL) {
            Some(part_of) if !part_of.is_empty() => format!("{part_of}-{version}"),
            _ => version,
        }
    }

    /// Returns whether it manages itself from Git.
    pub(crate) fn is_bootstrapped(&self) -> bool {
        self.labels.contains_key(BOOTSTRAP_LABELS[1])
    }
}

/// Returns what is installed; nothing if GitRepositories are not defined.
pub(crate) async fn installation(cluster: &Cluster) -> Result<Option<Installation>, Error> {
    let definitions = Api::<CustomResourceDefinition>::all(cluster.client().clone());
    let name = "gitrepositories.source.toolkit.fluxcd.io";
    let definition = definitions.get_metadata_opt(name).await?;
    Ok(definition
        .map(|definition| Installation { labels: definition.metadata.labels.unwrap_or_default() }))
}

/// A Deployment of an installation.
pub(crate) struct Controller {
    pub(crate) deployment: Deployment,
}

impl Controller {
    pub(crate) fn name(&self) -> &str {
        self.deployment.metadata.name.as_deref().unwrap_or_default()
    }

    /// Returns the images of its containers.
    pub(crate) fn images(&self) -> impl Iterator<Item = &str> {
        let template = self.deployment.spec.as_ref().map(|spec| &spec.template);
        let pod = template.and_then(|template| template.spec.as_ref());
        let containers = pod.into_iter().flat_map(|pod| &pod.containers);
        containers.filter_map(|container| container.image.as_deref())
    }

    /// Returns the labels of its pods, as a selector.
    pub(crate) fn pod_selector(&self) -> String {
        let template = self.deployment.spec.as_ref().map(|spec| &spec.template);
        let metadata = template.and_then(|template| template.metadata.as_ref());
        let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
        let pairs = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    }

    /// Returns the object as kstatus reads it.
    pub(crate) fn value(&self) -> Result<Value> {
        let mut value = serde_json::to_value(&self.deployment)?;
        value["apiVersion"] = "apps/v1".into();
        value["kind"] = "Deployment".into();
        Ok(value)
    }
}

/// Returns the Deployments of the installation in a namespace; an API without Deployments has none.
pub(crate) async fn deployments(
    cluster: &Cluster,
    namespace: &str,
) -> Result<Vec<Controller>, Error> {
    let api = Api::<Deployment>::namespaced(cluster.client().clone(), namespace);
    match cluster.list_all(&api, ListParams::default().labels(PART_OF_FLUX)).await {
        Err(Error::NotFound(_)) => Ok(Vec::new()),
        listed => Ok(listed?.into_iter().map(|deployment| Controller { deployment }).collect()),
    }
}
