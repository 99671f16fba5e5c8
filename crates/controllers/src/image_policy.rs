//! Reconciles `ImagePolicy`: chooses the latest tag its policy allows, and never an older one than
//! before by accident.

mod access_from;
mod choice;
mod held;

use std::sync::Arc;

use api::{
    Object, Repository,
    condition::Reason,
    image::{DigestReflection, ImagePolicy, ImagePolicyStatus, ImageRef, ImageRepository},
    image_ref::Tag,
};
use automation::policy::Policy;
use golang::time::Duration as GoDuration;
use tokio::time::Instant;

use crate::{
    access,
    context::Scope,
    driver::INTERVAL_MIN,
    outcome::{Failure, OrFail, Response, Saying, Sentence, Success},
    queue::ObjectKey,
    reconcile::{Reconcile, kind},
    report::Notice,
    triggers,
};
use choice::Chosen;
pub(crate) use choice::Kept;

/// The repository a policy chooses from.
struct Source {
    key: ObjectKey,
    object: Arc<ImageRepository>,
    repository: Repository,
}

impl Reconcile for ImagePolicy {
    kind!(ImagePolicy, image_policies, triggers::of_image_policy);

    const ACKNOWLEDGES_SUSPENDED: bool = true;

    async fn reconcile(
        &self,
        status: &mut ImagePolicyStatus,
        ctx: &Scope<'_>,
    ) -> Result<Success, Failure> {
        if let Some(assumed) = &ctx.settings.assumed {
            return Ok(assume(assumed.get(&ctx.key), status, ctx));
        }
        let requeue_after = interval(self)?;
        let source = source(self, ctx).await?;
        let policy = Policy::new(&self.spec.policy, self.spec.filter_tags.as_ref())
            .stalled(Reason::InvalidPolicy)?;
        let stored = ctx
            .tags
            .get(&source.key)
            .saying("failed to read tags from database")
            .retry(Reason::Failure)?;
        // Tags of the image before say nothing about this one.
        let stored = stored.filter(|stored| {
            !stored.tags.is_empty() && is_scanned(&source.object, &source.repository)
        });
        let stored = stored.ok_or_else(|| no_tags(ctx))?;

        let winner = choice::latest(ctx, self, &policy, &source.key, &stored)?;
        let chosen = held::guard(self, ctx, &policy, &source, &stored, status, winner).await?;
        match chosen {
            Chosen::Stands { reference, again_after } => {
                // A choice that only the markers know stays there: a policy without a choice of its
                // own writes nothing.
                let message = resolved_to(&reference, status, None);
                Ok(Success::new(message).again_after(again_after))
            }
            Chosen::Latest { tag, left } => {
                let name = source.object.spec.image.clone();
                let digest = digest(self, ctx, &source, status, &tag).await?;
                let latest = ImageRef { name, tag, digest };
                if status.latest_ref.as_ref() != Some(&latest) {
                    status.observed_previous_ref = status.latest_ref.replace(latest.clone());
                }
                let message = resolved_to(&latest, status, left.as_deref());
                Ok(Success { message, requeue_after, ..Success::default() })
            }
        }
    }

    fn release(&self, ctx: &Scope<'_>) {
        ctx.shared.selections.lock().remove(&ctx.key);
        if let Err(error) = ctx.tags.put_guard(&ctx.key, None) {
            tracing::warn!(%error, "Cannot forget what the guard knew of a deleted object");
        }
    }
}

/// Takes a choice for granted. Without one the policy is unresolved, and nothing is written for it.
fn assume(assumed: Option<&ImageRef>, status: &mut ImagePolicyStatus, ctx: &Scope<'_>) -> Success {
    status.latest_ref = assumed.cloned();
    if let Some(latest) = assumed {
        return Success::new(format!("assumed to resolve to {latest}"));
    }
    let message =
        "no choice is assumed and registries are not contacted; its markers are left alone";
    ctx.report(|report| {
        report.notices.push(Notice {
            kind: ctx.kind,
            key: ctx.key.clone(),
            reason: "Unresolved".to_owned(),
            message: message.to_owned(),
        });
    });
    Success::new(format!("unresolved: {message}"))
}

/// Returns the interval, which only digest reflection `Always` has.
fn interval(policy: &ImagePolicy) -> Result<Option<std::time::Duration>, Failure> {
    if policy.spec.digest_reflection() != DigestReflection::Always {
        return Ok(None);
    }
    let Some(interval) = policy.interval() else {
        let text = "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'";
        return Err(Sentence(text.to_owned())).stalled(Reason::IntervalNotConfigured);
    };
    let interval = interval.stalled(Reason::IntervalNotConfigured)?.to_std();
    // Flux takes ten minutes for an interval of zero.
    let default = std::time::Duration::from_secs(600);
    Ok(Some(if interval.is_zero() { default } else { interval.max(INTERVAL_MIN) }))
}

