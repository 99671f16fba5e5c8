//! The effects on an API in memory, under a paused clock.

use std::time::Duration;

use api::{Kind, annotation};
use apiserver::Server;
use clock::Clock;
use cluster::{Cluster, Error, Selection, Unready, Upserted};
use kube::{
    Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(300);

struct World {
    server: Server,
    cluster: Cluster,
}

impl World {
    fn new() -> World {
        let start = "2026-11-22T21:00:00Z".parse().expect("a time");
        let clock = Clock::starting_at(start);
        let server = Server::in_memory(clock.clone());
        for definition in api::crds() {
            server.install_yaml(definition).expect("our own definitions");
        }
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}});
        server.load(&namespace).expect("a namespace");
        let cluster = Cluster::new(Client::new(server.router(), "default"), clock);
        World { server, cluster }
    }

    fn api(&self, kind: Kind) -> kube::Api<DynamicObject> {
        kube::Api::namespaced_with(self.cluster.client().clone(), "apps", &resource(kind))
    }

    /// Writes what a controller would.
    async fn tell(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        let api = self.api(Kind::ImageRepository);
        api.patch_status(name, &PatchParams::default(), &patch).await.expect("a status");
    }
}

fn resource(kind: Kind) -> ApiResource {
    let names = kind.names();
    let gvk = GroupVersionKind::gvk(names.group, names.version, names.kind);
    ApiResource::from_gvk_with_plural(&gvk, names.plural)
}

fn repository(name: &str, interval: &str, labels: Value) -> DynamicObject {
    let mut object = DynamicObject::new(name, &resource(Kind::ImageRepository)).within("apps");
    object.metadata.labels = serde_json::from_value(labels).expect("labels");
    object.data = json!({"spec": {
        "image": "ghcr.io/acme/web", "interval": interval,
        "provider": "generic", "exclusionList": ["^.*\\.sig$"],
    }});
    object
}

fn ready(generation: i64, status: &str) -> Value {
    json!({"observedGeneration": generation, "conditions": [{
        "type": "Ready", "status": status, "reason": "Succeeded", "message": "m",
        "observedGeneration": generation, "lastTransitionTime": "2026-11-22T21:00:00Z",
    }]})
}

