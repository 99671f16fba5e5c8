//! A server on loopback, and a `kubectl` of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use apiserver::Server;
use clock::Clock;
use expect_test::Expect;
use regex::Regex;
use tempfile::TempDir;
use testkit::{HttpServer, Tls};

const TOKEN: &str = "a-token-for-tests";

/// What a watch may take on a busy machine before it is called stuck.
const PATIENCE: Duration = Duration::from_secs(120);

const WIDGETS: &str = include_str!("../widgets.yaml");

/// A server, and a folder with the configuration of its client.
pub(crate) struct Cluster {
    http: HttpServer,
    folder: TempDir,
}

/// What a run of `kubectl` printed.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A `kubectl` that runs on.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Cluster {
    pub(crate) fn start() -> Cluster {
        let server = Server::in_memory(Clock::real());
        server.install_yaml(WIDGETS).expect("a sound definition");
        for definition in definitions() {
            server.install_yaml(&definition).expect("a sound definition");
        }
        let tls = Tls::generate();
        let router = apiserver::require_token(server.router(), TOKEN);
        let http = HttpServer::start(router, Some(&tls));
        let folder = tempfile::tempdir().expect("a folder can be made");
        let cluster = Cluster { http, folder };
        cluster.write("ca.pem", &tls.ca);
        cluster.write("config", &cluster.configuration(TOKEN));
        cluster
    }

    fn configuration(&self, token: &str) -> String {
        let url = self.http.url();
        let ca = self.path("ca.pem");
        format!(
            "{{apiVersion: v1, kind: Config, current-context: t, clusters: [{{name: t, cluster: {{server: '{url}', certificate-authority: '{}'}}}}], \
             users: [{{name: t, user: {{token: {token}}}}}], contexts: [{{name: t, context: {{cluster: t, user: t}}}}]}}",
            ca.display()
        )
    }

    /// Makes `kubectl` use another token.
    pub(crate) fn use_token(&self, token: &str) {
        self.write("config", &self.configuration(token));
    }

    /// Writes a file into the folder in which `kubectl` runs.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder is writable");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "the client is another program")]
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(kubectl());
        command
            .args(words(arguments))
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.path("config"))
            .stdin(Stdio::null());
        command
    }

    /// Runs `kubectl` to its end. Arguments are split at blanks outside quotes.
    pub(crate) fn kubectl(&self, arguments: &str) -> Run {
        Run::from(self.command(arguments).output().expect("kubectl runs"))
    }

    /// Runs `kubectl` with an editor that replaces one text by another in the file it is given.
    pub(crate) fn edit(&self, arguments: &str, from: &str, to: &str) -> Run {
        let editor = self.path("editor.sh");
        fs::write(&editor, format!("#!/bin/sh\nsed -i 's/{from}/{to}/' \"$1\"\n"))
            .expect("the folder is writable");
        let mut command = self.command(arguments);
        command.env("EDITOR", format!("sh {}", editor.display()));
        Run::from(command.output().expect("kubectl runs"))
    }

    /// Runs `kubectl` on a text.
    pub(crate) fn kubectl_with(&self, arguments: &str, input: &str) -> Run {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl runs");
        let mut stdin = child.stdin.take().expect("it was piped");
        stdin.write_all(input.as_bytes()).expect("kubectl reads its input");
        drop(stdin);
        Run::from(child.wait_with_output().expect("kubectl ends"))
    }

    /// Starts `kubectl` and leaves it running.
    pub(crate) fn start_kubectl(&self, arguments: &str) -> Running {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("kubectl runs");
        let stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    /// Checks what a run prints; what differs between runs is masked.
    #[track_caller]
    pub(crate) fn check(&self, arguments: &str, expected: Expect) {
        expected.assert_eq(&self.kubectl(arguments).masked());
    }

    /// Runs `kubectl`, which must succeed.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &str) -> String {
        let run = self.kubectl(arguments);
        assert_eq!(run.code, 0, "kubectl {arguments}: {}{}", run.stdout, run.stderr);
        run.stdout
    }

    /// Applies a manifest, which must succeed.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) -> String {
        let run = self.kubectl_with("apply -f -", manifest);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        run.stdout
    }
}

impl Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns everything it printed, without ages, times, identities and versions.
    pub(crate) fn masked(&self) -> String {
        let mut text = mask(&self.stdout);
        if !self.stderr.is_empty() {
            text += &format!("stderr: {}", mask(&self.stderr));
        }
        if self.code != 0 {
            text += &format!("exit code {}\n", self.code);
        }
        text
    }
}

impl Running {
    /// Waits for the next line that contains a text.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("kubectl never printed {text:?}"));
            if line.contains(text) {
                return mask(&line);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mask(text: &str) -> String {
    let rules = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r#"(resourceVersion: |Resource Version: +|"resourceVersion": )"?\d+"?"#, "${1}N"),
        (r"(?m) annotate$", " annotated"),
        // Newer clients say where something was deleted.
        (r"(?m) deleted from \S+ namespace$", " deleted"),
        (r"(?m)^((diff|---|\+\+\+) [^\t\n]*).*$", "$1"),
        (r"/[^ ]*/(LIVE|MERGED)-\d+/", "$1/"),
        (r"E\d{4} [0-9:.]+ +\d+ [a-z.]+go:\d+\]", "E"),
        (r"https://127\.0\.0\.1:\d+", "SERVER"),
        (r"\b(\d+m?\d*s\b( ago)?|\d+y\b)", "AGE"),
        (r"(?m) +$", ""),
    ];
    rules.iter().fold(text.to_owned(), |text, (pattern, with)| {
        Regex::new(pattern).expect("a sound pattern").replace_all(&text, *with).into_owned()
    })
}

/// Returns the program: the one of the folder that the convention for such tests names, or the first in the path.
fn kubectl() -> PathBuf {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/kube-assets");
    let candidates = assets.into_iter().chain([built]).map(|folder| folder.join("kubectl"));
    candidates.into_iter().find(|program| program.exists()).unwrap_or_else(|| "kubectl".into())
}

/// Splits at blanks outside single and double quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for character in text.chars() {
        match quote {
            Some(open) if open == character => quote = None,
            None if matches!(character, '\'' | '"') => quote = Some(character),
            None if character == ' ' => words.push(String::new()),
            _ => words.last_mut().expect("it begins with one").push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the definitions that this project serves.
fn definitions() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/crds");
    let entries = fs::read_dir(folder).expect("the definitions are there");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder is readable").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("definitions are text")).collect()
}
