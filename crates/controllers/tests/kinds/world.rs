//! A world for one test.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use clock::Clock;
use controllers::{Artifacts, Context, Driver, Settings, Summary, tags::TagStore};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// When every world begins.
const START: &str = "2026-01-01T00:00:00Z";

pub(crate) struct World {
    pub(crate) server: apiserver::Server,
    pub(crate) registry: sandbox::Registry,
    pub(crate) git: sandbox::GitHost,
    pub(crate) tags: TagStore,
    pub(crate) clock: Clock,
    pub(crate) writes: Arc<Mutex<Vec<String>>>,
    pub(crate) before_push: Pushes,
    /// The requests to the Git host so far, as `METHOD path`.
    pub(crate) git_requests: Arc<Mutex<Vec<String>>>,
    /// How many of the next writes of a status the API answers with an error.
    pub(crate) faults: Arc<AtomicUsize>,
    /// Where archives of sources are stored, and what holds the folder.
    pub(crate) artifacts: Option<(Artifacts, Arc<tempfile::TempDir>)>,
    /// A word of those paths whose statuses the API does not take at all.
    pub(crate) unwritable: Arc<Mutex<Option<&'static str>>>,
    /// What outlives a process.
    pub(crate) cache: Option<Arc<redb::Database>>,
}

/// What happens just before the next pushes arrive, one each.
pub(crate) type Pushes = Arc<Mutex<VecDeque<Box<dyn FnOnce() + Send>>>>;

impl World {
    /// Returns a world with the custom resource definitions and nothing else.
    pub(crate) fn new() -> World {
        World::with_definitions(&api::crds())
    }

    pub(crate) fn with_definitions(definitions: &[&str]) -> World {
        let clock = Clock::starting_at(START.parse().expect("a time"));
        let server = apiserver::Server::in_memory(clock.clone());
        for definition in definitions {
            server.install_yaml(definition).expect("the definitions are valid");
        }
        World {
            server,
            registry: sandbox::Registry::new(),
            git: sandbox::GitHost::new(),
            tags: TagStore::in_memory(),
            clock,
            writes: Arc::default(),
            before_push: Arc::default(),
            git_requests: Arc::default(),
            faults: Arc::default(),
            artifacts: None,
            unwritable: Arc::default(),
            cache: None,
        }
    }

    /// Returns a world whose sources are stored.
    pub(crate) fn with_artifacts() -> World {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = "http://artifacts.example/key";
        let artifacts = Artifacts::open(folder.path(), url).expect("a folder");
        World { artifacts: Some((artifacts, Arc::new(folder))), ..World::new() }
    }

    pub(crate) fn artifacts_folder(&self) -> &std::path::Path {
        self.artifacts.as_ref().expect("sources are stored").1.path()
    }

    /// Creates or replaces objects.
    pub(crate) fn apply(&self, manifests: &str) {
        for document in yaml::documents(manifests.as_bytes()) {
            let document = document.expect("the manifests parse");
            self.server.load(&document.value).expect("the API accepts the manifest");
        }
    }

    pub(crate) fn client(&self) -> kube::Client {
        let watched = Writes {
            seen: Arc::clone(&self.writes),
            faults: Arc::clone(&self.faults),
            unwritable: Arc::clone(&self.unwritable),
        };
        let router: Router =
            self.server.router().layer(middleware::from_fn_with_state(watched, record_write));
        kube::Client::new(router, "default")
    }

    pub(crate) fn driver(&self, settings: Settings) -> Driver {
        let pushes = Arc::clone(&self.before_push);
        let servers = sandbox::router(&self.registry, &self.git)
            .layer(middleware::from_fn_with_state(pushes, interfere))
            .layer(middleware::from_fn_with_state(Arc::clone(&self.git_requests), record_git));
        let wire = net::Client::with_service(servers);
        let options = registry::Options::default();
        let limits = git::Limits::default();
        let mirrors = git::Mirrors::temporary(wire.clone(), self.clock.clone(), limits);
        Driver::new(Context {
            notifier: None,
            artifacts: self.artifacts.as_ref().map(|(artifacts, _)| artifacts.clone()),
            clock: self.clock.clone(),
            client: self.client(),
            registry: registry::Client::new(wire, self.clock.clone(), options),
            mirrors: mirrors.expect("a temporary folder can be made"),
            tags: self.tags.clone(),
            cache: self.cache.clone(),
            settings,
        })
    }

    /// Runs until nothing is due, as a new process would.
    pub(crate) async fn run_once(&self) -> Summary {
        self.run_once_with(Settings::default()).await
    }

    pub(crate) async fn run_once_with(&self, settings: Settings) -> Summary {
        let driver = self.driver(settings);
        driver.run_until_idle(CancellationToken::new()).await.expect("the API lists")
    }

    /// Runs until nothing is due and takes note of it for good, as a session with a state does.
    pub(crate) async fn run_once_as_session(&self) -> Summary {
        let driver = self.driver(Settings::default());
        let summary = driver.run_until_idle(CancellationToken::new()).await;
        driver.settle();
        summary.expect("the API lists")
    }

    /// Runs the service for this long.
    pub(crate) async fn run_for(&self, driver: &Arc<Driver>, time: Duration) {
        let shutdown = CancellationToken::new();
        let driver = Arc::clone(driver);
        let stop = shutdown.clone();
        let run = tokio::spawn(async move { driver.run(stop).await });
        tokio::time::sleep(time).await;
        shutdown.cancel();
        run.await.expect("the driver ends");
    }

