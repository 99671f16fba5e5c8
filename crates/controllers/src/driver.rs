//! The driver: watches feed the queues, workers run reconcilers, and everything that all kinds
//! share happens here once: finalizer, suspension, progress, conditions, events, status, requeue.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::Kind;
use automation::marker::Marker;
use clock::Clock;
use futures::{FutureExt, StreamExt};
use git::CommitId;
use jiff::Timestamp;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    context::Context,
    events::Recorder,
    journal::Journal,
    markers::{self, MarkerIndex},
    metrics::{self, Metrics},
    objects::Objects,
    queue::{Next, ObjectKey, Queue},
    reconcile::{self, Reconcile},
    report::{Notice, ObjectSummary, Readiness, Reports, Summary},
    scans::Scans,
    standing::{self, Standing},
    tags::TagStore,
    triggers::Woken,
};

/// How we sign what we write.
pub(crate) const FIELD_MANAGER: &str = "tagtide";
/// Runs of one object until nothing is due. Every wake follows a change of a status, and a chain of
/// changes is no longer than the kinds; more is a circle that somebody else keeps turning.
const RUNS_MAX: u32 = 32;
/// How often something is written before it counts as failed, and the first pause between: six
/// seconds in all, longer than an API server takes to change its leader.
const WRITES_MAX: u32 = 6;
const WRITE_PAUSE: Duration = Duration::from_millis(200);
/// Automations that run at a time, at least: they wait for one another's pushes more than they work,
/// and only those that wait together share a push. It is as many as a push takes.
const AUTOMATIONS_MIN: usize = 200;
/// How long work on mirrors may take that was told to stop, before it is left alone.
const REST_MAX: Duration = Duration::from_secs(10);
/// Objects of one page when all are listed.
const PAGE: u32 = 500;

/// Runs the reconcilers of all kinds.
pub struct Driver {
    shared: Arc<Shared>,
}

/// What all runs share.
pub(crate) struct Shared {
    pub(crate) context: Context,
    pub(crate) objects: Arc<Objects>,
    pub(crate) recorder: Recorder,
    pub(crate) scans: Scans,
    pub(crate) selections: Mutex<BTreeMap<ObjectKey, crate::image_policy::Kept>>,
    pub(crate) markers: Arc<MarkerIndex>,
    /// What the markers at the tips hold, by policy: the choices before a run that kept none.
    pub(crate) standing: Mutex<Standing>,
    /// What automations were about to push.
    pub(crate) journal: Arc<Journal>,
    /// Ends the run that is under way.
    stop: Mutex<CancellationToken>,
    pub(crate) queues: Mutex<BTreeMap<Kind, Queue>>,
    pub(crate) metrics: Metrics,
    /// Kinds whose objects are all known.
    listed: Mutex<BTreeSet<Kind>>,
    wake: Notify,
    reports: Mutex<Reports>,
    /// When the last run until nothing is due began.
    once: Mutex<Option<Timestamp>>,
    /// The start of the queues' time.
    epoch: Instant,
    /// Where the names of runs come from.
    random: RandomState,
    n_runs: AtomicU64,
}

