//! One run of one object, for all kinds alike; a kind brings only its `reconcile`.

use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, sync::Arc};

use api::{
    Object, Status, annotation,
    condition::{self, Reason, Type},
};
use futures::FutureExt;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{
    context::{Draft, Scope},
    driver::{FIELD_MANAGER, Shared, key_of},
    events::{self, Event},
    objects::{Objects, Observed, Store},
    outcome::{self, Failure, Response, Success},
    queue::{Next, ObjectKey},
    triggers::{self, Woken},
};

/// A kind that this program reconciles.
pub(crate) trait Reconcile: Object {
    /// Returns the store of this kind.
    fn store(objects: &Objects) -> &Store<Self>;

    /// Returns whom a change of this object wakes, beside itself.
    fn wakes(
        objects: &Objects,
        key: &ObjectKey,
        before: Option<&Self>,
        after: Option<&Self>,
    ) -> Woken;

    /// Brings the world to what the spec says. It gathers, decides, acts; what it learnt goes into
    /// `status`, which is written even when it fails.
    fn reconcile(
        &self,
        status: &mut Self::Status,
        ctx: &Scope<'_>,
    ) -> impl Future<Output = Result<Success, Failure>> + Send;

    /// Cleans up what was kept for the object, which is being deleted.
    fn release(&self, _ctx: &Scope<'_>) {}

    /// Whether a request is acknowledged while the object is suspended, as Flux's image reflector
    /// does and its other controllers do not.
    const ACKNOWLEDGES_SUSPENDED: bool;
}

/// Runs `$body` with `$kind`'s type as `$K`.
macro_rules! by_kind {
    ($kind:expr, $K:ident => $body:expr) => {
        match $kind {
            api::Kind::GitRepository => {
                type $K = api::source::GitRepository;
                $body
            }
            api::Kind::ImageRepository => {
                type $K = api::image::ImageRepository;
                $body
            }
            api::Kind::ImagePolicy => {
                type $K = api::image::ImagePolicy;
                $body
            }
            api::Kind::ImageUpdateAutomation => {
                type $K = api::image::ImageUpdateAutomation;
                $body
            }
        }
    };
}
pub(crate) use by_kind;

/// Takes note of an object; one that cannot be decoded is kept as its error.
pub(crate) fn observe<K: Reconcile>(objects: &Objects, object: DynamicObject) -> Woken {
    let key = key_of(&object);
    let version = object.metadata.resource_version.clone().unwrap_or_default();
    if K::store(objects).knows(&key, &version) {
        return Woken::new();
    }
    let decoded = serde_json::to_value(object).and_then(serde_json::from_value::<K>);
    let decoded = decoded.map(Arc::new).map_err(|error| {
        tracing::warn!(kind = %K::KIND, %key, %error, "Skipping an object that cannot be decoded");
        Arc::from(error.to_string())
    });
    let before = match K::store(objects).observe(&key, &version, decoded.clone()) {
        Observed::Stale => return Woken::new(),
        Observed::New => None,
        Observed::Changed(before) => before.ok(),
    };
    let after = decoded.ok();
    let mut woken = K::wakes(objects, &key, before.as_deref(), after.as_deref());
    if after.is_some_and(|after| triggers::wakes_itself(before.as_deref(), &after)) {
        woken.push((K::KIND, key));
    }
    woken
}

/// Takes note that an object is gone.
pub(crate) fn lose<K: Reconcile>(objects: &Objects, key: &ObjectKey) -> Woken {
    let before = K::store(objects).remove(key).and_then(Result::ok);
    K::wakes(objects, key, before.as_deref(), None)
}

/// Runs an object and returns what the queue is told.
pub(crate) async fn run<K: Reconcile>(shared: &Shared, key: &ObjectKey) -> Next {
    let Some(object) = K::store(&shared.objects).find(key) else { return Next::Done };
    match run_object(shared, key, object).await {
        Ok(next) => next,
        Err(kube::Error::Api(status)) if status.code == 404 => Next::Done,
        Err(error) => {
            tracing::warn!(%error, "Cannot write an object");
            Next::Retry
        }
    }
}

async fn run_object<K: Reconcile>(
    shared: &Shared,
    key: &ObjectKey,
    mut object: Arc<K>,
) -> Result<Next, kube::Error> {
    if object.meta().deletion_timestamp.is_some() {
        return finalize(shared, key, &*object).await;
    }
    if !object.finalizers().iter().any(|finalizer| finalizer == annotation::FINALIZER) {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.push(annotation::FINALIZER.to_owned());
        write_finalizers(shared, key, &*object, finalizers).await?;
        let Some(written) = K::store(&shared.objects).find(key) else { return Ok(Next::Done) };
        object = written;
    }
    if object.is_suspended() {
        return suspend(shared, key, &*object).await;
    }
    let scope = scope_of(shared, key, &*object);
    announce(&scope, &*object).await;
    let mut status = object.status().cloned().unwrap_or_default();
    let reconcile = AssertUnwindSafe(object.reconcile(&mut status, &scope)).catch_unwind().await;
    let outcome = reconcile.unwrap_or_else(|panic| Err(panicked(&*panic)));
    if matches!(outcome, Err(Failure { response: Response::Abandon, .. })) {
        return Ok(Next::Again);
    }
    conclude(&scope, &*object, status, outcome).await
}

/// Cleans up after an object and lets it go.
async fn finalize<K: Reconcile>(
    shared: &Shared,
    key: &ObjectKey,
    object: &K,
) -> Result<Next, kube::Error> {
    if !object.finalizers().iter().any(|finalizer| finalizer == annotation::FINALIZER) {
        return Ok(Next::Done);
    }
    object.release(&scope_of(shared, key, object));
    let others = object.finalizers().iter().filter(|other| *other != annotation::FINALIZER);
    write_finalizers(shared, key, object, others.cloned().collect()).await?;
    Ok(Next::Done)
}

/// A list is written whole, so the version says which list was meant to be changed.
async fn write_finalizers<K: Reconcile>(
    shared: &Shared,
    key: &ObjectKey,
    object: &K,
    finalizers: Vec<String>,
) -> Result<(), kube::Error> {
    let patch = json!({
        "metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()},
    });
    let api = shared.api(K::KIND, &key.namespace);
    let params = PatchParams::apply(FIELD_MANAGER);
    let written = api.patch(&key.name, &params, &Patch::Merge(patch)).await?;
    if written.metadata.deletion_timestamp.is_none() {
        shared.observe(K::KIND, written);
    }
    Ok(())
}

async fn suspend<K: Reconcile>(
    shared: &Shared,
    key: &ObjectKey,
    object: &K,
) -> Result<Next, kube::Error> {
    tracing::info!("Reconciliation is suspended for this object");
    let handled = object.status().and_then(Status::last_handled_reconcile_at);
    if K::ACKNOWLEDGES_SUSPENDED
        && let Some(requested) = object.requested_at()
        && handled != Some(requested)
    {
        let patch = json!({"lastHandledReconcileAt": requested});
        shared.patch_status(K::KIND, key, &patch).await?;
    }
    Ok(Next::Done)
}

pub(crate) fn scope_of<'a, K: Reconcile>(
    shared: &'a Shared,
    key: &ObjectKey,
    object: &K,
) -> Scope<'a> {
    let status = object.status().cloned().unwrap_or_default();
    let generation = object.meta().generation.unwrap_or_default();
    let requested = object.requested_at().is_some()
        && object.requested_at() != status.last_handled_reconcile_at();
    let stage = condition::find(status.conditions(), Type::Reconciling)
        .map(|reconciling| reconciling.message.clone());
    let draft = Draft {
        conditions: status.conditions().to_vec(),
        stage: stage.unwrap_or_default(),
        written: json!(status),
        ..Draft::default()
    };
    Scope {
        shared,
        key: key.clone(),
        kind: K::KIND,
        started: shared.context.clock.now(),
        generation,
        announce: requested || status.observed_generation() != Some(generation),
        requested,
        draft: Mutex::new(draft),
    }
}

