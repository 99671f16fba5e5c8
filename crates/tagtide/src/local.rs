//! Plans edits on the files of a local folder, automation by automation.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use api::Kind;
use api::image::{ImagePolicy, ImageRef, ImageUpdateAutomation};
use automation::marker::{self, Found, Marker, PolicyName};
use automation::update::{self, File, Policies};
use controllers::{ObjectKey, triggers};
use kube::api::{Api, ListParams, ObjectMeta};
use kube::core::labels::{Selector, SelectorExt};

use crate::folder::Folder;
use crate::report::{Change, Object, Problem};

/// What is to be written where.
#[derive(Debug, Default)]
pub(crate) struct Local {
    updates: Vec<Update>,
    /// Automations that cannot be planned, and why.
    failed: Vec<Object>,
    notices: Vec<String>,
}

/// The work of one automation.
#[derive(Debug)]
struct Update {
    /// Whose work it is; nobody's when choices are assumed without manifests.
    automation: Option<ObjectKey>,
    path: String,
    policies: Policies,
}

/// What a plan has come to.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    pub(crate) files: Vec<EditedFile>,
    pub(crate) changes: Vec<Change>,
    pub(crate) problems: Vec<Problem>,
    /// Automations that could not be planned, and why. They hurt no others.
    pub(crate) failed: Vec<Object>,
    pub(crate) notices: Vec<String>,
}

/// A file before and after.
#[derive(Debug)]
pub(crate) struct EditedFile {
    pub(crate) path: String,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
}

impl Local {
    /// Returns the plan of assumed choices below `path`; markers may name any assumed namespace.
    pub(crate) fn assumed(path: &str, assumed: BTreeMap<(String, String), ImageRef>) -> Self {
        let known: BTreeMap<_, _> = assumed
            .into_iter()
            .map(|((namespace, name), image)| (PolicyName { namespace, name }, Some(image)))
            .collect();
        let policies = Policies { known, namespace: None, complete: false };
        let update = Update { automation: None, path: path.to_owned(), policies };
        Self { updates: vec![update], ..Self::default() }
    }

    /// Returns what the automations of an API would write, from the choices that its policies have.
    pub(crate) async fn of(client: &kube::Client) -> Result<Self> {
        let all = ListParams::default();
        let policies = Api::<ImagePolicy>::all(client.clone()).list(&all).await?.items;
        let automations = Api::<ImageUpdateAutomation>::all(client.clone()).list(&all).await?.items;
        let mut local = Self::default();
        for automation in &automations {
            let key = key_of(&automation.metadata);
            if automation.spec.suspend == Some(true) {
                local.notices.push(format!("ImageUpdateAutomation {key} is suspended"));
                continue;
            }
            match update_of(automation, &policies) {
                Ok(update) => local.updates.push(update),
                Err(error) => local.failed.push(failure(&key, "InvalidPolicySelector", &error)),
            }
        }
        Ok(local)
    }

    /// Returns the markers that the automations may write, as the folder has them now.
    pub(crate) fn markers(&self, folder: &Folder) -> Vec<Marker> {
        let mut markers = Vec::new();
        for update in &self.updates {
            // The plan itself says what cannot be read.
            let Ok(files) = read(update, folder, &mut Edited::default()) else { continue };
            let own = update.policies.namespace.as_ref();
            let found = files.into_iter().flat_map(|(_, _, found)| found.markers);
            markers.extend(found.filter(|marker| Some(&marker.policy.namespace) == own));
        }
        markers
    }
}

fn update_of(automation: &ImageUpdateAutomation, policies: &[ImagePolicy]) -> Result<Update> {
    let key = key_of(&automation.metadata);
    let namespace = key.namespace.clone();
    let selector = automation.spec.policy_selector.clone().unwrap_or_default();
    let selector = Selector::try_from(selector).context("failed to parse policy selector")?;
    let is_selected = |policy: &&ImagePolicy| {
        policy.metadata.namespace.as_ref() == Some(&namespace)
            && selector.matches(policy.metadata.labels.as_ref().unwrap_or(&BTreeMap::new()))
    };
    let selected: BTreeSet<_> = policies.iter().filter(is_selected).map(name_of).collect();
    let known = policies.iter().map(|policy| {
        let name = name_of(policy);
        let choice = triggers::writable(policy).filter(|_| selected.contains(&name)).cloned();
        (name, choice)
    });
    let policies = Policies { known: known.collect(), namespace: Some(namespace), complete: true };
    let update = automation.spec.update.as_ref();
    let path = update.and_then(|update| update.path.clone()).unwrap_or_default();
    Ok(Update { automation: Some(key), path, policies })
}

