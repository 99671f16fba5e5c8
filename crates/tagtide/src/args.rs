//! What was typed and what the environment says; nothing is interpreted here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use url::Url;

use self::flux::{Flux, Verb};
use self::pflag::{Program, Stop};

pub(crate) mod create;
pub(crate) mod flux;
mod help;
mod later;
pub(crate) mod pflag;

/// Scans registries, chooses tags by policy and writes each choice into Git.
#[derive(Debug, Parser)]
#[command(name = "tagtide", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// How log lines look on standard error
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "console",
        env = "TAGTIDE_LOG_ENCODING"
    )]
    pub(crate) log_encoding: LogEncoding,
    /// Which log lines are shown: error (info for `up`), warn, info, debug, trace, or tracing
    /// directives
    #[arg(long, global = true, env = "TAGTIDE_LOG_LEVEL")]
    pub(crate) log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogEncoding {
    Console,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Sentences and tables for people
    Text,
    /// One JSON document for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the loop happening on this machine: a registry, a Git host, three environments
    Demo(Demo),
    /// Run sources, repositories, policies and automations
    Run(Run),
    /// Serve the API that they live in, and run them for as long as it is served
    Up(Up),
    /// Show what a run would change and why, as a unified diff
    Plan(Plan),
    /// Explain a choice
    Explain {
        #[command(subcommand)]
        subject: ExplainSubject,
    },
    /// Check every marker below a folder
    Lint(Lint),
    #[command(flatten)]
    Verb(Box<Verb>),
}

/// What was typed, and by which name we were called.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) program: Program,
    pub(crate) cli: Cli,
    /// Long names of the flags of a verb that were typed.
    pub(crate) typed: BTreeSet<String>,
}

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A text was asked for.
    Text(String),
    /// A mistake in a verb, in Flux's words.
    Mistake(String),
    /// A mistake in a command of ours, or its help.
    Clap(clap::Error),
}

/// Reads what was typed: Flux's verbs as Flux reads them, our own commands as clap does.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Invocation, Refusal> {
    let called = arguments.first().map(PathBuf::from).unwrap_or_default();
    let program = match called.file_stem() {
        Some(name) if name == "flux" => Program::Flux,
        _ => Program::Tagtide,
    };
    let mut root = command(program);
    let rest = arguments.get(1..).unwrap_or_default();
    if program == Program::Tagtide && !pflag::is_verb(&root, &Flux::command(), rest) {
        let cli = Cli::try_parse_from(arguments).map_err(Refusal::Clap)?;
        return Ok(Invocation { program, cli, typed: BTreeSet::new() });
    }
    // Every command with every flag: some megabytes, which a daemon never needs.
    root.build();
    let words = rest.iter().map(|word| word.to_str().map(str::to_owned));
    let words: Option<Vec<String>> = words.collect();
    let words = words.ok_or_else(|| Refusal::Mistake("an argument is no UTF-8".to_owned()))?;
    let line = pflag::parse(&root, &words, program).map_err(|stop| match stop {
        Stop::Help(path) => Refusal::Text(help::text(&root, &path, program)),
        Stop::Version => Refusal::Text(format!("flux version {}\n", env!("CARGO_PKG_VERSION"))),
        Stop::Mistake(mistake) => Refusal::Mistake(mistake),
    })?;
    let name = root.get_name().to_owned();
    let arguments = [name].into_iter().chain(line.arguments);
    let cli = match program {
        Program::Tagtide => Cli::try_parse_from(arguments),
        Program::Flux => Flux::try_parse_from(arguments).map(|flux| Cli {
            global: Global { log_encoding: LogEncoding::Console, log_level: None },
            command: Command::Verb(Box::new(flux.verb)),
        }),
    };
    Ok(Invocation { program, cli: cli.map_err(Refusal::Clap)?, typed: line.typed })
}

