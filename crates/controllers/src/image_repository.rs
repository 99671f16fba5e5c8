//! Reconciles `ImageRepository`: lists its tags when a scan is due.

mod due;

use std::{sync::Arc, time::Duration};

use api::{
    Repository, TagList,
    condition::{Reason, seconds},
    image::{ImageRepository, ImageRepositorySpec, ImageRepositoryStatus, ScanResult},
};
use automation::policy::Exclusions;
use golang::time::DurationError;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::{
    access::{self, RegistryAccess},
    context::Scope,
    driver::INTERVAL_MIN,
    outcome::{Failure, OrFail, Saying, Sentence, Success},
    reconcile::{Reconcile, kind},
    scans::{SHARED_FOR, ScanKey},
    tags::Stored,
    triggers,
};
use due::{Due, Facts, due};

/// How many tags a status shows; Flux's number.
const LATEST_TAGS: usize = 10;
/// Lists of more tags are filtered and hashed where they keep nobody waiting.
const INLINE_TAGS_MAX: usize = 10_000;

impl Reconcile for ImageRepository {
    kind!(ImageRepository, image_repositories, triggers::of_image_repository);

    const ACKNOWLEDGES_SUSPENDED: bool = true;

    async fn reconcile(
        &self,
        status: &mut ImageRepositoryStatus,
        ctx: &Scope<'_>,
    ) -> Result<Success, Failure> {
        supported(&self.spec)?;
        let repository: Repository = self.spec.image.parse().stalled(Reason::ImageUrlInvalid)?;
        let (interval, timeout) = times(&self.spec).stalled(Reason::Failed)?;
        let deadline = Instant::now() + timeout;
        let access = access::registry(&ctx.client, &ctx.key.namespace, self, ctx.fallback())
            .await
            .saying("failed to configure authentication options")
            .retry(Reason::AuthenticationFailed)?;
        let exclusions = self.spec.exclusions();
        let stored = ctx
            .tags
            .get(&ctx.key)
            .saying("failed to determine if it's scan time")
            .retry(Reason::Failure)?;

        let facts = Facts {
            status,
            is_requested: ctx.is_requested(),
            is_listed: ctx.shared.scans.is_listed(&ctx.key),
            canonical_name: &repository.canonical(),
            exclusions: &exclusions,
            has_tags: stored.is_some_and(|stored| !stored.tags.is_empty()),
            interval,
            now: ctx.clock.now(),
        };
        let reason = match due(&facts) {
            Due::In(left) => return Ok(success(status).again_after(left)),
            Due::Now(reason) => reason,
        };

        let stage = format!("scanning: {reason}");
        if reason == due::NO_TAGS {
            ctx.progress_unready(&stage).await;
        } else {
            ctx.progress(&stage).await;
        }
        let (stored, began) = scan(ctx, &repository, access, &exclusions, deadline).await?;
        status.last_scan_result = Some(ScanResult {
            revision: Some(stored.revision.clone()),
            tag_count: i64::try_from(stored.tags.len()).unwrap_or(i64::MAX),
            // When it began: a listing says nothing about what came while it ran.
            scan_time: Some(seconds(began)),
            latest_tags: Some(stored.tags.latest(LATEST_TAGS)).filter(|tags| !tags.is_empty()),
        });
        status.canonical_image_name = Some(repository.canonical());
        status.observed_exclusion_list = Some(exclusions);
        Ok(success(status).again_after(interval))
    }

    fn release(&self, ctx: &Scope<'_>) {
        ctx.shared.scans.forget(&ctx.key);
        if let Err(error) = ctx.tags.remove(&ctx.key) {
            tracing::warn!(%error, "Cannot forget the tags of a deleted object");
        }
    }
}

/// What the status of the last scan says.
fn success(status: &ImageRepositoryStatus) -> Success {
    let scan = status.last_scan_result.clone().unwrap_or_default();
    let (n, revision) = (scan.tag_count, scan.revision.unwrap_or_default());
    Success::new(format!("successful scan: found {n} tags with checksum {revision}"))
}

