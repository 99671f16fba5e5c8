//! Keeps the API in step with manifests on disk: applies what is new or changed, and deletes what it
//! had loaded from a file that no longer has it. What is from which file stands on the objects
//! themselves, so that a restart knows it too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use api::{Kind, annotation};
use futures::{StreamExt as _, stream};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::manifest_files::ManifestFiles;
use crate::manifests::Manifest;
use crate::report::Problem;
use crate::session;

/// How loaded objects are signed.
const FIELD_MANAGER: &str = "tagtide-up";
/// Requests at a time: those that are kept on disk share a write.
const CONCURRENCY: usize = 32;
/// The pause between two looks at the files, at least.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Looking takes at most one part in so many of the time: a large folder is looked at less often.
const PAUSE_FACTOR: u32 = 50;
/// Objects of one page when all are listed.
const PAGE: u32 = 500;
/// What another server gave an object means nothing here.
const FOREIGN_FIELDS: [&str; 6] =
    ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink"];

/// Kind, namespace and name.
type Key = (String, String, String);

/// Applies manifests from files.
pub(crate) struct Loader {
    client: kube::Client,
    files: ManifestFiles,
    /// What the API has of these files, and from which.
    loaded: BTreeMap<Key, PathBuf>,
    /// Namespaces that are known to be there.
    namespaces: BTreeSet<String>,
    /// Whether something could not be written for now.
    is_behind: bool,
}

/// What a look at the files came to.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// How many objects were applied.
    pub(crate) n_applied: usize,
    /// Objects that were deleted.
    pub(crate) deleted: Vec<String>,
    /// What is wrong with files and objects.
    pub(crate) problems: Vec<Problem>,
}

/// Why an object was not written.
enum Unwritten {
    /// It will never be as it is.
    Refused(String),
    /// It may be the next time.
    NotNow(String),
}

impl Loader {
    /// Returns a loader of these files, none of which was read yet.
    pub(crate) fn new(client: kube::Client, files: ManifestFiles) -> Self {
        let (loaded, namespaces) = (BTreeMap::new(), BTreeSet::new());
        Self { client, files, loaded, namespaces, is_behind: false }
    }

