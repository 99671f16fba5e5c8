//! Every fault shows, and without one nothing does.

#![expect(clippy::disallowed_methods, reason = "what arrives is looked at byte by byte")]

#[path = "http/http.rs"]
mod http;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::get};
use testkit::{Direction, Fault, FaultProxy, GitServer, HttpServer, Seen};

use http::{PATIENCE, exchange, status_and_body};

/// How long we watch a connection to call it stalled.
const STALLED: Duration = Duration::from_millis(200);

#[test]
fn stock_git_notices_nothing() {
    let server = GitServer::start();
    server.create_repository("repo", &[("a.yaml", "a: 1\n"), ("b.yaml", "b: 2\n")]);
    let proxy = FaultProxy::start(server.address());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let git = |args: &[&str]| {
        let mut command = server.repositories().command();
        let output = command.current_dir(folder.path()).args(args).output().expect("git starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["clone", "--quiet", proxy.url(&server.url("repo")).as_str(), "."]);
    // Large enough for chunks and for `Expect: 100-continue`.
    let noise: Vec<u8> = (0..2_000_000_u32).flat_map(|n| n.wrapping_pow(3).to_le_bytes()).collect();
    std::fs::write(folder.path().join("noise"), noise).expect("the clone can be written");
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "noise"]);
    git(&["push", "--quiet", "origin", "HEAD:main"]);
    server.git("repo", &["fsck", "--strict"]);
    assert!(server.git("repo", &["ls-tree", "main"]).contains("noise"));
    let posts = |seen: &Seen| seen.method == "POST" && seen.target.ends_with("/git-receive-pack");
    assert!(proxy.seen().iter().any(posts));
}

#[test]
fn a_lost_reply_hides_a_push_that_happened() {
    let server = GitServer::start();
    server.create_repository("repo", &[("a.yaml", "a: 1\n")]);
    let proxy = FaultProxy::start(server.address());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let git = |args: &[&str]| {
        let mut command = server.repositories().command();
        let output = command.current_dir(folder.path()).args(args).output().expect("git starts");
        output.status.success()
    };
    assert!(git(&["clone", "--quiet", proxy.url(&server.url("repo")).as_str(), "."]));
    assert!(git(&["commit", "--quiet", "--allow-empty", "--message", "pushed"]));
    proxy.inject_once(|seen| seen.target.ends_with("/git-receive-pack"), Fault::LoseReply);
    assert!(!git(&["push", "--quiet", "origin", "HEAD:main"]));
    let subject = server.git("repo", &["log", "-1", "--format=%s", "main"]);
    assert_eq!(subject, "pushed\n");
}

#[test]
fn closing_cuts_a_reply_short() {
    let world = World::start();
    let whole = world.get("/").expect("an answer");
    world.proxy.inject_once(|_| true, Fault::Close(Direction::Down, 40));
    assert_eq!(world.get("/").expect("an end in order"), whole[..40]);
    assert_eq!(world.get("/").expect("an answer").len(), whole.len());
}

#[test]
fn closing_cuts_a_request_short() {
    let world = World::start();
    world.proxy.inject_once(|_| true, Fault::Close(Direction::Up, 50));
    assert_eq!(world.post("/", &"x".repeat(1000)).unwrap_or_default(), "");
    assert_eq!(world.n_posts(), 0);
    assert_eq!(world.proxy.traffic().n_bytes_up, 50);
}

