//! The command line: parses it, sets up logging, runs one command, returns its exit code.

mod args;
mod artifact_server;
mod config;
mod console;
mod controllers_of;
mod daemon;
mod diff;
mod endpoints;
mod error;
mod fail_point;
mod flux_log;
mod folder;
mod interrupt;
mod kinds;
mod loader;
mod local;
mod log_book;
mod manifest_files;
mod manifests;
mod one_line;
mod pki;
mod plugin;
mod process;
mod report;
mod requests;
mod secrets;
mod serve;
mod session;
mod table;
mod target;
mod ui;
mod commands {
    pub(crate) mod check;
    pub(crate) mod completion;
    pub(crate) mod create;
    pub(crate) mod delete;
    pub(crate) mod demo;
    pub(crate) mod events;
    pub(crate) mod explain;
    pub(crate) mod export;
    pub(crate) mod get;
    pub(crate) mod lint;
    pub(crate) mod logs;
    pub(crate) mod plan;
    pub(crate) mod reconcile;
    pub(crate) mod resume;
    pub(crate) mod run;
    pub(crate) mod stats;
    pub(crate) mod suspend;
    pub(crate) mod up;
    pub(crate) mod verbs;
    pub(crate) mod version;
}

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::args::{
    Command, Environment, ExplainImage, ExplainSubject, Global, Invocation, LogEncoding, Refusal,
};
use crate::console::Console;
use crate::error::{Outcome, Usage};
use crate::flux_log::{FluxLog, Sink};
use crate::interrupt::Interrupt;
use crate::log_book::LogBook;
use crate::one_line::OneLine;
use crate::ui::Ui;

/// Blocking work that is under way when a command has ended may take this long.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Pages of freed memory go back to the system soon; long runs stay small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let invocation = match args::parse(std::env::args_os().collect()) {
        Ok(invocation) => invocation,
        Err(refusal) => return refuse(&refusal),
    };
    let is_verb = matches!(invocation.cli.command, Command::Verb(_));
    match perform(invocation) {
        Ok(outcome) => outcome.into(),
        // Standard error may be closed; the exit code still tells.
        Err(error) if is_verb => {
            let _ = Ui.note(&format!("✗ {error:#}"));
            ExitCode::from(1)
        }
        Err(error) => {
            let code = error::exit_code(&error);
            Ui.note(&format!("error: {error:#}")).map_or(ExitCode::from(1), |()| code)
        }
    }
}

fn refuse(refusal: &Refusal) -> ExitCode {
    match refusal {
        Refusal::Text(text) => match Ui.data(text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(1),
        },
        Refusal::Mistake(mistake) => {
            let _ = Ui.note(&format!("✗ {mistake}"));
            ExitCode::from(1)
        }
        Refusal::Clap(error) => {
            // A help text goes to standard output, a mistake to standard error.
            let is_printed = error.print().is_ok();
            let code = if is_printed { error.exit_code() } else { 1 };
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

fn perform(invocation: Invocation) -> Result<Outcome> {
    let Invocation { program, cli, typed } = invocation;
    let environment = Environment::of_process();
    let logs = matches!(cli.command, Command::Up(_)).then(LogBook::default);
    start_logging(&cli.global, &environment, logs.as_ref())?;
    match cli.command {
        Command::Explain {
            subject: ExplainSubject::Image { subject: ExplainImage::Policy(policy) },
        } => match &policy.policy {
            Some(file) => commands::explain::run(&policy, file, &Ui),
            None => wait(commands::explain::on_server(&policy, &environment, &Ui)),
        },
        Command::Lint(lint) => commands::lint::run(&lint, &Ui),
        Command::Run(run) => until_stopped(async |interrupt| {
            commands::run::run(&run, &environment, interrupt, &Ui).await
        }),
        Command::Up(up) => {
            let logs = logs.unwrap_or_default();
            until_stopped(async |interrupt| {
                commands::up::run(&up, &environment, logs, interrupt, &Ui).await
            })
        }
        Command::Plan(plan) => until_stopped(async |interrupt| {
            commands::plan::run(&plan, &environment, interrupt, &Ui).await
        }),
        Command::Demo(demo) => {
            until_stopped(async |interrupt| commands::demo::run(&demo, interrupt, &Ui).await)
        }
        Command::Verb(verb) => {
            let console = Console::new(program, verb.connection(), &typed, &environment, &Ui);
            wait(commands::verbs::run(&verb, &console))
        }
    }
}

/// Runs a command to its end on a runtime of its own. A signal ends it as it ends any program.
fn wait(command: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(command);
    // A name that is still being looked up is not waited for.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    outcome
}

/// Runs a command that has something to finish when a signal asks it to stop.
fn until_stopped(command: impl AsyncFnOnce(&Interrupt) -> Result<Outcome>) -> Result<Outcome> {
    wait(async { command(&Interrupt::listen()?).await })
}

/// Starts logging to standard error, and to a service's book if there is one.
fn start_logging(global: &Global, environment: &Environment, book: Option<&LogBook>) -> Result<()> {
    let level =
        global.log_level.as_deref().unwrap_or(if book.is_some() { "info" } else { "error" });
    let filter = || {
        EnvFilter::try_new(level).map_err(|error| Usage(format!("--log-level `{level}`: {error}")))
    };
    let lines = match global.log_encoding {
        LogEncoding::Console => tracing_subscriber::fmt::layer()
            .with_writer(|| OneLine(std::io::stderr()))
            .with_target(false)
            .with_ansi(false)
            .boxed(),
        LogEncoding::Json => FluxLog::new(Sink::Stderr).boxed(),
    };
    let mut layers = vec![lines.with_filter(filter()?).boxed()];
    if let Some(book) = book {
        let kept = FluxLog::new(Sink::Book(book.clone()));
        layers.push(kept.with_filter(filter()?).boxed());
    }
    let subscriber = tracing_subscriber::registry().with(layers);
    // Without one the library is told nothing of it: a layer that is not there would still be asked.
    let started = match fail_point::layer(environment)? {
        None => subscriber.try_init(),
        Some(fail_point) => subscriber.with(fail_point).try_init(),
    };
    started.context("cannot start logging")
}
