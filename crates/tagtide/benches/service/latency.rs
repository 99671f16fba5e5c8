//! P10: from the tag in a real registry to the commit on the branch of a real Git server.

use std::time::{Duration, Instant};

use api::Kind;
use testkit::{DockerRegistry, GitServer, RequestKind};
use tokio::sync::mpsc;

use super::{
    daemon::{Daemon, Desk, chosen, is_ready},
    floor::Floor,
    manifests,
    registry::tag,
    scan::print_latencies,
};

/// Tags that the image begins with.
const TAGS: usize = 10;

pub(crate) async fn tag_to_commit(is_full: bool) {
    println!(
        "P10: from the PUT of a tag to the commit on the branch, docker-registry and git http-backend"
    );
    let (n, n_polled) = if is_full { (200, 200) } else { (40, 6) };
    small_and_large("50 files", 50, n, n_polled).await;
    small_and_large("10,000 files", 10_000, n, n_polled.min(20)).await;
    println!(
        "  Flux, small: on request p50 193 ms, p90 307 ms; polling 10 s p50 5.9 s, p90 9.3 s; 10,000 files: about 10 s"
    );
}

async fn small_and_large(what: &str, n_files: usize, n: usize, n_polled: usize) {
    let world = World::start(n_files, "1h").await;
    let (mut requested, mut floor) = (Vec::new(), Vec::new());
    let list = format!("http://{}/v2/app-0/tags/list", world.registry.host());
    let beside = Floor::new(&world.server, "beside", list.parse().expect("a URL"));
    let World { registry, daemon, server, .. } = &world;
    let mut pushes = pushes(server);
    for round in 0..n {
        let newest = tag(TAGS + round);
        registry.push_tag("app-0", &newest);
        let began = Instant::now();
        daemon.request(Kind::ImageRepository, "app-0", &newest).await;
        requested.push(pushes.recv().await.expect("the server goes on") - began);
        floor.push(beside.sample("apps/0/app.yaml", &format!("# {round}\n")).await);
    }
    print_latencies(&format!("  {what}, on request"), requested);
    print_latencies(&format!("  {what}, floor: one listing and one push by curl"), floor);
    drop(world);
    let polled = polled(n_files, n_polled).await;
    print_latencies(&format!("  {what}, polling 10 s"), polled);
}

async fn polled(n_files: usize, n: usize) -> Vec<Duration> {
    let World { registry, daemon: _daemon, server, .. } = &World::start(n_files, "10s").await;
    let mut pushes = pushes(server);
    let mut times = Vec::new();
    for round in 0..n {
        registry.push_tag("app-0", &tag(TAGS + round));
        let began = Instant::now();
        times.push(pushes.recv().await.expect("the server goes on") - began);
        // The next tag comes at another moment of the interval.
        tokio::time::sleep(Duration::from_millis((round as u64 * 3_571) % 10_000)).await;
    }
    times
}

struct World {
    registry: DockerRegistry,
    server: GitServer,
    daemon: Daemon,
    _desk: Desk,
}

impl World {
    /// Starts everything; the first tag is chosen and stands in the file.
    async fn start(n_files: usize, interval: &str) -> World {
        let (registry, server, desk) = (DockerRegistry::start(), GitServer::start(), Desk::new());
        let first: Vec<String> = (0..TAGS).map(tag).collect();
        registry.push_tags("app-0", &first);
        let host = registry.host();
        let marked = manifests::marked(&host, 0, &tag(TAGS - 1));
        let other = |n: usize| (format!("apps/{}/{n}.yaml", n % (n_files / 50) + 1), text(n));
        let mut files: Vec<(String, String)> = (1..n_files).map(other).collect();
        files.push(("apps/0/app.yaml".to_owned(), marked));
        server.create_repository("fleet", &files);
        server.create_repository("beside", &files);
        let objects = [
            manifests::source(server.url("fleet").as_str()),
            manifests::repository(&host, 0, interval),
            manifests::policy(0),
            manifests::automation(0, "1h").replace("./apps/0", "./apps"),
        ];
        manifests::write(&desk.manifests(), "loop", &objects);
        let daemon = desk.up().await;
        let is_chosen = |object: &_| chosen(object).is_some();
        daemon.wait_for(Kind::ImagePolicy, 1, is_chosen).await;
        daemon.wait_for(Kind::ImageUpdateAutomation, 1, is_ready).await;
        World { registry, server, daemon, _desk: desk }
    }
}

/// Tells when the server has taken a push into the measured repository.
fn pushes(server: &GitServer) -> mpsc::UnboundedReceiver<Instant> {
    let (sender, receiver) = mpsc::unbounded_channel();
    server.after(RequestKind::Push, move |_, request| {
        if request.repository == "fleet" {
            // Nobody listens any more when the measurement is over.
            let _is_heard = sender.send(Instant::now());
        }
    });
    receiver
}

/// 2 KB of a manifest.
fn text(n: usize) -> String {
    let line = |k: usize| format!("  key-{k:03}: value-{:010}\n", n * 7_919 + k * 104_729);
    let lines: String = (0..75).map(line).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app-{n}}}\ndata:\n{lines}")
}
