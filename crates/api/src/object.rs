//! What all kinds share: suspension, interval, and the common part of their statuses.

use golang::time::{Duration, DurationError};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Kind, ObjectRef, annotation,
    image::{
        ImagePolicy, ImagePolicyStatus, ImageRepository, ImageRepositoryStatus,
        ImageUpdateAutomation, ImageUpdateAutomationStatus,
    },
    source::{GitRepository, GitRepositoryStatus},
};

/// An object of one of our kinds.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its kind.
    const KIND: Kind;

    /// The type of its status.
    type Status: Status;

    /// Returns its status, if it has one.
    fn status(&self) -> Option<&Self::Status>;

    /// Returns the place of its status.
    fn status_mut(&mut self) -> &mut Option<Self::Status>;

    /// Returns whether its reconciling rests.
    fn is_suspended(&self) -> bool;

    /// Returns the time between its reconciles; `None` if it has none of its own.
    fn interval(&self) -> Option<Result<Duration, DurationError>>;

    /// Returns the reference to this object; what the object lacks is empty.
    fn object_ref(&self) -> ObjectRef {
        let namespace = self.meta().namespace.clone().unwrap_or_default();
        ObjectRef { kind: Self::KIND, namespace, name: self.name_any() }
    }

    /// Returns the value of the annotation that asks for a reconcile.
    fn requested_at(&self) -> Option<&str> {
        self.annotations().get(annotation::REQUESTED_AT).map(String::as_str)
    }
}

/// The part that the statuses of all kinds share.
pub trait Status:
    Clone + Default + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
    /// Returns the conditions.
    fn conditions(&self) -> &[Condition];

    /// Returns the place of the conditions.
    fn conditions_mut(&mut self) -> &mut Option<Vec<Condition>>;

    /// Returns the last generation that was ready or stalled.
    fn observed_generation(&self) -> Option<i64>;

    /// Returns the place of the observed generation.
    fn observed_generation_mut(&mut self) -> &mut Option<i64>;

    /// Returns the last handled value of the annotation that asks for a reconcile.
    fn last_handled_reconcile_at(&self) -> Option<&str>;

    /// Returns the place of the last handled value.
    fn last_handled_reconcile_at_mut(&mut self) -> &mut Option<String>;
}

macro_rules! object {
    ($object:ident, $status:ident, |$spec:ident| $interval:expr) => {
        impl Object for $object {
            const KIND: Kind = Kind::$object;

            type Status = $status;

            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }

            fn status_mut(&mut self) -> &mut Option<$status> {
                &mut self.status
            }

            fn is_suspended(&self) -> bool {
                self.spec.suspend == Some(true)
            }

            fn interval(&self) -> Option<Result<Duration, DurationError>> {
                let $spec = &self.spec;
                $interval
            }
        }

        impl Status for $status {
            fn conditions(&self) -> &[Condition] {
                self.conditions.as_deref().unwrap_or_default()
            }

            fn conditions_mut(&mut self) -> &mut Option<Vec<Condition>> {
                &mut self.conditions
            }

            fn observed_generation(&self) -> Option<i64> {
                self.observed_generation
            }

            fn observed_generation_mut(&mut self) -> &mut Option<i64> {
                &mut self.observed_generation
            }

            fn last_handled_reconcile_at(&self) -> Option<&str> {
                self.last_handled_reconcile_at.as_deref()
            }

            fn last_handled_reconcile_at_mut(&mut self) -> &mut Option<String> {
                &mut self.last_handled_reconcile_at
            }
        }
    };
}

object!(GitRepository, GitRepositoryStatus, |spec| Some(spec.interval.parse()));
object!(ImageRepository, ImageRepositoryStatus, |spec| Some(spec.interval.parse()));
object!(ImagePolicy, ImagePolicyStatus, |spec| spec.interval.as_deref().map(str::parse));
object!(ImageUpdateAutomation, ImageUpdateAutomationStatus, |spec| Some(spec.interval.parse()));
