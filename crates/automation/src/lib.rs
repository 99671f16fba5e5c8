//! From tags to edits: filters, policies, verdicts, markers, change sets, commit messages.

pub mod guard;
pub mod marker;
pub mod message;
pub mod policy;
pub mod update;
pub mod verdict;
