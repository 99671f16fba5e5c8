//! What a `tagtide up` tells of itself beside the Kubernetes API: see `endpoints.rs`, which serves it.

use anyhow::{Context, Result};
use api::TagList;
use cluster::Cluster;
use futures::AsyncBufRead;
use http::Request;
use serde::Deserialize;
use url::form_urlencoded;

use crate::console::said;

/// Who reconciles in a daemon.
#[derive(Debug, Deserialize)]
pub(crate) struct Daemon {
    /// The daemon's version, such as `v0.1.0`.
    pub(crate) version: String,
    controllers: Vec<Controller>,
}

/// What would be a controller's Deployment in a cluster.
#[derive(Debug, Deserialize)]
pub(crate) struct Controller {
    pub(crate) name: String,
    namespace: String,
    pub(crate) version: String,
    pub(crate) image: String,
    pub(crate) ready: bool,
}

#[derive(Deserialize)]
struct Listing {
    tags: Vec<String>,
}

impl Daemon {
    /// Returns the daemon behind an API; nothing if it is a cluster.
    pub(crate) async fn of(cluster: &Cluster) -> Result<Option<Daemon>> {
        ask(cluster, "/tagtide/v1/controllers").await
    }

    /// Returns the controllers that stand in a namespace.
    pub(crate) fn controllers(&self, namespace: &str) -> Vec<&Controller> {
        self.controllers.iter().filter(|controller| controller.namespace == namespace).collect()
    }
}

/// Returns the last complete listing of an ImageRepository, if the API is a daemon's and has one.
pub(crate) async fn tags(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<Option<TagList>> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("namespace", namespace).append_pair("name", name);
    let listing: Option<Listing> =
        ask(cluster, &format!("/tagtide/v1/tags?{}", query.finish())).await?;
    Ok(listing.map(|listing| listing.tags.iter().map(String::as_str).collect()))
}

/// Returns log lines, a JSON object each; when they are followed they do not end.
pub(crate) async fn logs(
    cluster: &Cluster,
    tail: Option<i64>,
    follows: bool,
) -> Result<impl AsyncBufRead + use<>> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("follow", if follows { "true" } else { "false" });
    if let Some(tail) = tail {
        query.append_pair("tail", &tail.to_string());
    }
    let request = Request::get(format!("/tagtide/v1/logs?{}", query.finish())).body(Vec::new())?;
    cluster.client().request_stream(request).await.map_err(said)
}

/// Asks for a document that a cluster does not have, or does not let everybody see.
async fn ask<T: for<'de> Deserialize<'de>>(cluster: &Cluster, path: &str) -> Result<Option<T>> {
    let request = Request::get(path).body(Vec::new())?;
    let text = match cluster.client().request_text(request).await {
        Ok(text) => text,
        Err(kube::Error::Api(_)) => return Ok(None),
        Err(error) => return Err(said(error)),
    };
    let document = serde_json::from_str(&text);
    document.map(Some).with_context(|| format!("the answer to {path} is not what was expected"))
}
