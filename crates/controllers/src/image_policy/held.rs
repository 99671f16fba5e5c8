//! Never backwards by accident: asks the registry before a policy moves to a lower-ranking tag.

use std::{cmp::Ordering, time::Duration};

use api::{
    annotation,
    condition::{Reason, Type},
    image::{ImagePolicy, ImagePolicyStatus, ImageRef},
};
use automation::policy::Policy;
use jiff::{SignedDuration, Timestamp};

use super::{Chosen, Source, head, legal};
use crate::{
    context::Scope,
    outcome::{Extra, Failure, OrFail},
    report::Notice,
    tags::{GuardRecord, Stored},
};

/// When a choice that the registry still has is looked at again: nothing is likely to change soon.
const PRESENT_AGAIN: Duration = Duration::from_secs(300);

/// What the registry said about the tag that stands.
enum Answer {
    Present,
    Missing,
    Unclear,
}

/// Why the choice stands.
struct Hold {
    reason: Reason,
    message: String,
    again_after: Duration,
}

/// Returns the winner, or the choice before if moving to the winner would go backwards without the
/// registry having confirmed twice that the choice before is gone.
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
    let exclusions = exclusions_of(source);
    let image = &source.object.spec.image;
    let standing = standing(ctx, policy, image, status, &record, &exclusions);
    let is_allowed =
        object.metadata.annotations.as_ref().and_then(|all| all.get(annotation::ALLOW_OLDER))
            == Some(&winner);
    let backwards =
        standing.filter(|standing| policy.compare(&winner, &standing.tag) == Some(Ordering::Less));
    let Some(standing) = backwards.filter(|_| !is_allowed) else {
        let left = record.left.filter(|left| {
            status.observed_previous_ref.as_ref().is_some_and(|previous| previous.tag == *left)
        });
        return move_on(ctx, exclusions, winner, left);
    };

    let answer = ask(ctx, source, &standing.tag).await;
    let since = match (&answer, record.missing) {
        (Answer::Missing, Some((tag, since))) if tag == standing.tag => Some(since),
        (Answer::Missing, _) => Some(ctx.clock.now()),
        (Answer::Present | Answer::Unclear, _) => None,
    };
    if let Some(since) = since
        && is_confirmed(ctx, source, stored, &standing.tag, since)
    {
        return move_on(ctx, exclusions, winner, Some(standing.tag));
    }
    let missing = since.map(|since| (standing.tag.clone(), since));
    let record = GuardRecord { exclusions, missing, left: record.left };
    ctx.tags.put_guard(&ctx.key, Some(record)).retry(Reason::Failure)?;
    let hold = hold(ctx, &answer, &standing, &winner);
    tell(ctx, &hold);
    Ok(Chosen::Stands { reference: standing, again_after: hold.again_after })
}

/// Takes the winner, and remembers under which exclusions.
fn move_on(
    ctx: &Scope<'_>,
    exclusions: Vec<String>,
    tag: String,
    left: Option<String>,
) -> Result<Chosen, Failure> {
    let record = GuardRecord { exclusions, missing: None, left: left.clone() };
    ctx.tags.put_guard(&ctx.key, Some(record)).retry(Reason::Failure)?;
    ctx.clear_condition(Type::Held);
    Ok(Chosen::Latest { tag, left })
}

/// Returns the choice before, as far as spec, image and exclusions are still those it was made
/// under. Of the values at the tips, which stand in for it, the highest-ranked counts.
fn standing(
    ctx: &Scope<'_>,
    policy: &Policy,
    image: &str,
    status: &ImagePolicyStatus,
    record: &GuardRecord,
    exclusions: &[String],
) -> Option<ImageRef> {
    if let Some(latest) = &status.latest_ref {
        let is_same = latest.name == image
            && status.observed_generation == Some(ctx.generation)
            && (record.exclusions.is_empty() || record.exclusions == exclusions);
        return is_same.then(|| latest.clone());
    }
    let standing = ctx.shared.standing.lock();
    let tags = standing.get(&ctx.key)?.iter();
    let tags = tags.filter(|(name, _)| name.as_deref().is_none_or(|name| name == image));
    let ranked = tags.map(|(_, tag)| tag).filter(|tag| policy.compare(tag, tag).is_some());
    let highest = ranked.max_by(|a, b| policy.compare(a, b).unwrap_or(Ordering::Equal))?;
    Some(ImageRef { name: image.to_owned(), tag: highest.clone(), digest: None })
}

