//! Never backwards by accident.

use expect_test::expect;
use testkit::{Fault, FaultProxy};

use super::world::{IMAGE, LOOP, NEWER, RELEASE, Ran, TAGS, World};

/// A world in which [`NEWER`] was written and then left the registry.
fn without_the_winner(run: &[&str]) -> World {
    let world = World::of_the_loop();
    world.push(&[NEWER]);
    world.tagtide(run).exits(0);
    world.registry.delete_tag(IMAGE, NEWER);
    world
}

#[track_caller]
fn stands(world: &World, tag: &str) {
    let file = String::from_utf8(world.file("image-update-dev", RELEASE)).expect("text");
    assert!(file.contains(&format!("tag: {tag} #")), "{file}");
}

#[track_caller]
fn policy_message(ran: &Ran) -> String {
    let line = ran.stdout.lines().find(|line| line.contains(" ImagePolicy "));
    line.expect("every object has a line").to_owned()
}

const RUN: &[&str] = &["run", "--once", "manifests"];

#[test]
fn a_run_without_state_never_confirms_a_removal() {
    let world = without_the_winner(RUN);
    for _ in 0..2 {
        let ran = world.tagtide(RUN).exits(0);
        expect![[r#"
            notice: ImagePolicy flux-system/testservice: Held: holding branch-dev-1715557000-f12a34b: the latest listed tag branch-dev-1715556000-b45d67e ranks below it, and the registry does not have it, which a run without kept state cannot confirm; to move now, annotate the policy with tagtide.dev/allow-older=branch-dev-1715556000-b45d67e, or keep state between runs with --state so that a later run can confirm
        "#]].assert_eq(&ran.stderr);
        expect!["✔ ImagePolicy flux-system/testservice  Latest image tag for registry.example/testservice resolved to branch-dev-1715557000-f12a34b"].assert_eq(&policy_message(&ran));
        stands(&world, NEWER);
        assert_eq!(world.n_commits("dev..image-update-dev"), 1);
    }
    // A higher winner is never held.
    world.push(&["branch-dev-1715558000-abcdef0"]);
    let ran = world.tagtide(RUN).exits(0);
    assert_eq!(ran.stderr, "");
    stands(&world, "branch-dev-1715558000-abcdef0");
}

#[test]
fn with_state_a_later_run_confirms_a_removal() {
    let run = ["run", "--once", "manifests", "--state", "state"];
    let world = without_the_winner(&run);
    for _ in 0..2 {
        // Not a minute apart.
        let ran = world.tagtide(&run).exits(0);
        expect![[r#"
            notice: ImagePolicy flux-system/testservice: Held: holding branch-dev-1715557000-f12a34b: the latest listed tag branch-dev-1715556000-b45d67e ranks below it, and the registry does not have it, which a later complete listing must confirm; to move now, annotate the policy with tagtide.dev/allow-older=branch-dev-1715556000-b45d67e
        "#]].assert_eq(&ran.stderr);
        stands(&world, NEWER);
    }
    let shorter = [&run[..], &["--removal-confirmation", "0s"]].concat();
    let ran = world.tagtide(&shorter).exits(0);
    assert_eq!(ran.stderr, "");
    expect!["✔ ImagePolicy flux-system/testservice  Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e (previously registry.example/testservice:branch-dev-1715557000-f12a34b): branch-dev-1715557000-f12a34b left the registry"].assert_eq(&policy_message(&ran));
    stands(&world, TAGS[1]);
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);
    world.tagtide(&run).exits(0);
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);

    let wrong = [&run[..], &["--removal-confirmation", "soon"]].concat();
    let ran = world.tagtide(&wrong).exits(2);
    expect![[r#"
        error: --removal-confirmation `soon`: it is not a duration; write 1m or 90s
    "#]]
    .assert_eq(&ran.stderr);
}

#[test]
fn a_first_denial_is_not_yet_a_removal_however_short_the_wait() {
    let run = ["run", "--once", "manifests", "--state", "state", "--removal-confirmation", "0s"];
    let world = without_the_winner(&run);
    world.tagtide(&run).exits(0);
    stands(&world, NEWER);
    // It came back: the denial is forgotten.
    world.push(&[NEWER]);
    assert_eq!(world.tagtide(&run).exits(0).stderr, "");
    world.registry.delete_tag(IMAGE, NEWER);
    world.tagtide(&run).exits(0);
    stands(&world, NEWER);
    world.tagtide(&run).exits(0);
    stands(&world, TAGS[1]);
}

#[test]
fn an_annotation_allows_an_older_tag() {
    for state in [&[][..], &["--state", "state"]] {
        let run = [RUN, state].concat();
        let world = without_the_winner(&run);
        let annotate = |tag: &str| {
            let policy = "kind: ImagePolicy\nmetadata: {name: testservice, ";
            let annotations = format!("annotations: {{tagtide.dev/allow-older: {tag}}}, ");
            world.write(
                "manifests/loop.yaml",
                &LOOP.replace(policy, &format!("{policy}{annotations}")),
            );
        };
        annotate(TAGS[0]);
        let ran = world.tagtide(&run).exits(0);
        assert!(ran.stderr.contains("Held"), "{}", ran.stderr);
        stands(&world, NEWER);
        annotate(TAGS[1]);
        assert_eq!(world.tagtide(&run).exits(0).stderr, "");
        stands(&world, TAGS[1]);
    }
}

#[test]
fn a_listing_that_forgets_a_tag_moves_nothing() {
    let world = World::of_the_loop();
    world.push(&[NEWER]);
    let proxy = FaultProxy::start(world.registry.address());
    world.write("manifests/loop.yaml", &LOOP.replace("registry.example", &proxy.host()));
    let run = ["run", "--once", "manifests", "--state", "state", "--removal-confirmation", "0s"];
    world.tagtide(&run).exits(0);
    let forgotten = NEWER.replace("dev", "xxx");
    proxy
        .inject(|seen| seen.target.contains("/tags/list"), Fault::rewrite_reply(NEWER, &forgotten));
    for _ in 0..3 {
        let ran = world.tagtide(&run).exits(0);
        let notice = ran.stderr.replace(&proxy.host(), "registry.example");
        expect![[r#"
            notice: ImagePolicy flux-system/testservice: Held: holding branch-dev-1715557000-f12a34b: the latest listed tag branch-dev-1715556000-b45d67e ranks below it, and the registry still has it, though it is not listed; to move now, annotate the policy with tagtide.dev/allow-older=branch-dev-1715556000-b45d67e
        "#]].assert_eq(&notice);
        stands(&world, NEWER);
    }
    // An unclear answer holds too.
    proxy
        .inject(|seen| seen.target.contains("/manifests/"), Fault::reply("403 Forbidden", &[], ""));
    let ran = world.tagtide(&run).exits(0);
    expect![[r#"
        notice: ImagePolicy flux-system/testservice: Held: holding branch-dev-1715557000-f12a34b: the latest listed tag branch-dev-1715556000-b45d67e ranks below it, and the registry does not say whether it still has it; to move now, annotate the policy with tagtide.dev/allow-older=branch-dev-1715556000-b45d67e
    "#]].assert_eq(&ran.stderr.replace(&proxy.host(), "registry.example"));
    stands(&world, NEWER);
    assert_eq!(world.n_commits("dev..image-update-dev"), 1);
}

#[test]
fn the_highest_of_several_marked_values_stands() {
    let two = |first: &str, second: &str| {
        format!(
            "a: {first} # {{\"$imagepolicy\": \"flux-system:testservice:tag\"}}\n\
             b: {IMAGE}:{second} # {{\"$imagepolicy\": \"flux-system:testservice\"}}\n"
        )
    };
    let world = World::with_files(&[(RELEASE, two(TAGS[0], TAGS[1]))]);
    world.write("manifests/loop.yaml", LOOP);
    world.write("manifests/secret.yaml", super::world::SECRET);
    world.git.commit_as_human(super::world::FLEET, "dev", &[(RELEASE, two(NEWER, TAGS[1]))]);
    // The registry never had the highest one.
    let ran = world.tagtide(RUN).exits(0);
    assert!(ran.stderr.contains(&format!("holding {NEWER}")), "{}", ran.stderr);
    assert!(world.repositories().resolve(super::world::FLEET, "image-update-dev").is_none());
}
