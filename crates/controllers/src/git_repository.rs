//! Reconciles `GitRepository`: checks that its spec and credentials lead to a commit. It stores no
//! artifact; automations use the spec alone and do not wait for it.

use api::{
    Object,
    condition::{Reason, Type},
    source::{GitRepository, GitRepositorySpec, GitRepositoryStatus},
};

use crate::{
    access::{self, AccessError, GitNeed},
    context::Scope,
    driver::INTERVAL_MIN,
    outcome::{Extra, Failure, OrFail, Response, Saying, Sentence, Success},
    reconcile::{Reconcile, kind},
    source, triggers,
};

impl Reconcile for GitRepository {
    kind!(GitRepository, git_repositories, triggers::of_git_repository);

    const ACKNOWLEDGES_SUSPENDED: bool = false;

    async fn reconcile(
        &self,
        _: &mut GitRepositoryStatus,
        ctx: &Scope<'_>,
    ) -> Result<Success, Failure> {
        let result = resolve(self, ctx).await;
        match &result {
            Ok(_) => ctx.clear_condition(Type::FetchFailed),
            Err(failure) => ctx.condition(Extra {
                type_: Type::FetchFailed,
                reason: failure.reason,
                message: failure.message.clone(),
                told: false,
            }),
        }
        result
    }
}

async fn resolve(repository: &GitRepository, ctx: &Scope<'_>) -> Result<Success, Failure> {
    supported(&repository.spec)?;
    let invalid = format!("failed to parse url '{}'", repository.spec.url);
    let url = source::url(repository).saying(invalid).stalled(Reason::UrlInvalid)?;
    let interval = repository.interval().transpose().stalled(Reason::Failed)?;
    let interval = interval.map(golang::time::Duration::to_std).unwrap_or_default();
    let timeout = source::timeout(repository).stalled(Reason::Failed)?;
    let unusable = "failed to checkout and determine revision";
    let reference = source::reference(repository.spec.reference.as_ref());
    let reference = reference.saying(unusable).stalled(Reason::GitOperationFailed)?;
    let namespace = ctx.key.namespace.as_str();
    let need = GitNeed { namespace, repository, url: &url, timeout, secret_is: "secret" };
    let access = access::git(&ctx.client, &need, ctx.fallback()).await.map_err(unauthenticated)?;

    ctx.progress("building artifact").await;
    let mirror = ctx.mirrors.mirror(&url, &source::credential_key(namespace, repository));
    let resolved = mirror.resolve(&reference, &access).await;
    let resolved = resolved.map_err(|error| unresolved(unusable, &error))?;

    let message = format!("resolved revision '{}'", resolved.revision);
    Ok(Success::new(message).again_after(interval.max(INTERVAL_MIN)))
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
