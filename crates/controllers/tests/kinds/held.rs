//! Never backwards by accident.

use std::time::Duration;

use controllers::Settings;
use expect_test::{Expect, expect};

use super::world::World;

const MANIFESTS: &str = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: a}
spec: {interval: 1m, ref: {branch: main}, url: 'https://git.example/fleet.git'}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: a}
spec: {image: registry.example/app, interval: 5m}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: a}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: '>=1.0.0'}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {name: app, namespace: a}
spec:
  interval: 5m
  sourceRef: {kind: GitRepository, name: fleet}
  git: {commit: {author: {email: flux@example.com}}}
";

fn world(marker: &str, tags: &[&str]) -> World {
    let world = World::new();
    world.repository("fleet", "main", &[("app.yaml", marker)]);
    for tag in tags {
        world.registry.push("app", tag);
    }
    world.apply(MANIFESTS);
    world
}

fn marked(tag: &str) -> String {
    format!("tag: {tag} # {{\"$imagepolicy\": \"a:app:tag\"}}\n")
}

async fn check(world: &World, file: &str, conditions: Expect) {
    assert_eq!(world.file("fleet", "main", "app.yaml"), file);
    conditions.assert_eq(&world.conditions("ImagePolicy", "a", "app").await);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_gone_is_left_only_after_a_second_listing_a_minute_later() {
    let world = world(&marked("0"), &["1.0.0", "2.0.0"]);
    world.run_once().await;
    world.registry.delete("app", "2.0.0");
    world.run_once().await;
    check(&world, &marked("2.0.0"), expect![[r#"
        Ready True Succeeded Latest image tag for registry.example/app resolved to 2.0.0
        Held True RemovalUnconfirmed holding 2.0.0: the latest listed tag 1.0.0 ranks below it, and the registry does not have it, which a later complete listing must confirm; to move now, annotate the policy with tagtide.dev/allow-older=1.0.0
    "#]]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.run_once().await;
    assert_eq!(world.file("fleet", "main", "app.yaml"), marked("2.0.0"));
    tokio::time::sleep(Duration::from_secs(31)).await;
    world.run_once().await;
    check(&world, &marked("1.0.0"), expect![[r#"
        Ready True Succeeded Latest image tag for registry.example/app resolved to 1.0.0 (previously registry.example/app:2.0.0): 2.0.0 left the registry
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_a_listing_lost_but_the_registry_has_stays() {
    let world = world(&marked("0"), &["1.0.0", "2.0.0"]);
    world.run_once().await;
    // The last page never comes, and nothing says so.
    world.registry.intercept(|request| {
        let path = request.uri.path();
        path.ends_with("/tags/list").then(|| {
            axum::response::IntoResponse::into_response((
                [("content-type", "application/json")],
                r#"{"name":"app","tags":["1.0.0"]}"#,
            ))
        })
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(300)).await;
        let summary = world.run_once().await;
        assert!(summary.is_ok());
        assert_eq!(summary.report.notices.len(), 1);
        assert_eq!(summary.report.commits, []);
    }
    check(&world, &marked("2.0.0"), expect![[r#"
        Ready True Succeeded Latest image tag for registry.example/app resolved to 2.0.0
        Held True TagStillPresent holding 2.0.0: the latest listed tag 1.0.0 ranks below it, and the registry still has it, though it is not listed; to move now, annotate the policy with tagtide.dev/allow-older=1.0.0
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_without_state_takes_the_markers_for_the_choice_before() {
    let world = world(&marked("2.0.0"), &["1.0.0"]);
    let settings = Settings { keeps_state: false, ..Settings::default() };
    let summary = world.run_once_with(settings).await;
    assert!(summary.is_ok());
    let notices: String = summary.report.notices.iter().map(|n| n.message.clone()).collect();
    assert!(notices.contains("--state") && notices.contains("allow-older"), "{notices}");
    check(&world, &marked("2.0.0"), expect![[r#"
        Ready True Succeeded Latest image tag for registry.example/app resolved to 2.0.0
        Held True RemovalUnconfirmed holding 2.0.0: the latest listed tag 1.0.0 ranks below it, and the registry does not have it, which a run without kept state cannot confirm; to move now, annotate the policy with tagtide.dev/allow-older=1.0.0, or keep state between runs with --state so that a later run can confirm
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_without_rank_holds_nothing() {
    let world = world(&marked("branch-dev"), &["1.0.0"]);
    let settings = Settings { keeps_state: false, ..Settings::default() };
    world.run_once_with(settings).await;
    check(
        &world,
        &marked("1.0.0"),
        expect![[r#"
        Ready True Succeeded Latest image tag for registry.example/app resolved to 1.0.0
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn allow_older_overrides_for_one_tag() {
    let world = world(&marked("2.0.0"), &["1.0.0", "2.0.0"]);
    world.run_once().await;
    world.registry.delete("app", "2.0.0");
    world.apply(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: a, annotations: {tagtide.dev/allow-older: 1.0.0}}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: '>=1.0.0'}}}
",
    );
    world.run_once().await;
    check(&world, &marked("1.0.0"), expect![[r#"
        Ready True Succeeded Latest image tag for registry.example/app resolved to 1.0.0 (previously registry.example/app:2.0.0)
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn another_spec_may_choose_an_older_tag() {
    let world = world(&marked("0"), &["1.0.0", "2.0.0"]);
    world.run_once().await;
    world.apply(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: a}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: '1.x'}}}
",
    );
    world.run_once().await;
    check(&world, &marked("1.0.0"), expect![[r#"
        Ready True Succeeded Latest image tag for registry.example/app resolved to 1.0.0 (previously registry.example/app:2.0.0)
    "#]]).await;
}