async fn source(policy: &ImagePolicy, ctx: &Scope<'_>) -> Result<Source, Failure> {
    let reference = &policy.spec.image_repository_ref;
    let namespace = reference.namespace_or(&ctx.key.namespace);
    let key = ObjectKey::new(namespace, reference.name.clone());
    let object = access_from::repository(ctx, &key).await?;
    let repository = object.spec.image.parse().stalled(Reason::ImageUrlInvalid)?;
    let has_account =
        object.spec.service_account_name.as_ref().is_some_and(|name| !name.is_empty());
    if object.spec.provider() != "generic" && has_account {
        let text = "to use spec.serviceAccountName in the ImageRepository for provider \
                    authentication please enable the ObjectLevelWorkloadIdentity feature gate in \
                    the controller";
        return Err(Sentence(text.to_owned())).stalled(Reason::FeatureGateDisabled);
    }
    Ok(Source { key, object, repository })
}

/// Returns whether the last scan was of this image.
fn is_scanned(object: &ImageRepository, repository: &Repository) -> bool {
    let scanned = object.status.as_ref().and_then(|status| status.canonical_image_name.as_deref());
    scanned == Some(&repository.canonical())
}

fn no_tags(ctx: &Scope<'_>) -> Failure {
    let after = ctx.settings.dependency_retry;
    let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
    let shown = GoDuration::from_secs(seconds);
    let message = format!("retrying in {shown} error: no tags in database");
    Failure { response: Response::Wait(after), reason: Reason::DependencyNotReady, message }
}

/// Returns the digest that goes with the tag, asking the registry where the policy wants that.
async fn digest(
    policy: &ImagePolicy,
    ctx: &Scope<'_>,
    source: &Source,
    status: &ImagePolicyStatus,
    tag: &str,
) -> Result<Option<String>, Failure> {
    let known = status.latest_ref.as_ref().filter(|latest| {
        latest.name == source.object.spec.image && latest.tag == tag && latest.digest.is_some()
    });
    match (policy.spec.digest_reflection(), known) {
        (DigestReflection::Never, _) => return Ok(None),
        (DigestReflection::IfNotPresent, Some(known)) => return Ok(known.digest.clone()),
        (DigestReflection::IfNotPresent, None) | (DigestReflection::Always, _) => {}
    }
    let image = format!("{}:{tag}", source.object.spec.image);
    let sentence = format!("failed fetching digest of {image}");
    let found = head(ctx, source, tag).await.saying(sentence.clone()).retry(Reason::Failed)?;
    let missing = || Sentence("the registry does not have the tag".to_owned());
    let found = found.ok_or_else(missing).saying(sentence).retry(Reason::Failed)?;
    Ok(Some(found.to_string()))
}

/// Why a registry could not be asked for one tag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("failed to configure authentication options")]
    Access(#[source] access::AccessError),
    #[error(transparent)]
    Registry(#[from] registry::ManifestError),
    #[error("`spec.timeout` or `spec.interval` of the ImageRepository is not a duration")]
    Timeout(#[source] golang::time::DurationError),
}

/// Asks the registry for one tag; `None` is its answer that the tag does not exist.
async fn head(
    ctx: &Scope<'_>,
    source: &Source,
    tag: &str,
) -> Result<Option<api::Digest>, HeadError> {
    let (client, namespace) = (&ctx.client, source.key.namespace.as_str());
    let access = access::registry(client, namespace, &source.object, ctx.fallback()).await;
    let access = access.map_err(HeadError::Access)?.access;
    let spec = &source.object.spec;
    let timeout: GoDuration =
        spec.timeout.as_deref().unwrap_or(&spec.interval).parse().map_err(HeadError::Timeout)?;
    let deadline = Instant::now() + timeout.to_std().max(INTERVAL_MIN);
    Ok(ctx.registry.head_manifest(&source.repository, tag, &access, deadline).await?)
}

fn resolved_to(latest: &ImageRef, status: &ImagePolicyStatus, left: Option<&str>) -> String {
    let mut message = format!("Latest image tag for {} resolved to {}", latest.name, latest.tag);
    if let Some(digest) = &latest.digest {
        message.push_str(&format!(" with digest {digest}"));
    }
    if let Some(previous) = status.observed_previous_ref.as_ref().filter(|p| *p != latest) {
        message.push_str(&format!(" (previously {previous})"));
    }
    if let Some(left) = left {
        message.push_str(&format!(": {left} left the registry"));
    }
    message
}

/// Refuses a tag that no reference can hold: it harms its own policy only.
fn legal(tag: &str) -> Result<(), Failure> {
    tag.parse::<Tag>().map(drop).retry(Reason::Failure)
}
