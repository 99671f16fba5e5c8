//! What `--state` keeps between runs, and what becomes of a folder that is damaged or taken.

use std::{fs, os::unix::fs::PermissionsExt as _};

use expect_test::{Expect, expect};
use testkit::RequestKind;

use super::world::{FLEET, IMAGE, LOOP, NEWER, RELEASE, TAGS, World, entries};

const RUN: &[&str] = &["run", "--once", "manifests", "--state", "state"];

#[test]
fn a_second_run_fetches_only_what_moved() {
    let world = World::of_the_loop();
    let n_requests = |kind| world.git.traffic(kind).n_requests;
    world.tagtide(RUN).exits(0);
    assert!(n_requests(RequestKind::Fetch) > 0);

    world.git.reset_traffic();
    let tip = world.repositories().resolve(FLEET, "image-update-dev");
    world.tagtide(RUN).exits(0);
    assert_eq!(n_requests(RequestKind::Fetch), 0);
    assert_eq!(n_requests(RequestKind::Push), 0);
    assert_eq!(world.repositories().resolve(FLEET, "image-update-dev"), tip);

    // Its own commit is on disk already; only a person's is news.
    world.push(&[NEWER]);
    world.git.reset_traffic();
    world.tagtide(RUN).exits(0);
    assert_eq!(n_requests(RequestKind::Fetch), 0);
    assert_eq!(n_requests(RequestKind::Push), 1);
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);

    world.git.commit_as_human(FLEET, "image-update-dev", &[("notes.txt", "x\n")]);
    world.git.reset_traffic();
    world.tagtide(RUN).exits(0);
    assert_eq!(n_requests(RequestKind::Fetch), 1);
    assert_eq!(world.n_commits("dev..image-update-dev"), 3);
    world.fsck();
}

#[test]
fn the_folder_is_private_and_holds_what_the_design_says() {
    let world = World::of_the_loop();
    world.tagtide(RUN).exits(0);
    let folder = world.path("state");
    assert_eq!(
        entries(&folder),
        ["cache.redb", "lock", "mirrors", "objects.redb", "objects.tip", "schema"]
    );
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.join(name)).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("."), 0o700);
    assert_eq!(mode("mirrors"), 0o700);
    assert_eq!(fs::read_to_string(folder.join("schema")).expect("a file").trim(), "2");

    // The older name of the flag, and the environment.
    world.tagtide(&["run", "--once", "manifests", "--storage-path", "other"]).exits(0);
    let mut command = world.command(&["run", "--once", "manifests"]);
    world.finish(command.env("TAGTIDE_STATE", world.path("third")).output()).exits(0);
    for folder in ["other", "third"] {
        assert!(world.path(folder).join("objects.redb").is_file(), "{folder}");
    }
}

