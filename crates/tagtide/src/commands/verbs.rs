//! Flux's verbs: each has a file of its own beside this one.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::args::flux::Verb;
use crate::commands::{
    check, completion, create, delete, events, export, get, logs, reconcile, resume, stats,
    suspend, version,
};
use crate::console::Console;
use crate::error::Outcome;

/// How much later a verb is ended than its own waits are.
const GRACE: Duration = Duration::from_secs(1);
/// `check` gives every controller the time that other verbs have in all; this many may be late.
const LATE_CONTROLLERS: u32 = 8;

/// Runs a verb, for no longer than it may take.
pub(crate) async fn run(verb: &Verb, console: &Console<'_>) -> Result<Outcome> {
    let timeout = match verb {
        Verb::Check(_) => console.timeout().saturating_mul(LATE_CONTROLLERS),
        _ => console.timeout(),
    };
    // What a verb itself waits for ends with words of its own.
    let timeout = timeout.saturating_add(GRACE);
    let ended = tokio::time::timeout(timeout, perform(verb, console)).await;
    ended.unwrap_or_else(|_| bail!("context deadline exceeded"))
}

async fn perform(verb: &Verb, console: &Console<'_>) -> Result<Outcome> {
    match verb {
        Verb::Check(check) => check::run(check, console).await,
        Verb::Completion(completion) => completion::run(completion, console),
        Verb::Create(create) => create::run(create, console).await,
        Verb::Delete(delete) => delete::run(delete, console).await,
        Verb::Events(events) => events::run(events, console).await,
        Verb::Export(export) => export::run(export, console).await,
        Verb::Get(get) => get::run(get, console).await,
        Verb::Logs(logs) => logs::run(logs, console).await,
        Verb::Reconcile(reconcile) => reconcile::run(reconcile, console).await,
        Verb::Resume(resume) => resume::run(resume, console).await,
        Verb::Stats(stats) => stats::run(stats, console).await,
        Verb::Suspend(suspend) => suspend::run(suspend, console).await,
        Verb::Version(version) => version::run(version, console).await,
    }
}
