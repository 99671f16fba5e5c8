//! Secrets and ServiceAccounts, read through the API, as credentials.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{
    Repository, image::ImageRepository, object_ref::LocalObjectReference, source::GitRepository,
};
use auth::{GitAuth, GitCredential, Keychain};
use git::RemoteUrl;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{Api, Client};
use sha2::{Digest, Sha256};

/// Pull secrets of one ServiceAccount that are read; Kubernetes itself has no limit.
const PULL_SECRETS_MAX: usize = 64;

/// Credentials that stand in where an object names none or its Secret is not there: those of the
/// machine that a run until nothing is due works on.
#[derive(Clone, Default)]
pub struct Fallback {
    /// For registries, as from the user's docker configuration.
    pub keychain: Keychain,
    /// For Git servers, by host in the spelling of [`Fallback::spelled`].
    pub git: BTreeMap<String, GitCredential>,
}

impl Fallback {
    /// Returns a host as the name of a variable can hold it: `git.example` as `GIT_EXAMPLE`.
    pub fn spelled(host: &str) -> String {
        let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
        host.to_ascii_uppercase().chars().map(letter).collect()
    }

    /// Returns the credential for a Git server.
    pub fn git_credential(&self, host: &str) -> Option<&GitCredential> {
        self.git.get(&Fallback::spelled(host))
    }
}

/// How a registry is reached, and a hash over all that decides what it answers.
pub(crate) struct RegistryAccess {
    pub(crate) access: registry::Access,
    pub(crate) fingerprint: [u8; 32],
}

