//! What the arguments and the environment mean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use api::image::ImageRef;
use auth::{GitCredential, Keychain};
use controllers::{Fallback, Settings};
use net::{EnvironmentProxies, Secret};

use crate::args::{Environment, Manifests, State};
use crate::error::Usage;
use crate::folder::Folder;

/// A Secret's keys are few and short; Kubernetes takes 1 MiB in all.
const SECRET_KEYS_MAX: usize = 256;

/// Data of a Secret, by key.
type SecretData = BTreeMap<String, Vec<u8>>;

/// Who we are to registries and Git hosts.
#[derive(Default)]
pub(crate) struct Credentials {
    /// Secrets given by `--secret`, by namespace and name.
    pub(crate) secrets: BTreeMap<(String, String), SecretData>,
    /// The user's own, where an object's Secret is not to be had.
    pub(crate) fallback: Fallback,
    /// What a person should know about them.
    pub(crate) notices: Vec<String>,
}

/// `--assume NAMESPACE/POLICY=IMAGE:TAG[@DIGEST]`: a choice made up for a plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assumption {
    pub(crate) namespace: String,
    pub(crate) policy: String,
    pub(crate) image: ImageRef,
}

/// `--secret NAMESPACE/NAME=DIR`: a Secret given as a folder with a file per key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecretFolder {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

impl FromStr for Assumption {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        let wrong = |why: &str| {
            Usage(format!("--assume `{text}`: {why}; write NAMESPACE/POLICY=IMAGE:TAG[@DIGEST]"))
        };
        let (key, image) = text.split_once('=').ok_or_else(|| wrong("no `=`"))?;
        let (namespace, policy) = object_key(key).ok_or_else(|| wrong("no NAMESPACE/POLICY"))?;
        let (image, digest) = match image.split_once('@') {
            Some((image, digest)) => (image, Some(digest)),
            None => (image, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = image.rsplit_once(':').ok_or_else(|| wrong("no `:TAG`"))?;
        if name.is_empty() || tag.contains('/') {
            return Err(wrong("no `:TAG`"));
        }
        tag.parse::<api::Tag>().map_err(|error| wrong(&error.to_string()))?;
        if let Some(digest) = digest {
            digest.parse::<api::Digest>().map_err(|error| wrong(&error.to_string()))?;
        }
        let image = ImageRef {
            name: name.to_owned(),
            tag: tag.to_owned(),
            digest: digest.map(str::to_owned),
        };
        Ok(Self { namespace, policy, image })
    }
}

impl FromStr for SecretFolder {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        let wrong = || Usage(format!("--secret `{text}`: write NAMESPACE/NAME=DIR"));
        let (key, folder) = text.split_once('=').ok_or_else(wrong)?;
        let (namespace, name) = object_key(key).ok_or_else(wrong)?;
        if folder.is_empty() {
            return Err(wrong());
        }
        Ok(Self { namespace, name, folder: folder.into() })
    }
}

/// Splits `NAMESPACE/NAME`.
fn object_key(text: &str) -> Option<(String, String)> {
    let (namespace, name) = text.split_once('/')?;
    let is_whole = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
    is_whole.then(|| (namespace.to_owned(), name.to_owned()))
}

/// Returns the choices by namespace and policy; one policy cannot have two.
pub(crate) fn assumptions(texts: &[String]) -> Result<BTreeMap<(String, String), ImageRef>, Usage> {
    let mut assumed = BTreeMap::new();
    for text in texts {
        let assumption: Assumption = text.parse()?;
        let key = (assumption.namespace, assumption.policy);
        if assumed.contains_key(&key) {
            return Err(Usage(format!("--assume names {}/{} twice", key.0, key.1)));
        }
        assumed.insert(key, assumption.image);
    }
    Ok(assumed)
}

/// Returns the settings of a run that keeps this state.
pub(crate) fn settings(state: &State) -> Result<Settings, Usage> {
    let text = &state.removal_confirmation;
    let wrong =
        |why: &str| Usage(format!("--removal-confirmation `{text}`: {why}; write 1m or 90s"));
    let duration: golang::time::Duration =
        text.parse().map_err(|_| wrong("it is not a duration"))?;
    if text.starts_with('-') {
        return Err(wrong("it is negative"));
    }
    Ok(Settings { removal_confirmation: duration.to_std(), ..Settings::default() })
}

/// Returns the state folder of a daemon: the one that is named, else the user's own.
pub(crate) fn state_folder(state: &State, environment: &Environment) -> Result<PathBuf, Usage> {
    if let Some(folder) = &state.folder {
        return Ok(folder.clone());
    }
    default_state(environment).ok_or_else(|| {
        Usage("neither HOME nor XDG_STATE_HOME is set; name a folder with --state".to_owned())
    })
}

/// Returns the state folder that is a user's own.
pub(crate) fn default_state(environment: &Environment) -> Option<PathBuf> {
    // A relative path in the variable is to be ignored.
    let state =
        environment.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(Path::new(environment.get("HOME")?).join(".local/state"));
    Some(state.or_else(home)?.join("tagtide"))
}

