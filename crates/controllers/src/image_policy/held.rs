//! Never backwards by accident: gathers what the guard decides from, and does what it says.

use std::time::Duration;

use api::{
    annotation,
    condition::{Reason, Type},
    image::{ImagePolicy, ImagePolicyStatus, ImageRef},
};
use automation::{
    guard::{self, Cause, Decision, Hold, HoldReason, Manifest, Memory, Record, Situation},
    policy::{Exclusions, Policy},
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Chosen, Source, head, legal};
use crate::{
    context::Scope,
    outcome::{Extra, Failure, OrFail},
    report::Notice,
    tags::{GuardRecord, Stored},
};

/// When a choice is looked at again that nothing is known to free soon.
const HELD_AGAIN: Duration = Duration::from_secs(300);

/// Returns the winner, or the choice before where the guard holds it.
pub(super) async fn guard(
    object: &ImagePolicy,
    ctx: &Scope<'_>,
    policy: &Policy,
    source: &Source,
    stored: &Stored,
    status: &ImagePolicyStatus,
    winner: String,
) -> Result<Chosen, Failure> {
    legal(&winner)?;
    let record = ctx.tags.guard(&ctx.key).retry(Reason::Failure)?.unwrap_or_default();
    let made_under =
        GuardRecord { spec: hash_of(object), exclusions: exclusions_of(source), ..record.clone() };
    let exclusions = Exclusions::new(&made_under.exclusions).retry(Reason::Failure)?;
    let image = &source.object.spec.image;
    let standing = status.latest_ref.clone();
    let standing = standing.or_else(|| at_the_tips(ctx, policy, &exclusions, image));
    let annotations = object.metadata.annotations.as_ref();
    let mut situation = Situation {
        previous: standing.as_ref().map(|standing| standing.tag.as_str()),
        changed: is_changed(ctx, status, image, &record, &made_under),
        winner: &winner,
        allow_older: annotations.and_then(|all| all.get(annotation::ALLOW_OLDER)).map(|t| &**t),
        manifest: None,
        missing_for: missing_for(source, stored, standing.as_ref(), &record),
        memory: if ctx.settings.keeps_state { Memory::Kept } else { Memory::None },
        confirm_after: ctx.settings.removal_confirmation,
    };
    let mut decision = guard::decide(policy, &exclusions, &situation);
    if let (Decision::AskForManifest, Some(standing)) = (&decision, &standing) {
        situation.manifest = Some(ask(ctx, source, &standing.tag).await);
        decision = guard::decide(policy, &exclusions, &situation);
    }
    remember(ctx, &decision, standing.as_ref(), status, made_under)?;
    match (decision, standing) {
        (Decision::Hold(hold), Some(standing)) => {
            let message = decision.message(&standing.tag, &winner).unwrap_or_default();
            tell(ctx, &hold, message);
            let again_after = hold.ask_again.unwrap_or(HELD_AGAIN);
            Ok(Chosen::Stands { reference: standing, again_after })
        }
        (Decision::Move(_) | Decision::AskForManifest | Decision::Hold(_), _) => {
            ctx.clear_condition(Type::Held);
            let left = ctx.tags.guard(&ctx.key).retry(Reason::Failure)?;
            Ok(Chosen::Latest { tag: winner, left: left.and_then(|record| record.left) })
        }
    }
}

/// Returns what the markers at the tips hold: of several values the highest-ranked.
fn at_the_tips(
    ctx: &Scope<'_>,
    policy: &Policy,
    exclusions: &Exclusions,
    image: &str,
) -> Option<ImageRef> {
    let standing = ctx.shared.standing.lock();
    let values = standing.get(&ctx.key)?.iter();
    let tags = values
        .filter(|(name, _)| name.as_deref().is_none_or(|name| name == image))
        .map(|(_, tag)| tag.as_str());
    let tag = guard::highest(policy, exclusions, tags)?.to_owned();
    Some(ImageRef { name: image.to_owned(), tag, digest: None })
}

