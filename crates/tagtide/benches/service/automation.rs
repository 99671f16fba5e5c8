//! P9: automations that have nothing to write, and a branch that moves beside them.

use std::time::Duration;

use api::Kind;
use testkit::{GitServer, GitTraffic, RequestKind};

use super::{
    daemon::{Daemon, Desk, is_ready},
    manifests,
    registry::{Registry, tag},
    scan,
};

/// Automations on one repository, each with a folder and a policy of its own.
const AUTOMATIONS: usize = 200;
/// How often each of them runs.
const TICK: Duration = Duration::from_secs(5);

/// A Git server whose files hold the tags that are chosen already.
pub(crate) fn fleet(host: &str, n: usize, n_tags: usize) -> GitServer {
    let file = |n| (format!("apps/{n}/app.yaml"), manifests::marked(host, n, &tag(n_tags - 1)));
    let server = GitServer::start();
    server.create_repository("fleet", &(0..n).map(file).collect::<Vec<_>>());
    server
}

/// Adds the source and the automations to the manifests.
pub(crate) fn write(desk: &Desk, server: &GitServer, n: usize, interval: &str) {
    let source = manifests::source(server.url("fleet").as_str());
    manifests::write(&desk.manifests(), "source", &[source]);
    let automations: Vec<_> = (0..n).map(|n| manifests::automation(n, interval)).collect();
    manifests::write(&desk.manifests(), "automations", &automations);
}

pub(crate) async fn ticks(is_full: bool) {
    let n_ticks = if is_full { 60 } else { 12 };
    let (desk, registry) = (Desk::new(), Registry::start(AUTOMATIONS, 1_000));
    let server = fleet(&registry.host(), AUTOMATIONS, 1_000);
    write(&desk, &server, AUTOMATIONS, "5s");
    let daemon = scan::chosen_world(&desk, &registry, AUTOMATIONS, "1h").await;
    daemon.wait_for(Kind::ImageUpdateAutomation, AUTOMATIONS, is_ready).await;
    tokio::time::sleep(TICK * 2).await;
    println!("P9: {AUTOMATIONS} automations on one repository; for each tick of {TICK:?}");
    println!("                  ls-refs  all requests  bytes  writes  CPU ms");
    run(&daemon, &server, n_ticks, "nothing changes", || {}).await;
    let mut n_commits = 0;
    let commit = || {
        n_commits += 1;
        let text = format!("commit {n_commits}\n");
        server.commit_as_human("fleet", "main", &[("notes.txt", text)]);
    };
    run(&daemon, &server, n_ticks, "the branch moves", commit).await;
    println!(
        "  target: 1 ls-refs, one write an automation; a moved branch: 1 fetch of at most 8 KB"
    );
    println!("  Flux: 200 ls-remote and 200 writes; a moved branch: 200 clones");
}

async fn run(
    daemon: &Daemon,
    server: &GitServer,
    n_ticks: u32,
    what: &str,
    mut between: impl FnMut(),
) {
    server.reset_traffic();
    let (before, version) = (daemon.figures(), daemon.version().await);
    for _ in 0..n_ticks {
        between();
        tokio::time::sleep(TICK).await;
    }
    let (after, version) = (daemon.figures(), daemon.version().await - version);
    let kinds =
        [RequestKind::UploadRefs, RequestKind::LsRefs, RequestKind::Fetch, RequestKind::Push];
    let traffic = kinds.map(|kind| server.traffic(kind));
    let sum = |of: fn(&GitTraffic) -> u64| traffic.iter().map(of).sum::<u64>() as f64;
    let per_tick = |count: f64| count / f64::from(n_ticks);
    println!(
        "  {what} {:8.2} {:13.2} {:6.0} {:7.1} {:7.1}",
        per_tick(traffic[1].n_requests as f64),
        per_tick(sum(|traffic| traffic.n_requests)),
        per_tick(sum(|traffic| traffic.n_bytes_up + traffic.n_bytes_down)),
        per_tick(version as f64),
        per_tick((after.cpu - before.cpu) * 1e3),
    );
}
