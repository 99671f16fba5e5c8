//! What `run`, `plan` and `lint` report, for people and as JSON, in a stable order.

use std::fmt;

use automation::update::{self, FileProblem};
use controllers::Summary;
use controllers::report::Readiness;
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

impl From<Summary> for Report {
    fn from(summary: Summary) -> Self {
        let objects = summary.objects.into_iter().map(|object| Object {
            kind: object.kind.to_string(),
            namespace: object.key.namespace,
            name: object.key.name,
            ready: object.ready == Readiness::Ready,
            reason: object.reason,
            message: object.message,
        });
        let changes = summary.report.changes.into_iter().map(|change| Change {
            file: change.file,
            line: change.line,
            column: change.column,
            policy: change.policy.to_string(),
            setter: change.setter,
            old: change.old,
            new: change.new,
        });
        let commits = summary.report.commits.into_iter().map(|commit| Commit {
            automation: commit.automation.to_string(),
            branch: commit.branch,
            id: commit.id,
        });
        let problems = summary.report.problems.into_iter().map(|problem| Problem {
            file: problem.file,
            line: problem.line,
            column: problem.column,
            reason: problem.reason,
            message: problem.message,
        });
        Self {
            objects: objects.collect(),
            changes: changes.collect(),
            commits: commits.collect(),
            problems: problems.collect(),
        }
    }
}

impl From<FileProblem> for Problem {
    fn from(FileProblem { path, problem }: FileProblem) -> Self {
        Self {
            file: path,
            line: problem.line,
            column: problem.column,
            reason: problem.reason.to_string(),
            message: problem.message,
        }
    }
}

impl Change {
    /// Returns a planned change of `file`.
    pub(crate) fn planned(file: &str, change: &update::Change) -> Self {
        Self {
            file: file.to_owned(),
            line: change.line,
            column: change.column,
            policy: change.policy.to_string(),
            setter: change.setter.clone(),
            old: change.old.clone(),
            new: change.new.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, reason, message } = self;
        write!(f, "{file}:{line}:{column}: {reason}: {message}")
    }
}
