//! `tagtide demo`: the loop, step by step, with a registry and a Git host in this process.

use std::path::Path;

use anyhow::{Context, Result};
use clock::Clock;
use controllers::Settings;
use sandbox::{GitHost, Registry, Signature};
use tokio_util::sync::CancellationToken;

use crate::args::Demo;
use crate::commands::run::Finished;
use crate::config::Credentials;
use crate::diff;
use crate::error::Outcome;
use crate::interrupt::Interrupt;
use crate::manifests;
use crate::requests::Requests;
use crate::session::{Doors, Session};
use crate::ui::Ui;

/// The repository that the demo is about.
const REPOSITORY: &str = "fleet";
const IMAGE: &str = "testservice";

/// One environment of the demo.
struct Environment {
    name: &'static str,
    pattern: &'static str,
    extract: &'static str,
    policy: &'static str,
    /// What its manifest says before the first run.
    tag: &'static str,
    /// What CI pushed before the first run, and what it pushes after it.
    before: [&'static str; 2],
    after: &'static str,
}

const ENVIRONMENTS: [Environment; 3] = [
    Environment {
        name: "dev",
        pattern: "^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$",
        extract: "ts",
        policy: "numerical: {order: asc}",
        tag: "branch-dev",
        before: ["branch-dev-1715555000-a12b34c", "branch-dev-1715556000-b45d67e"],
        after: "branch-dev-1715557000-f12a34b",
    },
    Environment {
        name: "staging",
        pattern: "^branch-staging-(?P<ts>[0-9]+)-[0-9a-f]+$",
        extract: "ts",
        policy: "numerical: {order: asc}",
        tag: "branch-staging",
        before: ["branch-staging-1715555000-a12b34c", "branch-staging-1715555500-c0ffee1"],
        after: "branch-staging-1715558000-d00d1e5",
    },
    Environment {
        name: "production",
        pattern: "^release-(?P<version>.+)$",
        extract: "version",
        policy: "semver: {range: \">=1.0.0\"}",
        tag: "release-1.9.0",
        before: ["release-1.9.0", "release-1.10.0-rc.1"],
        after: "release-1.10.0",
    },
];

pub(crate) async fn run(demo: &Demo, interrupt: &Interrupt, ui: &Ui) -> Result<Outcome> {
    match interrupt.stop().run_until_cancelled(show(demo, ui)).await {
        Some(outcome) => outcome,
        None => Ok(interrupt.outcome().unwrap_or(Outcome::Failed)),
    }
}

async fn show(demo: &Demo, ui: &Ui) -> Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("tagtide-demo-").tempdir();
    let folder = folder.context("cannot make a folder for the demo")?;
    let manifests = folder.path().join("manifests");
    write_manifests(&manifests)?;
    let (registry, git) = outside();

    ui.data("1. CI has pushed images; a Git repository holds three environments.\n\n")?;
    for environment in &ENVIRONMENTS {
        let [first, second] = environment.before;
        ui.data(&format!("   {:10}  {} → {first}, {second}\n", environment.name, environment.tag))?;
    }
    let session = open(&manifests, &registry, &git)?;
    ui.data("\n2. Tagtide runs for the first time: it scans, chooses, commits.\n\n")?;
    let first = round(&session, ui).await?;

    ui.data("\n3. CI pushes a newer image for each environment.\n\n")?;
    for environment in &ENVIRONMENTS {
        registry.push(IMAGE, environment.after);
        ui.data(&format!("   {:10}  {}\n", environment.name, environment.after))?;
    }
    ui.data("\n4. Tagtide runs again: one commit for each, one value in each.\n\n")?;
    session.request_scans().await?;
    let second = round(&session, ui).await?;

    ui.data("\n5. What each branch changed in the end: one value.\n\n")?;
    for environment in &ENVIRONMENTS {
        ui.data(&branch_diff(&git, environment)?)?;
    }
    farewell(demo, folder, &git, ui)?;
    Ok(if first && second { Outcome::Done } else { Outcome::Failed })
}

