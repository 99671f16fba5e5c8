//! Plans edits on the files of a local folder, automation by automation.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use api::image::{ImagePolicy, ImageRef, ImageUpdateAutomation};
use automation::marker::{self, Found, PolicyName};
use automation::update::{self, File, Policies};
use kube::api::{Api, ListParams};
use kube::core::labels::{Selector, SelectorExt};

use crate::folder::Folder;
use crate::report::{Change, Problem};

/// What is to be written where.
#[derive(Debug, Default)]
pub(crate) struct Local {
    updates: Vec<Update>,
}

/// The work of one automation.
#[derive(Debug)]
struct Update {
    path: String,
    policies: Policies,
    /// Policies that it may write; of the others it knows that they exist.
    selected: BTreeSet<PolicyName>,
}

/// What a plan has come to.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    pub(crate) files: Vec<EditedFile>,
    pub(crate) changes: Vec<Change>,
    pub(crate) problems: Vec<Problem>,
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
        let selected = known.keys().cloned().collect();
        let policies = Policies { known, namespace: None, complete: false };
        Self { updates: vec![Update { path: path.to_owned(), policies, selected }] }
    }

    /// Returns what the automations of an API would write, from the choices that its policies have.
    pub(crate) async fn of(client: &kube::Client) -> Result<Self> {
        let all = ListParams::default();
        let policies = Api::<ImagePolicy>::all(client.clone()).list(&all).await?.items;
        let automations = Api::<ImageUpdateAutomation>::all(client.clone()).list(&all).await?.items;
        let active = automations.iter().filter(|automation| automation.spec.suspend != Some(true));
        let updates = active.map(|automation| update_of(automation, &policies));
        Ok(Self { updates: updates.collect::<Result<_>>()? })
    }
}

fn update_of(automation: &ImageUpdateAutomation, policies: &[ImagePolicy]) -> Result<Update> {
    let name = automation.metadata.name.as_deref().unwrap_or_default();
    let namespace = automation.metadata.namespace.clone().unwrap_or_default();
    let selector = automation.spec.policy_selector.clone().unwrap_or_default();
    let selector = Selector::try_from(selector)
        .with_context(|| format!("ImageUpdateAutomation {namespace}/{name}: policySelector"))?;
    let is_selected = |policy: &&ImagePolicy| {
        policy.metadata.namespace.as_ref() == Some(&namespace)
            && selector.matches(policy.metadata.labels.as_ref().unwrap_or(&BTreeMap::new()))
    };
    let selected: BTreeSet<_> = policies.iter().filter(is_selected).map(name_of).collect();
    let known = policies.iter().map(|policy| {
        let name = name_of(policy);
        let choice = policy.status.as_ref().and_then(|status| status.latest_ref.clone());
        let choice = choice.filter(|_| selected.contains(&name));
        (name, choice)
    });
    let policies = Policies { known: known.collect(), namespace: Some(namespace), complete: true };
    let update = automation.spec.update.as_ref();
    let path = update.and_then(|update| update.path.clone()).unwrap_or_default();
    Ok(Update { path, policies, selected })
}

fn name_of(policy: &ImagePolicy) -> PolicyName {
    PolicyName {
        namespace: policy.metadata.namespace.clone().unwrap_or_default(),
        name: policy.metadata.name.clone().unwrap_or_default(),
    }
}

/// Plans every update in turn, each on what the ones before it leave.
pub(crate) fn plan(local: &Local, folder: &Folder) -> Result<Edited> {
    let mut edited = Edited::default();
    let mut unresolved = BTreeSet::new();
    let mut elsewhere = BTreeSet::new();
    for update in &local.updates {
        let files = read(update, folder, &edited)?;
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
        unresolved.extend(changes.unresolved.intersection(&update.selected).cloned());
        edited.problems.extend(changes.problems.into_iter().map(Problem::from));
        for file in changes.files {
            let planned = file.changes.iter().map(|change| Change::planned(&file.path, change));
            edited.changes.extend(planned);
            let old = files.iter().find(|(path, _, _)| *path == file.path);
            edited.replace(file.path, old.map(|(_, bytes, _)| bytes), file.new_bytes);
        }
    }
    let is_open = local.updates.iter().any(|update| !update.policies.complete);
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

/// Reads the marked files of an update, as the updates before it leave them.
fn read(
    update: &Update,
    folder: &Folder,
    edited: &Edited,
) -> Result<Vec<(String, Vec<u8>, Found)>> {
    let mut files = Vec::new();
    for path in folder.files(&update.path, update::is_candidate)? {
        let bytes = match edited.files.iter().find(|file| file.path == path) {
            Some(file) => file.new.clone(),
            None => folder.read(&path)?,
        };
        let found = marker::find(&bytes);
        if !found.markers.is_empty() || !found.problems.is_empty() {
            files.push((path, bytes, found));
        }
    }
    Ok(files)
}