/// Returns whether spec, image or exclusions are not those of the choice before. What the markers
/// hold was chosen under nobody knows what, which frees nothing.
fn is_changed(
    ctx: &Scope<'_>,
    status: &ImagePolicyStatus,
    image: &str,
    then: &GuardRecord,
    now: &GuardRecord,
) -> bool {
    let Some(latest) = &status.latest_ref else { return false };
    // Without a record, as after an upgrade, the generation has to do.
    let is_same_spec = if then.spec.is_empty() {
        status.observed_generation == Some(ctx.generation)
    } else {
        then.spec == now.spec
    };
    let are_same_exclusions = then.exclusions.is_empty() || then.exclusions == now.exclusions;
    latest.name != image || !is_same_spec || !are_same_exclusions
}

/// Returns a hash of the policy's spec: generations count from one again in every run that keeps
/// its objects in memory.
fn hash_of(policy: &ImagePolicy) -> String {
    let spec = serde_json::to_vec(&policy.spec).unwrap_or_default();
    Sha256::digest(spec).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the exclusions under which the stored tags were listed.
fn exclusions_of(source: &Source) -> Vec<String> {
    let status = source.object.status.as_ref();
    let observed = status.and_then(|status| status.observed_exclusion_list.clone());
    let mut exclusions = observed.unwrap_or_else(|| source.object.spec.exclusions());
    exclusions.sort();
    exclusions
}

/// Returns how long before the stored listing began the registry first denied the tag that stands.
fn missing_for(
    source: &Source,
    stored: &Stored,
    standing: Option<&ImageRef>,
    record: &GuardRecord,
) -> Option<Duration> {
    let (tag, since) = record.missing.as_ref()?;
    if standing.is_none_or(|standing| standing.tag != *tag) {
        return None;
    }
    let scan = source.object.status.as_ref()?.last_scan_result.as_ref()?;
    let is_of_this_scan = scan.revision.as_deref() == Some(&stored.revision);
    let listed = scan.scan_time.as_ref().filter(|_| is_of_this_scan);
    // A listing from before counts as no wait at all.
    let waited = listed.map(|listed| listed.0.duration_since(*since));
    Some(waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default())
}

async fn ask(ctx: &Scope<'_>, source: &Source, tag: &str) -> Manifest {
    match head(ctx, source, tag).await {
        Ok(Some(_)) => Manifest::Exists,
        Ok(None) => Manifest::Missing,
        Err(error) => {
            let error = crate::outcome::chain(&error);
            tracing::warn!(tag, error, "Cannot ask whether the registry has a tag");
            Manifest::Unclear
        }
    }
}

/// Keeps what a later run decides from.
fn remember(
    ctx: &Scope<'_>,
    decision: &Decision,
    standing: Option<&ImageRef>,
    status: &ImagePolicyStatus,
    record: GuardRecord,
) -> Result<(), Failure> {
    let now = |standing: &ImageRef| (standing.tag.clone(), ctx.clock.now());
    let missing: Option<(String, Timestamp)> = match decision.record() {
        Record::Set => standing.map(now),
        Record::Keep => record.missing,
        Record::Clear => None,
    };
    // That a tag left the registry is told for as long as it is the choice before.
    let left = match decision {
        Decision::Move(Cause::Gone) => standing.map(|standing| standing.tag.clone()),
        Decision::Move(_) | Decision::AskForManifest | Decision::Hold(_) => {
            let previous = status.observed_previous_ref.as_ref();
            record.left.filter(|left| previous.is_some_and(|previous| previous.tag == *left))
        }
    };
    let record = GuardRecord { missing, left, ..record };
    ctx.tags.put_guard(&ctx.key, Some(record)).retry(Reason::Failure)
}

fn tell(ctx: &Scope<'_>, hold: &Hold, message: String) {
    let reason = match hold.reason {
        HoldReason::StillThere => Reason::TagStillPresent,
        HoldReason::Unclear | HoldReason::Unconfirmed | HoldReason::Unconfirmable => {
            Reason::RemovalUnconfirmed
        }
    };
    ctx.condition(Extra { type_: Type::Held, reason, message: message.clone(), told: true });
    ctx.report(|report| {
        report.notices.push(Notice {
            kind: ctx.kind,
            key: ctx.key.clone(),
            reason: Type::Held.as_str().to_owned(),
            message,
        });
    });
}
