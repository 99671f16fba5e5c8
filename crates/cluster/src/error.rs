//! Why an effect failed, in the words that kubectl and Flux show.

use kube::core::Status;

/// Why the API did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused; the message is its own.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// There is no such object; the message is the API's own.
    #[error("{}", .0.message)]
    NotFound(Box<Status>),
    /// The API does not serve the kind.
    #[error("no matches for kind \"{kind}\" in version \"{api_version}\"")]
    UnknownKind {
        /// The kind that was asked for.
        kind: String,
        /// Its group and version.
        api_version: String,
    },
    /// More objects than a listing may have.
    #[error("the API lists more than {0} objects; narrow the request by namespace, name or label")]
    TooMany(usize),
    /// The API ended a watch with an error.
    #[error("the API ended the watch")]
    WatchEnded,
    /// The API could not be reached, or its answer not be read.
    #[error("the request to the API failed")]
    Request(#[source] kube::Error),
}

impl Error {
    /// Returns whether the API serves no such kind.
    pub fn is_unknown_kind(&self) -> bool {
        matches!(self, Error::UnknownKind { .. })
    }

    /// Returns whether the object changed meanwhile, so that reading and trying again helps.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Error::Refused(status) if status.code == 409 && status.reason == "Conflict")
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_not_found() => Error::NotFound(status),
            kube::Error::Api(status) => Error::Refused(status),
            error => Error::Request(error),
        }
    }
}

/// Why waiting for an object ended without it being ready.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// Reading it failed.
    #[error(transparent)]
    Api(#[from] Error),
    /// It says that it failed; the message is its own.
    #[error("{0}")]
    Failed(String),
    /// Time is over.
    #[error("context deadline exceeded")]
    Deadline,
}
