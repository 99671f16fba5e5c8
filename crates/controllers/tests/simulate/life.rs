//! One life: what the plan says happens, and the process lives through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use controllers::{Context, Driver, Settings, tags::TagStore};
use redb::Database;
use sandbox::{GitHost, Signature};
use tempfile::TempDir;
use testkit::{ForgetfulFile, World};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    ending::Ending,
    judge::Judge,
    objects::{file, image_name, manifests, own_branch, path, rank_of},
    plan::{Action, Edit, Home, Plan, Target, WatchFault},
    wire::{Trouble, Wire},
};

/// The repository that everyone writes to.
pub(super) const FLEET: &str = "fleet";
/// The author's name in the commits of the process.
pub(super) const BOT: &str = "Bot";
/// For how long all is well before the branches must hold what the policies choose: pauses after
/// failures (a quarter of an hour at most) and the confirmation of a removal end within it.
const SETTLING: Duration = Duration::from_secs(18 * 60);
/// The interval of all objects.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// What is outside the process, and the process.
pub(super) struct Life<'a> {
    pub(super) plan: &'a Plan,
    pub(super) world: World,
    pub(super) wire: Wire,
    /// Where the machine of the process keeps its files.
    folder: TempDir,
    keeps: bool,
    process: Option<Process>,
    n_notes: usize,
    /// All tags that an image has had at one time, for every time.
    pub(super) states: Vec<(usize, BTreeSet<String>)>,
    /// What was deleted at some time.
    pub(super) deleted: BTreeSet<(usize, String)>,
    /// When all scans were last asked for.
    pub(super) requested: Option<String>,
}

struct Process {
    run: JoinHandle<()>,
    stop: CancellationToken,
}

/// Lives a life, and the same one without anything that goes wrong if the process dies in it.
pub(super) async fn live(plan: &Plan) -> Result<(), String> {
    let mut life = Life::begin(plan).await?;
    let judge = Judge::of(&life);
    life.through(&judge).await?;
    let before = life.references();
    life.wire.trouble().n_statuses = 0;
    life.wire.trouble().events.clear();
    life.run_until(Instant::now() + INTERVAL * plan.rest).await?;
    life.end().await;
    judge.rest(&life, &before)?;
    judge.history(&life)?;
    judge.told(&life).await?;
    if !plan.has_deaths() {
        return Ok(());
    }
    let ending = Ending::of(&life, plan.keeps_all()).await;
    drop(life);
    let calm = plan.calm();
    let mut life = Life::begin(&calm).await?;
    life.through(&Judge::of(&life)).await.map_err(|why| format!("without a fault: {why}"))?;
    life.end().await;
    ending.compare(&Ending::of(&life, plan.keeps_all()).await)
}