#[tokio::test(start_paused = true)]
async fn an_object_is_created_then_left_alone_then_updated() {
    let world = World::new();
    let upsert = async |interval: &str, labels: Value| {
        let object = repository("web", interval, labels);
        world.cluster.create_or_update(Kind::ImageRepository, &object).await.expect("it is taken")
    };
    assert_eq!(upsert("5m", json!(null)).await, Upserted::Created);
    assert_eq!(upsert("5m0s", json!({})).await, Upserted::Unchanged);
    assert_eq!(upsert("5m0s", json!({"a": "b"})).await, Upserted::Updated);
    assert_eq!(upsert("6m0s", json!({"a": "b"})).await, Upserted::Updated);
    assert_eq!(upsert("6m0s", json!({})).await, Upserted::Updated, "labels that were dropped");
    let object =
        world.cluster.get(Kind::ImageRepository, "apps", "web").await.expect("it is there");
    assert_eq!(object.metadata.generation, Some(2));
    assert_eq!(object.metadata.labels, None);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_latest_generation_a_failure_or_time() {
    let world = World::new();
    world.server.load(&json!(repository("web", "5m", json!(null)))).expect("it is taken");
    let wait = async || {
        let waited = world.cluster.wait_ready(Kind::ImageRepository, "apps", "web", TIMEOUT).await;
        waited.map(|object| object.metadata.name).map_err(|error| error.to_string())
    };
    let late = Err("context deadline exceeded".to_owned());
    assert_eq!(wait().await, late, "nothing was told");
    world.tell("web", ready(1, "True")).await;
    assert_eq!(wait().await, Ok(Some("web".to_owned())));

    let object = repository("web", "6m", json!(null));
    world.cluster.create_or_update(Kind::ImageRepository, &object).await.expect("it is taken");
    assert_eq!(wait().await, late, "the word is of an older generation");
    world.tell("web", ready(2, "False")).await;
    assert_eq!(wait().await, late, "not ready is on its way");
    let stalled = json!({"conditions": [
        {"type": "Stalled", "status": "True", "reason": "R", "message": "no such thing",
         "lastTransitionTime": "2026-11-22T21:00:00Z"},
        ready(2, "False")["conditions"][0],
    ]});
    world.tell("web", stalled).await;
    assert_eq!(wait().await, Err("no such thing".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_handled_when_the_object_says_so() {
    let world = World::new();
    world.server.load(&json!(repository("web", "5m", json!(null)))).expect("it is taken");
    world.tell("web", ready(1, "True")).await;
    let cluster = &world.cluster;
    cluster.request_reconciliation(Kind::ImageRepository, "apps", "web").await.expect("written");
    let waiting = cluster.wait_handled(Kind::ImageRepository, "apps", "web", "", TIMEOUT);
    let handling = async {
        cluster.clock().sleep(Duration::from_secs(10)).await;
        let object = cluster.get(Kind::ImageRepository, "apps", "web").await.expect("it is there");
        let requested = object.metadata.annotations.expect("one")[annotation::REQUESTED_AT].clone();
        world.tell("web", json!({"lastHandledReconcileAt": requested})).await;
    };
    let (waited, ()) = tokio::join!(waiting, handling);
    waited.expect("it was handled");
    let unready = cluster.wait_handled(Kind::ImageRepository, "apps", "nosuch", "", TIMEOUT).await;
    let Err(Unready::Api(Error::NotFound(_))) = unready else { panic!("{unready:?}") };
}

#[tokio::test(start_paused = true)]
async fn resting_is_written_once_and_ends_without_a_trace() {
    let world = World::new();
    world.server.load(&json!(repository("web", "5m", json!(null)))).expect("it is taken");
    let set = async |suspended: bool| {
        let cluster = &world.cluster;
        let object = cluster.get(Kind::ImageRepository, "apps", "web").await.expect("it is there");
        let set = cluster.set_suspended(Kind::ImageRepository, &object, suspended).await;
        let set = set.expect("it is taken");
        (set.data["spec"]["suspend"].clone(), set.metadata.generation)
    };
    assert_eq!(set(false).await, (json!(null), Some(1)));
    assert_eq!(set(true).await, (json!(true), Some(2)));
    assert_eq!(set(true).await, (json!(true), Some(2)));
    assert_eq!(set(false).await, (json!(null), Some(3)));
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_read_to_its_end() {
    let world = World::new();
    for n in 0..1201 {
        let labels = json!({"part": if n % 2 == 0 { "even" } else { "odd" }});
        let object = repository(&format!("web-{n:04}"), "5m", labels);
        world.server.load(&json!(object)).expect("it is taken");
    }
    let count = async |selection: Selection<'_>| {
        world.cluster.list(Kind::ImageRepository, &selection).await.expect("a listing").len()
    };
    assert_eq!(count(Selection::default()).await, 1201);
    assert_eq!(count(Selection { labels: "part=odd", ..Selection::default() }).await, 600);
    let one = Selection { namespace: Some("apps"), name: Some("web-0007"), labels: "" };
    assert_eq!(count(one).await, 1);
    assert_eq!(count(Selection { namespace: Some("others"), ..one }).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_told_from_an_object_that_is_not_there() {
    let clock = Clock::real();
    let bare = Server::in_memory(clock.clone());
    let cluster = Cluster::new(Client::new(bare.router(), "default"), clock);
    let listed = cluster.list(Kind::ImagePolicy, &Selection::default()).await;
    let error = listed.expect_err("it is not defined");
    assert!(error.is_unknown_kind());
    let expected = r#"no matches for kind "ImagePolicy" in version "image.toolkit.fluxcd.io/v1""#;
    assert_eq!(error.to_string(), expected);
    let world = World::new();
    let error =
        world.cluster.get(Kind::ImagePolicy, "apps", "nosuch").await.expect_err("not there");
    assert_eq!(error.to_string(), r#"imagepolicies.image.toolkit.fluxcd.io "nosuch" not found"#);
}
