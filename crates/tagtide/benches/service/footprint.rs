//! P14: memory, wake-ups and size, with nothing to do and with a lot.

use std::{fs, time::Duration};

use api::Kind;

use super::{
    automation,
    daemon::{Daemon, Desk, is_ready},
    registry::Registry,
    scan,
};

/// A moment after which whatever begins at the start is over.
const SETTLING: Duration = Duration::from_secs(20);

/// No objects at all.
pub(crate) async fn idle(is_full: bool) {
    let desk = Desk::new();
    let daemon = desk.up().await;
    println!("P14: footprint");
    print("idle (target 15 MiB, 1 wake-up/s; Flux 52 + 50 + 80 MiB)", &daemon, is_full).await;
    let binary = fs::metadata(env!("CARGO_BIN_EXE_tagtide")).map_or(0, |file| file.len());
    println!("  binary as benchmarked: {:.1} MB (Flux 59 + 62 + 101)", binary as f64 / 1e6);
}

/// A thousand repositories of a thousand tags with a policy each, and two hundred automations.
pub(crate) async fn loaded(is_full: bool) {
    let (n, n_automations) = (1_000, 200);
    let (desk, registry) = (Desk::new(), Registry::start(n, 1_000));
    let server = automation::fleet(&registry.host(), n_automations, 1_000);
    automation::write(&desk, &server, n_automations, "1m");
    let daemon = scan::chosen_world(&desk, &registry, n, "1m").await;
    daemon.wait_for(Kind::ImageUpdateAutomation, n_automations, is_ready).await;
    let what = "1,000 repositories, 1,000 policies, 200 automations, each minute (target 60 MiB)";
    print(what, &daemon, is_full).await;
}

async fn print(what: &str, daemon: &Daemon, is_full: bool) {
    tokio::time::sleep(SETTLING).await;
    let duration = Duration::from_secs(if is_full { 600 } else { 60 });
    let before = daemon.figures();
    tokio::time::sleep(duration).await;
    let after = daemon.figures();
    println!("  {what}, over {duration:?}");
    println!(
        "    RSS {:.1} MiB, PSS {:.1} MiB, {:.2} wake-ups/s, {:.2} % CPU, {} bytes written",
        after.rss,
        after.pss,
        (after.wakes - before.wakes) as f64 / duration.as_secs_f64(),
        (after.cpu - before.cpu) / duration.as_secs_f64() * 100.0,
        after.written - before.written,
    );
}