fn name_of(policy: &ImagePolicy) -> PolicyName {
    let ObjectKey { namespace, name } = key_of(&policy.metadata);
    PolicyName { namespace, name }
}

fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    ObjectKey::new(text(&metadata.namespace), text(&metadata.name))
}

fn failure(automation: &ObjectKey, reason: &str, error: &anyhow::Error) -> Object {
    Object {
        kind: Kind::ImageUpdateAutomation.to_string(),
        namespace: automation.namespace.clone(),
        name: automation.name.clone(),
        ready: false,
        reason: reason.to_owned(),
        message: format!("{error:#}"),
    }
}

/// Plans every update in turn, each on what the ones before it leave.
pub(crate) fn plan(local: Local, folder: &Folder) -> Result<Edited> {
    let Local { updates, failed, notices } = local;
    let mut edited = Edited { failed, notices, ..Edited::default() };
    let mut unresolved = BTreeSet::new();
    let mut elsewhere = BTreeSet::new();
    for update in &updates {
        let files = match (read(update, folder, &mut edited), &update.automation) {
            (Ok(files), _) => files,
            (Err(error), None) => return Err(error),
            (Err(error), Some(automation)) => {
                edited.failed.push(failure(automation, "UpdateFailed", &error));
                continue;
            }
        };
        let known = &update.policies.known;
        let named = files.iter().flat_map(|(_, _, found)| &found.markers);
        elsewhere.extend(
            named
                .map(|marker| &marker.policy)
                .filter(|policy| !known.contains_key(policy))
                .cloned(),
        );
        let views: Vec<_> =
            files.iter().map(|(path, bytes, found)| File { path, bytes, found }).collect();
        let changes = update::plan(&views, &update.policies);
        // Of policies in manifests their own notices tell.
        if update.automation.is_none() {
            unresolved.extend(changes.unresolved);
        }
        edited.problems.extend(changes.problems.into_iter().map(Problem::from));
        for file in changes.files {
            let planned = file.changes.iter().map(|change| Change::planned(&file.path, change));
            edited.changes.extend(planned);
            let old = files.iter().find(|(path, _, _)| *path == file.path);
            edited.replace(file.path, old.map(|(_, bytes, _)| bytes), file.new_bytes);
        }
    }
    let is_open = updates.iter().any(|update| !update.policies.complete);
    unresolved.extend(elsewhere.into_iter().filter(|_| is_open));
    edited.notices.extend(
        unresolved
            .iter()
            .map(|policy| format!("policy {policy} has no choice; its markers are left alone")),
    );
    edited.problems.sort();
    edited.problems.dedup();
    Ok(edited)
}

impl Edited {
    fn replace(&mut self, path: String, old: Option<&Vec<u8>>, new: Vec<u8>) {
        match self.files.iter_mut().find(|file| file.path == path) {
            Some(file) => file.new = new,
            None => {
                self.files.push(EditedFile { path, old: old.cloned().unwrap_or_default(), new })
            }
        }
    }
}

/// Reads the marked files of an update, as the updates before it leave them; notes what cannot be
/// read.
fn read(
    update: &Update,
    folder: &Folder,
    edited: &mut Edited,
) -> Result<Vec<(String, Vec<u8>, Found)>> {
    let mut files = Vec::new();
    for path in folder.files(&update.path, update::is_candidate, &mut edited.problems)? {
        let bytes = match edited.files.iter().find(|file| file.path == path) {
            Some(file) => file.new.clone(),
            None => match folder.read_or_note(&path, &mut edited.problems) {
                Some(bytes) => bytes,
                None => continue,
            },
        };
        let found = marker::find(&bytes);
        if !found.markers.is_empty() || !found.problems.is_empty() {
            files.push((path, bytes, found));
        }
    }
    Ok(files)
}
