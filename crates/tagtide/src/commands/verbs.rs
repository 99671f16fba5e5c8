//! Flux's verbs: each has a file of its own beside this one.

use anyhow::Result;

use crate::args::flux::Verb;
use crate::commands::{
    check, completion, create, delete, events, export, get, logs, reconcile, resume, stats,
    suspend, version,
};
use crate::console::Console;
use crate::error::Outcome;

/// Runs a verb.
pub(crate) async fn run(verb: &Verb, console: &Console<'_>) -> Result<Outcome> {
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
