//! Markers without effect, policies that may not be written, and what is refused.

use controllers::Settings;
use expect_test::{Expect, expect};

use super::world::World;

const OBJECTS: &str = "
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
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: '*'}}}
";

fn automation(spec: &str) -> String {
    format!(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {{name: app, namespace: a}}
spec:
  interval: 5m
  sourceRef: {{kind: GitRepository, name: fleet}}
{spec}"
    )
}

const GIT: &str = "  git: {commit: {author: {email: flux@example.com}}}\n";

fn world(files: &[(&str, &str)]) -> World {
    let world = World::new();
    world.repository("fleet", "main", files);
    world.registry.push("app", "1.2.3");
    world.apply(OBJECTS);
    world
}

#[tokio::test(start_paused = true)]
async fn markers_without_effect_are_listed_and_stop_nobody() {
    let world = world(&[
        ("good.yaml", "tag: x # {\"$imagepolicy\": \"a:app:tag\"}\n"),
        ("unknown.yaml", "\ntag: x # {\"$imagepolicy\": \"a:nosuch:tag\"}\n"),
        ("broken.yaml", "a: [\ntag: x # {\"$imagepolicy\": \"a:app:tag\"}\n"),
        ("suffix.yaml", "tag: x # {\"$imagepolicy\": \"a:app:tog\"}\n"),
    ]);
    world.apply(&automation(GIT));
    let summary = world.run_once().await;
    assert!(summary.is_ok());
    assert_eq!(summary.report.commits.len(), 1);
    let problems: String = summary
        .report
        .problems
        .iter()
        .map(|p| format!("{}:{}:{} {}\n", p.file, p.line, p.column, p.reason))
        .collect();
    expect![[r#"
        broken.yaml:1:4 Unreadable
        suffix.yaml:1:8 Setter
        unknown.yaml:2:6 UnknownPolicy
    "#]]
    .assert_eq(&problems);
    expect![[r#"
        Ready True Succeeded repository up-to-date
        MarkersIgnored True MarkersIgnored broken.yaml:1:4: Unreadable: the file holds markers but does not parse: unclosed bracket '['
        suffix.yaml:1:8: Setter: marker `a:app:tog` has no effect: after the policy only `:tag`, `:name` or `:digest` may follow
        unknown.yaml:2:6: UnknownPolicy: marker `a:nosuch:tag` has no effect: no namespace has the policy a/nosuch
    "#]].assert_eq(&world.conditions("ImageUpdateAutomation", "a", "app").await);
    // The event says it once.
    world.run_once().await;
    let events = world.events("a").await;
    let told: Vec<_> = events.lines().filter(|line| line.contains("MarkersIgnored")).collect();
    assert_eq!(told.len(), 1, "{events}");
    assert!(told[0].contains("×1"), "{events}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_policy_is_not_written_and_a_failing_scan_withholds_nothing() {
    let marked = |tag: &str| format!("tag: {tag} # {{\"$imagepolicy\": \"a:app:tag\"}}\n");
    let world = world(&[("app.yaml", &marked("0"))]);
    world.apply(&automation(GIT));
    world.run_once().await;
    assert_eq!(world.file("fleet", "main", "app.yaml"), marked("1.2.3"));
    // The file is set back, and the policy of the new generation fails: nothing is written.
    let back = [("app.yaml", marked("0"))];
    let human = super::world::human();
    world.git.commit("fleet", "main", &back, &human, "Back\n").expect("it commits");
    let policy = OBJECTS.rsplit("---").next().unwrap_or_default();
    world.apply(&policy.replace("range: '*'", "range: '>=99'"));
    let summary = world.run_once().await;
    assert!(!summary.is_ok());
    assert_eq!(world.file("fleet", "main", "app.yaml"), marked("0"));
    // With the old spec, and a registry that is down, the standing choice is written.
    world.apply(policy);
    world.registry.intercept(|_| {
        Some(axum::response::IntoResponse::into_response(axum::http::StatusCode::FORBIDDEN))
    });
    world.run_once().await;
    assert_eq!(world.file("fleet", "main", "app.yaml"), marked("1.2.3"));
}

#[tokio::test(start_paused = true)]
async fn an_assumed_choice_needs_no_registry() {
    let marked = |tag: &str| format!("tag: {tag} # {{\"$imagepolicy\": \"a:app:tag\"}}\n");
    let world = world(&[("app.yaml", &marked("0"))]);
    world.apply(&automation(GIT));
    let choice = api::image::ImageRef {
        name: "registry.example/app".to_owned(),
        tag: "7.0.1".to_owned(),
        digest: None,
    };
    let key = controllers::ObjectKey::new("a", "app");
    let assumed = Some([(key, choice)].into());
    world.run_once_with(Settings { assumed, ..Settings::default() }).await;
    assert_eq!(world.file("fleet", "main", "app.yaml"), marked("7.0.1"));
    assert_eq!(world.registry.requests(), Vec::<String>::new());
}

async fn refused(spec: &str, expected: Expect) {
    let world = world(&[("app.yaml", "tag: x # {\"$imagepolicy\": \"a:app:tag\"}\n")]);
    world.apply(&automation(spec));
    let summary = world.run_once().await;
    assert_eq!(summary.report.commits, []);
    expected.assert_eq(&world.conditions("ImageUpdateAutomation", "a", "app").await);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_supported_is_refused_and_nothing_is_pushed() {
    refused(
        "  git: {commit: {author: {email: a@b.c}, signingKey: {secretRef: {name: k}}}}\n",
        expect![[r#"
            Stalled True NotSupported spec.git.commit.signingKey is not supported yet, and nothing is pushed unsigned
            Ready False NotSupported spec.git.commit.signingKey is not supported yet, and nothing is pushed unsigned
        "#]],
    )
    .await;
    refused(
        "  git: {commit: {author: {email: a@b.c}, messageTemplate: '{{ .Updated.Images }}'}}\n",
        expect![[r#"
            Stalled True RemovedTemplateField template uses removed '.Updated' field. Please use '.Changed' instead. See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template
            Ready False RemovedTemplateField template uses removed '.Updated' field. Please use '.Changed' instead. See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template
        "#]],
    )
    .await;
    refused("", expect![[r#"
        Stalled True InvalidSourceConfiguration source kind 'GitRepository' necessitates field .spec.git: invalid source configuration
        Ready False InvalidSourceConfiguration source kind 'GitRepository' necessitates field .spec.git: invalid source configuration
    "#]]).await;
}
