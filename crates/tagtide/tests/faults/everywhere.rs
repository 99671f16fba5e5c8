//! One fault at each place in turn: every request of a run, every file that it kept.

use std::{fs, path::PathBuf};

use testkit::{Direction, Fault, FaultProxy, Seen};

use crate::world::{APP, FLEET, SOURCE, World, app, automation, choice};

/// The branch that is written to.
const BRANCH: &str = "updates";

#[test]
fn a_fault_at_any_request_to_a_registry_changes_nothing_in_the_end() {
    check_requests(|world| &world.registry_proxy);
}

#[test]
fn a_fault_at_any_request_to_a_git_server_changes_nothing_in_the_end() {
    check_requests(|world| &world.git_proxy);
}

/// Harms each request of a run in turn, in several ways; the run after it leads to where a run
/// without faults leads, and no commit is made twice.
#[track_caller]
fn check_requests(proxy: fn(&World) -> &FaultProxy) {
    let faults = [
        Fault::LoseReply,
        Fault::Reset(Direction::Down, 150),
        Fault::Close(Direction::Up, 60),
        Fault::reply("502 Bad Gateway", &["Content-Type: text/html"], "<html>bad gateway</html>"),
    ];
    let world = world();
    world.run_kept().exited(0);
    let n_requests = requests_of_a_run(&world, proxy);
    assert!(n_requests >= 2);
    let mut tag = 2;
    for number in 1..=n_requests {
        for fault in &faults {
            tag += 1;
            let newest = format!("1.{tag}.0");
            world.push("app", &[&newest]);
            let at = proxy(&world).traffic().n_requests + number;
            proxy(&world).inject(move |seen: &Seen| seen.request == at, fault.clone());
            let harmed = world.run_kept();
            assert!(matches!(harmed.code, Some(0 | 1)), "{fault:?} at {number}: {}", harmed.stderr);
            proxy(&world).clear();
            let ran = world.run_kept().exited(0);
            let what = format!("{fault:?} at request {number}: {}", harmed.stderr);
            assert_eq!(world.value(BRANCH), newest, "{what}");
            assert_eq!(harmed.n_commits() + ran.n_commits(), 1, "{what}");
        }
    }
    // The first run, the one that was counted, one for each tag since.
    assert_eq!(world.n_bot(BRANCH), tag);
    let tags: Vec<String> = (1..=tag).map(|n| format!("1.{n}.0")).collect();
    let chosen: Vec<(&str, &str)> = tags.iter().map(|tag| ("app", tag.as_str())).collect();
    world.check(&chosen);
}

/// Returns how many requests a run makes that has something to do.
fn requests_of_a_run(world: &World, proxy: fn(&World) -> &FaultProxy) -> u64 {
    world.push("app", &["1.2.0"]);
    let before = proxy(world).traffic().n_requests;
    world.run_kept().exited(0);
    assert_eq!(world.value(BRANCH), "1.2.0");
    proxy(world).traffic().n_requests - before
}

#[test]
fn damage_to_any_kept_file_is_noticed_and_never_written() {
    let world = world();
    world.run_kept().exited(0);
    let files = kept_files(&world);
    assert!(files.len() >= 8, "{files:?}");
    let mut tag = 1;
    for file in files {
        for (n, damage) in DAMAGES.iter().enumerate() {
            tag += 1;
            let newest = format!("1.{tag}.0");
            world.push("app", &[&newest]);
            let path = world.state().join(&file);
            // Every run may name its files anew.
            let Ok(bytes) = fs::read(&path) else { continue };
            match damage(bytes.clone()) {
                Some(damaged) => fs::write(&path, damaged),
                None => fs::remove_file(&path),
            }
            .expect("the state folder can be written");
            let ran = world.run_kept();
            let says = |words: &str| assert!(ran.stderr.contains(words), "{}", ran.stderr);
            let name = path.display().to_string();
            let is_truth = ["objects.redb", "objects.tip", "schema"]
                .contains(&file.display().to_string().as_str());
            match ran.code {
                Some(0) => assert_eq!(world.value(BRANCH), newest, "{name}"),
                // What cannot be rebuilt is refused, and the file is named.
                Some(1) if is_truth => says(&name),
                code => panic!("{name}: {code:?}\n{}", ran.stderr),
            }
            // One that is gone is none, and a bit may be one that nobody reads; less than a whole
            // database is told of.
            if name.ends_with(".redb") && (EMPTIED..=HALVED).contains(&n) {
                says(&name);
            }
            if ran.code != Some(0) {
                fs::write(&path, bytes).expect("the state folder can be written");
                world.run_kept().exited(0);
                assert_eq!(world.value(BRANCH), newest);
            }
        }
    }
    let tags: Vec<String> = (1..=tag).map(|n| format!("1.{n}.0")).collect();
    let chosen: Vec<(&str, &str)> = tags.iter().map(|tag| ("app", tag.as_str())).collect();
    world.check(&chosen);
}

/// What may happen to a file; none if it is gone.
type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;

/// Where among [`DAMAGES`] parts of a file are lost.
const EMPTIED: usize = 1;
const HALVED: usize = 2;

const DAMAGES: [Damage; 4] = [
    |_| None,
    |_| Some(Vec::new()),
    |mut bytes| {
        bytes.truncate(bytes.len() / 2);
        Some(bytes)
    },
    |mut bytes| {
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x10;
        }
        Some(bytes)
    },
];

/// Returns the files of the state folder, relative to it.
fn kept_files(world: &World) -> Vec<PathBuf> {
    let state = world.state();
    let mut folders = vec![state.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(&state).expect("it is below").to_owned());
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_rewritten_history_is_taken_as_it_is() {
    let world = world();
    world.manifest("automation", &automation("app", ""));
    world.run_kept().exited(0);
    assert_eq!(world.n_bot("main"), 1);
    // Somebody forces the branch back to another first commit.
    world.git.git(FLEET, &["update-ref", "-d", "refs/heads/main"]);
    let files = [(APP, app("app", "0.1.0")), ("new.md", "another beginning\n".to_owned())];
    world.git.commit_as_human(FLEET, "main", &files);
    world.run_kept().exited(0);
    assert_eq!(world.value("main"), "1.1.0");
    assert_eq!(world.authors("main"), ["FluxBot", "Human"]);
    // The push branch is deleted, as after a merge.
    world.manifest("automation", &automation("app", &format!("{{branch: {BRANCH}}}")));
    world.push("app", &["1.2.0"]);
    for _ in 0..2 {
        world.run_kept().exited(0);
        assert_eq!(world.value(BRANCH), "1.2.0");
        world.git.git(FLEET, &["update-ref", "-d", &format!("refs/heads/{BRANCH}")]);
    }
    world.git.git(FLEET, &["fsck", "--strict"]);
}

fn world() -> World {
    let world = World::with_files(&[(APP, &app("app", "1.0.0"))]);
    world.push("app", &["1.1.0"]);
    world.manifest("source", SOURCE);
    world.manifest("app", &choice("app", "semver: {range: '>=1.0.0'}"));
    world.manifest("automation", &automation("app", &format!("{{branch: {BRANCH}}}")));
    world
}