/// Why a run cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API did not list a kind.
    #[error("cannot list the objects of kind {kind}")]
    List {
        /// The kind.
        kind: Kind,
        /// The reason.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Driver {
    /// Returns a driver that has seen nothing yet.
    pub fn new(context: Context) -> Driver {
        let shared = Shared {
            objects: Arc::default(),
            recorder: Recorder::default(),
            scans: Scans::default(),
            selections: Mutex::default(),
            markers: markers::index(context.cache.clone()),
            standing: Mutex::default(),
            journal: Arc::new(Journal::open(context.cache.clone())),
            stop: Mutex::default(),
            queues: Mutex::new(Kind::ALL.map(|kind| (kind, Queue::default())).into()),
            metrics: Metrics::default(),
            listed: Mutex::default(),
            wake: Notify::new(),
            reports: Mutex::default(),
            once: Mutex::default(),
            epoch: Instant::now(),
            random: RandomState::new(),
            n_runs: AtomicU64::new(0),
            context,
        };
        Driver { shared: Arc::new(shared) }
    }

    /// Reconciles until `shutdown`. Pushes that are being sent come to their end then, and are
    /// written into their statuses; everything else is given up.
    pub async fn run(&self, shutdown: CancellationToken) {
        *self.shared.stop.lock() = shutdown.clone();
        let mut watches = JoinSet::new();
        for kind in self.shared.kinds() {
            let span = tracing::info_span!("watch", %kind);
            watches.spawn(watch(Arc::clone(&self.shared), kind).instrument(span));
        }
        let mut runs = JoinSet::new();
        loop {
            for kind in self.shared.kinds() {
                self.shared.start_runs(kind, &mut runs);
            }
            let due = self.shared.next_due();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.shared.wake.notified() => {}
                Some(_) = runs.join_next() => {}
                () = sleep_until(due) => {}
            }
        }
        watches.shutdown().await;
        while runs.join_next().await.is_some() {}
        self.shared.rest().await;
    }

    /// Reconciles every object once, kind after kind, and follows what wakes until nothing is due.
    /// A failing object is tried once; timers are not waited for. It stops early at `shutdown`, as
    /// [`Driver::run`] does.
    ///
    /// What automations pushed stays in the journal until [`Driver::settle`] is called.
    pub async fn run_until_idle(&self, shutdown: CancellationToken) -> Result<Summary, RunError> {
        let shared = &self.shared;
        *shared.stop.lock() = shutdown.clone();
        *shared.once.lock() = Some(shared.context.clock.now());
        for kind in Kind::ALL {
            list(shared, kind).await?;
        }
        let mut n_runs = BTreeMap::new();
        let mut standing_is_read = false;
        while let Some(kind) = shared.first_busy().filter(|_| !shutdown.is_cancelled()) {
            if kind == Kind::ImagePolicy && !standing_is_read {
                standing_is_read = true;
                shutdown.run_until_cancelled(standing::read(shared)).await;
            }
            let mut runs = JoinSet::new();
            shared.start_runs(kind, &mut runs);
            while let Some(done) = runs.join_next().await {
                if let Ok((kind, key)) = done {
                    let n = n_runs.entry((kind, key.clone())).or_insert(0);
                    *n += 1;
                    if *n >= RUNS_MAX {
                        tracing::warn!(%kind, %key, "Stopping an object that wakes again and again");
                        shared.forget(kind, &key);
                    }
                }
                shared.start_runs(kind, &mut runs);
            }
        }
        if shutdown.is_cancelled() {
            shared.rest().await;
        }
        Ok(self.summary())
    }

    /// Forgets the pushes of a run until nothing is due: its statuses are kept, and its summary is
    /// told. Until then the next process would find out about them and tell of them once more.
    pub fn settle(&self) {
        let automations = self.shared.objects.automations.keys();
        self.shared.journal.settle_rest(&automations.iter().map(ToString::to_string).collect());
    }

    /// Takes what these markers hold for the choices before, as a run does with those at the tips.
    pub fn stand_on(&self, markers: &[Marker]) {
        let mut standing = self.shared.standing.lock();
        markers.iter().for_each(|marker| standing::note(&mut standing, marker));
    }

    /// Returns what is measured, as Prometheus reads it.
    pub fn metrics(&self) -> String {
        metrics::render(&self.shared)
    }

    /// Returns whether all objects of a kind are known, so that they are reconciled.
    pub fn is_ready(&self, kind: Kind) -> bool {
        self.shared.listed.lock().contains(&kind)
    }

    /// Returns the last complete listing of every ImageRepository.
    pub fn tags(&self) -> &TagStore {
        &self.shared.context.tags
    }

    /// Returns the objects as last seen.
    pub fn objects(&self) -> &Objects {
        &self.shared.objects
    }

    /// Returns the API that the objects live in.
    pub fn client(&self) -> &kube::Client {
        &self.shared.context.client
    }

    fn summary(&self) -> Summary {
        let shared = &self.shared;
        let mut summary = Summary::default();
        for kind in shared.kinds() {
            reconcile::by_kind!(kind, K => for (key, object) in K::store(&shared.objects).all() {
                let (object, notices) = summarize::<K>(key, &object);
                summary.objects.push(object);
                summary.report.notices.extend(notices);
            });
        }
        let report = shared.reports.lock().take();
        summary.report.notices.extend(report.notices);
        summary.report.notices.sort();
        summary.report.commits = report.commits;
        summary.report.changes = report.changes;
        summary.report.problems = report.problems;
        summary.report.files = report.files;
        summary.n_unfinished = shared.queues.lock().values().map(Queue::n_ready).sum();
        summary
    }
}

