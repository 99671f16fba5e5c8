//! A server whose objects live in a file, and what it remembers of the past.

use std::{collections::BTreeMap, path::Path, time::Duration};

use apiserver::{OnDamage, OpenError, Server};
use axum::{Router, body::Body};
use clock::Clock;
use expect_test::{Expect, expect};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::ServiceExt as _;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server and the folder of its file.
struct Desk {
    folder: tempfile::TempDir,
    router: Router,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let router = open(folder.path()).router();
        Desk { folder, router }
    }

    /// Ends the server and starts another on the same file, as soon as whoever was served is gone.
    async fn restart(self) -> Desk {
        drop(self.router);
        let path = self.folder.path().join("objects.redb");
        let opened = async {
            loop {
                match Server::open(&path, Clock::real(), OnDamage::Refuse) {
                    Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                    opened => return opened.expect("the file is sound").0,
                }
            }
        };
        let router = timeout(PATIENCE, opened).await.expect("soon enough").router();
        Desk { folder: self.folder, router }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let media = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", media);
        let request = request.body(body).expect("a sound request");
        let response = self.router.clone().oneshot(request).await.expect("it always answers");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        serde_json::from_slice(&body.expect("a whole body")).expect("JSON")
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, Value::Null).await
    }

    async fn create(&self, name: &str, data: &str) -> Value {
        let object = json!({"metadata": {"name": name}, "data": {"text": data}});
        let made = self.ask(Method::POST, MAPS, object).await;
        assert_eq!(made["metadata"]["name"], name, "{made}");
        made
    }

    async fn change(&self, name: &str, data: &str) -> Value {
        let patch = json!({"data": {"text": data}});
        let changed = self.ask(Method::PATCH, &format!("{MAPS}/{name}"), patch).await;
        assert_eq!(changed["data"]["text"], data, "{changed}");
        changed
    }

    async fn delete(&self, name: &str) {
        let gone = self.ask(Method::DELETE, &format!("{MAPS}/{name}"), Value::Null).await;
        assert_eq!(gone["status"], "Success", "{gone}");
    }

    /// Writes until nothing is remembered of what was before.
    async fn forget(&self) {
        for n in 0..12 {
            self.change("large", &format!("{n}{}", "x".repeat(200_000))).await;
        }
    }

    /// Starts a watch whose lines are read by nobody yet.
    async fn watch(&self, parameters: &str) -> Lines {
        let path = format!("{MAPS}?watch=true&{parameters}");
        let request = Request::get(path).body(Body::empty()).expect("a sound request");
        let response = self.router.clone().oneshot(request).await.expect("it always answers");
        Lines { body: response.into_body(), read: String::new() }
    }

    fn client(&self) -> Client {
        Client::new(self.router.clone(), "default")
    }
}

fn open(folder: &Path) -> Server {
    let opened = Server::open(&folder.join("objects.redb"), Clock::real(), OnDamage::Refuse);
    let (server, damage) = opened.expect("the file is sound");
    assert_eq!(damage, None);
    server
}

/// The lines of a watch.
struct Lines {
    body: Body,
    read: String,
}

impl Lines {
    /// Returns the next line, or `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.read.split_once('\n') {
                let line = serde_json::from_str(line).expect("JSON");
                self.read = rest.to_owned();
                return Some(line);
            }
            let mut stream = std::mem::take(&mut self.body).into_data_stream();
            let piece = timeout(PATIENCE, stream.next()).await.expect("soon enough")?;
            let piece = piece.expect("a watch does not break");
            self.body = Body::from_stream(stream);
            self.read.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list");
    let name = |item: &Value| item["metadata"]["name"].as_str().expect("a name").to_owned();
    items.iter().map(name).collect()
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

#[track_caller]
fn check(answer: &Value, expected: Expect) {
    let (code, reason, message) = (&answer["code"], &answer["reason"], &answer["message"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    expected.assert_eq(&format!("{code} {} {}", text(reason), text(message)));
}

#[tokio::test]
async fn all_is_there_after_a_restart() {
    let desk = Desk::new();
    let definition = yaml::documents(include_bytes!("widgets.yaml")).remove(0).expect("YAML").value;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    desk.ask(Method::POST, definitions, definition).await;
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}});
    let made = desk.ask(Method::POST, widgets, widget).await;
    desk.ask(Method::PATCH, &format!("{widgets}/w"), json!({"spec": {"size": 2}})).await;
    desk.create("a", "1").await;
    desk.create("b", "1").await;
    desk.delete("b").await;
    let before = (desk.get(widgets).await, desk.get(MAPS).await);

    let desk = desk.restart().await;
    let after = (desk.get(widgets).await, desk.get(MAPS).await);
    assert_eq!(after, before);
    let widget = &after.0["items"][0]["metadata"];
    assert_eq!(widget["uid"], made["metadata"]["uid"]);
    assert_eq!(widget["generation"], 2);
    let next = desk.change("a", "2").await;
    let number = |text: String| text.parse::<u64>().expect("a number");
    assert!(number(version(&next)) > number(version(&before.1)), "versions only grow");
}

