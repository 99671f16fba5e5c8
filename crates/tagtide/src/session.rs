//! Puts together what one run works with: an API in memory with the loaded objects, clients, a state, a driver.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use api::Kind;
use api::annotation;
use api::image::ImageRepository;
use apiserver::{OnDamage, Server, StatusKey};
use automation::marker::Marker;
use clock::Clock;
use controllers::state::State;
use controllers::tags::TagStore;
use controllers::{Artifacts, Context, Driver, Notifier, Settings, Summary};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Credentials};
use crate::manifests::{self, Loaded, Manifest};
use crate::report::{self, Problem};
use crate::requests::Requests;
use crate::secrets::Secrets;
use crate::ui::count;

/// Everything of one run.
pub(crate) struct Session {
    driver: Driver,
    server: Server,
    clock: Clock,
    kept: Option<Kept>,
    /// Objects that the API refused.
    pub(crate) refused: Vec<report::Object>,
    /// What could not be loaded.
    pub(crate) problems: Vec<Problem>,
    /// What a person should know, though nothing is wrong.
    pub(crate) notices: Vec<String>,
}

/// What the runs before have left, and this one leaves.
///
/// The objects of a run are its manifests', in memory; only their statuses are carried over, in
/// the file that a daemon has its objects in.
struct Kept {
    state: State,
    objects: Server,
}

/// The doors of a run that differ between a real one and the demo.
pub(crate) struct Doors {
    pub(crate) net: net::Client,
    pub(crate) clock: Clock,
    pub(crate) registry: registry::Options,
    /// Where archives of sources are stored, if somebody serves them.
    pub(crate) artifacts: Option<Artifacts>,
    /// Where events are sent to.
    pub(crate) notifier: Option<Notifier>,
    /// What the reconcilers ask of the API is counted here.
    pub(crate) requests: Requests,
}

impl Session {
    /// Loads `loaded` into an API of its own and opens the state, if there is one.
    pub(crate) fn open(
        loaded: Loaded,
        credentials: Credentials,
        state: Option<&Path>,
        doors: Doors,
        settings: Settings,
    ) -> Result<Self> {
        let server = server(doors.clock.clone())?;
        let mut notices = notices(&loaded, &credentials, &settings);
        let (objects, ambiguous) = settle(loaded.objects);
        let mut problems = loaded.problems;
        problems.extend(ambiguous);
        for ((namespace, name), data) in &credentials.secrets {
            load_secret(&server, namespace, name, data)?;
        }
        let kept = state.map(Kept::open).transpose()?;
        notices.extend(kept.iter().flat_map(|kept| kept.state.notices()).cloned());
        let mut refused = Vec::new();
        for manifest in &objects {
            refused.extend(load(&server, manifest, kept.as_ref()));
        }
        let clock = doors.clock.clone();
        let fallback = Some(Arc::new(credentials.fallback));
        let settings = Settings { keeps_state: kept.is_some(), fallback, ..settings };
        let state = kept.as_ref().map(|kept| &kept.state);
        let driver = driver(&server, doors, state, settings)?;
        Ok(Self { driver, server, clock, kept, refused, problems, notices })
    }

    /// Reconciles until nothing is due, or until `stop`, and keeps what the next run needs.
    pub(crate) async fn run(&self, stop: CancellationToken) -> Result<Summary> {
        let summary = self.driver.run_until_idle(stop).await?;
        if let Some(kept) = &self.kept {
            let statuses = self.statuses().await?;
            kept.objects.keep_statuses(statuses.into_iter()).await?;
            tracing::trace!(target: "durable", step = "statuses kept", "Durable step");
        }
        Ok(summary)
    }

    /// Forgets what the run was about to push: its report has been given.
    pub(crate) fn settle(&self) {
        self.driver.settle();
    }

    /// Takes what these markers hold for the choices before.
    pub(crate) fn stand_on(&self, markers: &[Marker]) {
        self.driver.stand_on(markers);
    }

    /// Returns a client of the API that the objects live in.
    pub(crate) fn client(&self) -> kube::Client {
        client(&self.server)
    }

    /// Asks for a scan of every image repository, as `flux reconcile` and webhooks do.
    pub(crate) async fn request_scans(&self) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {
            annotation::REQUESTED_AT: self.clock.now().to_string(),
        }}});
        let all = Api::<ImageRepository>::all(self.client());
        for repository in all.list(&ListParams::default()).await? {
            let namespace = repository.metadata.namespace.unwrap_or_default();
            let api = Api::<ImageRepository>::namespaced(self.client(), &namespace);
            let name = repository.metadata.name.unwrap_or_default();
            api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        Ok(())
    }

    async fn statuses(&self) -> Result<Vec<(StatusKey, Value)>> {
        let mut statuses = Vec::new();
        for kind in Kind::ALL {
            let api: Api<DynamicObject> = Api::all_with(self.client(), &resource(kind));
            for object in api.list(&ListParams::default()).await? {
                let namespace = object.metadata.namespace.unwrap_or_default();
                let name = object.metadata.name.unwrap_or_default();
                if let Some(status) = object.data.get("status") {
                    statuses.push(((stored_as(kind), namespace, name), status.clone()));
                }
            }
        }
        Ok(statuses)
    }
}

impl Kept {
    fn open(folder: &Path) -> Result<Self> {
        let state = State::open(folder)?;
        let (objects, _) = Server::open(&state.objects(), Clock::real(), OnDamage::Refuse)?;
        Ok(Self { state, objects })
    }

