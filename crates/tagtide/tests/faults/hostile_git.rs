//! Git servers that hang, refuse, and send bombs: their own objects fail in time, with a clear
//! condition, and another repository is written.

use std::{convert::Infallible, io::Write as _, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::header::CONTENT_TYPE,
    response::IntoResponse,
    routing::{get, post},
};
use flate2::{Compression, write::ZlibEncoder};
use testkit::{Direction, Fault, HttpServer, Seen};

use crate::world::{APP, FLEET, Ran, World, app, automation, choice};

/// The repository of the neighbour, whose server is asked directly.
const CALM: &str = "calm";

#[test]
fn a_server_that_says_nothing_costs_its_timeout() {
    let world = world();
    world.git_proxy.inject(|_| true, Fault::Stall(Direction::Down, 0));
    let ran = fails(&world, &["GitRepository/fleet", "ImageUpdateAutomation/app"]);
    let (_, reason, message) = ran.object("ImageUpdateAutomation", "app");
    assert_eq!(reason, "GitOperationFailed");
    assert!(message.starts_with("failed to checkout source: unable to clone "), "{message}");
    assert!(message.ends_with("context deadline exceeded"), "{message}");
}

#[test]
fn a_server_that_drips_costs_its_timeout() {
    for filter in [is_any as fn(&Seen) -> bool, is_fetch] {
        let world = world();
        let drip = Fault::Throttle(Direction::Down, 1, Duration::from_millis(100));
        world.git_proxy.inject(filter, drip);
        let ran = world.run_kept().exited(1).stayed_small();
        let (_, reason, message) = ran.object("ImageUpdateAutomation", "app");
        assert_eq!(reason, "GitOperationFailed");
        assert!(message.ends_with("context deadline exceeded"), "{message}");
        assert_eq!(world.value("main"), "1.0.0");
    }
}

#[test]
fn a_pack_that_stops_in_the_middle_costs_its_timeout() {
    let world = world();
    let noise: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_pow(3).to_le_bytes()).collect();
    world.git.commit_as_human(FLEET, "main", &[("noise", noise)]);
    // Far behind the end of a listing, far before that of the pack.
    world.git_proxy.inject(is_fetch, Fault::Stall(Direction::Down, 20_000));
    let ran = fails(&world, &["ImageUpdateAutomation/app"]);
    let (_, _, message) = ran.object("ImageUpdateAutomation", "app");
    assert!(message.ends_with("context deadline exceeded"), "{message}");
    // A broken pack leaves nothing behind that would harm the next run.
    world.git_proxy.clear();
    world.run_kept().exited(0);
    assert_eq!(world.value("main"), "1.1.0");
}

#[test]
fn a_pack_that_is_cut_short_is_refused_and_fetched_again() {
    let world = world();
    let noise: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_pow(3).to_le_bytes()).collect();
    world.git.commit_as_human(FLEET, "main", &[("noise", noise)]);
    for fault in [
        Fault::Close(Direction::Down, 20_000),
        Fault::Reset(Direction::Down, 20_000),
        // Every byte is there, and one is another.
        Fault::Rewrite(Direction::Down, b"PACK\0\0\0\x02".to_vec(), b"PACK\0\0\0\x03".to_vec()),
    ] {
        world.git_proxy.inject(is_fetch, fault);
        let ran = fails(&world, &["ImageUpdateAutomation/app"]);
        let (_, _, message) = ran.object("ImageUpdateAutomation", "app");
        assert!(message.starts_with("failed to checkout source: unable to clone "), "{message}");
        world.git_proxy.clear();
    }
    world.run_kept().exited(0);
    assert_eq!(world.value("main"), "1.1.0");
    world.git.git(FLEET, &["fsck", "--strict"]);
}

#[test]
fn a_push_that_is_never_answered_costs_its_timeout() {
    let world = world();
    world.git_proxy.inject(is_push, Fault::Stall(Direction::Down, 0));
    let ran = world.run().stayed_small();
    // The push did arrive, and that is what counts.
    assert_eq!((ran.code, ran.n_commits()), (Some(0), 2), "{}", ran.stderr);
    assert_eq!(world.value("main"), "1.1.0");
    world.check(&[("app", "1.1.0")]);
}