/// Returns the exclusions under which the stored tags were listed.
fn exclusions_of(source: &Source) -> Vec<String> {
    let status = source.object.status.as_ref();
    let observed = status.and_then(|status| status.observed_exclusion_list.clone());
    let mut exclusions = observed.unwrap_or_else(|| source.object.spec.exclusions());
    exclusions.sort();
    exclusions
}

async fn ask(ctx: &Scope<'_>, source: &Source, tag: &str) -> Answer {
    match head(ctx, source, tag).await {
        Ok(Some(_)) => Answer::Present,
        Ok(None) => Answer::Missing,
        Err(error) => {
            let error = crate::outcome::chain(&error);
            tracing::warn!(tag, error, "Cannot ask whether the registry has a tag");
            Answer::Unclear
        }
    }
}

/// Returns whether a complete listing, long enough after the registry first denied the tag, lacks
/// it too.
fn is_confirmed(
    ctx: &Scope<'_>,
    source: &Source,
    stored: &Stored,
    tag: &str,
    since: Timestamp,
) -> bool {
    let wait = SignedDuration::try_from(ctx.settings.removal_confirmation);
    let Some(not_before) = wait.ok().and_then(|wait| since.checked_add(wait).ok()) else {
        return false;
    };
    let status = source.object.status.as_ref();
    let scan = status.and_then(|status| status.last_scan_result.as_ref());
    let Some(scanned) = scan.and_then(|scan| scan.scan_time.as_ref()) else { return false };
    ctx.settings.keeps_state
        && scanned.0 >= not_before
        && scan.is_some_and(|scan| scan.revision.as_deref() == Some(&stored.revision))
        && stored.tags.iter().all(|listed| listed != tag)
}

fn hold(ctx: &Scope<'_>, answer: &Answer, standing: &ImageRef, winner: &str) -> Hold {
    let ImageRef { name, tag, .. } = standing;
    let allow = format!("annotate the policy with {}: {winner}", annotation::ALLOW_OLDER);
    let seconds = ctx.settings.removal_confirmation.as_secs();
    let stands = format!("{name}:{tag} stands, since {winner} ranks below it");
    let (reason, message, again_after) = match answer {
        Answer::Present => (
            Reason::TagStillPresent,
            format!(
                "{stands} and the registry still has {tag}, although it is missing from the tag \
                 list; to move anyway, {allow}"
            ),
            PRESENT_AGAIN,
        ),
        Answer::Unclear => (
            Reason::RemovalUnconfirmed,
            format!(
                "{stands} and the registry did not say whether it still has {tag}; to move \
                 anyway, {allow}"
            ),
            ctx.settings.removal_confirmation,
        ),
        Answer::Missing if ctx.settings.keeps_state => (
            Reason::RemovalUnconfirmed,
            format!(
                "{stands}; the registry says that {tag} is gone, and a complete tag list at least \
                 {seconds}s later must lack it too; to move now, {allow}"
            ),
            ctx.settings.removal_confirmation,
        ),
        Answer::Missing => (
            Reason::RemovalUnconfirmed,
            format!(
                "{stands}; the registry says that {tag} is gone, but a run that keeps no state \
                 cannot confirm it: keep state between runs with --state, or {allow}"
            ),
            ctx.settings.removal_confirmation,
        ),
    };
    Hold { reason, message, again_after }
}

fn tell(ctx: &Scope<'_>, hold: &Hold) {
    ctx.condition(Extra {
        type_: Type::Held,
        reason: hold.reason,
        message: hold.message.clone(),
        told: true,
    });
    ctx.report(|report| {
        report.notices.push(Notice {
            kind: ctx.kind,
            key: ctx.key.clone(),
            reason: "Held".to_owned(),
            message: hold.message.clone(),
        });
    });
}