#[tokio::test]
async fn a_namespace_that_was_going_goes_after_a_restart() {
    let desk = Desk::new();
    desk.ask(Method::POST, "/api/v1/namespaces", json!({"metadata": {"name": "going"}})).await;
    let maps = "/api/v1/namespaces/going/configmaps";
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    desk.ask(Method::POST, maps, held).await;
    desk.ask(Method::POST, maps, json!({"metadata": {"name": "free"}})).await;
    desk.ask(Method::DELETE, "/api/v1/namespaces/going", Value::Null).await;
    let phase = desk.get("/api/v1/namespaces/going").await["status"]["phase"].clone();
    assert_eq!(phase, "Terminating");

    let desk = desk.restart().await;
    assert_eq!(names(&desk.get(maps).await), ["held"]);
    let phase = desk.get("/api/v1/namespaces/going").await["status"]["phase"].clone();
    assert_eq!(phase, "Terminating");
    let free = json!({"metadata": {"finalizers": null}});
    desk.ask(Method::PATCH, &format!("{maps}/held"), free).await;
    assert_eq!(desk.get("/api/v1/namespaces/going").await["code"], 404);
    assert!(names(&desk.get(maps).await).is_empty());
}

#[tokio::test]
async fn a_file_has_one_server() {
    let desk = Desk::new();
    let path = desk.folder.path().join("objects.redb");
    let second = Server::open(&path, Clock::real(), OnDamage::MoveAside);
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    desk.create("a", "1").await;
}

#[tokio::test]
async fn a_list_goes_on_as_it_began() {
    let desk = Desk::new();
    for n in 0..10 {
        desk.create(&format!("m{n}"), "old").await;
    }
    let first = desk.get(&format!("{MAPS}?limit=4")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 6);
    desk.delete("m5").await;
    desk.change("m6", "new").await;
    desk.create("m65", "new").await;
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    let second = desk.get(&format!("{MAPS}?limit=4&continue={token}")).await;
    assert_eq!(names(&second), ["m4", "m5", "m6", "m7"]);
    assert_eq!(second["items"][2]["data"]["text"], "old");
    assert_eq!(version(&second), version(&first));
    let token = second["metadata"]["continue"].as_str().expect("there is more");
    let last = desk.get(&format!("{MAPS}?limit=4&continue={token}")).await;
    assert_eq!(names(&last), ["m8", "m9"]);
    assert_eq!(last["metadata"]["continue"], Value::Null);

    let exactly = format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", version(&first));
    assert_eq!(names(&desk.get(&exactly).await).len(), 10);
    let at_least =
        format!("{MAPS}?resourceVersion={}&resourceVersionMatch=NotOlderThan", version(&first));
    assert!(names(&desk.get(&at_least).await).contains(&"m65".to_owned()));
    let selected = format!("{MAPS}?fieldSelector=metadata.name%3Dm5&{}", "limit=1");
    assert_eq!(names(&desk.get(&selected).await), [""; 0]);
}

#[tokio::test]
async fn a_list_whose_beginning_is_forgotten_can_go_on_only_otherwise() {
    let desk = Desk::new();
    for name in ["a", "b", "large"] {
        desk.create(name, "old").await;
    }
    let first = desk.get(&format!("{MAPS}?limit=1")).await;
    let token = first["metadata"]["continue"].as_str().expect("there is more").to_owned();
    desk.change("b", "new").await;
    desk.forget().await;
    let refused = desk.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    check(
        &refused,
        expect![
            "410 Expired The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
        ],
    );
    let other = refused["metadata"]["continue"].as_str().expect("another token");
    let second = desk.get(&format!("{MAPS}?limit=1&continue={other}")).await;
    assert_eq!(second["items"][0]["data"]["text"], "new");
    assert_ne!(version(&second), version(&first));
    let exactly = format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", version(&first));
    check(
        &desk.get(&exactly).await,
        expect!["410 Expired The resourceVersion for the provided list is too old."],
    );
    // So it is for a token that an earlier process gave.
    let first = desk.get(&format!("{MAPS}?limit=1")).await;
    let token = first["metadata"]["continue"].as_str().expect("there is more").to_owned();
    desk.change("b", "newer").await;
    let desk = desk.restart().await;
    let refused = desk.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!(refused["code"], 410, "{refused}");
}

