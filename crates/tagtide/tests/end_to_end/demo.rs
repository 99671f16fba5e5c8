//! The demo shows the loop, and what it keeps is a real repository.

use std::{path::PathBuf, process::Command};

use super::world::{Desk, entries};

#[test]
fn the_demo_shows_the_loop() {
    let ran = Desk::new().tagtide(&["demo"]).exits(0);
    assert_eq!(ran.stderr, "");
    for (from, to) in [
        ("branch-dev", "branch-dev-1715557000-f12a34b"),
        ("branch-staging", "branch-staging-1715558000-d00d1e5"),
        ("release-1.9.0", "release-1.10.0"),
    ] {
        assert!(ran.stdout.contains(&format!("\n-      tag: {from} #")), "{}", ran.stdout);
        assert!(ran.stdout.contains(&format!("\n+      tag: {to} #")), "{}", ran.stdout);
    }
    assert_eq!(ran.stdout.matches("   commit ").count(), 5, "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "no colours outside a terminal");
}

#[test]
fn what_the_demo_keeps_is_a_repository() {
    let desk = Desk::new();
    let output = desk.command(&["demo", "--keep"]).output().expect("the binary starts");
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).expect("text");
    let kept = |what: &str| {
        let line = stdout.lines().rev().find_map(|line| line.trim().strip_prefix(what));
        PathBuf::from(line.unwrap_or_else(|| panic!("{what} is named in\n{stdout}")).trim())
    };
    let (manifests, repository) = (kept("manifests:"), kept("repository:"));
    let names = entries(&manifests);
    assert_eq!(names, ["dev.yaml", "production.yaml", "source.yaml", "staging.yaml"]);

    let git = |folder: &PathBuf, args: &[&str]| {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", desk.path("home"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").current_dir(folder).args(args);
        let output =
            command.output().unwrap_or_else(|error| panic!("git {args:?} in {folder:?}: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    git(&repository, &["fsck", "--strict"]);
    let bare = repository.to_str().expect("a path in UTF-8");
    git(&desk.path("home"), &["clone", "--quiet", bare, "clone"]);
    let clone = desk.path("home/clone");
    for (branch, n_commits) in [("dev", 2), ("staging", 2), ("production", 1)] {
        let range = format!("origin/main..origin/image-update-{branch}");
        let authors = git(&clone, &["log", "--format=%an", &range]);
        assert_eq!(authors, "FluxBot\n".repeat(n_commits), "{branch}");
        let changed = git(
            &clone,
            &["diff", "--shortstat", "origin/main", &format!("origin/image-update-{branch}")],
        );
        assert_eq!(changed.trim(), "1 file changed, 1 insertion(+), 1 deletion(-)");
    }
}