/// Why credentials cannot be used; Flux's texts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// The API's own words, as Flux shows them for a secret that is named directly.
    #[error("{0}")]
    Api(String),
    #[error("secret '{0}' not found")]
    NoSecret(String),
    #[error("serviceaccount '{0}' not found")]
    NoServiceAccount(String),
    #[error("serviceaccount '{name}' has {n} pull secrets; at most {PULL_SECRETS_MAX} are read")]
    PullSecrets { name: String, n: usize },
    #[error("failed to get {what} '{name}'")]
    GitSecret { what: &'static str, name: String, source: Box<AccessError> },
    #[error(transparent)]
    Docker(#[from] auth::DockerConfigError),
    #[error(transparent)]
    Secret(#[from] auth::SecretError),
    #[error(transparent)]
    Git(#[from] auth::GitAuthError),
}

type Data = BTreeMap<String, Vec<u8>>;

/// Reads what a scan needs, and hashes it.
pub(crate) async fn registry(
    client: &Client,
    namespace: &str,
    repository: &ImageRepository,
    fallback: Option<&Fallback>,
) -> Result<RegistryAccess, AccessError> {
    let spec = &repository.spec;
    let reader = Reader { client, namespace };
    let mut hash = Sha256::new();
    let mut keychains = Vec::new();
    let ambient = fallback.filter(|fallback| knows(&fallback.keychain, &spec.image));
    for secret in pull_secrets(&reader, repository, ambient.is_some()).await? {
        let data = data_of(&secret);
        hash_data(&mut hash, b"pull", &data);
        keychains.push(Keychain::from_secret(secret.type_.as_deref().unwrap_or_default(), &data)?);
    }
    keychains.extend(ambient.map(|ambient| ambient.keychain.clone()));
    let mut route = net::Route::default();
    if let Some(reference) = &spec.cert_secret_ref {
        let data = data_of(&reader.secret(&reference.name).await.map_err(raw)?);
        hash_data(&mut hash, b"cert", &data);
        route.tls = auth::tls_from_secret(&reader.name_of(&reference.name), &data)?;
    }
    if let Some(reference) = &spec.proxy_secret_ref {
        let data = data_of(&reader.secret(&reference.name).await.map_err(formatted)?);
        hash_data(&mut hash, b"proxy", &data);
        route.proxy = auth::proxy_from_secret(&reader.name_of(&reference.name), &data)?;
    }
    let insecure = spec.insecure == Some(true);
    hash.update([u8::from(insecure)]);
    let access = registry::Access { keychain: Keychain::merge(keychains), route, insecure };
    Ok(RegistryAccess { access, fingerprint: hash.finalize().into() })
}

/// Returns whether a keychain has a credential for an image.
fn knows(keychain: &Keychain, image: &str) -> bool {
    let repository = image.parse::<Repository>();
    repository.is_ok_and(|image| keychain.lookup(image.registry(), image.path()).is_some())
}

/// What a Git server is reached for.
pub(crate) struct GitNeed<'a> {
    /// The GitRepository's namespace; its Secrets are there.
    pub(crate) namespace: &'a str,
    pub(crate) repository: &'a GitRepository,
    pub(crate) url: &'a RemoteUrl,
    pub(crate) timeout: Duration,
    /// What Flux calls the Secret in this place.
    pub(crate) secret_is: &'static str,
}

/// Reads what a Git server needs.
pub(crate) async fn git(
    client: &Client,
    need: &GitNeed<'_>,
    fallback: Option<&Fallback>,
) -> Result<git::Access, AccessError> {
    let &GitNeed { namespace, repository, url, timeout, secret_is: what } = need;
    let reader = Reader { client, namespace };
    let mut data = Data::new();
    let host = url.as_url().host_str().unwrap_or_default();
    let mut ambient = fallback.and_then(|fallback| fallback.git_credential(host));
    if let Some(LocalObjectReference { name }) = &repository.spec.secret_ref {
        match reader.secret(name).await {
            Ok(secret) => {
                data = data_of(&secret);
                ambient = None;
            }
            Err(SecretFailure::Missing { .. }) if ambient.is_some() => {}
            Err(failure) => {
                let name = reader.name_of(name);
                let source = Box::new(raw(failure));
                return Err(AccessError::GitSecret { what, name, source });
            }
        }
    }
    let mut auth = GitAuth::from_secret(&data, url.as_url())?;
    let mut route = net::Route::default();
    if let Some(reference) = &repository.spec.proxy_secret_ref {
        let data = data_of(&reader.secret(&reference.name).await.map_err(formatted)?);
        route.proxy = auth::proxy_from_secret(&reader.name_of(&reference.name), &data)?;
    }
    if let Some(ambient) = ambient {
        auth.credential = ambient.clone();
    }
    Ok(git::Access { auth, route, timeout })
}

async fn pull_secrets(
    reader: &Reader<'_>,
    repository: &ImageRepository,
    has_fallback: bool,
) -> Result<Vec<Secret>, AccessError> {
    let mut secrets = Vec::new();
    if let Some(reference) = &repository.spec.secret_ref {
        match reader.secret(&reference.name).await {
            Ok(secret) => secrets.push(secret),
            Err(SecretFailure::Missing { .. }) if has_fallback => {}
            Err(failure) => return Err(raw(failure)),
        }
    }
    let account = repository.spec.service_account_name.as_deref().filter(|name| !name.is_empty());
    let Some(account) = account else { return Ok(secrets) };
    let names = reader.pull_secret_names(account).await?;
    if names.len() > PULL_SECRETS_MAX {
        let name = reader.name_of(account);
        return Err(AccessError::PullSecrets { name, n: names.len() });
    }
    for name in names {
        secrets.push(reader.secret(&name).await.map_err(formatted)?);
    }
    Ok(secrets)
}

/// Reads Secrets and ServiceAccounts of one namespace.
struct Reader<'a> {
    client: &'a Client,
    namespace: &'a str,
}

enum SecretFailure {
    Missing { name: String, message: String },
    Other(Arc<str>),
}

impl Reader<'_> {
    fn name_of(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    async fn secret(&self, name: &str) -> Result<Secret, SecretFailure> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        secrets.get(name).await.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                SecretFailure::Missing { name: self.name_of(name), message: status.message.clone() }
            }
            error => SecretFailure::Other(text_of(&error).into()),
        })
    }

    async fn pull_secret_names(&self, account: &str) -> Result<Vec<String>, AccessError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), self.namespace);
        let account = accounts.get(account).await.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                AccessError::NoServiceAccount(self.name_of(account))
            }
            error => AccessError::Api(text_of(&error)),
        })?;
        let references = account.image_pull_secrets.unwrap_or_default();
        Ok(references.into_iter().map(|reference| reference.name).collect())
    }
}

/// Flux shows the API's own words for a Secret that the object names …
fn raw(failure: SecretFailure) -> AccessError {
    match failure {
        SecretFailure::Missing { message, .. } => AccessError::Api(message),
        SecretFailure::Other(text) => AccessError::Api(text.to_string()),
    }
}

/// … and its own for proxies and pull secrets.
fn formatted(failure: SecretFailure) -> AccessError {
    match failure {
        SecretFailure::Missing { name, .. } => AccessError::NoSecret(name),
        SecretFailure::Other(text) => AccessError::Api(text.to_string()),
    }
}

/// Returns what the API said, without the client's decoration.
pub(crate) fn text_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => crate::outcome::chain(error),
    }
}

fn data_of(secret: &Secret) -> Data {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn hash_data(hash: &mut Sha256, label: &[u8], data: &Data) {
    hash.update(label);
    for (key, value) in data {
        for part in [key.as_bytes(), value] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.update([0]);
}
