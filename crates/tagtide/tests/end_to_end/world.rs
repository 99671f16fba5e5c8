//! A registry, a Git server, a folder for manifests, and a way to run the binary in a clean environment.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use testkit::{
    DockerRegistry, DockerRegistryOptions, GitAccess, GitServer, GitServerOptions, PASSWORD,
    Repositories, USERNAME,
};

/// The repository that the manifests write to.
pub(crate) const FLEET: &str = "org/repo";
/// The image of the manifests.
pub(crate) const IMAGE: &str = "testservice";
/// The file that holds the marked value.
pub(crate) const RELEASE: &str = "apps/dev/testservice.yaml";
/// The policy of [`LOOP`].
pub(crate) const POLICY: &str = "flux-system:testservice";

/// The tags that the registry begins with, oldest first.
pub(crate) const TAGS: [&str; 2] =
    ["branch-dev-1715555000-a12b34c", "branch-dev-1715556000-b45d67e"];
/// The tag that is pushed later.
pub(crate) const NEWER: &str = "branch-dev-1715557000-f12a34b";

/// The manifests a platform engineer already has, with the hosts of this world to be filled in.
pub(crate) const LOOP: &str = include_str!("loop.yaml");
/// The Secret of [`LOOP`].
pub(crate) const SECRET: &str = include_str!("secret.yaml");
/// A release whose values hold the marker of [`LOOP`].
pub(crate) const HELM_RELEASE: &str = include_str!("helm_release.yaml");

/// A folder to work in, and the binary.
pub(crate) struct Desk {
    folder: TempDir,
    /// Texts of the manifests, and what stands for them on this machine.
    names: Vec<(&'static str, String)>,
}

/// The machine of one test: a desk, a registry and a Git server.
pub(crate) struct World {
    pub(crate) registry: DockerRegistry,
    pub(crate) git: GitServer,
    desk: Desk,
}

/// How a run of the binary ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk::with_names(Vec::new())
    }

    fn with_names(names: Vec<(&'static str, String)>) -> Desk {
        let desk = Desk { folder: tempfile::tempdir().expect("a temporary folder"), names };
        for folder in ["home", "tmp"] {
            fs::create_dir(desk.path(folder)).expect("a new folder");
        }
        desk
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file with the hosts of this machine in it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, self.fill_in(text)).expect("a file");
    }

    /// Writes a Secret's manifest.
    pub(crate) fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data: BTreeMap<_, _> = data.iter().copied().collect();
        let secret = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "flux-system"},
            "stringData": data,
        });
        self.write(&format!("manifests/{name}.json"), &secret.to_string());
    }

    /// Returns a file with made-up hosts in place of those of this machine.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        self.normalise(&fs::read(self.path(path)).expect("a file"))
    }

    /// Returns `text` with the hosts of this machine in place of the made-up ones.
    pub(crate) fn fill_in(&self, text: &str) -> String {
        let text = text.replace("USERNAME", USERNAME).replace("PASSWORD", PASSWORD);
        self.names.iter().fold(text, |text, (name, real)| text.replace(name, real))
    }

    /// Runs the binary in the folder and waits for its end.
    #[track_caller]
    pub(crate) fn tagtide(&self, args: &[&str]) -> Ran {
        self.finish(self.command(args).output())
    }

    /// Runs the binary with a text on its standard input.
    #[track_caller]
    pub(crate) fn tagtide_reading(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A binary that does not read on says why itself.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        self.finish(child.wait_with_output())
    }

    /// Returns a command in a clean environment, to which a test may add.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagtide"));
        command.env_clear();
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command.current_dir(self.folder.path()).args(args).stdin(Stdio::null());
        command
    }

    /// Returns what came out, with hosts and folders made the same in every run.
    #[track_caller]
    pub(crate) fn finish(&self, output: std::io::Result<Output>) -> Ran {
        let Output { status, stdout, stderr } = output.expect("the binary starts");
        let ran = Ran {
            code: status.code().expect("the binary ends by itself"),
            stdout: self.normalise(&stdout),
            stderr: self.normalise(&stderr),
        };
        // Every run cleans up behind itself, however it ends.
        let left: Vec<_> = entries(&self.path("tmp"));
        assert!(left.is_empty(), "left in TMPDIR: {left:?}\n{}", ran.stderr);
        ran
    }

    fn normalise(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).expect("the binary prints UTF-8");
        let text = text.replace(&format!("{}/", self.folder.path().display()), "");
        let text = self.names.iter().fold(text, |text, (name, real)| text.replace(real, name));
        let lines = text.split_inclusive('\n').map(|line| match line.split_once(' ') {
            Some((time, rest)) if time.starts_with("20") && time.ends_with('Z') => {
                format!("TIME {rest}")
            }
            _ => line.to_owned(),
        });
        mask_ids(&lines.collect::<String>())
    }
}

