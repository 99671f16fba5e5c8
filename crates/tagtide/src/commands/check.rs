//! `check`: whether an API is new enough, and whether controllers and definitions are there and ready.

use anyhow::{Context, Result};
use cluster::kstatus::{self, Status};
use cluster::{Cluster, Error};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::ListParams;

use crate::args::flux::Check;
use crate::console::{Console, said};
use crate::controllers_of::{Controller, PART_OF_FLUX, deployments, installation};
use crate::daemon::Daemon;
use crate::error::Outcome;

/// The versions of Kubernetes that the controllers support.
const KUBERNETES: &str = ">=1.33.0-0";
/// What the groups of Flux's kinds end with.
const FLUX_GROUPS: &str = ".toolkit.fluxcd.io";

pub(crate) async fn run(check: &Check, console: &Console<'_>) -> Result<Outcome> {
    let namespace = console.checked_namespace()?;
    console.action("checking prerequisites")?;
    let cluster = console.cluster().await.context("Kubernetes client initialization failed")?;
    let mut is_sound = kubernetes(&cluster, console).await?;
    if check.pre {
        if is_sound {
            console.success("prerequisites checks passed")?;
        }
        return Ok(if is_sound { Outcome::Done } else { Outcome::Failed });
    }
    let daemon = Daemon::of(&cluster).await?;
    console.action("checking version in cluster")?;
    match &daemon {
        Some(daemon) => {
            console.success(&format!("distribution: tagtide-{}", daemon.version))?;
            console.success("bootstrapped: false")?;
        }
        None => is_sound &= distribution(&cluster, console).await?,
    }
    console.action("checking controllers")?;
    is_sound &= match &daemon {
        Some(_) => in_daemon(check, &cluster, &namespace, console).await?,
        None => controllers(check, &cluster, &namespace, console).await?,
    };
    console.action("checking crds")?;
    is_sound &= definitions(&cluster, daemon.is_some(), console).await?;
    if !is_sound {
        console.failure("check failed")?;
        return Ok(Outcome::Failed);
    }
    console.success("all checks passed")?;
    Ok(Outcome::Done)
}

async fn kubernetes(cluster: &Cluster, console: &Console<'_>) -> Result<bool> {
    let version = match cluster.client().apiserver_version().await {
        Ok(info) => info.git_version,
        Err(error) => {
            console.failure(&format!("Kubernetes API call failed: {:#}", said(error)))?;
            return Ok(false);
        }
    };
    let (Ok(parsed), Ok(range)) =
        (version::Version::parse_tag(&version), version::Constraint::parse(KUBERNETES))
    else {
        console.failure("Kubernetes version can't be determined")?;
        return Ok(false);
    };
    if !range.check(&parsed) {
        console.failure(&format!("Kubernetes version {version} does not match {KUBERNETES}"))?;
        return Ok(false);
    }
    console.success(&format!("Kubernetes {parsed} {KUBERNETES}"))?;
    Ok(true)
}

async fn distribution(cluster: &Cluster, console: &Console<'_>) -> Result<bool> {
    let installed = match installation(cluster).await {
        Ok(Some(installed)) => installed,
        Ok(None) => {
            let name = "gitrepositories.source.toolkit.fluxcd.io";
            console.failure(&format!(
                "checking failed: customresourcedefinitions.apiextensions.k8s.io \"{name}\" not found"
            ))?;
            return Ok(false);
        }
        Err(error) => {
            console.failure(&format!("checking failed: {error}"))?;
            return Ok(false);
        }
    };
    let distribution = installed.distribution();
    if !distribution.is_empty() {
        console.success(&format!("distribution: {distribution}"))?;
    }
    console.success(&format!("bootstrapped: {}", installed.is_bootstrapped()))?;
    Ok(true)
}

