//! From a tag to a commit.

use std::{sync::Arc, time::Duration};

use controllers::Settings;
use expect_test::expect;

use super::world::{World, human};

pub(crate) const ENVIRONMENTS: [(&str, &str, &str); 3] = [
    (
        "dev",
        r"{pattern: '^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$', extract: '$ts'}",
        "numerical: {order: asc}",
    ),
    (
        "staging",
        r"{pattern: '^branch-staging-(?P<ts>[0-9]+)-[0-9a-f]+$', extract: '$ts'}",
        "numerical: {order: asc}",
    ),
    (
        "production",
        r"{pattern: '^release-(?P<v>.*)$', extract: '$v'}",
        "semver: {range: '>=1.0.0'}",
    ),
];

/// Returns a file whose tag is marked for a policy.
pub(crate) fn release(policy: &str, tag: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: {policy}\n\
         spec:\n  values:\n    image:\n      tag: {tag} # {{\"$imagepolicy\": \"envs:{policy}:tag\"}}\n"
    )
}

/// A repository and a registry with three environments, and their objects.
pub(crate) fn three_environments() -> World {
    let world = World::new();
    let files: Vec<(String, String)> = ENVIRONMENTS
        .iter()
        .map(|(name, ..)| (format!("apps/{name}/core.yaml"), release(name, name)))
        .collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    world.repository("fleet", "main", &files);
    for tag in [
        "latest",
        "release-1.2.0",
        "release-1.10.0",
        "release-1.10.1-rc.1",
        "branch-staging-1715555000-a12b34c",
        "branch-dev-1715555000-a12b34c",
        "branch-dev-1715556000-b45d67e",
    ] {
        world.registry.push("app", tag);
    }
    world.apply(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: envs}
spec: {interval: 1m, ref: {branch: main}, url: 'https://git.example/fleet.git'}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: envs}
spec: {image: registry.example/app, interval: 5m}
",
    );
    for (name, filter, policy) in ENVIRONMENTS {
        world.apply(&format!(
            "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {{name: {name}, namespace: envs, labels: {{env: {name}}}}}
spec:
  imageRepositoryRef: {{name: app}}
  filterTags: {filter}
  policy: {{{policy}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {{name: {name}, namespace: envs}}
spec:
  interval: 5m
  sourceRef: {{kind: GitRepository, name: fleet}}
  policySelector: {{matchLabels: {{env: {name}}}}}
  git:
    commit:
      author: {{name: FluxBot, email: flux@example.com}}
    push: {{branch: image-update-{name}}}
  update: {{path: ./apps/{name}, strategy: Setters}}
"
        ));
    }
    world
}

/// The line of the marked tag on the push branch of an environment.
fn tag_of(world: &World, environment: &str) -> String {
    let branch = format!("image-update-{environment}");
    let file = world.file("fleet", &branch, &format!("apps/{environment}/core.yaml"));
    let line = file.lines().find(|line| line.contains("$imagepolicy")).expect("it is marked");
    line.trim().split(" #").next().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn three_environments_work_side_by_side() {
    let world = three_environments();
    let summary = world.run_once().await;
    let lines: String = summary
        .objects
        .iter()
        .map(|o| format!("{} {} {:?} {}\n", o.kind, o.key.name, o.ready, o.reason))
        .collect();
    expect![[r#"
        GitRepository fleet Ready Succeeded
        ImageRepository app Ready Succeeded
        ImagePolicy dev Ready Succeeded
        ImagePolicy production Ready Succeeded
        ImagePolicy staging Ready Succeeded
        ImageUpdateAutomation dev Ready Succeeded
        ImageUpdateAutomation production Ready Succeeded
        ImageUpdateAutomation staging Ready Succeeded
    "#]]
    .assert_eq(&lines);
    assert_eq!(tag_of(&world, "dev"), "tag: branch-dev-1715556000-b45d67e");
    assert_eq!(tag_of(&world, "staging"), "tag: branch-staging-1715555000-a12b34c");
    assert_eq!(tag_of(&world, "production"), "tag: release-1.10.0");
    assert_eq!(summary.report.commits.len(), 3);
    assert_eq!(summary.report.changes.len(), 3);
    expect![[r#"
        Ready True Succeeded successful scan: found 7 tags with checksum sha256:783f5e65a3fcca24376641ec30bd3f319efaa3ddd7cf83dbee208d6ad8b8950c
    "#]]
    .assert_eq(&world.conditions("ImageRepository", "envs", "app").await);
    let events = world.events("envs").await;
    assert_eq!(events.matches("pushed commit").count(), 3, "{events}");
}

#[tokio::test(start_paused = true)]
async fn nothing_new_costs_one_status_patch_and_no_event() {
    let world = three_environments();
    world.run_once().await;
    world.take_writes();
    tokio::time::sleep(Duration::from_secs(90)).await;
    let summary = world.run_once().await;
    assert_eq!(summary.report.commits, []);
    expect![[r#"
        PATCH image.toolkit.fluxcd.io/v1/namespaces/envs/imagerepositories/app/status
        PATCH image.toolkit.fluxcd.io/v1/namespaces/envs/imageupdateautomations/dev/status
        PATCH image.toolkit.fluxcd.io/v1/namespaces/envs/imageupdateautomations/production/status
        PATCH image.toolkit.fluxcd.io/v1/namespaces/envs/imageupdateautomations/staging/status
    "#]]
    .assert_eq(&sorted(world.take_writes()));
}

fn sorted(mut lines: Vec<String>) -> String {
    lines.sort();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_tag_is_one_commit_of_one_line() {
    let world = three_environments();
    world.run_once().await;
    let before = world.file("fleet", "image-update-dev", "apps/dev/core.yaml");
    world.registry.push("app", "branch-dev-1715557000-f12a34b");
    let summary = world.run_once().await;
    let commits: Vec<_> = summary.report.commits.iter().map(|c| c.branch.as_str()).collect();
    assert_eq!(commits, ["image-update-dev"]);
    let after = world.file("fleet", "image-update-dev", "apps/dev/core.yaml");
    let changed: Vec<_> =
        before.lines().zip(after.lines()).filter(|(a, b)| a != b).map(|(_, b)| b).collect();
    assert_eq!(
        changed,
        ["      tag: branch-dev-1715557000-f12a34b # {\"$imagepolicy\": \"envs:dev:tag\"}"]
    );
    let log = world.git.log("fleet", "image-update-dev").expect("the branch is there");
    assert_eq!(log.len(), 3, "the first commit and one for each choice");
    assert_eq!(log[0].author, "FluxBot <flux@example.com>");
    assert_eq!(world.git.log("fleet", "main").expect("it is there").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_human_commit_on_the_push_branch_stays() {
    let world = three_environments();
    world.run_once().await;
    let human_commit = world
        .git
        .commit("fleet", "image-update-dev", &[("README.md", "mine\n")], &human(), "Mine\n")
        .expect("it commits");
    world.registry.push("app", "branch-dev-1715557000-f12a34b");
    world.run_once().await;
    let log = world.git.log("fleet", "image-update-dev").expect("the branch is there");
    assert_eq!(log[0].parents, [human_commit]);
    assert_eq!(world.file("fleet", "image-update-dev", "README.md"), "mine\n");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_pushes_nothing_and_shows_what_it_would_do() {
    let world = three_environments();
    let settings = Settings { dry_run: true, ..Settings::default() };
    let summary = world.run_once_with(settings).await;
    assert_eq!(summary.report.commits, []);
    assert_eq!(summary.report.changes.len(), 3);
    assert_eq!(summary.report.files.len(), 3);
    let references = world.git.references("fleet").expect("it is there");
    assert_eq!(references.keys().collect::<Vec<_>>(), ["refs/heads/main"]);
}

#[tokio::test(start_paused = true)]
async fn the_service_finds_a_new_tag_at_the_next_interval() {
    let world = three_environments();
    let driver = Arc::new(world.driver(Settings::default()));
    world.run_for(&driver, Duration::from_secs(10)).await;
    assert_eq!(tag_of(&world, "dev"), "tag: branch-dev-1715556000-b45d67e");
    world.take_writes();
    world.registry.push("app", "branch-dev-1715557000-f12a34b");
    world.run_for(&driver, Duration::from_secs(200)).await;
    assert_eq!(tag_of(&world, "dev"), "tag: branch-dev-1715556000-b45d67e");
    world.run_for(&driver, Duration::from_secs(120)).await;
    assert_eq!(tag_of(&world, "dev"), "tag: branch-dev-1715557000-f12a34b");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_starts_finds_at_once_what_came_meanwhile() {
    let world = three_environments();
    world.run_for(&Arc::new(world.driver(Settings::default())), Duration::from_secs(10)).await;
    assert_eq!(tag_of(&world, "dev"), "tag: branch-dev-1715556000-b45d67e");
    world.registry.push("app", "branch-dev-1715557000-f12a34b");
    world.run_for(&Arc::new(world.driver(Settings::default())), Duration::from_secs(10)).await;
    assert_eq!(tag_of(&world, "dev"), "tag: branch-dev-1715557000-f12a34b");
}