#[test]
fn a_folder_serves_one_process_at_a_time() {
    let world = World::of_the_loop();
    world.tagtide(RUN).exits(0);
    let lock = fs::File::options().write(true).open(world.path("state/lock")).expect("a lock");
    lock.lock().expect("nobody holds it");
    refused(
        &world,
        &expect![[r#"
            error: the state folder `state` is in use by another process; wait for it or name another folder
        "#]],
    );
    drop(lock);
    world.tagtide(RUN).exits(0);
}

#[test]
fn a_folder_that_is_not_ours_to_use_is_refused() {
    let world = World::of_the_loop();
    fs::create_dir(world.path("state")).expect("a folder");
    fs::write(world.path("state/thesis.txt"), "years of work").expect("a file");
    refused(
        &world,
        &expect![[r#"
            error: `state` is not empty and not a state folder; name an empty or a new folder
        "#]],
    );
    fs::remove_file(world.path("state/thesis.txt")).expect("a file");

    world.tagtide(RUN).exits(0);
    fs::write(world.path("state/schema"), "3\n").expect("a file");
    refused(
        &world,
        &expect![[r#"
            error: the state folder `state` has schema 3, this program knows up to 2; use the newer program
        "#]],
    );
    fs::write(world.path("state/schema"), "one\n").expect("a file");
    refused(
        &world,
        &expect![[r#"
            error: `state/schema` does not hold a schema number
        "#]],
    );
}

#[test]
fn a_damaged_cache_is_made_anew_and_damaged_choices_are_an_error() {
    let world = World::of_the_loop();
    let damage = |file: &str, how: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let path = world.path("state").join(file);
        let bytes = fs::read(&path).expect("a file");
        fs::write(&path, how(bytes)).expect("a file");
    };
    let ways: [&dyn Fn(Vec<u8>) -> Vec<u8>; 4] = [
        &|_| Vec::new(),
        &|_| b"not a database".to_vec(),
        &|bytes| bytes.get(..bytes.len() / 2).expect("half of it").to_vec(),
        &|bytes| vec![0xa5; bytes.len()],
    ];
    world.tagtide(RUN).exits(0);
    for way in ways {
        damage("cache.redb", way);
        let ran = world.tagtide(RUN).exits(0);
        assert!(ran.stdout.contains("successful scan: found 2 tags"), "{}", ran.stdout);
        assert!(
            ran.stderr.starts_with("notice: `state/cache.redb` is damaged ("),
            "{}",
            ran.stderr
        );
    }
    world.push(&[NEWER]);
    fs::remove_dir_all(world.path("state/mirrors")).expect("mirrors");
    world.tagtide(RUN).exits(0);
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);

    for way in ways {
        let good = fs::read(world.path("state/objects.redb")).expect("a file");
        damage("objects.redb", way);
        let ran = world.tagtide(RUN).exits(1);
        assert!(ran.stderr.starts_with("error: the objects in `"), "{}", ran.stderr);
        assert!(ran.stderr.contains("objects.redb"), "{}", ran.stderr);
        assert!(ran.stderr.contains("remove the file to begin without"), "{}", ran.stderr);
        fs::write(world.path("state/objects.redb"), good).expect("a file");
    }
    world.tagtide(RUN).exits(0);
    fs::remove_file(world.path("state/objects.redb")).expect("a file");
    world.tagtide(RUN).exits(0);
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);
}

#[test]
fn a_kept_choice_stands_though_the_branch_is_gone() {
    let world = World::of_the_loop();
    world.push(&[NEWER]);
    world.tagtide(RUN).exits(0);
    world.git(&["update-ref", "-d", "refs/heads/image-update-dev"]);
    world.registry.delete_tag(IMAGE, NEWER);
    let ran = world.tagtide(RUN).exits(0);
    assert!(ran.stderr.contains(&format!("holding {NEWER}")), "{}", ran.stderr);
    let file = String::from_utf8(world.file("image-update-dev", RELEASE)).expect("text");
    assert!(file.contains(&format!("tag: {NEWER} #")), "{file}");
}

#[test]
fn a_changed_spec_moves_at_once() {
    let world = World::of_the_loop();
    world.push(&[NEWER]);
    world.tagtide(RUN).exits(0);
    world.registry.delete_tag(IMAGE, NEWER);
    // Another pattern, under which the tag that is gone would still rank highest.
    world.write("manifests/loop.yaml", &LOOP.replace("-[0-9a-f]+$", "-[0-9a-f]{7}$"));
    world.tagtide(RUN).exits(0);
    let file = String::from_utf8(world.file("image-update-dev", RELEASE)).expect("text");
    assert!(file.contains(&format!("tag: {} #", TAGS[1])), "{file}");
}

#[test]
fn tags_of_another_image_are_never_chosen() {
    let world = World::of_the_loop();
    world.tagtide(RUN).exits(0);
    // A new image that cannot be scanned: its policy has nothing to choose from.
    world.write("manifests/loop.yaml", &LOOP.replace("example/testservice", "example/another"));
    let ran =
        world.tagtide(&["run", "--once", "manifests", "--state", "state", "-o", "json"]).exits(1);
    let objects = ran.json();
    let policy = objects["objects"].as_array().into_iter().flatten();
    let policy = policy.filter(|object| object["kind"] == "ImagePolicy").collect::<Vec<_>>();
    expect![[r#"
        [
            Object {
                "kind": String("ImagePolicy"),
                "message": String("retrying in 30s error: no tags in database"),
                "name": String("testservice"),
                "namespace": String("flux-system"),
                "ready": Bool(false),
                "reason": String("DependencyNotReady"),
            },
        ]"#]]
    .assert_eq(&format!("{policy:#?}"));
    assert_eq!(objects["commits"].as_array().map(Vec::len), Some(0));
}

#[track_caller]
fn refused(world: &World, message: &Expect) {
    let ran = world.tagtide(RUN).exits(1);
    assert_eq!(ran.stdout, "");
    message.assert_eq(&ran.stderr);
}
