//! `tagtide run --once`: everything once, until nothing is due; and the plan of it.

use std::path::Path;

use anyhow::Result;
use api::condition::Reason;
use clock::Clock;
use controllers::report::Notice;
use controllers::{Settings, Summary};

use crate::args::{Environment, Manifests, Output, Run};
use crate::config;
use crate::error::{Outcome, Usage};
use crate::interrupt::Interrupt;
use crate::manifests::{self, Manifest};
use crate::report::{self, Report};
use crate::requests::Requests;
use crate::session::{Doors, Session};
use crate::ui::{Ui, count};

pub(crate) async fn run(
    args: &Run,
    environment: &Environment,
    interrupt: &Interrupt,
    ui: &Ui,
) -> Result<Outcome> {
    if args.manifests.paths.is_empty() {
        return Err(Usage("name the manifests to run: files or folders".to_owned()).into());
    }
    let settings = Settings { dry_run: args.dry_run, ..config::settings(&args.state)? };
    let mut session = open(&args.manifests, environment, args.state.folder.as_deref(), settings)?;
    let summary = session.run(interrupt.stop()).await?;
    let finished = Finished::new(&mut session, summary);
    match args.output {
        Output::Json => ui.json(&finished.report)?,
        Output::Text => print(&finished, ui)?,
    }
    finished.notices(ui)?;
    finished.ignored(ui)?;
    session.settle();
    if let Some(outcome) = interrupt.outcome() {
        let unfinished = count(finished.n_unfinished, "object");
        ui.note(&format!(
            "interrupted: {unfinished} not reconciled; what was pushed is told above"
        ))?;
        return Ok(outcome);
    }
    Ok(if finished.has_failed { Outcome::Failed } else { Outcome::Done })
}

/// Opens a session on what the arguments name, with the doors of a real run.
pub(crate) fn open(
    args: &Manifests,
    environment: &Environment,
    state: Option<&Path>,
    settings: Settings,
) -> Result<Session> {
    session(args, environment, state, settings, |_| true)
}

/// Opens a session as [`open`] does, but for a local folder: the Git repositories are left out.
pub(crate) fn open_without_sources(
    args: &Manifests,
    environment: &Environment,
    state: Option<&Path>,
    settings: Settings,
) -> Result<Session> {
    session(args, environment, state, settings, |manifest| {
        manifest.value["kind"] != "GitRepository"
    })
}

fn session(
    args: &Manifests,
    environment: &Environment,
    state: Option<&Path>,
    settings: Settings,
    keep: impl Fn(&Manifest) -> bool,
) -> Result<Session> {
    let mut loaded = manifests::load(&args.paths, &args.namespace)?;
    loaded.objects.retain(keep);
    let credentials = config::credentials(args, environment)?;
    Session::open(loaded, credentials, state, doors(args, environment)?, settings)
}

/// Returns the doors of a real run.
pub(crate) fn doors(args: &Manifests, environment: &Environment) -> Result<Doors> {
    let options = net::Options { proxies: config::proxies(environment), ..net::Options::default() };
    Ok(Doors {
        net: net::Client::new(options)?,
        clock: Clock::real(),
        registry: registry::Options {
            allow_realms: args.allow_realm.clone(),
            ..registry::Options::default()
        },
        artifacts: None,
        notifier: None,
        requests: Requests::default(),
    })
}

/// What a run has come to.
pub(crate) struct Finished {
    pub(crate) report: Report,
    /// Whether an object failed, or could not be loaded.
    pub(crate) has_failed: bool,
    /// Whether a marker or a marked file was left alone.
    pub(crate) has_broken_markers: bool,
    pub(crate) files: Vec<controllers::report::FileEdit>,
    n_unfinished: usize,
    notices: Vec<String>,
    /// Notices of what stands among the problems too.
    ignored: Vec<String>,
}

impl Finished {
    /// Returns what a session has come to, with what it could not load.
    pub(crate) fn new(session: &mut Session, summary: Summary) -> Self {
        let refused = std::mem::take(&mut session.refused);
        let problems = std::mem::take(&mut session.problems);
        let notices = std::mem::take(&mut session.notices);
        let mut finished = Self::of(summary);
        finished.has_failed |= !refused.is_empty() || !problems.is_empty();
        finished.notices.splice(0..0, notices);
        finished.report.objects.extend(refused);
        finished.report.problems.extend(problems);
        finished.report.sort();
        finished
    }

    /// Returns what a run has come to.
    pub(crate) fn of(summary: Summary) -> Self {
        let mut notices = Vec::new();
        let has_failed = !summary.is_ok();
        let has_broken_markers = !summary.report.problems.is_empty();
        let mut ignored = Vec::new();
        for Notice { kind, key, reason, message } in &summary.report.notices {
            let is_problem = reason == Reason::MarkersIgnored.as_str();
            let told = if is_problem { &mut ignored } else { &mut notices };
            told.push(format!("{kind} {key}: {reason}: {message}"));
        }
        let files = summary.report.files.clone();
        let n_unfinished = summary.n_unfinished;
        let mut report = Report::from(summary);
        report.sort();
        Self { report, has_failed, has_broken_markers, files, n_unfinished, notices, ignored }
    }

    /// Prints which markers were left alone, where that is no failure.
    fn ignored(&self, ui: &Ui) -> Result<()> {
        self.ignored.iter().try_for_each(|notice| ui.note(&format!("notice: {notice}")))
    }

    /// Prints what a person should know, though nothing failed.
    pub(crate) fn notices(&self, ui: &Ui) -> Result<()> {
        self.notices.iter().try_for_each(|notice| ui.note(&format!("notice: {notice}")))
    }
}

fn print(finished: &Finished, ui: &Ui) -> Result<()> {
    let Report { objects, changes, commits, problems } = &finished.report;
    let mut text = String::new();
    for report::Object { kind, namespace, name, ready, reason, message } in objects {
        let mark = match reason.as_str() {
            _ if *ready => "✔",
            // Nobody looked at it, as its spec asks.
            "Suspended" => "-",
            _ => "✗",
        };
        let reason = if *ready { String::new() } else { format!("{reason}: ") };
        text += &format!("{mark} {kind} {namespace}/{name}  {reason}{message}\n");
    }
    for report::Change { file, line, column, policy, old, new, .. } in changes {
        text += &format!("{file}:{line}:{column}: {old} → {new}  ({policy})\n");
    }
    for report::Commit { automation, branch, id } in commits {
        text += &format!("commit {id} on {branch} by {automation}\n");
    }
    for problem in problems {
        text += &format!("{problem}\n");
    }
    ui.data(&text)
}