#[test]
fn refusals_are_clear() {
    for (status, words) in [
        ("403 Forbidden", "authorization failed"),
        ("404 Not Found", "repository not found"),
        ("500 Internal Server Error", "the server answered with status 500"),
        ("200 OK", "the server does not answer with Git's smart HTTP protocol"),
    ] {
        let world = world();
        world.git_proxy.inject(|_| true, Fault::reply(status, &[], "<html>"));
        let ran = fails(&world, &["GitRepository/fleet", "ImageUpdateAutomation/app"]);
        for (kind, name) in [("GitRepository", "fleet"), ("ImageUpdateAutomation", "app")] {
            let (_, reason, message) = ran.object(kind, name);
            assert_eq!(reason, "GitOperationFailed");
            assert!(message.contains(words), "{message}");
        }
    }
}

#[test]
fn a_server_that_refuses_pushes_with_a_status_is_asked_once() {
    let world = world();
    world.git_proxy.inject(is_push, Fault::reply("403 Forbidden", &[], ""));
    let ran = world.run().exited(1).stayed_small();
    assert_eq!(ran.failed(), ["ImageUpdateAutomation/app"]);
    let (_, _, message) = ran.object("ImageUpdateAutomation", "app");
    assert!(message.contains("authorization failed"), "{message}");
    assert!(world.git.repositories().resolve(CALM, "updates").is_some());
}

#[test]
fn a_real_pack_with_a_file_beyond_the_limit_is_refused() {
    let world = world();
    world.git.commit_as_human(FLEET, "main", &[("zeros", vec![0; 130 << 20])]);
    world.manifest("source", &patient("fleet", "GIT"));
    let ran = fails(&world, &["ImageUpdateAutomation/app"]);
    let (_, _, message) = ran.object("ImageUpdateAutomation", "app");
    assert!(message.contains("exceeds the limit of"), "{message}");
}

#[test]
fn packs_that_are_bombs_are_refused() {
    for (name, pack, words) in bombs() {
        let server = hostile_server(pack);
        let world = world();
        world.manifest("source", &patient("fleet", &format!("{}fleet.git", server.url())));
        let ran = world.run().exited(1).stayed_small();
        assert_eq!(ran.failed(), ["ImageUpdateAutomation/app"], "{name}");
        let (_, reason, message) = ran.object("ImageUpdateAutomation", "app");
        assert_eq!(reason, "GitOperationFailed", "{name}");
        assert!(message.contains(words), "{name}: {message}");
        assert!(world.git.repositories().resolve(CALM, "updates").is_some(), "{name}");
    }
}

/// What a hostile server answers to a fetch, and which words the condition has about it.
fn bombs() -> Vec<(&'static str, Answer, &'static str)> {
    let pack = |n_objects: u32, entries: &[u8]| {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend(n_objects.to_be_bytes());
        pack.extend(entries);
        Answer::Pack(pack)
    };
    let mut blob = vec![0xbf, 0x0a];
    let mut zeros = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..300 {
        zeros.write_all(&[0; 1 << 20]).expect("memory takes it");
    }
    blob.extend(zeros.finish().expect("memory takes it"));
    vec![
        ("more objects than anybody has", pack(u32::MAX, b""), "limit of 2000000 objects"),
        (
            "an object that says it is of an exabyte",
            pack(1, &[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x78, 0x9c]),
            "exceeds the limit of",
        ),
        ("an object that is more than it says", pack(1, &blob), "the received pack is malformed"),
        ("words without end", Answer::Endless, "exceeds the limit of 1048576 bytes of progress"),
        ("a pack of nothing", pack(0, b""), "the received pack"),
    ]
}

#[derive(Clone)]
enum Answer {
    Pack(Vec<u8>),
    /// Progress that goes on for ever.
    Endless,
}