    fn status(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.objects.kept_status(&stored_as(kind), kind.as_str(), namespace, name)
    }
}

/// Returns the name under which the API keeps the objects of a kind.
fn stored_as(kind: Kind) -> String {
    let names = kind.names();
    format!("{}.{}", names.plural, names.group)
}

/// Returns an empty API that knows our kinds.
pub(crate) fn server(clock: Clock) -> Result<Server> {
    let server = Server::in_memory(clock);
    define(&server)?;
    Ok(server)
}

/// Teaches our kinds to an API.
pub(crate) fn define(server: &Server) -> Result<()> {
    for definition in api::crds() {
        server.install_yaml(definition).context("installing our own definitions")?;
    }
    Ok(())
}

/// Returns what a person should know about what was loaded and the credentials for it.
pub(crate) fn notices(
    loaded: &Loaded,
    credentials: &Credentials,
    settings: &Settings,
) -> Vec<String> {
    let secrets = Secrets::of(&loaded.objects, &loaded.encrypted, credentials, settings);
    let mut notices = loaded.notices.clone();
    notices.extend(skipped(&loaded.skipped, secrets.n_encrypted));
    notices.extend(credentials.notices.iter().cloned());
    notices.extend(secrets.missing);
    notices
}

/// Settles objects that stand in more than one file: a patch of another object, which the API does
/// not take alone, is left out.
pub(crate) fn settle(objects: Vec<Manifest>) -> (Vec<Manifest>, Vec<Problem>) {
    manifests::settle(objects, |manifest| apiserver_takes(&manifest.value))
}

pub(crate) fn resource(kind: Kind) -> ApiResource {
    let names = kind.names();
    let kind = GroupVersionKind::gvk(names.group, names.version, names.kind);
    ApiResource::from_gvk_with_plural(&kind, names.plural)
}

/// Returns a client of an API in this process.
pub(crate) fn client(server: &Server) -> kube::Client {
    kube::Client::new(server.router(), "default")
}

/// Returns a driver of the objects in `server` that works through `doors`.
pub(crate) fn driver(
    server: &Server,
    doors: Doors,
    state: Option<&State>,
    settings: Settings,
) -> Result<Driver> {
    let Doors { net, clock, registry, artifacts, notifier, requests } = doors;
    let limits = git::Limits::default();
    let mirrors = match state {
        Some(state) => git::Mirrors::open(&state.mirrors(), net.clone(), clock.clone(), limits),
        None => git::Mirrors::temporary(net.clone(), clock.clone(), limits),
    };
    Ok(Driver::new(Context {
        client: kube::Client::new(requests.counting(server.router()), "default"),
        registry: registry::Client::new(net, clock.clone(), registry),
        mirrors: mirrors.context("cannot make a folder for Git mirrors")?,
        tags: state.map_or_else(TagStore::in_memory, |state| TagStore::on_disk(state.cache())),
        artifacts,
        notifier,
        cache: state.map(State::cache),
        clock,
        settings,
    }))
}

/// Creates an object with its last status; an object that the API refuses is returned as failed.
fn load(server: &Server, manifest: &Manifest, kept: Option<&Kept>) -> Option<report::Object> {
    let (kind, namespace, name) = manifest.key();
    if let Err(error) = server.load(&manifest.value) {
        let place = format!("{}:{}", manifest.file, manifest.line);
        return Some(report::Object {
            kind,
            namespace,
            name,
            ready: false,
            reason: "Invalid".to_owned(),
            message: format!("{place}: {:#}", anyhow!(error)),
        });
    }
    let group = manifest.value["apiVersion"].as_str().and_then(|version| version.split('/').next());
    let kind = group.and_then(|group| Kind::of(group, &kind));
    let (kind, kept) = kind.zip(kept)?;
    if let Some(status) = kept.status(kind, &namespace, &name) {
        let mut object = manifest.value.clone();
        object["status"] = status;
        // A status that this version's definition no longer takes is as good as none.
        if let Err(error) = server.load_status(&object) {
            tracing::warn!(%error, %kind, "The kept status is not taken over");
        }
    }
    None
}

/// Returns whether an API takes this object when it stands alone.
fn apiserver_takes(value: &Value) -> bool {
    let server = Server::in_memory(Clock::real());
    let installed = api::crds().iter().try_for_each(|crd| server.install_yaml(crd));
    installed.is_ok() && server.load(value).is_ok()
}

/// Creates or replaces a Secret that was given as files.
pub(crate) fn load_secret(
    server: &Server,
    namespace: &str,
    name: &str,
    data: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let secret = k8s_openapi::api::core::v1::Secret {
        data: Some(
            data.iter()
                .map(|(key, value)| (key.clone(), k8s_openapi::ByteString(value.clone())))
                .collect(),
        ),
        ..Default::default()
    };
    let mut object = serde_json::to_value(secret)?;
    object["metadata"] = json!({"namespace": namespace, "name": name});
    object["type"] = config::secret_type(data).into();
    server.load(&object).with_context(|| format!("--secret {namespace}/{name}"))?;
    Ok(())
}

fn skipped(kinds: &BTreeMap<String, usize>, n_encrypted: usize) -> Option<String> {
    let others: usize = kinds.values().sum();
    let mut kinds: Vec<_> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    if n_encrypted > 0 {
        kinds.push(format!("{n_encrypted} encrypted Secret"));
    }
    let skipped = count(others + n_encrypted, "object");
    (!kinds.is_empty()).then(|| format!("skipped {skipped} of other kinds: {}", kinds.join(", ")))
}
