//! Others who push at the same time, and servers that refuse.

use testkit::{Fault, RequestKind, Seen};

use crate::world::{
    APP, BOT, FLEET, SOURCE, World, app, automation, automation_at, choice, image, policy_of,
};

#[test]
fn a_human_wins_up_to_ten_times_in_a_row_on_the_same_branch() {
    check_humans("main", "");
}

#[test]
fn a_human_wins_up_to_ten_times_in_a_row_on_the_push_branch() {
    check_humans("updates", "{branch: updates}");
}

/// The most that a human wins in a row.
const RACES_MAX: usize = 10;

/// Every round has one more human commit in the window between our read and our push.
#[track_caller]
fn check_humans(branch: &'static str, push: &str) {
    let world = World::with_app(&["1.1.0"]);
    world.manifest("automation", &automation("app", push));
    world.run_kept().exited(0);
    let mut chosen = vec!["1.1.0".to_owned()];
    let mut humans = Vec::new();
    for n in 1..=RACES_MAX {
        let tag = format!("1.2.{n}");
        world.push("app", &[&tag]);
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut n_left = n;
        world.git.before(RequestKind::Push, move |repositories, _| {
            if n_left > 0 {
                n_left -= 1;
                let text = format!("{n} {n_left}\n");
                drop(sender.send(repositories.commit_as_human(FLEET, branch, &[("log", text)])));
            }
        });
        let ran = world.run_kept().exited(0);
        world.git.clear_hooks();
        humans.extend(receiver.iter());
        assert_eq!(ran.failed(), [""; 0]);
        assert_eq!(ran.n_commits(), 1);
        assert_eq!(world.value(branch), tag);
        assert_eq!(world.authors(branch)[..=n], [&[BOT][..], &vec!["Human"; n]].concat());
        chosen.push(tag);
    }
    assert_eq!(humans.len(), (1..=RACES_MAX).sum::<usize>());
    let log = world.git.git(FLEET, &["rev-list", branch]);
    assert!(humans.iter().all(|human| log.contains(human)));
    assert_eq!(world.n_bot(branch), 1 + RACES_MAX);
    let chosen: Vec<(&str, &str)> = chosen.iter().map(|tag| ("app", tag.as_str())).collect();
    world.check(&chosen);
}

#[test]
fn fifty_automations_on_one_branch_share_pushes() {
    let world = with_automations(50, "");
    let ran = world.run().exited(0);
    assert_eq!(ran.n_commits(), 50);
    let pushes = world.git.traffic(RequestKind::Push).n_requests;
    assert!(pushes <= 3, "{pushes} pushes");
    let fetches = world.git.traffic(RequestKind::Fetch).n_requests;
    assert!(fetches <= 2, "{fetches} fetches");
    assert_eq!(world.n_bot("main"), 50);
    for n in 0..50 {
        assert_eq!(
            world.file("main", &format!("apps/{n}/app.yaml")),
            app(&format!("app{n}"), "1.1.0")
        );
    }
    // Nothing is left to do.
    assert_eq!(world.run().exited(0).n_commits(), 0);
    world.git.git(FLEET, &["fsck", "--strict"]);
}

#[test]
fn a_commit_that_a_hook_refuses_does_not_take_others_down() {
    let world = with_automations(7, "");
    world.git.repositories().set_pre_receive(
        FLEET,
        "while read old new ref; do\n\
         git log --format=%s $old..$new | grep -qx 'Update by app3' && echo 'no app3' && exit 1\n\
         done; exit 0",
    );
    let ran = world.run().exited(1);
    assert_eq!(ran.failed(), ["ImageUpdateAutomation/app3"]);
    let (_, reason, message) = ran.object("ImageUpdateAutomation", "app3");
    assert_eq!(reason, "GitOperationFailed");
    assert!(message.contains("no app3"), "{message}");
    assert_eq!(ran.n_commits(), 6);
    for n in 0..7 {
        let tag = if n == 3 { "1.0.0" } else { "1.1.0" };
        assert_eq!(world.file("main", &format!("apps/{n}/app.yaml")), app(&format!("app{n}"), tag));
    }
    world.git.git(FLEET, &["fsck", "--strict"]);
}