/// Runs until nothing is due, prints what happened, and returns whether nothing failed.
async fn round(session: &Session, ui: &Ui) -> Result<bool> {
    let summary = session.run(CancellationToken::new()).await?;
    session.settle();
    let is_ok = summary.is_ok();
    let finished = Finished::of(summary);
    for kind in ["ImageRepository", "ImagePolicy", "ImageUpdateAutomation"] {
        for object in finished.report.objects.iter().filter(|object| object.kind == kind) {
            let mark = if object.ready { "✔" } else { "✗" };
            let message = object.message.split(" with checksum").next().unwrap_or_default();
            ui.data(&format!("   {mark} {kind} {}: {message}\n", object.name))?;
        }
    }
    if finished.report.commits.is_empty() {
        ui.data("   nothing to commit\n")?;
    }
    for commit in &finished.report.commits {
        let id = commit.id.get(..7).unwrap_or(&commit.id);
        ui.data(&format!("   commit {id} on {} by {}\n", commit.branch, commit.automation))?;
    }
    Ok(is_ok)
}

/// Returns the registry and the Git host as they are before the first run.
fn outside() -> (Registry, GitHost) {
    let registry = Registry::new();
    registry.push(IMAGE, "latest");
    for environment in &ENVIRONMENTS {
        environment.before.iter().for_each(|tag| {
            registry.push(IMAGE, tag);
        });
    }
    let files = ENVIRONMENTS.map(|environment| {
        let text = include_str!("demo/helm_release.yaml")
            .replace("ENVIRONMENT", environment.name)
            .replace("TAG", environment.tag);
        (format!("apps/{}/testservice.yaml", environment.name), text)
    });
    let git = GitHost::new();
    let author = Signature {
        name: "A Human".to_owned(),
        email: "human@example.com".to_owned(),
        seconds: Clock::real().now().as_second(),
    };
    git.create(REPOSITORY, "main", &files, &author);
    (registry, git)
}

fn write_manifests(folder: &Path) -> Result<()> {
    std::fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("source.yaml", include_str!("demo/source.yaml"))?;
    for environment in &ENVIRONMENTS {
        let text = include_str!("demo/environment.yaml")
            .replace("ENVIRONMENT", environment.name)
            .replace("PATTERN", environment.pattern)
            .replace("EXTRACT", environment.extract)
            .replace("POLICY", environment.policy);
        write(&format!("{}.yaml", environment.name), &text)?;
    }
    Ok(())
}

fn open(manifests: &Path, registry: &Registry, git: &GitHost) -> Result<Session> {
    let loaded = manifests::load(&[manifests.to_owned()], "flux-system")?;
    let doors = Doors {
        net: net::Client::with_service(sandbox::router(registry, git)),
        clock: Clock::real(),
        registry: registry::Options::default(),
        artifacts: None,
        notifier: None,
        requests: Requests::default(),
    };
    Session::open(loaded, Credentials::default(), None, doors, Settings::default())
}

fn branch_diff(git: &GitHost, environment: &Environment) -> Result<String> {
    let branch = format!("image-update-{}", environment.name);
    if git.tip(REPOSITORY, &branch).is_none() {
        return Ok(format!("main..{branch}\nno such branch: nothing was written\n\n"));
    }
    let (before, after) = (git.files(REPOSITORY, "main")?, git.files(REPOSITORY, &branch)?);
    let mut text = format!("main..{branch}\n");
    for (file, new) in &after {
        let old = before.get(file).map(AsRef::as_ref).unwrap_or_default();
        text += &diff::unified(file, old, new);
    }
    text.push('\n');
    Ok(text)
}

/// Keeps the folder if that is asked for, and says what to try next.
fn farewell(demo: &Demo, folder: tempfile::TempDir, git: &GitHost, ui: &Ui) -> Result<()> {
    if !demo.keep {
        return ui.data("Keep the repository and the manifests with `tagtide demo --keep`.\n");
    }
    git.export(folder.path())?;
    let folder = folder.keep();
    let (folder, bare) = (folder.display(), folder.join(format!("{REPOSITORY}.git")));
    ui.data(&format!("manifests:  {folder}/manifests\nrepository: {}\n", bare.display()))
}
