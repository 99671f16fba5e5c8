//! P5: a million tags in pages of a thousand, over HTTP on loopback.
//!
//! Prints the memory a listing takes and the time from the last byte to the
//! sorted list, beside their targets and Flux's figures.

use std::time::Duration;

use api::Repository;
use axum::Router;
use axum::extract::Query;
use axum::http::HeaderMap;
use axum::routing::get;
use clock::Clock;
use registry::{Access, Client, Listing, Options};
use tokio::time::Instant;

const TAGS: usize = 1_000_000;
const PAGE: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = serve();
    let net = net::Client::new(net::Options::default()).expect("TLS works");
    let client = Client::new(net, Clock::real(), Options::default());
    let image: Repository = format!("localhost:{port}/big").parse().expect("a valid image");
    let access = Access::default();
    let deadline = Instant::now() + Duration::from_secs(300);
    let before = memory_kib("VmRSS:");
    let start = std::time::Instant::now();
    let cpu = cpu_seconds();
    let listing = client.list_tags(&image, &access, None, deadline).await.expect("a listing");
    let wall = start.elapsed();
    let cpu = cpu_seconds() - cpu;
    let Listing::Complete { tags, pages, .. } = listing else { panic!("no validator was given") };
    assert_eq!((tags.len(), pages), (TAGS, TAGS / PAGE));
    let peak = memory_kib("VmHWM:").saturating_sub(before);
    let sort = sort_time(&tags);
    report(tags.memory(), peak, sort, wall, cpu);
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn report(list: usize, peak: u64, sort: Duration, wall: Duration, cpu: f64) {
    println!("{}", trial::bench::machine());
    println!("P5 {TAGS} tags in {} pages", TAGS / PAGE);
    println!("  list            {:6.1} B/tag      (target 40)", list as f64 / TAGS as f64);
    println!(
        "  peak above start {:5} KiB     (target {} KiB; Flux 250-301 MiB in all, from 105)",
        peak,
        40 * TAGS / 1024
    );
    println!("  after last byte {:6.1} ms         (target 50)", sort.as_secs_f64() * 1e3);
    println!(
        "  wall            {:6.2} s          (Flux 1.4-1.6 warm, 2.5 first)",
        wall.as_secs_f64()
    );
    println!("  CPU             {cpu:6.2} s          (Flux 1.0-1.15)");
}

/// What is left to do once the last byte came: sorting, here from the
/// registry's ascending order, and the checksum is the caller's.
fn sort_time(tags: &api::TagList) -> Duration {
    let mut ascending: api::TagList = tags.iter().rev().collect();
    let start = std::time::Instant::now();
    ascending.sort_descending();
    assert!(ascending == *tags);
    start.elapsed()
}

/// Starts a registry on a thread of its own, whose CPU does not count; it
/// holds one page at a time. Returns its port.
fn serve() -> u16 {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            sender.send(port).expect("the benchmark waits for it");
            let router = Router::new()
                .route("/v2/", get(|| async { "{}" }))
                .route("/v2/big/tags/list", get(page));
            axum::serve(listener, router).await.expect("the server runs");
        });
    });
    receiver.recv().expect("the server says its port")
}

async fn page(Query(query): Query<Vec<(String, String)>>) -> (HeaderMap, String) {
    let last = query.iter().find(|(name, _)| name == "last");
    let start: usize = last.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let names: Vec<String> = (start..start + PAGE).map(|n| format!("\"v{n:07}\"")).collect();
    let mut headers = HeaderMap::new();
    let next = start + PAGE;
    if next < TAGS {
        let link = format!("</v2/big/tags/list?n={PAGE}&last={next}>; rel=\"next\"");
        headers.insert("link", link.parse().expect("a header value"));
    }
    (headers, format!("{{\"name\":\"big\",\"tags\":[{}]}}", names.join(",")))
}

/// Returns a figure of `/proc/self/status` in KiB, 0 where there is none.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Returns user and system time of this thread, 0 where it is not known.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
