//! Plans the edits that bring marked values to their policies' choices.
//!
//! Nothing here reads a file. Callers walk the update path themselves: they follow no symbolic link, neither to files nor to
//! folders, and hand over the files in the order of [`walk_order`].

mod parallel;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use api::{
    image::ImageRef,
    image_ref::{NameError, Reference},
};
use yaml::edit::EditError;

use crate::marker::{Found, Marker, ObjectIdentifier, Part, PolicyName, Problem, ProblemReason};

/// A file that may hold markers.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its path below the update path, with `/`.
    pub path: &'a str,
    /// Its bytes. They are not looked at unless the file [`is_due`].
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

/// Returns a path of the repository relative to an update path that [`api::path::clamp`] returned, as commit messages name it; none if it is not below.
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

/// Returns whether some marked value is not what its policy chose, so that planning the file needs its bytes.
pub fn is_due(found: &Found, policies: &Policies) -> bool {
    found.markers.iter().any(|marker| {
        let chosen = policies.known.get(&marker.policy).and_then(Option::as_ref);
        let ours = policies.writes(&marker.policy);
        ours && chosen.is_some_and(|choice| value(marker.part, choice) != marker.old)
    })
}

/// Plans all files.
///
/// A choice that is not a valid image reference harms only its own policy, a file that cannot be edited only itself.
pub fn plan(files: &[File<'_>], policies: &Policies) -> ChangeSet {
    let mut planner = Planner { policies, invalid: BTreeMap::new(), unresolved: BTreeSet::new() };
    let drafts: Vec<Draft<'_>> = files.iter().map(|file| planner.draft(file)).collect();
    let edited = parallel::edit(&drafts);
    let mut changes = ChangeSet { unresolved: planner.unresolved, ..ChangeSet::default() };
    for (draft, edited) in drafts.into_iter().zip(edited) {
        let Draft { file, mut problems, changes: values, .. } = draft;
        match edited {
            None => {}
            Some(Ok(new_bytes)) => {
                let path = file.path.to_owned();
                changes.files.push(FileChange { path, new_bytes, changes: values });
            }
            Some(Err(error)) => problems.push(refused(&values[0], &error)),
        }
        let path = || file.path.to_owned();
        let problems = problems.into_iter().map(|problem| FileProblem { path: path(), problem });
        changes.problems.extend(problems);
    }
    changes
}

/// What is to be done with a file, before it is edited.
struct Draft<'f> {
    file: &'f File<'f>,
    problems: Vec<Problem>,
    changes: Vec<Change>,
    /// Where the values of the changes stand.
    spans: Vec<Range<usize>>,
}

struct Planner<'p> {
    policies: &'p Policies,
    /// The choices that were checked, with what is wrong with them.
    invalid: BTreeMap<&'p PolicyName, Option<NameError>>,
    unresolved: BTreeSet<PolicyName>,
}

impl<'p> Planner<'p> {
    fn draft<'f>(&mut self, file: &'f File<'f>) -> Draft<'f> {
        let problems = file.found.problems.clone();
        let mut draft = Draft { file, problems, changes: Vec::new(), spans: Vec::new() };
        for marker in &file.found.markers {
            match self.new_value(marker) {
                Ok(Some(new)) if new != marker.old => {
                    draft.spans.push(marker.span.clone());
                    draft.changes.push(change(marker, new));
                }
                Ok(Some(_) | None) => {}
                Err(problem) => draft.problems.push(problem),
            }
        }
        draft
    }

    /// Returns what a marked value is to be; none if it is left alone.
    fn new_value(&mut self, marker: &Marker) -> Result<Option<String>, Problem> {
        let policy = &marker.policy;
        let known = self.policies.known.get_key_value(policy);
        let ours = self.policies.writes(policy);
        match known {
            None if self.policies.complete => {
                let message = format!(
                    "marker `{}` has no effect: no namespace has the policy {policy}",
                    marker.setter
                );
                Err(problem(marker, ProblemReason::UnknownPolicy, message))
            }
            Some((name, Some(choice))) if ours => match self.fault(name, choice) {
                None => Ok(Some(value(marker.part, choice))),
                Some(message) => Err(problem(marker, ProblemReason::InvalidChoice, message)),
            },
            Some((name, None)) if ours => {
                self.unresolved.insert(name.clone());
                Ok(None)
            }
            None | Some(_) => Ok(None),
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
}

impl Policies {
    /// Returns whether markers of this policy are written.
    fn writes(&self, policy: &PolicyName) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == policy.namespace)
    }
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
