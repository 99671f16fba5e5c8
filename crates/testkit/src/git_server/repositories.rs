//! Bare repositories on disk, written by stock git.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::program;

/// What kind of file a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// A file.
    Plain,
    /// A file that may be executed.
    Executable,
    /// A symbolic link; its target is its content.
    Symlink,
}

/// A change of one file in a commit.
#[derive(Clone, Debug)]
pub enum Change {
    /// Makes or replaces a file.
    Write {
        /// Its path from the root, with slashes.
        path: String,
        /// What kind of file it is.
        mode: FileMode,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Removes a file or a folder.
    Delete {
        /// Its path from the root, with slashes.
        path: String,
    },
}

impl Change {
    /// Returns a change that makes or replaces a plain file.
    pub fn write(path: &str, bytes: &[u8]) -> Change {
        Change::Write { path: path.to_owned(), mode: FileMode::Plain, bytes: bytes.to_owned() }
    }

    /// Returns a change that makes or replaces a symbolic link.
    pub fn symlink(path: &str, target: &str) -> Change {
        Change::Write { path: path.to_owned(), mode: FileMode::Symlink, bytes: target.into() }
    }

    /// Returns a change that removes a file or a folder.
    pub fn delete(path: &str) -> Change {
        Change::Delete { path: path.to_owned() }
    }
}

/// The repositories of a [`GitServer`](super::GitServer), reached past the network.
///
/// Everything here is done by stock git with no configuration but the repository's own.
pub struct Repositories {
    folder: TempDir,
    program: PathBuf,
}

impl Repositories {
    pub(super) fn new() -> Repositories {
        Repositories {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            program: program::find("git", "git"),
        }
    }

    /// Returns the folder that has all repositories.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the folder of one bare repository.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.git"))
    }

    /// Makes a repository that takes pushes and push options and has one commit with `files` on
    /// `branch`, its default branch; with no files it is empty.
    #[track_caller]
    pub fn create<P: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        name: &str,
        branch: &str,
        files: &[(P, B)],
    ) {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        self.git(name, &["init", "--quiet", "--bare", "--initial-branch", branch]);
        self.git(name, &["config", "http.receivepack", "true"]);
        self.git(name, &["config", "receive.advertisePushOptions", "true"]);
        // A history is judged by them.
        self.git(name, &["config", "core.logAllRefUpdates", "always"]);
        // Housekeeping in the background would race with the removal of the folder.
        self.git(name, &["config", "gc.auto", "0"]);
        if !files.is_empty() {
            self.commit_as_human(name, branch, files);
        }
    }

    /// Commits files onto a branch as a person would and returns the commit's id.
    #[track_caller]
    pub fn commit_as_human<P: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        name: &str,
        branch: &str,
        files: &[(P, B)],
    ) -> String {
        let changes: Vec<Change> = files
            .iter()
            .map(|(path, bytes)| Change::write(path.as_ref(), bytes.as_ref()))
            .collect();
        self.commit(name, branch, "Edited by a human\n", &changes)
    }

    /// Commits changes onto a branch as `Human <human@example.com>` and returns the commit's id.
    ///
    /// A branch that does not exist begins at the default branch, or has no parent if that does
    /// not exist either.
    #[track_caller]
    pub fn commit(&self, name: &str, branch: &str, message: &str, changes: &[Change]) -> String {
        let reference = format!("refs/heads/{branch}");
        let parent = [reference.as_str(), "HEAD"]
            .into_iter()
            .find_map(|revision| self.resolve(name, revision));
        let now = clock::Clock::real().now().as_second();
        let mut input = format!(
            "commit {reference}\ncommitter Human <human@example.com> {now} +0000\ndata {}\n{message}\n",
            message.len(),
        );
        if let Some(parent) = parent {
            writeln!(input, "from {parent}").expect("strings take any text");
        }
        let mut input = input.into_bytes();
        for change in changes {
            append(&mut input, change);
        }
        self.run(name, &["fast-import", "--quiet", "--force"], &input);
        self.resolve(name, &reference).expect("the branch was just written")
    }

    /// Returns the commit that a reference or any other revision names, if there is one.
    pub fn resolve(&self, name: &str, revision: &str) -> Option<String> {
        let revision = format!("{revision}^{{commit}}");
        let output = self.try_git(name, &["rev-parse", "--quiet", "--verify", &revision]);
        output.status.success().then(|| text(&output.stdout).trim_end().to_owned())
    }

    /// Returns the bytes of a file at a revision, if it has it.
    pub fn file(&self, name: &str, revision: &str, path: &str) -> Option<Vec<u8>> {
        let output = self.try_git(name, &["cat-file", "blob", &format!("{revision}:{path}")]);
        output.status.success().then_some(output.stdout)
    }

    /// Makes `script` the repository's `pre-receive` hook: what it prints goes to the pusher, and
    /// any exit code but 0 refuses the push.
    pub fn set_pre_receive(&self, name: &str, script: &str) {
        self.set_hook(name, "pre-receive", script);
    }

    /// Makes `script` one of the hooks that `git help hooks` lists, such as `update`.
    pub fn set_hook(&self, name: &str, hook: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = self.path(name).join("hooks");
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        // Renamed into place: executing a file that is open for writing fails.
        let unfinished = folder.join("unfinished");
        fs::write(&unfinished, format!("#!/bin/sh\n{script}\n"))
            .and_then(|()| fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)))
            .and_then(|()| fs::rename(&unfinished, folder.join(hook)))
            .expect("the temporary folder can be written");
    }

    /// Runs stock git in a repository and returns what it prints.
    #[track_caller]
    pub fn git(&self, name: &str, args: &[&str]) -> String {
        text(&self.run(name, args, b""))
    }

    /// Runs stock git in a repository, whether it succeeds or not.
    pub fn try_git(&self, name: &str, args: &[&str]) -> Output {
        let mut command = self.command();
        command.current_dir(self.path(name)).args(args).stdin(Stdio::null());
        command.output().expect("git can be started")
    }

    /// Returns a command that runs stock git with no configuration of this machine, to which the
    /// caller adds arguments and a folder.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("GIT_") {
                command.env_remove(variable);
            }
        }
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("HOME", self.folder())
            .env("LC_ALL", "C")
            .env("no_proxy", "*");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Human");
            command.env(format!("GIT_{role}_EMAIL"), "human@example.com");
        }
        command
    }

    #[track_caller]
    fn run(&self, name: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = self.command();
        command.current_dir(self.path(name)).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("git can be started");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let output = std::thread::scope(|scope| {
            // Its refusal to read on shows in its exit code.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().expect("git can be waited for")
        });
        assert!(
            output.status.success(),
            "git {} in {name}: {}",
            args.join(" "),
            text(&output.stderr)
        );
        output.stdout
    }
}

/// Appends a change in the language of `git fast-import`.
fn append(input: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { path, mode, bytes } => {
            let mode = match mode {
                FileMode::Plain => "100644",
                FileMode::Executable => "100755",
                FileMode::Symlink => "120000",
            };
            let line = format!("M {mode} inline {}\ndata {}\n", quote(path), bytes.len());
            input.extend_from_slice(line.as_bytes());
            input.extend_from_slice(bytes);
            input.push(b'\n');
        }
        Change::Delete { path } => {
            input.extend_from_slice(format!("D {}\n", quote(path)).as_bytes());
        }
    }
}

fn quote(path: &str) -> String {
    let escaped = path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
