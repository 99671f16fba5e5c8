//! What is measured about reconciling, under the names that Flux's controllers use, and facts about
//! the objects that Flux's users have kube-state-metrics read for them.

mod text;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use api::{
    Kind, Object, Status,
    condition::{self, Type},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    driver::Shared,
    objects::Objects,
    queue::{Next, ObjectKey, Queue},
    reconcile::{self, Reconcile},
};
use text::Histogram;

pub use text::{MEDIA_TYPE, Text, to_float};

/// Ten buckets from 10 ms to half an hour, each longer than the one before by the same factor.
const RECONCILE_SECONDS: [f64; 10] = [
    0.01,
    0.038363583488692544,
    0.1471764538093883,
    0.5646216173286169,
    2.1660908555907006,
    8.309900738254731,
    31.87975707547831,
    122.3021722164349,
    469.1949594673653,
    1799.9999999999982,
];
/// controller-runtime's.
const CONTROLLER_SECONDS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0, 60.0,
];
/// The work queue's of controller-runtime: ten nanoseconds to 1,000 seconds.
const WORK_SECONDS: [f64; 12] =
    [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1_000.0];

/// Where a GitRepository has its address.
const GIT_URL: &str = "/spec/url";

/// What was measured so far.
pub(crate) struct Metrics {
    /// Of every kind, also before its first run.
    kinds: Mutex<BTreeMap<Kind, OfKind>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { kinds: Mutex::new(Kind::ALL.map(|kind| (kind, OfKind::default())).into()) }
    }
}

#[derive(Default)]
struct OfKind {
    /// How long each object took.
    durations: HashMap<ObjectKey, Histogram>,
    seconds: Histogram,
    waits: Histogram,
    work: Histogram,
    /// Runs by how they ended.
    ended: BTreeMap<&'static str, u64>,
    /// When the runs of now began.
    running: HashMap<ObjectKey, Instant>,
    n_begun: u64,
    n_panics: u64,
}

impl OfKind {
    fn n_ended(&self, result: &str) -> u64 {
        self.ended.get(result).copied().unwrap_or_default()
    }
}

/// How a run ended, in controller-runtime's words.
fn result(next: Next) -> &'static str {
    match next {
        Next::Done => "success",
        Next::After(_) => "requeue_after",
        Next::Retry => "error",
        Next::Again => "requeue",
    }
}

impl Metrics {
    /// Takes note of the begin of a run, for which its object had waited.
    pub(crate) fn begin(&self, kind: Kind, key: &ObjectKey, waited: Duration) {
        let mut kinds = self.kinds.lock();
        let of_kind = kinds.entry(kind).or_default();
        of_kind.waits.observe(&WORK_SECONDS, waited.as_secs_f64());
        of_kind.n_begun += 1;
        of_kind.running.insert(key.clone(), Instant::now());
    }

    /// Takes note of the end of a run; `None` if the driver itself panicked.
    pub(crate) fn end(&self, kind: Kind, key: &ObjectKey, next: Option<Next>) {
        let mut kinds = self.kinds.lock();
        let of_kind = kinds.entry(kind).or_default();
        let Some(began) = of_kind.running.remove(key) else { return };
        let seconds = began.elapsed().as_secs_f64();
        of_kind.durations.entry(key.clone()).or_default().observe(&RECONCILE_SECONDS, seconds);
        of_kind.seconds.observe(&CONTROLLER_SECONDS, seconds);
        of_kind.work.observe(&WORK_SECONDS, seconds);
        of_kind.n_panics += u64::from(next.is_none());
        *of_kind.ended.entry(next.map_or("error", result)).or_default() += 1;
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, kind: Kind, key: &ObjectKey) {
        if let Some(of_kind) = self.kinds.lock().get_mut(&kind) {
            of_kind.durations.remove(key);
        }
    }
}

/// Returns everything that is measured, as Prometheus reads it.
pub(crate) fn render(shared: &Shared) -> String {
    let mut text = Text::default();
    let kinds = shared.metrics.kinds.lock();
    reconciling(&mut text, &kinds);
    controllers(&mut text, &kinds, shared);
    queues(&mut text, &kinds, shared);
    drop(kinds);
    tokens(&mut text);
    objects(&mut text, &shared.objects);
    text.finish()
}

fn reconciling(text: &mut Text, kinds: &BTreeMap<Kind, OfKind>) {
    let name = "gotk_reconcile_duration_seconds";
    text.family(
        name,
        "histogram",
        "The duration in seconds of a GitOps Toolkit resource reconciliation.",
    );
    for (kind, of_kind) in kinds {
        let mut durations: Vec<_> = of_kind.durations.iter().collect();
        durations.sort_by_key(|(key, _)| *key);
        for (key, histogram) in durations {
            let labels =
                [("kind", kind.as_str()), ("name", &key.name), ("namespace", &key.namespace)];
            text.histogram(name, &labels, &RECONCILE_SECONDS, histogram);
        }
    }
}

