//! Credentials as values: docker configuration, Git secrets, TLS and proxy secrets.
//!
//! Everything here is a function from the bytes of a Secret to a value of
//! [`net`] or to a [`Credential`]; errors carry Flux's texts and never a value.

mod docker;
mod git;
mod secret;

pub use docker::{
    Credential, DOCKER_CONFIG, DOCKER_CONFIG_JSON, DockerConfigError, Keychain, UserConfig,
};
pub use git::{GitAuth, GitAuthError, GitCredential};
pub use secret::{SecretError, proxy_from_secret, tls_from_secret};
