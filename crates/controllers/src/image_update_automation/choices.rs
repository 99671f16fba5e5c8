//! What the policies that an automation selects have chosen.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    condition::Reason,
    image::{ImageRef, ImageUpdateAutomation},
};
use automation::{marker::PolicyName, update::Policies};

use super::selector::Selector;
use crate::{
    context::Scope,
    objects::Objects,
    outcome::{Failure, OrFail, Saying},
    queue::ObjectKey,
    triggers,
};

/// The choices as they are whenever they are asked for: a plan that a lost race made old must not
/// bring back what a policy has left meanwhile.
pub(super) struct Choices {
    objects: Arc<Objects>,
    namespace: String,
    selector: Selector,
    /// Whether all policies of all namespaces are known.
    is_complete: bool,
}

impl Choices {
    pub(super) fn of(
        automation: &ImageUpdateAutomation,
        ctx: &Scope<'_>,
    ) -> Result<Choices, Failure> {
        let selector = Selector::new(automation.spec.policy_selector.as_ref())
            .saying("failed to parse policy selector")
            .stalled(Reason::InvalidPolicySelector)?;
        Ok(Choices {
            objects: Arc::clone(&ctx.shared.objects),
            namespace: ctx.key.namespace.clone(),
            selector,
            is_complete: ctx.settings.namespace.is_none(),
        })
    }

    /// Returns what the selected policies of the namespace have chosen, by name.
    pub(super) fn now(&self) -> BTreeMap<String, ImageRef> {
        let policies = self.objects.image_policies.in_namespace(&self.namespace);
        let choice = |(key, policy): (ObjectKey, Arc<api::image::ImagePolicy>)| {
            let is_selected = self.selector.matches(policy.metadata.labels.as_ref());
            let latest = triggers::writable(&policy).filter(|_| is_selected)?;
            Some((key.name, latest.clone()))
        };
        policies.into_iter().filter_map(choice).collect()
    }

    /// Returns all policies that markers may name. Those that are not selected are known, and their
    /// markers are left alone.
    pub(super) fn policies(&self, chosen: &BTreeMap<String, ImageRef>) -> Policies {
        let known = self.objects.image_policies.keys().into_iter().map(|key| {
            let is_ours = key.namespace == self.namespace;
            let choice = if is_ours { chosen.get(&key.name).cloned() } else { None };
            (PolicyName { namespace: key.namespace, name: key.name }, choice)
        });
        Policies {
            known: known.collect(),
            namespace: Some(self.namespace.clone()),
            complete: self.is_complete,
        }
    }
}
