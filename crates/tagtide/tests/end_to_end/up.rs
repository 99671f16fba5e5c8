//! The loop as a service: `tagtide up`, kubectl, a real registry and a real Git server.

use std::{fs, os::unix::fs::PermissionsExt};

use super::daemon::Daemon;
use super::world::{FLEET, NEWER, RELEASE, TAGS, World};

/// Where the automation of the loop writes.
const BRANCH: &str = "image-update-dev";

#[test]
fn the_loop_runs_for_as_long_as_the_api_is_served() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    let tag_on_branch = |tag: &str| {
        let is_there = world.repositories().resolve(FLEET, BRANCH).is_some();
        let file = is_there.then(|| world.file(BRANCH, RELEASE))?;
        String::from_utf8(file).expect("UTF-8").contains(&format!("tag: {tag} ")).then_some(())
    };
    daemon.wait_for("the first commit", |_| tag_on_branch(TAGS[1]));

    world.push(&[NEWER]);
    let request = "reconcile.fluxcd.io/requestedAt=now";
    let args = ["annotate", "imagerepository", "testservice", "-n", "flux-system", request];
    daemon.kubectl(&args);
    daemon.wait_for("the second commit", |_| tag_on_branch(NEWER));
    daemon.wait_for("the status", |daemon| {
        let policy = daemon.get("imagepolicy", "testservice").expect("it was loaded");
        (policy["status"]["latestRef"]["tag"] == NEWER).then_some(())
    });
    let table = daemon.kubectl(&["get", "imagepolicies", "-A"]);
    assert!(table.contains(NEWER), "{table}");

    let ended = daemon.stop();
    assert_eq!(
        (ended.code, ended.stderr.ends_with("stopped\n")),
        (Some(0), true),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("loaded: 5 objects"), "{}", ended.stdout);
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);
    world.fsck();
}

#[test]
fn a_kubeconfig_is_private_outlives_restarts_and_opens_what_is_closed_without() {
    let world = World::of_the_loop();
    let kubeconfig = || fs::read_to_string(world.path("state/kubeconfig")).expect("a kubeconfig");
    let daemon = world.up(&[]);
    let mode = fs::metadata(world.path("state/kubeconfig")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (is_ok, text) = daemon.try_kubectl(&["get", "secrets", "-A", "--token", "wrong"]);
    assert!(!is_ok && text.contains("You must be logged in to the server"), "{text}");
    daemon.kubectl(&["get", "secrets", "-A"]);
    let without_address = |text: String| -> Vec<String> {
        text.lines().filter(|line| !line.contains("server:")).map(str::to_owned).collect()
    };
    let first = without_address(kubeconfig());

    let second = world.tagtide(&["up", "--state", "state", "--listen", "127.0.0.1:0"]).exits(1);
    assert!(second.stderr.contains("`state` is in use by another process"), "{}", second.stderr);

    daemon.stop();
    let daemon = world.up(&[]);
    assert_eq!(without_address(kubeconfig()), first);
    daemon.stop();
}

#[test]
fn changed_manifests_are_applied_and_removed_ones_delete_only_what_they_had_loaded() {
    let world = World::of_the_loop();
    let config = |name: &str, text: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {text}}}\n"
        )
    };
    let two = |text: &str| format!("{}---\n{}", config("a", text), config("b", text));
    world.write("manifests/two.yaml", &two("first"));
    world.write("manifests/one.yaml", &config("c", "first"));
    let mut daemon = world.up(&["manifests", "--watch"]);
    let value = |daemon: &mut Daemon<'_>, name: &str| {
        daemon.get("configmap", name).map(|object| object["data"]["k"].clone())
    };
    world.write(
        "mine.yaml",
        &config("mine", "first").replace("{name: mine}", "{name: mine, namespace: flux-system}"),
    );
    daemon.kubectl(&["create", "--validate=false", "-f", "mine.yaml"]);
    assert_eq!(value(&mut daemon, "a").expect("loaded"), "first");

    world.write("manifests/two.yaml", &config("a", "second"));
    daemon
        .wait_for("what is gone from a file", |daemon| value(daemon, "b").is_none().then_some(()));
    assert_eq!(value(&mut daemon, "a").expect("loaded"), "second");

    // What does not parse is not removed, and stops no other.
    let broken = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: [\n";
    world.write("manifests/two.yaml", broken);
    world.write("manifests/one.yaml", &config("c", "second"));
    daemon.wait_for("the other file", |daemon| {
        value(daemon, "c").is_some_and(|value| value == "second").then_some(())
    });
    assert_eq!(value(&mut daemon, "a").expect("its file is broken, not gone"), "second");

    fs::remove_file(world.path("manifests/one.yaml")).expect("a file");
    fs::remove_file(world.path("manifests/two.yaml")).expect("a file");
    for name in ["a", "c"] {
        daemon.wait_for("what its file took along", |daemon| {
            value(daemon, name).is_none().then_some(())
        });
    }
    assert!(daemon.get("configmap", "mine").is_some(), "nobody loaded it");
    assert!(daemon.get("imagepolicy", "testservice").is_some(), "its file is there");
    let ended = daemon.stop();
    assert!(ended.stderr.contains("two.yaml:"), "{}", ended.stderr);
}
