//! `tagtide plan`: what a run would change, as a unified diff, and why.

use std::collections::BTreeMap;

use anyhow::Result;
use api::Kind;
use api::image::ImageRef;
use controllers::{ObjectKey, Settings};
use tokio_util::sync::CancellationToken;

use crate::args::{Environment, Output, Plan};
use crate::commands::run::{self, Finished};
use crate::config;
use crate::diff;
use crate::error::{Outcome, Usage};
use crate::folder::Folder;
use crate::interrupt::Interrupt;
use crate::local::{self, Local};
use crate::report::{self, Report};
use crate::ui::{Ui, count};

/// What planning goes by.
struct Planning<'a> {
    args: &'a Plan,
    environment: &'a Environment,
    stop: CancellationToken,
    ui: &'a Ui,
}

/// What there is to print, wherever it was planned.
struct Planned {
    report: Report,
    /// A heading and its diffs, an automation each.
    diffs: Vec<(String, String)>,
    has_failed: bool,
    /// Whether the changes are in the files already.
    is_written: bool,
}

pub(crate) async fn run(
    args: &Plan,
    environment: &Environment,
    interrupt: &Interrupt,
    ui: &Ui,
) -> Result<Outcome> {
    let assumed = config::assumptions(&args.assume)?;
    check_usage(args)?;
    let run = Planning { args, environment, stop: interrupt.stop(), ui };
    let planned = match &args.repo {
        Some(repo) => plan_folder(&run, &Folder::open(repo)?, assumed).await?,
        None => plan_remote(&run, assumed).await?,
    };
    let Some(planned) = planned else {
        // Half a plan is none.
        ui.note("interrupted: nothing was planned or written")?;
        return Ok(interrupt.outcome().unwrap_or(Outcome::Failed));
    };
    match args.output {
        Output::Json => ui.json(&planned.report)?,
        Output::Text => print(&planned, ui)?,
    }
    Ok(match () {
        () if planned.has_failed => Outcome::Failed,
        () if args.exit_code && !planned.report.changes.is_empty() => Outcome::Changes,
        () => Outcome::Done,
    })
}

fn check_usage(args: &Plan) -> Result<(), Usage> {
    let has_manifests = !args.manifests.paths.is_empty();
    if args.repo.is_none() && !has_manifests {
        return Err(Usage("name manifests to plan, or a folder with --repo".to_owned()));
    }
    if !has_manifests && args.assume.is_empty() {
        return Err(Usage("--repo needs manifests or --assume, to know what to write".to_owned()));
    }
    if has_manifests && args.path.is_some() {
        return Err(Usage(
            "--path is for --repo without manifests: they name their own".to_owned(),
        ));
    }
    Ok(())
}

/// Plans on the Git repositories that the manifests name: a run that does not push.
async fn plan_remote(
    run: &Planning<'_>,
    assumed: BTreeMap<(String, String), ImageRef>,
) -> Result<Option<Planned>> {
    let Planning { args, environment, stop, ui } = run;
    let settings = Settings {
        dry_run: true,
        assumed: (!assumed.is_empty()).then(|| by_key(assumed)),
        ..config::settings(&args.state)?
    };
    let state = args.state.folder.as_deref();
    let mut session = run::open(&args.manifests, environment, state, settings)?;
    let summary = session.run(stop.clone()).await?;
    if stop.is_cancelled() {
        return Ok(None);
    }
    let finished = Finished::new(&mut session, summary);
    finished.notices(ui)?;
    let mut diffs: BTreeMap<String, String> = BTreeMap::new();
    for edit in &finished.files {
        let heading = format!("{} → {}", edit.automation, edit.branch);
        *diffs.entry(heading).or_default() += &diff::unified(&edit.file, &edit.old, &edit.new);
    }
    let has_failed = finished.has_failed || finished.has_broken_markers;
    Ok(Some(Planned {
        report: finished.report,
        diffs: diffs.into_iter().collect(),
        has_failed,
        is_written: false,
    }))
}

/// Plans on the files of a local folder, and writes them if that is asked for.
async fn plan_folder(
    run: &Planning<'_>,
    folder: &Folder,
    assumed: BTreeMap<(String, String), ImageRef>,
) -> Result<Option<Planned>> {
    let Planning { args, environment, stop, ui } = run;
    let mut report = Report::default();
    let mut has_failed = false;
    let local = if args.manifests.paths.is_empty() {
        Local::assumed(args.path.as_deref().unwrap_or("."), assumed)
    } else {
        let resolves = assumed.is_empty();
        let settings = Settings {
            dry_run: true,
            until: Kind::ImagePolicy,
            assumed: (!resolves).then(|| by_key(assumed)),
            ..config::settings(&args.state)?
        };
        let state = args.state.folder.as_deref();
        let mut session = run::open_without_sources(&args.manifests, environment, state, settings)?;
        let before = Local::of(&session.client()).await?;
        session.stand_on(&before.markers(folder));
        let summary = session.run(stop.clone()).await?;
        let local = Local::of(&session.client()).await?;
        let finished = Finished::new(&mut session, summary);
        finished.notices(ui)?;
        report = finished.report;
        // An assumed plan leaves what is not assumed alone; that is no failure.
        has_failed = resolves && finished.has_failed;
        local
    };
    if stop.is_cancelled() {
        return Ok(None);
    }
    let edited = local::plan(local, folder)?;
    edited.notices.iter().try_for_each(|notice| ui.note(&format!("notice: {notice}")))?;
    let diffs = edited.files.iter().map(|file| diff::unified(&file.path, &file.old, &file.new));
    let diffs = vec![(folder.display(), diffs.collect())];
    if args.write {
        edited.files.iter().try_for_each(|file| folder.write(&file.path, &file.new))?;
    }
    has_failed |= !edited.problems.is_empty() || !edited.failed.is_empty();
    report.objects.extend(edited.failed);
    report.changes.extend(edited.changes);
    report.problems.extend(edited.problems);
    report.sort();
    Ok(Some(Planned { report, diffs, has_failed, is_written: args.write }))
}

fn by_key(assumed: BTreeMap<(String, String), ImageRef>) -> BTreeMap<ObjectKey, ImageRef> {
    let keyed = assumed.into_iter();
    keyed.map(|((namespace, name), image)| (ObjectKey::new(namespace, name), image)).collect()
}

fn print(planned: &Planned, ui: &Ui) -> Result<()> {
    let mut text = String::new();
    for (heading, diff) in planned.diffs.iter().filter(|(_, diff)| !diff.is_empty()) {
        text += &format!("# {heading}\n{diff}");
    }
    ui.data(&text)?;
    for report::Object { kind, namespace, name, ready, reason, message } in &planned.report.objects
    {
        let policy = format!("{namespace}/{name}");
        let is_why = planned.report.changes.iter().any(|change| change.policy == policy);
        if !ready || (kind == "ImagePolicy" && is_why) {
            let reason = if *ready { String::new() } else { format!("{reason}: ") };
            ui.note(&format!("{kind} {policy}: {reason}{message}"))?;
        }
    }
    planned.report.problems.iter().try_for_each(|problem| ui.note(&problem.to_string()))?;
    let n_files = planned.report.changes.iter().map(|change| &change.file);
    let n_files = n_files.collect::<std::collections::BTreeSet<_>>().len();
    let values = count(planned.report.changes.len(), "value");
    let changed = if planned.is_written { "changed" } else { "would change" };
    ui.note(&format!("{values} {changed} in {}", count(n_files, "file")))
}
