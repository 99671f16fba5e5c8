//! Plans the edits that bring marked values to their policies' choices.
//!
//! Nothing here reads a file. Callers walk the update path themselves: they follow no symbolic link, neither to files nor to
//! folders, and hand over the files in the order of [`walk_order`].

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use api::{
    image::ImageRef,
    image_ref::{NameError, Reference},
};
use yaml::edit::{Edit, EditError};

use crate::marker::{Found, Marker, ObjectIdentifier, Part, PolicyName, Problem, ProblemReason};

/// A file that may hold markers.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its path below the update path, with `/`.
    pub path: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What [`crate::marker::find`] found in these bytes.
    pub found: &'a Found,
}

/// The policies whose markers are written, and what is known of the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// Every known policy with its choice, none while it has none.
    pub known: BTreeMap<PolicyName, Option<ImageRef>>,
    /// The namespace whose markers are written; none means those of every namespace.
    pub namespace: Option<String>,
    /// Whether `known` holds all policies of all namespaces, so that a marker for another policy is an error.
    pub complete: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// The files that change, in the order in which they were given.
    pub files: Vec<FileChange>,
    /// What is wrong, by file and line. It does not keep the rest from being done.
    pub problems: Vec<FileProblem>,
    /// The policies that are marked but have no choice yet.
    pub unresolved: BTreeSet<PolicyName>,
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Its path, as it was given.
    pub path: String,
    /// All its bytes, with the new values.
    pub new_bytes: Vec<u8>,
    /// The values that change, in the order of the file.
    pub changes: Vec<Change>,
}

/// A value that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The line of the value, counted from 1.
    pub line: usize,
    /// The column of the value in characters, counted from 1.
    pub column: usize,
    /// The marker's text, such as `apps:web:tag`.
    pub setter: String,
    /// The policy.
    pub policy: PolicyName,
    /// The value before.
    pub old: String,
    /// The value after.
    pub new: String,
    /// The object in which it stands.
    pub object: ObjectIdentifier,
}

/// A problem and the file that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    /// The file's path, as it was given.
    pub path: String,
    /// The problem.
    pub problem: Problem,
}

/// Returns whether a file may hold markers, by its name: `.yaml`, `.yml` or exactly `Kustomization`.
pub fn is_candidate(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".yaml") || name.ends_with(".yml") || name == "Kustomization"
}

/// Compares two paths in the order of Go's `filepath.Walk`: by the names of folders and files, byte by byte.
pub fn walk_order(a: &str, b: &str) -> Ordering {
    a.split('/').map(str::as_bytes).cmp(b.split('/').map(str::as_bytes))
}

/// Returns an update path relative to the repository's root, without `.` and with `..` held at the root. Empty means the root.
pub fn clamp(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

/// Returns a path of the repository relative to a clamped update path, as commit messages name it; none if it is not below.
///
/// An update path may be a file: then that file goes by its own name.
pub fn relative<'a>(update_path: &str, path: &'a str) -> Option<&'a str> {
    if update_path.is_empty() {
        return Some(path);
    }
    match path.strip_prefix(update_path)? {
        "" => path.rsplit('/').next(),
        below => below.strip_prefix('/'),
    }
}

/// Returns what a marker writes for a choice.
pub fn value(part: Part, choice: &ImageRef) -> String {
    match part {
        Part::Whole => choice.to_string(),
        Part::Tag => choice.tag.clone(),
        Part::Name => choice.name.clone(),
        Part::Digest => choice.digest.clone().unwrap_or_default(),
    }
}

/// Plans all files.
///
/// A choice that is not a valid image reference harms only its own policy, a file that cannot be edited only itself.
pub fn plan(files: &[File<'_>], policies: &Policies) -> ChangeSet {
    let mut planner = Planner { policies, invalid: BTreeMap::new(), changes: ChangeSet::default() };
    for file in files {
        planner.file(file);
    }
    planner.changes
}

struct Planner<'p> {
    policies: &'p Policies,
    /// The choices that were checked, with what is wrong with them.
    invalid: BTreeMap<&'p PolicyName, Option<NameError>>,
    changes: ChangeSet,
}

impl<'p> Planner<'p> {
    fn file(&mut self, file: &File<'_>) {
        for problem in &file.found.problems {
            self.problem(file, problem.clone());
        }
        let mut changes = Vec::new();
        let mut edits = Vec::new();
        for marker in &file.found.markers {
            let Some(new) = self.new_value(file, marker) else { continue };
            if new != marker.old {
                edits.push((marker, new.clone()));
                changes.push(change(marker, new));
            }
        }
        if changes.is_empty() {
            return;
        }
        match edit(file, &edits) {
            Ok(new_bytes) => {
                self.changes.files.push(FileChange {
                    path: file.path.to_owned(),
                    new_bytes,
                    changes,
                });
            }
            Err(error) => self.problem(file, refused(&changes[0], &error)),
        }
    }

    fn new_value(&mut self, file: &File<'_>, marker: &Marker) -> Option<String> {
        let policy = &marker.policy;
        let known = self.policies.known.get_key_value(policy);
        let ours =
            self.policies.namespace.as_ref().is_none_or(|namespace| *namespace == policy.namespace);
        match known {
            None if self.policies.complete => {
                let message = format!(
                    "marker `{}` has no effect: no namespace has the policy {policy}",
                    marker.setter
                );
                self.problem(file, problem(marker, ProblemReason::UnknownPolicy, message));
                None
            }
            Some((name, Some(choice))) if ours => match self.fault(name, choice) {
                None => Some(value(marker.part, choice)),
                Some(message) => {
                    self.problem(file, problem(marker, ProblemReason::InvalidChoice, message));
                    None
                }
            },
            Some((name, None)) if ours => {
                self.changes.unresolved.insert(name.clone());
                None
            }
            None | Some(_) => None,
        }
    }

    fn fault(&mut self, name: &'p PolicyName, choice: &ImageRef) -> Option<String> {
        let fault = self
            .invalid
            .entry(name)
            .or_insert_with(|| choice.to_string().parse::<Reference>().err())
            .as_ref()?;
        Some(format!("policy {name} chose an invalid image reference: {fault}"))
    }

    fn problem(&mut self, file: &File<'_>, problem: Problem) {
        self.changes.problems.push(FileProblem { path: file.path.to_owned(), problem });
    }
}

fn edit(file: &File<'_>, edits: &[(&Marker, String)]) -> Result<Vec<u8>, EditError> {
    let edits: Vec<Edit<'_>> =
        edits.iter().map(|(marker, value)| Edit { span: marker.span.clone(), value }).collect();
    yaml::edit::replace(file.bytes, &edits)
}

fn change(marker: &Marker, new: String) -> Change {
    Change {
        line: marker.line,
        column: marker.column,
        setter: marker.setter.clone(),
        policy: marker.policy.clone(),
        old: marker.old.clone(),
        new,
        object: marker.object.clone(),
    }
}

fn problem(marker: &Marker, reason: ProblemReason, message: String) -> Problem {
    Problem { line: marker.line, column: marker.column, reason, message }
}

fn refused(change: &Change, error: &EditError) -> Problem {
    let source =
        std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
    Problem {
        line: change.line,
        column: change.column,
        reason: ProblemReason::Refused,
        message: format!("the file is left alone: {error}{source}"),
    }
}