#[test]
fn a_reply_lost_after_the_push_is_recognised() {
    for branch in ["main", "updates"] {
        let world = World::with_app(&["1.1.0"]);
        world.manifest("automation", &automation("app", &format!("{{branch: {branch}}}")));
        world.git_proxy.inject_once(is_push, Fault::LoseReply);
        let ran = world.run_kept().exited(0);
        let tip = world.git.git(FLEET, &["rev-parse", branch]);
        assert_eq!(ran.report["commits"][0]["id"], tip.trim_end());
        assert_eq!((ran.n_commits(), world.n_bot(branch)), (1, 1));
        assert_eq!(world.git.traffic(RequestKind::Push).n_requests, 1);
        assert_eq!(world.value(branch), "1.1.0");
        assert_eq!(world.run_kept().exited(0).n_commits(), 0);
        world.check(&[("app", "1.1.0")]);
    }
}

#[test]
fn a_push_that_never_arrived_is_sent_again() {
    let world = World::with_app(&["1.1.0"]);
    world.git_proxy.inject_once(is_push, Fault::Reset(testkit::Direction::Up, 300));
    let ran = world.run().exited(0);
    assert_eq!((ran.n_commits(), world.n_bot("main")), (1, 1));
    world.check(&[("app", "1.1.0")]);
}

#[test]
fn push_options_arrive() {
    let world = World::with_app(&["1.1.0"]);
    let push = "{branch: updates, options: {ci.skip: 'true', topic: images}}";
    world.manifest("automation", &automation("app", push));
    world.git.repositories().set_pre_receive(
        FLEET,
        "echo \"$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1\" > options",
    );
    world.run().exited(0);
    let options = std::fs::read_to_string(world.git.path(FLEET).join("options")).expect("a file");
    assert_eq!(options, "2 ci.skip=true topic=images\n");
}

#[test]
fn a_protected_branch_is_one_clear_condition() {
    let world = World::with_app(&["1.1.0"]);
    let hook = "echo 'protected branch: open a pull request'; exit 1";
    world.git.repositories().set_pre_receive(FLEET, hook);
    let ran = world.run().exited(1);
    assert_eq!(ran.failed(), ["ImageUpdateAutomation/app"]);
    let (_, reason, message) = ran.object("ImageUpdateAutomation", "app");
    assert_eq!(reason, "GitOperationFailed");
    let expected = "failed to update source: failed to push to remote: refs/heads/main was \
                    rejected: pre-receive hook declined (protected branch: open a pull request)";
    assert_eq!(message, expected);
    assert_eq!(world.git.traffic(RequestKind::Push).n_requests, 1);
    assert_eq!(world.file("main", APP), app("app", "1.0.0"));
}

fn is_push(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("/git-receive-pack")
}

