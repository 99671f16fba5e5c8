//! The kinds and nouns: custom resource types, conditions, object and image references, tags, digests, revisions.
//!
//! The wire types mirror the custom resource definitions field by field and keep
//! strings as strings, so that one object with a bad duration cannot break a watch;
//! accessors parse.

pub mod annotation;
pub mod condition;
mod convert;
pub mod image;
pub mod image_ref;
pub mod kinds;
pub mod object;
pub mod object_ref;
pub mod path;
pub mod revision;
pub mod source;
pub mod tag;

pub use convert::{ConvertError, Converted, convert};
pub use image_ref::{Digest, Reference, Repository, Tag};
pub use kinds::Kind;
pub use object::{Object, Status};
pub use object_ref::ObjectRef;
pub use revision::Revision;
pub use tag::TagList;

/// Returns the custom resource definitions of all kinds, as YAML, in the order of [`Kind::ALL`].
pub const fn crds() -> [&'static str; 4] {
    [
        include_str!("../crds/gitrepositories.yaml"),
        include_str!("../crds/imagerepositories.yaml"),
        include_str!("../crds/imagepolicies.yaml"),
        include_str!("../crds/imageupdateautomations.yaml"),
    ]
}
