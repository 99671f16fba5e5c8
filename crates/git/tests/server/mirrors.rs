//! Mirrors on disk: kept, damaged, overgrown, left behind by a crash.

use std::{fs, path::Path, path::PathBuf};

use clock::Clock;
use git::{Limits, Mirrors, Reference};
use testkit::{GitServer, RequestKind};

use crate::world::{World, marked};

/// A world whose mirrors live in a folder that outlasts them.
fn world_in(folder: &Path, server: GitServer, limits: Limits) -> World {
    let mut world = World::on(server, limits.clone());
    let client = net::Client::new(net::Options::default()).expect("TLS can be set up");
    world.mirrors = Mirrors::open(folder, client, Clock::real(), limits).expect("a folder");
    world
}

/// Opens the mirrors again, as another process would.
fn restart(folder: &Path, world: &mut World) {
    let client = net::Client::new(net::Options::default()).expect("TLS can be set up");
    let limits = Limits::default();
    world.mirrors = Mirrors::open(folder, client, Clock::real(), limits).expect("a folder");
    world.server.reset_traffic();
}

fn server() -> GitServer {
    let server = GitServer::start();
    server.create_repository("app", &[("a.yaml", marked("a", "1")), ("b.txt", "b".to_owned())]);
    server
}

/// Returns the only generation of the only mirror.
fn generation(folder: &Path) -> PathBuf {
    let mirror =
        fs::read_dir(folder).expect("a folder").next().expect("a mirror").expect("readable");
    let current = fs::read_to_string(mirror.path().join("current")).expect("a whole mirror");
    mirror.path().join(current.trim())
}

fn packs(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(generation(folder).join("objects/pack")).expect("a folder");
    let files = files.map(|file| file.expect("readable").path());
    files.filter(|path| path.extension().is_some_and(|e| e == "pack")).collect()
}

fn change_a_byte(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 0x40;
    // Packs are written once and kept read-only.
    fs::remove_file(path).expect("removable");
    fs::write(path, bytes).expect("writable");
}

/// Asks stock git about the mirror.
#[track_caller]
fn check_sound(world: &World, folder: &Path) {
    let mut fsck = world.server.repositories().command();
    fsck.arg("-C").arg(generation(folder)).args(["fsck", "--strict", "--full"]);
    let fsck = fsck.output().expect("git is installed");
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stderr));
}

#[tokio::test]
async fn a_kept_mirror_is_not_fetched_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = world_in(folder.path(), server(), Limits::default());
    world.set("main", "a", "2").await.expect("nothing is in the way");
    check_sound(&world, folder.path());
    restart(folder.path(), &mut world);
    world.set("main", "a", "3").await.expect("nothing is in the way").pushed.expect("ours");
    assert_eq!(world.server.traffic(RequestKind::Fetch).n_requests, 0);
}

#[tokio::test]
async fn a_push_of_many_files_is_kept_as_one_pack() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = GitServer::start();
    let file = |n| (format!("{n}.yaml"), format!("{}# {n}\n", marked("a", "1")));
    server.create_repository("app", &(0..150).map(file).collect::<Vec<_>>());
    let mut world = world_in(folder.path(), server, Limits::default());
    world.set("main", "a", "2").await.expect("nothing is in the way").pushed.expect("ours");
    assert_eq!(packs(folder.path()).len(), 2, "what was fetched and what was pushed");
    check_sound(&world, folder.path());
    restart(folder.path(), &mut world);
    world.set("main", "a", "3").await.expect("nothing is in the way").pushed.expect("ours");
    assert_eq!(world.server.traffic(RequestKind::Fetch).n_requests, 0);
    world.server.git("app", &["fsck", "--strict"]);
}

#[tokio::test]
async fn an_overgrown_mirror_is_made_anew_beside_the_old_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { mirror_packs: 3, ..Limits::default() };
    let world = world_in(folder.path(), server(), limits);
    let main = Reference::branch("main").expect("valid");
    let first = world.mirror().refresh(&main, &world.access).await.expect("all is well");
    let mut n_packs = Vec::new();
    for n in 0..6 {
        world.server.commit_as_human("app", "main", &[(format!("{n}.txt"), "x")]);
        world.mirror().refresh(&main, &world.access).await.expect("all is well");
        n_packs.push(packs(folder.path()).len());
    }
    assert_eq!(n_packs, [2, 3, 4, 1, 2, 3]);
    let read = |files: &mut git::Snapshot| {
        files.read_path("b.txt").expect("the old one is kept while read")
    };
    let old = world.mirror().with_files(&first, &world.access, read).await.expect("in time");
    assert_eq!(old.expect("it is there"), b"b");
    drop(first);
    let mirror = generation(folder.path()).parent().expect("a mirror").to_owned();
    let generations = fs::read_dir(mirror)
        .expect("a folder")
        .filter(|e| e.as_ref().is_ok_and(|e| e.path().is_dir()));
    assert_eq!(generations.count(), 1, "then it goes");
}

