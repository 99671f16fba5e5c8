//! Lossless YAML: spans, editing one scalar while every other byte stays, and a reader with Go's rules.
//!
//! [`scan`] turns bytes into events and comments with their byte spans, [`comment`] says which node a comment belongs to,
//! [`edit`] replaces scalars by splicing bytes, [`documents`] reads values and [`to_string`] writes them as `sigs.k8s.io/yaml` does.

pub mod comment;
pub mod edit;
mod emit;
mod error;
mod read;
pub mod resolve;
pub mod scan;

pub use crate::{
    emit::to_string,
    error::{Error, Reason},
    read::{Document, documents},
};
