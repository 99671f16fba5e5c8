//! One life: what the plan says happens, and the process lives through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use controllers::{Context, Driver, Settings, tags::TagStore};
use sandbox::{GitHost, Signature};
use testkit::World;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    judge::Judge,
    plan::{Action, Edit, Plan, Scheme, TROUBLE, Target},
    wire::{Trouble, Wire},
};

/// The repository that everyone writes to.
pub(super) const FLEET: &str = "fleet";
/// The author's name in the commits of the process.
pub(super) const BOT: &str = "Bot";
/// What every marker holds in the beginning.
pub(super) const INITIAL: &str = "init";
/// For how long all is well before the branches must hold what the policies choose: pauses after
/// failures and the confirmation of a removal end within it.
const SETTLING: Duration = Duration::from_secs(15 * 60);
/// The interval of all objects.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// What is outside the process, and the process.
pub(super) struct Life<'a> {
    pub(super) plan: &'a Plan,
    pub(super) world: World,
    pub(super) wire: Wire,
    tags: TagStore,
    keeps: bool,
    process: Option<Process>,
    n_notes: usize,
    /// All tags that an image has had at one time, for every time.
    pub(super) states: Vec<(usize, BTreeSet<String>)>,
    /// What was deleted at some time.
    pub(super) deleted: BTreeSet<(usize, String)>,
}

struct Process {
    run: JoinHandle<()>,
    stop: CancellationToken,
}

pub(super) async fn live(plan: &Plan) -> Result<(), String> {
    let mut life = Life::begin(plan);
    let start = Instant::now();
    life.start();
    for (at, action) in &plan.actions {
        life.run_until(start + *at).await;
        life.act(action).await;
    }
    life.run_until(start + TROUBLE).await;
    {
        let mut trouble = life.wire.trouble();
        *trouble = Trouble { halves: std::mem::take(&mut trouble.halves), ..Trouble::default() };
    }
    let judge = Judge::of(&life);
    life.settle(&judge).await?;
    // What a run has just done is still to be told.
    life.run_until(Instant::now() + Duration::from_secs(1)).await;
    let before = life.references();
    life.wire.trouble().n_statuses = 0;
    life.wire.trouble().events.clear();
    life.run_until(Instant::now() + INTERVAL * plan.rest).await;
    life.end().await;
    judge.rest(&life, &before)?;
    judge.history(&life)
}

impl<'a> Life<'a> {
    fn begin(plan: &'a Plan) -> Life<'a> {
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
            tags: TagStore::in_memory(),
            keeps: true,
            process: None,
            n_notes: 0,
            states: Vec::new(),
            deleted: BTreeSet::new(),
        };
        for image in 0..plan.policies.len() {
            life.world.registry.push(&image_name(image), "latest");
            life.push(image, 1);
        }
        for document in yaml::documents(manifests(plan).as_bytes()) {
            let document = document.expect("the manifests parse");
            life.world.apiserver.load(&document.value).expect("the API accepts the manifests");
        }
        life
    }

