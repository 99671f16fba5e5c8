//! What `run`, `plan` and `lint` report, for people and as JSON, in a stable order.

use serde::Serialize;

/// The whole report; the field order is the order in the JSON document.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) objects: Vec<Object>,
    pub(crate) changes: Vec<Change>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) problems: Vec<Problem>,
}

/// How an object ended.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) ready: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// One value that changed or would change.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Change {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) policy: String,
    pub(crate) setter: String,
    pub(crate) old: String,
    pub(crate) new: String,
}

/// One commit that was pushed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Commit {
    pub(crate) automation: String,
    pub(crate) branch: String,
    pub(crate) id: String,
}

/// Something in a file that is wrong and was left alone.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Problem {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Report {
    /// Sorts every list, so that equal runs print equal bytes.
    pub(crate) fn sort(&mut self) {
        self.objects.sort();
        self.changes.sort();
        self.commits.sort();
        self.problems.sort();
        self.problems.dedup();
    }
}