async fn controllers(
    check: &Check,
    cluster: &Cluster,
    namespace: &str,
    console: &Console<'_>,
) -> Result<bool> {
    let found = deployments(cluster, namespace).await?;
    if found.is_empty() {
        return nobody(namespace, console);
    }
    let mut is_sound = true;
    for controller in &found {
        let name = controller.name();
        let waiting = ready(check, cluster, namespace, controller);
        match tokio::time::timeout(console.timeout(), waiting).await {
            Ok(Ok(true)) => console.success(&format!("{name}: deployment ready"))?,
            Ok(Err(Error::NotFound(_))) => {
                console.failure(&format!("{name}: deployment not found"))?;
                is_sound = false;
            }
            Ok(Ok(false) | Err(_)) | Err(_) => {
                console.failure(&format!("{name}: deployment not ready"))?;
                is_sound = false;
            }
        }
        for image in controller.images() {
            console.action(image)?;
        }
    }
    Ok(is_sound)
}

fn nobody(namespace: &str, console: &Console<'_>) -> Result<bool> {
    console.failure(&format!(
        "no controllers found in the '{namespace}' namespace with the label selector '{PART_OF_FLUX}'"
    ))?;
    Ok(false)
}

/// Waits until the controllers of a `tagtide up` are ready, and tells of each.
async fn in_daemon(
    check: &Check,
    cluster: &Cluster,
    namespace: &str,
    console: &Console<'_>,
) -> Result<bool> {
    let deadline = cluster.clock().instant() + console.timeout();
    loop {
        let daemon = Daemon::of(cluster).await?.context("the daemon has gone")?;
        let found = daemon.controllers(namespace);
        if found.is_empty() {
            return nobody(namespace, console);
        }
        let is_ready = found.iter().all(|controller| controller.ready);
        let is_over = cluster.clock().instant() >= deadline;
        if !is_ready && !is_over {
            cluster.clock().sleep(check.poll_interval.to_std()).await;
            continue;
        }
        for controller in found {
            let name = &controller.name;
            match controller.ready {
                true => console.success(&format!("{name}: deployment ready"))?,
                false => console.failure(&format!("{name}: deployment not ready"))?,
            }
            console.action(&controller.image)?;
        }
        return Ok(is_ready);
    }
}

/// Waits until a Deployment is ready; returns false if it never will be.
async fn ready(
    check: &Check,
    cluster: &Cluster,
    namespace: &str,
    controller: &Controller,
) -> Result<bool, Error> {
    let api = Api::namespaced(cluster.client().clone(), namespace);
    loop {
        let controller = Controller { deployment: api.get(controller.name()).await? };
        match controller.value().map(|value| kstatus::compute(&value)) {
            Ok(Status::Current) => return Ok(true),
            Ok(Status::InProgress(_) | Status::Failed(_)) => {}
            Ok(Status::Terminating) | Err(_) => return Ok(false),
        }
        cluster.clock().sleep(check.poll_interval.to_std()).await;
    }
}

/// Tells of the definitions of an installation; those that a daemon has built in carry no label.
async fn definitions(cluster: &Cluster, are_built_in: bool, console: &Console<'_>) -> Result<bool> {
    let api = Api::<CustomResourceDefinition>::all(cluster.client().clone());
    let params = match are_built_in {
        true => ListParams::default(),
        false => ListParams::default().labels(PART_OF_FLUX),
    };
    let mut found = cluster.list_all(&api, params).await?;
    found.retain(|known| !are_built_in || known.spec.group.ends_with(FLUX_GROUPS));
    if found.is_empty() {
        console.failure(&format!("no crds found with the label selector '{PART_OF_FLUX}'"))?;
        return Ok(false);
    }
    let mut is_sound = true;
    for definition in found {
        let name = definition.metadata.name.unwrap_or_default();
        let stored = definition.status.and_then(|status| status.stored_versions);
        match stored.as_ref().and_then(|versions| versions.last()) {
            Some(version) => console.success(&format!("{name}/{version}"))?,
            None => {
                console.failure(&format!("no stored versions for {name}"))?;
                is_sound = false;
            }
        }
    }
    Ok(is_sound)
}