    /// Starts the process.
    fn start(&mut self) {
        self.wire = self.wire.for_another();
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
            tags: self.tags.clone(),
            cache: None,
            settings: Settings::default(),
        });
        let stop = CancellationToken::new();
        let token = stop.clone();
        let run = tokio::spawn(async move { driver.run(token).await });
        self.process = Some(Process { run, stop });
    }

    /// Lets time pass; a process that dies is started again.
    async fn run_until(&mut self, end: Instant) {
        loop {
            let killed = Arc::clone(&self.wire.killed);
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = killed.notified() => {}
            }
            self.kill().await;
            self.start();
        }
    }

    /// Waits until everything is as it must be in the end.
    async fn settle(&mut self, judge: &Judge) -> Result<(), String> {
        let end = Instant::now() + SETTLING;
        loop {
            self.run_until(Instant::now() + INTERVAL).await;
            match judge.choices(self).await {
                Err(_) if Instant::now() < end => {}
                verdict => return verdict,
            }
        }
    }

    async fn kill(&mut self) {
        self.wire.trouble().kill = None;
        if let Some(process) = self.process.take() {
            process.run.abort();
            drop(process.run.await);
        }
        if !self.keeps {
            self.tags = TagStore::in_memory();
        }
    }

    /// Ends the process in order.
    async fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop.cancel();
            process.run.await.expect("the process does not panic");
        }
    }

    async fn act(&mut self, action: &Action) {
        match *action {
            Action::Push(image, rank) => self.push(image, rank),
            Action::Delete { image, newest } => self.delete(image, newest),
            Action::Human(automation, edit) => self.edit(automation, edit),
            Action::Registry(fault, n) => {
                self.wire.trouble().registry.extend(std::iter::repeat_n(fault, n));
            }
            Action::Git(fault, n) => self.wire.trouble().git.extend(std::iter::repeat_n(fault, n)),
            Action::Api(n) => self.wire.trouble().api = n,
            Action::Request => self.request().await,
            Action::Kill { after, acted, keeps } => {
                self.keeps = keeps;
                self.wire.trouble().kill = Some((after, acted));
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

    async fn request(&self) {
        use kube::api::{Patch, PatchParams};
        let repositories: kube::Api<api::image::ImageRepository> =
            kube::Api::namespaced(self.world.kube(), "sim");
        for image in 0..self.plan.policies.len() {
            let now = self.world.clock.now().to_string();
            let annotations = serde_json::json!({"reconcile.fluxcd.io/requestedAt": now});
            let patch = serde_json::json!({"metadata": {"annotations": annotations}});
            let name = image_name(image);
            let patched =
                repositories.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            patched.expect("the API is there");
        }
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

pub(super) fn image_name(image: usize) -> String {
    format!("app{image}")
}

pub(super) fn path(automation: usize, image: usize) -> String {
    format!("env{automation}/app{image}.yaml")
}

fn own_branch(automation: usize) -> String {
    format!("auto{automation}")
}

fn file(image: usize) -> String {
    format!(
        "kind: App\r\nreplicas: 1\r\ntag: '{INITIAL}'  # {{\"$imagepolicy\": \"sim:app{image}:tag\"}}\r\n\
         image: registry.test/app{image}:{INITIAL} # {{\"$imagepolicy\": \"sim:app{image}\"}}"
    )
}

fn rank_of(scheme: Scheme, tag: &str) -> u64 {
    (0..100).find(|rank| scheme.tag(*rank) == tag).expect("the tag was made by this scheme")
}

fn manifests(plan: &Plan) -> String {
    let mut manifests = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: sim}
spec: {interval: 1m, timeout: 20s, ref: {branch: main}, url: 'https://git.test/fleet.git'}
"
    .to_owned();
    for (image, scheme) in plan.policies.iter().enumerate() {
        manifests += &format!(
            "---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: app{image}, namespace: sim}}
spec: {{image: registry.test/app{image}, interval: 1m, timeout: 20s}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {{name: app{image}, namespace: sim}}
spec: {{imageRepositoryRef: {{name: app{image}}}, {}}}
",
            scheme.spec()
        );
    }
    for (automation, target) in plan.automations.iter().enumerate() {
        let push = match target {
            Target::Main => String::new(),
            Target::Own => format!(", push: {{branch: {}}}", own_branch(automation)),
        };
        manifests += &format!(
            "---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {{name: auto{automation}, namespace: sim}}
spec:
  interval: 1m
  sourceRef: {{kind: GitRepository, name: fleet}}
  git: {{checkout: {{ref: {{branch: main}}}}, commit: {{author: {{name: {BOT}, email: bot@example.com}}}}{push}}}
  update: {{path: ./env{automation}}}
"
        );
    }
    manifests
}
