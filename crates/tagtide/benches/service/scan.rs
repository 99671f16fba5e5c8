//! P1: what scans without news cost. P2: how long a new tag takes to the policy that chooses it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use api::Kind;
use futures::StreamExt;
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::mpsc;
use trial::bench::growth;

use super::{
    daemon::{Daemon, Desk, chosen, is_ready},
    manifests,
    registry::{Registry, tag},
};

/// Tags of each repository.
const TAGS: usize = 1_000;
/// Cycles that are measured.
const CYCLES: u32 = 10;

/// Repositories with a policy each, and a daemon that has chosen for all of them.
pub(crate) async fn chosen_world(
    desk: &Desk,
    registry: &Registry,
    n: usize,
    interval: &str,
) -> Daemon {
    let host = registry.host();
    let objects = |of: &dyn Fn(usize) -> String| (0..n).map(of).collect::<Vec<_>>();
    let repositories = objects(&|n| manifests::repository(&host, n, interval));
    manifests::write(&desk.manifests(), "repositories", &repositories);
    manifests::write(&desk.manifests(), "policies", &objects(&manifests::policy));
    let daemon = desk.up().await;
    let newest = tag(TAGS - 1);
    let is_chosen = |object: &_| is_ready(object) && chosen(object) == Some(newest.as_str());
    daemon.wait_for(Kind::ImagePolicy, n, is_chosen).await;
    daemon
}

/// P1: nothing changes.
pub(crate) async fn steady(is_full: bool) {
    println!("P1: repositories of {TAGS} tags with a policy each, nothing changes; for each cycle");
    println!("repositories   CPU s   target  requests  writes  disk bytes  tokens in all  RSS MiB");
    let mut costs = Vec::new();
    let mut sizes = vec![(100, 5), (300, 5), (1_000, 10)];
    if is_full {
        sizes.extend([(3_000, 30), (10_000, 120)]);
    }
    for (n, interval) in sizes {
        costs.push((n as f64, cycle(n, Duration::from_secs(interval)).await));
    }
    println!(
        "  growth of CPU with the number of repositories: {:.2} (target 1.05)",
        growth(&costs)
    );
    println!(
        "  Flux: 100: 1.15 CPU s, 200 requests, 600 writes and 100 events, 1.1 MB, 143 to 173 MiB; 300: 5.9 CPU s"
    );
}

/// Prints the costs of a cycle and returns its CPU seconds.
async fn cycle(n: usize, interval: Duration) -> f64 {
    let (desk, registry) = (Desk::new(), Registry::start(n, TAGS));
    let daemon = chosen_world(&desk, &registry, n, &format!("{}s", interval.as_secs())).await;
    // The first scans are over; the next ones are alike.
    tokio::time::sleep(interval).await;
    let (before, lists, version) = (daemon.figures(), registry.counts().0, daemon.version().await);
    tokio::time::sleep(interval * CYCLES).await;
    let (after, version) = (daemon.figures(), daemon.version().await - version);
    let (lists, tokens) = (registry.counts().0 - lists, registry.counts().1);
    let n_cycles = lists as f64 / n as f64;
    let cpu = (after.cpu - before.cpu) / n_cycles;
    println!(
        "{n:12} {cpu:7.3} {:8.2} {:9.2} {:7.2} {:11.0} {tokens:14} {:8.1}",
        n as f64 / 2_000.0,
        lists as f64 / n_cycles / n as f64 * n as f64,
        version as f64 / n_cycles,
        (after.written - before.written) as f64 / n_cycles,
        after.rss,
    );
    cpu
}

/// P2: now and then one repository of a thousand has a new tag.
pub(crate) async fn sparse(is_full: bool) {
    const INTERVAL: Duration = Duration::from_secs(5);
    let (n, n_changes) = (1_000, if is_full { 60 } else { 30 });
    let (desk, registry) = (Desk::new(), Registry::start(n, TAGS));
    let daemon = chosen_world(&desk, &registry, n, "5s").await;
    let mut news = watch(&daemon);
    let (mut from_visible, mut from_list) = (Vec::new(), Vec::new());
    let mut known = HashMap::new();
    for change in 0..n_changes {
        let began = Instant::now();
        // A step that visits all of them in an order of its own.
        let n_image = change * 7_919 % n;
        let newest = tag(TAGS + change);
        registry.add(n_image, newest.clone());
        let expected = (format!("app-{n_image}"), newest);
        let at = loop {
            if let Some(at) = known.get(&expected) {
                break *at;
            }
            let (name, tag, at) = news.recv().await.expect("the watch goes on");
            known.insert((name, tag), at);
        };
        from_visible.push(at - began);
        let told = registry.told(n_image).expect("it was listed, as it was chosen");
        from_list.push(at.saturating_duration_since(told));
        tokio::time::sleep(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
    }
    println!(
        "P2: {n} repositories, one has a new tag each second, {n_changes} times; to status.latestRef"
    );
    print_latencies("  from the tag (poll 5 s; target p99 5.05 s)", from_visible);
    print_latencies("  from the listing (target p99 25 ms)", from_list);
    println!("  interval {INTERVAL:?}");
}

/// Tells which policy chose which tag, and when that was heard.
fn watch(daemon: &Daemon) -> mpsc::UnboundedReceiver<(String, String, Instant)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let policies = watcher(daemon.api(Kind::ImagePolicy), watcher::Config::default());
    tokio::spawn(async move {
        let mut policies = std::pin::pin!(policies.applied_objects());
        while let Some(policy) = policies.next().await {
            let policy = policy.expect("the API answers");
            let Some(tag) = chosen(&policy.data) else { continue };
            if sender.send((policy.name_any(), tag.to_owned(), Instant::now())).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Prints the middle, the ninetieth and the ninety-ninth of a hundred.
pub(crate) fn print_latencies(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| {
        let n = (times.len() as f64 * share).ceil() as usize;
        times.get(n.saturating_sub(1)).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let (n, most) = (times.len(), at(1.0));
    let (p50, p90, p99) = (at(0.5), at(0.9), at(0.99));
    println!(
        "{what}: p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, most {most:.1} ms, {n} samples"
    );
}
