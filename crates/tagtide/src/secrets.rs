//! The Secrets that objects name: which of them nobody gave, and what to do about it.

use std::collections::BTreeSet;

use api::Repository;
use controllers::{ObjectKey, Settings};
use serde_json::Value;
use url::Url;

use crate::config::Credentials;
use crate::manifests::Manifest;

/// Fields of a spec that name a Secret.
const FIELDS: [&str; 3] = ["secretRef", "certSecretRef", "proxySecretRef"];

/// The field of a ServiceAccount that names some.
const PULL_SECRETS: &str = "imagePullSecrets";

/// What is to be told about Secrets.
pub(crate) struct Secrets {
    /// A notice for each Secret that an object names and nobody gave.
    pub(crate) missing: Vec<String>,
    /// How many encrypted Secrets no object names.
    pub(crate) n_encrypted: usize,
}

impl Secrets {
    /// Looks up the Secrets that `objects` name among them and among the credentials.
    pub(crate) fn of(
        objects: &[Manifest],
        encrypted: &BTreeSet<(String, String)>,
        credentials: &Credentials,
        settings: &Settings,
    ) -> Self {
        let known = objects.iter().filter(|manifest| manifest.value["kind"] == "Secret");
        let known: BTreeSet<_> = known.map(|secret| key(secret, None)).collect();
        let is_given = |key: &ObjectKey| {
            let given = (key.namespace.clone(), key.name.clone());
            known.contains(key) || credentials.secrets.contains_key(&given)
        };
        let is_encrypted =
            |key: &ObjectKey| encrypted.contains(&(key.namespace.clone(), key.name.clone()));
        let mut missing = BTreeSet::new();
        let mut named = BTreeSet::new();
        for manifest in objects {
            // Under an assumption no registry is contacted.
            let is_git = manifest.value["kind"] == "GitRepository";
            if !is_git && settings.assumed.is_some() {
                continue;
            }
            for (field, key) in references(manifest) {
                let stands_in = field == "secretRef" && has_fallback(manifest, credentials);
                // A ServiceAccount may be of no concern; an encrypted Secret of it is told.
                let matters = field != PULL_SECRETS || is_encrypted(&key);
                if matters && !is_given(&key) && !stands_in {
                    missing.insert(key.clone());
                }
                named.insert(key);
            }
        }
        let notices = missing.iter().map(|key| {
            let why = if is_encrypted(key) {
                "is encrypted and unresolved"
            } else {
                "is not among the manifests"
            };
            format!("Secret {key} {why}; give it with --secret {key}=DIR")
        });
        let n_named = named.iter().filter(|key| is_encrypted(key)).count();
        let n_given = encrypted.iter().filter(|key| {
            let key = ObjectKey::new(key.0.clone(), key.1.clone());
            !named.contains(&key) && is_given(&key)
        });
        let n_encrypted = encrypted.len().saturating_sub(n_named + n_given.count());
        Self { missing: notices.collect(), n_encrypted }
    }
}

fn key(manifest: &Manifest, name: Option<&str>) -> ObjectKey {
    let (_, namespace, own) = manifest.key();
    ObjectKey::new(namespace, name.map_or(own, str::to_owned))
}

/// Returns the Secrets that an object names, and in which field.
fn references(manifest: &Manifest) -> Vec<(&'static str, ObjectKey)> {
    let value = &manifest.value;
    let name_of = |reference: &Value| Some(key(manifest, Some(reference["name"].as_str()?)));
    match value["kind"].as_str() {
        Some("GitRepository" | "ImageRepository") => FIELDS
            .iter()
            .filter_map(|field| Some((*field, name_of(&value["spec"][*field])?)))
            .collect(),
        Some("ServiceAccount") => {
            let secrets = value["imagePullSecrets"].as_array().into_iter().flatten();
            secrets.filter_map(|secret| Some((PULL_SECRETS, name_of(secret)?))).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns whether the machine has credentials for what an object speaks to.
fn has_fallback(manifest: &Manifest, credentials: &Credentials) -> bool {
    let spec = &manifest.value["spec"];
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let fallback = &credentials.fallback;
    if manifest.value["kind"] == "GitRepository" {
        let url = Url::parse(&text("url")).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        return fallback.git_credential(host).is_some();
    }
    let image = text("image").parse::<Repository>();
    image.is_ok_and(|image| fallback.keychain.lookup(image.registry(), image.path()).is_some())
}
