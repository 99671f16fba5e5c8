//! `reconcile`: asks for one object to be reconciled now, and waits until it was.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::args::flux::Reconcile;
use crate::console::Console;
use crate::error::Outcome;
use crate::kinds;

pub(crate) async fn run(reconcile: &Reconcile, console: &Console<'_>) -> Result<Outcome> {
    let (kind, names) = reconcile.subject.named();
    let Some(name) = names.first() else { bail!("{kind} name is required") };
    let namespace = console.checked_namespace()?;
    let cluster = console.cluster_to_change().await?;
    let before: Value = serde_json::to_value(cluster.get(kind, &namespace, name).await?)?;
    if kinds::is_suspended(&before) {
        bail!("resource is suspended");
    }
    console.action(&format!("annotating {kind} {name} in {namespace} namespace"))?;
    cluster.request_reconciliation(kind, &namespace, name).await?;
    console.success(&format!("{kind} annotated"))?;
    console.waiting(&format!("waiting for {kind} reconciliation"))?;
    let handled = before["status"]["lastHandledReconcileAt"].as_str().unwrap_or_default();
    let after = cluster.wait_handled(kind, &namespace, name, handled, console.timeout()).await?;
    let after = serde_json::to_value(after)?;
    let Some(ready) = cluster::kstatus::condition(&after, "Ready") else {
        bail!("status can't be determined");
    };
    if ready["status"] != "True" {
        let message = ready["message"].as_str().unwrap_or_default();
        bail!("{kind} reconciliation failed: '{message}'");
    }
    console.success(&kinds::success(kind, &after))?;
    Ok(Outcome::Done)
}
