//! One change on one branch: what is sent, what is on the server afterwards.

use expect_test::{Expect, expect};
use testkit::RequestKind;

use crate::world::{World, marked};

#[tokio::test]
async fn a_change_is_one_commit_of_one_value() {
    let world = World::with_files(&[
        ("apps/dev/a.yaml", &marked("a", "1")),
        ("apps/dev/b.yaml", &marked("b", "1")),
        ("README.md", "hello\n"),
    ]);
    let outcome = world.set("main", "a", "2").await.expect("nothing is in the way");
    let pushed = outcome.pushed.expect("a value differs");
    assert_eq!(world.server.git("app", &["rev-parse", "main"]).trim(), pushed.commit.to_string());
    check(
        &world,
        "main",
        expect![[r#"
        FluxBot <flux@example.com>|FluxBot <flux@example.com>|Set a to 2
        -tag: 1 # mark a
        +tag: 2 # mark a
    "#]],
    );
}

/// Compares who made the last commit of a branch, its message, and which lines differ.
#[track_caller]
fn check(world: &World, branch: &str, expected: Expect) {
    world.server.git("app", &["fsck", "--strict", "--no-dangling"]);
    let format = "--format=%an <%ae>|%cn <%ce>|%s";
    let shown = world.server.git("app", &["show", "-U0", format, branch]);
    let is_of_interest = |line: &&str| {
        let is_diff =
            line.starts_with(['-', '+']) && !line.starts_with("---") && !line.starts_with("+++");
        is_diff || line.contains('|')
    };
    let lines: Vec<&str> = shown.lines().filter(is_of_interest).collect();
    expected.assert_eq(&format!("{}\n", lines.join("\n")));
}

#[tokio::test]
async fn nothing_to_do_costs_one_listing() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    world.set("main", "a", "2").await.expect("nothing is in the way");
    let outcome = world.set("main", "a", "2").await.expect("nothing is in the way");
    assert_eq!(outcome.detail, 2, "the new file and its folder are read once");
    world.server.reset_traffic();
    let outcome = world.set("main", "a", "2").await.expect("nothing is in the way");
    assert!(outcome.pushed.is_none());
    assert_eq!(outcome.detail, 0, "nothing was read");
    let requests =
        [RequestKind::UploadRefs, RequestKind::LsRefs, RequestKind::Fetch, RequestKind::Push]
            .map(|kind| world.server.traffic(kind).n_requests);
    assert_eq!(requests, [0, 1, 0, 0]);
}
