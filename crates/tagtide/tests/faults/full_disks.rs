//! Files that cannot grow any more, at every size in turn: a run does all of a thing or nothing,
//! says so, and the next one heals.
//!
//! The limit on the size of files stands in for a full disk: it needs no rights, and fails at the
//! same byte every time.

use crate::world::{APP, FLEET, Ran, SOURCE, World};

/// Limits, in blocks of 512 bytes: below and above what the files of a run have.
const BLOCKS: [u64; 9] = [0, 1, 2, 8, 64, 256, 512, 2_048, 16_384];

/// Bytes of a file that a pack of the repository has in it, larger than most of the limits.
const NOISE: usize = 300 << 10;

#[test]
fn a_mirror_that_cannot_grow_is_an_error_that_the_next_run_does_not_have() {
    let mut n_failed = 0;
    for blocks in BLOCKS {
        let world = world();
        let ran = world.start_limited(blocks, &[]).wait();
        n_failed += usize::from(check(&world, &ran, "1.1.0"));
        assert_eq!(world.temporary(), [""; 0]);
        if ran.code != Some(0) {
            world.run().exited(0);
        }
        assert_eq!((world.value("main").as_str(), world.n_bot("main")), ("1.1.0", 1));
        world.check(&[("app", "1.1.0")]);
    }
    assert!((3..BLOCKS.len()).contains(&n_failed), "{n_failed}");
}

#[test]
fn a_state_that_cannot_grow_is_an_error_that_the_next_run_does_not_have() {
    let world = world();
    world.run_kept().exited(0);
    let state = world.state().display().to_string();
    let (mut n_failed, mut tags) = (0, vec!["1.1.0".to_owned()]);
    for (n, blocks) in BLOCKS.into_iter().enumerate() {
        let tag = format!("1.2.{n}");
        world.push("app", &[&tag]);
        world.git.commit_as_human(FLEET, "main", &[("noise", noise(n))]);
        let harmed = world.start_limited(blocks, &["--state", &state]).wait();
        n_failed += usize::from(check(&world, &harmed, &tag));
        let ran = world.run_kept().exited(0);
        assert_eq!(world.value("main"), tag, "{blocks} blocks");
        // Whichever of the two pushed it, it is told.
        let tip = world.git.git(FLEET, &["log", "-1", "--format=%H", "--author=FluxBot", "main"]);
        let told = [&harmed, &ran].map(|ran| ran.stdout.contains(tip.trim_end()));
        assert!(told.contains(&true), "{blocks} blocks: {}", harmed.stderr);
        tags.push(tag);
    }
    assert!((3..BLOCKS.len()).contains(&n_failed), "{n_failed}");
    assert_eq!(world.n_bot("main"), tags.len());
    let chosen: Vec<(&str, &str)> = tags.iter().map(|tag| ("app", tag.as_str())).collect();
    world.check(&chosen);
}

/// Returns whether a run failed, which it says, and that it left all of a change or nothing.
#[track_caller]
fn check(world: &World, ran: &Ran, tag: &str) -> bool {
    match ran.code {
        Some(0) => {
            assert_eq!(world.value("main"), tag);
            false
        }
        Some(1) => {
            let said = ran.stdout.clone() + &ran.stderr;
            assert!(said.contains("File too large") || said.contains("I/O error"), "{said}");
            true
        }
        code => panic!("{code:?}\n{}", ran.stderr),
    }
}

fn world() -> World {
    let world = World::with_app(&["1.1.0"]);
    // Slowness is no fault here.
    world.manifest("source", &SOURCE.replace("timeout: 20s", "timeout: 120s"));
    world.git.commit_as_human(FLEET, "main", &[("noise", noise(100))]);
    assert_eq!(world.file("main", APP), crate::world::app("app", "1.0.0"));
    world
}

/// Returns bytes that do not deflate.
fn noise(seed: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64 ^ seed as u64;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..NOISE / 8).flat_map(|_| word()).collect()
}
