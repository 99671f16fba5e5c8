//! Conditions: their types and reasons, and how a list of them is kept.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Bytes of the longest message; a longer one ends in an ellipsis. The API's schema refuses more.
pub const MESSAGE_MAX: usize = 32_768;

/// Types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// The object is as its spec wants it.
    Ready,
    /// Work on it is going on.
    Reconciling,
    /// Nothing more happens until someone changes it.
    Stalled,
    /// A choice stands although a lower one won.
    Held,
    /// Some markers have no effect.
    MarkersIgnored,
    /// An artifact of the current revision is stored.
    ArtifactInStorage,
    /// The source could not be fetched.
    FetchFailed,
    /// The artifact could not be stored.
    StorageOperationFailed,
}

impl Type {
    /// Returns the spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Type::Ready => "Ready",
            Type::Reconciling => "Reconciling",
            Type::Stalled => "Stalled",
            Type::Held => "Held",
            Type::MarkersIgnored => "MarkersIgnored",
            Type::ArtifactInStorage => "ArtifactInStorage",
            Type::FetchFailed => "FetchFailed",
            Type::StorageOperationFailed => "StorageOperationFailed",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl Truth {
    /// Returns the spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $text:literal),* $(,)?) => {
        /// Why a condition is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// Returns the spelling on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$reason => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// All is well.
    Succeeded = "Succeeded",
    /// It failed, and no more is known.
    Failed = "Failed",
    /// Work is going on.
    Progressing = "Progressing",
    /// Work is going on after a failure.
    ProgressingWithRetry = "ProgressingWithRetry",
    /// It rests.
    Suspended = "Suspended",
    /// What it needs is not there yet.
    DependencyNotReady = "DependencyNotReady",
    /// It may not use what it refers to.
    AccessDenied = "AccessDenied",
    /// It asks for something that is switched off.
    FeatureGateDisabled = "FeatureGateDisabled",
    /// The image is not a name of a repository.
    ImageUrlInvalid = "ImageURLInvalid",
    /// Credentials could not be made ready.
    AuthenticationFailed = "AuthenticationFailed",
    /// The registry could not be read.
    ReadOperationFailed = "ReadOperationFailed",
    /// A policy could not choose, or the tags could not be read.
    Failure = "Failure",
    /// An interval is needed and missing.
    IntervalNotConfigured = "IntervalNotConfigured",
    /// The policy itself is wrong.
    InvalidPolicy = "InvalidPolicy",
    /// The update strategy is unknown.
    InvalidUpdateStrategy = "InvalidUpdateStrategy",
    /// The source reference or the Git settings are wrong.
    InvalidSourceConfiguration = "InvalidSourceConfiguration",
    /// The policy selector is wrong.
    InvalidPolicySelector = "InvalidPolicySelector",
    /// The template uses a field that no longer exists.
    RemovedTemplateField = "RemovedTemplateField",
    /// The source could not be made ready.
    SourceManagerFailed = "SourceManagerFailed",
    /// A Git operation failed.
    GitOperationFailed = "GitOperationFailed",
    /// Files could not be edited.
    UpdateFailed = "UpdateFailed",
    /// The provider needs credentials that are not there.
    InvalidProviderConfiguration = "InvalidProviderConfiguration",
    /// The repository has no commit.
    EmptyGitRepository = "EmptyGitRepository",
    /// The address of a source is wrong.
    UrlInvalid = "URLInvalid",
    /// An artifact was made.
    NewArtifact = "NewArtifact",
    /// An artifact could not be made or stored.
    ArchiveOperationFailed = "ArchiveOperationFailed",
    /// A choice stands although a lower one won.
    TagStillPresent = "TagStillPresent",
    /// A choice stands until its tag's removal is certain.
    RemovalUnconfirmed = "RemovalUnconfirmed",
    /// Some markers have no effect.
    MarkersIgnored = "MarkersIgnored",
    /// It asks for something that is not built yet.
    NotSupported = "NotSupported",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a condition is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Type of the condition.
    pub type_: Type,
    /// Whether it holds.
    pub truth: Truth,
    /// Why.
    pub reason: Reason,
    /// The same for people.
    pub message: &'a str,
}

/// Returns the condition of this type.
pub fn find(conditions: &[Condition], type_: Type) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// Returns whether the condition of this type is there and has this truth.
pub fn is(conditions: &[Condition], type_: Type, truth: Truth) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == truth.as_str())
}

