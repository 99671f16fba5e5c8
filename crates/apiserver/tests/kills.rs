//! A server that is killed: what it has answered is there afterwards.
//!
//! The server runs in a process of its own, which is this test's program again. It tells each
//! answer before it goes on; a name has at most one request under way, so that what is found of
//! it is the last that was answered, or the one thing that was asked for after it.

#![expect(
    clippy::disallowed_methods,
    reason = "a process to be killed is started, and told what to do"
)]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use apiserver::{OnDamage, Server};
use axum::{Router, body::Body};
use clock::Clock;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tracing_subscriber::{Layer, layer::SubscriberExt as _};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const NAMES: u64 = 6;

/// How the process is told where its file is, and the durable step at which it ends.
const FILE: &str = "KILLED_SERVER_FILE";
const ABORT_AT: &str = "KILLED_SERVER_ABORT_AT";

#[test]
fn killed_from_outside_it_has_what_it_answered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut found = BTreeMap::new();
    let mut random = 11_u64;
    let mut n_told = 0;
    for _ in 0..50 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let n_lines = 1 + ((random >> 33) & 63);
        let told = run(folder.path(), &[], Some(n_lines));
        n_told += n_lines;
        found = compare(folder.path(), found, &told);
    }
    assert!(n_told > 500, "{n_told} answers");
}

#[test]
fn killed_at_each_step_it_has_what_it_answered() {
    // From a new folder, and then again and again on what the last one left.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut found = BTreeMap::new();
    for step in 1..=30 {
        let fresh = tempfile::tempdir().expect("a temporary folder");
        let at = step.to_string();
        let told = run(fresh.path(), &[(ABORT_AT, &at)], None);
        compare(fresh.path(), BTreeMap::new(), &told);
        let told = run(folder.path(), &[(ABORT_AT, &at)], None);
        found = compare(folder.path(), found, &told);
    }
    assert!(!found.is_empty());
}

/// Not a test of its own: the process that is killed.
#[test]
fn server() {
    let Ok(folder) = env::var(FILE) else { return };
    let abort_at = env::var(ABORT_AT).ok().and_then(|at| at.parse().ok()).unwrap_or(u64::MAX);
    let steps = Steps { abort_at, n_steps: AtomicU64::new(0) };
    let subscriber = tracing_subscriber::registry().with(steps);
    tracing::subscriber::set_global_default(subscriber).expect("the first and only one");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let path = Path::new(&folder).join("objects.redb");
        let opened = Server::open(&path, Clock::real(), OnDamage::Refuse);
        let router = opened.expect("the file is sound").0.router();
        let writers = (0..NAMES).map(|n| write_on(router.clone(), format!("m{n}")));
        futures::future::join_all(writers).await;
    });
}

/// Ends the process at a step.
struct Steps {
    abort_at: u64,
    n_steps: AtomicU64,
}

impl<S: tracing::Subscriber> Layer<S> for Steps {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "durable"
            && self.n_steps.fetch_add(1, Ordering::SeqCst) + 1 == self.abort_at
        {
            std::process::abort();
        }
    }
}

/// Creates, changes and deletes an object for ever, and tells each answer.
async fn write_on(router: Router, name: String) {
    let read = ask(&router, Method::GET, &format!("{MAPS}/{name}"), Value::Null).await.1;
    let mut n: u64 = read["data"]["n"].as_str().map_or(0, |n| n.parse().expect("a number"));
    loop {
        n += 1;
        let object = json!({"metadata": {"name": name}, "data": {"n": n.to_string()}});
        let path = format!("{MAPS}/{name}");
        let (code, answer) = match state_after(n) {
            None => ask(&router, Method::DELETE, &path, Value::Null).await,
            Some(_) if state_after(n - 1).is_none() => {
                ask(&router, Method::POST, MAPS, object).await
            }
            Some(_) => ask(&router, Method::PATCH, &path, object).await,
        };
        assert!(code.is_success(), "{answer}");
        let mut out = std::io::stdout().lock();
        writeln!(out, "answered {name} {n}").and_then(|()| out.flush()).expect("somebody reads");
    }
}

/// Returns what is there after the n-th request for a name: nothing at first and after each fifth.
fn state_after(n: u64) -> Option<u64> {
    (!n.is_multiple_of(5)).then_some(n)
}

async fn ask(router: &Router, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let media =
        if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", media);
    let request = request.body(body).expect("a sound request");
    let response = router.clone().oneshot(request).await.expect("it always answers");
    let code = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (code, serde_json::from_slice(&body).expect("JSON"))
}

/// Runs a server until it ends itself, or kills it after so many answers; returns them.
fn run(folder: &Path, variables: &[(&str, &str)], n_lines: Option<u64>) -> BTreeMap<String, u64> {
    let mut child: Child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "server", "--nocapture"])
        .env(FILE, folder)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut told = BTreeMap::new();
    let mut n_told = 0;
    let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    for line in lines.map_while(Result::ok) {
        // The program that runs the tests says something too.
        let Some((_, answer)) = line.split_once("answered ") else { continue };
        let Some((name, n)) = answer.split_once(' ') else { continue };
        told.insert(name.to_owned(), n.parse().expect("a number"));
        n_told += 1;
        if n_lines == Some(n_told) {
            child.kill().expect("it runs");
        }
    }
    let ended = child.wait().expect("it ends");
    assert!(!ended.success(), "nothing killed it");
    told
}

/// Compares what is found with what was answered; returns it.
#[track_caller]
fn compare(
    folder: &Path,
    before: BTreeMap<String, u64>,
    told: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let list = runtime.expect("a runtime").block_on(async {
        let opened = Server::open(&folder.join("objects.redb"), Clock::real(), OnDamage::Refuse);
        ask(&opened.expect("the file is sound").0.router(), Method::GET, MAPS, Value::Null).await.1
    });
    let items = list["items"].as_array().expect("a list");
    let found: BTreeMap<String, u64> = items
        .iter()
        .map(|item| {
            let n = item["data"]["n"].as_str().and_then(|n| n.parse().ok());
            let name = item["metadata"]["name"].as_str().expect("a name");
            (name.to_owned(), n.expect("a number"))
        })
        .collect();
    for name in (0..NAMES).map(|n| format!("m{n}")) {
        let found = found.get(&name).copied();
        // What was answered last, by this process or by one before it.
        let Some(answered) = told.get(&name).or_else(|| before.get(&name)).copied() else {
            assert!(found.is_none_or(|n| n == 1), "{name} is {found:?}, and nothing was answered");
            continue;
        };
        let allowed = [state_after(answered), state_after(answered + 1)];
        assert!(allowed.contains(&found), "{name} is {found:?}, answered was {answered}");
    }
    found
}