impl Shared {
    /// Returns when this run until nothing is due began; `None` in a service.
    pub(crate) fn once_since(&self) -> Option<Timestamp> {
        *self.once.lock()
    }

    /// Returns what ends the run that is under way.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.lock().clone()
    }

    /// Takes pushes out of the journal whose end a status tells: at once where statuses are durable
    /// as soon as they are written, else when [`Driver::settle`] says so.
    pub(crate) fn settle(&self, automation: &ObjectKey, commits: Vec<CommitId>) {
        match self.once_since() {
            _ if commits.is_empty() => {}
            Some(_) => self.journal.settle_later(automation, commits),
            None => self.journal.settle(automation, &commits),
        }
    }

    /// Waits for work on mirrors that nobody waits for any more: it was told to stop.
    async fn rest(&self) {
        if tokio::time::timeout(REST_MAX, self.context.mirrors.idle()).await.is_err() {
            tracing::warn!("Work on a mirror does not end; its folder is left to the next start");
        }
    }

    /// Returns the kinds of this run, in the order in which facts travel.
    fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let settings = &self.context.settings;
        let (until, is_assumed) = (settings.until, settings.assumed.is_some());
        Kind::ALL
            .into_iter()
            .filter(move |kind| *kind <= until && !(is_assumed && *kind == Kind::ImageRepository))
    }

    /// Returns the API of one kind in one namespace.
    pub(crate) fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.context.client.clone(), namespace, &resource(kind))
    }

    /// Merges `patch` into the status of an object and takes note of the result.
    pub(crate) async fn patch_status(
        &self,
        kind: Kind,
        key: &ObjectKey,
        patch: &Value,
    ) -> Result<(), kube::Error> {
        let patch = Patch::Merge(json!({"status": patch}));
        let api = self.api(kind, &key.namespace);
        let params = PatchParams::apply(FIELD_MANAGER);
        let write = || api.patch_status(&key.name, &params, &patch);
        let object = patiently(&self.context.clock, write).await?;
        self.observe(kind, object);
        Ok(())
    }

    /// Takes note of an object and wakes whom its change concerns.
    pub(crate) fn observe(&self, kind: Kind, object: DynamicObject) {
        let woken = reconcile::by_kind!(kind, K => reconcile::observe::<K>(&self.objects, object));
        self.mark(woken);
    }

    /// Takes note that an object is gone.
    pub(crate) fn lose(&self, kind: Kind, key: &ObjectKey) {
        self.forget(kind, key);
        self.metrics.forget(kind, key);
        self.recorder.caught_up(kind, key);
        let woken = reconcile::by_kind!(kind, K => reconcile::lose::<K>(&self.objects, key));
        self.mark(woken);
    }

    /// Keeps what a run reports for the summary.
    pub(crate) fn report(&self, kind: Kind, key: &ObjectKey, report: crate::report::Report) {
        if self.once_since().is_some() {
            self.reports.lock().add(kind, key, report);
        }
    }

    fn mark(&self, woken: Woken) {
        if woken.is_empty() {
            return;
        }
        let kinds: BTreeSet<Kind> = self.kinds().collect();
        let now = self.epoch.elapsed();
        let mut queues = self.queues.lock();
        for (kind, key) in woken.iter().filter(|(kind, _)| kinds.contains(kind)) {
            if let Some(queue) = queues.get_mut(kind) {
                queue.mark(key, now);
            }
        }
        drop(queues);
        self.wake.notify_one();
    }

    fn forget(&self, kind: Kind, key: &ObjectKey) {
        if let Some(queue) = self.queues.lock().get_mut(&kind) {
            queue.forget(key);
        }
    }

    fn start_runs(self: &Arc<Self>, kind: Kind, runs: &mut JoinSet<(Kind, ObjectKey)>) {
        let limit = self.concurrency(kind);
        loop {
            let popped = {
                let mut queues = self.queues.lock();
                let Some(queue) = queues.get_mut(&kind) else { return };
                if queue.n_running() >= limit || self.stop().is_cancelled() {
                    return;
                }
                let now = self.epoch.elapsed();
                queue.pop(now).map(|key| (queue.waited(&key, now), key))
            };
            let Some((waited, key)) = popped else { return };
            self.metrics.begin(kind, &key, waited);
            runs.spawn(run(Arc::clone(self), kind, key));
        }
    }

    pub(crate) fn concurrency(&self, kind: Kind) -> usize {
        let concurrency = self.context.settings.concurrency.max(1);
        match kind {
            Kind::ImageUpdateAutomation => concurrency.max(AUTOMATIONS_MIN),
            Kind::GitRepository | Kind::ImageRepository | Kind::ImagePolicy => concurrency,
        }
    }

    /// Returns a name for a run, by which its log lines are found: in the form of a UUID.
    fn run_id(&self) -> String {
        let number = self.n_runs.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (self.random.hash_one(number), self.random.hash_one(!number));
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    fn finish(&self, kind: Kind, key: &ObjectKey, next: Next) {
        // Nobody waits for timers when every object is tried once.
        let is_over = self.once_since().is_some() && next != Next::Again;
        let next = if is_over { Next::Done } else { next };
        if let Some(queue) = self.queues.lock().get_mut(&kind) {
            queue.finish(key, next, self.epoch.elapsed());
        }
        self.wake.notify_one();
    }

    fn first_busy(&self) -> Option<Kind> {
        let queues = self.queues.lock();
        queues.iter().find(|(_, queue)| !queue.is_idle()).map(|(kind, _)| *kind)
    }

    fn next_due(&self) -> Option<Instant> {
        let queues = self.queues.lock();
        let due = queues.values().filter_map(Queue::next_due).min();
        due.and_then(|due| self.epoch.checked_add(due))
    }
}

