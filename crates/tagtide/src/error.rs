//! How a command ends: its exit code, and whose mistake an error is.

use std::process::ExitCode;

use crate::interrupt::Signal;

/// How a command ended that could say so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, or nothing to do.
    Done,
    /// Something failed, and has been printed.
    Failed,
    /// `plan --exit-code` found changes.
    Changes,
    /// A signal ended it early.
    Interrupted(Signal),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => ExitCode::SUCCESS,
            Outcome::Failed => ExitCode::from(1),
            Outcome::Changes => ExitCode::from(3),
            Outcome::Interrupted(signal) => ExitCode::from(signal.code()),
        }
    }
}

/// The command line asks for something that makes no sense; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Returns the exit code of an error that ended a command.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}
