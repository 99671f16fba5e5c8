//! A server, a mirror of its repository `app`, and a planner that sets a value in marked files.

use std::{sync::Arc, time::Duration};

use clock::Clock;
use git::{
    Access, BlobIndex, Caller, Change, FileChange, Finder, Limits, Mirror, Mirrors, Outcome, Plan,
    RefName, Reference, RemoteUrl, Request, Snapshot, SnapshotError, UpdateError,
};
use testkit::{FaultProxy, GitServer};

/// Long enough for a slow machine; tests that wait for it set their own.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Finds files with a line `# mark NAME` and gives the names.
pub(crate) struct Marks;

impl Finder for Marks {
    type Value = Vec<String>;

    fn version(&self) -> u32 {
        1
    }

    fn is_candidate(&self, file_name: &str) -> bool {
        file_name.ends_with(".yaml")
    }

    fn find(&self, bytes: &[u8]) -> Option<Vec<String>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let marks: Vec<String> =
            text.lines().filter_map(|l| l.split_once("# mark ")).map(|m| m.1.to_owned()).collect();
        (!marks.is_empty()).then_some(marks)
    }
}

pub(crate) struct World {
    pub(crate) server: GitServer,
    pub(crate) proxy: FaultProxy,
    pub(crate) mirrors: Mirrors,
    pub(crate) index: Arc<BlobIndex<Marks>>,
    pub(crate) access: Access,
}

pub(crate) type Updated = Result<Outcome<usize>, UpdateError<String>>;

impl World {
    /// Returns a world whose repository `app` holds these files on `main`.
    pub(crate) fn with_files(files: &[(&str, &str)]) -> World {
        let server = GitServer::start();
        server.create_repository("app", files);
        World::on(server, Limits::default())
    }

    pub(crate) fn on(server: GitServer, limits: Limits) -> World {
        let proxy = FaultProxy::start(server.address());
        let client = net::Client::new(net::Options::default()).expect("TLS can be set up");
        let mirrors =
            Mirrors::temporary(client, Clock::real(), limits).expect("a temporary folder");
        let index = Arc::new(BlobIndex::in_memory(Marks));
        World { server, proxy, mirrors, index, access: Access::anonymous(TIMEOUT) }
    }

    pub(crate) fn mirror(&self) -> Arc<Mirror> {
        self.mirror_as("")
    }

    pub(crate) fn mirror_as(&self, credential_key: &str) -> Arc<Mirror> {
        let url = self.proxy.url(&self.server.url("app"));
        let url: RemoteUrl = url.as_str().parse().expect("a URL of ours");
        self.mirrors.mirror(&url, credential_key)
    }

    pub(crate) fn request(&self, checkout: &str, branch: &str) -> Request {
        Request {
            checkout: Reference::branch(checkout).expect("a valid name"),
            branch: RefName::branch(branch).expect("a valid name"),
            refspec: None,
            options: Vec::new(),
            author: ("FluxBot".to_owned(), "flux@example.com".to_owned()),
            access: self.access.clone(),
            caller: Caller::default(),
        }
    }

    /// Sets the value behind `# mark NAME` on a branch, as an automation does.
    pub(crate) async fn set(&self, branch: &str, name: &str, value: &str) -> Updated {
        self.update(self.request(branch, branch), name, value).await
    }

    pub(crate) async fn update(&self, request: Request, name: &str, value: &str) -> Updated {
        self.mirror().update(request, self.planner(name, value)).await
    }

    /// Returns a planner that sets the value behind `# mark NAME`; its detail counts blobs read.
    pub(crate) fn planner(
        &self,
        name: &str,
        value: &str,
    ) -> impl FnMut(&mut Snapshot) -> Result<Plan<usize>, String> + Send + use<> {
        let (index, name, value) = (Arc::clone(&self.index), name.to_owned(), value.to_owned());
        move |files| plan(files, &index, &name, &value).map_err(|error| error.to_string())
    }
}

fn plan(
    files: &mut Snapshot,
    index: &BlobIndex<Marks>,
    name: &str,
    value: &str,
) -> Result<Plan<usize>, SnapshotError> {
    let walk = files.walk(".", index)?;
    let mut changed = Vec::new();
    for hit in &walk.hits {
        let old = String::from_utf8(files.read(hit.id)?).expect("marked files are text");
        let line = |line: &str| match line.split_once("# mark ") {
            Some((_, mark)) if mark == name => format!("tag: {value} # mark {mark}\n"),
            _ => format!("{line}\n"),
        };
        let new: String = old.lines().map(line).collect();
        if new != old {
            changed.push(FileChange { path: hit.path.clone(), bytes: new.into_bytes() });
        }
    }
    let message = format!("Set {name} to {value}\n");
    let change = (!changed.is_empty()).then_some(Change { files: changed, message });
    Ok(Plan { change, detail: walk.n_read })
}

/// Returns the file of a mark with a value.
pub(crate) fn marked(name: &str, value: &str) -> String {
    format!("kind: Deployment\ntag: {value} # mark {name}\nrest: yes\n")
}
