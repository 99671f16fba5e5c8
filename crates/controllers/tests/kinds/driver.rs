//! What the driver does for every kind.

use std::{sync::Arc, time::Duration};

use controllers::{Settings, report::Readiness};
use expect_test::expect;

use super::{image_loop::three_environments, world::World};

/// A definition of the policies that accepts anything, as an older or foreign one may.
const LENIENT_POLICIES: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: imagepolicies.image.toolkit.fluxcd.io}
spec:
  group: image.toolkit.fluxcd.io
  scope: Namespaced
  names: {kind: ImagePolicy, listKind: ImagePolicyList, plural: imagepolicies, singular: imagepolicy}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_decoded_hurts_only_itself() {
    let mut definitions = api::crds().to_vec();
    definitions.retain(|definition| !definition.contains("imagepolicies.image.toolkit"));
    definitions.push(LENIENT_POLICIES);
    let world = World::with_definitions(&definitions);
    world.registry.push("app", "1.0.0");
    world.apply(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: a}
spec: {image: registry.example/app, interval: 5m}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: bad, namespace: a}
spec: {imageRepositoryRef: nonsense, policy: 5}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: good, namespace: a}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: '*'}}}
",
    );
    let summary = world.run_once().await;
    let ready: Vec<_> =
        summary.objects.iter().map(|object| (object.key.name.as_str(), object.ready)).collect();
    assert_eq!(
        ready,
        [("app", Readiness::Ready), ("bad", Readiness::Failed), ("good", Readiness::Ready)]
    );
    assert!(!summary.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_gets_its_finalizer_and_nothing_else() {
    let world = World::new();
    world.apply(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata:
  name: app
  namespace: a
  annotations: {reconcile.fluxcd.io/requestedAt: now}
spec: {image: registry.example/app, interval: 5m, suspend: true}
",
    );
    let summary = world.run_once().await;
    assert_eq!(summary.objects[0].ready, Readiness::Skipped);
    assert_eq!(summary.report.notices.len(), 1);
    let object = world.get("ImageRepository", "a", "app").await;
    assert_eq!(object["metadata"]["finalizers"][0], "finalizers.fluxcd.io");
    assert_eq!(object["status"]["lastHandledReconcileAt"], "now");
    assert_eq!(object["status"]["observedGeneration"], -1);
    assert_eq!(world.registry.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failing_object_is_retried_later_and_later_and_told_once() {
    let world = World::new();
    world.apply(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: a}
spec: {image: registry.example/app, interval: 5m, secretRef: {name: nosuch}}
",
    );
    let driver = Arc::new(world.driver(Settings::default()));
    world.run_for(&driver, Duration::from_secs(12)).await;
    // At 0, 0.75, 2.25, 5.25 and 11.25 seconds.
    expect![[r#"
        Warning ImageRepository/app AuthenticationFailed ×5: failed to configure authentication options: secrets "nosuch" not found
    "#]]
    .assert_eq(&world.events("a").await);
    expect![[r#"
        Reconciling True ProgressingWithRetry processing object: new generation -1 -> 1
        Ready False AuthenticationFailed failed to configure authentication options: secrets "nosuch" not found
    "#]]
    .assert_eq(&world.conditions("ImageRepository", "a", "app").await);
    // A finalizer, progress and the failure; then only the failure's count.
    let writes = world.take_writes();
    let n_status = writes.iter().filter(|write| write.ends_with("/status")).count();
    assert_eq!(n_status, 2, "{writes:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_is_let_go() {
    let world = three_environments();
    let driver = Arc::new(world.driver(Settings::default()));
    world.run_for(&driver, Duration::from_secs(5)).await;
    let repositories: kube::Api<api::image::ImageRepository> =
        kube::Api::namespaced(world.client(), "envs");
    repositories.delete("app", &kube::api::DeleteParams::default()).await.expect("it deletes");
    world.run_for(&driver, Duration::from_secs(5)).await;
    assert!(repositories.get_opt("app").await.expect("it answers").is_none());
    let key = controllers::ObjectKey::new("envs", "app");
    assert!(world.tags.get(&key).expect("the store works").is_none());
    // Its policies look again, and say that it is gone.
    let conditions = world.conditions("ImagePolicy", "envs", "dev").await;
    assert!(conditions.contains("Ready False DependencyNotReady"), "{conditions}");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_handled_once_and_echoed() {
    let world = three_environments();
    let driver = Arc::new(world.driver(Settings::default()));
    world.run_for(&driver, Duration::from_secs(5)).await;
    let n_before = world.registry.requests().len();
    let repositories: kube::Api<api::image::ImageRepository> =
        kube::Api::namespaced(world.client(), "envs");
    let patch = serde_json::json!({
        "metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "7"}},
    });
    let patch = kube::api::Patch::Merge(patch);
    let params = kube::api::PatchParams::default();
    repositories.patch("app", &params, &patch).await.expect("it patches");
    world.run_for(&driver, Duration::from_secs(60)).await;
    let requests = world.registry.requests();
    let n_lists = requests[n_before..].iter().filter(|r| r.contains("tags/list")).count();
    assert_eq!(n_lists, 1, "{requests:?}");
    let object = world.get("ImageRepository", "envs", "app").await;
    assert_eq!(object["status"]["lastHandledReconcileAt"], "7");
}

/// A tenant with many failing objects does not delay another one.
#[tokio::test(start_paused = true)]
async fn a_big_namespace_does_not_starve_a_small_one() {
    let world = World::new();
    for n in 0..200 {
        world.apply(&format!(
            "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: r{n:03}, namespace: big}}
spec: {{image: registry.example/r{n}, interval: 5m}}
"
        ));
    }
    world.apply(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: small}
spec: {image: registry.example/app, interval: 5m}
",
    );
    world.registry.push("app", "1.0.0");
    let settings = Settings { concurrency: 1, ..Settings::default() };
    world.run_once_with(settings).await;
    let requests = world.registry.requests();
    let lists: Vec<_> = requests.iter().filter(|r| r.contains("tags/list")).collect();
    let position = lists.iter().position(|r| r.contains("/v2/app/")).expect("it was scanned");
    assert!(position <= 1, "scanned as number {position} of {}", lists.len());
    assert_eq!(lists.len(), 201);
}

/// What was done is known although the API failed meanwhile: the status names the commit.
#[tokio::test(start_paused = true)]
async fn a_passing_fault_of_the_api_forgets_no_commit() {
    let world = three_environments();
    world.run_once().await;
    world.registry.push("app", "branch-dev-1715557000-f12a34b");
    world.faults.store(3, std::sync::atomic::Ordering::Relaxed);
    world.run_once().await;
    let automation = world.get("ImageUpdateAutomation", "envs", "dev").await;
    let tip = world.git.tip("fleet", "image-update-dev").expect("it is there");
    assert_eq!(automation["status"]["lastPushCommit"], tip);
}

/// A reconciler that panics is its object's failure; the others do not notice.
#[tokio::test(start_paused = true)]
async fn a_panic_hurts_only_its_object() {
    let world = World::new();
    world.registry.push("app", "1.0.0");
    world.registry.push("bad", "1.0.0");
    world.registry.intercept(|request| {
        assert!(!request.uri.path().contains("/v2/bad/"), "this registry panics");
        None
    });
    for name in ["app", "bad"] {
        world.apply(&format!(
            "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: {name}, namespace: a}}
spec: {{image: registry.example/{name}, interval: 5m}}
"
        ));
    }
    let summary = world.run_once().await;
    let ends: String = summary
        .objects
        .iter()
        .map(|o| format!("{} {:?} {} {}\n", o.key.name, o.ready, o.reason, o.message))
        .collect();
    expect![[r#"
        app Ready Succeeded successful scan: found 1 tags with checksum sha256:59854984853104df5c353e2f681a15fc7924742f9a2e468c29af248dce45ce03
        bad Failed Failed internal error: the reconciler panicked; its log has the details
    "#]].assert_eq(&ends);
}
