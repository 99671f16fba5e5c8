//! A registry, a Git server, a fault proxy in front of each, manifests, and the program.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    DockerRegistry, DockerRegistryOptions, FaultProxy, GitAccess, GitServer, GitServerOptions,
    History, RegistryAccess,
};

/// The repository that automations write to.
pub(crate) const FLEET: &str = "fleet";

/// The author's name in the commits of the program.
pub(crate) const BOT: &str = "FluxBot";

/// No run of a test takes longer, whatever its servers do and whatever else the machine does.
const RUN_MAX: Duration = Duration::from_secs(300);

/// No run takes longer because of what a server does to it; a run of everything else takes seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The memory of a run, whatever a server sends: what it holds of packs and listings is capped.
pub(crate) const MEMORY_MAX: u64 = 512 << 20;

/// The file that most tests are about, with the value `1.0.0`.
pub(crate) const APP: &str = "apps/app.yaml";

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tagtide");

/// Everything outside the program.
pub(crate) struct World {
    pub(crate) git: GitServer,
    pub(crate) git_proxy: FaultProxy,
    pub(crate) registry: DockerRegistry,
    pub(crate) registry_proxy: FaultProxy,
    folder: TempDir,
}

/// What a run of the program came to.
pub(crate) struct Ran {
    /// The exit code; none for a process that was killed.
    pub(crate) code: Option<i32>,
    /// The report, null if there is none.
    pub(crate) report: Value,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The most memory that the process had at a time, in bytes.
    pub(crate) memory: u64,
    pub(crate) time: Duration,
}

/// A run of the program.
pub(crate) struct Running {
    child: Child,
    start: Instant,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
    /// What was read of standard error while it ran.
    heard: Vec<u8>,
    memory: JoinHandle<u64>,
}

impl World {
    /// Makes a world whose repository has these files on `main`.
    pub(crate) fn with_files(files: &[(&str, &str)]) -> World {
        World::of(GitServer::start(), DockerRegistry::start(), files)
    }

    /// As [`World::with_files`], but everyone has to say who they are.
    pub(crate) fn behind_passwords(files: &[(&str, &str)]) -> World {
        let git = GitServerOptions { access: GitAccess::Basic, ..Default::default() };
        let registry =
            DockerRegistryOptions { access: RegistryAccess::Basic, ..Default::default() };
        let servers = (GitServer::start_with(&git), DockerRegistry::start_with(&registry));
        World::of(servers.0, servers.1, files)
    }

    fn of(git: GitServer, registry: DockerRegistry, files: &[(&str, &str)]) -> World {
        git.create_repository(FLEET, files);
        World {
            git_proxy: FaultProxy::start(git.address()),
            registry_proxy: FaultProxy::start(registry.address()),
            git,
            registry,
            folder: TempDir::new().expect("a temporary folder"),
        }
    }

    /// Makes a world with one application, whose policy takes any version, and `tags` of its image.
    pub(crate) fn with_app(tags: &[&str]) -> World {
        let world = World::with_files(&[(APP, &app("app", "1.0.0"))]);
        world.push("app", tags);
        world.manifest("source", SOURCE);
        world.manifest("app", &choice("app", "semver: {range: '>=0.0.0'}"));
        world.manifest("automation", &automation("app", ""));
        world
    }

    /// Pushes tags of an image.
    pub(crate) fn push(&self, image: &str, tags: &[&str]) {
        for tag in tags {
            self.registry.push_tag(image, tag);
        }
    }

