//! Requests of every kind, sound and otherwise, and what a real `kube-apiserver` answers to them.
//!
//! The requests are in `conformance/requests.txt`, in their order: later ones build on earlier
//! ones. The answers were recorded; where the machine has the real thing they are compared with
//! it again, and with `UPDATE_EXPECT=1` recorded anew.

#[path = "conformance/answer.rs"]
mod answer;
#[path = "conformance/deliberate.rs"]
mod deliberate;
#[path = "conformance/script.rs"]
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    time::Duration,
};

use apiserver::Server;
use axum::{Router, body::Body};
use clock::Clock;
use http::{Request, StatusCode, header};
use serde_json::Value;
use testkit::KubeApiserver;
use tower::ServiceExt as _;

use crate::{
    answer::{Answer, differences},
    deliberate::DELIBERATE,
    script::{Case, cases},
};

/// More than the file holds, unpacked.
const GOLDEN_MAX: u64 = 32 << 20;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/conformance.jsonl.gz");

/// How long an answer may take, watches too.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How long the real server may take to serve what was just defined.
const DEFINED_MAX: u32 = 600;

#[tokio::test(start_paused = true)]
async fn the_embedded_api_answers_as_kubernetes() {
    let server = Server::in_memory(Clock::real());
    let router = apiserver::require_token(server.router(), testkit::TOKEN);
    let recorded = recorded();
    let mut wrong = String::new();
    let deliberate = || DELIBERATE.iter().flat_map(|group| group.requests);
    let mut unused: BTreeSet<&str> = deliberate().map(|(name, _)| *name).collect();
    prepare(&router).await;
    let answers = perform(&router).await;
    assert_eq!(answers.len(), recorded.len(), "record the answers of the real server anew");
    for ((case, ours), theirs) in answers.iter().zip(&recorded) {
        assert_eq!(case.text, theirs["request"], "record the answers of the real server anew");
        let places = deliberate().filter(|(name, _)| *name == case.name);
        let allowed: BTreeSet<&str> = places.flat_map(|(_, places)| *places).copied().collect();
        let found = differences(&theirs["answer"], &ours.to_value());
        let places: BTreeSet<&str> = found.iter().map(|(place, ..)| place.as_str()).collect();
        if places == allowed {
            unused.remove(case.name.as_str());
            continue;
        }
        wrong +=
            &format!("== {}\n{}\n", case.name, case.text.chars().take(400).collect::<String>());
        for (place, theirs, ours) in &found {
            let mark = if allowed.contains(place.as_str()) { " (deliberate)" } else { "" };
            wrong += &format!("{place}{mark}\n  kubernetes: {theirs}\n  embedded:   {ours}\n");
        }
        for place in allowed.difference(&places) {
            wrong += &format!("{place} is listed as deliberate and does not differ\n");
        }
    }
    assert!(wrong.is_empty() && unused.is_empty(), "{wrong}\nunused: {unused:?}");
    assert!(DELIBERATE.iter().all(|group| !group.why.is_empty()), "every difference has a reason");
}

#[tokio::test]
async fn the_real_server_answers_as_recorded() {
    let Some(server) = KubeApiserver::start() else {
        // Without the real server there is nothing to compare with; the recorded answers stand.
        return;
    };
    let router = server.router();
    prepare(&router).await;
    let answers = perform(&router).await;
    let lines: Vec<Value> = answers.iter().map(|(case, answer)| answer.record(case)).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return record(&lines);
    }
    let recorded = recorded();
    assert_eq!(lines.len(), recorded.len(), "another number of requests than recorded");
    for (now, then) in lines.iter().zip(&recorded) {
        let found = differences(&then["answer"], &now["answer"]);
        assert!(found.is_empty(), "{}: {found:#?}", now["request"]);
    }
}

/// Installs the definitions, and waits until they are served.
async fn prepare(router: &Router) {
    for text in [include_str!("widgets.yaml"), include_str!("conformance/gadgets.yaml")] {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/yaml");
        let (code, body) = send(router, request, text.to_owned()).await;
        assert_eq!(code, StatusCode::CREATED, "{body}");
    }
    for path in ["/apis/example.com/v1/widgets", "/apis/example.com/v1/gadgets"] {
        let mut code = StatusCode::NOT_FOUND;
        for _ in 0..DEFINED_MAX {
            code = send(router, Request::get(path), String::new()).await.0;
            if code == StatusCode::OK {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(code, StatusCode::OK, "{path} is not served");
    }
}

/// Sends every request of the script.
async fn perform(router: &Router) -> Vec<(Case, Answer)> {
    let mut answers: Vec<(Case, Answer)> = Vec::new();
    let mut said: BTreeMap<String, Value> = BTreeMap::new();
    for case in cases(include_str!("conformance/requests.txt")) {
        let (path, body) = (script::filled(&case.path, &said), script::filled(&case.body, &said));
        let mut request = Request::builder().method(case.method.as_str()).uri(path);
        for (name, value) in &case.headers {
            request = request.header(name, value);
        }
        if !case.body.is_empty() && !case.headers.iter().any(|(name, _)| name == "Content-Type") {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let answer = tokio::time::timeout(ANSWER_MAX, answer(router, request, body)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{} is not answered", case.name));
        said.insert(case.name.clone(), answer.raw().clone());
        answers.push((case, answer));
    }
    answers
}

async fn answer(router: &Router, request: http::request::Builder, body: String) -> Answer {
    let request = with_defaults(request).body(Body::from(body)).expect("a sound request");
    let response = router.clone().oneshot(request).await.expect("it always answers");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, GOLDEN_MAX as usize).await.expect("it comes to an end");
    Answer::of(&parts, &body)
}

async fn send(
    router: &Router,
    request: http::request::Builder,
    body: String,
) -> (StatusCode, String) {
    let answer = answer(router, request, body).await;
    (answer.code(), answer.raw().to_string())
}

fn with_defaults(request: http::request::Builder) -> http::request::Builder {
    let given = request.headers_ref().cloned().unwrap_or_default();
    let defaults = [
        (header::AUTHORIZATION, format!("Bearer {}", testkit::TOKEN)),
        (header::USER_AGENT, "conformance/1.0".to_owned()),
        (header::ACCEPT, "application/json".to_owned()),
    ];
    let missing = defaults.into_iter().filter(|(name, _)| !given.contains_key(name));
    missing.fold(request, |request, (name, value)| request.header(name, value))
}

fn recorded() -> Vec<Value> {
    let file = fs::File::open(GOLDEN).expect("the golden file is there");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .take(GOLDEN_MAX)
        .read_to_string(&mut text)
        .expect("the golden file is compressed UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

fn record(lines: &[Value]) {
    let file = fs::File::create(GOLDEN).expect("the folder is writable");
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    for line in lines {
        writeln!(file, "{line}").expect("the folder is writable");
    }
    file.finish().expect("the folder is writable");
}
