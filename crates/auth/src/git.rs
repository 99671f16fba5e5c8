//! Credentials for Git over https and http.

use std::collections::BTreeMap;

use net::{Secret, Tls};
use url::Url;

use crate::secret::{SecretError, checked, either, from_userinfo, text};

/// How to reach a Git server as somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GitAuth {
    /// Who we are.
    pub credential: GitCredential,
    /// Whom we trust, and our certificate.
    pub tls: Tls,
}

/// Who we are at a Git server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum GitCredential {
    /// Nobody.
    #[default]
    Anonymous,
    /// A user with a password or token.
    Basic {
        /// The user.
        username: String,
        /// The user's password, empty for none.
        password: Secret<String>,
    },
    /// The bearer of a token.
    Bearer(Secret<String>),
}

/// Credentials that cannot be used; Flux's texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitAuthError {
    /// A password of nobody.
    #[error("invalid '{scheme}' auth option: 'password' requires 'username' to be set")]
    NoUsername {
        /// The URL's scheme.
        scheme: String,
    },
    /// An SSH secret lacks a key.
    #[error("invalid 'ssh' auth option: '{key}' is required")]
    Ssh {
        /// The key.
        key: &'static str,
    },
    /// SSH is not built yet.
    #[error("SSH URLs are not supported yet: use an https URL")]
    SshUnsupported,
    /// Two identities at once.
    #[error("basic auth and bearer token cannot be set at the same time")]
    BasicAndBearer,
    /// Neither https, http nor ssh.
    #[error("unknown transport '{scheme}'")]
    Transport {
        /// The URL's scheme.
        scheme: String,
    },
    /// The TLS keys cannot be used.
    #[error(transparent)]
    Tls(#[from] SecretError),
}

impl GitAuth {
    /// Returns how to reach `url` with the data of its Secret (empty without
    /// one). A user in the URL stands in for one that the Secret lacks.
    ///
    /// # Errors
    /// When the keys do not fit together or to the URL.
    pub fn from_secret(
        data: &BTreeMap<String, Vec<u8>>,
        url: &Url,
    ) -> Result<GitAuth, GitAuthError> {
        match url.scheme() {
            "https" | "http" => {}
            "ssh" => return Err(ssh_error(data)),
            scheme => return Err(GitAuthError::Transport { scheme: scheme.to_owned() }),
        }
        let credential = credential(data, url)?;
        let ca = either(data, "ca.crt", "caFile");
        let certificate = data.get("tls.crt").filter(|value| !value.is_empty());
        let key = data.get("tls.key").filter(|value| !value.is_empty());
        let tls = checked(ca, certificate.map(Vec::as_slice), key.map(Vec::as_slice))?;
        Ok(GitAuth { credential, tls })
    }
}

fn credential(data: &BTreeMap<String, Vec<u8>>, url: &Url) -> Result<GitCredential, GitAuthError> {
    let bearer = data.get("bearerToken");
    // With a token the Secret's user is not looked at, the URL's still is.
    let of = |key: &str| data.get(key).filter(|_| bearer.is_none()).map(|value| text(value));
    let (url_username, url_password) = from_userinfo(url);
    let username =
        of("username").filter(|name| !name.is_empty()).or(url_username).unwrap_or_default();
    let password = of("password")
        .filter(|password| !password.is_empty())
        .map(Secret::new)
        .or(url_password)
        .unwrap_or_else(|| Secret::new(String::new()));
    if username.is_empty() && !password.expose().is_empty() {
        return Err(GitAuthError::NoUsername { scheme: url.scheme().to_owned() });
    }
    match bearer.filter(|token| !token.is_empty()) {
        Some(_) if !username.is_empty() => Err(GitAuthError::BasicAndBearer),
        Some(token) => Ok(GitCredential::Bearer(Secret::new(text(token)))),
        None if username.is_empty() => Ok(GitCredential::Anonymous),
        None => Ok(GitCredential::Basic { username, password }),
    }
}

fn ssh_error(data: &BTreeMap<String, Vec<u8>>) -> GitAuthError {
    let missing = ["identity", "known_hosts"]
        .into_iter()
        .find(|key| data.get(*key).is_none_or(Vec::is_empty));
    match missing {
        Some(key) => GitAuthError::Ssh { key },
        None => GitAuthError::SshUnsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, pairs: &[(&str, &str)]) -> Result<String, String> {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        let auth = GitAuth::from_secret(&data, &Url::parse(url).expect("a valid URL"));
        match auth.map_err(|error| error.to_string())?.credential {
            GitCredential::Anonymous => Ok("anonymous".to_owned()),
            GitCredential::Basic { username, password } => {
                Ok(format!("{username}:{}", password.expose()))
            }
            GitCredential::Bearer(token) => Ok(format!("bearer {}", token.expose())),
        }
    }

    #[test]
    fn git_secrets_read_as_in_flux() {
        let check = |url: &str, pairs: &[(&str, &str)], expected: &str| {
            assert_eq!(read(url, pairs), Ok(expected.to_owned()), "{url} {pairs:?}");
        };
        let https = "https://git.example/x.git";
        check(https, &[], "anonymous");
        check(https, &[("username", "u"), ("password", "p")], "u:p");
        check(https, &[("username", "u")], "u:");
        check(https, &[("bearerToken", "t")], "bearer t");
        check(https, &[("bearerToken", "t"), ("username", "u"), ("password", "p")], "bearer t");
        check(https, &[("bearerToken", ""), ("username", "u"), ("password", "p")], "anonymous");
        check("https://u:p@git.example/x", &[], "u:p");
        check("https://u:p@git.example/x", &[("username", "v")], "v:p");
        check("https://u@git.example/x", &[("password", "q")], "u:q");
        check("http://git.example/x", &[("username", "u"), ("password", "p\n")], "u:p\n");
    }

    #[test]
    fn git_secrets_that_are_wrong_say_so_in_flux_words() {
        let check = |url: &str, pairs: &[(&str, &str)], expected: &str| {
            assert_eq!(read(url, pairs), Err(expected.to_owned()), "{url} {pairs:?}");
        };
        check(
            "https://git.example/x",
            &[("password", "canary")],
            "invalid 'https' auth option: 'password' requires 'username' to be set",
        );
        check(
            "http://:canary@git.example/x",
            &[],
            "invalid 'http' auth option: 'password' requires 'username' to be set",
        );
        check(
            "https://u:p@git.example/x",
            &[("bearerToken", "canary")],
            "basic auth and bearer token cannot be set at the same time",
        );
        let ssh = "ssh://git@git.example/x";
        check(ssh, &[], "invalid 'ssh' auth option: 'identity' is required");
        check(
            ssh,
            &[("identity", "canary")],
            "invalid 'ssh' auth option: 'known_hosts' is required",
        );
        check(
            ssh,
            &[("identity", "canary"), ("known_hosts", "x")],
            "SSH URLs are not supported yet: use an https URL",
        );
        check("file:///etc/passwd", &[], "unknown transport 'file'");
        check("https://git.example/x", &[("ca.crt", "canary")], "failed to parse CA certificate");
    }
}
