//! A running `tagtide up`, looked at from outside.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use api::Kind;
use futures::StreamExt;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::manifests::NAMESPACE;

/// The system counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// Longer than anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// A folder with manifests and a state.
pub(crate) struct Desk {
    folder: TempDir,
}

/// The daemon; it is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) client: Client,
    /// When it was started.
    pub(crate) started: Instant,
}

/// What the system says about the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// User and system time so far, in seconds.
    pub(crate) cpu: f64,
    /// Resident and proportional memory, in MiB.
    pub(crate) rss: f64,
    pub(crate) pss: f64,
    /// Bytes sent to the disk so far.
    pub(crate) written: u64,
    /// How often a thread was woken so far.
    pub(crate) wakes: u64,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let desk = Desk { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::create_dir(desk.manifests()).expect("a folder");
        fs::create_dir(desk.path("home")).expect("a folder");
        desk
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.path("manifests")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Removes what the daemon kept, except for what it is reached by.
    pub(crate) fn forget_state(&self) {
        fs::remove_dir_all(self.path("state")).expect("a state to remove");
    }

    /// Starts the daemon with the manifests and waits until it serves.
    pub(crate) async fn up(&self) -> Daemon {
        let output = |name: &str| fs::File::create(self.path(name)).expect("a file");
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_tagtide"))
            .args(["up", "--state", "state", "--listen", "127.0.0.1:0", "--storage-addr"])
            .args(["127.0.0.1:0", "--log-level", "error", "manifests"])
            .env_clear()
            .env("HOME", self.path("home"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .expect("the binary starts");
        while !fs::read_to_string(self.path("stdout")).unwrap_or_default().contains("try: ") {
            assert!(started.elapsed() < PATIENCE, "the daemon does not start");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let client = client(&self.path("state/kubeconfig")).await;
        Daemon { child, client, started }
    }
}

impl Daemon {
    /// Returns what the system says now.
    pub(crate) fn figures(&self) -> Figures {
        let file = |name: &str| {
            fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default()
        };
        let stat = file("stat");
        let times: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |n: usize| times.get(n).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        let memory = file("smaps_rollup");
        Figures {
            cpu: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
            rss: field(&memory, "Rss:") as f64 / 1024.0,
            pss: field(&memory, "Pss:") as f64 / 1024.0,
            written: field(&file("io"), "write_bytes:"),
            wakes: self.wakes(),
        }
    }

    fn wakes(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let tasks = tasks.into_iter().flatten().flatten();
        let status = tasks.map(|task| fs::read_to_string(task.path().join("status")));
        status.map(|text| field(&text.unwrap_or_default(), "voluntary_ctxt_switches:")).sum()
    }

    /// Returns the API's version: it counts the writes.
    pub(crate) async fn version(&self) -> u64 {
        let list = self.api(Kind::ImageRepository).list(&ListParams::default().limit(1)).await;
        let version = list.expect("the API answers").metadata.resource_version;
        version.and_then(|version| version.parse().ok()).expect("a version is a number")
    }

    pub(crate) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource(kind))
    }

    /// Asks for a reconciliation, as `tagtide reconcile` does.
    pub(crate) async fn request(&self, kind: Kind, name: &str, word: &str) {
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": word}}});
        let params = PatchParams::default();
        let done = self.api(kind).patch(name, &params, &Patch::Merge(&patch)).await;
        done.expect("the API takes an annotation");
    }

    /// Waits until as many objects of a kind as expected are what is looked for.
    pub(crate) async fn wait_for(&self, kind: Kind, n: usize, is_it: impl Fn(&Value) -> bool) {
        let (began, mut found) = (Instant::now(), HashSet::new());
        let objects = watcher(self.api(kind), watcher::Config::default()).applied_objects();
        let mut objects = std::pin::pin!(objects);
        while found.len() < n {
            assert!(began.elapsed() < PATIENCE, "{kind} does not become what it should");
            let next = tokio::time::timeout(PATIENCE, objects.next()).await;
            let next = next.expect("patience is longer").expect("a watch does not end");
            let object = next.expect("the API answers");
            if is_it(&object.data) {
                found.insert(object.name_any());
            } else {
                found.remove(&object.name_any());
            }
        }
    }

    /// Kills it as by the loss of power.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the daemon runs");
        self.child.wait().expect("a child");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have been killed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns whether the object's condition Ready is True.
pub(crate) fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}

/// Returns the tag that a policy has chosen.
pub(crate) fn chosen(object: &Value) -> Option<&str> {
    object["status"]["latestRef"]["tag"].as_str()
}

fn resource(kind: Kind) -> ApiResource {
    let names = kind.names();
    let kind = GroupVersionKind::gvk(names.group, names.version, names.kind);
    ApiResource::from_gvk_with_plural(&kind, names.plural)
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the daemon writes it");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.expect("a kubeconfig")).expect("TLS works")
}

/// Returns the number behind a name in a file of `/proc`.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
