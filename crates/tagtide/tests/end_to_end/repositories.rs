//! What repositories and registries hold beside the plain case.

use expect_test::expect;
use testkit::{Change, FileMode};

use super::world::{FLEET, HELM_RELEASE, IMAGE, LOOP, RELEASE, SECRET, TAGS, World};

const RUN: &[&str] = &["run", "--once", "manifests"];

#[test]
fn modes_stay_and_links_are_not_followed() {
    let world = World::of_the_loop();
    let executable = Change::Write {
        path: "apps/dev/executable.yaml".to_owned(),
        mode: FileMode::Executable,
        bytes: HELM_RELEASE.into(),
    };
    let changes = [
        executable,
        Change::symlink("apps/dev/link.yaml", "testservice.yaml"),
        Change::symlink("apps/dev/outside", "../../other"),
        Change::write("other/a.yaml", HELM_RELEASE.as_bytes()),
        Change::write("apps/dev/binary.yaml", b"\0\xff\"$imagepolicy\""),
    ];
    world.repositories().commit(FLEET, "dev", "More files\n", &changes);
    world.tagtide(RUN).exits(0);
    let raw =
        world.git(&["diff", "--raw", "--abbrev=4", "--no-renames", "dev", "image-update-dev"]);
    let lines = raw.lines().map(|line| {
        let (modes, path) = (line.get(..15).unwrap_or_default(), line.rsplit('\t').next());
        format!("{modes} {}\n", path.unwrap_or_default())
    });
    expect![[r#"
        :100755 100755  apps/dev/executable.yaml
        :100644 100644  apps/dev/testservice.yaml
    "#]]
    .assert_eq(&lines.collect::<String>());
    world.fsck();
}

#[test]
fn digests_are_written_and_follow_a_tag_that_moves() {
    let file = "image: x # {\"$imagepolicy\": \"flux-system:testservice\"}\n\
                digest: x # {\"$imagepolicy\": \"flux-system:testservice:digest\"}\n";
    let world = World::with_files(&[(RELEASE, file)]);
    let policy = "policy: {numerical: {order: asc}}";
    let always = "digestReflectionPolicy: Always\n  interval: 1m\n  ";
    world.write("manifests/loop.yaml", &LOOP.replace(policy, &format!("{always}{policy}")));
    world.write("manifests/secret.yaml", SECRET);
    for (content, n_commits) in [("first", 1), ("first", 1), ("second", 2)] {
        let digest = world.registry.push_image(IMAGE, TAGS[1], content);
        world.tagtide(RUN).exits(0);
        let expected = file
            .replacen(
                ": x",
                &format!(": {}/{IMAGE}:{}@{digest}", world.registry.host(), TAGS[1]),
                1,
            )
            .replacen(": x", &format!(": {digest}"), 1);
        let written = world.file("image-update-dev", RELEASE);
        assert_eq!(String::from_utf8_lossy(&written), expected);
        assert_eq!(world.n_commits("dev..image-update-dev"), n_commits);
    }
}

#[test]
fn what_is_not_there_is_named() {
    let world = World::of_the_loop();
    let failures = |manifests: &str| {
        world.write("manifests/loop.yaml", manifests);
        let ran = world.tagtide(RUN).exits(1);
        let lines = ran.stdout.lines().filter(|line| line.starts_with('✗'));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let no_branch = failures(&LOOP.replace("branch: dev}", "branch: nowhere}"));
    let no_repository = failures(&LOOP.replace("org/repo.git", "org/nothing.git"));
    let no_image = failures(&LOOP.replace("example/testservice", "example/nothing"));
    let no_source =
        failures(&LOOP.replace("name: flux-system-write}\n  git", "name: nobody}\n  git"));
    let no_match = failures(&LOOP.replace("^branch-dev-", "^branch-prod-"));
    let no_path = failures(&LOOP.replace("./apps/dev", "./apps/nowhere"));
    expect![[r#"
        ✗ GitRepository flux-system/flux-system-write  GitOperationFailed: failed to checkout and determine revision: unable to clone 'https://git.example/org/repo.git': couldn't find remote ref "refs/heads/nowhere"
        ✗ ImageUpdateAutomation flux-system/dev  GitOperationFailed: failed to checkout source: unable to clone 'https://git.example/org/repo.git': couldn't find remote ref "refs/heads/nowhere"
    "#]].assert_eq(&no_branch);
    expect![[r#"
        ✗ GitRepository flux-system/flux-system-write  GitOperationFailed: failed to checkout and determine revision: unable to clone 'https://git.example/org/nothing.git': repository not found
        ✗ ImageUpdateAutomation flux-system/dev  GitOperationFailed: failed to checkout source: unable to clone 'https://git.example/org/nothing.git': repository not found
    "#]].assert_eq(&no_repository);
    expect![[r#"
        ✗ ImagePolicy flux-system/testservice  DependencyNotReady: retrying in 30s error: no tags in database
        ✗ ImageRepository flux-system/testservice  ReadOperationFailed: scan failed: GET http://registry.example/v2/nothing/tags/list?n=1000: NAME_UNKNOWN: repository name not known to registry; map[name:nothing]
    "#]].assert_eq(&no_image);
    expect![[r#"
        ✗ ImageUpdateAutomation flux-system/dev  SourceManagerFailed: failed configuring source manager: referenced git repository does not exist: GitRepository.source.toolkit.fluxcd.io "nobody" not found
    "#]].assert_eq(&no_source);
    expect![[r#"
        ✗ ImagePolicy flux-system/testservice  Failure: version list argument cannot be empty
    "#]]
    .assert_eq(&no_match);
    expect![[r#"
        ✗ ImageUpdateAutomation flux-system/dev  UpdateFailed: failed to apply policies: path `apps/nowhere` does not exist in commit COMMIT
    "#]].assert_eq(&no_path);
    assert_eq!(world.git(&["for-each-ref", "--format=%(refname:short)"]), "dev\n");

    let ran = world.tagtide(&["run", "--once", "nowhere.yaml"]).exits(1);
    expect![[r#"
        error: cannot read ./nowhere.yaml: No such file or directory (os error 2)
    "#]]
    .assert_eq(&ran.stderr);
}

#[test]
fn two_automations_with_one_push_branch_add_up() {
    let other = HELM_RELEASE.replace("system:testservice:", "system:other:");
    let world = World::with_files(&[(RELEASE, HELM_RELEASE), ("apps/other/a.yaml", &other)]);
    let (before, automation) = LOOP.rsplit_once("---\n").expect("the automation comes last");
    let (_, policy) = before.rsplit_once("---\n").expect("the policy comes before it");
    let second = [
        policy.replacen("{name: testservice,", "{name: other,", 1),
        automation.replace("{name: dev,", "{name: other,").replace("./apps/dev", "./apps/other"),
    ];
    world
        .write("manifests/loop.yaml", &format!("{LOOP}---\n{SECRET}---\n{}", second.join("---\n")));
    for (tag, n_commits) in [(TAGS[1], 2), (super::world::NEWER, 4)] {
        world.push(&[tag]);
        world.tagtide(RUN).exits(0);
        assert_eq!(world.n_commits("dev..image-update-dev"), n_commits);
        for path in [RELEASE, "apps/other/a.yaml"] {
            let file = String::from_utf8(world.file("image-update-dev", path)).expect("text");
            assert!(file.contains(&format!("tag: {tag} #")), "{file}");
        }
    }
    world.fsck();
}

#[test]
fn logs_are_json_where_that_is_asked_for() {
    let world = World::of_the_loop();
    let logs = ["--log-encoding", "json", "--log-level", "info", "-o", "json"];
    let ran = world.tagtide(&[RUN, &logs].concat()).exits(0);
    assert!(ran.json()["commits"][0]["id"].is_string());
    let mut n_lines = 0;
    for line in ran.stderr.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("every line is JSON");
        assert!(line["level"].is_string() && line["ts"].is_string(), "{line}");
        n_lines += 1;
    }
    assert!(n_lines >= 4, "{}", ran.stderr);
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'));
}