/// One run of one object. A panic is that object's failure and nobody else's.
async fn run(shared: Arc<Shared>, kind: Kind, key: ObjectKey) -> (Kind, ObjectKey) {
    let span = tracing::info_span!(
        "reconcile", %kind, namespace = %key.namespace, name = %key.name, id = shared.run_id()
    );
    let next = {
        let work = async {
            reconcile::by_kind!(kind, K => reconcile::run::<K>(&shared, &key).boxed()).await
        };
        let run = async {
            match kind {
                // It looks at the token itself: a push that is being sent is not given up.
                Kind::ImageUpdateAutomation => work.await,
                Kind::GitRepository | Kind::ImageRepository | Kind::ImagePolicy => {
                    shared.stop().run_until_cancelled(work).await.unwrap_or(Next::Again)
                }
            }
        };
        AssertUnwindSafe(run.instrument(span)).catch_unwind().await
    };
    shared.metrics.end(kind, &key, next.as_ref().ok().copied());
    let next = next.unwrap_or_else(|_| {
        tracing::error!(%kind, %key, "The driver itself panicked over an object");
        Next::Retry
    });
    shared.finish(kind, &key, next);
    (kind, key)
}

/// Writes something, a few times if need be: what a run has done must not be forgotten over a
/// passing fault of the API.
pub(crate) async fn patiently<T, F>(clock: &Clock, write: impl Fn() -> F) -> Result<T, kube::Error>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut pause = WRITE_PAUSE;
    for _ in 1..WRITES_MAX {
        match write().await {
            Err(error) if !is_final(&error) => {
                tracing::warn!(%error, "Writing to the API is tried again");
            }
            result => return result,
        }
        clock.sleep(pause).await;
        pause *= 2;
    }
    write().await
}

