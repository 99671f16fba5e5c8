//! What a run to the end has done, for whoever started it.

use std::collections::BTreeMap;

use api::Kind;

use crate::queue::ObjectKey;

/// What one run until nothing is due has done, in a stable order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Every object and how it ended, by kind, namespace and name.
    pub objects: Vec<ObjectSummary>,
    /// Everything else.
    pub report: Report,
    /// How many objects were to be reconciled still when the run was told to stop.
    pub n_unfinished: usize,
}

/// How one object ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSummary {
    /// The object's kind.
    pub kind: Kind,
    /// The object's namespace and name.
    pub key: ObjectKey,
    /// Whether it is ready.
    pub ready: Readiness,
    /// The reason of its Ready condition.
    pub reason: String,
    /// The message of its Ready condition.
    pub message: String,
}

/// Whether an object is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It reached what its spec asks for.
    Ready,
    /// It failed, or cannot be read.
    Failed,
    /// Nobody looked at it: it is suspended or left out.
    Skipped,
}

/// What runs have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Things a person may want to know that are no failures.
    pub notices: Vec<Notice>,
    /// Commits that were pushed.
    pub commits: Vec<Commit>,
    /// Values that were changed, or would be in a dry run.
    pub changes: Vec<Change>,
    /// Markers and files that were left alone.
    pub problems: Vec<Problem>,
    /// Files before and after.
    pub files: Vec<FileEdit>,
}

/// Something worth knowing about an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// The object's kind.
    pub kind: Kind,
    /// The object's namespace and name.
    pub key: ObjectKey,
    /// One word of CamelCase.
    pub reason: String,
    /// What it is.
    pub message: String,
}

/// A pushed commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// The automation that made it.
    pub automation: ObjectKey,
    /// The branch it is on.
    pub branch: String,
    /// Its object id, in hex.
    pub id: String,
}

/// A changed value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The automation that changed it.
    pub automation: ObjectKey,
    /// The file, from the root of the repository.
    pub file: String,
    /// The line of the value, from 1.
    pub line: usize,
    /// The column of the value, from 1.
    pub column: usize,
    /// The policy that chose it.
    pub policy: ObjectKey,
    /// The marker's text.
    pub setter: String,
    /// The value before.
    pub old: String,
    /// The value after.
    pub new: String,
}

/// A marker or file that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The automation that met it.
    pub automation: ObjectKey,
    /// The file, from the root of the repository.
    pub file: String,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// The column, from 1; 0 when the whole line is meant.
    pub column: usize,
    /// One word of CamelCase.
    pub reason: String,
    /// Why.
    pub message: String,
}

/// A file before and after an automation's edit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEdit {
    /// The automation.
    pub automation: ObjectKey,
    /// The branch that gets it.
    pub branch: String,
    /// The file, from the root of the repository.
    pub file: String,
    /// Its bytes before.
    pub old: Vec<u8>,
    /// Its bytes after.
    pub new: Vec<u8>,
}

impl Summary {
    /// Returns whether every object that was looked at is ready.
    pub fn is_ok(&self) -> bool {
        self.objects.iter().all(|object| object.ready != Readiness::Failed)
    }
}

/// The reports of a run's objects; the last one of an object about its state wins, while commits
/// and changes of several runs add up.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    by_object: BTreeMap<(Kind, ObjectKey), Report>,
}

impl Reports {
    pub(crate) fn add(&mut self, kind: Kind, key: &ObjectKey, report: Report) {
        let kept = self.by_object.entry((kind, key.clone())).or_default();
        kept.notices = report.notices;
        kept.problems = report.problems;
        kept.commits.extend(report.commits);
        kept.changes.extend(report.changes);
        kept.files.extend(report.files);
    }

    pub(crate) fn take(&mut self) -> Report {
        let mut all = Report::default();
        for (_, report) in std::mem::take(&mut self.by_object) {
            all.notices.extend(report.notices);
            all.commits.extend(report.commits);
            all.changes.extend(report.changes);
            all.problems.extend(report.problems);
            all.files.extend(report.files);
        }
        all
    }
}
