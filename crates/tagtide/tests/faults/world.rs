//! A registry, a Git server, a fault proxy in front of each, manifests, and the program.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
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

/// No run of a test takes longer, whatever its servers do.
const RUN_MAX: Duration = Duration::from_secs(180);

/// The file that most tests are about, with the value `1.0.0`.
pub(crate) const APP: &str = "apps/app.yaml";

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

    fn tagtide(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = program(self.folder.path());
        command.args(args).envs(variables.iter().copied());
        wait(command)
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

#[expect(clippy::disallowed_methods, reason = "the program is tested as its users start it")]
fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagtide"));
    command.env_clear().env("HOME", home).env("TMPDIR", home).current_dir(home);
    command
}

fn wait(mut command: Command) -> Ran {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let stdout = drain(child.stdout.take().expect("it is piped"));
    let stderr = drain(child.stderr.take().expect("it is piped"));
    let Ok(stdout) = stdout.recv_timeout(RUN_MAX) else {
        drop(child.kill());
        drop(child.wait());
        panic!("the program does not end:\n{}", stderr.recv().unwrap_or_default());
    };
    let status = child.wait().expect("it has ended");
    Ran {
        code: status.code(),
        report: serde_json::from_str(&stdout).unwrap_or_default(),
        stdout,
        stderr: stderr.recv().unwrap_or_default(),
    }
}

/// Reads a stream to its end.
fn drain(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes));
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}
