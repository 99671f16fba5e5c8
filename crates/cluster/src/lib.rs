//! What the verbs do to the objects of a Kubernetes API: annotate, suspend, create or update, delete, list, wait.
//!
//! [`Cluster`] is one API, whichever serves it. Words, columns and exit codes are the command line's.

mod cluster;
mod error;
pub mod kstatus;
mod list;
mod upsert;
mod wait;

pub use crate::{
    cluster::Cluster,
    error::{Error, Unready},
    list::Selection,
    upsert::Upserted,
};