#[tokio::test]
async fn parameters_that_do_not_go_together_are_refused() {
    let desk = Desk::new();
    let cases = [
        (
            "limit=1&continue=x",
            expect!["400 BadRequest continue key is not valid: Invalid input length: 1"],
        ),
        (
            "limit=1&continue=e30",
            expect![
                "400 BadRequest continue key is not valid: missing field `v` at line 1 column 2"
            ],
        ),
        (
            "resourceVersion=3&continue=e30",
            expect![
                "400 BadRequest specifying resource version is not allowed when using continue"
            ],
        ),
        (
            "resourceVersionMatch=Exact",
            expect![[
                r#"422 Invalid ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"#
            ]],
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            expect![[
                r#"422 Invalid ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0""#
            ]],
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Any",
            expect![[
                r#"422 Invalid ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Unsupported value: "Any": supported values: "Exact", "NotOlderThan", """#
            ]],
        ),
        (
            "sendInitialEvents=true",
            expect![[
                r#"422 Invalid ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"#
            ]],
        ),
        (
            "watch=true&sendInitialEvents=true",
            expect![[
                r#"422 Invalid ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"#
            ]],
        ),
        (
            "watch=true&resourceVersionMatch=NotOlderThan",
            expect![[
                r#"422 Invalid ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"#
            ]],
        ),
    ];
    for (parameters, expected) in cases {
        check(&desk.get(&format!("{MAPS}?{parameters}")).await, expected);
    }
    let late = desk.get(&format!("{MAPS}?resourceVersion=99")).await;
    assert_eq!((&late["code"], &late["reason"]), (&json!(504), &json!("Timeout")));
    // The server may write something of its own at any time.
    let message = late["message"].as_str().expect("a message");
    assert!(message.starts_with("Timeout: Too large resource version: 99, current: "), "{message}");
    expect![[r#"{"causes":[{"message":"Too large resource version","reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1}"#]]
        .assert_eq(&late["details"].to_string());
}

#[tokio::test]
async fn a_watch_goes_on_from_a_version_until_it_is_forgotten() {
    let desk = Desk::new();
    let large = desk.create("large", "0").await;
    let made = desk.create("a", "1").await;
    desk.change("a", "2").await;
    desk.delete("a").await;
    let mut lines = desk.watch(&format!("resourceVersion={}", version(&large))).await;
    for type_ in ["ADDED", "MODIFIED", "DELETED"] {
        assert_eq!(lines.next().await.expect("there is more")["type"], type_);
    }
    desk.create("b", "1").await;
    assert_eq!(lines.next().await.expect("there is more")["object"]["metadata"]["name"], "b");
    desk.forget().await;
    let mut late = desk.watch(&format!("resourceVersion={}", version(&made))).await;
    let told = late.next().await.expect("it is told");
    assert_eq!((&told["type"], &told["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(late.next().await, None);

    // What was before a restart is forgotten; what is, is not.
    let last = desk.get(MAPS).await;
    drop((lines, late));
    let desk = desk.restart().await;
    let mut old = desk.watch(&format!("resourceVersion={}", version(&made))).await;
    assert_eq!(old.next().await.expect("it is told")["object"]["code"], 410);
    let mut new = desk.watch(&format!("resourceVersion={}", version(&last))).await;
    desk.change("b", "2").await;
    assert_eq!(new.next().await.expect("there is more")["type"], "MODIFIED");
}

/// With and without streaming lists, over a restart.
#[tokio::test]
async fn reflectors_see_what_is_there_and_what_changes() {
    let mut desk = Desk::new();
    for n in 0..300 {
        desk.create(&format!("m{n}"), "1").await;
    }
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let maps: Api<ConfigMap> = Api::namespaced(desk.client(), "default");
        let (reader, writer) = reflector::store();
        let mut events = watcher(maps, config).reflect(writer).boxed();
        let mut next = async || {
            let next = timeout(PATIENCE, events.try_next()).await.expect("soon enough");
            next.expect("no error").expect("no end")
        };
        while !matches!(next().await, watcher::Event::InitDone) {}
        assert_eq!(reader.len(), 300);
        desk.change("m7", "2").await;
        assert!(matches!(next().await, watcher::Event::Apply(map) if map.name_any() == "m7"));
        desk.delete("m7").await;
        assert!(matches!(next().await, watcher::Event::Delete(map) if map.name_any() == "m7"));
        assert_eq!(reader.len(), 299);
        drop(events);
        desk = desk.restart().await;
        desk.create("m7", "1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn bookmarks_tell_how_far_a_watch_has_come() {
    let server = Server::in_memory(Clock::real());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let desk = Desk { folder, router: server.router() };
    desk.create("a", "1").await;
    let initial = "resourceVersionMatch=NotOlderThan&sendInitialEvents=true";
    let mut lines =
        desk.watch(&format!("{initial}&allowWatchBookmarks=true&timeoutSeconds=90")).await;
    assert_eq!(lines.next().await.expect("there is more")["type"], "ADDED");
    let end = lines.next().await.expect("there is more");
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    // A change of something else moves the place of this watch too.
    let other = json!({"metadata": {"name": "s"}});
    let other = desk.ask(Method::POST, "/api/v1/namespaces/default/secrets", other).await;
    let began = tokio::time::Instant::now();
    let bookmark = lines.next().await.expect("there is more");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(version(&bookmark["object"]), version(&other));
    assert_eq!(began.elapsed().as_secs(), 60);
    // The last is for whoever comes back; then the time is over.
    assert_eq!(lines.next().await.expect("there is more")["type"], "BOOKMARK");
    assert_eq!(lines.next().await, None);
    assert_eq!(began.elapsed().as_secs(), 90);
}

#[tokio::test]
async fn slow_watchers_keep_nobody_waiting_and_are_cut() {
    let desk = Desk::new();
    desk.create("large", "0").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut lines = desk.watch("allowWatchBookmarks=true").await;
        assert_eq!(lines.next().await.expect("there is more")["type"], "ADDED");
        slow.push(lines);
    }
    // Some wait for their first line still, while what it would be is forgotten.
    let unread: Vec<Lines> = futures::stream::iter(0..200)
        .then(|_| desk.watch("allowWatchBookmarks=true"))
        .collect()
        .await;
    desk.forget().await;
    for mut lines in slow.into_iter().chain(unread) {
        let told = lines.next().await.expect("it is told");
        assert_eq!((&told["type"], &told["object"]["code"]), (&json!("ERROR"), &json!(410)));
        assert_eq!(lines.next().await, None);
    }
}

/// Clients that hang in the middle of a request, or never read an answer, over real sockets.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "no client of ours would hang like this")]
async fn half_open_connections_disturb_nobody() {
    let desk = Desk::new();
    desk.create("large", "0").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(axum::serve(listener, desk.router.clone()).into_future());
    let mut silent = Vec::new();
    for request in [
        "GET /api/v1/names".to_owned(),
        format!("POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{\"meta"),
        format!("GET {MAPS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n"),
    ] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(request.as_bytes()).await.expect("it takes it");
            silent.push(stream);
        }
    }
    desk.forget().await;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {MAPS}/large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it takes it");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("soon enough");
    read.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    drop(silent);
    server.abort();
}

/// Many write at once: no write is lost, and they share the waits for the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_each_get_what_they_wrote() {
    let desk = std::sync::Arc::new(Desk::new());
    let writers = (0..32).map(|n| {
        let desk = std::sync::Arc::clone(&desk);
        tokio::spawn(async move {
            let name = format!("m{n}");
            desk.create(&name, "0").await;
            for round in 1..10 {
                desk.change(&name, &round.to_string()).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("every write is answered");
    }
    let desk = std::sync::Arc::into_inner(desk).expect("all writers have ended").restart().await;
    let list = desk.get(MAPS).await;
    let items = list["items"].as_array().expect("a list");
    let kept: BTreeMap<&str, &str> = items
        .iter()
        .filter_map(|item| {
            Some((item["metadata"]["name"].as_str()?, item["data"]["text"].as_str()?))
        })
        .collect();
    assert_eq!(kept.len(), 32);
    assert!(kept.values().all(|text| *text == "9"), "{kept:?}");
}