/// Sets a condition and keeps the list sorted.
///
/// The time of transition changes only if truth, reason or message do.
pub fn set(
    conditions: &mut Vec<Condition>,
    statement: &Statement<'_>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let mut condition = Condition {
        type_: statement.type_.as_str().to_owned(),
        status: statement.truth.as_str().to_owned(),
        reason: statement.reason.as_str().to_owned(),
        message: trim(statement.message),
        observed_generation: generation,
        last_transition_time: seconds(now),
    };
    match conditions.iter_mut().find(|c| c.type_ == condition.type_) {
        Some(old) => {
            let same = old.status == condition.status
                && old.reason == condition.reason
                && old.message == condition.message;
            if same {
                condition.last_transition_time = old.last_transition_time.clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
    sort(conditions);
}

/// Removes the condition of this type; says whether there was one.
pub fn remove(conditions: &mut Vec<Condition>, type_: Type) -> bool {
    let n_before = conditions.len();
    conditions.retain(|condition| condition.type_ != type_.as_str());
    conditions.len() < n_before
}

/// Sorts: Stalled, Reconciling, Ready, then the others by name.
pub fn sort(conditions: &mut [Condition]) {
    fn rank(type_: &str) -> u8 {
        match type_ {
            "Stalled" => 0,
            "Reconciling" => 1,
            "Ready" => 2,
            _ => 3,
        }
    }
    conditions.sort_by(|a, b| (rank(&a.type_), &a.type_).cmp(&(rank(&b.type_), &b.type_)));
}

/// Returns the time as the API stores it: whole seconds.
pub fn seconds(time: Timestamp) -> Time {
    let whole = Timestamp::from_second(time.as_second());
    Time(whole.expect("a timestamp's own second is in its range"))
}

fn trim(message: &str) -> String {
    const ELLIPSIS: &str = "...";
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MESSAGE_MAX - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", &message[..end])
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn ready(truth: Truth, message: &str) -> Statement<'_> {
        Statement { type_: Type::Ready, truth, reason: Reason::Succeeded, message }
    }

    #[test]
    fn conditions_stand_in_fluxs_order() {
        let mut conditions = Vec::new();
        for type_ in [Type::MarkersIgnored, Type::Ready, Type::Held, Type::Stalled] {
            let statement = Statement {
                type_,
                truth: Truth::True,
                reason: Reason::ImageUrlInvalid,
                message: "m",
            };
            set(&mut conditions, &statement, Some(1), Timestamp::UNIX_EPOCH);
        }
        check(
            &conditions,
            expect![[r#"
                Stalled True ImageURLInvalid 1970-01-01T00:00:00Z m
                Ready True ImageURLInvalid 1970-01-01T00:00:00Z m
                Held True ImageURLInvalid 1970-01-01T00:00:00Z m
                MarkersIgnored True ImageURLInvalid 1970-01-01T00:00:00Z m
            "#]],
        );
    }

    #[test]
    fn the_transition_time_changes_with_truth_reason_or_message() {
        let mut conditions = Vec::new();
        let times = [1_500, 2_500, 3_500].map(|ms| Timestamp::from_millisecond(ms).expect("small"));
        set(&mut conditions, &ready(Truth::True, "a"), Some(1), times[0]);
        set(&mut conditions, &ready(Truth::True, "a"), Some(2), times[1]);
        check(
            &conditions,
            expect![[r#"
            Ready True Succeeded 1970-01-01T00:00:01Z a
        "#]],
        );
        assert_eq!(conditions[0].observed_generation, Some(2));
        set(&mut conditions, &ready(Truth::True, "b"), Some(2), times[2]);
        check(
            &conditions,
            expect![[r#"
            Ready True Succeeded 1970-01-01T00:00:03Z b
        "#]],
        );
        assert!(remove(&mut conditions, Type::Ready));
        assert!(!remove(&mut conditions, Type::Ready));
    }

    #[test]
    fn a_long_message_ends_in_an_ellipsis() {
        let mut conditions = Vec::new();
        let message = "é".repeat(MESSAGE_MAX);
        set(&mut conditions, &ready(Truth::False, &message), None, Timestamp::UNIX_EPOCH);
        let trimmed = &conditions[0].message;
        assert!(trimmed.len() <= MESSAGE_MAX && trimmed.len() > MESSAGE_MAX - 3);
        assert!(trimmed.ends_with("é..."));
    }

    #[track_caller]
    fn check(conditions: &[Condition], expected: Expect) {
        let lines: String = conditions
            .iter()
            .map(|c| {
                let time = c.last_transition_time.0;
                format!("{} {} {} {time} {}\n", c.type_, c.status, c.reason, c.message)
            })
            .collect();
        expected.assert_eq(&lines);
    }
}
