//! `suspend`: makes objects rest.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use api::Kind;
use cluster::{Cluster, Selection};

use crate::args::flux::Suspend;
use crate::console::Console;
use crate::error::Outcome;
use crate::kinds;

pub(crate) async fn run(suspend: &Suspend, console: &Console<'_>) -> Result<Outcome> {
    let (kind, names) = suspend.subject.named();
    if names.is_empty() && !suspend.all {
        bail!("{} name is required", kinds::human(kind));
    }
    let namespace = console.checked_namespace()?;
    let cluster = console.cluster_to_change().await?;
    if names.is_empty() {
        if !suspend_all(console, &cluster, kind, &namespace, None).await? {
            bail!("no objects found");
        }
        return Ok(Outcome::Done);
    }
    let mut done = BTreeSet::new();
    for name in names.iter().filter(|name| done.insert(*name)) {
        match suspend_all(console, &cluster, kind, &namespace, Some(name)).await {
            Ok(true) => {}
            Ok(false) => {
                console.failure(&format!("{kind} {name} not found in {namespace} namespace"))?;
            }
            Err(error) => console.failure(&format!(
                "failed suspending {kind} {name} in {namespace} namespace: {error:#}"
            ))?,
        }
    }
    Ok(Outcome::Done)
}

/// Suspends what is meant; returns whether there was anything.
async fn suspend_all(
    console: &Console<'_>,
    cluster: &Cluster,
    kind: Kind,
    namespace: &str,
    name: Option<&str>,
) -> Result<bool> {
    let selection = Selection { namespace: Some(namespace), name, labels: "" };
    let objects = cluster.list(kind, &selection).await?;
    let human = kinds::human(kind);
    for object in &objects {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        console.action(&format!("suspending {human} {name} in {namespace} namespace"))?;
        cluster.set_suspended(kind, object, true).await?;
        console.success(&format!("{human} suspended"))?;
    }
    Ok(!objects.is_empty())
}
