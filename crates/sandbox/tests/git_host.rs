//! Stock git fetches from the host and pushes to it.

#![expect(clippy::disallowed_methods, reason = "stock git is the judge")]

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};

use sandbox::{GitHost, Signature};
use tempfile::TempDir;

const FILES: &[(&str, &str)] =
    &[("README.md", "hello\n"), ("apps/dev/app.yaml", "tag: branch-dev\n"), ("apps/a.yaml", "")];

#[test]
fn clones_what_was_committed() {
    let world = World::start();
    let id = world.commit("main", "apps/dev/app.yaml", "tag: 1.0.0\n");
    let clone = world.clone(&[]);
    assert_eq!(clone.read("apps/dev/app.yaml"), "tag: 1.0.0\n");
    assert_eq!(clone.git(&["rev-parse", "HEAD"]), id);
    assert_eq!(clone.git(&["rev-list", "--count", "HEAD"]), "2");
    clone.git(&["fsck", "--strict"]);
}

#[test]
fn a_shallow_clone_deepens() {
    let world = World::start();
    for n in 0..5 {
        world.commit("main", "README.md", &format!("{n}\n"));
    }
    let clone = world.clone(&["--depth=1"]);
    assert_eq!(clone.git(&["rev-list", "--count", "HEAD"]), "1");

    world.commit("main", "README.md", "5\n");
    world.commit("main", "README.md", "6\n");
    clone.git(&["fetch", "--quiet"]);
    assert_eq!(clone.git(&["rev-list", "--count", "origin/main"]), "3");
    clone.git(&["fetch", "--quiet", "--depth=1"]);
    assert_eq!(clone.git(&["rev-list", "--count", "origin/main"]), "1");
    clone.git(&["fetch", "--quiet", "--depth=4"]);
    assert_eq!(clone.git(&["rev-list", "--count", "origin/main"]), "4");
    clone.git(&["fetch", "--quiet", "--unshallow"]);
    assert_eq!(clone.git(&["rev-list", "--count", "origin/main"]), "8");
    clone.git(&["fsck", "--strict"]);
}

#[test]
fn a_fetch_brings_only_what_is_missing() {
    let world = World::start();
    let clone = world.clone(&[]);
    for n in 0..40 {
        clone.write("local", &n.to_string());
        clone.commit();
    }
    let id = world.commit("other", "apps/dev/app.yaml", "tag: 2.0.0\n");
    clone.git(&["fetch", "--quiet"]);
    assert_eq!(clone.git(&["rev-parse", "origin/other"]), id);
    // One commit, three trees, one blob.
    assert_eq!(clone.git(&["rev-list", "--count", "--objects", "main..origin/other"]), "5");
    clone.git(&["fsck", "--strict"]);
}

#[test]
fn takes_pushes_with_deltas() {
    let world = World::start();
    let long: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
    world.commit("main", "long.yaml", &long);
    let clone = world.clone(&[]);
    clone.write("long.yaml", &long.replace("line 2500\n", "changed\n"));
    clone.write("other.yaml", &long.replace("line 17\n", ""));
    clone.commit();
    // A thin pack: the delta's base is only on the server.
    clone.git(&["push", "--quiet", "-o", "ci.skip", "origin", "main", "main:refs/heads/copy"]);
    assert_eq!(world.host.tip("repo", "main"), Some(clone.git(&["rev-parse", "HEAD"])));
    assert_eq!(world.host.tip("repo", "copy"), world.host.tip("repo", "main"));
    let files = world.host.files("repo", "main").expect("the branch");
    assert_eq!(files["long.yaml"], long.replace("line 2500\n", "changed\n"));
    let log = world.host.log("repo", "main").expect("the branch");
    assert_eq!(log[0].author, "Human <human@example.com>");
    assert_eq!((log[0].message.as_str(), log.len()), ("change\n", 3));
}

#[test]
fn a_push_from_an_old_tip_is_refused() {
    let world = World::start();
    let clone = world.clone(&[]);
    let human = world.commit("main", "README.md", "faster\n");
    clone.write("README.md", "slower\n");
    clone.commit();
    // With a lease on what the clone knows, git does not look before it asks the server.
    let output = clone.try_git(&["push", "--force-with-lease", "origin", "main"]);
    assert!(!output.status.success());
    assert_eq!(world.host.tip("repo", "main"), Some(human));
}