/// Serves a repository with one branch, whose every fetch gets this answer.
fn hostile_server(answer: Answer) -> HttpServer {
    let introduction = || async {
        let body = [
            packet(b"# service=git-upload-pack\n"),
            b"0000".to_vec(),
            packet(b"version 2\n"),
            packet(b"ls-refs\n"),
            packet(b"fetch=shallow\n"),
            packet(b"object-format=sha1\n"),
            b"0000".to_vec(),
        ];
        ([(CONTENT_TYPE, "application/x-git-upload-pack-advertisement")], body.concat())
    };
    let reply = move |body: Bytes| {
        let answer = answer.clone();
        async move {
            let body = if body.windows(7).any(|window| window == b"ls-refs") {
                let id = "1".repeat(40);
                let reference = format!("{id} refs/heads/main\n");
                Body::from([packet(reference.as_bytes()), b"0000".to_vec()].concat())
            } else {
                answer.body()
            };
            ([(CONTENT_TYPE, "application/x-git-upload-pack-result")], body).into_response()
        }
    };
    let router = Router::new()
        .route("/fleet.git/info/refs", get(introduction))
        .route("/fleet.git/git-upload-pack", post(reply));
    HttpServer::start(router, None)
}

impl Answer {
    fn body(&self) -> Body {
        match self {
            Answer::Pack(pack) => {
                let mut body = packet(b"packfile\n");
                for piece in pack.chunks(60_000) {
                    body.extend(packet(&[b"\x01", piece].concat()));
                }
                body.extend(b"0000");
                Body::from(body)
            }
            Answer::Endless => {
                let first = futures::stream::iter([packet(b"packfile\n")]);
                let words =
                    futures::stream::repeat(packet(&[b"\x02", &[b'.'; 60_000][..]].concat()));
                let pieces = futures::StreamExt::chain(first, words);
                Body::from_stream(futures::StreamExt::map(pieces, Ok::<_, Infallible>))
            }
        }
    }
}

fn packet(data: &[u8]) -> Vec<u8> {
    [format!("{:04x}", data.len() + 4).as_bytes(), data].concat()
}

fn is_any(_: &Seen) -> bool {
    true
}

fn is_fetch(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("/git-upload-pack")
}

fn is_push(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("/git-receive-pack")
}

/// Returns a source that is given up soon.
fn source(name: &str, url: &str) -> String {
    patient(name, url).replace(PATIENT, "timeout: 3s")
}

/// What a source has that is to be given up for other reasons than its slowness.
const PATIENT: &str = "timeout: 25s";

fn patient(name: &str, url: &str) -> String {
    format!(
        "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n\
         metadata: {{name: {name}, namespace: flux-system}}\n\
         spec: {{interval: 1m, {PATIENT}, ref: {{branch: main}}, url: '{url}'}}\n"
    )
}

/// Two repositories with an application each: one behind the proxy, one asked directly.
fn world() -> World {
    let world = World::with_files(&[(APP, &app("app", "1.0.0"))]);
    world.git.create_repository(CALM, &[(APP, app("app", "1.0.0"))]);
    world.push("app", &["1.1.0"]);
    world.manifest("source", &source("fleet", "GIT"));
    world.manifest("calm", &patient("calm", world.git.url(CALM).as_str()));
    world.manifest("app", &choice("app", "semver: {range: '>=1.0.0'}"));
    world.manifest("automation", &automation("app", ""));
    let calm = automation("calm", "{branch: updates}").replace("name: fleet", "name: calm");
    world.manifest("calm-automation", &calm);
    world
}

/// Runs, keeping state, with a hostile server: what depends on it fails, and nothing else.
#[track_caller]
fn fails(world: &World, expected: &[&str]) -> Ran {
    let ran = world.run_kept().exited(1).stayed_small();
    assert_eq!(ran.failed(), expected);
    assert_eq!(world.value("main"), "1.0.0");
    let calm = world.git.repositories().file(CALM, "updates", APP);
    assert_eq!(calm, Some(app("app", "1.1.0").into_bytes()));
    ran
}
