//! What a reconciler may use: the doors to the outside, the settings, and its own scope of one run.

use std::{collections::BTreeMap, ops::Deref, sync::Arc, time::Duration};

use api::{
    Kind,
    condition::{self, Truth, Type},
    image::ImageRef,
};
use clock::Clock;
use git::CommitId;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    access::Fallback,
    artifact::Artifacts,
    driver::Shared,
    notify::Notifier,
    outcome::{self, Extra, Moment},
    queue::ObjectKey,
    report::Report,
    tags::TagStore,
};

/// The doors and settings of a driver. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Time.
    pub clock: Clock,
    /// The Kubernetes API: a cluster's or the embedded one.
    pub client: kube::Client,
    /// Registries.
    pub registry: registry::Client,
    /// Git remotes and their mirrors.
    pub mirrors: git::Mirrors,
    /// The last complete listing of every ImageRepository.
    pub tags: TagStore,
    /// Where events are sent to, beside the API.
    pub notifier: Option<Notifier>,
    /// Where archives of sources are stored; without it none are made.
    pub artifacts: Option<Artifacts>,
    /// Where the marker index is kept between processes; without it, in memory.
    pub cache: Option<Arc<redb::Database>>,
    /// What may be chosen about a run.
    pub settings: Settings,
}

/// What may be chosen about a run.
#[derive(Clone)]
pub struct Settings {
    /// How many objects of one kind are reconciled at a time; Flux's `--concurrent`.
    pub concurrency: usize,
    /// When a policy looks again for tags that are not there yet; Flux's `--requeue-dependency`.
    pub dependency_retry: Duration,
    /// How long after a registry first denied the current tag a complete listing must lack it too
    /// before a policy moves backwards.
    pub removal_confirmation: Duration,
    /// Whether tags and choices outlive this process. A run that keeps nothing never confirms a
    /// removal.
    pub keeps_state: bool,
    /// Refuses references from one namespace to another; Flux's `--no-cross-namespace-refs`.
    pub no_cross_namespace_refs: bool,
    /// Plans commits and does not push them.
    pub dry_run: bool,
    /// Choices to take for granted, by policy. When set, no registry is contacted and every other
    /// policy is unresolved.
    pub assumed: Option<BTreeMap<ObjectKey, ImageRef>>,
    /// The last kind that is reconciled; later ones are left alone.
    pub until: Kind,
    /// Reconciles only the objects of one namespace.
    pub namespace: Option<String>,
    /// Credentials for objects that name none, or whose Secret is not there; `None` in a service.
    pub fallback: Option<Arc<Fallback>>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            concurrency: 4,
            dependency_retry: Duration::from_secs(30),
            removal_confirmation: Duration::from_secs(60),
            keeps_state: true,
            no_cross_namespace_refs: false,
            dry_run: false,
            assumed: None,
            until: Kind::ImageUpdateAutomation,
            namespace: None,
            fallback: None,
        }
    }
}

/// One run of one object. It gives access to the [`Context`], says progress and gathers what the
/// driver writes at the end.
pub struct Scope<'a> {
    pub(crate) shared: &'a Shared,
    /// The object that is reconciled.
    pub key: ObjectKey,
    /// Its kind.
    pub kind: Kind,
    /// When the run began.
    pub started: Timestamp,
    /// Its generation.
    pub generation: i64,
    /// Whether this generation or this request is new, so that progress is news.
    pub(crate) announce: bool,
    /// Whether an annotation asks for this run.
    pub(crate) requested: bool,
    pub(crate) draft: Mutex<Draft>,
}

/// What a run has gathered so far.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) conditions: Vec<Condition>,
    /// The last progress message.
    pub(crate) stage: String,
    /// The status as the API has it.
    pub(crate) written: Value,
    pub(crate) extras: Vec<Extra>,
    /// News that are told however the run ends.
    pub(crate) told: Vec<String>,
    /// Pushes whose end the status tells.
    pub(crate) settled: Vec<CommitId>,
    pub(crate) report: Report,
}

impl Deref for Scope<'_> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.shared.context
    }
}

impl Scope<'_> {
    /// Returns the objects as last seen.
    pub fn objects(&self) -> &crate::objects::Objects {
        &self.shared.objects
    }

    /// Returns whether somebody asked for this run: by the annotation, or by running once.
    pub fn is_requested(&self) -> bool {
        self.requested || self.shared.once_since().is_some()
    }

    /// Returns the credentials that stand in for those an object lacks.
    pub(crate) fn fallback(&self) -> Option<&Fallback> {
        self.settings.fallback.as_deref()
    }

    /// Says what the run does now. It is written only where it is news: for a new generation or a
    /// new request, so that a run that finds nothing new costs one write.
    pub async fn progress(&self, message: &str) {
        self.write_progress(message, false).await;
    }

    /// Says what the run does now, and that the object is not ready until it is done.
    pub async fn progress_unready(&self, message: &str) {
        self.write_progress(message, true).await;
    }

    /// Sets a condition of the kind's own. Setting or changing one is told as an event.
    pub fn condition(&self, extra: Extra) {
        let mut draft = self.draft.lock();
        let Extra { type_, reason, ref message, .. } = extra;
        outcome::set(&mut draft.conditions, type_, Truth::True, reason, message, self.moment());
        draft.extras.push(extra);
    }

    /// Removes a condition of the kind's own.
    pub fn clear_condition(&self, type_: Type) {
        condition::remove(&mut self.draft.lock().conditions, type_);
    }

    /// Tells good news, however the run ends.
    pub(crate) fn tell(&self, message: String) {
        self.draft.lock().told.push(message);
    }

    /// Takes pushes out of the journal once the status is written.
    pub(crate) fn settle(&self, commits: impl IntoIterator<Item = CommitId>) {
        self.draft.lock().settled.extend(commits);
    }

    /// Adds to what [`crate::Driver::run_until_idle`] returns.
    pub fn report(&self, add: impl FnOnce(&mut Report)) {
        add(&mut self.draft.lock().report);
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { generation: self.generation, now: self.clock.now() }
    }

    async fn write_progress(&self, message: &str, unready: bool) {
        let patch = {
            let mut draft = self.draft.lock();
            let was_reconciling = condition::find(&draft.conditions, Type::Reconciling).is_some();
            outcome::begin(&mut draft.conditions, message, unready, self.moment());
            let is_news =
                (self.announce && (!was_reconciling || draft.stage != message)) || unready;
            draft.stage = message.to_owned();
            let conditions = json!(draft.conditions);
            if !is_news || draft.written.get("conditions") == Some(&conditions) {
                return;
            }
            json!({"conditions": conditions})
        };
        match self.shared.patch_status(self.kind, &self.key, &patch).await {
            Ok(()) => self.draft.lock().written["conditions"] = patch["conditions"].clone(),
            Err(error) => tracing::warn!(%error, "Cannot write progress"),
        }
    }
}
