//! The only place that opens a connection: TLS, proxies, redirects, address policy, budgets, secrets.
//!
//! [`Client::send`] takes a request, a [`Route`] (how to reach the host) and a
//! deadline. Production speaks through sockets; tests plug in any tower
//! service with [`Client::with_service`] and everything above the socket
//! (redirects, limits, deadlines, redaction) stays the same code.

mod address;
mod body;
mod client;
mod environment;
mod error;
mod gzip;
mod origin;
mod redact;
mod route;
mod secret;
mod socket;
mod tls;

pub use address::{AddressPolicy, Reach};
pub use body::Response;
pub use client::{Body, Client, Options, Redirects, Request, Timeouts};
pub use environment::EnvironmentProxies;
pub use error::{Error, ErrorKind};
pub use origin::{Origin, is_loopback_host, origin, same_registrable_domain};
pub use redact::redacted;
pub use route::{Pem, Proxy, Route, Tls};
pub use secret::Secret;
pub use tls::check_tls;
