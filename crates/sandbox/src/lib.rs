//! A small in-process registry and Git smart-HTTP host.
//!
//! Both keep everything in memory and are axum routers: they can be plugged in where a client
//! expects a service, or be served on loopback, where stock `git` and any registry client work
//! with them. They do only what a demonstration and a world under virtual time need.

mod git_host;
mod registry;

pub use git_host::{GitError, GitHost, LogEntry, Move, Signature};
pub use registry::{Authentication, Registry, RegistryOptions, Validators};

/// Returns one router for both: registry paths go to `registry`, all others to `git_host`.
pub fn router(registry: &Registry, git_host: &GitHost) -> axum::Router {
    registry.router().fallback_service(git_host.router())
}
