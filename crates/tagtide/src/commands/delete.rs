//! `delete`: deletes one object, after asking.

use anyhow::{Result, bail};

use crate::args::flux::Delete;
use crate::console::Console;
use crate::error::Outcome;
use crate::kinds;

pub(crate) async fn run(delete: &Delete, console: &Console<'_>) -> Result<Outcome> {
    let (kind, names) = delete.subject.named();
    let human = kinds::human(kind);
    let Some(name) = names.first() else { bail!("{human} name is required") };
    let namespace = console.checked_namespace()?;
    let cluster = console.cluster_to_change().await?;
    cluster.get(kind, &namespace, name).await?;
    if !delete.silent {
        console.confirm(&format!("Are you sure you want to delete this {human}"))?;
    }
    console.action(&format!("deleting {human} {name} in {namespace} namespace"))?;
    cluster.delete(kind, &namespace, name).await?;
    console.success(&format!("{human} deleted"))?;
    Ok(Outcome::Done)
}
