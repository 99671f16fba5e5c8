//! Others push while we plan: humans, other bots, other automations of ours.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use testkit::RequestKind;

use crate::world::{World, marked};

/// Lets a human commit onto a branch right before each of the next pushes arrives.
fn humans_are_faster(world: &World, branch: &'static str, times: usize) {
    let mut n = 0;
    world.server.before(RequestKind::Push, move |repositories, _| {
        if n < times {
            n += 1;
            repositories.commit_as_human("app", branch, &[(format!("human-{n}.txt"), "mine")]);
        }
    });
}

#[tokio::test]
async fn a_race_is_planned_anew_on_the_new_tip() {
    check_races("main").await;
}

#[tokio::test]
async fn a_race_on_the_push_branch_is_planned_anew_on_the_new_tip() {
    check_races("bot").await;
}

/// Humans win once in a row, then twice, up to ten times.
async fn check_races(branch: &'static str) {
    let world = World::with_files(&[("a.yaml", &marked("a", "0"))]);
    world.update(world.request("main", branch), "a", "new").await.expect("no race yet");
    let mut n_humans = 1;
    for times in 1..=10 {
        world.server.clear_hooks();
        humans_are_faster(&world, branch, times);
        n_humans += times;
        let value = times.to_string();
        let outcome = world.update(world.request("main", branch), "a", &value).await;
        let pushed = outcome.expect("the race ends").pushed.expect("a value differs");
        let tip = world.server.git("app", &["rev-parse", branch]);
        assert_eq!(tip.trim(), pushed.commit.to_string());
        let history = world.server.git("app", &["log", "--format=%s", branch]);
        assert_eq!(history.matches("Edited by a human").count(), n_humans, "{history}");
        let set = format!("Set a to {value}");
        assert_eq!(history.lines().filter(|line| *line == set).count(), 1, "{history}");
    }
    world.server.git("app", &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_race_for_a_new_push_branch_ends_on_top_of_the_other() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    humans_are_faster(&world, "bot", 1);
    let outcome = world.update(world.request("main", "bot"), "a", "2").await.expect("pushed");
    let human = world.server.git("app", &["rev-parse", "bot~1"]);
    assert_eq!(outcome.base.to_string(), human.trim());
}

#[tokio::test]
async fn a_human_who_makes_the_same_change_leaves_nothing_to_do() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    let mut first = true;
    world.server.before(RequestKind::Push, move |repositories, _| {
        if std::mem::take(&mut first) {
            repositories.commit_as_human("app", "main", &[("a.yaml", marked("a", "2"))]);
        }
    });
    let outcome = world.set("main", "a", "2").await.expect("no error");
    assert!(outcome.pushed.is_none(), "an empty commit is never made");
}

#[tokio::test]
async fn an_endless_race_is_given_up() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    humans_are_faster(&world, "main", usize::MAX);
    let error = world.set("main", "a", "2").await.expect_err("never first");
    let text =
        "failed to push to remote: refs/heads/main moved 20 times while changes were planned";
    assert_eq!(error.to_string(), text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_shares_a_push_with_one_commit_each() {
    let names: Vec<String> = (0..20).map(|n| format!("app-{n:02}")).collect();
    let files: Vec<(String, String)> =
        names.iter().map(|name| (format!("{name}.yaml"), marked(name, "1"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, b)| (p.as_str(), b.as_str())).collect();
    let world = Arc::new(World::with_files(&files));
    let updates = names.iter().map(|name| {
        let (world, name) = (Arc::clone(&world), name.clone());
        tokio::spawn(async move { world.set("main", &name, "2").await.map(|o| (name, o)) })
    });
    let mut commits = Vec::new();
    for update in updates.collect::<Vec<_>>() {
        let (name, outcome) = update.await.expect("no panic").expect("nothing is in the way");
        let pushed = outcome.pushed.expect("a value differs");
        let subject =
            world.server.git("app", &["log", "-1", "--format=%s", &pushed.commit.to_string()]);
        assert_eq!(subject.trim(), format!("Set {name} to 2"));
        commits.push(pushed.commit);
    }
    commits.sort_unstable();
    commits.dedup();
    assert_eq!(commits.len(), names.len(), "each has its own");
    assert_eq!(world.server.git("app", &["rev-list", "--count", "main"]).trim(), "21");
    let n_pushes = world.server.traffic(RequestKind::Push).n_requests;
    assert!(n_pushes <= 3, "{n_pushes} pushes");
    world.server.git("app", &["fsck", "--strict"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_commit_does_not_take_others_down() {
    let names: Vec<String> = (0..9).map(|n| format!("app-{n}")).collect();
    let files: Vec<(String, String)> =
        names.iter().map(|name| (format!("{name}.yaml"), marked(name, "1"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, b)| (p.as_str(), b.as_str())).collect();
    let world = Arc::new(World::with_files(&files));
    let hook = "#!/bin/sh\nwhile read old new ref; do\n\
        if git log --format=%s $old..$new | grep -q 'app-5'; then echo 'no app-5 today' >&2; exit 1; fi\n\
        done\n";
    world.server.repositories().set_pre_receive("app", hook);
    let refused = Arc::new(AtomicUsize::new(0));
    let updates = names.iter().map(|name| {
        let (world, name, refused) = (Arc::clone(&world), name.clone(), Arc::clone(&refused));
        tokio::spawn(async move {
            match world.set("main", &name, "2").await {
                Ok(outcome) => assert!(outcome.pushed.is_some() && name != "app-5"),
                Err(error) => {
                    assert_eq!(name, "app-5", "{error}");
                    assert!(error.to_string().contains("no app-5 today"), "{error}");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    for update in updates.collect::<Vec<_>>() {
        update.await.expect("as asserted");
    }
    assert_eq!(refused.load(Ordering::Relaxed), 1);
    assert_eq!(world.server.git("app", &["rev-list", "--count", "main"]).trim(), "9");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_credentials_take_turns_on_one_branch() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1")), ("b.yaml", &marked("b", "1"))]);
    let (one, two) = (world.mirror_as("one"), world.mirror_as("two"));
    let (a, b) = tokio::join!(
        one.update(world.request("main", "main"), world.planner("a", "2")),
        two.update(world.request("main", "main"), world.planner("b", "2")),
    );
    a.expect("nothing is in the way").pushed.expect("a value differs");
    b.expect("nothing is in the way").pushed.expect("a value differs");
    assert_eq!(world.server.traffic(RequestKind::Push).n_requests, 2, "none was lost to a race");
}