    /// Takes note of what an earlier process loaded from these files.
    pub(crate) async fn remember(&mut self) -> Result<()> {
        for (resource, _) in resources() {
            let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let mut page = ListParams::default().limit(PAGE);
            loop {
                let list = all.list(&page).await?;
                for object in list.items {
                    let file = origin(&object).filter(|file| self.files.covers(file));
                    let metadata = object.metadata;
                    let key = (
                        resource.kind.clone(),
                        metadata.namespace.unwrap_or_default(),
                        metadata.name.unwrap_or_default(),
                    );
                    self.loaded.extend(file.map(|file| (key, file)));
                }
                match list.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => page = page.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Follows the files for as long as this is polled.
    pub(crate) async fn watch(mut self) {
        loop {
            let began = tokio::time::Instant::now();
            match self.look().await {
                Ok(look) => look.log(),
                Err(error) => {
                    tracing::warn!(error = %format!("{error:#}"), "Cannot read manifests")
                }
            }
            tokio::time::sleep((began.elapsed() * PAUSE_FACTOR).max(PAUSE_MIN)).await;
        }
    }

    /// Looks at the files once and brings the API to what they say.
    ///
    /// # Errors
    /// When a path cannot be read at all, after all others were seen to.
    pub(crate) async fn look(&mut self) -> Result<Look> {
        let (changes, result) = self.files.look();
        if changes.written.is_empty() && !changes.is_less && !self.is_behind {
            return result.map(|()| Look::default());
        }
        self.is_behind = false;
        let (mut look, wanted) = self.apply_found(&changes.written).await;
        self.delete_all_but(&wanted, &mut look).await;
        result.map(|()| look)
    }

    /// Applies everything that was found in the files so far, and deletes nothing: what was removed
    /// while nobody looked is seen to by the next look.
    pub(crate) async fn load(&mut self) -> Look {
        let all = self.files.files().cloned().collect();
        let (look, _) = self.apply_found(&all).await;
        self.is_behind = true;
        look
    }

    /// Applies what is new or stands in a file that was written to; returns everything that stands
    /// in a file too.
    async fn apply_found(&mut self, written: &BTreeSet<PathBuf>) -> (Look, BTreeSet<Key>) {
        let mut look = Look::default();
        let found = self.files.found();
        look.problems = found.problems;
        // Whatever stands in a file, be it unclear or unresolved, was not taken out.
        let mut wanted: BTreeSet<Key> = found.objects.iter().map(Manifest::key).collect();
        let encrypted = found.encrypted.into_iter();
        wanted.extend(encrypted.map(|(namespace, name)| ("Secret".to_owned(), namespace, name)));
        let (objects, ambiguous) = session::settle(found.objects);
        look.problems.extend(ambiguous);
        let is_due = |manifest: &Manifest| {
            let is_loaded = self.loaded.contains_key(&manifest.key());
            !is_loaded || written.contains(Path::new(&manifest.file))
        };
        let due: Vec<_> = objects.into_iter().filter(is_due).collect();
        self.apply_all(due, &mut look).await;
        (look, wanted)
    }

    async fn apply_all(&mut self, mut manifests: Vec<Manifest>, look: &mut Look) {
        self.make_namespaces(&manifests, look).await;
        for (resource, is_namespaced) in resources() {
            let is_of_kind = |manifest: &mut Manifest| manifest.value["kind"] == resource.kind;
            let of_kind: Vec<_> = manifests.extract_if(.., is_of_kind).collect();
            let client = self.client.clone();
            let applied = stream::iter(of_kind).map(move |manifest| {
                let api = api_of(&client, &resource, is_namespaced, &manifest.key().1);
                async move {
                    let result = apply(&api, &manifest).await;
                    (manifest, result)
                }
            });
            let applied: Vec<_> = applied.buffered(CONCURRENCY).collect().await;
            for (manifest, result) in applied {
                match result {
                    Ok(()) => {
                        look.n_applied += 1;
                        self.loaded.insert(manifest.key(), PathBuf::from(&manifest.file));
                    }
                    Err(unwritten) => self.note(&manifest, unwritten, look),
                }
            }
        }
    }

    /// Makes the namespaces that objects stand in.
    async fn make_namespaces(&mut self, manifests: &[Manifest], look: &mut Look) {
        let (resource, _) = resources().remove(0);
        let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        for manifest in manifests {
            let (_, namespace, _) = manifest.key();
            if namespace.is_empty() || self.namespaces.contains(&namespace) {
                continue;
            }
            let object = DynamicObject::new(&namespace, &resource);
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
            match all.create(&params, &object).await.map_err(unwritten) {
                Ok(_) => {}
                Err(Unwritten::Refused(_)) if is_there(&all, &namespace).await => {}
                Err(error) => {
                    self.note(manifest, error, look);
                    continue;
                }
            }
            self.namespaces.insert(namespace);
        }
    }

    /// Deletes what was loaded and stands in no file any more.
    async fn delete_all_but(&mut self, wanted: &BTreeSet<Key>, look: &mut Look) {
        let gone = self.loaded.iter().filter(|(key, _)| !wanted.contains(*key));
        let gone = gone.map(|(key, file)| (key.clone(), file.clone())).collect::<Vec<_>>();
        for (key, file) in gone {
            if !self.files.has_given_up(&file) {
                // Not seen often enough yet, perhaps.
                self.is_behind = true;
                continue;
            }
            match delete(&self.client, &key, &file).await {
                Ok(true) => look.deleted.push(format!("{} {}/{}", key.0, key.1, key.2)),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "Deleting an object is tried again");
                    self.is_behind = true;
                    continue;
                }
            }
            self.loaded.remove(&key);
        }
    }

    fn note(&mut self, manifest: &Manifest, unwritten: Unwritten, look: &mut Look) {
        let (reason, message) = match unwritten {
            Unwritten::Refused(message) => ("Invalid", message),
            Unwritten::NotNow(message) => {
                self.is_behind = true;
                ("NotWritten", format!("{message}; it is tried again"))
            }
        };
        let (kind, namespace, name) = manifest.key();
        look.problems.push(Problem {
            file: manifest.file.clone(),
            line: manifest.line,
            column: 1,
            reason: reason.to_owned(),
            message: format!("{kind} {namespace}/{name}: {message}"),
        });
    }
}

impl Look {
    fn log(&self) {
        for problem in &self.problems {
            tracing::warn!(%problem, "A manifest cannot be used");
        }
        for object in &self.deleted {
            tracing::info!(%object, "Deleted an object that its manifest no longer has");
        }
        if self.n_applied > 0 {
            tracing::info!(n_objects = self.n_applied, "Applied manifests");
        }
    }
}

/// Returns the resources that are loaded and whether they live in namespaces, in the order in which
/// one needs the other.
fn resources() -> Vec<(ApiResource, bool)> {
    let core = [
        ("Namespace", "namespaces", false),
        ("Secret", "secrets", true),
        ("ServiceAccount", "serviceaccounts", true),
        ("ConfigMap", "configmaps", true),
    ];
    let core = core.map(|(kind, plural, is_namespaced)| {
        let kind = GroupVersionKind::gvk("", "v1", kind);
        (ApiResource::from_gvk_with_plural(&kind, plural), is_namespaced)
    });
    let ours = Kind::ALL.map(|kind| (session::resource(kind), true));
    core.into_iter().chain(ours).collect()
}

fn api_of(
    client: &kube::Client,
    resource: &ApiResource,
    is_namespaced: bool,
    namespace: &str,
) -> Api<DynamicObject> {
    match is_namespaced {
        true => Api::namespaced_with(client.clone(), namespace, resource),
        false => Api::all_with(client.clone(), resource),
    }
}

async fn apply(api: &Api<DynamicObject>, manifest: &Manifest) -> Result<(), Unwritten> {
    let (_, _, name) = manifest.key();
    if name.is_empty() {
        return Err(Unwritten::Refused("metadata.name is missing".to_owned()));
    }
    // What a file says holds, whoever said otherwise meanwhile.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(applied(manifest));
    api.patch(&name, &params, &patch).await.map(drop).map_err(unwritten)
}

/// Returns what is applied for a manifest: itself, with its origin.
fn applied(manifest: &Manifest) -> Value {
    let mut object = manifest.value.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        FOREIGN_FIELDS.iter().for_each(|field| drop(metadata.remove(*field)));
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(annotation::LOADED_FROM.to_owned(), manifest.file.clone().into());
        }
    }
    object
}

