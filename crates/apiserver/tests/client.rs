//! The server as a Kubernetes client sees it.

use std::{collections::BTreeMap, time::Duration};

use apiserver::Server;
use clock::Clock;
use expect_test::{Expect, expect};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Secret};
use kube::{
    Api, Client, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        Preconditions,
    },
    core::GroupVersionKind,
    runtime::watcher,
};
use serde_json::{Value, json};

const DEFINITION: &str = include_str!("widgets.yaml");

#[tokio::test]
async fn an_object_lives_and_dies() {
    let widgets = World::new().widgets("shop");
    let made = widgets.create(&PostParams::default(), &widget("a", json!({"size": 1}))).await;
    let made = made.expect("nothing is in the way");
    assert_eq!(made.metadata.generation, Some(1));
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    check(&made, expect![[r#"{"spec":{"color":"red","size":1},"status":{"observed":-1}}"#]]);

    let status = json!({"status": {"observed": 1, "note": "fine"}, "spec": {"size": 7}});
    let patched = widgets.patch_status("a", &PatchParams::default(), &Patch::Merge(&status)).await;
    let patched = patched.expect("a status may be patched");
    assert_eq!(patched.metadata.generation, Some(1));
    check(
        &patched,
        expect![[r#"{"spec":{"color":"red","size":1},"status":{"note":"fine","observed":1}}"#]],
    );

    let spec = json!({"status": {"observed": 9}, "spec": {"size": 2}});
    let patched = widgets.patch("a", &PatchParams::default(), &Patch::Merge(&spec)).await;
    let patched = patched.expect("a spec may be patched");
    assert_eq!(patched.metadata.generation, Some(2));
    check(
        &patched,
        expect![[r#"{"spec":{"color":"red","size":2},"status":{"note":"fine","observed":1}}"#]],
    );

    let again = widgets.patch("a", &PatchParams::default(), &Patch::Merge(&spec)).await;
    assert_eq!(again.expect("a patch may change nothing").metadata, patched.metadata);

    let gone = widgets.delete("a", &DeleteParams::default()).await.expect("it is there");
    let gone = gone.right().expect("nothing holds it");
    assert_eq!(gone.details.map(|d| d.uid), made.metadata.uid);
    check_error(
        widgets.get("a").await,
        expect![[r#"404 NotFound widgets.example.com "a" not found"#]],
    );
}

#[tokio::test]
async fn objects_of_built_in_kinds_are_kept() {
    let world = World::new();
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "shop");
    let secret = Secret {
        metadata: kube::api::ObjectMeta { name: Some("s".into()), ..Default::default() },
        string_data: Some(BTreeMap::from([("user".into(), "me".into())])),
        ..Default::default()
    };
    let secret = secrets.create(&PostParams::default(), &secret).await.expect("a sound secret");
    assert_eq!(secret.data.expect("data")["user"].0, b"me");
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    check_error(secrets.get("x").await, expect![[r#"404 NotFound secrets "x" not found"#]]);

    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = namespaces.get("shop").await.expect("it was made");
    assert_eq!(namespace.labels()["kubernetes.io/metadata.name"], "shop");
    namespaces.delete("shop", &DeleteParams::default()).await.expect("it is there");
    assert!(secrets.get("s").await.is_err(), "what lived in a namespace goes with it");

    let lost: Api<ConfigMap> = Api::namespaced(world.client.clone(), "shop");
    let map = serde_json::from_value(json!({"metadata": {"name": "m"}})).expect("a map");
    check_error(
        lost.create(&PostParams::default(), &map).await,
        expect![[r#"404 NotFound namespaces "shop" not found"#]],
    );
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "n1");
    let map = serde_json::from_value(json!({"metadata": {"generateName": "m-"}})).expect("a map");
    let map = maps.create(&PostParams::default(), &map).await.expect("a name is made");
    assert!(map.name_any().len() == 7 && map.name_any().starts_with("m-"));
}

#[tokio::test]
async fn both_kinds_of_events_are_one() {
    let world = World::new();
    let new: Api<k8s_openapi::api::events::v1::Event> =
        Api::namespaced(world.client.clone(), "shop");
    let event = json!({
        "metadata": {"name": "e"},
        "regarding": {"kind": "Widget", "name": "a"},
        "note": "it broke",
        "reason": "Broken",
        "type": "Warning",
        "eventTime": "2026-01-02T03:04:05.000000Z",
    });
    let event = serde_json::from_value(event).expect("an event");
    new.create(&PostParams::default(), &event).await.expect("a sound event");
    let old: Api<Event> = Api::namespaced(world.client.clone(), "shop");
    let parameters = ListParams::default().fields("involvedObject.name=a,type=Warning");
    let events = old.list(&parameters).await.expect("events are listed").items;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].message.as_deref(), Some("it broke"));
    assert_eq!(events[0].involved_object.kind.as_deref(), Some("Widget"));
}

#[tokio::test]
async fn a_stale_writer_is_refused() {
    let widgets = World::new().widgets("shop");
    let made = widgets.create(&PostParams::default(), &widget("a", json!({"size": 1}))).await;
    let mut first = made.expect("nothing is in the way");
    let mut second = first.clone();
    first.data["spec"]["size"] = json!(2);
    second.data["spec"]["size"] = json!(3);
    widgets.replace("a", &PostParams::default(), &first).await.expect("the first is in time");
    check_error(
        widgets.replace("a", &PostParams::default(), &second).await,
        expect![[
            r#"409 Conflict Operation cannot be fulfilled on widgets.example.com "a": the object has been modified; please apply your changes to the latest version and try again"#
        ]],
    );
    second.metadata.resource_version = None;
    check_error(
        widgets.replace("a", &PostParams::default(), &second).await,
        expect![[
            r#"422 Invalid widgets.example.com "a" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"#
        ]],
    );
    check_error(
        widgets.create(&PostParams::default(), &widget("a", json!({"size": 1}))).await,
        expect![[r#"409 AlreadyExists widgets.example.com "a" already exists"#]],
    );
    let other = Preconditions { uid: Some("x".into()), ..Default::default() };
    let parameters = DeleteParams { preconditions: Some(other), ..Default::default() };
    assert!(widgets.delete("a", &parameters).await.is_err());
}

#[tokio::test]
async fn concurrent_patches_all_count() {
    let world = World::new();
    let widgets = world.widgets("shop");
    let made = widgets.create(&PostParams::default(), &widget("a", json!({"size": 1}))).await;
    made.expect("nothing is in the way");
    let writers = (0..8).map(|writer| {
        let widgets = world.widgets("shop");
        tokio::spawn(async move {
            for n in 0..20 {
                let labels = json!({"metadata": {"labels": {format!("w{writer}-{n}"): ""}}});
                let patch = Patch::Merge(&labels);
                widgets.patch("a", &PatchParams::default(), &patch).await.expect("no conflict");
            }
        })
    });
    futures::future::join_all(writers).await;
    let widget = widgets.get("a").await.expect("it is there");
    assert_eq!(widget.labels().len(), 160);
    assert_eq!(widget.metadata.generation, Some(1));
}

#[tokio::test]
async fn concurrent_replacements_conflict_but_never_get_lost() {
    let world = World::new();
    let widgets = world.widgets("shop");
    let made = widgets.create(&PostParams::default(), &widget("a", json!({"size": 0}))).await;
    made.expect("nothing is in the way");
    let writers = (0..4).map(|_| {
        let widgets = world.widgets("shop");
        tokio::spawn(async move {
            let mut n_written = 0;
            while n_written < 25 {
                let mut widget = widgets.get("a").await.expect("it is there");
                let size = widget.data["spec"]["size"].as_i64().expect("a number");
                widget.data["spec"]["size"] = json!(size + 1);
                tokio::task::yield_now().await;
                n_written +=
                    i32::from(widgets.replace("a", &PostParams::default(), &widget).await.is_ok());
            }
        })
    });
    futures::future::join_all(writers).await;
    check(
        &widgets.get("a").await.expect("it is there"),
        expect![[r#"{"spec":{"color":"red","size":100},"status":{"observed":-1}}"#]],
    );
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let widgets = World::new().widgets("shop");
    let mut object = widget("a", json!({"size": 1}));
    object.metadata.finalizers = Some(vec!["example.com/x".into()]);
    widgets.create(&PostParams::default(), &object).await.expect("nothing is in the way");
    let held = widgets.delete("a", &DeleteParams::default()).await.expect("it is there");
    let held = held.left().expect("the finalizer holds it");
    assert!(held.metadata.deletion_timestamp.is_some());
    let more = json!({"metadata": {"finalizers": ["example.com/x", "example.com/y"]}});
    check_error(
        widgets.patch("a", &PatchParams::default(), &Patch::Merge(&more)).await,
        expect![[
            r#"422 Invalid Widget.example.com "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/y"}"#
        ]],
    );
    let none = json!({"metadata": {"finalizers": null}});
    widgets.patch("a", &PatchParams::default(), &Patch::Merge(&none)).await.expect("let go");
    assert!(widgets.get_opt("a").await.expect("the server answers").is_none());
}

#[tokio::test]
async fn lists_come_in_pages_and_by_selector() {
    let world = World::new();
    for (namespace, name) in [("n1", "a"), ("n1", "b"), ("n1", "c"), ("n2", "a")] {
        let mut object = widget(name, json!({"size": 1}));
        object.labels_mut().insert("name".into(), name.into());
        let widgets = world.widgets(namespace);
        widgets.create(&PostParams::default(), &object).await.expect("nothing is in the way");
    }
    let all = world.all_widgets();
    let names = |list: &kube::api::ObjectList<DynamicObject>| -> String {
        let names =
            list.iter().map(|w| format!("{}/{}", w.namespace().unwrap_or_default(), w.name_any()));
        names.collect::<Vec<_>>().join(" ")
    };
    let first = all.list(&ListParams::default().limit(3)).await.expect("a page");
    assert_eq!(names(&first), "n1/a n1/b n1/c");
    let token = first.metadata.continue_.as_deref().expect("there is more");
    let rest = all.list(&ListParams::default().limit(3).continue_token(token)).await;
    assert_eq!(names(&rest.expect("a page")), "n2/a");
    let own = world.widgets("n1").list(&ListParams::default().labels("name in (b,c)")).await;
    assert_eq!(names(&own.expect("a list")), "n1/b n1/c");
    let named = all.list(&ListParams::default().fields("metadata.name=a")).await;
    assert_eq!(names(&named.expect("a list")), "n1/a n2/a");
    check_error(
        all.list(&ListParams::default().fields("spec.size=1")).await,
        expect!["400 BadRequest field label not supported: spec.size"],
    );
}

#[tokio::test]
async fn json_patches_apply_and_others_are_refused() {
    let widgets = World::new().widgets("shop");
    let made = widgets.create(&PostParams::default(), &widget("a", json!({"size": 1}))).await;
    made.expect("nothing is in the way");
    let patch = |operations: Value| {
        Patch::<()>::Json(serde_json::from_value(operations).expect("a JSON patch"))
    };
    let parameters = PatchParams::default();
    let grow = patch(json!([
        {"op": "test", "path": "/spec/size", "value": 1},
        {"op": "replace", "path": "/spec/size", "value": 5},
    ]));
    check(
        &widgets.patch("a", &parameters, &grow).await.expect("it fits"),
        expect![[r#"{"spec":{"color":"red","size":5},"status":{"observed":-1}}"#]],
    );
    check_error(
        widgets.patch("a", &parameters, &grow).await,
        expect![[
            r#"422 Invalid cannot apply the patch to widgets.example.com "a": operation '/0' failed at path '/spec/size': value did not match"#
        ]],
    );
    let mut copies = vec![
        json!({"op": "add", "path": "/metadata/annotations", "value": {"a": "xxxxxxxxxxxxxxxx"}}),
    ];
    copies
        .extend((0..60).map(
            |n| json!({"op": "copy", "from": "/metadata", "path": format!("/metadata/a{n}")}),
        ));
    check_error(
        widgets.patch("a", &parameters, &patch(json!(copies))).await,
        expect!["413 RequestEntityTooLarge Request entity too large: limit is 3145728"],
    );
    let strategic = Patch::Strategic(json!({"spec": {"size": 6}}));
    check_error(
        widgets.patch("a", &parameters, &strategic).await,
        expect![
            "415 UnsupportedMediaType the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        ],
    );
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let widgets = World::new().widgets("shop");
    let dry = PostParams { dry_run: true, ..Default::default() };
    let made = widgets.create(&dry, &widget("a", json!({"size": 1}))).await;
    check(
        &made.expect("it would work"),
        expect![[r#"{"spec":{"color":"red","size":1},"status":{"observed":-1}}"#]],
    );
    assert!(widgets.get_opt("a").await.expect("the server answers").is_none());
    check_error(
        widgets.create(&dry, &widget("a", json!({"size": 5000}))).await,
        expect![[
            r#"422 Invalid Widget.example.com "a" is invalid: spec.size: Invalid value: 5000: spec.size in body should be less than or equal to 1000"#
        ]],
    );
}

#[tokio::test]
async fn loading_creates_or_replaces() {
    let world = World::new();
    let mut object = json!({
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "a", "namespace": "shop", "resourceVersion": "7", "uid": "u"},
        "spec": {"size": 1},
        "status": {"observed": 5},
    });
    let first = world.server.load(&object).expect("a sound object");
    assert_eq!(
        (&first["status"], &first["metadata"]["generation"]),
        (&json!({"observed": -1}), &json!(1))
    );
    object["spec"]["size"] = json!(2);
    let second = world.server.load(&object).expect("a sound object");
    assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(second["metadata"]["generation"], 2);
    let third = world.server.load_status(&object).expect("a sound status");
    assert_eq!(
        (&third["status"], &third["metadata"]["generation"]),
        (&json!({"observed": 5}), &json!(2))
    );
    object["kind"] = json!("Gadget");
    let error = world.server.load(&object).expect_err("nobody defined gadgets");
    assert_eq!(
        error.to_string(),
        r#"no resource is defined for kind "Gadget" of "example.com/v1""#
    );
}

#[tokio::test]
async fn watchers_see_the_start_and_every_change() {
    for strategy in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let world = World::new();
        let widgets = world.widgets("shop");
        for name in ["a", "b"] {
            let object = widget(name, json!({"size": 1}));
            widgets.create(&PostParams::default(), &object).await.expect("nothing is in the way");
        }
        let config = strategy.labels("hidden!=yes");
        let mut events = watcher(world.all_widgets(), config).boxed();
        let mut seen = String::new();
        while !seen.contains("done") {
            show(&mut seen, events.try_next().await.expect("no error").expect("no end"));
        }
        let hide = json!({"metadata": {"labels": {"hidden": "yes"}}});
        widgets.patch("a", &PatchParams::default(), &Patch::Merge(&hide)).await.expect("a patch");
        let unhide = json!({"metadata": {"labels": {"hidden": "no"}}});
        widgets.patch("a", &PatchParams::default(), &Patch::Merge(&unhide)).await.expect("a patch");
        widgets.delete("b", &DeleteParams::default()).await.expect("it is there");
        while !seen.contains("-b") {
            show(&mut seen, events.try_next().await.expect("no error").expect("no end"));
        }
        assert_eq!(seen, "init +a +b done -a +a -b ");
        let silence = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
        assert!(silence.is_err());
    }
}

#[tokio::test]
async fn a_list_and_the_watch_from_it_give_the_final_state() {
    let world = World::new();
    let mut random = Random(42);
    for round in 0..20 {
        let writer = {
            let widgets = world.widgets("shop");
            let mut random = Random(random.next(u64::MAX));
            tokio::spawn(async move {
                for n in 0..60 {
                    let name = format!("w{}", random.next(6));
                    // Whether an object is there is left to chance, and so is the outcome.
                    let _ = match random.next(3) {
                        0 => widgets.delete(&name, &DeleteParams::default()).await.is_ok(),
                        1 => {
                            let object = widget(&name, json!({"size": n % 10}));
                            widgets.create(&PostParams::default(), &object).await.is_ok()
                        }
                        _ => {
                            let patch = json!({"spec": {"size": n % 10}});
                            let patch = Patch::Merge(&patch);
                            widgets.patch(&name, &PatchParams::default(), &patch).await.is_ok()
                        }
                    };
                    tokio::task::yield_now().await;
                }
            })
        };
        for _ in 0..random.next(100) {
            tokio::task::yield_now().await;
        }
        let widgets = world.widgets("shop");
        let list = widgets.list(&ListParams::default()).await.expect("a list");
        let mut state: BTreeMap<String, Value> =
            list.items.iter().map(|w| (w.name_any(), w.data.clone())).collect();
        writer.await.expect("the writer ends");
        let end = DynamicObject::new(&format!("end{round}"), &World::resource());
        let end = DynamicObject { data: json!({"spec": {"size": 0}}), ..end };
        widgets.create(&PostParams::default(), &end).await.expect("nothing is in the way");
        let version = list.metadata.resource_version.expect("a list has a version");
        let mut changes =
            widgets.watch(&Default::default(), &version).await.expect("a watch").boxed();
        loop {
            match changes.try_next().await.expect("no error").expect("no end") {
                kube::api::WatchEvent::Added(w) if w.name_any() == end.name_any() => {
                    state.insert(w.name_any(), w.data);
                    break;
                }
                kube::api::WatchEvent::Added(w) => {
                    assert!(state.insert(w.name_any(), w.data).is_none());
                }
                kube::api::WatchEvent::Modified(w) => {
                    assert!(state.insert(w.name_any(), w.data).is_some());
                }
                kube::api::WatchEvent::Deleted(w) => {
                    assert!(state.remove(&w.name_any()).is_some());
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        let list = widgets.list(&ListParams::default()).await.expect("a list");
        let last: BTreeMap<String, Value> =
            list.items.into_iter().map(|w| (w.name_any(), w.data)).collect();
        assert_eq!(state, last);
    }
}

#[tokio::test]
async fn a_watcher_that_fell_behind_is_told() {
    let world = World::new();
    let widgets = world.widgets("shop");
    let made = widgets.create(&PostParams::default(), &widget("a", json!({"size": 1}))).await;
    let version = made.expect("nothing is in the way").resource_version().expect("a version");
    for n in 0..9_000 {
        let mut object = json!(widget("a", json!({"size": n % 10})));
        object["metadata"]["namespace"] = json!("shop");
        world.server.load(&object).expect("a sound object");
    }
    let mut events = widgets.watch(&Default::default(), &version).await.expect("a watch").boxed();
    match events.try_next().await.expect("no error").expect("no end") {
        kube::api::WatchEvent::Error(status) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"))
        }
        other => panic!("unexpected {other:?}"),
    }
    assert!(events.try_next().await.expect("no error").is_none());
    let future = widgets.watch(&Default::default(), "999999").await;
    assert!(future.is_err(), "a version from elsewhere is not waited for");
}

struct World {
    server: Server,
    client: Client,
}

impl World {
    fn new() -> World {
        let server = Server::in_memory(Clock::real());
        server.install_yaml(DEFINITION).expect("a sound definition");
        for namespace in ["shop", "n1", "n2"] {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            server.load(&object).expect("a sound namespace");
        }
        let client = Client::new(server.router(), "default");
        World { server, client }
    }

    fn resource() -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Widget"))
    }

    fn widgets(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &World::resource())
    }

    fn all_widgets(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &World::resource())
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn widget(name: &str, spec: Value) -> DynamicObject {
    let mut object = DynamicObject::new(name, &World::resource());
    object.data = json!({"spec": spec});
    object
}

fn show(seen: &mut String, event: watcher::Event<DynamicObject>) {
    let text = match event {
        watcher::Event::Init => "init".to_owned(),
        watcher::Event::InitDone => "done".to_owned(),
        watcher::Event::InitApply(w) | watcher::Event::Apply(w) => format!("+{}", w.name_any()),
        watcher::Event::Delete(w) => format!("-{}", w.name_any()),
    };
    *seen += &text;
    seen.push(' ');
}

#[track_caller]
fn check(object: &DynamicObject, expected: Expect) {
    expected.assert_eq(&object.data.to_string());
}

#[track_caller]
fn check_error<T: std::fmt::Debug>(result: Result<T, kube::Error>, expected: Expect) {
    match result {
        Err(kube::Error::Api(status)) => {
            expected.assert_eq(&format!("{} {} {}", status.code, status.reason, status.message));
        }
        other => panic!("expected a status, not {other:?}"),
    }
}