    /// Makes the API refuse the statuses of a kind, given by its plural; `None` makes it take all.
    pub(crate) fn refuse_statuses(&self, of: Option<&'static str>) {
        *self.unwritable.lock().expect("no test panics with it") = of;
    }

    /// Does something just before a push arrives; several of these meet one push each.
    pub(crate) fn before_push(&self, act: impl FnOnce() + Send + 'static) {
        self.before_push.lock().expect("no test panics with it").push_back(Box::new(act));
    }

    /// Returns the writes since the last call, as `METHOD path`.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.writes.lock().expect("no test panics with it"))
    }

    pub(crate) async fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        use kube::core::{ApiResource, DynamicObject};
        let kind: api::Kind = kind.parse().expect("a kind");
        let names = kind.names();
        let resource = ApiResource {
            group: names.group.to_owned(),
            version: names.version.to_owned(),
            api_version: kind.api_version(),
            kind: names.kind.to_owned(),
            plural: names.plural.to_owned(),
        };
        let objects: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(self.client(), namespace, &resource);
        let object = objects.get(name).await.expect("the object is there");
        serde_json::to_value(object).expect("an object is JSON")
    }

    /// Returns an object's conditions, a line each.
    pub(crate) async fn conditions(&self, kind: &str, namespace: &str, name: &str) -> String {
        conditions(&self.get(kind, namespace, name).await["status"])
    }

    /// Returns the events of a namespace, sorted: `type kind/name reason message`.
    pub(crate) async fn events(&self, namespace: &str) -> String {
        use k8s_openapi::api::core::v1::Event;
        let events: kube::Api<Event> = kube::Api::namespaced(self.client(), namespace);
        let events = events.list(&kube::api::ListParams::default()).await.expect("it lists");
        let mut lines: Vec<String> = events
            .items
            .iter()
            .map(|event| {
                let about = &event.involved_object;
                format!(
                    "{} {}/{} {} ×{}: {}\n",
                    event.type_.as_deref().unwrap_or_default(),
                    about.kind.as_deref().unwrap_or_default(),
                    about.name.as_deref().unwrap_or_default(),
                    event.reason.as_deref().unwrap_or_default(),
                    event.count.unwrap_or_default(),
                    event.message.as_deref().unwrap_or_default(),
                )
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    /// Returns the annotations of the events of a namespace that have some.
    pub(crate) async fn event_annotations(&self, namespace: &str) -> Vec<Value> {
        use k8s_openapi::api::core::v1::Event;
        let events: kube::Api<Event> = kube::Api::namespaced(self.client(), namespace);
        let events = events.list(&kube::api::ListParams::default()).await.expect("it lists");
        let annotations = events.items.into_iter().filter_map(|event| event.metadata.annotations);
        annotations.map(|annotations| serde_json::json!(annotations)).collect()
    }

    /// Returns a file at the tip of a branch.
    pub(crate) fn file(&self, repository: &str, branch: &str, path: &str) -> String {
        let files = self.git.files(repository, branch).expect("the branch is there");
        String::from_utf8(files[path].to_vec()).expect("it is text")
    }

    /// Makes a repository.
    pub(crate) fn repository(&self, name: &str, branch: &str, files: &[(&str, &str)]) {
        self.git.create(name, branch, files, &human());
    }
}

pub(crate) fn human() -> sandbox::Signature {
    sandbox::Signature {
        name: "Human".to_owned(),
        email: "human@example.com".to_owned(),
        seconds: 1_767_000_000,
    }
}

pub(crate) fn conditions(status: &Value) -> String {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let text =
        |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let line = |condition: &Value| {
        let [type_, status, reason, message] =
            ["type", "status", "reason", "message"].map(|field| text(condition, field));
        format!("{type_} {status} {reason} {message}\n")
    };
    conditions.iter().map(line).collect()
}

async fn interfere(State(pushes): State<Pushes>, request: Request, next: Next) -> Response {
    if request.method() == "POST" && request.uri().path().ends_with("/git-receive-pack") {
        let act = pushes.lock().expect("no test panics with it").pop_front();
        if let Some(act) = act {
            act();
        }
    }
    next.run(request).await
}

type Requests = Arc<Mutex<Vec<String>>>;

async fn record_git(State(seen): State<Requests>, request: Request, next: Next) -> Response {
    if let Some((_, action)) = request.uri().path().split_once(".git/") {
        let line = format!("{} {action}", request.method());
        seen.lock().expect("no test panics with it").push(line);
    }
    next.run(request).await
}

/// The writes seen so far, and which writes of statuses fail.
#[derive(Clone)]
struct Writes {
    seen: Arc<Mutex<Vec<String>>>,
    faults: Arc<AtomicUsize>,
    unwritable: Arc<Mutex<Option<&'static str>>>,
}

async fn record_write(State(writes): State<Writes>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if method != "GET" {
        let unwritable = *writes.unwritable.lock().expect("no test panics with it");
        if path.ends_with("/status")
            && (unwritable.is_some_and(|word| path.contains(word))
                || writes.faults.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok())
        {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let path = path.trim_start_matches("/apis/").trim_start_matches("/api/");
        writes.seen.lock().expect("no test panics with it").push(format!("{method} {path}"));
    }
    next.run(request).await
}
