//! The choices that stand at the tips: in a run that has kept none of its own, the values that the
//! markers hold are the choices before. They are read before the first policy is reconciled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    Object,
    image::ImageUpdateAutomation,
    image_ref::{Identifier, Reference},
};
use automation::marker::{Marker, Part};
use git::{GitError, RemoteError, Snapshot, Tip};

use crate::{
    driver::Shared,
    image_update_automation::{Target, target_of, update_path},
    markers::{MarkedFile, marked_files},
    queue::ObjectKey,
    reconcile,
};

/// Image names, where the marker holds one, and tags by policy.
pub(crate) type Standing = BTreeMap<ObjectKey, BTreeSet<(Option<String>, String)>>;

/// Reads what the markers of all automations hold. What cannot be read is left out: the
/// automation's own run says why.
pub(crate) async fn read(shared: &Arc<Shared>) {
    let settings = &shared.context.settings;
    if settings.assumed.is_some() || !is_needed(shared) {
        return;
    }
    for (key, automation) in shared.objects.automations.all() {
        let Ok(automation) = automation else { continue };
        if automation.is_suspended() {
            continue;
        }
        match held_by(shared, &key, &automation).await {
            Some(held) => merge(&mut shared.standing.lock(), held),
            None => tracing::debug!(automation = %key, "The markers at the tip cannot be read"),
        }
    }
}

/// Only a policy without a choice of its own asks for the values at the tips.
fn is_needed(shared: &Shared) -> bool {
    let is_open = |policy: &api::image::ImagePolicy| {
        policy.status.as_ref().is_none_or(|status| status.latest_ref.is_none())
    };
    !shared.objects.image_policies.keys_where(|_, policy| is_open(policy)).is_empty()
}

async fn held_by(
    shared: &Shared,
    key: &ObjectKey,
    automation: &ImageUpdateAutomation,
) -> Option<Standing> {
    let scope = reconcile::scope_of(shared, key, automation);
    let target = target_of(automation, &scope).await.ok()?;
    let path = update_path(automation).ok()?;
    let tip = tip(&target).await?;
    let index = Arc::clone(&shared.markers);
    let read = move |files: &mut Snapshot| marked_files(files, &path, &index);
    let files = target.mirror.with_files(&tip, &target.request.access, read).await.ok()?.ok()?;
    let mut held = Standing::new();
    for MarkedFile { found, .. } in &files {
        for marker in found.markers.iter().filter(|m| m.policy.namespace == key.namespace) {
            note(&mut held, marker);
        }
    }
    Some(held)
}

/// Returns the push branch, or what it would be made from.
async fn tip(target: &Target) -> Option<Tip> {
    let request = &target.request;
    let branch = git::Reference::Branch(request.branch.clone());
    match target.mirror.refresh(&branch, &request.access).await {
        Ok(tip) => Some(tip),
        Err(GitError::Remote { source: RemoteError::NoRef(_), .. }) => {
            target.mirror.refresh(&request.checkout, &request.access).await.ok()
        }
        Err(_) => None,
    }
}

/// Adds what one marker holds.
pub(crate) fn note(held: &mut Standing, marker: &Marker) {
    let value = match marker.part {
        Part::Tag => Some((None, marker.old.clone())),
        Part::Whole => split(&marker.old),
        Part::Name | Part::Digest => None,
    };
    if let Some(value) = value {
        let policy = ObjectKey::new(&*marker.policy.namespace, &*marker.policy.name);
        held.entry(policy).or_default().insert(value);
    }
}

/// Splits `name:tag` or `name:tag@digest`. A value without a tag stands for no choice.
fn split(image: &str) -> Option<(Option<String>, String)> {
    let (image, _) = image.split_once('@').unwrap_or((image, ""));
    let reference: Reference = image.parse().ok()?;
    let Identifier::Tag(tag) = reference.identifier else { return None };
    let name = image.strip_suffix(&tag)?.strip_suffix(':')?;
    Some((Some(name.to_owned()), tag))
}

fn merge(all: &mut Standing, held: Standing) {
    for (policy, values) in held {
        all.entry(policy).or_default().extend(values);
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_tag_of_an_image_is_read() {
        for (image, expected) in [
            ("ghcr.io/a/b:1.2", Some(("ghcr.io/a/b", "1.2"))),
            ("localhost:5000/bb:v1@sha256:12", Some(("localhost:5000/bb", "v1"))),
            ("localhost:5000/bb", None),
            ("b", None),
            ("::", None),
        ] {
            let found = split(image);
            let found = found
                .as_ref()
                .map(|(name, tag)| (name.as_deref().unwrap_or_default(), tag.as_str()));
            assert_eq!(found, expected, "{image}");
        }
    }
}