/// Says that work has begun.
async fn announce<K: Reconcile>(scope: &Scope<'_>, object: &K) {
    let observed = object.status().and_then(Status::observed_generation).unwrap_or(-1);
    if observed == scope.generation {
        scope.progress("reconciliation in progress").await;
    } else {
        let generation = scope.generation;
        let message = format!("processing object: new generation {observed} -> {generation}");
        scope.progress(&message).await;
    }
}

/// Writes what a run ended with: conditions, status, events, log; and says what comes next.
async fn conclude<K: Reconcile>(
    scope: &Scope<'_>,
    object: &K,
    mut status: K::Status,
    outcome: Result<Success, Failure>,
) -> Result<Next, kube::Error> {
    let before = object.status().map(Status::conditions).unwrap_or_default();
    let (conclusion, written, extras, told, settled, report) = {
        let mut draft = scope.draft.lock();
        let draft = &mut *draft;
        let at = scope.moment();
        let conclusion = outcome::conclude(&mut draft.conditions, &outcome, &draft.stage, at);
        let written = draft.written.get("conditions").cloned().unwrap_or_default();
        let written: Vec<Condition> = serde_json::from_value(written).unwrap_or_default();
        outcome::keep_times(&mut draft.conditions, &written);
        *status.conditions_mut() = Some(draft.conditions.clone());
        (
            conclusion,
            std::mem::take(&mut draft.written),
            std::mem::take(&mut draft.extras),
            std::mem::take(&mut draft.told),
            std::mem::take(&mut draft.settled),
            std::mem::take(&mut draft.report),
        )
    };
    if conclusion.observed {
        *status.observed_generation_mut() = Some(scope.generation);
    }
    if let Some(requested) = object.requested_at() {
        *status.last_handled_reconcile_at_mut() = Some(requested.to_owned());
    }
    scope.shared.report(scope.kind, &scope.key, report);
    let mut news: Vec<Event> = told.into_iter().map(Event::good).collect();
    news.extend(outcome::news(before, status.conditions(), &outcome, &extras));
    log(&outcome);
    let telling = Telling::of(object, &outcome);
    telling.record(scope, &news).await;
    if let Some(patch) = merge_patch(&written, &json!(status)) {
        scope.shared.patch_status(scope.kind, &scope.key, &patch).await?;
    }
    scope.shared.recorder.caught_up(scope.kind, &scope.key);
    telling.notify(scope, &news);
    scope.shared.settle(&scope.key, settled);
    Ok(conclusion.next)
}

