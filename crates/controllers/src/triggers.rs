//! Who wakes whom: the one table. A change of an object is its state before and after; the answer is
//! the keys of other objects that must look again. What matters travels in `status`.

use api::{
    Kind, Object, Status, annotation,
    condition::{self, Reason, Truth, Type},
    image::{ImagePolicy, ImageRef, ImageRepository, ImageUpdateAutomation},
    source::GitRepository,
};

use crate::{objects::Objects, queue::ObjectKey};

/// Objects to wake.
pub type Woken = Vec<(Kind, ObjectKey)>;

/// Returns whether a change of an object makes itself due: its spec, a request, its deletion, or an
/// annotation that its reconciler reads; or that it is another object of the same name.
pub fn wakes_itself<K: Object>(before: Option<&K>, after: &K) -> bool {
    let Some(before) = before else { return true };
    let of = |object: &K| {
        (
            object.meta().uid.clone(),
            object.meta().generation,
            object.meta().deletion_timestamp.is_some(),
            object.requested_at().map(str::to_owned),
            annotation_of(object, annotation::ALLOW_OLDER),
        )
    };
    of(before) != of(after)
}

/// An ImageRepository wakes the policies that choose from it: when it comes or goes, when its tags
/// or its image changed, and when it became ready (its tags may have been gone meanwhile).
pub fn of_image_repository(
    objects: &Objects,
    key: &ObjectKey,
    before: Option<&ImageRepository>,
    after: Option<&ImageRepository>,
) -> Woken {
    let is_news = match (before, after) {
        (Some(before), Some(after)) => {
            listing_of(before) != listing_of(after) || (!is_ready(before) && is_ready(after))
        }
        (None, None) => false,
        _ => true,
    };
    if !is_news {
        return Woken::new();
    }
    woken(
        Kind::ImagePolicy,
        objects.image_policies.keys_where(|policy, object| {
            let reference = &object.spec.image_repository_ref;
            reference.name == key.name && reference.namespace_or(&policy.namespace) == key.namespace
        }),
    )
}

/// An ImagePolicy wakes every automation of its namespace when what may be written changed.
pub fn of_image_policy(
    objects: &Objects,
    key: &ObjectKey,
    before: Option<&ImagePolicy>,
    after: Option<&ImagePolicy>,
) -> Woken {
    let (Some(before), Some(after)) = (before, after) else { return Woken::new() };
    let latest = writable(after);
    if latest.is_none() || latest == writable(before) {
        return Woken::new();
    }
    woken(
        Kind::ImageUpdateAutomation,
        objects.automations.keys_where(|automation, _| automation.namespace == key.namespace),
    )
}

/// A GitRepository wakes the automations that write to it when its spec changed.
pub fn of_git_repository(
    objects: &Objects,
    key: &ObjectKey,
    before: Option<&GitRepository>,
    after: Option<&GitRepository>,
) -> Woken {
    let (Some(before), Some(after)) = (before, after) else { return Woken::new() };
    if before.metadata.generation == after.metadata.generation {
        return Woken::new();
    }
    woken(
        Kind::ImageUpdateAutomation,
        objects.automations.keys_where(|automation, object| source_of(automation, object) == *key),
    )
}

/// An automation that pushed to its source's own branch wakes the source.
pub fn of_automation(
    objects: &Objects,
    key: &ObjectKey,
    before: Option<&ImageUpdateAutomation>,
    after: Option<&ImageUpdateAutomation>,
) -> Woken {
    let Some(after) = after else { return Woken::new() };
    let pushed = |automation: &ImageUpdateAutomation| {
        automation.status.as_ref().and_then(|status| status.last_push_commit.clone())
    };
    if pushed(after).is_none() || before.is_none_or(|before| pushed(before) == pushed(after)) {
        return Woken::new();
    }
    let source = source_of(key, after);
    let Some(repository) = objects.git_repositories.find(&source) else { return Woken::new() };
    if push_branch(after, &repository) == own_branch(&repository) {
        vec![(Kind::GitRepository, source)]
    } else {
        Woken::new()
    }
}

/// Returns the choice of a policy unless its current generation failed to make one: then an older
/// choice must not be written.
pub fn writable(policy: &ImagePolicy) -> Option<&ImageRef> {
    let status = policy.status.as_ref()?;
    let ready = condition::find(status.conditions(), Type::Ready);
    let is_withheld = ready.is_some_and(|ready| {
        ready.status == Truth::False.as_str()
            && [Reason::Failure, Reason::InvalidPolicy].iter().any(|r| r.as_str() == ready.reason)
            && ready.observed_generation == policy.metadata.generation
    });
    if is_withheld { None } else { status.latest_ref.as_ref() }
}

/// Returns the key of the GitRepository that an automation names.
pub fn source_of(key: &ObjectKey, automation: &ImageUpdateAutomation) -> ObjectKey {
    let source = &automation.spec.source_ref;
    ObjectKey::new(source.namespace_or(&key.namespace), source.name.clone())
}

fn push_branch<'a>(
    automation: &'a ImageUpdateAutomation,
    repository: &'a GitRepository,
) -> Option<&'a str> {
    let git = automation.spec.git.as_ref()?;
    let named = git.push.as_ref().and_then(|push| push.branch.as_deref());
    let checkout = git.checkout.as_ref().map(|checkout| &checkout.reference);
    named
        .or_else(|| checkout.and_then(|reference| reference.branch.as_deref()))
        .or_else(|| own_branch(repository).filter(|_| checkout.is_none()))
}

fn own_branch(repository: &GitRepository) -> Option<&str> {
    match &repository.spec.reference {
        Some(reference) => reference.branch.as_deref(),
        None => Some("master"),
    }
}

fn listing_of(repository: &ImageRepository) -> Option<(Option<&str>, Option<&str>)> {
    let status = repository.status.as_ref()?;
    let scan = status.last_scan_result.as_ref()?;
    Some((scan.revision.as_deref(), status.canonical_image_name.as_deref()))
}

fn is_ready<K: Object>(object: &K) -> bool {
    object
        .status()
        .is_some_and(|status| condition::is(status.conditions(), Type::Ready, Truth::True))
}

fn annotation_of<K: Object>(object: &K, name: &str) -> Option<String> {
    object.meta().annotations.as_ref()?.get(name).cloned()
}

fn woken(kind: Kind, keys: Vec<ObjectKey>) -> Woken {
    keys.into_iter().map(|key| (kind, key)).collect()
}
