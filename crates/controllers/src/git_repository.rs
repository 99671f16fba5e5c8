//! Reconciles `GitRepository`: finds the commit that its spec leads to, and stores its files as an
//! artifact where there is a store for it. Automations use the spec alone and do not wait for it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{
    Object,
    condition::{Reason, Type},
    kinds::SOURCE_GROUP,
    source::{Artifact, GitRepository, GitRepositorySpec, GitRepositoryStatus},
};
use git::{Access, Mirror, Reference};

use crate::{
    access::{self, AccessError, GitNeed},
    artifact::{ArchiveError, Artifacts, StoreError},
    context::Scope,
    driver::INTERVAL_MIN,
    outcome::{Extra, Failure, OrFail, Response, Saying, Sentence, Success},
    reconcile::{Reconcile, kind},
    source, triggers,
};

/// What Flux says before any fault of Git.
const UNUSABLE: &str = "failed to checkout and determine revision";
/// Longer subjects of commits are cut.
const SUBJECT_CHARS_MAX: usize = 50;

impl Reconcile for GitRepository {
    kind!(GitRepository, git_repositories, triggers::of_git_repository);

    const ACKNOWLEDGES_SUSPENDED: bool = false;

    async fn reconcile(
        &self,
        status: &mut GitRepositoryStatus,
        ctx: &Scope<'_>,
    ) -> Result<Success, Failure> {
        let result = fetch(self, status, ctx).await;
        tell_failure(ctx, &result);
        result
    }

    fn release(&self, ctx: &Scope<'_>) {
        if let Some(artifacts) = &ctx.artifacts {
            artifacts.remove(&ctx.key);
        }
    }
}

/// What a spec leads to.
struct Found {
    mirror: Arc<Mirror>,
    reference: Reference,
    access: Access,
    revision: String,
    interval: Duration,
}

async fn fetch(
    repository: &GitRepository,
    status: &mut GitRepositoryStatus,
    ctx: &Scope<'_>,
) -> Result<Success, Failure> {
    let found = resolve(repository, ctx).await?;
    let again_after = found.interval.max(INTERVAL_MIN);
    let Some(artifacts) = &ctx.artifacts else {
        let message = format!("resolved revision '{}'", found.revision);
        return Ok(Success::new(message).again_after(again_after));
    };
    let stored = current(repository, status, &found.revision, artifacts).await;
    let (artifact, event) = match stored {
        Some(artifact) => (artifact, None),
        None => {
            let (artifact, subject) = build(repository, ctx, found, artifacts).await?;
            let known = status.artifact.as_ref().and_then(|known| known.digest.as_ref());
            let is_new = known != artifact.digest.as_ref();
            (artifact, is_new.then(|| format!("stored artifact for commit '{subject}'")))
        }
    };
    artifacts.collect_garbage(&ctx.key, &artifact);
    let message = format!("stored artifact for revision '{}'", artifact.revision);
    ctx.condition(Extra {
        type_: Type::ArtifactInStorage,
        reason: Reason::Succeeded,
        message: message.clone(),
        told: false,
    });
    let mut success = Success::new(message).again_after(again_after);
    if event.is_some() {
        success.event_reason = Some(Reason::NewArtifact);
        success.annotations = annotations(&artifact);
    }
    success.event = event;
    status.artifact = Some(artifact);
    status.observed_ignore.clone_from(&repository.spec.ignore);
    Ok(success)
}

/// Returns the stored artifact if it is what the spec asks for, at the address of now.
async fn current(
    repository: &GitRepository,
    status: &GitRepositoryStatus,
    revision: &str,
    artifacts: &Artifacts,
) -> Option<Artifact> {
    let artifact = status.artifact.clone().filter(|artifact| artifact.revision == revision)?;
    if status.observed_ignore != repository.spec.ignore {
        return None;
    }
    let store = artifacts.clone();
    // The digest of a large archive takes a while.
    let checked = tokio::task::spawn_blocking(move || store.holds(&artifact).then_some(artifact));
    let artifact = checked.await.ok().flatten()?;
    let url = artifacts.url_of(&artifact.path);
    Some(Artifact { url, ..artifact })
}

/// Fetches the commit and stores its archive; returns it with the commit's subject.
async fn build(
    repository: &GitRepository,
    ctx: &Scope<'_>,
    found: Found,
    artifacts: &Artifacts,
) -> Result<(Artifact, String), Failure> {
    let Found { mirror, reference, access, revision, .. } = found;
    ctx.progress(&format!("building artifact: new upstream revision '{revision}'")).await;
    let unusable = |error: git::GitError| unresolved(UNUSABLE, &error);
    let tip = mirror.refresh(&reference, &access).await.map_err(unusable)?;
    let (artifacts, key, now) = (artifacts.clone(), ctx.key.clone(), ctx.clock.now());
    let (revision, ignore) = (tip.resolved.revision.clone(), repository.spec.ignore.clone());
    let built = mirror.with_files(&tip, &access, move |files| {
        let artifact = artifacts.store(&key, files, ignore.as_deref(), &revision, now)?;
        let subject = files.subject().map_err(ArchiveError::from)?;
        Ok::<_, StoreError>((artifact, short(&subject)))
    });
    built
        .await
        .map_err(unusable)?
        .saying("unable to archive artifact to storage")
        .retry(Reason::ArchiveOperationFailed)
}