/// How news of an object are told.
struct Telling {
    about: ObjectReference,
    annotations: BTreeMap<String, String>,
}

impl Telling {
    fn of<K: Reconcile>(object: &K, outcome: &Result<Success, Failure>) -> Telling {
        let mut annotations = events::inherited(object.meta().annotations.as_ref());
        // What an object says of itself wins over what its run says.
        for (name, value) in outcome.iter().flat_map(|success| &success.annotations) {
            annotations.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Telling { about: reference_to(object), annotations }
    }

    /// Tells the API.
    async fn record(&self, scope: &Scope<'_>, news: &[Event]) {
        let recorder = &scope.shared.recorder;
        for event in news {
            recorder.record(scope, &self.about, &self.annotations, event).await;
        }
    }

    /// Tells whoever else wants to hear of it.
    fn notify(&self, scope: &Scope<'_>, news: &[Event]) {
        let Some(notifier) = &scope.notifier else { return };
        for event in news {
            let now = scope.clock.now();
            notifier.notify(scope.kind, &self.about, &self.annotations, event, now);
        }
    }
}

fn log(outcome: &Result<Success, Failure>) {
    match outcome {
        Ok(success) => tracing::info!(outcome = %success.message, "Reconciled object"),
        Err(Failure { reason, message, .. }) => {
            tracing::warn!(%reason, error = %message, "Cannot reconcile object");
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = %text, "A reconciler panicked");
    let message = "internal error: the reconciler panicked; its log has the details".to_owned();
    Failure { response: Response::Retry, reason: Reason::Failed, message }
}

fn reference_to<K: Reconcile>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::KIND.api_version()),
        kind: Some(K::KIND.as_str().to_owned()),
        namespace: object.namespace(),
        name: Some(object.name_any()),
        uid: object.uid(),
        resource_version: object.resource_version(),
        field_path: None,
    }
}

/// Returns the JSON merge patch that makes `after` of `before`, `None` when they are alike.
fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for (name, value) in new {
        let known = old.get(name).unwrap_or(&Value::Null);
        if let Some(change) = merge_patch(known, value) {
            patch.insert(name.clone(), change);
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

macro_rules! kind {
    ($kind:ty, $store:ident, $wakes:path) => {
        fn store(objects: &$crate::objects::Objects) -> &$crate::objects::Store<$kind> {
            &objects.$store
        }

        fn wakes(
            objects: &$crate::objects::Objects,
            key: &$crate::queue::ObjectKey,
            before: Option<&$kind>,
            after: Option<&$kind>,
        ) -> $crate::triggers::Woken {
            $wakes(objects, key, before, after)
        }
    };
}
pub(crate) use kind;
