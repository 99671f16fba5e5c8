//! The real `git http-backend` behind a small CGI front on loopback.

mod backend;
mod hooks;
mod repositories;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use url::Url;

use crate::{http_server::HttpServer, tls::Tls};

pub use self::{
    backend::{GitRequest, GitTraffic, RequestKind},
    repositories::{Change, FileMode, Repositories},
};

use self::{backend::Backend, hooks::Hooks};

/// Who may use a Git server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GitAccess {
    /// Everyone.
    #[default]
    Anonymous,
    /// [`USERNAME`](crate::USERNAME) with [`PASSWORD`](crate::PASSWORD).
    Basic,
    /// Whoever sends [`TOKEN`](crate::TOKEN) as `Authorization: Bearer`.
    Bearer,
}

/// How to start a Git server; the default is plain http for everyone.
#[derive(Clone, Debug, Default)]
pub struct GitServerOptions {
    /// Who may read and push.
    pub access: GitAccess,
    /// Serve https with this.
    pub tls: Option<Tls>,
}

/// A running Git server; it stops and its repositories are removed when dropped.
pub struct GitServer {
    backend: Arc<Backend>,
    server: HttpServer,
}

impl GitServer {
    /// Starts one on plain http for everyone.
    #[track_caller]
    pub fn start() -> GitServer {
        GitServer::start_with(&GitServerOptions::default())
    }

    /// Starts one; it answers at once.
    #[track_caller]
    pub fn start_with(options: &GitServerOptions) -> GitServer {
        let backend = Arc::new(Backend {
            repositories: Repositories::new(),
            access: options.access,
            hooks: Hooks::default(),
            traffic: Mutex::default(),
        });
        let server = HttpServer::start(backend::router(backend.clone()), options.tls.as_ref());
        GitServer { backend, server }
    }

    /// Returns the repositories on its disk, for work that does not pass the network.
    pub fn repositories(&self) -> &Repositories {
        &self.backend.repositories
    }

    /// Returns where it listens, for a [`FaultProxy`](crate::FaultProxy) in front of it.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the URL of a repository, `http://127.0.0.1:PORT/NAME.git` or its https form.
    pub fn url(&self, name: &str) -> Url {
        self.server.url().join(&format!("{name}.git")).expect("a name makes a path")
    }

    /// Makes a repository whose default branch `main` has one commit with these files.
    pub fn create_repository<P: AsRef<str>, B: AsRef<[u8]>>(&self, name: &str, files: &[(P, B)]) {
        self.repositories().create(name, "main", files);
    }

    /// Commits onto a branch as a person would, past the network; returns the commit's id.
    ///
    /// The branch is made from the default branch if it does not exist.
    pub fn commit_as_human<P: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        name: &str,
        branch: &str,
        files: &[(P, B)],
    ) -> String {
        self.repositories().commit_as_human(name, branch, files)
    }

    /// Returns the folder of a bare repository.
    pub fn path(&self, name: &str) -> PathBuf {
        self.repositories().path(name)
    }

    /// Runs stock git in a repository on the server's disk and returns what it prints.
    #[track_caller]
    pub fn git(&self, name: &str, args: &[&str]) -> String {
        self.repositories().git(name, args)
    }

    /// Calls `hook` for each request of `kind` before any of it reaches the backend.
    ///
    /// The request waits until the hook has returned. What a hook itself sends to this server
    /// passes that hook, so a hook may push over the network.
    pub fn before(
        &self,
        kind: RequestKind,
        hook: impl FnMut(&Repositories, &GitRequest) + Send + 'static,
    ) {
        self.backend.hooks.add_before(kind, Box::new(hook));
    }

    /// Calls `hook` for each request of `kind` after the backend has done all its work, and before
    /// the client sees the end of the reply.
    pub fn after(
        &self,
        kind: RequestKind,
        hook: impl FnMut(&Repositories, &GitRequest) + Send + 'static,
    ) {
        self.backend.hooks.add_after(kind, Box::new(hook));
    }

    /// Forgets all hooks.
    pub fn clear_hooks(&self) {
        self.backend.hooks.clear();
    }

    /// Returns what was asked of it since the start or the last [`reset_traffic`](Self::reset_traffic).
    pub fn traffic(&self, kind: RequestKind) -> GitTraffic {
        self.backend.traffic.lock().get(&kind).copied().unwrap_or_default()
    }

    /// Counts from zero again.
    pub fn reset_traffic(&self) {
        self.backend.traffic.lock().clear();
    }
}
