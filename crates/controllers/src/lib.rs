//! One driver, one file per kind: facts travel in `status`, decisions live in the pure crates.

mod access;
mod artifact;
pub mod context;
pub mod driver;
pub mod events;
mod git_repository;
mod image_policy;
mod image_repository;
mod image_update_automation;
mod journal;
mod markers;
pub mod metrics;
mod notify;
pub mod objects;
pub mod outcome;
pub mod queue;
mod reconcile;
pub mod report;
mod scans;
mod source;
mod standing;
pub mod state;
pub mod tags;
pub mod triggers;

pub use access::Fallback;
pub use artifact::Artifacts;
pub use context::{Context, Settings};
pub use driver::{Driver, RunError};
pub use notify::Notifier;
pub use queue::ObjectKey;
pub use report::Summary;
