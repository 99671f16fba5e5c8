//! Registries that hang, refuse, and send bombs: their own objects fail in time, with a clear
//! condition, and the neighbour is written.

use std::{
    convert::Infallible,
    io::Write as _,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::RawQuery, response::IntoResponse, routing::get};
use testkit::{Direction, Fault, HttpServer, Seen};

use crate::world::{APP, Ran, SOURCE, World, app, automation, image, policy_of};

/// The file of the neighbour, whose registry is sound.
const OTHER: &str = "apps/other.yaml";

const ANY: &str = "semver: {range: '>=1.0.0'}";

#[test]
fn a_registry_that_says_nothing_costs_its_timeout() {
    let world = world();
    world.registry_proxy.inject(|_| true, Fault::Stall(Direction::Down, 0));
    let ran = fails(&world);
    let (_, reason, message) = ran.object("ImageRepository", "app");
    assert_eq!(reason, "ReadOperationFailed");
    assert!(message.contains("context deadline exceeded"), "{message}");
}

#[test]
fn a_listing_that_stops_in_the_middle_costs_its_timeout() {
    let world = world();
    world.registry_proxy.inject(is_list, Fault::Stall(Direction::Down, 500));
    let ran = fails(&world);
    let (_, _, message) = ran.object("ImageRepository", "app");
    assert!(message.contains("context deadline exceeded"), "{message}");
}

#[test]
fn a_registry_that_drips_costs_its_timeout() {
    let world = world();
    let drip = Fault::Throttle(Direction::Down, 1, Duration::from_millis(100));
    world.registry_proxy.inject(|_| true, drip);
    let ran = fails(&world);
    let (_, _, message) = ran.object("ImageRepository", "app");
    assert!(message.contains("context deadline exceeded"), "{message}");
}

#[test]
fn bodies_without_end_are_cut_off() {
    let tags = (0..1_000_u32).map(|n| format!("\"1.0.{n}\",")).collect::<String>();
    for (name, begin, piece) in [
        ("tags", "{\"tags\":[", tags),
        ("one tag", "{\"tags\":[\"", "a".repeat(8_000)),
        ("white space", "{\"tags\":[", " ".repeat(8_000)),
        ("another field", "{\"name\":\"", "a".repeat(8_000)),
        ("nesting", "{\"name\":", "[".repeat(8_000)),
    ] {
        let router = Router::new().route("/v2/", get(|| async { "{}" })).route(
            "/v2/app/tags/list",
            get(move || {
                let begin = futures::stream::iter([begin.to_owned()]);
                let pieces = futures::stream::repeat(piece.clone());
                let body = futures::StreamExt::chain(begin, pieces);
                let body = futures::StreamExt::map(body, Ok::<_, Infallible>);
                async { Body::from_stream(body) }
            }),
        );
        let server = HttpServer::start(router, None);
        let world = world();
        let patient = image("app", "app", "  timeout: 120s\n") + &policy_of("app", "app", ANY);
        world.manifest("app", &patient.replace("REGISTRY", &server.address().to_string()));
        let ran = fails(&world);
        let (_, _, message) = ran.object("ImageRepository", "app");
        assert!(!message.contains("deadline"), "{name}: {message}");
    }
}

#[test]
fn a_listing_that_is_cut_short_is_not_a_listing() {
    let world = world();
    world.registry_proxy.inject(is_list, Fault::Close(Direction::Down, 500));
    fails(&world);
}

#[test]
fn a_pause_that_is_asked_for_is_kept() {
    let world = world();
    let busy = Fault::reply("429 Too Many Requests", &["Retry-After: 2"], "");
    world.registry_proxy.inject_once(is_list, busy);
    let patient = image("app", "app", "  timeout: 30s\n") + &policy_of("app", "app", ANY);
    world.manifest("app", &patient);
    let start = Instant::now();
    world.run().exited(0);
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(world.value("main"), "1.1.0");
    assert_eq!(world.registry_proxy.seen().iter().filter(|seen| is_list(seen)).count(), 2);
}

#[test]
fn a_pause_beyond_the_timeout_is_not_waited_for() {
    let world = world();
    let busy = Fault::reply("429 Too Many Requests", &["Retry-After: 3600"], "");
    world.registry_proxy.inject(is_list, busy);
    let ran = fails(&world);
    let (_, _, message) = ran.object("ImageRepository", "app");
    assert!(message.contains("429") || message.contains("Retry-After"), "{message}");
    assert_eq!(world.registry_proxy.seen().iter().filter(|seen| is_list(seen)).count(), 1);
}