/// Returns what events of an artifact carry.
fn annotations(artifact: &Artifact) -> BTreeMap<String, String> {
    let digest = artifact.digest.clone().unwrap_or_default();
    let facts = [("revision", artifact.revision.clone()), ("digest", digest)];
    facts.map(|(name, value)| (format!("{SOURCE_GROUP}/{name}"), value)).into()
}

/// Returns a subject as Flux shows it.
fn short(subject: &str) -> String {
    match subject.char_indices().nth(SUBJECT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &subject[..end]),
        None => subject.to_owned(),
    }
}

/// Sets the condition that says which step failed, and clears the other.
fn tell_failure(ctx: &Scope<'_>, result: &Result<Success, Failure>) {
    let failed = result.as_ref().err();
    let is_storage = failed.is_some_and(|f| f.reason == Reason::ArchiveOperationFailed);
    let failed_step = if is_storage { Type::StorageOperationFailed } else { Type::FetchFailed };
    for type_ in [Type::StorageOperationFailed, Type::FetchFailed] {
        match failed.filter(|_| type_ == failed_step) {
            None => ctx.clear_condition(type_),
            Some(failure) => ctx.condition(Extra {
                type_,
                reason: failure.reason,
                message: failure.message.clone(),
                told: false,
            }),
        }
    }
}

async fn resolve(repository: &GitRepository, ctx: &Scope<'_>) -> Result<Found, Failure> {
    supported(&repository.spec)?;
    if ctx.artifacts.is_some() {
        complete(&repository.spec)?;
    }
    let invalid = format!("failed to parse url '{}'", repository.spec.url);
    let url = source::url(repository).saying(invalid).stalled(Reason::UrlInvalid)?;
    let interval = repository.interval().transpose().stalled(Reason::Failed)?;
    let interval = interval.map(golang::time::Duration::to_std).unwrap_or_default();
    let timeout = source::timeout(repository).stalled(Reason::Failed)?;
    let reference = source::reference(repository.spec.reference.as_ref());
    let reference = reference.saying(UNUSABLE).stalled(Reason::GitOperationFailed)?;
    let namespace = ctx.key.namespace.as_str();
    let need = GitNeed { namespace, repository, url: &url, timeout, secret_is: "secret" };
    let access = access::git(&ctx.client, &need, ctx.fallback()).await.map_err(unauthenticated)?;

    ctx.progress("building artifact").await;
    let mirror = ctx.mirrors.mirror(&url, &source::credential_key(namespace, repository));
    let resolved = mirror.resolve(&reference, &access).await;
    let resolved = resolved.map_err(|error| unresolved(UNUSABLE, &error))?;
    Ok(Found { mirror, reference, access, revision: resolved.revision, interval })
}

fn unauthenticated(error: AccessError) -> Failure {
    let is_secret = matches!(error, AccessError::GitSecret { .. });
    let result: Result<(), Failure> = if is_secret {
        Err(error).retry(Reason::AuthenticationFailed)
    } else {
        let error = Err(error).saying("failed to configure authentication options");
        error.retry(Reason::AuthenticationFailed)
    };
    result.expect_err("it was made of an error")
}

fn unresolved(sentence: &str, error: &git::GitError) -> Failure {
    match error {
        git::GitError::Empty => Failure::new(Response::Retry, Reason::EmptyGitRepository, error),
        error => {
            let mut failure = Failure::new(Response::Retry, Reason::GitOperationFailed, error);
            failure.message = format!("{sentence}: {}", failure.message);
            failure
        }
    }
}

/// Refuses what this program cannot do yet.
fn supported(spec: &GitRepositorySpec) -> Result<(), Failure> {
    let provider = spec.provider();
    if provider == "github" && spec.secret_ref.is_none() {
        let text =
            "secretRef with github app data must be specified when provider is set to github";
        return Err(Sentence(text.to_owned())).stalled(Reason::InvalidProviderConfiguration);
    }
    let text = if provider != "generic" {
        format!(
            "spec.provider '{provider}' is not supported yet; use 'generic' with a spec.secretRef"
        )
    } else if spec.verify.is_some() {
        "spec.verify is not supported yet; remove it to use unverified commits".to_owned()
    } else if source::is_ssh(&spec.url) {
        "spec.url with ssh is not supported yet; use an https URL".to_owned()
    } else {
        return Ok(());
    };
    Err(Sentence(text)).stalled(Reason::NotSupported)
}

/// Refuses what the artifact would lack.
fn complete(spec: &GitRepositorySpec) -> Result<(), Failure> {
    let text = if spec.include.as_ref().is_some_and(|include| !include.is_empty()) {
        "spec.include is not supported yet; the artifact would lack what is included"
    } else if spec.recurse_submodules == Some(true) {
        "spec.recurseSubmodules is not supported yet; the artifact would lack the submodules"
    } else if spec.sparse_checkout.as_ref().is_some_and(|folders| !folders.is_empty()) {
        "spec.sparseCheckout is not supported yet; use spec.ignore to leave folders out"
    } else {
        return Ok(());
    };
    Err(Sentence(text.to_owned())).stalled(Reason::NotSupported)
}
