//! What can go wrong between us and a repository, in Flux's words where Flux shows them.

use std::{io, sync::Arc};

use crate::{
    commit::CommitError, objects::ObjectError, pkt::PacketError, reference::RefName,
    screen::ScreenError, url::RemoteUrl,
};

/// Why a repository could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The server could not be talked to, or not as needed.
    #[error("unable to clone '{url}'")]
    Remote {
        /// The repository.
        url: RemoteUrl,
        /// What happened.
        source: RemoteError,
    },
    /// No tag is in the range.
    #[error("no match found for semver: {range}")]
    NoMatch {
        /// The range, as the user wrote it.
        range: String,
    },
    /// The reference named in full does not exist.
    #[error("unable to resolve ref '{name}' to a specific commit")]
    NoCommit {
        /// The reference.
        name: RefName,
    },
    /// The repository has no reference at all.
    #[error("git repository is empty")]
    Empty,
    /// The local mirror could not be written or read.
    #[error("cannot keep a mirror of '{url}'")]
    Mirror {
        /// The repository.
        url: RemoteUrl,
        /// What happened.
        source: io::Error,
    },
    /// What was fetched could not be read back.
    #[error("cannot read '{url}'")]
    Object {
        /// The repository.
        url: RemoteUrl,
        /// What happened.
        source: ObjectError,
    },
    /// The time for reading the local mirror is over.
    #[error("reading the mirror of '{url}' took longer than the timeout")]
    Deadline {
        /// The repository.
        url: RemoteUrl,
    },
}

/// What a server did, or failed to do.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// 401.
    #[error("authentication required")]
    AuthenticationRequired,
    /// 403.
    #[error("authorization failed")]
    AuthorizationFailed,
    /// 404.
    #[error("repository not found")]
    RepositoryNotFound,
    /// A branch or tag that does not exist.
    #[error("couldn't find remote ref \"{0}\"")]
    NoRef(RefName),
    /// Another status than 200.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// An answer that is not Git's smart protocol.
    #[error("the server does not answer with Git's smart HTTP protocol: check the URL")]
    NotGit,
    /// No answer.
    #[error(transparent)]
    Http(#[from] net::Error),
    /// Bytes that are not framed.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// An answer that makes no sense.
    #[error("the server broke Git's protocol: {0}")]
    Protocol(&'static str),
    /// The server's own words.
    #[error("the server says: {0}")]
    Server(String),
    /// More than is accepted.
    #[error("the server's answer exceeds the limit of {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
    /// A pack that is refused.
    #[error(transparent)]
    Screen(#[from] ScreenError),
    /// A pack that passed the screen and still could not be used.
    #[error("the received pack cannot be indexed: {0}")]
    Index(String),
    /// What is to be sent was not made in time.
    #[error("the pack to be sent was not written in time")]
    Late,
    /// The reply could not be spooled.
    #[error("cannot keep the server's reply")]
    Spool(#[source] io::Error),
}

/// Why a push did not do what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PushError {
    /// The server could not be talked to.
    #[error("failed to push to remote")]
    Remote(#[source] Arc<RemoteError>),
    /// The server refused, in its own words.
    #[error("failed to push to remote: {name} was rejected: {reason}")]
    Rejected {
        /// The reference.
        name: RefName,
        /// The server's words.
        reason: String,
    },
    /// The reference is no longer what the push was computed from.
    #[error("failed to push to remote: {name} has moved")]
    Raced {
        /// The reference.
        name: RefName,
    },
    /// Others were faster every time.
    #[error("failed to push to remote: {name} moved {attempts} times while changes were planned")]
    Contended {
        /// The reference.
        name: RefName,
        /// How often the changes were planned anew.
        attempts: usize,
    },
    /// The update would drop commits and was not forced.
    #[error("failed to push to remote: non-fast-forward update: {name}")]
    NotFastForward {
        /// The reference.
        name: RefName,
    },
    /// The push was not sent, as the journal could not be told of it.
    #[error("nothing was pushed: the push cannot be noted in the state")]
    Journal(#[source] Arc<io::Error>),
    /// Push options for a server that takes none.
    #[error("failed to push to remote: the server does not support push options")]
    NoPushOptions,
    /// The refspec's source is not one we have.
    #[error("failed to push to remote: src refspec {source_name} does not match any")]
    NoSource {
        /// The left side of the refspec.
        source_name: String,
    },
}

/// Why an update of a branch failed. `E` is the planner's own error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// The repository could not be read.
    #[error(transparent)]
    Git(Arc<GitError>),
    /// The planner failed on the files at the tip.
    #[error("{0}")]
    Plan(E),
    /// The change could not be committed.
    #[error(transparent)]
    Commit(Arc<CommitError>),
    /// The push failed; nothing of this change is on the branch.
    #[error(transparent)]
    Push(PushError),
    /// The work was given up: planning took longer than the timeout, or the process stops.
    #[error("the update was given up: its timeout passed, or the process is stopping")]
    Stopped,
}

impl GitError {
    pub(crate) fn remote(url: &RemoteUrl) -> impl Fn(RemoteError) -> GitError + use<'_> {
        |source| GitError::Remote { url: url.clone(), source }
    }

    pub(crate) fn mirror(url: &RemoteUrl) -> impl Fn(io::Error) -> GitError + use<'_> {
        |source| GitError::Mirror { url: url.clone(), source }
    }

    /// Returns whether credentials are missing, wrong or without rights.
    pub fn is_authentication(&self) -> bool {
        use RemoteError::{AuthenticationRequired, AuthorizationFailed};
        matches!(
            self,
            GitError::Remote { source: AuthenticationRequired | AuthorizationFailed, .. }
        )
    }
}

impl RemoteError {
    /// Returns whether the server may have done what it was asked for although we heard nothing.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            RemoteError::Http(error) => !error.is_connect(),
            RemoteError::Status(status) => *status >= 500,
            RemoteError::Packet(_) | RemoteError::Protocol(_) => true,
            RemoteError::AuthenticationRequired
            | RemoteError::AuthorizationFailed
            | RemoteError::RepositoryNotFound
            | RemoteError::NoRef(_)
            | RemoteError::NotGit
            | RemoteError::Server(_)
            | RemoteError::Limit { .. }
            | RemoteError::Screen(_)
            | RemoteError::Index(_)
            | RemoteError::Late
            | RemoteError::Spool(_) => false,
        }
    }
}
