//! What references resolve to, and what is said when they do not.

use std::{error::Error, sync::Arc};

use expect_test::{Expect, expect};
use git::{GitError, Limits, Reference};
use testkit::{GitServer, RequestKind};

use crate::world::World;

fn world() -> World {
    let world = World::with_files(&[("a.txt", "1")]);
    world.server.git("app", &["tag", "light"]);
    let who = ["-c", "user.name=H", "-c", "user.email=h@example.com"];
    for tag in ["v1.0.0", "v1.2.0", "v1.10.0"] {
        let args = [&who[..], &["tag", "-a", "-m", "x", tag, "main"]].concat();
        world.server.git("app", &args);
    }
    world.server.git("app", &["update-ref", "refs/pull/1/head", "main"]);
    world
}

#[tokio::test]
async fn every_kind_of_reference_gives_a_revision() {
    let world = world();
    check(&world, Reference::branch("main"), expect!["main@sha1:MAIN"]).await;
    check(&world, Reference::tag("light"), expect!["light@sha1:MAIN"]).await;
    check(&world, Reference::tag("v1.0.0"), expect!["v1.0.0@sha1:MAIN"]).await;
    check(&world, Reference::name("refs/pull/1/head"), expect!["refs/pull/1/head@sha1:MAIN"]).await;
    check(&world, Reference::name("refs/tags/v1.0.0^{}"), expect!["refs/tags/v1.0.0@sha1:MAIN"])
        .await;
    let id = world.server.git("app", &["rev-parse", "main"]).trim().parse().expect("an id");
    check(&world, Ok(Reference::Commit { id, branch: None }), expect!["sha1:MAIN"]).await;
    let choose: git::TagChooser = Arc::new(|tags| tags.iter().position(|tag| tag == "v1.10.0"));
    let semver = Reference::Semver { range: "1.x".to_owned(), choose };
    check(&world, Ok(semver), expect!["v1.10.0@sha1:MAIN"]).await;
}

#[tokio::test]
async fn what_does_not_exist_is_said_in_flux_words() {
    let world = world();
    check(
        &world,
        Reference::branch("nosuch"),
        expect![[r#"error: unable to clone 'URL': couldn't find remote ref "refs/heads/nosuch""#]],
    )
    .await;
    check(
        &world,
        Reference::branch("mai"),
        expect![[r#"error: unable to clone 'URL': couldn't find remote ref "refs/heads/mai""#]],
    )
    .await;
    check(
        &world,
        Reference::tag("v9"),
        expect![[r#"error: unable to clone 'URL': couldn't find remote ref "refs/tags/v9""#]],
    )
    .await;
    check(
        &world,
        Reference::name("refs/pull/2/head"),
        expect!["error: unable to resolve ref 'refs/pull/2/head' to a specific commit"],
    )
    .await;
    let choose: git::TagChooser = Arc::new(|_| None);
    let semver = Reference::Semver { range: ">9".to_owned(), choose };
    check(&world, Ok(semver), expect!["error: no match found for semver: >9"]).await;
}

#[tokio::test]
async fn an_empty_repository_is_said_to_be_empty() {
    let server = GitServer::start();
    server.create_repository::<&str, &str>("app", &[]);
    let world = World::on(server, Limits::default());
    check(&world, Reference::branch("main"), expect!["error: git repository is empty"]).await;
    let error = world.set("main", "a", "1").await.expect_err("nothing to change");
    assert_eq!(error.to_string(), "git repository is empty");
}

#[tokio::test]
async fn a_tag_is_fetched_only_when_it_is_asked_for() {
    let world = world();
    let main = Reference::branch("main").expect("valid");
    let tip = world.mirror().refresh(&main, &world.access).await.expect("it is there");
    assert_eq!(tip.resolved.revision[..10], *"main@sha1:");
    let fetched = world.server.traffic(RequestKind::Fetch);
    let tag = Reference::tag("v1.0.0").expect("valid");
    let tip = world.mirror_as("fresh").refresh(&tag, &world.access).await.expect("it is there");
    assert_eq!(tip.resolved.id.to_string(), world.server.git("app", &["rev-parse", "main"]).trim());
    assert!(world.server.traffic(RequestKind::Fetch).n_bytes_down > 2 * fetched.n_bytes_down);
}

#[tokio::test]
async fn limits_on_listings_hold() {
    let server = GitServer::start();
    server.create_repository("app", &[("a.txt", "1")]);
    let updates: String = (0..200).map(|n| format!("create refs/tags/t{n} main\n")).collect();
    let file = server.path("app").join("updates");
    std::fs::write(&file, updates).expect("a temporary folder");
    let script = format!("!git update-ref --stdin < '{}'", file.display());
    server.git("app", &["-c", &format!("alias.many={script}"), "many"]);
    let world = World::on(server, Limits { refs: 100, ..Limits::default() });
    let choose: git::TagChooser = Arc::new(|_| None);
    let semver = Reference::Semver { range: "*".to_owned(), choose };
    check(
        &world,
        Ok(semver),
        expect![
            "error: unable to clone 'URL': the server's answer exceeds the limit of 100 references"
        ],
    )
    .await;
}

async fn check(world: &World, reference: Result<Reference, git::RefNameError>, expected: Expect) {
    let reference = reference.expect("a valid name");
    let mirror = world.mirror();
    let resolved = mirror.resolve(&reference, &world.access).await;
    let fetched = mirror.refresh(&reference, &world.access).await;
    let shown = |result: Result<String, GitError>| match result {
        Ok(revision) => {
            let main = world.server.git("app", &["rev-parse", "main"]);
            revision.replace(main.trim(), "MAIN")
        }
        Err(error) => {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            format!("error: {error}{source}").replace(&mirror.url().to_string(), "URL")
        }
    };
    let resolved = shown(resolved.map(|resolved| resolved.revision));
    assert_eq!(resolved, shown(fetched.map(|tip| tip.resolved.revision)));
    expected.assert_eq(&resolved);
}