/// controller-runtime's names; a controller is called by its kind in lower case.
fn controllers(text: &mut Text, kinds: &BTreeMap<Kind, OfKind>, shared: &Shared) {
    let name = "controller_runtime_reconcile_total";
    text.family(name, "counter", "Total number of reconciliations per controller");
    for (kind, of_kind) in kinds {
        for result in ["error", "requeue", "requeue_after", "success"] {
            let labels = [("controller", kind.names().singular), ("result", result)];
            text.sample(name, &labels, to_float(of_kind.n_ended(result)));
        }
    }
    let mut each = |name: &str, type_: &str, help: &str, value: &dyn Fn(Kind, &OfKind) -> u64| {
        text.family(name, type_, help);
        for (kind, of_kind) in kinds {
            let labels = [("controller", kind.names().singular)];
            text.sample(name, &labels, to_float(value(*kind, of_kind)));
        }
    };
    let name = "controller_runtime_reconcile_errors_total";
    let help = "Total number of reconciliation errors per controller";
    each(name, "counter", help, &|_, of_kind| of_kind.n_ended("error"));
    // Every error is tried again, so that none is terminal.
    let name = "controller_runtime_terminal_reconcile_errors_total";
    let help = "Total number of terminal reconciliation errors per controller";
    each(name, "counter", help, &|_, _| 0);
    let name = "controller_runtime_reconcile_panics_total";
    let help = "Total number of reconciliation panics per controller";
    each(name, "counter", help, &|_, of_kind| of_kind.n_panics);
    // What may take long has a limit of its own; a run as a whole has none.
    let name = "controller_runtime_reconcile_timeouts_total";
    let help = "Total number of reconciliation timeouts per controller";
    each(name, "counter", help, &|_, _| 0);
    let name = "controller_runtime_active_workers";
    let help = "Number of currently used workers per controller";
    each(name, "gauge", help, &|_, of_kind| of_kind.running.len() as u64);
    let name = "controller_runtime_max_concurrent_reconciles";
    let help = "Maximum number of concurrent reconciles per controller";
    each(name, "gauge", help, &|kind, _| shared.concurrency(kind) as u64);
    let name = "controller_runtime_reconcile_time_seconds";
    text.family(name, "histogram", "Length of time per reconciliation per controller");
    for (kind, of_kind) in kinds {
        let labels = [("controller", kind.names().singular)];
        text.histogram(name, &labels, &CONTROLLER_SECONDS, &of_kind.seconds);
    }
}

/// The work queues', by controller-runtime's names.
fn queues(text: &mut Text, kinds: &BTreeMap<Kind, OfKind>, shared: &Shared) {
    let depths: BTreeMap<Kind, usize> = {
        let queues = shared.queues.lock();
        queues.iter().map(|(kind, queue)| (*kind, Queue::n_ready(queue))).collect()
    };
    let depth = |kind: Kind| depths.get(&kind).copied().unwrap_or_default() as u64;
    let name = "workqueue_depth";
    text.family(name, "gauge", "Current depth of workqueue by workqueue and priority");
    for kind in kinds.keys() {
        let [controller, queue] = queue_labels(*kind);
        text.sample(name, &[controller, queue, ("priority", "")], to_float(depth(*kind)));
    }
    let mut each = |name: &str, type_: &str, help: &str, value: &dyn Fn(Kind, &OfKind) -> f64| {
        text.family(name, type_, help);
        for (kind, of_kind) in kinds {
            text.sample(name, &queue_labels(*kind), value(*kind, of_kind));
        }
    };
    let help = "Total number of adds handled by workqueue";
    // Whatever was added has begun, or waits.
    let added = |kind: Kind, of_kind: &OfKind| to_float(of_kind.n_begun + depth(kind));
    each("workqueue_adds_total", "counter", help, &added);
    let help = "Total number of items added to the workqueue with a non-zero delay \
                (rate-limited requeues, explicit RequeueAfter or AddAfter calls)";
    let delayed = |of_kind: &OfKind| of_kind.n_ended("error") + of_kind.n_ended("requeue_after");
    each("workqueue_retries_total", "counter", help, &|_, of_kind| to_float(delayed(of_kind)));
    let help = "How many seconds of work has been done that is in progress and hasn't been \
                observed by work_duration. Large values indicate stuck threads. One can deduce the \
                number of stuck threads by observing the rate at which this increases.";
    let unfinished = |of_kind: &OfKind| elapsed(of_kind).sum::<Duration>().as_secs_f64();
    each("workqueue_unfinished_work_seconds", "gauge", help, &|_, of_kind| unfinished(of_kind));
    let help = "How many seconds has the longest running processor for workqueue been running.";
    let longest = |of_kind: &OfKind| elapsed(of_kind).max().unwrap_or_default().as_secs_f64();
    each("workqueue_longest_running_processor_seconds", "gauge", help, &|_, kind| longest(kind));
    let mut spread = |name: &str, help: &str, of: &dyn Fn(&OfKind) -> &Histogram| {
        text.family(name, "histogram", help);
        for (kind, of_kind) in kinds {
            text.histogram(name, &queue_labels(*kind), &WORK_SECONDS, of(of_kind));
        }
    };
    let help = "How long in seconds an item stays in workqueue before being requested";
    spread("workqueue_queue_duration_seconds", help, &|of_kind| &of_kind.waits);
    let help = "How long in seconds processing an item from workqueue takes.";
    spread("workqueue_work_duration_seconds", help, &|of_kind| &of_kind.work);
}