#[tokio::test]
async fn a_damaged_mirror_is_made_anew() {
    for place in ["head", "middle", "gone", "index"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut world = world_in(folder.path(), server(), Limits::default());
        let main = Reference::branch("main").expect("valid");
        world.mirror().refresh(&main, &world.access).await.expect("all is well");
        let pack = packs(folder.path()).pop().expect("a pack");
        let len = fs::metadata(&pack).expect("readable").len() as usize;
        match place {
            "head" => change_a_byte(&pack, 14),
            "middle" => (12..len - 20).step_by(3).for_each(|at| change_a_byte(&pack, at)),
            "gone" => fs::remove_file(&pack).expect("removable"),
            _ => fs::write(pack.with_extension("idx"), "")
                .or_else(|_| {
                    fs::remove_file(pack.with_extension("idx"))?;
                    fs::write(pack.with_extension("idx"), "")
                })
                .expect("writable"),
        }
        // As after a restart: nothing of it is in memory.
        restart(folder.path(), &mut world);
        let pushed = world.set("main", "a", "2").await;
        pushed.unwrap_or_else(|error| panic!("{place}: {error}")).pushed.expect("a value differs");
        world.server.git("app", &["fsck", "--strict"]);
    }
}

#[tokio::test]
async fn what_a_crash_leaves_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = world_in(folder.path(), server(), Limits::default());
    let main = Reference::branch("main").expect("valid");
    world.mirror().refresh(&main, &world.access).await.expect("all is well");
    let generation = generation(folder.path());
    fs::write(generation.join("tmp/pack"), "half").expect("writable");
    fs::write(generation.join("objects/pack/.tmpabc"), "half").expect("writable");
    fs::write(generation.join("objects/pack/pack-half.pack"), "half").expect("writable");
    fs::create_dir(generation.with_file_name("7")).expect("writable");
    restart(folder.path(), &mut world);
    world.mirror().refresh(&main, &world.access).await.expect("all is well");
    assert_eq!(world.server.traffic(RequestKind::Fetch).n_requests, 0, "what is whole is kept");
    assert_eq!(fs::read_dir(generation.join("tmp")).expect("a folder").count(), 0);
    assert_eq!(fs::read_dir(generation.join("objects/pack")).expect("a folder").count(), 2);
    assert!(!generation.with_file_name("7").exists());
}

#[tokio::test]
async fn temporary_mirrors_vanish() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    let before = temporary_folders();
    let client = net::Client::new(net::Options::default()).expect("TLS can be set up");
    let mirrors = Mirrors::temporary(client, Clock::real(), Limits::default()).expect("a folder");
    let main = Reference::branch("main").expect("valid");
    let mirror = mirrors.mirror(world.mirror().url(), "");
    let tip = mirror.refresh(&main, &world.access).await.expect("all is well");
    let new: Vec<PathBuf> =
        temporary_folders().into_iter().filter(|f| !before.contains(f)).collect();
    assert!(!new.is_empty());
    drop((tip, mirror, mirrors));
    assert!(new.iter().any(|folder| !folder.exists()), "{new:?}");
}

fn temporary_folders() -> Vec<PathBuf> {
    let all = fs::read_dir(std::env::temp_dir()).expect("a folder").flatten().map(|e| e.path());
    all.filter(|path| path.to_string_lossy().contains("tagtide-mirrors-")).collect()
}

#[tokio::test]
async fn rewritten_history_is_followed() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    world.set("main", "a", "2").await.expect("nothing is in the way");
    world.server.commit_as_human("app", "main", &[("x.txt", "x")]);
    let first = world.server.git("app", &["rev-list", "--max-parents=0", "main"]);
    world.server.git("app", &["update-ref", "refs/heads/main", first.trim()]);
    world.server.git("app", &["reflog", "expire", "--expire=all", "--all"]);
    world.server.git("app", &["gc", "--prune=now", "--quiet"]);
    let outcome = world.set("main", "a", "3").await.expect("all is well");
    assert_eq!(outcome.base.to_string(), first.trim());
    world.server.git("app", &["fsck", "--strict"]);
}