impl Deref for World {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl World {
    /// Starts a registry with [`TAGS`] and a Git server with [`HELM_RELEASE`] on `dev`, behind a
    /// password, and writes the manifests.
    pub(crate) fn of_the_loop() -> World {
        let world = World::with_files(&[(RELEASE, HELM_RELEASE)]);
        world.write("manifests/loop.yaml", LOOP);
        world.write("manifests/secret.yaml", SECRET);
        world
    }

    /// As [`World::of_the_loop`], with these files in the repository and no manifests.
    pub(crate) fn with_files<B: AsRef<[u8]>>(files: &[(&str, B)]) -> World {
        let git = GitServerOptions { access: GitAccess::Basic, ..Default::default() };
        World::start(files, &DockerRegistryOptions::default(), &git)
    }

    /// As [`World::with_files`], for whoever may use the servers.
    pub(crate) fn start<B: AsRef<[u8]>>(
        files: &[(&str, B)],
        registry: &DockerRegistryOptions,
        git: &GitServerOptions,
    ) -> World {
        let (registry, git) = (DockerRegistry::start_with(registry), GitServer::start_with(git));
        let names = vec![
            ("https://git.example/", git.url("").as_str().trim_end_matches(".git").to_owned()),
            ("git.example", git.address().to_string()),
            ("registry.example", registry.host()),
        ];
        let world = World { registry, git, desk: Desk::with_names(names) };
        fs::create_dir(world.path("manifests")).expect("a new folder");
        world.repositories().create(FLEET, "dev", files);
        world.push(&TAGS);
        world
    }

    /// Makes the registry have these tags of [`IMAGE`] too.
    pub(crate) fn push(&self, tags: &[&str]) {
        for tag in tags {
            self.registry.push_tag(IMAGE, tag);
        }
    }

    pub(crate) fn repositories(&self) -> &Repositories {
        self.git.repositories()
    }

    /// Runs stock git in [`FLEET`].
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git.git(FLEET, args)
    }

    /// Returns how many commits a range has.
    #[track_caller]
    pub(crate) fn n_commits(&self, range: &str) -> usize {
        let count = self.git(&["rev-list", "--count", range]);
        count.trim().parse().expect("git counts in numbers")
    }

    /// Returns the bytes of a file at a revision of [`FLEET`].
    #[track_caller]
    pub(crate) fn file(&self, revision: &str, path: &str) -> Vec<u8> {
        let file = self.repositories().file(FLEET, revision, path);
        file.unwrap_or_else(|| panic!("{revision} has no {path}"))
    }

    /// Has stock git check every object.
    #[track_caller]
    pub(crate) fn fsck(&self) {
        self.git(&["fsck", "--strict", "--no-dangling"]);
    }
}

impl Ran {
    /// Checks the exit code and returns this, so that outputs can be compared.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Checks both outputs.
    #[track_caller]
    pub(crate) fn says(&self, stdout: &expect_test::Expect, stderr: &expect_test::Expect) {
        stdout.assert_eq(&self.stdout);
        stderr.assert_eq(&self.stderr);
    }

    /// Returns the JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("standard output is one JSON document")
    }
}

/// Returns the names in a folder, sorted.
pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Puts `COMMIT` in place of every Git object id.
fn mask_ids(text: &str) -> String {
    let is_hex = |letter: char| matches!(letter, '0'..='9' | 'a'..='f');
    let mut masked = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
            continue;
        }
        let is_id = word.len() == 40 && word.chars().all(is_hex);
        masked.push_str(if is_id { "COMMIT" } else { &word });
        word.clear();
        masked.push(letter);
    }
    masked.pop();
    masked
}