/// Returns the commands that a program of this name has.
pub(crate) fn command(program: Program) -> clap::Command {
    match program {
        Program::Flux => Flux::command(),
        Program::Tagtide => Cli::command(),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the repository and the manifests, and say where they are
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Reconcile everything once, until nothing is due, and stop
    #[arg(long, required = true)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    #[command(flatten)]
    pub(crate) state: State,
    /// Do everything but push
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    #[command(flatten)]
    pub(crate) state: State,
    /// Where the API is served [default: 127.0.0.1:7443, or another port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where the archives of sources are served [default: 127.0.0.1:7480, or another port if that
    /// is taken]
    #[arg(long, value_name = "ADDRESS:PORT", env = "STORAGE_ADDR", value_parser = address)]
    pub(crate) storage_addr: Option<SocketAddr>,
    /// Host and port under which others reach them, if not where they are served
    #[arg(long, value_name = "HOST[:PORT]", env = "STORAGE_ADV_ADDR")]
    pub(crate) storage_adv_addr: Option<String>,
    /// Where events are sent to, in the form in which Flux's controllers send them
    #[arg(long, value_name = "URL")]
    pub(crate) events_addr: Option<Url>,
    /// Where measurements are served (`/metrics`) in the clear and without the token [default:
    /// nowhere; with the token, where the API is]
    #[arg(long, value_name = "[ADDRESS]:PORT", value_parser = address)]
    pub(crate) metrics_addr: Option<SocketAddr>,
    /// Where health is told (`/healthz`, `/readyz`) in the clear [default: nowhere but where the API
    /// is]
    #[arg(long, value_name = "[ADDRESS]:PORT", value_parser = address)]
    pub(crate) health_addr: Option<SocketAddr>,
    /// Apply manifests that change, and delete what was loaded from those that are removed
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Reads an address to listen on; without a host it is every address of the machine, as in Go.
fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| "write ADDRESS:PORT, or :PORT for every address".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    #[command(flatten)]
    pub(crate) state: State,
    /// Plan on the files of this local folder instead of the Git repositories
    #[arg(long, value_name = "PATH")]
    pub(crate) repo: Option<PathBuf>,
    /// The folder below `--repo` to plan in when no manifests are given
    #[arg(long, value_name = "PATH", requires = "repo")]
    pub(crate) path: Option<String>,
    /// Edit the files of `--repo` in place
    #[arg(long, requires = "repo")]
    pub(crate) write: bool,
    /// Plan as if a policy had chosen this image; no registry is contacted (repeatable)
    #[arg(long, value_name = "NAMESPACE/POLICY=IMAGE:TAG[@DIGEST]")]
    pub(crate) assume: Vec<String>,
    /// Exit with 3 when there are changes
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

/// Where objects and credentials come from.
#[derive(Debug, Args)]
pub(crate) struct Manifests {
    /// Manifests to load: files, or folders searched for `.yaml`, `.yml` and `.json`
    #[arg(value_name = "FILE|DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// The namespace of manifests that name none
    #[arg(short, long, default_value = "flux-system", env = "FLUX_SYSTEM_NAMESPACE")]
    pub(crate) namespace: String,
    /// A Secret that is not among the manifests, as a folder with a file per key (repeatable)
    #[arg(long, value_name = "NAMESPACE/NAME=DIR")]
    pub(crate) secret: Vec<String>,
    /// A token service that may receive registry credentials beside the registry's own domain (repeatable)
    #[arg(long, value_name = "HOST")]
    pub(crate) allow_realm: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct State {
    /// Keep tags, choices and mirrors in this folder between runs [`up` keeps them in
    /// $XDG_STATE_HOME/tagtide by itself]
    #[arg(long = "state", alias = "storage-path", value_name = "DIR", env = "TAGTIDE_STATE")]
    pub(crate) folder: Option<PathBuf>,
    /// How long after a registry first denied the current tag a complete listing must lack it too
    /// before a policy moves to an older one
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub(crate) removal_confirmation: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainSubject {
    /// Explain an image automation object
    Image {
        #[command(subcommand)]
        subject: ExplainImage,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainImage {
    /// Give the verdict on every tag of a listing
    Policy(ExplainPolicy),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainPolicy {
    /// Which ImagePolicy: on the server, or when the file holds more than one
    pub(crate) name: Option<String>,
    /// The file with the ImagePolicy, and its ImageRepository if exclusions are to apply;
    /// without one the server is asked
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Tags, one a line, verbatim (`-` reads standard input)
    #[arg(long, value_name = "FILE|-", conflicts_with = "tags_json", requires = "policy")]
    pub(crate) tags: Option<PathBuf>,
    /// Tags as a JSON array of strings, or as a registry's `{"tags": […]}`
    #[arg(long, value_name = "FILE|-", requires = "policy")]
    pub(crate) tags_json: Option<PathBuf>,
    /// Explain this tag alone
    #[arg(long)]
    pub(crate) tag: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

/// Where a policy is that no file holds.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The namespace of the policy on the server [default: flux-system]
    #[arg(short, long, env = "FLUX_SYSTEM_NAMESPACE", conflicts_with = "policy")]
    pub(crate) namespace: Option<String>,
    /// The kubeconfig of the server
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    pub(crate) kubeconfig: Option<String>,
    /// The context in the kubeconfig
    #[arg(long, conflicts_with = "policy")]
    pub(crate) context: Option<String>,
    /// The state folder of the `tagtide up` to ask
    #[arg(long, value_name = "DIR", conflicts_with = "policy")]
    pub(crate) state: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// The folder to check
    pub(crate) folder: PathBuf,
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

/// The number of a durable step at which the process ends as if it were killed, counted from 1.
///
/// For tests of what the next run makes of it, and in no help text. Unset, it costs nothing.
pub(crate) const ABORT_AT: &str = "TAGTIDE_ABORT_AT";

/// The environment, read once at start. The only place that reads it, beside clap's `env`.
#[derive(Debug)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Returns the environment of this process.
    pub(crate) fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// Returns the names of all variables that are UTF-8.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().filter_map(|name| name.to_str())
    }

    /// Returns a variable that is set, not empty and UTF-8.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(std::ffi::OsStr::new(name))?.to_str()?;
        (!value.is_empty()).then_some(value)
    }
}
