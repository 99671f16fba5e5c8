//! P15: killed, tags come meanwhile, started again: how long until all policies are right.

use api::Kind;

use super::{
    daemon::{Desk, chosen},
    registry::{Registry, tag},
    scan,
};

/// Tags of each repository before the kill.
const TAGS: usize = 1_000;

pub(crate) async fn kill_and_start(is_full: bool) {
    println!(
        "P15: kill -9, every repository gains a tag, start; until all policies have chosen it"
    );
    let sizes: &[usize] = if is_full { &[100, 300, 1_000] } else { &[100, 1_000] };
    for n in sizes.iter().copied() {
        restart(n, true).await;
        restart(n, false).await;
    }
    println!(
        "  target: kept 200 ms, empty 3 s; Flux, 100: kept over 90 s, empty 3.5 to 5.3 s and 1.4 to 1.7 CPU s"
    );
}

async fn restart(n: usize, is_kept: bool) {
    let (desk, registry) = (Desk::new(), Registry::start(n, TAGS));
    scan::chosen_world(&desk, &registry, n, "1h").await.kill();
    for n_image in 0..n {
        registry.add(n_image, tag(TAGS));
    }
    if !is_kept {
        desk.forget_state();
    }
    let lists = registry.counts().0;
    let daemon = desk.up().await;
    let serving = daemon.started.elapsed();
    let newest = tag(TAGS);
    daemon.wait_for(Kind::ImagePolicy, n, |object| chosen(object) == Some(newest.as_str())).await;
    let elapsed = daemon.started.elapsed();
    let state = if is_kept { "kept state " } else { "empty state" };
    println!(
        "  {n:5} repositories, {state}: serving after {serving:.0?}, all right after {elapsed:.0?}, \
         {:.2} CPU s, {} listings",
        daemon.figures().cpu,
        registry.counts().0 - lists,
    );
}
