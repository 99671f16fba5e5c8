//! The daemon as a whole: what scans cost, how long a tag takes to a commit, memory, restarts.
//!
//! The binary is started as a user starts it and measured from outside: processor time, memory and disk writes from `/proc`, requests
//! where they arrive, writes of the API by its resource versions. `cargo bench --package tagtide --bench service -- p1 p10` runs some;
//! `full` asks for the sizes of the targets, which take tens of minutes.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(
    clippy::disallowed_methods,
    reason = "it starts the binary that it measures, and stock git"
)]

mod service {
    pub(crate) mod automation;
    pub(crate) mod daemon;
    pub(crate) mod floor;
    pub(crate) mod footprint;
    pub(crate) mod latency;
    pub(crate) mod manifests;
    pub(crate) mod registry;
    pub(crate) mod restart;
    pub(crate) mod scan;
}

use service::{automation, footprint, latency, restart, scan};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names = ["p1", "p2", "p9", "p10", "p14", "p15"];
    let is_chosen = |name: &str| {
        arguments.iter().any(|argument| argument == name)
            || !arguments.iter().any(|argument| names.contains(&argument.as_str()))
    };
    let is_full = arguments.iter().any(|argument| argument == "full");
    println!("{}", trial::bench::machine());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        if is_chosen("p14") {
            footprint::idle(is_full).await;
        }
        if is_chosen("p1") {
            scan::steady(is_full).await;
        }
        if is_chosen("p2") {
            scan::sparse(is_full).await;
        }
        if is_chosen("p9") {
            automation::ticks(is_full).await;
        }
        if is_chosen("p10") {
            latency::tag_to_commit(is_full).await;
        }
        if is_chosen("p14") {
            footprint::loaded(is_full).await;
        }
        if is_chosen("p15") {
            restart::kill_and_start(is_full).await;
        }
    });
}