/// Lists the tags, drops the excluded ones and keeps the rest.
async fn scan(
    ctx: &Scope<'_>,
    repository: &Repository,
    access: RegistryAccess,
    exclusions: &[String],
    deadline: Instant,
) -> Result<(Arc<Stored>, Timestamp), Failure> {
    let failed = Reason::ReadOperationFailed;
    let compile = || Exclusions::new(exclusions).saying("scan failed").retry(failed);
    // A broken exclusion costs no request; what was used before is sound, and is seldom needed again.
    let is_sound = ctx.shared.scans.has_used(&ctx.key, exclusions);
    let compiled = if is_sound { None } else { Some(compile()?) };
    let (listed, began) =
        list(ctx, repository, access, deadline).await.saying("scan failed").retry(failed)?;
    if let Some(stored) = ctx.shared.scans.same(&ctx.key, &listed, exclusions) {
        return Ok((stored, began));
    }
    let compiled = compiled.map_or_else(compile, Ok)?;
    let (tags, key, now) = (ctx.tags.clone(), ctx.key.clone(), ctx.clock.now());
    let (n_tags, all) = (listed.len(), Arc::clone(&listed));
    let keep = move || {
        let kept = compiled.retain(&listed);
        // Where nothing was dropped, all objects of the image share the one list.
        let kept = if kept.len() == n_tags { listed } else { Arc::new(kept) };
        tags.put(&key, kept, now)
    };
    let stored = if n_tags > INLINE_TAGS_MAX {
        let kept = tokio::task::spawn_blocking(keep).await;
        kept.saying("scan failed").retry(failed)?
    } else {
        keep()
    };
    let name = repository.canonical();
    let sentence = format!("scan failed: failed to set tags for \"{name}\"");
    let stored = stored.saying(sentence).retry(failed)?;
    ctx.shared.scans.keep(&ctx.key, all, exclusions, &stored);
    Ok((stored, began))
}

async fn list(
    ctx: &Scope<'_>,
    repository: &Repository,
    access: RegistryAccess,
    deadline: Instant,
) -> Result<(Arc<TagList>, Timestamp), registry::ScanError> {
    let RegistryAccess { access, fingerprint } = access;
    let key = ScanKey { repository: repository.canonical(), access: fingerprint };
    let now = ctx.clock.now();
    let shared_for = SignedDuration::try_from(SHARED_FOR).unwrap_or_default();
    let not_before = match ctx.shared.once_since() {
        Some(began) => began,
        None if ctx.is_requested() => now,
        None => now.saturating_sub(shared_for).unwrap_or(now),
    };
    let access = &access;
    let list = |validator: Option<registry::Validator>| async move {
        ctx.registry.list_tags(repository, access, validator.as_ref(), deadline).await
    };
    ctx.shared.scans.scan(&key, not_before, &ctx.clock, list).await
}

/// Refuses what this program cannot do yet; it never works with less than the spec asks for.
fn supported(spec: &ImageRepositorySpec) -> Result<(), Failure> {
    let provider = spec.provider();
    if provider == "generic" {
        return Ok(());
    }
    if spec.service_account_name.as_ref().is_some_and(|name| !name.is_empty()) {
        let text = "to use spec.serviceAccountName for provider authentication please enable the \
                    ObjectLevelWorkloadIdentity feature gate in the controller";
        return Err(Sentence(text.to_owned())).stalled(Reason::FeatureGateDisabled);
    }
    let text = format!(
        "spec.provider '{provider}' is not supported yet; use 'generic' with a spec.secretRef"
    );
    Err(Sentence(text)).stalled(Reason::NotSupported)
}

/// Returns the interval and the timeout, which is the interval unless the spec says otherwise.
fn times(spec: &ImageRepositorySpec) -> Result<(Duration, Duration), DurationError> {
    let interval = spec.interval.parse::<golang::time::Duration>()?.to_std();
    let timeout = match &spec.timeout {
        Some(timeout) => timeout.parse::<golang::time::Duration>()?.to_std(),
        None => interval,
    };
    Ok((interval.max(INTERVAL_MIN), timeout.max(INTERVAL_MIN)))
}