/// Returns the credentials that the flags and the environment give.
pub(crate) fn credentials(manifests: &Manifests, environment: &Environment) -> Result<Credentials> {
    let mut credentials = Credentials::default();
    for text in &manifests.secret {
        let SecretFolder { namespace, name, folder } = text.parse()?;
        let data = read_secret(&folder).with_context(|| format!("--secret `{text}`"))?;
        credentials.secrets.insert((namespace, name), data);
    }
    if let Some(path) = docker_config(environment) {
        let (keychain, notice) = read_docker_config(&path)?;
        credentials.fallback.keychain = keychain;
        credentials.notices.extend(notice);
    }
    credentials.fallback.git = git_credentials(environment);
    Ok(credentials)
}

/// Returns the type of a Secret that was given as files, by its keys.
pub(crate) fn secret_type(data: &SecretData) -> &'static str {
    let has = |key: &str| data.contains_key(key);
    match () {
        () if has(".dockerconfigjson") => "kubernetes.io/dockerconfigjson",
        () if has(".dockercfg") => "kubernetes.io/dockercfg",
        () => "Opaque",
    }
}

/// Returns the proxies of the environment; the lower-case spelling wins, as in Go.
pub(crate) fn proxies(environment: &Environment) -> EnvironmentProxies {
    let either = |name: &str| {
        let value = environment.get(&name.to_lowercase()).or_else(|| environment.get(name));
        value.unwrap_or_default().to_owned()
    };
    EnvironmentProxies {
        http: either("HTTP_PROXY"),
        https: either("HTTPS_PROXY"),
        no_proxy: either("NO_PROXY"),
    }
}

/// Reads a folder with a file per key. Kubernetes mounts Secrets as links; here they are followed.
fn read_secret(folder: &Path) -> Result<SecretData> {
    let mut data = SecretData::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read folder {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() || name.starts_with("..") {
            continue;
        }
        if data.len() >= SECRET_KEYS_MAX {
            bail!("{} holds more than {SECRET_KEYS_MAX} files", folder.display());
        }
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        data.insert(name, bytes);
    }
    Ok(data)
}

fn docker_config(environment: &Environment) -> Option<PathBuf> {
    let folder = match environment.get("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(environment.get("HOME")?).join(".docker"),
    };
    Some(folder.join("config.json")).filter(|path| path.is_file())
}

fn read_docker_config(path: &Path) -> Result<(Keychain, Option<String>)> {
    let name = path.display();
    let folder = Folder::open(path.parent().unwrap_or(Path::new(".")))?;
    let text = folder.read("config.json")?;
    let config = Keychain::from_user_config(&text).with_context(|| format!("cannot use {name}"))?;
    let helpers = config.ignored_helpers.join(", ");
    let notice = (!helpers.is_empty()).then(|| {
        format!("{name}: credential helpers are not run ({helpers}); log in without them")
    });
    Ok((config.keychain, notice))
}

/// What the names of the variables with credentials for a Git host begin with.
const GIT_VARIABLES: [&str; 3] =
    ["TAGTIDE_GIT_TOKEN_", "TAGTIDE_GIT_USERNAME_", "TAGTIDE_GIT_PASSWORD_"];

/// Returns the environment's credentials for Git hosts, of which objects may come to speak at any time.
fn git_credentials(environment: &Environment) -> BTreeMap<String, GitCredential> {
    let hosts: BTreeSet<&str> = environment
        .names()
        .filter_map(|name| GIT_VARIABLES.iter().find_map(|what| name.strip_prefix(what)))
        .collect();
    let known = hosts.into_iter().filter_map(|host| {
        let credential = git_credential(environment, host)?;
        Some((host.to_owned(), credential))
    });
    known.collect()
}

fn git_credential(environment: &Environment, host: &str) -> Option<GitCredential> {
    let get = |what: &str| environment.get(&format!("TAGTIDE_GIT_{what}_{host}"));
    if let Some(token) = get("TOKEN") {
        return Some(GitCredential::Bearer(Secret::new(token.to_owned())));
    }
    let password = get("PASSWORD").unwrap_or_default();
    let username = get("USERNAME").or_else(|| (!password.is_empty()).then_some("git"))?;
    let (username, password) = (username.to_owned(), Secret::new(password.to_owned()));
    Some(GitCredential::Basic { username, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assumption_names_policy_image_tag_and_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let read = |text: &str| text.parse::<Assumption>().map(|assumption| assumption.image);
        let image = |name: &str, tag: &str, digest: Option<&str>| ImageRef {
            name: name.to_owned(),
            tag: tag.to_owned(),
            digest: digest.map(str::to_owned),
        };
        assert_eq!(read("ns/p=app:v1").expect("valid"), image("app", "v1", None));
        assert_eq!(read("ns/p=h:5000/app:v1").expect("valid"), image("h:5000/app", "v1", None));
        let with_digest = read(&format!("ns/p=app:v1@{digest}")).expect("valid");
        assert_eq!(with_digest, image("app", "v1", Some(&digest)));
        for bad in [
            "p=app:v1",
            "ns/p",
            "ns/p=app",
            "ns/p=h:5000/app",
            "ns/p=app:-v1",
            "ns/p=app:v1@x",
            "/p=a:1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_policy_is_assumed_once() {
        let texts = ["a/p=x:1".to_owned(), "a/p=x:2".to_owned()];
        assert!(assumptions(&texts).is_err());
        assert_eq!(assumptions(&texts[..1]).expect("one").len(), 1);
    }
}