    /// Writes a manifest; `REGISTRY` and `GIT` in it stand for the proxies.
    pub(crate) fn manifest(&self, name: &str, text: &str) {
        let git = self.git_proxy.url(&self.git.url(FLEET));
        let text =
            text.replace("REGISTRY", &self.registry_proxy.host()).replace("GIT", git.as_str());
        let folder = self.manifests();
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join(format!("{name}.yaml")), text))
            .expect("the temporary folder can be written");
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Runs once, keeping nothing.
    pub(crate) fn run(&self) -> Ran {
        self.run_with(&[], &[])
    }

    /// Runs once with `--state`.
    pub(crate) fn run_kept(&self) -> Ran {
        self.run_with(&["--state", &self.state().display().to_string()], &[])
    }

    /// Runs once with more arguments and variables.
    pub(crate) fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let manifests = self.manifests().display().to_string();
        let all = [&["run", "--once", "-o", "json", &manifests], args].concat();
        self.tagtide(&all, variables)
    }

    /// Runs once, with `--state` or without.
    pub(crate) fn run_keeping(&self, keeps_state: bool) -> Ran {
        if keeps_state { self.run_kept() } else { self.run() }
    }

    /// Starts a run.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.start_command(&[&["run", "--once", "-o", "json"], args].concat())
    }

    /// Starts a run, with `--state` or without.
    pub(crate) fn start_keeping(&self, keeps_state: bool) -> Running {
        let state = self.state().display().to_string();
        let args: &[&str] = if keeps_state { &["--state", &state] } else { &[] };
        self.start(args)
    }

    /// Starts a command on the manifests.
    pub(crate) fn start_command(&self, args: &[&str]) -> Running {
        let mut command = program(self.folder.path());
        command.args(args).arg(self.manifests());
        Running::start(command)
    }

    /// Starts a run whose files cannot grow beyond so many blocks of 512 bytes. Writing more is an
    /// error; the signal that would come with it is ignored.
    pub(crate) fn start_limited(&self, blocks: u64, args: &[&str]) -> Running {
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut command = in_a_clean_environment("/bin/sh", self.folder.path());
        command.args(["-c", &limit, "sh", PROGRAM, "run", "--once", "-o", "json"]).args(args);
        command.arg(self.manifests());
        Running::start(command)
    }

    fn tagtide(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = program(self.folder.path());
        command.args(args).envs(variables.iter().copied());
        Running::start(command).wait()
    }

    /// Returns the folders that runs have in the folder for temporary files.
    pub(crate) fn temporary(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder can be read");
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("tagtide-")).collect()
    }

    /// Returns a file at the tip of a branch.
    #[track_caller]
    pub(crate) fn file(&self, branch: &str, path: &str) -> String {
        let bytes = self.git.repositories().file(FLEET, branch, path).expect("the file is there");
        String::from_utf8(bytes).expect("it is text")
    }

    /// Returns the value of the application at the tip of a branch, without quotes.
    #[track_caller]
    pub(crate) fn value(&self, branch: &str) -> String {
        let text = self.file(branch, APP);
        let value = text.lines().find_map(|line| line.strip_prefix("tag: "));
        let value = value.and_then(|value| value.split(' ').next());
        value.expect("the file has a tag").trim_matches('"').to_owned()
    }

    /// Returns the authors of a branch, the newest commit first.
    pub(crate) fn authors(&self, branch: &str) -> Vec<String> {
        let log = self.git.git(FLEET, &["log", "--format=%an", branch]);
        log.lines().map(str::to_owned).collect()
    }

    /// Returns how many commits of the program a branch has.
    pub(crate) fn n_bot(&self, branch: &str) -> usize {
        self.authors(branch).iter().filter(|author| *author == BOT).count()
    }

    /// Panics unless stock git and the history checker find nothing wrong, given what policies
    /// `flux-system:NAME` may have chosen.
    #[track_caller]
    pub(crate) fn check(&self, chosen: &[(&str, &str)]) {
        self.git.git(FLEET, &["fsck", "--strict"]);
        let mut history = History::of_bot(BOT);
        for (policy, tag) in chosen {
            let image = format!("{}/{policy}", self.registry_proxy.host());
            history.record_choice(&format!("flux-system:{policy}"), &image, tag);
        }
        history.check(self.git.repositories(), FLEET);
    }
}