/// Makes a world with automations of one branch that have a path and a policy each.
fn with_automations(n_automations: usize, push: &str) -> World {
    let names: Vec<String> = (0..n_automations).map(|n| format!("app{n}")).collect();
    let files: Vec<(String, String)> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (format!("apps/{n}/app.yaml"), app(name, "1.0.0")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let world = World::with_files(&files);
    world.push("app", &["1.1.0"]);
    world.manifest("source", SOURCE);
    world.manifest("image", &image("app", "app", ""));
    for (n, name) in names.iter().enumerate() {
        let policy = policy_of(name, "app", "semver: {range: '>=1.0.0'}");
        let automation = automation_at(name, push, &format!("./apps/{n}"));
        world.manifest(name, &(policy + &automation));
    }
    world
}

#[test]
fn unrelated_work_of_a_human_is_not_waited_for() {
    let world = World::with_app(&["1.1.0"]);
    world.manifest("app", &choice("app", "semver: {range: '>=1.0.0'}"));
    world.git.before(RequestKind::Push, |repositories, _| {
        repositories.commit_as_human(FLEET, "topic", &[("topic.md", "else\n")]);
    });
    world.run().exited(0);
    assert_eq!(world.git.traffic(RequestKind::Push).n_requests, 1);
    assert_eq!(world.value("main"), "1.1.0");
    world.check(&[("app", "1.1.0")]);
}

#[test]
fn several_automations_keep_one_commit_each_however_often_a_human_wins() {
    let world = with_automations(3, "{branch: updates}");
    let mut n_left = 4;
    world.git.before(RequestKind::Push, move |repositories, _| {
        if n_left > 0 {
            n_left -= 1;
            repositories.commit_as_human(FLEET, "updates", &[("log", n_left.to_string())]);
        }
    });
    let ran = world.run().exited(0);
    assert_eq!(ran.n_commits(), 3);
    let authors = world.authors("updates");
    let n_human = authors.iter().filter(|author| *author == "Human").count();
    assert_eq!((world.n_bot("updates"), n_human), (3, 5), "{authors:?}");
    for n in 0..3 {
        let file = world.file("updates", &format!("apps/{n}/app.yaml"));
        assert_eq!(file, app(&format!("app{n}"), "1.1.0"));
    }
    world.git.git(FLEET, &["fsck", "--strict"]);
}

#[test]
fn what_a_human_does_to_the_marked_file_meanwhile_is_taken_in() {
    let marker = "# {\"$imagepolicy\": \"flux-system:app:tag\"}";
    for (meanwhile, expected) in [
        // Another place and style, a value that is right already, no marker any more.
        (
            format!("a: 1\r\n\r\ntag:   '1.0.5'   {marker}\r\n"),
            Some(format!("a: 1\r\n\r\ntag:   '1.1.0'   {marker}\r\n")),
        ),
        (format!("tag: 1.1.0 {marker}\n"), None),
        ("tag: 1.0.0\n".to_owned(), None),
    ] {
        let world = World::with_app(&["1.1.0"]);
        let text = meanwhile.clone();
        let mut is_first = true;
        world.git.before(RequestKind::Push, move |repositories, _| {
            if std::mem::take(&mut is_first) {
                repositories.commit_as_human(FLEET, "main", &[(APP, &text)]);
            }
        });
        let ran = world.run().exited(0);
        assert_eq!(ran.n_commits(), usize::from(expected.is_some()));
        assert_eq!(world.n_bot("main"), ran.n_commits());
        assert_eq!(world.file("main", APP), expected.unwrap_or(meanwhile));
    }
}

#[test]
fn a_push_branch_that_is_deleted_meanwhile_is_made_anew() {
    let world = World::with_app(&["1.1.0"]);
    world.manifest("automation", &automation("app", "{branch: updates}"));
    world.run().exited(0);
    world.push("app", &["1.2.0"]);
    let mut is_first = true;
    world.git.before(RequestKind::Push, move |repositories, _| {
        if std::mem::take(&mut is_first) {
            repositories.git(FLEET, &["update-ref", "-d", "refs/heads/updates"]);
        }
    });
    assert_eq!(world.run().exited(0).n_commits(), 1);
    assert_eq!(world.value("updates"), "1.2.0");
    assert_eq!(world.authors("updates"), [BOT, "Human"]);
}

#[test]
fn a_lost_reply_is_recognised_below_the_commit_of_a_human() {
    let world = World::with_app(&["1.1.0"]);
    world.git_proxy.inject_once(is_push, Fault::LoseReply);
    let mut is_first = true;
    world.git.after(RequestKind::Push, move |repositories, _| {
        if std::mem::take(&mut is_first) {
            repositories.commit_as_human(FLEET, "main", &[("log", "on top\n")]);
        }
    });
    let ran = world.run_kept().exited(0);
    let ours = world.git.git(FLEET, &["rev-parse", "main~1"]);
    assert_eq!(ran.report["commits"][0]["id"], ours.trim_end());
    assert_eq!(world.authors("main"), ["Human", BOT, "Human"]);
    assert_eq!(world.run_kept().exited(0).n_commits(), 0);
    world.check(&[("app", "1.1.0")]);
}

#[test]
fn a_gateway_that_gives_up_after_the_push_is_seen_through() {
    let world = World::with_app(&["1.1.0"]);
    let gateway = Fault::rewrite_reply("HTTP/1.1 200 OK", "HTTP/1.1 504 Late");
    world.git_proxy.inject_once(is_push, gateway);
    let ran = world.run().exited(0);
    assert_eq!((ran.n_commits(), world.n_bot("main")), (1, 1));
    // The server may be at it still when we look: then it is sent again, and counts once.
    world.check(&[("app", "1.1.0")]);
}
