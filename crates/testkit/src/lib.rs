//! A world for tests: real servers, a byte-level fault proxy, an API server in memory.
//!
//! Everything here is synchronous and serves from threads of its own, so a test may be a plain
//! function, a current-thread or a multi-thread `tokio::test`, with a paused clock or without.
//!
//! # Panics
//!
//! The functions of this crate panic, with a sentence that says what to do, when the machine lets
//! the test down: a program is missing, a folder cannot be written, stock git refuses a command.

#![expect(
    clippy::disallowed_methods,
    reason = "it starts the servers that tests are judged by, and a proxy in front of them"
)]

mod background;
mod docker_registry;
mod fault_proxy;
mod forgetful;
mod forward_proxy;
mod git_server;
pub mod history;
mod http_server;
mod kube_apiserver;
mod program;
mod tls;
mod world;

pub use docker_registry::{DockerRegistry, DockerRegistryOptions, RegistryAccess};
pub use fault_proxy::{Direction, Fault, FaultProxy, Seen, Traffic};
pub use forgetful::{ForgetfulFile, Power};
pub use forward_proxy::{ForwardProxy, ProxyAccess, ProxyProtocol};
pub use git_server::{
    Change, FileMode, GitAccess, GitRequest, GitServer, GitServerOptions, GitTraffic, Repositories,
    RequestKind,
};
pub use history::{History, Violation};
pub use http_server::HttpServer;
pub use kube_apiserver::KubeApiserver;
pub use tls::{ClientCertificates, Identity, Tls};
pub use world::World;

/// The one user that servers of this crate know.
pub const USERNAME: &str = "tide";

/// The password of [`USERNAME`].
pub const PASSWORD: &str = "testkit-password";

/// The bearer token that Git servers of this crate know.
pub const TOKEN: &str = "testkit-token";

/// Returns what a client sends as `Authorization` for a user name and a password.
pub fn basic_authorization(username: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = format!("{username}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}
