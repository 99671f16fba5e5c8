//! Who wakes whom, in a service whose intervals are far away.

use std::{sync::Arc, time::Duration};

use controllers::Settings;

use super::world::World;

const OBJECTS: &str = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: a}
spec: {interval: 10h, ref: {branch: main}, url: 'https://git.example/fleet.git'}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: a}
spec: {image: registry.example/app, interval: 5m}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: a}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: '*'}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {name: app, namespace: a}
spec:
  interval: 10h
  sourceRef: {kind: GitRepository, name: fleet}
  git: {commit: {author: {email: flux@example.com}}}
";

/// A new tag travels by triggers alone: scan, choice, commit, and the source sees its new tip.
#[tokio::test(start_paused = true)]
async fn a_new_tag_travels_to_the_source_without_any_other_interval() {
    let world = World::new();
    world.repository("fleet", "main", &[("a.yaml", "t: x # {\"$imagepolicy\": \"a:app:tag\"}\n")]);
    world.registry.push("app", "1.0.0");
    world.apply(OBJECTS);
    let driver = Arc::new(world.driver(Settings::default()));
    world.run_for(&driver, Duration::from_secs(60)).await;
    world.registry.push("app", "1.1.0");
    world.take_writes();
    world.run_for(&driver, Duration::from_secs(300)).await;
    let file = world.file("fleet", "main", "a.yaml");
    assert_eq!(file, "t: 1.1.0 # {\"$imagepolicy\": \"a:app:tag\"}\n");
    let tip = world.git.tip("fleet", "main").expect("it is there");
    let source = world.conditions("GitRepository", "a", "fleet").await;
    assert_eq!(source, format!("Ready True Succeeded resolved revision 'main@sha1:{tip}'\n"));
    // One status patch for each of the four, and one event for each that had news.
    let writes = world.take_writes();
    let n_patches = writes.iter().filter(|write| write.ends_with("/status")).count();
    assert_eq!(n_patches, 4, "{writes:#?}");
    assert_eq!(writes.len(), 8, "{writes:#?}");
}

/// An idle service scans by its interval: one status patch a scan, and nothing else.
#[tokio::test(start_paused = true)]
async fn an_idle_service_writes_one_patch_a_scan() {
    let world = World::new();
    world.repository("fleet", "main", &[("a.yaml", "t: x # {\"$imagepolicy\": \"a:app:tag\"}\n")]);
    world.registry.push("app", "1.0.0");
    world.apply(OBJECTS);
    let driver = Arc::new(world.driver(Settings::default()));
    world.run_for(&driver, Duration::from_secs(60)).await;
    world.take_writes();
    world.run_for(&driver, Duration::from_secs(3600)).await;
    let writes = world.take_writes();
    let scan = "PATCH image.toolkit.fluxcd.io/v1/namespaces/a/imagerepositories/app/status";
    assert_eq!(writes, vec![scan; 12]);
}

/// A policy that came before its repository and its tags is there as soon as they are.
#[tokio::test(start_paused = true)]
async fn a_policy_waits_for_its_repository_and_no_longer() {
    let world = World::new();
    world.registry.push("app", "1.0.0");
    let documents: Vec<&str> = OBJECTS.split("---").collect();
    world.apply(documents[2]);
    let driver = Arc::new(world.driver(Settings::default()));
    world.run_for(&driver, Duration::from_secs(3)).await;
    world.apply(documents[1]);
    world.run_for(&driver, Duration::from_secs(1)).await;
    let policy = world.get("ImagePolicy", "a", "app").await;
    assert_eq!(policy["status"]["latestRef"]["tag"], "1.0.0");
}
