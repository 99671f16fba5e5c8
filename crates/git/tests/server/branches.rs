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

#[tokio::test]
async fn a_push_branch_begins_at_the_checkout_and_goes_on_from_itself() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    let bot = |value: &'static str| world.update(world.request("main", "bot"), "a", value);
    let first = bot("2").await.expect("nothing is in the way");
    assert_eq!(first.base, first.checkout.id, "the branch is made from the checkout");
    let human = world.server.commit_as_human("app", "bot", &[("notes.txt", "by hand")]);
    let main = world.server.commit_as_human("app", "main", &[("more.txt", "by hand")]);
    let second = bot("3").await.expect("nothing is in the way");
    assert_eq!(second.base.to_string(), human, "the human's commit stays below ours");
    assert_eq!(second.checkout.id.to_string(), main);
    assert_eq!(second.checkout.revision, format!("main@sha1:{main}"));
    let history = world.server.git("app", &["log", "--format=%s", "bot"]);
    assert_eq!(history, "Set a to 3\nEdited by a human\nSet a to 2\nEdited by a human\n");
}

#[tokio::test]
async fn a_commit_of_one_file_is_a_handful_of_objects() {
    let files: Vec<(String, String)> = (0..2_000)
        .map(|n| (format!("apps/dev/{n:04}.yaml"), marked(&n.to_string(), "1")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, b)| (p.as_str(), b.as_str())).collect();
    let world = World::with_files(&files);
    world.set("main", "7", "2").await.expect("nothing is in the way");
    let traffic = world.server.traffic(RequestKind::Push);
    // Commit, three folders, one file; the folder of 2,000 entries alone has 68 KB.
    assert!(traffic.n_bytes_up < 1_500, "{traffic:?}");
    world.server.git("app", &["fsck", "--strict"]);
    world.server.reset_traffic();
    world.server.commit_as_human("app", "main", &[("apps/dev/0001.yaml", &marked("1", "human"))]);
    world.set("main", "7", "3").await.expect("nothing is in the way");
    let fetched = world.server.traffic(RequestKind::Fetch);
    assert!(fetched.n_requests == 1 && fetched.n_bytes_down < 2_000, "{fetched:?}");
}

#[tokio::test]
async fn the_other_bytes_and_the_mode_of_a_file_stay() {
    let world = World::with_files(&[("z.txt", "")]);
    let odd = b"\xef\xbb\xbf# mark a\r\n  odd:\t'x'\r\n\r\nend";
    world.server.repositories().commit(
        "app",
        "main",
        "odd\n",
        &[testkit::Change::Write {
            path: "run.yaml".to_owned(),
            bytes: odd.to_vec(),
            mode: testkit::FileMode::Executable,
        }],
    );
    let plan = |files: &mut git::Snapshot| {
        let old = files.read_path("run.yaml").map_err(|e| e.to_string())?.ok_or("no file")?;
        let bytes = String::from_utf8(old).map_err(|e| e.to_string())?.replace("'x'", "'y'");
        let files = vec![git::FileChange { path: "run.yaml".to_owned(), bytes: bytes.into() }];
        let change = Some(git::Change { files, message: "no newline at the end".to_owned() });
        Ok::<_, String>(git::Plan { change, detail: () })
    };
    let pushed = world.mirror().update(world.request("main", "main"), plan).await;
    pushed.expect("nothing is in the way").pushed.expect("a byte differs");
    let tree = world.server.git("app", &["ls-tree", "main", "run.yaml"]);
    assert!(tree.starts_with("100755 blob"), "{tree}");
    let file = world.server.repositories().file("app", "main", "run.yaml").expect("it is there");
    assert_eq!(file, String::from_utf8_lossy(odd).replace("'x'", "'y'").as_bytes());
    let raw = world.server.git("app", &["cat-file", "commit", "main"]);
    assert!(raw.ends_with("\n\nno newline at the end"), "{raw}");
}

#[tokio::test]
async fn a_change_that_changes_nothing_makes_no_commit() {
    let world = World::with_files(&[("a.yaml", "same\n")]);
    let plan = |_: &mut git::Snapshot| {
        let files = vec![git::FileChange { path: "a.yaml".to_owned(), bytes: b"same\n".to_vec() }];
        let change = Some(git::Change { files, message: String::new() });
        Ok::<_, String>(git::Plan { change, detail: () })
    };
    let outcome = world.mirror().update(world.request("main", "main"), plan).await;
    assert!(outcome.expect("nothing is in the way").pushed.is_none());
    assert_eq!(world.server.traffic(RequestKind::Push).n_requests, 0);
}

#[tokio::test]
async fn a_preview_shows_the_change_and_pushes_nothing() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    let request = world.request("main", "bot");
    let (outcome, change) =
        world.mirror().preview(request, world.planner("a", "2")).await.expect("a plan");
    assert_eq!(change.expect("a value differs").files[0].path, "a.yaml");
    assert!(outcome.pushed.is_none());
    assert_eq!(world.server.traffic(RequestKind::Push).n_requests, 0);
}

#[tokio::test]
async fn a_refspec_is_a_second_push() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    let mut request = world.request("main", "bot");
    request.refspec = Some("refs/heads/bot:refs/heads/mirrored".parse().expect("a refspec"));
    let first = world.update(request.clone(), "a", "2").await.expect("pushed").pushed;
    let first = first.expect("a value differs");
    assert_eq!(first.refspec.expect("asked for").expect("pushed").len(), 1);
    assert_eq!(
        world.server.repositories().resolve("app", "mirrored").expect("made"),
        first.commit.to_string()
    );
    // A human's commit there is not overwritten without a plus.
    let human = world.server.commit_as_human("app", "mirrored", &[("x", "y")]);
    let second = world.update(request.clone(), "a", "3").await.expect("pushed").pushed;
    let refused =
        second.expect("a value differs").refspec.expect("asked for").expect_err("refused");
    assert_eq!(
        refused.to_string(),
        "failed to push to remote: non-fast-forward update: refs/heads/mirrored"
    );
    assert_eq!(world.server.repositories().resolve("app", "mirrored").expect("there"), human);
    request.refspec = Some("+HEAD:refs/heads/mirrored".parse().expect("a refspec"));
    let third = world.update(request, "a", "4").await.expect("pushed").pushed.expect("a commit");
    third.refspec.expect("asked for").expect("forced");
    assert_eq!(
        world.server.repositories().resolve("app", "mirrored").expect("there"),
        third.commit.to_string()
    );
}

#[tokio::test]
async fn push_options_reach_the_hooks() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    let hook = "#!/bin/sh\necho \"$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1\" > options\n";
    world.server.repositories().set_pre_receive("app", hook);
    let mut request = world.request("main", "main");
    request.options =
        vec![("ci.skip".to_owned(), String::new()), ("a".to_owned(), "b=c".to_owned())];
    world.update(request.clone(), "a", "2").await.expect("pushed");
    let options = std::fs::read_to_string(world.server.path("app").join("options"));
    assert_eq!(options.expect("the hook ran"), "2 ci.skip= a=b=c\n");
    world.server.git("app", &["config", "receive.advertisePushOptions", "false"]);
    let error = world.mirror_as("other").update(request, world.planner("a", "3")).await;
    let error = error.expect_err("the server takes none");
    assert_eq!(
        error.to_string(),
        "failed to push to remote: the server does not support push options"
    );
}
