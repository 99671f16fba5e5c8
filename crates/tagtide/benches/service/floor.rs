//! The least that a promotion can cost: one listing and one push of the same commit, sent ready-made.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use testkit::GitServer;
use url::Url;

/// A repository beside the one that is measured, with the same files.
pub(crate) struct Floor<'a> {
    server: &'a GitServer,
    repository: &'a str,
    list: Url,
}

impl<'a> Floor<'a> {
    pub(crate) fn new(server: &'a GitServer, repository: &'a str, list: Url) -> Self {
        Floor { server, repository, list }
    }

    /// Returns how long one listing and one push of a changed file take.
    pub(crate) async fn sample(&self, path: &str, text: &str) -> Duration {
        let body = self.push_of(path, text);
        let push = format!("{}/git-receive-pack", self.server.url(self.repository));
        let began = Instant::now();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--output", "/dev/null"]);
        curl.arg(self.list.as_str()).args(["--next", "--silent", "--show-error", "--fail"]);
        curl.args(["--header", "Content-Type: application/x-git-receive-pack-request"]);
        curl.args(["--data-binary", "@-"]).arg(&push);
        let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl");
        child.stdin.take().expect("a pipe").write_all(&body).expect("curl reads");
        let output = child.wait_with_output().expect("curl ends");
        let elapsed = began.elapsed();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("unpack ok"), "the floor's push was refused: {said}");
        elapsed
    }

    /// Returns the body of a push that changes one file of `main`.
    fn push_of(&self, path: &str, text: &str) -> Vec<u8> {
        let git = |args: &[&str], input: &[u8]| self.git(args, input);
        let old = line(git(&["rev-parse", "refs/heads/main"], b""));
        let blob = line(git(&["hash-object", "-w", "--stdin"], text.as_bytes()));
        let index = self.server.path(self.repository).join("floor-index");
        let index = index.to_str().expect("a path of UTF-8");
        let with_index =
            |args: &[&str]| line(self.git_with(args, b"", &[("GIT_INDEX_FILE", index)]));
        with_index(&["read-tree", &old]);
        with_index(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")]);
        let tree = with_index(&["write-tree"]);
        let new = line(git(&["commit-tree", &tree, "-p", &old, "-m", "floor"], b""));
        let range = format!("{new}\n^{old}\n");
        let pack = git(&["pack-objects", "--revs", "--thin", "--stdout", "-q"], range.as_bytes());
        let command = format!("{old} {new} refs/heads/main\0 report-status");
        let mut body = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
        body.extend(pack);
        body
    }

    fn git(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        self.git_with(args, input, &[])
    }

    fn git_with(&self, args: &[&str], input: &[u8], environment: &[(&str, &str)]) -> Vec<u8> {
        let mut command = self.server.repositories().command();
        command.arg("--git-dir").arg(self.server.path(self.repository)).args(args);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("git");
        child.stdin.take().expect("a pipe").write_all(input).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "git {args:?}");
        output.stdout
    }
}

fn line(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("git prints UTF-8").trim().to_owned()
}