#[test]
fn a_reset_is_not_an_end() {
    let world = World::start();
    world.proxy.inject_once(|_| true, Fault::Reset(Direction::Down, 40));
    let error = world.get("/").expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_stalled_reply_neither_goes_on_nor_ends() {
    let world = World::start();
    world.proxy.inject_once(|_| true, Fault::Stall(Direction::Down, 40));
    let mut stream = world.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("the proxy listens");
    stream.read_exact(&mut [0; 40]).expect("the bytes before the stall");
    stream.set_read_timeout(Some(STALLED)).expect("a timeout");
    let error = stream.read(&mut [0; 1]).expect_err("nothing more");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_delay_comes_before_the_first_byte() {
    let world = World::start();
    world.proxy.inject_once(|_| true, Fault::Delay(STALLED));
    let start = Instant::now();
    world.get("/").expect("an answer");
    assert!(start.elapsed() >= STALLED);
}

#[test]
fn a_lost_reply_follows_a_request_that_arrived() {
    let world = World::start();
    world.proxy.inject_once(|_| true, Fault::LoseReply);
    assert_eq!(world.post("/", "all of it").expect("an end in order"), "");
    assert_eq!(world.n_posts(), 1);
}

#[test]
fn texts_are_rewritten_across_pieces() {
    let world = World::start();
    world.proxy.inject(|_| true, Fault::rewrite_reply("aabc", "ZZZZ"));
    world.proxy.inject(|_| true, Fault::Throttle(Direction::Down, 7, Duration::from_micros(100)));
    let reply = world.get("/?aaabc-aab-aabcaabc").expect("an answer");
    assert_eq!(status_and_body(&reply).1, "aZZZZ-aab-ZZZZZZZZ");

    world.proxy.clear();
    world.proxy.inject(|_| true, Fault::Rewrite(Direction::Up, b"one".into(), b"two".into()));
    let reply = world.get("/?one").expect("an answer");
    assert_eq!(status_and_body(&reply).1, "two");
}

#[test]
fn a_throttle_takes_its_time() {
    let world = World::start();
    let period = Duration::from_millis(10);
    world.proxy.inject_once(|_| true, Fault::Throttle(Direction::Down, 10, period));
    let start = Instant::now();
    let n_bytes = world.get("/").expect("an answer").len();
    assert!(start.elapsed() >= period * u32::try_from(n_bytes / 10).expect("small"));
}

#[test]
fn an_answer_of_ours_never_reaches_the_server() {
    let world = World::start();
    let busy = Fault::reply("429 Too Many Requests", &["Retry-After: 1"], "slow down");
    world.proxy.inject_once(|seen| seen.request == 2, busy);
    assert_eq!(status_and_body(&world.post("/", "first").expect("an answer")).0, "200");
    let reply = world.post("/", "second").expect("an answer");
    assert_eq!(status_and_body(&reply), ("429", "slow down"));
    assert!(reply.contains("Retry-After: 1\r\n"));
    assert_eq!(world.n_posts(), 1);
}

#[test]
fn requests_are_counted_on_a_kept_connection() {
    let world = World::start();
    let mut stream = world.connect();
    for path in ["/?a", "/?b"] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("the proxy listens");
        let mut reply = Vec::new();
        while !reply.ends_with(&path.as_bytes()[2..]) {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the reply goes on");
            reply.extend(byte);
        }
    }
    let seen = world.proxy.seen();
    let numbers: Vec<_> =
        seen.iter().map(|seen| (seen.connection, seen.request, seen.target.as_str())).collect();
    assert_eq!(numbers, [(1, 1, "/?a"), (1, 2, "/?b")]);
    let traffic = world.proxy.traffic();
    assert_eq!((traffic.n_connections, traffic.n_requests), (1, 2));
    assert!(seen[0].head.contains("Host: x\r\n"));
}

#[test]
fn faults_work_on_what_is_not_http() {
    let world = World::start();
    world.proxy.inject(|seen| seen.method.is_empty(), Fault::Close(Direction::Up, 3));
    let mut stream = world.connect();
    stream.write_all(&[0x16, 3, 1, 0, 0]).expect("the proxy listens");
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    assert!(rest.is_empty());
    assert_eq!(world.proxy.traffic().n_bytes_up, 3);
}

/// A server that answers with the query, and counts what is posted to it.
struct World {
    proxy: FaultProxy,
    n_posts: Arc<AtomicUsize>,
    _server: HttpServer,
}

impl World {
    fn start() -> World {
        let n_posts = Arc::new(AtomicUsize::new(0));
        let router = Router::new().route("/", get(echo).post(count)).with_state(n_posts.clone());
        let server = HttpServer::start(router, None);
        World { proxy: FaultProxy::start(server.address()), n_posts, _server: server }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.proxy.address()).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        exchange(&mut self.connect(), "GET", self.proxy.address(), path, "", "")
    }

    fn post(&self, path: &str, body: &str) -> std::io::Result<String> {
        exchange(&mut self.connect(), "POST", self.proxy.address(), path, "", body)
    }

    fn n_posts(&self) -> usize {
        self.n_posts.load(Ordering::SeqCst)
    }
}

async fn echo(uri: ::http::Uri) -> String {
    uri.query().unwrap_or_default().to_owned()
}

async fn count(State(n_posts): State<Arc<AtomicUsize>>, body: Bytes) -> String {
    n_posts.fetch_add(1, Ordering::SeqCst);
    body.len().to_string()
}
