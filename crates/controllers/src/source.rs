//! A GitRepository as something to read from or write to: its URL, reference and access.

use std::{sync::Arc, time::Duration};

use api::source::{GitRepository, GitRepositoryRef};
use git::{CommitId, RefName, Reference, RemoteUrl};
use golang::time::DurationError;
use version::{Constraint, Version};

/// What Flux checks out when nothing says what.
pub(crate) const DEFAULT_BRANCH: &str = "master";

/// A reference that is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReferenceError {
    #[error("invalid reference '{name}'")]
    Name {
        name: String,
        #[source]
        source: git::RefNameError,
    },
    #[error("invalid commit '{commit}'")]
    Commit {
        commit: String,
        #[source]
        source: git::CommitIdError,
    },
    #[error("semver parse error: {range}")]
    Range {
        range: String,
        #[source]
        source: version::ConstraintError,
    },
}

/// Returns what a reference means; commit, name, tag, semver and branch come in this order.
pub(crate) fn reference(spec: Option<&GitRepositoryRef>) -> Result<Reference, ReferenceError> {
    let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let fallback = GitRepositoryRef::default();
    let spec = spec.unwrap_or(&fallback);
    let branch = named(&spec.branch);
    let wrong = |name: &str| {
        let name = name.to_owned();
        |source| ReferenceError::Name { name, source }
    };
    if let Some(commit) = named(&spec.commit) {
        let branch = branch.as_deref();
        let branch = branch.map(|name| RefName::branch(name).map_err(wrong(name))).transpose()?;
        let id = commit.parse::<CommitId>();
        let id = id.map_err(|source| ReferenceError::Commit { commit, source })?;
        return Ok(Reference::Commit { id, branch });
    }
    if let Some(name) = named(&spec.name) {
        return Reference::name(&name).map_err(wrong(&name));
    }
    if let Some(tag) = named(&spec.tag) {
        return Reference::tag(&tag).map_err(wrong(&tag));
    }
    if let Some(range) = named(&spec.semver) {
        let constraint = Constraint::parse(&range);
        let constraint =
            constraint.map_err(|source| ReferenceError::Range { range: range.clone(), source })?;
        let choose = move |tags: &[String]| highest(&constraint, tags);
        return Ok(Reference::Semver { range, choose: Arc::new(choose) });
    }
    let branch = branch.unwrap_or_else(|| DEFAULT_BRANCH.to_owned());
    Reference::branch(&branch).map_err(wrong(&branch))
}

/// Returns the position of the highest tag in the range; of equal versions the last by name.
fn highest(constraint: &Constraint, tags: &[String]) -> Option<usize> {
    let versions = tags.iter().enumerate().filter_map(|(index, tag)| {
        let version = Version::parse_tag(tag).ok()?;
        constraint.check(&version).then_some((version, tag, index))
    });
    let highest = versions.max_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    highest.map(|(_, _, index)| index)
}

/// Returns how long reading from, and apart from it writing to, the repository may take.
pub(crate) fn timeout(repository: &GitRepository) -> Result<Duration, DurationError> {
    Ok(repository.spec.timeout()?.to_std().max(crate::driver::INTERVAL_MIN))
}

/// Names the credentials that a mirror is read with, so that what one Secret may read is not shown
/// to those who have another.
pub(crate) fn credential_key(namespace: &str, repository: &GitRepository) -> String {
    match &repository.spec.secret_ref {
        Some(secret) => format!("{namespace}/{}", secret.name),
        None => String::new(),
    }
}

/// Returns whether the URL is one that only SSH can reach.
pub(crate) fn is_ssh(url: &str) -> bool {
    url.starts_with("ssh://")
}

/// Reads the URL.
pub(crate) fn url(repository: &GitRepository) -> Result<RemoteUrl, git::UrlError> {
    repository.spec.url.parse()
}
