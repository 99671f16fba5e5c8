//! Kept mirrors, tree-level commits, compare-and-swap push.
//!
//! A [`Mirror`] is a bare, shallow copy of a repository on disk. Reading begins with a listing of
//! the references in question; only if a tip is not in the mirror is something fetched, as the
//! difference to what is there, and never a tag that was not asked for. Packs are received whole,
//! under a deadline, and screened ([`screen`]) before anything is built from them; every object is
//! checked against its id when it is read.
//!
//! Nothing is ever checked out. A [`Snapshot`] reads files by id, [`BlobIndex`] remembers what a
//! caller's function found in them, and a commit rebuilds only the folders above the files it
//! changes. Symbolic links and submodules are never followed.
//!
//! [`Mirror::update`] is how a change gets onto a branch: requests for one branch wait in a lane
//! and share pushes, one commit each. A push names the tip it was computed from, so the server
//! refuses it if anybody else was faster; then all changes are planned anew on the new tip.
//! Whether a refused push lost a race, and whether a push whose reply was lost took place, is seen
//! from the branch itself, not from words.
//!
//! New objects are held in memory until the server has them. A crash before that leaves nothing
//! behind, a crash after it leaves a mirror that fetches a little more the next time; what was being
//! pushed is told to a [`Journal`] before, and found out by [`Mirror::resume`]. Mirrors are
//! caches: what is damaged or has grown too much is made anew beside the old one and swapped in.

mod access;
pub mod advertisement;
mod blob_index;
mod commit;
mod contents;
mod error;
mod journal;
mod lane;
mod limits;
mod mirror;
mod objects;
mod pack;
pub mod pkt;
mod pool;
mod push;
mod reference;
mod refspec;
pub mod screen;
mod snapshot;
mod transport;
mod tree;
mod url;

pub use access::Access;
pub use blob_index::{BlobIndex, Finder, IndexStore, SkipReason, Skipped};
pub use commit::{CommitError, FileChange, Signature};
pub use contents::{Item, ItemKind};
pub use error::{GitError, PushError, RemoteError, UpdateError};
pub use gix::ObjectId;
pub use journal::{Caller, Finish, Intent, Journal};
pub use lane::{Change, Outcome, Plan, Pushed, Request};
pub use limits::Limits;
pub use mirror::{Mirror, Mirrors, Tip};
pub use objects::ObjectError;
pub use push::Update;
pub use reference::{
    CommitId, CommitIdError, RefName, RefNameError, Reference, RemoteRef, Resolved, TagChooser,
    revision,
};
pub use refspec::{Refspec, RefspecError};
pub use snapshot::{Hit, Snapshot, SnapshotError, Walk};
pub use transport::fuzz_fetch_reply;
pub use tree::TreeError;
pub use url::{RemoteUrl, UrlError};
