//! The command line: parses it, sets up logging, runs one command, returns its exit code.

mod args;
mod config;
mod diff;
mod error;
mod fail_point;
mod folder;
mod loader;
mod local;
mod manifest_files;
mod manifests;
mod pki;
mod report;
mod secrets;
mod serve;
mod session;
mod ui;
mod commands {
    pub(crate) mod demo;
    pub(crate) mod explain;
    pub(crate) mod lint;
    pub(crate) mod plan;
    pub(crate) mod run;
    pub(crate) mod up;
}

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tracing_subscriber::{Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::args::{Cli, Command, Environment, ExplainImage, ExplainSubject, Global, LogEncoding};
use crate::error::{Outcome, Usage};
use crate::ui::Ui;

/// Pages of freed memory go back to the system soon; long runs stay small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A help text goes to standard output, a mistake to standard error.
            let is_printed = error.print().is_ok();
            let code = if is_printed { error.exit_code() } else { 1 };
            return ExitCode::from(u8::try_from(code).unwrap_or(1));
        }
    };
    match perform(cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            let code = error::exit_code(&error);
            // Standard error may be closed; the exit code still tells.
            Ui.note(&format!("error: {error:#}")).map_or(ExitCode::from(1), |()| code)
        }
    }
}

fn perform(cli: Cli) -> Result<Outcome> {
    let environment = Environment::of_process();
    let is_service = matches!(cli.command, Command::Up(_));
    start_logging(&cli.global, if is_service { "info" } else { "error" }, &environment)?;
    match cli.command {
        Command::Explain {
            subject: ExplainSubject::Image { subject: ExplainImage::Policy(policy) },
        } => commands::explain::run(&policy, &Ui),
        Command::Lint(lint) => commands::lint::run(&lint, &Ui),
        Command::Run(run) => wait(commands::run::run(&run, &environment, &Ui)),
        Command::Up(up) => wait(commands::up::run(&up, &environment, &Ui)),
        Command::Plan(plan) => wait(commands::plan::run(&plan, &environment, &Ui)),
        Command::Demo(demo) => wait(commands::demo::run(&demo, &Ui)),
    }
}

/// Runs a command to its end on a runtime of its own.
fn wait(command: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(command)
}

fn start_logging(global: &Global, level: &str, environment: &Environment) -> Result<()> {
    let level = global.log_level.as_deref().unwrap_or(level);
    let filter = tracing_subscriber::EnvFilter::try_new(level)
        .map_err(|error| Usage(format!("--log-level `{level}`: {error}")))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match global.log_encoding {
        LogEncoding::Console => lines.with_ansi(false).boxed(),
        LogEncoding::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    // Without one the library is told nothing of it: a layer that is not there would still be asked.
    let started = match fail_point::layer(environment)? {
        None => subscriber.try_init(),
        Some(fail_point) => subscriber.with(fail_point).try_init(),
    };
    started.context("cannot start logging")
}
