//! The edit of an automation: a function of the files at a tip, which may be asked several times.

use std::{collections::BTreeMap, sync::Arc};

use api::image::{ImageRef, ImageUpdateAutomation};
use automation::{
    marker::Problem,
    message::{self, MessageData, MessageError},
    update::{self, ChangeSet, File},
};
use git::{Change, FileChange, Plan, Snapshot, SnapshotError};

use super::choices::Choices;
use crate::{
    context::Scope,
    markers::{MarkedFile, MarkerIndex, marked_files, read_due},
    queue::ObjectKey,
    report,
};

/// What an automation does with the files at a tip.
pub(super) struct Edit {
    automation: ObjectKey,
    path: String,
    choices: Choices,
    template: String,
    values: Option<BTreeMap<String, String>>,
    index: Arc<MarkerIndex>,
}

/// What an edit came to.
#[derive(Default)]
pub(super) struct Edited {
    /// What the policies had chosen, by name.
    pub(super) chosen: BTreeMap<String, ImageRef>,
    pub(super) problems: Vec<(String, Problem)>,
    pub(super) changes: Vec<(String, update::Change)>,
    pub(super) files: Vec<EditedFile>,
}

pub(super) struct EditedFile {
    path: String,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Why no edit could be planned.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error(transparent)]
    Files(#[from] SnapshotError),
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl Edit {
    pub(super) fn new(
        automation: &ImageUpdateAutomation,
        ctx: &Scope<'_>,
        path: String,
        choices: Choices,
    ) -> Edit {
        let commit = automation.spec.git.as_ref().map(|git| git.commit.clone());
        let commit = commit.unwrap_or_default();
        Edit {
            automation: ctx.key.clone(),
            path,
            choices,
            template: commit.message_template.unwrap_or_default(),
            values: commit.message_template_values,
            index: Arc::clone(&ctx.shared.markers),
        }
    }

    /// Returns the change that brings the marked values to the choices, if any.
    pub(super) fn plan(&self, files: &mut Snapshot) -> Result<Plan<Edited>, PlanError> {
        let mut marked = marked_files(files, &self.path, &self.index)?;
        let chosen = self.choices.now();
        let policies = self.choices.policies(&chosen);
        read_due(files, &mut marked, &policies)?;
        let inputs: Vec<File<'_>> = marked
            .iter()
            .map(|MarkedFile { relative, bytes, found, .. }| File { path: relative, bytes, found })
            .collect();
        let changes = update::plan(&inputs, &policies);
        let change = self.change(&marked, &changes)?;
        Ok(Plan { change, detail: edited(marked, changes, chosen) })
    }

    fn change(
        &self,
        marked: &[MarkedFile],
        changes: &ChangeSet,
    ) -> Result<Option<Change>, PlanError> {
        if changes.files.is_empty() {
            return Ok(None);
        }
        let ObjectKey { namespace, name } = &self.automation;
        let told = message::changes_of(changes);
        let data = MessageData { namespace, name, changes: &told, values: self.values.as_ref() };
        let message = message::render(&self.template, &data)?;
        let paths = paths(marked);
        let files = changes.files.iter().map(|file| FileChange {
            path: paths[file.path.as_str()].to_owned(),
            bytes: file.new_bytes.clone(),
        });
        Ok(Some(Change { files: files.collect(), message }))
    }
}

/// Returns the paths from the root by those from the update path.
fn paths(marked: &[MarkedFile]) -> BTreeMap<&str, &str> {
    marked.iter().map(|file| (file.relative.as_str(), file.path.as_str())).collect()
}

fn edited(marked: Vec<MarkedFile>, set: ChangeSet, chosen: BTreeMap<String, ImageRef>) -> Edited {
    let mut edited = Edited { chosen, ..Edited::default() };
    {
        let paths = paths(&marked);
        let path_of = |relative: &str| paths[relative].to_owned();
        edited.problems = set.problems.into_iter().map(|p| (path_of(&p.path), p.problem)).collect();
        for file in &set.files {
            let changes = file.changes.iter().cloned();
            edited.changes.extend(changes.map(|change| (path_of(&file.path), change)));
        }
    }
    let mut old: BTreeMap<String, MarkedFile> =
        marked.into_iter().map(|file| (file.relative.clone(), file)).collect();
    for file in set.files {
        if let Some(MarkedFile { path, bytes, .. }) = old.remove(&file.path) {
            edited.files.push(EditedFile { path, old: bytes, new: file.new_bytes });
        }
    }
    edited
}

/// Adds an edit to the report of a run.
pub(super) fn report(ctx: &Scope<'_>, edited: &Edited, branch: &str) {
    if ctx.shared.once_since().is_none() {
        return;
    }
    let automation = || ctx.key.clone();
    ctx.report(|report| {
        report.changes.extend(edited.changes.iter().map(|(file, change)| report::Change {
            automation: automation(),
            file: file.clone(),
            line: change.line,
            column: change.column,
            policy: ObjectKey::new(change.policy.namespace.clone(), change.policy.name.clone()),
            setter: change.setter.clone(),
            old: change.old.clone(),
            new: change.new.clone(),
        }));
        report.problems.extend(edited.problems.iter().map(|(file, problem)| report::Problem {
            automation: automation(),
            file: file.clone(),
            line: problem.line,
            column: problem.column,
            reason: problem.reason.to_string(),
            message: problem.message.clone(),
        }));
        report.files.extend(edited.files.iter().map(|file| report::FileEdit {
            automation: automation(),
            branch: branch.to_owned(),
            file: file.path.clone(),
            old: file.old.clone(),
            new: file.new.clone(),
        }));
    });
}
