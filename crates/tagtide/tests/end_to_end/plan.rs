//! `plan`: what a run would change, remotely, in a local folder, and under assumptions.

use std::fs;

use expect_test::expect;
use testkit::{FaultProxy, RequestKind};

use super::world::{Desk, HELM_RELEASE, LOOP, NEWER, RELEASE, SECRET, TAGS, World};

const ASSUME: &str = "flux-system/testservice=registry.example/testservice:branch-dev-1-a";
const LOCAL: &[&str] = &["plan", "--repo", "fleet", "--assume", ASSUME];

/// A working tree, with no servers.
fn tree() -> Desk {
    let desk = Desk::new();
    desk.write(&format!("fleet/{RELEASE}"), HELM_RELEASE);
    desk
}

#[test]
fn a_plan_shows_the_diff_and_why_and_pushes_nothing() {
    let world = World::of_the_loop();
    let ran = world.tagtide(&["plan", "manifests"]).exits(0);
    ran.says(&expect![[r##"
        # flux-system/dev → image-update-dev
        --- a/apps/dev/testservice.yaml
        +++ b/apps/dev/testservice.yaml
        @@ -10,5 +10,5 @@
           values:
             image:
               repository:  registry.example/testservice   # two spaces, kept
        -      tag: branch-dev # {"$imagepolicy": "flux-system:testservice:tag"}
        +      tag: branch-dev-1715556000-b45d67e # {"$imagepolicy": "flux-system:testservice:tag"}
             replicas:   2
    "##]], &expect![[r#"
        ImagePolicy flux-system/testservice: Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e
        1 value would change in 1 file
    "#]]);
    world.tagtide(&["plan", "manifests", "--exit-code"]).exits(3);
    world.tagtide(&["run", "--once", "--dry-run", "manifests"]).exits(0);
    assert_eq!(world.git.traffic(RequestKind::Push).n_requests, 0);
    assert_eq!(world.git(&["for-each-ref", "--format=%(refname:short)"]), "dev\n");

    world.tagtide(&["run", "--once", "manifests"]).exits(0);
    let ran = world.tagtide(&["plan", "manifests", "--exit-code"]).exits(0);
    ran.says(
        &expect![[r#""#]],
        &expect![[r#"
        0 values would change in 0 files
    "#]],
    );
}

#[test]
fn a_plan_on_git_fails_over_a_broken_marker() {
    let world = World::of_the_loop();
    let marked = "x: y # {\"$imagepolicy\": \"flux-system:nobody:tag\"}\n";
    world.git.commit_as_human(super::world::FLEET, "dev", &[("apps/dev/other.yaml", marked)]);
    let ran = world.tagtide(&["plan", "manifests", "--exit-code"]).exits(1);
    assert!(ran.stdout.contains(&format!("+      tag: {} #", TAGS[1])), "{}", ran.stdout);
    expect![[r#"
        ImagePolicy flux-system/testservice: Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e
        apps/dev/other.yaml:1:4: UnknownPolicy: marker `flux-system:nobody:tag` has no effect: no namespace has the policy flux-system/nobody
        1 value would change in 1 file
    "#]].assert_eq(&ran.stderr);
}

#[test]
fn a_plan_as_json() {
    let world = World::of_the_loop();
    let ran = world.tagtide(&["plan", "manifests", "-o", "json", "--exit-code"]).exits(3);
    expect![[r#"
        {
          "objects": [
            {
              "kind": "GitRepository",
              "namespace": "flux-system",
              "name": "flux-system-write",
              "ready": true,
              "reason": "Succeeded",
              "message": "resolved revision 'dev@sha1:COMMIT'"
            },
            {
              "kind": "ImagePolicy",
              "namespace": "flux-system",
              "name": "testservice",
              "ready": true,
              "reason": "Succeeded",
              "message": "Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e"
            },
            {
              "kind": "ImageRepository",
              "namespace": "flux-system",
              "name": "testservice",
              "ready": true,
              "reason": "Succeeded",
              "message": "successful scan: found 2 tags with checksum sha256:ff13c00e421eeb9c3294e9e3fc814d7136483ec580a2f899e7516f3673f00cbd"
            },
            {
              "kind": "ImageUpdateAutomation",
              "namespace": "flux-system",
              "name": "dev",
              "ready": true,
              "reason": "Succeeded",
              "message": "repository up-to-date"
            }
          ],
          "changes": [
            {
              "file": "apps/dev/testservice.yaml",
              "line": 13,
              "column": 12,
              "policy": "flux-system/testservice",
              "setter": "flux-system:testservice:tag",
              "old": "branch-dev",
              "new": "branch-dev-1715556000-b45d67e"
            }
          ],
          "commits": [],
          "problems": []
        }
    "#]].assert_eq(&ran.stdout);
}

#[test]
fn a_plan_on_a_local_folder_takes_its_choices_from_the_registry() {
    let world = World::of_the_loop();
    world.write(&format!("fleet/{RELEASE}"), HELM_RELEASE);
    let plan = ["plan", "manifests", "--repo", "fleet"];
    world.tagtide(&plan).exits(0).says(&expect![[r##"
        # fleet
        --- a/apps/dev/testservice.yaml
        +++ b/apps/dev/testservice.yaml
        @@ -10,5 +10,5 @@
           values:
             image:
               repository:  registry.example/testservice   # two spaces, kept
        -      tag: branch-dev # {"$imagepolicy": "flux-system:testservice:tag"}
        +      tag: branch-dev-1715556000-b45d67e # {"$imagepolicy": "flux-system:testservice:tag"}
             replicas:   2
    "##]], &expect![[r#"
        ImagePolicy flux-system/testservice: Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e
        1 value would change in 1 file
    "#]]);
    // The Git server has no part in it.
    let n_requests = [RequestKind::UploadRefs, RequestKind::Unauthorized, RequestKind::Push]
        .map(|kind| world.git.traffic(kind).n_requests);
    assert_eq!(n_requests, [0; 3]);

    let path = format!("fleet/{RELEASE}");
    assert_eq!(world.read(&path), HELM_RELEASE);
    world.tagtide(&[&plan[..], &["--write", "--exit-code"]].concat()).exits(3);
    let expected = HELM_RELEASE.replace("tag: branch-dev ", &format!("tag: {} ", TAGS[1]));
    assert_eq!(world.read(&path), expected);
    world.tagtide(&[&plan[..], &["--write", "--exit-code"]].concat()).exits(0);
}

#[test]
fn values_of_the_local_markers_stand_in_for_the_choices_before() {
    let world = World::of_the_loop();
    let ahead = HELM_RELEASE.replace("tag: branch-dev ", &format!("tag: {NEWER} "));
    world.write(&format!("fleet/{RELEASE}"), &ahead);
    let ran = world.tagtide(&["plan", "manifests", "--repo", "fleet", "--write"]).exits(0);
    ran.says(&expect![[r#""#]], &expect![[r#"
        notice: ImagePolicy flux-system/testservice: Held: holding branch-dev-1715557000-f12a34b: the latest listed tag branch-dev-1715556000-b45d67e ranks below it, and the registry does not have it, which a run without kept state cannot confirm; to move now, annotate the policy with tagtide.dev/allow-older=branch-dev-1715556000-b45d67e, or keep state between runs with --state so that a later run can confirm
        0 values changed in 0 files
    "#]]);
    assert_eq!(world.read(&format!("fleet/{RELEASE}")), ahead);
}

#[test]
fn one_automation_that_cannot_be_planned_hurts_no_other() {
    let world = World::of_the_loop();
    world.write(&format!("fleet/{RELEASE}"), HELM_RELEASE);
    let (_, automation) = LOOP.rsplit_once("---\n").expect("the automation comes last");
    world.write(
        "manifests/others.yaml",
        &automation.replace("{name: dev,", "{name: lost,").replace("./apps/dev", "./apps/nowhere"),
    );
    let ran = world.tagtide(&["plan", "manifests", "--repo", "fleet"]).exits(1);
    assert!(ran.stdout.contains(&format!("+      tag: {} #", TAGS[1])), "{}", ran.stdout);
    expect![[r#"
        ImagePolicy flux-system/testservice: Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e
        ImageUpdateAutomation flux-system/lost: UpdateFailed: cannot read ./apps/nowhere in fleet: No such file or directory (os error 2)
        1 value would change in 1 file
    "#]].assert_eq(&ran.stderr);
}

#[test]
fn an_assumed_choice_needs_no_manifests() {
    let desk = tree();
    desk.tagtide(LOCAL).exits(0).says(
        &expect![[r##"
        # fleet
        --- a/apps/dev/testservice.yaml
        +++ b/apps/dev/testservice.yaml
        @@ -10,5 +10,5 @@
           values:
             image:
               repository:  registry.example/testservice   # two spaces, kept
        -      tag: branch-dev # {"$imagepolicy": "flux-system:testservice:tag"}
        +      tag: branch-dev-1-a # {"$imagepolicy": "flux-system:testservice:tag"}
             replicas:   2
    "##]],
        &expect![[r#"
            1 value would change in 1 file
        "#]],
    );
    desk.tagtide(&[LOCAL, &["--exit-code"]].concat()).exits(3);
    // Only below `--path`.
    desk.write("fleet/apps/prod/a.yaml", HELM_RELEASE);
    let ran = desk.tagtide(&[LOCAL, &["--path", "apps/prod", "-o", "json"]].concat()).exits(0);
    expect![[r#"
        {
          "objects": [],
          "changes": [
            {
              "file": "apps/prod/a.yaml",
              "line": 13,
              "column": 12,
              "policy": "flux-system/testservice",
              "setter": "flux-system:testservice:tag",
              "old": "branch-dev",
              "new": "branch-dev-1-a"
            }
          ],
          "commits": [],
          "problems": []
        }
    "#]]
    .assert_eq(&ran.stdout);
    let ran = desk.tagtide(&[LOCAL, &["--path", "apps/nowhere"]].concat()).exits(1);
    expect![[r#"
        error: cannot read apps/nowhere in fleet: No such file or directory (os error 2)
    "#]]
    .assert_eq(&ran.stderr);

    desk.tagtide(&[LOCAL, &["--write"]].concat()).exits(0);
    for path in [RELEASE, "apps/prod/a.yaml"] {
        let written = HELM_RELEASE.replace("tag: branch-dev ", "tag: branch-dev-1-a ");
        assert_eq!(desk.read(&format!("fleet/{path}")), written);
    }
}

#[test]
fn an_assumed_choice_with_a_digest_sets_every_part() {
    let desk = Desk::new();
    let file = "whole: x # {\"$imagepolicy\": \"apps:web\"}\nname: x # {\"$imagepolicy\": \"apps:web:name\"}\n\
                tag: x # {\"$imagepolicy\": \"apps:web:tag\"}\ndigest: x # {\"$imagepolicy\": \"apps:web:digest\"}\n\
                other: x # {\"$imagepolicy\": \"apps:db\"}\n";
    desk.write("fleet/a.yaml", file);
    let digest = format!("sha256:{}", "0".repeat(64));
    let assume = format!("apps/web=host:5000/web:v1@{digest}");
    let ran = desk.tagtide(&["plan", "--repo", "fleet", "--assume", &assume, "--write"]).exits(0);
    expect![[r#"
        notice: policy apps/db has no choice; its markers are left alone
        4 values changed in 1 file
    "#]]
    .assert_eq(&ran.stderr);
    expect![[r#"
        whole: host:5000/web:v1@sha256:0000000000000000000000000000000000000000000000000000000000000000 # {"$imagepolicy": "apps:web"}
        name: host:5000/web # {"$imagepolicy": "apps:web:name"}
        tag: v1 # {"$imagepolicy": "apps:web:tag"}
        digest: sha256:0000000000000000000000000000000000000000000000000000000000000000 # {"$imagepolicy": "apps:web:digest"}
        other: x # {"$imagepolicy": "apps:db"}
    "#]].assert_eq(&desk.read("fleet/a.yaml"));
}

#[test]
fn under_an_assumption_no_registry_is_contacted() {
    let world = World::of_the_loop();
    let registry = FaultProxy::start(world.registry.address());
    let other = "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\n\
                 metadata: {name: other, namespace: flux-system}\n\
                 spec: {imageRepositoryRef: {name: testservice}, policy: {alphabetical: {}}}\n";
    let manifests = format!("{LOOP}{other}").replace("registry.example", &registry.host());
    world.write("manifests/loop.yaml", &manifests);
    let marked = "x: y # {\"$imagepolicy\": \"flux-system:other:tag\"}\n";
    world.git.commit_as_human(super::world::FLEET, "dev", &[("apps/dev/other.yaml", marked)]);
    world.write(&format!("fleet/{RELEASE}"), HELM_RELEASE);
    world.write("fleet/apps/dev/other.yaml", marked);

    let ran = world.tagtide(&["plan", "manifests", "--assume", ASSUME]).exits(0);
    assert!(ran.stdout.contains("+      tag: branch-dev-1-a #"), "{}", ran.stdout);
    expect![[r#"
        notice: ImagePolicy flux-system/other: Unresolved: no choice is assumed and registries are not contacted; its markers are left alone
        ImagePolicy flux-system/testservice: assumed to resolve to registry.example/testservice:branch-dev-1-a
        1 value would change in 1 file
    "#]].assert_eq(&ran.stderr);
    let ran = world.tagtide(&["plan", "manifests", "--assume", ASSUME, "--repo", "fleet"]).exits(0);
    assert!(ran.stdout.contains("+      tag: branch-dev-1-a #"), "{}", ran.stdout);
    expect![[r#"
        notice: ImagePolicy flux-system/other: Unresolved: no choice is assumed and registries are not contacted; its markers are left alone
        ImagePolicy flux-system/testservice: assumed to resolve to registry.example/testservice:branch-dev-1-a
        1 value would change in 1 file
    "#]].assert_eq(&ran.stderr);
    assert_eq!(registry.traffic().n_connections, 0);
    assert_eq!(world.git.traffic(RequestKind::Push).n_requests, 0);
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let desk = tree();
    desk.write("loop.yaml", LOOP);
    let mut text = String::new();
    for args in [
        &["plan"][..],
        &["plan", "--repo", "fleet"],
        &["plan", "loop.yaml", "--write"],
        &["plan", "loop.yaml", "--path", "apps"],
        &["plan", "loop.yaml", "--repo", "fleet", "--path", "apps"],
        &["plan", "--repo", "fleet", "--assume", "testservice=x:1"],
        &["plan", "--repo", "fleet", "--assume", "a/b=x"],
        &["plan", "--repo", "fleet", "--assume", "a/b=x:1", "--assume", "a/b=x:2"],
        &["run", "--once"],
        &["run", "loop.yaml"],
        &["run", "--once", "loop.yaml", "--log-level", "a=b=c"],
        &["nosuch"],
    ] {
        let ran = desk.tagtide(args).exits(2);
        let reason = ran.stderr.lines().next().unwrap_or_default();
        text += &format!("{}: {reason}\n", args.join(" "));
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    expect![[r#"
        plan: error: name manifests to plan, or a folder with --repo
        plan --repo fleet: error: --repo needs manifests or --assume, to know what to write
        plan loop.yaml --write: error: the following required arguments were not provided:
        plan loop.yaml --path apps: error: the following required arguments were not provided:
        plan loop.yaml --repo fleet --path apps: error: --path is for --repo without manifests: they name their own
        plan --repo fleet --assume testservice=x:1: error: --assume `testservice=x:1`: no NAMESPACE/POLICY; write NAMESPACE/POLICY=IMAGE:TAG[@DIGEST]
        plan --repo fleet --assume a/b=x: error: --assume `a/b=x`: no `:TAG`; write NAMESPACE/POLICY=IMAGE:TAG[@DIGEST]
        plan --repo fleet --assume a/b=x:1 --assume a/b=x:2: error: --assume names a/b twice
        run --once: error: name the manifests to run: files or folders
        run loop.yaml: error: the following required arguments were not provided:
        run --once loop.yaml --log-level a=b=c: error: --log-level `a=b=c`: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
        nosuch: error: unrecognized subcommand 'nosuch'
    "#]].assert_eq(&text);
    assert_eq!(desk.read(&format!("fleet/{RELEASE}")), HELM_RELEASE);
}

#[test]
fn a_broken_marker_or_file_is_told_and_the_rest_is_done() {
    let desk = tree();
    desk.write("fleet/broken.yaml", "a: [ # {\"$imagepolicy\": \"flux-system:testservice\"}\n");
    desk.write("fleet/wrong.yaml", "a: b # {\"$imagepolicy\": \"flux-system:testservice:x\"}\n");
    let ran = desk.tagtide(&[LOCAL, &["--write", "--exit-code"]].concat()).exits(1);
    expect![[r#"
        broken.yaml:1:4: Unreadable: the file holds markers but does not parse: unclosed bracket '['
        wrong.yaml:1:6: Setter: marker `flux-system:testservice:x` has no effect: after the policy only `:tag`, `:name` or `:digest` may follow
        1 value changed in 1 file
    "#]].assert_eq(&ran.stderr);
    assert!(desk.read(&format!("fleet/{RELEASE}")).contains("tag: branch-dev-1-a #"));
}

#[test]
fn links_are_never_followed() {
    let desk = tree();
    desk.write("outside/a.yaml", HELM_RELEASE);
    let link = |target: &str, path: &str| {
        std::os::unix::fs::symlink(target, desk.path(path)).expect("a new link");
    };
    link("../../../outside/a.yaml", "fleet/apps/dev/link.yaml");
    link("../outside", "fleet/linked");
    desk.tagtide(&[LOCAL, &["--write"]].concat()).exits(0);
    assert_eq!(desk.read("outside/a.yaml"), HELM_RELEASE);
    let ran = desk.tagtide(&[LOCAL, &["--write", "--path", "linked"]].concat()).exits(1);
    expect![[r#"
        error: fleet/linked is a symbolic link, which is never followed; name its target
    "#]]
    .assert_eq(&ran.stderr);
    assert_eq!(desk.read("outside/a.yaml"), HELM_RELEASE);
    let metadata = fs::symlink_metadata(desk.path("fleet/apps/dev/link.yaml")).expect("the link");
    assert!(metadata.is_symlink());
}

#[test]
fn secrets_without_git_are_not_asked_for_locally() {
    let world = World::of_the_loop();
    fs::remove_file(world.path("manifests/secret.yaml")).expect("a file");
    world.write(&format!("fleet/{RELEASE}"), HELM_RELEASE);
    world.tagtide(&["plan", "manifests", "--repo", "fleet"]).exits(0);
    world.write("manifests/secret.yaml", SECRET);
    world.tagtide(&["plan", "manifests", "--repo", "fleet"]).exits(0);
}

#[test]
fn a_file_that_cannot_be_read_stops_no_other() {
    let desk = tree();
    super::lint::write_unreadable(&desk.path("fleet/apps/huge.yaml"));
    let ran = desk.tagtide(&[LOCAL, &["--write"]].concat()).exits(1);
    expect![[r#"
        apps/huge.yaml:1:1: Unreadable: fleet/apps/huge.yaml is over 67108864 bytes
        1 value changed in 1 file
    "#]]
    .assert_eq(&ran.stderr);
    let written = HELM_RELEASE.replace("tag: branch-dev ", "tag: branch-dev-1-a ");
    assert_eq!(desk.read(&format!("fleet/{RELEASE}")), written);
}
