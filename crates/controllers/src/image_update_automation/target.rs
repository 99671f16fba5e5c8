//! Where an automation reads and writes: Flux's order of checks, and its words.

use std::sync::Arc;

use api::{
    condition::Reason,
    image::{GitSpec, ImageUpdateAutomation},
    source::{GitRepository, GitRepositoryRef},
};
use git::{Caller, Journal, Mirror, Outcome, RefName, Refspec, Request};

use crate::{
    access::{self, GitNeed},
    context::Scope,
    outcome::{Failure, OrFail, Saying, Sentence},
    queue::ObjectKey,
    source, triggers,
};

/// Where to read and write.
pub(crate) struct Target {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) request: Request,
    /// Whether commits go to another branch than the one that is checked out.
    pub(super) switches: bool,
}

impl Target {
    /// Returns the revision that the status shows: of the commit that was pushed, but of the
    /// checkout where commits go to another branch.
    pub(super) fn observed<T>(&self, outcome: &Outcome<T>) -> String {
        match &outcome.pushed {
            Some(pushed) if !self.switches => {
                format!("{}@sha1:{}", pushed.branch.short(), pushed.commit)
            }
            _ => outcome.checkout.revision.clone(),
        }
    }
}

/// Returns the target of an automation.
pub(crate) async fn of(
    automation: &ImageUpdateAutomation,
    ctx: &Scope<'_>,
) -> Result<Target, Failure> {
    let git = git_of(automation, ctx)?;
    let key = triggers::source_of(&ctx.key, automation);
    let repository = repository(ctx, &key)?;
    supported(git, &repository)?;
    let failed = Reason::SourceManagerFailed;
    let sentence = "failed configuring source manager";

    let checkout = git.checkout.as_ref().map(|checkout| &checkout.reference);
    let reference = checkout.or(repository.spec.reference.as_ref());
    let branch = push_branch(git, reference).saying(sentence).retry(failed)?;
    let request_branch = RefName::branch(&branch).saying(sentence).retry(failed)?;
    let unparsable = format!("{sentence}: failed to parse URL '{}'", repository.spec.url);
    let url = source::url(&repository).saying(unparsable).retry(failed)?;
    let timeout = source::timeout(&repository).saying(sentence).retry(failed)?;
    let need = GitNeed {
        namespace: &key.namespace,
        repository: &repository,
        url: &url,
        timeout,
        secret_is: "auth secret",
    };
    let access = access::git(&ctx.client, &need, ctx.fallback()).await;
    let access = access.saying(sentence).retry(failed)?;
    let checkout = source::reference(reference);
    let checkout =
        checkout.saying("failed to checkout source").retry(Reason::GitOperationFailed)?;
    let push = git.push.as_ref();
    let refspec = push.and_then(|push| push.refspec.as_deref()).filter(|text| !text.is_empty());
    let refspec = refspec.map(str::parse::<Refspec>).transpose();
    let refspec = refspec.saying("failed to update source").retry(Reason::GitOperationFailed)?;

    let author = &git.commit.author;
    let options = push.and_then(|push| push.options.clone()).unwrap_or_default();
    let request = Request {
        checkout,
        branch: request_branch,
        refspec,
        options: options.into_iter().collect(),
        author: (author.name.clone().unwrap_or_default(), author.email.clone()),
        access,
        caller: Caller {
            owner: ctx.key.to_string(),
            journal: Some(Arc::clone(&ctx.shared.journal) as Arc<dyn Journal>),
            stop: ctx.shared.stop(),
        },
    };
    let mirror = ctx.mirrors.mirror(&url, &source::credential_key(&key.namespace, &repository));
    Ok(Target { mirror, request, switches: switches(git, reference) })
}

fn git_of<'a>(
    automation: &'a ImageUpdateAutomation,
    ctx: &Scope<'_>,
) -> Result<&'a GitSpec, Failure> {
    let source = &automation.spec.source_ref;
    let invalid = |text: String| {
        Err(Sentence(format!("{text}: invalid source configuration")))
            .stalled(Reason::InvalidSourceConfiguration)
    };
    let kind = source.kind.as_str();
    if !kind.is_empty() && kind != "GitRepository" {
        return invalid(format!("source kind '{kind}' not supported"));
    }
    let Some(git) = &automation.spec.git else {
        return invalid("source kind 'GitRepository' necessitates field .spec.git".to_owned());
    };
    let key = triggers::source_of(&ctx.key, automation);
    if ctx.settings.no_cross_namespace_refs && key.namespace != ctx.key.namespace {
        let text = format!(
            "can't access 'GitRepository/{key}', cross-namespace references have been blocked"
        );
        return Err(Sentence(text)).stalled(Reason::AccessDenied);
    }
    Ok(git)
}

fn repository(ctx: &Scope<'_>, key: &ObjectKey) -> Result<Arc<GitRepository>, Failure> {
    let failed = |text: String| {
        Err(Sentence(text))
            .saying("failed configuring source manager")
            .retry(Reason::SourceManagerFailed)
    };
    match ctx.objects().git_repositories.get(key) {
        Some(Ok(repository)) => Ok(repository),
        Some(Err(error)) => failed(format!("failed to get referenced git repository: {error}")),
        None => failed(format!(
            "referenced git repository does not exist: \
             GitRepository.source.toolkit.fluxcd.io \"{}\" not found",
            key.name
        )),
    }
}

/// Refuses what this program cannot do yet: a commit is never pushed unsigned where the spec asks
/// for a signature, nor with other credentials than it names.
fn supported(git: &GitSpec, repository: &GitRepository) -> Result<(), Failure> {
    let spec = &repository.spec;
    let provider = spec.provider();
    if provider == "github" && spec.secret_ref.is_none() {
        let text = "secretRef with github app data must be specified when provider is set to \
                    github: invalid source configuration";
        return Err(Sentence(text.to_owned())).stalled(Reason::InvalidSourceConfiguration);
    }
    let text = if provider != "generic" {
        format!(
            "the GitRepository's spec.provider '{provider}' is not supported yet; use 'generic'"
        )
    } else if git.commit.signing_key.is_some() {
        "spec.git.commit.signingKey is not supported yet, and nothing is pushed unsigned".to_owned()
    } else if spec.verify.is_some() {
        "the GitRepository's spec.verify is not supported yet".to_owned()
    } else if source::is_ssh(&spec.url) {
        "the GitRepository's spec.url with ssh is not supported yet; use an https URL".to_owned()
    } else {
        return Ok(());
    };
    Err(Sentence(text)).stalled(Reason::NotSupported)
}

fn push_branch(git: &GitSpec, reference: Option<&GitRepositoryRef>) -> Result<String, Sentence> {
    let named = git.push.as_ref().and_then(|push| push.branch.clone());
    let own = || reference.and_then(|reference| reference.branch.clone());
    named.filter(|name| !name.is_empty()).or_else(own).filter(|name| !name.is_empty()).ok_or_else(
        || {
            let text = "push spec not provided, and cannot be inferred from \
                        .spec.git.checkout.ref or GitRepository .spec.ref";
            Sentence(text.to_owned())
        },
    )
}

/// Returns whether the push branch is named and another one than what is checked out.
fn switches(git: &GitSpec, reference: Option<&GitRepositoryRef>) -> bool {
    let named = git.push.as_ref().and_then(|push| push.branch.as_deref());
    let Some(named) = named.filter(|name| !name.is_empty()) else { return false };
    let own = match reference {
        Some(reference) => reference.branch.as_deref(),
        None => Some(source::DEFAULT_BRANCH),
    };
    Some(named) != own
}