/// A queue is called as its controller is.
fn queue_labels(kind: Kind) -> [(&'static str, &'static str); 2] {
    let name = kind.names().singular;
    [("controller", name), ("name", name)]
}

/// Flux's cache of the tokens that clouds give. No cloud is asked for one, so nothing is kept.
fn tokens(text: &mut Text) {
    let name = "gotk_token_cached_items";
    text.family(name, "gauge", "Total number of items in the cache.");
    text.sample(name, &[], 0.0);
    let name = "gotk_token_cache_evictions_total";
    text.family(name, "counter", "Total number of cache evictions.");
    text.sample(name, &[], 0.0);
}

fn elapsed(of_kind: &OfKind) -> impl Iterator<Item = Duration> {
    of_kind.running.values().map(Instant::elapsed)
}

fn objects(text: &mut Text, objects: &Objects) {
    let conditions = "gotk_reconcile_condition";
    text.family(
        conditions,
        "gauge",
        "The current condition status of a GitOps Toolkit resource reconciliation.",
    );
    for kind in Kind::ALL {
        reconcile::by_kind!(kind, K => each::<K>(objects, |object, labels| {
            for status in ["True", "False", "Unknown"] {
                let is_so = f64::from(ready(object) == status);
                let labels = [labels[0], labels[1], labels[2], ("status", status), ("type", "Ready")];
                text.sample(conditions, &labels, is_so);
            }
        }));
    }
    let suspended = "gotk_suspend_status";
    text.family(suspended, "gauge", "The current suspend status of a GitOps Toolkit resource.");
    for kind in Kind::ALL {
        reconcile::by_kind!(kind, K => each::<K>(objects, |object, labels| {
            text.sample(suspended, labels, f64::from(object.is_suspended()));
        }));
    }
    let info = "gotk_resource_info";
    text.family(info, "gauge", "The current state of a GitOps Toolkit resource.");
    for kind in Kind::ALL {
        reconcile::by_kind!(kind, K => each::<K>(objects, |object, labels| {
            let names = kind.names();
            let suspended = object.is_suspended().to_string();
            let [_, name, (_, namespace)] = *labels;
            let mut labels = vec![
                ("customresource_group", names.group),
                ("customresource_kind", names.kind),
                ("customresource_version", names.version),
                ("exported_namespace", namespace),
                name,
                ("ready", ready(object)),
                ("suspended", &suspended),
            ];
            let facts = facts(kind, &serde_json::json!(object));
            labels.extend(facts.iter().map(|(label, value)| (*label, value.as_str())));
            text.sample(info, &labels, 1.0);
        }));
    }
}

/// Calls `tell` with every object of a kind and what names it.
fn each<K: Reconcile>(objects: &Objects, mut tell: impl FnMut(&K, &[(&str, &str); 3])) {
    for (key, object) in K::store(objects).all() {
        let Ok(object) = object else { continue };
        let labels =
            [("kind", K::KIND.as_str()), ("name", &key.name), ("namespace", &key.namespace)];
        tell(&object, &labels);
    }
}

fn ready<K: Reconcile>(object: &K) -> &str {
    let conditions = object.status().map(Status::conditions).unwrap_or_default();
    condition::find(conditions, Type::Ready).map_or("Unknown", |ready| ready.status.as_str())
}

/// Returns the labels that are a kind's own, as Flux's configuration of kube-state-metrics has them.
fn facts(kind: Kind, object: &serde_json::Value) -> Vec<(&'static str, String)> {
    let paths: &[(&str, &str)] = match kind {
        Kind::GitRepository => &[("revision", "/status/artifact/revision"), ("url", GIT_URL)],
        Kind::ImageRepository => {
            &[("revision", "/status/lastScanResult/revision"), ("url", "/spec/image")]
        }
        Kind::ImagePolicy => &[("source_name", "/spec/imageRepositoryRef/name")],
        Kind::ImageUpdateAutomation => &[("source_name", "/spec/sourceRef/name")],
    };
    let text = |path: &str| {
        let text = object.pointer(path)?.as_str()?;
        match path {
            // One with a password in it is shown without.
            GIT_URL => Some(text.parse::<git::RemoteUrl>().ok()?.to_string()),
            _ => Some(text.to_owned()),
        }
    };
    paths.iter().filter_map(|(label, path)| Some((*label, text(path)?))).collect()
}
