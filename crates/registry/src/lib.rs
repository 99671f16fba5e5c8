//! A client for OCI distribution registries and the per-host scheduler in front of it.
//!
//! [`Client::list_tags`] returns a repository's tags only when the last page
//! was seen; [`Client::head_manifest`] returns the digest a tag points to.
//! Credentials go to the registry's origin and to a token realm that belongs
//! to it, never anywhere else.

mod challenge;
mod client;
mod error;
mod link;
mod list;
mod manifest;
mod realm;
mod scheduler;
mod session;
mod tags;
mod token;

pub use challenge::{Challenge, parse_challenges};
pub use client::{Access, Client, Limits, Listing, Options, Validator};
pub use error::{ExchangeError, ManifestError, ScanError, StatusError};
pub use link::{LinkError, next_link, next_page};
pub use scheduler::{Rate, spread};
pub use tags::{Malformed, TagsParser};