/// Deletes an object if it is still the one that was loaded from `file`; returns whether it was.
async fn delete(client: &kube::Client, key: &Key, file: &Path) -> Result<bool, kube::Error> {
    let (kind, namespace, name) = key;
    let found = resources().into_iter().find(|(resource, _)| resource.kind == *kind);
    let Some((resource, true)) = found else {
        // With a namespace everything in it would go.
        tracing::warn!(%name, "A namespace stays, though its manifest was removed");
        return Ok(false);
    };
    let api = api_of(client, &resource, true, namespace);
    let Some(object) = api.get_opt(name).await? else { return Ok(false) };
    if origin(&object).as_deref() != Some(file) {
        return Ok(false);
    }
    let same = Preconditions { uid: object.metadata.uid, resource_version: None };
    let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
    match api.delete(name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the file that an object was loaded from.
fn origin(object: &DynamicObject) -> Option<PathBuf> {
    object.metadata.annotations.as_ref()?.get(annotation::LOADED_FROM).map(PathBuf::from)
}

async fn is_there(api: &Api<DynamicObject>, name: &str) -> bool {
    api.get_opt(name).await.is_ok_and(|found| found.is_some())
}

fn unwritten(error: kube::Error) -> Unwritten {
    match error {
        kube::Error::Api(status)
            if (400..500).contains(&status.code) && ![409, 429].contains(&status.code) =>
        {
            Unwritten::Refused(status.message.clone())
        }
        error => Unwritten::NotNow(error.to_string()),
    }
}