#[test]
fn branches_are_deleted_but_not_the_default_one() {
    let world = World::start();
    world.commit("gone", "README.md", "soon\n");
    let clone = world.clone(&[]);
    clone.git(&["push", "--quiet", "origin", ":gone"]);
    assert_eq!(world.host.tip("repo", "gone"), None);
    let output = clone.try_git(&["push", "origin", ":main"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("deletion of the current branch prohibited"), "{stderr}");
}

#[test]
fn an_atomic_push_is_all_or_nothing() {
    let world = World::start();
    let clone = world.clone(&[]);
    let before = world.host.references("repo").expect("the repository");
    let output = clone.try_git(&["push", "--atomic", "origin", "main:refs/heads/new", ":main"]);
    assert!(!output.status.success());
    assert_eq!(world.host.references("repo").expect("the repository"), before);
}

#[test]
fn an_empty_repository_takes_its_first_commit() {
    let world = World::start();
    world.host.create::<&str, &str>("repo", "trunk", &[], &human());
    let clone = world.clone(&[]);
    clone.write("README.md", "first\n");
    clone.commit();
    clone.git(&["push", "--quiet", "origin", "HEAD"]);
    assert_eq!(world.host.tip("repo", "trunk"), Some(clone.git(&["rev-parse", "HEAD"])));
}

#[test]
fn tags_are_peeled() {
    let world = World::start();
    let clone = world.clone(&[]);
    clone.git(&["tag", "--annotate", "--message", "release", "v1"]);
    clone.git(&["push", "--quiet", "origin", "v1"]);
    let listed = clone.git(&["ls-remote", "origin", "v1*"]);
    let tip = world.host.tip("repo", "main").expect("the branch");
    assert!(listed.contains(&format!("{tip}\trefs/tags/v1^{{}}")), "{listed}");
    let older = clone.git(&["-c", "protocol.version=0", "ls-remote", "origin", "v1*"]);
    assert_eq!(older, listed);
    let other = world.clone(&["--branch=v1", "--depth=1"]);
    assert_eq!(other.git(&["rev-parse", "HEAD"]), tip);
}

#[test]
fn an_exported_repository_is_sound() {
    let world = World::start();
    world.commit("main", "README.md", "second\n");
    let folder = TempDir::new().expect("a temporary folder");
    world.host.export(folder.path()).expect("the folder can be written");
    let bare = folder.path().join("repo.git");
    succeed(&git(&bare).args(["fsck", "--strict"]).output().expect("git starts"));
    let log = git(&bare).args(["log", "--format=%an %s"]).output().expect("git starts");
    assert_eq!(
        String::from_utf8_lossy(&log.stdout),
        "Human Edited by a human\nHuman Initial commit\n"
    );
}

struct World {
    host: GitHost,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn start() -> World {
        let host = GitHost::new();
        host.create("repo", "main", FILES, &human());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let router = host.router();
        runtime.spawn(async move { axum::serve(listener, router).await });
        World { host, address, _runtime: runtime }
    }

    fn commit(&self, branch: &str, path: &str, content: &str) -> String {
        self.host
            .commit("repo", branch, &[(path, content)], &human(), "Edited by a human\n")
            .expect("the repository is there")
    }

    fn clone(&self, options: &[&str]) -> Clone {
        let folder = TempDir::new().expect("a temporary folder");
        let url = format!("http://{}/repo.git", self.address);
        let mut command = git(folder.path());
        command.args(["clone", "--quiet"]).args(options).args([&url, "."]);
        succeed(&command.output().expect("git starts"));
        Clone(folder)
    }
}

fn human() -> Signature {
    Signature {
        name: "Human".to_owned(),
        email: "human@example.com".to_owned(),
        seconds: 1_700_000_000,
    }
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .env("no_proxy", "*");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Human");
        command.env(format!("GIT_{role}_EMAIL"), "human@example.com");
    }
    command
}

#[track_caller]
fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

struct Clone(TempDir);

impl Clone {
    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.path().join(file)).expect("the file was checked out")
    }

    fn write(&self, file: &str, content: &str) {
        std::fs::write(self.0.path().join(file), content).expect("the clone can be written");
    }

    #[track_caller]
    fn commit(&self) {
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", "change"]);
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        let output = self.try_git(args);
        succeed(&output);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn try_git(&self, args: &[&str]) -> Output {
        git(self.0.path()).args(args).output().expect("git starts")
    }
}