impl<'a> Life<'a> {
    async fn begin(plan: &'a Plan) -> Result<Life<'a>, String> {
        let world = World::new();
        let files: Vec<(String, String)> = (0..plan.automations.len())
            .flat_map(|env| {
                (0..plan.policies.len()).map(move |image| (path(env, image), file(image)))
            })
            .collect();
        world.create_repository(FLEET, "main", &files);
        let mut life = Life {
            plan,
            world,
            wire: Wire::default(),
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
            keeps: true,
            process: None,
            n_notes: 0,
            states: Vec::new(),
            deleted: BTreeSet::new(),
            requested: None,
        };
        for image in 0..plan.policies.len() {
            life.world.registry.push(&image_name(image), "latest");
            life.push(image, 1);
        }
        life.open_objects()?;
        for document in yaml::documents(manifests(plan).as_bytes()) {
            let document = document.expect("the manifests parse");
            life.world.apiserver.load(&document.value).expect("the API accepts the manifests");
        }
        life.world.apiserver.flush().await.map_err(|error| error.to_string())?;
        Ok(life)
    }

    /// Lives until everything is as it must be in the end.
    async fn through(&mut self, judge: &Judge) -> Result<(), String> {
        let start = Instant::now();
        self.start()?;
        for (at, action) in &self.plan.actions {
            self.run_until(start + *at).await?;
            self.act(action).await?;
        }
        self.run_until(start + self.plan.trouble).await?;
        {
            let mut trouble = self.wire.trouble();
            let halves = std::mem::take(&mut trouble.halves);
            let told = std::mem::take(&mut trouble.told);
            *trouble = Trouble { halves, told, ..Trouble::default() };
        }
        self.settle(judge).await?;
        // What a run has just done is still to be told, and everyone to look once more.
        self.run_until(Instant::now() + INTERVAL + Duration::from_secs(1)).await
    }

    /// Opens the objects of a process that has them in a file.
    fn open_objects(&mut self) -> Result<(), String> {
        if self.plan.home == Home::Cluster {
            return Ok(());
        }
        let path = self.folder.path().join("objects.redb");
        let opened = self.world.open_objects(&path, &self.wire.power);
        opened.map_err(|error| format!("the objects cannot be opened again: {error}"))
    }

    /// Opens what outlives a process beside its objects.
    fn open_cache(&self) -> Result<Arc<Database>, String> {
        let path = self.folder.path().join("cache.redb");
        if !self.keeps && path.exists() {
            std::fs::remove_file(&path).map_err(|error| error.to_string())?;
        }
        let options = &mut std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.and_then(|file| ForgetfulFile::new(file, self.wire.power.clone()));
        let file = file.map_err(|error| error.to_string())?;
        let opened = Database::builder().create_with_backend(file);
        let opened = opened.map_err(|error| format!("the cache cannot be opened again: {error}"));
        opened.map(Arc::new)
    }

    /// Starts the process.
    fn start(&mut self) -> Result<(), String> {
        let cache = self.open_cache()?;
        let servers = sandbox::router(&self.world.registry, &self.world.git_host);
        let net = net::Client::with_service(self.wire.servers(servers));
        let api = self.wire.api(self.world.apiserver.router());
        let clock = self.world.clock.clone();
        let mirrors = git::Mirrors::temporary(net.clone(), clock.clone(), git::Limits::default());
        let driver = Driver::new(Context {
            artifacts: None,
            notifier: None,
            clock: clock.clone(),
            client: kube::Client::new(api, "default"),
            registry: registry::Client::new(net, clock, registry::Options::default()),
            mirrors: mirrors.expect("a temporary folder can be made"),
            tags: TagStore::on_disk(Arc::clone(&cache)),
            cache: Some(cache),
            settings: Settings::default(),
        });
        let stop = CancellationToken::new();
        let token = stop.clone();
        let run = tokio::spawn(async move { driver.run(token).await });
        self.process = Some(Process { run, stop });
        Ok(())
    }

    /// Lets time pass; a process that dies is started again.
    async fn run_until(&mut self, end: Instant) -> Result<(), String> {
        loop {
            let power = self.wire.power.clone();
            tokio::select! {
                biased;
                () = power.gone() => {}
                () = tokio::time::sleep_until(end) => return Ok(()),
            }
            self.bury().await;
            self.open_objects()?;
            self.start()?;
        }
    }

    /// Waits until everything is as it must be in the end.
    async fn settle(&mut self, judge: &Judge) -> Result<(), String> {
        let end = Instant::now() + SETTLING;
        loop {
            self.run_until(Instant::now() + INTERVAL).await?;
            match judge.choices(self).await {
                Err(_) if Instant::now() < end => {}
                verdict => return verdict,
            }
        }
    }

    /// Clears away what is left of a process that has died.
    async fn bury(&mut self) {
        self.wire.trouble().kill = None;
        if let Some(process) = self.process.take() {
            process.run.abort();
            drop(process.run.await);
        }
        self.wire = self.wire.for_another();
    }

    /// Ends the process in order.
    async fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop.cancel();
            process.run.await.expect("the process does not panic");
        }
    }

    async fn act(&mut self, action: &Action) -> Result<(), String> {
        match *action {
            Action::Push(image, rank) => self.push(image, rank),
            Action::Delete { image, newest } => self.delete(image, newest),
            Action::Human(automation, edit) => self.edit(automation, edit),
            Action::Registry(fault, n) => {
                self.wire.trouble().registry.extend(std::iter::repeat_n(fault, n));
            }
            Action::Git(fault, n) => self.wire.trouble().git.extend(std::iter::repeat_n(fault, n)),
            Action::Api(fault, n) => self.wire.trouble().api.extend(std::iter::repeat_n(fault, n)),
            Action::Watch(fault) => self.disturb(fault),
            Action::Away { server, time, hangs } => self.wire.away(server, time, hangs),
            Action::Request => return self.request().await,
            Action::Kill { after, acted, keeps } => {
                self.keeps = keeps;
                self.wire.trouble().kill = Some((after, acted));
            }
            Action::PowerCut { after, torn } => self.wire.power.cut_at_sync(after, torn),
        }
        Ok(())
    }

    fn disturb(&self, fault: WatchFault) {
        match fault {
            WatchFault::Break => self.wire.end_watches(false),
            WatchFault::Expire => self.wire.end_watches(true),
            WatchFault::Slow(delay) => {
                self.wire.trouble().late = Some((Instant::now() + INTERVAL, delay));
            }
            WatchFault::Stale => {
                self.wire.trouble().n_stale = api::Kind::ALL.len();
                self.wire.end_watches(true);
            }
        }
    }

    fn push(&mut self, image: usize, rank: u64) {
        let tag = self.plan.policies[image].tag(rank);
        self.world.registry.push(&image_name(image), &tag);
        self.note_state(image);
    }

    /// Deletes a tag, but never the last one that a policy could choose.
    fn delete(&mut self, image: usize, newest: bool) {
        let scheme = self.plan.policies[image];
        let name = image_name(image);
        let mut tags = self.world.registry.tags(&name);
        tags.retain(|tag| tag != "latest");
        if tags.len() < 2 {
            return;
        }
        tags.sort_by_key(|tag| rank_of(scheme, tag));
        let tag = if newest { tags.pop() } else { tags.into_iter().next() };
        let tag = tag.expect("there are two at least");
        self.world.registry.delete(&name, &tag);
        self.deleted.insert((image, tag));
        self.note_state(image);
    }

    fn note_state(&mut self, image: usize) {
        let tags = self.world.registry.tags(&image_name(image));
        self.states.push((image, tags.into_iter().collect()));
    }

    /// Returns the branch that an automation writes to, if it has begun; else the one it reads.
    pub(super) fn branch(&self, automation: usize) -> String {
        let own = own_branch(automation);
        match self.plan.automations[automation] {
            Target::Own if self.world.git_host.tip(FLEET, &own).is_some() => own,
            Target::Own | Target::Main => "main".to_owned(),
        }
    }

    fn edit(&mut self, automation: usize, edit: Edit) {
        let branch = self.branch(automation);
        self.n_notes += 1;
        let note = (format!("notes/{}.txt", self.n_notes), "a person was here\n".to_owned());
        let changed = |image: usize, change: &dyn Fn(&str) -> String| {
            let path = path(automation, image);
            let text = text(&self.world.git_host, &branch, &path);
            (path, change(&text))
        };
        let file = match edit {
            Edit::Note => note,
            Edit::Neighbour => changed(0, &|text| text.replace("replicas: ", "replicas: 1")),
            Edit::Revert(image) => changed(image, &|_| file(image)),
            Edit::Race => {
                let (host, seconds) =
                    (self.world.git_host.clone(), self.world.clock.now().as_second());
                let race = move || commit(&host, &branch, &note, seconds);
                self.wire.trouble().races.push_back(Box::new(race));
                return;
            }
        };
        commit(&self.world.git_host, &branch, &file, self.world.clock.now().as_second());
    }

    /// Asks for all scans, as often as it takes until that is answered.
    async fn request(&mut self) -> Result<(), String> {
        let now = self.world.clock.now().to_string();
        let annotations = serde_json::json!({"reconcile.fluxcd.io/requestedAt": now});
        let patch = serde_json::json!({"metadata": {"annotations": annotations}});
        self.requested = Some(now);
        for image in 0..self.plan.policies.len() {
            while self.annotate(&image_name(image), &patch).await.is_err() {
                self.run_until(Instant::now() + Duration::from_secs(1)).await?;
            }
        }
        Ok(())
    }

    async fn annotate(&self, name: &str, patch: &serde_json::Value) -> Result<(), kube::Error> {
        use kube::api::{Patch, PatchParams};
        let repositories: kube::Api<api::image::ImageRepository> =
            kube::Api::namespaced(self.world.kube(), "sim");
        repositories.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    pub(super) fn references(&self) -> BTreeMap<String, String> {
        self.world.git_host.references(FLEET).expect("the repository is there")
    }
}

fn commit(host: &GitHost, branch: &str, file: &(String, String), seconds: i64) {
    let human =
        Signature { name: "Human".to_owned(), email: "human@example.com".to_owned(), seconds };
    let files = [(file.0.as_str(), file.1.as_str())];
    host.commit(FLEET, branch, &files, &human, "Edited by a person\n")
        .expect("the repository is there");
}

/// Returns a file at the tip of a branch.
pub(super) fn text(host: &GitHost, branch: &str, path: &str) -> String {
    let files = host.files(FLEET, branch).expect("the branch is there");
    let bytes = files.get(path).cloned().unwrap_or_else(Bytes::new);
    String::from_utf8(bytes.to_vec()).expect("it is text")
}
