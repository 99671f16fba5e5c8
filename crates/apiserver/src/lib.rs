//! A Kubernetes API for whatever custom resource definitions it is given.
//!
//! [`Server::router`] answers requests; it is a tower service, so that a Kubernetes
//! client in the same process needs no socket; [`require_token`] is the layer for whoever
//! listens on one. Objects live in memory, and in a file if the server is opened on one: then
//! a request that writes is answered when it is durable.

mod access;
mod age;
mod builtin;
mod collect;
mod decode;
mod definition;
mod discovery;
mod form;
mod jsonpath;
mod managed_fields;
mod object;
mod openapi;
mod patch;
mod path;
mod query;
mod read;
mod resource;
mod review;
mod router;
mod rules;
mod schema;
mod selector;
mod server;
mod status;
mod store;
mod table;
mod watch;
mod write;

pub use access::require_token;
pub use server::{LoadError, Server};
pub use status::{Cause, Details, Status};
pub use store::{Damage, Door, OnDamage, OpenError, StatusKey};
