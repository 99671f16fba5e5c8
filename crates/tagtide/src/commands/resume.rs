//! `resume`: ends the rest of objects, and waits for what was named alone.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use api::Kind;
use cluster::{Cluster, Selection};
use futures::future::join_all;

use crate::args::flux::Resume;
use crate::console::Console;
use crate::error::Outcome;
use crate::kinds;

pub(crate) async fn run(resume: &Resume, console: &Console<'_>) -> Result<Outcome> {
    let (kind, names) = resume.subject.named();
    if names.is_empty() && !resume.all {
        bail!("{} name is required", kinds::human(kind));
    }
    let namespace = console.checked_namespace()?;
    let cluster = console.cluster_to_change().await?;
    let work = Work { console, cluster, kind, namespace };
    let mut resumed = Vec::new();
    if names.is_empty() {
        resumed = work.resume(None).await.context("failed patching objects")?;
    }
    let mut done = BTreeSet::new();
    for name in names.iter().filter(|name| done.insert(*name)) {
        resumed.extend(work.resume(Some(name)).await?);
    }
    let waits = resume.wait || names.len() == 1 && !console.was_typed("wait");
    if waits { work.wait(&resumed).await } else { Ok(Outcome::Done) }
}

struct Work<'a> {
    console: &'a Console<'a>,
    cluster: Cluster,
    kind: Kind,
    namespace: String,
}

impl Work<'_> {
    /// Resumes what is meant, and returns the names.
    async fn resume(&self, name: Option<&str>) -> Result<Vec<String>> {
        let Self { console, kind, namespace, .. } = self;
        let selection = Selection { namespace: Some(namespace), name, labels: "" };
        let objects = self.cluster.list(*kind, &selection).await?;
        if objects.is_empty() {
            console.failure(&match name {
                Some(name) => format!("{kind} object '{name}' not found in {namespace} namespace"),
                None => format!("no {kind} objects found in {namespace} namespace"),
            })?;
        }
        let human = kinds::human(*kind);
        let mut names = Vec::new();
        for object in objects {
            let name = object.metadata.name.clone().unwrap_or_default();
            console.action(&format!("resuming {human} {name} in {namespace} namespace"))?;
            self.cluster.set_suspended(*kind, &object, false).await?;
            console.success(&format!("{human} resumed"))?;
            names.push(name);
        }
        Ok(names)
    }

    /// Waits for all at once, then tells of each in the order of their names.
    async fn wait(&self, names: &[String]) -> Result<Outcome> {
        let Self { console, kind, namespace, .. } = self;
        for _ in names {
            console.waiting(&format!("waiting for {kind} reconciliation"))?;
        }
        let timeout = console.timeout();
        let waits =
            names.iter().map(|name| self.cluster.wait_ready(*kind, namespace, name, timeout));
        let mut told: Vec<_> = names.iter().zip(join_all(waits).await).collect();
        told.sort_by_key(|(name, _)| *name);
        let mut n_failed = 0;
        for (name, ready) in told {
            match ready {
                Ok(object) => {
                    console.success(&format!("{kind} {name} reconciliation completed"))?;
                    console.success(&kinds::success(*kind, &serde_json::to_value(object)?))?;
                }
                Err(error) => {
                    n_failed += 1;
                    console.failure(&format!("{kind} {name} reconciliation failed: {error}"))?;
                }
            }
        }
        if n_failed > 0 {
            bail!("reconciliation failed for {n_failed} {kind}(s)");
        }
        Ok(Outcome::Done)
    }
}
