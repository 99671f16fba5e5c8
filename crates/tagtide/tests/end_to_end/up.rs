//! The loop as a service: `tagtide up`, kubectl, a real registry and a real Git server.

use std::{fs, os::unix::fs::PermissionsExt};

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
    assert_eq!((ended.code, ended.stderr.ends_with("stopped\n")), (Some(0), true), "{}", ended.stderr);
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
    assert!(!is_ok && text.contains("Unauthorized"), "{text}");
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
