//! Fields have the owners that the real field manager gives them.

use std::{fs::File, io::Read as _};

use apiserver::Server;
use axum::{Router, body::Body};
use clock::Clock;
use http::{Method, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// More than the file holds, unpacked.
const GOLDEN_MAX: u64 = 16 << 20;

/// More than any answer holds.
const ANSWER_MAX: usize = 1 << 20;

const COLLECTION: &str = "/apis/example.com/v1/namespaces/default/ledgers";

#[tokio::test]
async fn fields_are_owned_as_by_the_real_thing() {
    for (number, record) in records().iter().enumerate() {
        let server = Server::in_memory(Clock::real());
        server.install_yaml(include_str!("ledgers.yaml")).expect("a sound definition");
        let router = server.router();
        for (step, recorded) in record["steps"].as_array().expect("steps").iter().enumerate() {
            let answer = perform(&router, recorded).await;
            let place = format!("sequence {number}, step {step}: {recorded}");
            if let Some(error) = recorded["error"].as_str() {
                assert_eq!(answer["message"], error, "{place}");
                continue;
            }
            let (ours, theirs) = (comparable(&answer), comparable(&recorded["after"]));
            assert_eq!(ours, theirs, "{place}");
        }
    }
}

async fn perform(router: &Router, step: &Value) -> Value {
    let manager = step["manager"].as_str().expect("a manager");
    let object = format!("{COLLECTION}/a?fieldManager={manager}");
    if step["apply"].is_object() {
        let path = format!("{object}&force={}", step["force"]);
        return send(router, Method::PATCH, &path, "application/apply-patch+yaml", &step["apply"])
            .await;
    }
    let live = send(router, Method::GET, &object, "application/json", &json!({})).await;
    let mut new = step["update"].clone();
    if live["kind"] == "Status" {
        let path = format!("{COLLECTION}?fieldManager={manager}");
        return send(router, Method::POST, &path, "application/json", &new).await;
    }
    new["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    send(router, Method::PUT, &object, "application/json", &new).await
}

async fn send(router: &Router, method: Method, path: &str, media: &str, body: &Value) -> Value {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, media)
        .body(Body::from(body.to_string()))
        .expect("a sound request");
    let response = router.clone().oneshot(request).await.expect("the server answers");
    let bytes = axum::body::to_bytes(response.into_body(), ANSWER_MAX).await.expect("an answer");
    serde_json::from_slice(&bytes).expect("the answer is JSON")
}

/// Returns what both of them know of an object: no times, no identities, entries in one order.
fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
    for field in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
        metadata.remove(field);
    }
    let mut entries = metadata.remove("managedFields").unwrap_or_default();
    for entry in entries.as_array_mut().into_iter().flatten() {
        entry.as_object_mut().expect("an entry is an object").remove("time");
    }
    let mut entries = entries.as_array().cloned().unwrap_or_default();
    entries.sort_by_key(ToString::to_string);
    object["metadata"]["managedFields"] = Value::Array(entries);
    without_nulls(&mut object);
    object
}

/// Removes nulls: the real thing leaves some of them to a later step.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn records() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/owners.jsonl.gz");
    let file = File::open(path).expect("the golden file is there");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .take(GOLDEN_MAX)
        .read_to_string(&mut text)
        .expect("the golden file is compressed UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}
