//! Names of annotations, labels and finalizers with a meaning.

/// A value other than `status.lastHandledReconcileAt` asks for a reconcile now.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// Asks for a reconcile that acts even if nothing changed; unused by the kinds built so far.
pub const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";

/// Asks for failure counters to be reset; unused by the kinds built so far.
pub const RESET_AT: &str = "reconcile.fluxcd.io/resetAt";

/// Object annotations under this prefix are copied into its events, key and all.
pub const EVENT_PREFIX: &str = "event.toolkit.fluxcd.io/";

/// The finalizer that every kind carries from its first reconcile on.
pub const FINALIZER: &str = "finalizers.fluxcd.io";

/// Label that says which shard of controllers reconciles an object.
pub const SHARD_KEY: &str = "sharding.fluxcd.io/key";

/// On an ImagePolicy: the tag, older than the current choice, that it may move to.
pub const ALLOW_OLDER: &str = "tagtide.dev/allow-older";

/// On an object that was loaded from a file: the file, without which it is deleted again.
pub const LOADED_FROM: &str = "tagtide.dev/loaded-from";