/// Returns whether asking again cannot help: the object is gone, or the API refuses what we say.
fn is_final(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            (400..500).contains(&status.code) && ![409, 429].contains(&status.code)
        }
        _ => false,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Follows all objects of one kind for good.
async fn watch(shared: Arc<Shared>, kind: Kind) {
    let api = objects_of(&shared, kind);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = pin!(events);
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => shared.observe(kind, object),
            Ok(watcher::Event::Delete(object)) => shared.lose(kind, &key_of(&object)),
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(key_of(&object));
                shared.observe(kind, object);
            }
            Ok(watcher::Event::InitDone) => {
                lose_all_but(&shared, kind, &listed);
                shared.listed.lock().insert(kind);
            }
            Err(error) => tracing::warn!(%error, "The watch broke off and is taken up again"),
        }
    }
}

fn lose_all_but(shared: &Shared, kind: Kind, listed: &BTreeSet<ObjectKey>) {
    let known = reconcile::by_kind!(kind, K => K::store(&shared.objects).keys());
    for key in known.iter().filter(|key| !listed.contains(key)) {
        shared.lose(kind, key);
    }
}

/// Takes note of all objects of one kind.
async fn list(shared: &Shared, kind: Kind) -> Result<(), RunError> {
    let api = objects_of(shared, kind);
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let failed = |source| RunError::List { kind, source: Box::new(source) };
        let page = api.list(&params).await.map_err(failed)?;
        for object in page.items {
            shared.observe(kind, object);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

fn objects_of(shared: &Shared, kind: Kind) -> Api<DynamicObject> {
    match &shared.context.settings.namespace {
        Some(namespace) => shared.api(kind, namespace),
        None => Api::all_with(shared.context.client.clone(), &resource(kind)),
    }
}

fn resource(kind: Kind) -> ApiResource {
    let names = kind.names();
    ApiResource {
        group: names.group.to_owned(),
        version: names.version.to_owned(),
        api_version: kind.api_version(),
        kind: names.kind.to_owned(),
        plural: names.plural.to_owned(),
    }
}

pub(crate) fn key_of(object: &DynamicObject) -> ObjectKey {
    let metadata = &object.metadata;
    ObjectKey::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn summarize<K: Reconcile>(
    key: ObjectKey,
    object: &crate::objects::Decoded<K>,
) -> (ObjectSummary, Option<Notice>) {
    use api::{
        Status,
        condition::{self, Type},
    };
    let kind = K::KIND;
    let summary = |ready, reason: &str, message: &str| ObjectSummary {
        kind,
        key: key.clone(),
        ready,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let object = match object {
        Ok(object) => object,
        Err(error) => return (summary(Readiness::Failed, "Invalid", error), None),
    };
    if object.is_suspended() {
        let message = "reconciliation is suspended for this object";
        let notice = Notice {
            kind,
            key: key.clone(),
            reason: "Suspended".to_owned(),
            message: message.to_owned(),
        };
        return (summary(Readiness::Skipped, "Suspended", message), Some(notice));
    }
    let conditions = object.status().map(Status::conditions).unwrap_or_default();
    match condition::find(conditions, Type::Ready) {
        Some(ready) if ready.status == "True" => {
            (summary(Readiness::Ready, &ready.reason, &ready.message), None)
        }
        Some(ready) => (summary(Readiness::Failed, &ready.reason, &ready.message), None),
        None => (summary(Readiness::Failed, "Unknown", "it was not reconciled"), None),
    }
}

/// The shortest time between two runs of an object that are not asked for.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_secs(1);
