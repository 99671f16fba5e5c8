//! Everything outside a controller, in memory and on one clock.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use apiserver::{OpenError, Server};
use clock::Clock;
use sandbox::{GitHost, Registry, RegistryOptions, Signature};
use serde_json::Value;
use url::Url;

use crate::{ForgetfulFile, Power};

/// When every world begins.
const START: &str = "2030-01-01T00:00:00Z";

/// Our definitions, read once for all worlds.
static DEFINITIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let documents = api::crds().into_iter().flat_map(|text| yaml::documents(text.as_bytes()));
    documents.map(|document| document.expect("our definitions are YAML").value).collect()
});

/// A Kubernetes API with our kinds, a registry, a Git host and a clock, without a socket between
/// them.
///
/// Under a paused runtime its time is virtual: nothing here waits for a real one.
pub struct World {
    /// Shows the time of this world.
    pub clock: Clock,
    /// Has the four kinds installed and nothing created.
    pub apiserver: Server,
    /// Reaches the registry and the Git host, whatever host a URL names.
    pub net: net::Client,
    /// The registry.
    pub registry: Registry,
    /// The Git host.
    pub git_host: GitHost,
}

impl World {
    /// Makes an empty world with a registry that is open to everyone.
    ///
    /// Call it inside the runtime whose time it shall follow.
    pub fn new() -> World {
        World::with(RegistryOptions::default())
    }

    /// Makes an empty world.
    pub fn with(options: RegistryOptions) -> World {
        let registry = Registry::with(options);
        let git_host = GitHost::new();
        let clock = Clock::starting_at(START.parse().expect("the constant is a time"));
        let apiserver = Server::in_memory(clock.clone());
        install(&apiserver);
        World {
            clock,
            apiserver,
            net: net::Client::with_service(sandbox::router(&registry, &git_host)),
            registry,
            git_host,
        }
    }

    /// Puts in the place of the API one whose objects are in a file that the power of a machine
    /// keeps; it has the four kinds, and what was in the file.
    pub fn open_objects(&mut self, path: &Path, power: &Power) -> Result<(), OpenError> {
        let power = power.clone();
        let door: apiserver::Door = Arc::new(move |file| {
            let file = ForgetfulFile::new(file, power.clone()).expect("a file can be read");
            Box::new(file)
        });
        self.apiserver = Server::open_unthreaded(path, self.clock.clone(), door)?;
        install(&self.apiserver);
        Ok(())
    }

    /// Returns a client of the API server.
    pub fn kube(&self) -> kube::Client {
        kube::Client::new(self.apiserver.router(), "default")
    }

    /// Returns the name under which image references may know the registry.
    pub fn registry_host(&self) -> &'static str {
        "registry.test"
    }

    /// Returns the URL of a repository on the Git host.
    pub fn git_url(&self, name: &str) -> Url {
        Url::parse(&format!("https://git.test/{name}.git")).expect("a name makes a path")
    }

    /// Makes a repository whose default branch has one commit with these files.
    pub fn create_repository<P: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        name: &str,
        branch: &str,
        files: &[(P, B)],
    ) {
        self.git_host.create(name, branch, files, &self.human());
    }

    /// Commits onto a branch as a person would and returns the commit's id.
    #[track_caller]
    pub fn commit_as_human<P: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        name: &str,
        branch: &str,
        files: &[(P, B)],
    ) -> String {
        self.git_host
            .commit(name, branch, files, &self.human(), "Edited by a human\n")
            .expect("a test commits to repositories that it made")
    }

    fn human(&self) -> Signature {
        Signature {
            name: "Human".to_owned(),
            email: "human@example.com".to_owned(),
            seconds: self.clock.now().as_second(),
        }
    }
}

fn install(apiserver: &Server) {
    for definition in &*DEFINITIONS {
        apiserver.install_crd(definition).expect("our definitions are valid");
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}
