//! A folder to call the binary in, and a Kubernetes API on a loopback port that a stand-in controller works on.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use api::{Kind, annotation};
use apiserver::Server;
use axum::{extract::Request, http::Method, middleware::Next};
use clock::Clock;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, task::JoinHandle};

/// Reads a golden file.
pub(crate) fn golden(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let file = fs::File::open(path).expect("the golden file is there");
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("a record")).collect()
}

/// What an invocation printed and how it ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Returns what a golden record says.
    pub(crate) fn recorded(record: &Value) -> Said {
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        let exit = record["exit"].as_i64().expect("an exit code");
        Said {
            exit: i32::try_from(exit).expect("a small number"),
            stdout: text("stdout"),
            stderr: text("stderr"),
        }
    }

    /// Returns it with `change` applied to both texts.
    pub(crate) fn map(self, change: impl Fn(&str) -> String) -> Said {
        Said { stdout: change(&self.stdout), stderr: change(&self.stderr), ..self }
    }
}

/// A folder with the binary under both of its names.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["flux", "tagtide"] {
            symlink(env!("CARGO_BIN_EXE_tagtide"), folder.path().join(name)).expect("a link");
        }
        fs::create_dir(folder.path().join("work")).expect("a folder");
        Desk { folder }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file that invocations find by its name.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path("work").join(name), text).expect("a file");
    }

    /// Writes a kubeconfig for an API and returns its path.
    pub(crate) fn kubeconfig(&self, name: &str, url: &str) -> PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "there", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {
                "cluster": "there", "user": "me", "namespace": "of-the-context",
            }}],
        });
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(&path, config.to_string()).expect("a file");
        path
    }

    /// Prepares an invocation in an environment of its own.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.path(program));
        command.args(args).current_dir(self.path("work")).env_clear();
        command.env("HOME", self.path("home")).env("TZ", "UTC").stdin(Stdio::null());
        command.kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, program: &str, args: &[&str]) -> Said {
        said(self.command(program, args)).await
    }
}

/// Runs a prepared invocation to its end.
pub(crate) async fn said(mut command: Command) -> Said {
    let output = command.output().await.expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said {
        exit: output.status.code().expect("an exit code"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// An API on a loopback port with the three environments in it, and what works on them.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    pub(crate) async fn new() -> World {
        let server = Server::in_memory(Clock::real());
        for definition in api::crds() {
            server.install_yaml(definition).expect("our own definitions");
        }
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "envs"}});
        server.load(&namespace).expect("a namespace");
        for object in golden("objects.jsonl.gz") {
            server.load(&object).expect("a golden object");
            server.load_status(&object).expect("a golden status");
        }
        let client = Client::new(server.router(), "default");
        let finalizer = client.clone();
        let router = server.router().layer(axum::middleware::from_fn(
            move |request: Request, next: Next| {
                finalize_after_write(finalizer.clone(), request, next)
            },
        ));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the API is served");
        });
        let working = tokio::spawn(work(client.clone()));
        World { address, client, tasks: vec![serving, working] }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn api_of(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    let names = kind.names();
    let gvk = GroupVersionKind::gvk(names.group, names.version, names.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, names.plural);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Lets go of a deleted object right after somebody wrote to it, as the recorded controller happened to.
async fn finalize_after_write(
    client: Client,
    request: Request,
    next: Next,
) -> axum::response::Response {
    let is_put = request.method() == Method::PUT;
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if is_put {
        let parts: Vec<&str> = path.split('/').collect();
        let [.., "namespaces", namespace, plural, name] = parts[..] else { return response };
        let kind = Kind::ALL.into_iter().find(|kind| kind.names().plural == plural);
        let Some(kind) = kind else { return response };
        let api = api_of(&client, kind, Some(namespace));
        let object = api.get(name).await.expect("what was written is there");
        if object.metadata.deletion_timestamp.is_some() {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            api.patch(name, &PatchParams::default(), &patch).await.expect("it is let go of");
        }
    }
    response
}

/// Stands in for the controllers: tells of every generation and request that it was handled.
async fn work(client: Client) {
    loop {
        for kind in Kind::ALL {
            let listed = api_of(&client, kind, None).list(&ListParams::default()).await;
            for object in listed.expect("a listing") {
                handle(&client, kind, &object).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn handle(client: &Client, kind: Kind, object: &DynamicObject) {
    let metadata = &object.metadata;
    let requested =
        metadata.annotations.iter().flatten().find(|(key, _)| *key == annotation::REQUESTED_AT);
    let requested = requested.map(|(_, value)| value.as_str()).unwrap_or_default();
    let status = &object.data["status"];
    let is_handled = status["lastHandledReconcileAt"].as_str().unwrap_or_default() == requested
        && status["observedGeneration"].as_i64() == metadata.generation;
    let is_suspended = object.data["spec"]["suspend"] == true;
    if is_handled || is_suspended || metadata.deletion_timestamp.is_some() {
        return;
    }
    let known = status["conditions"].as_array().into_iter().flatten();
    let ready = known.into_iter().find(|condition| condition["type"] == "Ready");
    let message = ready.and_then(|ready| ready["message"].as_str()).unwrap_or("done");
    let mut patch = json!({"status": {
        "observedGeneration": metadata.generation,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": message,
            "lastTransitionTime": "2026-11-22T21:02:49Z",
            "observedGeneration": metadata.generation,
        }],
    }});
    if !requested.is_empty() {
        patch["status"]["lastHandledReconcileAt"] = requested.into();
    }
    let namespace = metadata.namespace.as_deref().expect("a namespaced object");
    let name = metadata.name.as_deref().expect("a named object");
    // It may be gone meanwhile.
    let _ = api_of(client, kind, Some(namespace))
        .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
}