#[test]
fn a_bomb_does_not_unpack() {
    let world = world();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(b"{\"tags\":[").expect("memory takes it");
    for _ in 0..256 {
        bomb.write_all(&[b' '; 1 << 20]).expect("memory takes it");
    }
    let bomb = bomb.finish().expect("memory takes it");
    let mut reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\
         Content-Length: {}\r\n\r\n",
        bomb.len()
    )
    .into_bytes();
    reply.extend(bomb);
    world.registry_proxy.inject(is_list, Fault::Reply(reply));
    let ran = fails(&world);
    let (_, _, message) = ran.object("ImageRepository", "app");
    assert!(message.contains("times its size") || message.contains("limit"), "{message}");
}

#[test]
fn pages_without_end_are_an_error() {
    let world = world();
    let router = Router::new().route("/v2/", get(|| async { "{}" })).route(
        "/v2/app/tags/list",
        get(|RawQuery(query): RawQuery| async move {
            let n: u64 = query.and_then(|q| q.rsplit('=').next()?.parse().ok()).unwrap_or(0);
            let link = format!("</v2/app/tags/list?last={}>; rel=\"next\"", n + 1);
            ([("link", link)], "{\"tags\":[]}").into_response()
        }),
    );
    let server = HttpServer::start(router, None);
    world.manifest("app", &hostile().replace("REGISTRY", &server.address().to_string()));
    let ran = fails(&world);
    let (_, _, message) = ran.object("ImageRepository", "app");
    assert!(message.contains("the pages do not end"), "{message}");
}

#[test]
fn a_million_tags_in_pages_are_read() {
    const PAGES: u64 = 1_000;
    const PAGE: u64 = 1_000;
    let router = Router::new().route("/v2/", get(|| async { "{}" })).route(
        "/v2/app/tags/list",
        get(|RawQuery(query): RawQuery| async move {
            let page = query.as_deref().and_then(|query| {
                let pair = query.split('&').find_map(|pair| pair.strip_prefix("last="));
                pair?.parse::<u64>().ok()
            });
            let page = page.unwrap_or(0);
            let tags = (page * PAGE..(page + 1) * PAGE)
                .map(|n| format!("\"1.{}.{}\"", n / 1000, n % 1000));
            let body = format!("{{\"tags\":[{}]}}", tags.collect::<Vec<_>>().join(","));
            let next = page + 1;
            if next == PAGES {
                return body.into_response();
            }
            let link = format!("</v2/app/tags/list?last={next}&n={PAGE}>; rel=\"next\"");
            ([("link", link)], body).into_response()
        }),
    );
    let server = HttpServer::start(router, None);
    let world = world();
    let patient = image("app", "app", "  timeout: 60s\n") + &policy_of("app", "app", ANY);
    world.manifest("app", &patient.replace("REGISTRY", &server.address().to_string()));
    let ran = world.run().exited(0);
    let (_, _, message) = ran.object("ImageRepository", "app");
    assert!(message.contains("found 1000000 tags"), "{message}");
    assert_eq!(world.value("main"), "1.999.999");
}

fn is_list(seen: &Seen) -> bool {
    seen.target.contains("/tags/list")
}

/// An image whose registry may be as bad as it likes, and its policy.
fn hostile() -> String {
    image("app", "app", "  timeout: 2s\n") + &policy_of("app", "app", ANY)
}

/// One application behind the proxy, and its neighbour, whose registry is asked directly.
fn world() -> World {
    let world = World::with_files(&[(APP, &app("app", "1.0.0")), (OTHER, &app("other", "1.0.0"))]);
    // Enough of them for a listing to have a middle.
    let older = (0..50).map(|n| format!("1.0.{n}"));
    world.registry.push_tags("app", older.chain(["1.1.0".to_owned()]));
    world.push("other", &["1.1.0"]);
    world.manifest("source", SOURCE);
    world.manifest("app", &hostile());
    let other = image("other", "other", "") + &policy_of("other", "other", ANY);
    world.manifest("other", &other.replace("REGISTRY", &world.registry.host()));
    world.manifest("automation", &automation("app", ""));
    world
}

/// Runs with a hostile registry: what depends on it fails, and nothing else.
#[track_caller]
fn fails(world: &World) -> Ran {
    let ran = world.run().exited(1).stayed_small();
    assert_eq!(ran.failed(), ["ImagePolicy/app", "ImageRepository/app"]);
    assert_eq!(world.value("main"), "1.0.0");
    assert_eq!(world.file("main", OTHER), app("other", "1.1.0"));
    ran
}