impl Ran {
    /// Returns this if the run had this exit code.
    #[track_caller]
    pub(crate) fn exited(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{:#}", self.stderr, self.report);
        self
    }

    /// Returns this if the run stayed within the time and the memory that servers may cost.
    #[track_caller]
    pub(crate) fn stayed_small(self) -> Ran {
        assert!(self.time < PATIENCE, "{:?}\n{}", self.time, self.stderr);
        assert!((1..MEMORY_MAX).contains(&self.memory), "{} bytes\n{}", self.memory, self.stderr);
        self
    }

    /// Returns whether an object is ready, with reason and message.
    #[track_caller]
    pub(crate) fn object(&self, kind: &str, name: &str) -> (bool, &str, &str) {
        let objects = self.report["objects"].as_array();
        let object = objects.into_iter().flatten().find(|o| o["kind"] == kind && o["name"] == name);
        let object = object.unwrap_or_else(|| panic!("no {kind} {name} in {:#}", self.report));
        let text = |field: &str| object[field].as_str().expect("it is text");
        (object["ready"] == true, text("reason"), text("message"))
    }

    /// Returns the objects that are not ready, as `KIND/NAME`.
    pub(crate) fn failed(&self) -> Vec<String> {
        let objects = self.report["objects"].as_array().into_iter().flatten();
        objects
            .filter(|object| object["ready"] != true)
            .map(|object| {
                let text = |field: &str| object[field].as_str().unwrap_or_default();
                format!("{}/{}", text("kind"), text("name"))
            })
            .collect()
    }

    /// Returns how many commits were reported.
    pub(crate) fn n_commits(&self) -> usize {
        self.report["commits"].as_array().map_or(0, Vec::len)
    }

    /// Returns the problems, as `FILE:LINE REASON`.
    pub(crate) fn problems(&self) -> Vec<String> {
        let problems = self.report["problems"].as_array().into_iter().flatten();
        problems
            .map(|problem| {
                let text = |field: &str| problem[field].as_str().unwrap_or_default();
                format!("{}:{} {}", text("file"), problem["line"], text("reason"))
            })
            .collect()
    }
}

/// The source of all automations.
pub(crate) const SOURCE: &str = "\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: flux-system}
spec: {interval: 1m, timeout: 20s, ref: {branch: main}, url: GIT}
";

/// Returns a file with a value that the policy `name` sets.
pub(crate) fn app(name: &str, tag: &str) -> String {
    format!(
        "name: {name}\ntag: {tag} # {{\"$imagepolicy\": \"flux-system:{name}:tag\"}}\nport: 80\n"
    )
}

/// Returns the repository of an image and a policy over it, both of the image's name.
pub(crate) fn choice(name: &str, policy: &str) -> String {
    image(name, name, "") + &policy_of(name, name, policy)
}

/// Returns an ImageRepository.
pub(crate) fn image(name: &str, image: &str, more: &str) -> String {
    format!(
        "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\n\
         metadata: {{name: {name}, namespace: flux-system}}\n\
         spec:\n  image: REGISTRY/{image}\n  interval: 1m\n{more}"
    )
}

/// Returns an ImagePolicy.
pub(crate) fn policy_of(name: &str, repository: &str, policy: &str) -> String {
    format!(
        "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\n\
         metadata: {{name: {name}, namespace: flux-system}}\n\
         spec:\n  imageRepositoryRef: {{name: {repository}}}\n  policy: {{{policy}}}\n"
    )
}

/// Returns an automation that pushes to the branch it checks out; `push` is its `git.push` in flow
/// style, if there is any.
pub(crate) fn automation(name: &str, push: &str) -> String {
    automation_at(name, push, "./apps")
}

/// Returns an automation that edits the files below `path`.
pub(crate) fn automation_at(name: &str, push: &str, path: &str) -> String {
    let push = if push.is_empty() { String::new() } else { format!("    push: {push}\n") };
    format!(
        "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\n\
         metadata: {{name: {name}, namespace: flux-system}}\n\
         spec:\n  interval: 1m\n  sourceRef: {{kind: GitRepository, name: fleet}}\n  git:\n\
         {push}    commit:\n      author: {{name: {BOT}, email: flux@example.com}}\n\
         \x20     messageTemplate: 'Update by {name}'\n\
         \x20 update: {{path: {path}, strategy: Setters}}\n"
    )
}

fn program(home: &Path) -> Command {
    in_a_clean_environment(PROGRAM, home)
}

#[expect(clippy::disallowed_methods, reason = "the program is tested as its users start it")]
fn in_a_clean_environment(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("TMPDIR", home).current_dir(home);
    command
}

impl Running {
    fn start(mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().expect("the program starts");
        let memory = std::thread::spawn({
            let status = format!("/proc/{}/status", child.id());
            move || watch_memory(Path::new(&status))
        });
        Running {
            stdout: drain(child.stdout.take().expect("it is piped")),
            stderr: drain(child.stderr.take().expect("it is piped")),
            heard: Vec::new(),
            child,
            start,
            memory,
        }
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = kill();
        let sent = kill.args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("a shell has `kill`").success());
    }

    /// Waits until standard error has these words.
    pub(crate) fn wait_for(&mut self, words: &str) {
        while !String::from_utf8_lossy(&self.heard).contains(words) {
            self.heard.extend(self.stderr.recv_timeout(RUN_MAX).expect("it says something"));
        }
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Ran {
        let deadline = Instant::now() + RUN_MAX;
        let (stdout, is_over) = read_until(&self.stdout, deadline);
        if !is_over {
            drop(self.child.kill());
        }
        let status = self.child.wait().expect("it has ended");
        self.heard.extend(read_until(&self.stderr, deadline + RUN_MAX).0);
        let stderr = String::from_utf8_lossy(&self.heard).into_owned();
        assert!(is_over, "the program does not end:\n{stderr}");
        Ran {
            code: status.code(),
            report: serde_json::from_slice(&stdout).unwrap_or_default(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr,
            memory: self.memory.join().expect("it only reads"),
            time: self.start.elapsed(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "signals are sent as people send them")]
fn kill() -> Command {
    Command::new("kill")
}

/// Reads a stream to its end, piece by piece.
fn drain(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(n @ 1..) = stream.read(&mut piece) {
            drop(sender.send(piece[..n].to_vec()));
        }
    });
    receiver
}

/// Returns what a stream brings, and whether it ended in time.
fn read_until(stream: &mpsc::Receiver<Vec<u8>>, deadline: Instant) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match stream.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(piece) => all.extend(piece),
            Err(mpsc::RecvTimeoutError::Disconnected) => return (all, true),
            Err(mpsc::RecvTimeoutError::Timeout) => return (all, false),
        }
    }
}

/// Returns the peak of a process's memory as the kernel counts it, as last seen before its end.
fn watch_memory(status: &Path) -> u64 {
    let mut peak = 0;
    while let Ok(text) = std::fs::read_to_string(status) {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        // A process that has ended, and was not waited for yet, has none.
        let Some(line) = line else { break };
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>();
        peak = kibibytes.map_or(peak, |n| n * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}
