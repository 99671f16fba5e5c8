//! What a daemon has in its state folder when it starts again: after a stop, a kill, a run, damage.

use std::fs;

use serde_json::Value;

use super::{
    daemon::Daemon,
    world::{FLEET, IMAGE, NEWER, RELEASE, TAGS, World},
};

const BRANCH: &str = "image-update-dev";

fn policy(daemon: &Daemon<'_>) -> Option<Value> {
    daemon.get("imagepolicy", "testservice")
}

fn chosen(daemon: &Daemon<'_>) -> Option<String> {
    policy(daemon)?["status"]["latestRef"]["tag"].as_str().map(str::to_owned)
}

fn tag_on_branch(world: &World, tag: &str) -> Option<()> {
    world.repositories().resolve(FLEET, BRANCH)?;
    let file = String::from_utf8(world.file(BRANCH, RELEASE)).expect("UTF-8");
    file.contains(&format!("tag: {tag} ")).then_some(())
}

#[test]
fn a_daemon_goes_on_where_it_was_stopped() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    daemon.wait_for("the first commit", |_| tag_on_branch(&world, TAGS[1]));
    daemon.wait_for("the status", |daemon| (chosen(daemon)? == TAGS[1]).then_some(()));
    let before = policy(&daemon).expect("it was loaded");
    daemon.stop();

    // Nothing is loaded again.
    let mut daemon = world.up(&[]);
    let after = policy(&daemon).expect("it is kept");
    for field in ["uid", "generation", "creationTimestamp"] {
        assert_eq!(after["metadata"][field], before["metadata"][field], "{field}");
    }
    assert_eq!(after["status"]["latestRef"], before["status"]["latestRef"]);
    world.push(&[NEWER]);
    let request = "reconcile.fluxcd.io/requestedAt=now";
    daemon.kubectl(&["annotate", "imagerepository", "testservice", "-n", "flux-system", request]);
    daemon.wait_for("the second commit", |_| tag_on_branch(&world, NEWER));
    daemon.stop();
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);
    world.fsck();
}

#[test]
fn a_killed_daemon_has_what_it_answered() {
    let world = World::of_the_loop();
    let daemon = world.up(&[]);
    let names: Vec<String> = (0..8).map(|n| format!("configmap/m{n}")).collect();
    for name in &names {
        let (_, name) = name.split_once('/').expect("it has one");
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        world.write("one.yaml", &text);
        daemon.kubectl(&["create", "--validate=false", "-f", "one.yaml"]);
    }
    daemon.kubectl(&["delete", "configmap", "m0"]);
    // Without a word to it.
    drop(daemon);
    let daemon = world.up(&[]);
    let kept = daemon.kubectl(&["get", "configmaps", "-o", "name"]);
    let kept: Vec<&str> = kept.lines().collect();
    assert_eq!(kept, names.iter().skip(1).collect::<Vec<_>>());
    daemon.stop();
}

/// Its choice is all that a run leaves; with it the daemon does not go back.
#[test]
fn a_daemon_goes_on_where_a_run_ended_and_a_run_where_a_daemon_was() {
    let world = World::of_the_loop();
    world.push(&[NEWER]);
    let run = ["run", "--once", "manifests", "--state", "state"];
    world.tagtide(&run).exits(0);
    fs::remove_file(world.path("state/cache.redb")).expect("the run made one");
    world.registry.delete_tag(IMAGE, NEWER);

    let mut daemon = world.up(&["manifests"]);
    daemon.wait_for("the choice to be held", |daemon| {
        let policy = policy(daemon)?;
        let conditions = policy["status"]["conditions"].as_array()?;
        conditions.iter().any(|condition| condition["type"] == "Held").then_some(())
    });
    assert_eq!(chosen(&daemon).as_deref(), Some(NEWER));
    daemon.stop();

    let ran = world.tagtide(&run).exits(0);
    assert!(ran.stderr.contains(&format!("holding {NEWER}")), "{}", ran.stderr);
    // The run has left the daemon's objects where they were.
    let daemon = world.up(&[]);
    assert_eq!(chosen(&daemon).as_deref(), Some(NEWER));
    daemon.stop();
}

#[test]
fn damaged_objects_are_moved_aside_and_said() {
    let world = World::of_the_loop();
    let daemon = world.up(&["manifests"]);
    assert!(policy(&daemon).is_some());
    daemon.stop();
    let path = world.path("state/objects.redb");
    let bytes = fs::read(&path).expect("it is there");
    let half = bytes.get(..bytes.len() / 2).expect("half of it").to_vec();
    fs::write(&path, &half).expect("written");

    let daemon = world.up(&[]);
    assert_eq!(policy(&daemon), None);
    let ended = daemon.stop();
    assert!(ended.stderr.contains("notice: the objects were damaged ("), "{}", ended.stderr);
    assert!(ended.stderr.contains("state/objects.redb.damaged-1"), "{}", ended.stderr);
    assert_eq!(fs::read(world.path("state/objects.redb.damaged-1")).expect("it is kept"), half);
    // It is said once.
    let ended = world.up(&["manifests"]).stop();
    assert!(!ended.stderr.contains("damaged"), "{}", ended.stderr);
}
