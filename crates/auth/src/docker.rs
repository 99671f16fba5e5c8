//! Docker configuration: which credential belongs to which registry.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use net::Secret;
use serde::Deserialize;

/// Secret type with the key `.dockerconfigjson`.
pub const DOCKER_CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";

/// Older Secret type with the key `.dockercfg`.
pub const DOCKER_CONFIG: &str = "kubernetes.io/dockercfg";

/// Who we are at a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A user with a password.
    Basic {
        /// The user.
        username: String,
        /// The user's password.
        password: Secret<String>,
    },
    /// A token that the registry's token service exchanges for others.
    IdentityToken(Secret<String>),
    /// A token that goes to the registry as it is.
    RegistryToken(Secret<String>),
}

/// Credentials by registry and path, in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keychain {
    /// Key (host, port, path) to credentials in the order of their Secrets.
    entries: BTreeMap<String, Vec<Option<Credential>>>,
}

/// What a user's own docker configuration holds.
#[derive(Clone, Debug, Default)]
pub struct UserConfig {
    /// Its credentials.
    pub keychain: Keychain,
    /// The credential helpers it names. They are programs, and none is run:
    /// tell the user that these registries need another way.
    pub ignored_helpers: Vec<String>,
}

/// A docker configuration that cannot be read. It never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerConfigError {
    /// Not JSON, or not of the right shape.
    #[error("docker configuration is not valid: {problem} at line {line} column {column}")]
    Json {
        /// `invalid JSON`, `unexpected end` or `unexpected type`.
        problem: &'static str,
        /// One-based.
        line: usize,
        /// One-based.
        column: usize,
    },
    /// An `auth` field is not base64 of `username:password`.
    #[error("unable to decode auth field: {reason}")]
    Auth {
        /// Go's words.
        reason: String,
    },
    /// A registry's name is none.
    #[error("Entry \"{entry}\" in dockercfg invalid ({reason})")]
    Entry {
        /// The registry's name with its scheme.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
struct ConfigJson {
    auths: Option<BTreeMap<String, Option<AuthConfig>>>,
    #[serde(rename = "credsStore")]
    creds_store: Option<String>,
    #[serde(rename = "credHelpers")]
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct AuthConfig {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Keychain {
    /// Returns the credentials of a Secret of type [`DOCKER_CONFIG_JSON`] or
    /// [`DOCKER_CONFIG`]; none for any other type or without its key, as in Flux.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn from_secret(
        secret_type: &str,
        data: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Keychain, DockerConfigError> {
        let of = |key: &str| data.get(key).filter(|text| !text.is_empty());
        match secret_type {
            DOCKER_CONFIG_JSON => of(".dockerconfigjson")
                .map_or_else(|| Ok(Keychain::default()), |text| Keychain::from_config_json(text)),
            DOCKER_CONFIG => of(".dockercfg")
                .map_or_else(|| Ok(Keychain::default()), |text| Keychain::from_dockercfg(text)),
            _ => Ok(Keychain::default()),
        }
    }

    /// Returns the credentials of `{"auths": {REGISTRY: {…}}}`.
    ///
    /// # Errors
    /// When the text cannot be read.
    pub fn from_config_json(text: &[u8]) -> Result<Keychain, DockerConfigError> {
        let config: ConfigJson = parse(text)?;
        Keychain::from_auths(config.auths.unwrap_or_default())
    }

    /// Returns the credentials of the older `{REGISTRY: {…}}`.
    ///
    /// # Errors
    /// When the text cannot be read.
    pub fn from_dockercfg(text: &[u8]) -> Result<Keychain, DockerConfigError> {
        let auths: Option<BTreeMap<String, Option<AuthConfig>>> = parse(text)?;
        Keychain::from_auths(auths.unwrap_or_default())
    }

    /// Returns what a user's `config.json` holds. Helper programs are not run;
    /// their names are returned.
    ///
    /// # Errors
    /// When the text cannot be read.
    pub fn from_user_config(text: &[u8]) -> Result<UserConfig, DockerConfigError> {
        let config: ConfigJson = parse(text)?;
        let helpers = config.cred_helpers.unwrap_or_default();
        let ignored_helpers = config
            .creds_store
            .into_iter()
            .chain(helpers.into_iter().map(|(registry, helper)| format!("{helper} ({registry})")))
            .filter(|helper| !helper.is_empty())
            .collect();
        let keychain = Keychain::from_auths(config.auths.unwrap_or_default())?;
        Ok(UserConfig { keychain, ignored_helpers })
    }

    /// Returns all credentials; among equal keys those of the earlier keychain
    /// come first.
    pub fn merge(keychains: Vec<Keychain>) -> Keychain {
        let mut merged = Keychain::default();
        for (key, credentials) in keychains.into_iter().flat_map(|keychain| keychain.entries) {
            merged.entries.entry(key).or_default().extend(credentials);
        }
        merged
    }

    /// Says whether there are no entries at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the credential for a repository: keys are tried in reverse
    /// order, the first that matches host (label by label, with globs), port
    /// and beginning of the path decides, even if it holds nothing.
    pub fn lookup(&self, registry: &str, path: &str) -> Option<Credential> {
        let path = format!("/{path}");
        let matching = |key: &&String| matches(key, registry, &path);
        let key = self.entries.keys().rev().find(matching)?;
        self.entries[key].first()?.clone()
    }

    fn from_auths(
        auths: BTreeMap<String, Option<AuthConfig>>,
    ) -> Result<Keychain, DockerConfigError> {
        let mut keychain = Keychain::default();
        for (registry, config) in auths {
            let credential = credential(config.unwrap_or_default())?;
            keychain.entries.entry(key_of(&registry)?).or_default().push(credential);
        }
        Ok(keychain)
    }
}

fn parse<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T, DockerConfigError> {
    use serde_json::error::Category;
    // The parser's own message may quote a value, that is a credential.
    serde_json::from_slice(text).map_err(|error| DockerConfigError::Json {
        problem: match error.classify() {
            Category::Io | Category::Syntax => "invalid JSON",
            Category::Eof => "unexpected end",
            Category::Data => "unexpected type",
        },
        line: error.line(),
        column: error.column(),
    })
}

fn credential(config: AuthConfig) -> Result<Option<Credential>, DockerConfigError> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (username, password) = match given(config.auth) {
        Some(auth) => decode_auth(&auth)?,
        None => (config.username.unwrap_or_default(), config.password.unwrap_or_default()),
    };
    if let Some(token) = given(config.registrytoken) {
        return Ok(Some(Credential::RegistryToken(Secret::new(token))));
    }
    if let Some(token) = given(config.identitytoken) {
        return Ok(Some(Credential::IdentityToken(Secret::new(token))));
    }
    if username.is_empty() && password.is_empty() {
        return Ok(None);
    }
    Ok(Some(Credential::Basic { username, password: Secret::new(password) }))
}

/// Reads base64 of `username:password`, padded or not.
fn decode_auth(auth: &str) -> Result<(String, String), DockerConfigError> {
    // Go's decoder passes over line ends.
    let text: String = auth.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let engine = if auth.trim().ends_with('=') { &STANDARD } else { &STANDARD_NO_PAD };
    let decoded = engine.decode(&text).map_err(|error| {
        use base64::DecodeError as E;
        let at = match error {
            E::InvalidByte(at, _) | E::InvalidLastSymbol(at, _) => at,
            E::InvalidLength(length) => length,
            E::InvalidPadding => text.len(),
        };
        DockerConfigError::Auth { reason: format!("illegal base64 data at input byte {at}") }
    })?;
    let decoded = String::from_utf8_lossy(&decoded);
    let (username, password) = decoded.split_once(':').ok_or_else(|| DockerConfigError::Auth {
        reason: "must be formatted as base64(username:password)".to_owned(),
    })?;
    Ok((username.to_owned(), password.to_owned()))
}

/// Returns host, port and path of a registry's name, without scheme and API version.
fn key_of(registry: &str) -> Result<String, DockerConfigError> {
    let bare = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://"));
    let rest = bare.unwrap_or(registry);
    let entry = || if bare.is_some() { registry.to_owned() } else { format!("https://{registry}") };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    check_host(host).map_err(|reason| DockerConfigError::Entry { entry: entry(), reason })?;
    let path = match path.get(..4) {
        Some("/v1/" | "/v2/") => &path[3..],
        _ => path,
    };
    Ok(if path == "/" { host.to_owned() } else { format!("{host}{path}") })
}

fn check_host(host: &str) -> Result<(), String> {
    let foreign = |c: &char| c.is_whitespace() || c.is_control() || "<>\"\\^`{|}".contains(*c);
    if let Some(character) = host.chars().find(foreign) {
        return Err(format!("invalid character {:?} in host name", character.to_string()));
    }
    let port = match host.rfind(']') {
        Some(end) => &host[end + 1..],
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if digits.bytes().all(|b| b.is_ascii_digit()) && (port.is_empty() || port.starts_with(':')) {
        return Ok(());
    }
    Err(format!("invalid port \"{port}\" after host"))
}

/// Says whether a key matches a repository's host and `/path`.
fn matches(key: &str, registry: &str, path: &str) -> bool {
    let (authority, prefix) = key.find('/').map_or((key, ""), |slash| key.split_at(slash));
    let (host, port) = split_port(authority);
    let (target, target_port) = split_port(registry);
    port == target_port
        && path.starts_with(prefix)
        && host.split('.').count() == target.split('.').count()
        && host.split('.').zip(target.split('.')).all(|(glob, label)| glob_matches(glob, label))
}

fn split_port(authority: &str) -> (&str, &str) {
    if let Some((host, rest)) = authority.split_once(']') {
        return (host.trim_start_matches('['), rest.trim_start_matches(':'));
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port),
        _ => (authority, ""),
    }
}

/// Matches one label; `*` stands for any text. Go's other wildcards cannot
/// occur: `?`, `[` and `\` do not survive in the host of a URL.
fn glob_matches(glob: &str, label: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else { return glob == label };
    let Some(mut label) = label.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first place for each piece leaves the most for those that follow.
    for piece in middle.split('*') {
        let Some(at) = label.find(piece) else { return false };
        label = &label[at + piece.len()..];
    }
    label.ends_with(tail)
}

#[cfg(test)]
mod tests;
