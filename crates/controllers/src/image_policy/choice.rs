//! The choice of a policy over the stored tags, brought up to date with what changed.

use std::time::Duration;

use api::{
    condition::Reason,
    image::{ImagePolicy, ImageRef},
};
use automation::policy::{Policy, Selection};

use crate::{
    context::Scope,
    outcome::{Failure, OrFail},
    queue::ObjectKey,
    tags::Stored,
};

/// What a policy ends with.
pub(super) enum Chosen {
    /// The latest tag; `left` is the choice before, if it is known to have left the registry.
    Latest {
        /// The tag.
        tag: String,
        /// The tag that is gone.
        left: Option<String>,
    },
    /// The choice before stands.
    Stands {
        /// It.
        reference: ImageRef,
        /// When to look again.
        again_after: Duration,
    },
}

/// A selection and what it was made from.
pub(crate) struct Kept {
    repository: ObjectKey,
    revision: String,
    uid: Option<String>,
    generation: i64,
    selection: Selection,
}

/// Returns the latest tag. Only tags that came or went since the last run are looked at.
pub(super) fn latest(
    ctx: &Scope<'_>,
    object: &ImagePolicy,
    policy: &Policy,
    repository: &ObjectKey,
    stored: &Stored,
) -> Result<String, Failure> {
    let uid = object.metadata.uid.clone();
    let kept = ctx.shared.selections.lock().remove(&ctx.key).filter(|kept| {
        kept.uid == uid && kept.generation == ctx.generation && kept.repository == *repository
    });
    let selection = match (kept, &stored.step) {
        (Some(kept), _) if kept.revision == stored.revision => kept.selection,
        (Some(mut kept), Some(step)) if kept.revision == step.from => {
            kept.selection.update(policy, &stored.tags, &step.added, &step.removed);
            kept.selection
        }
        _ => Selection::new(policy, &stored.tags),
    };
    let latest = selection.latest().map(|choice| choice.tag.to_owned()).retry(Reason::Failure);
    let kept = Kept {
        repository: repository.clone(),
        revision: stored.revision.clone(),
        uid,
        generation: ctx.generation,
        selection,
    };
    ctx.shared.selections.lock().insert(ctx.key.clone(), kept);
    latest
}
