//! Never backwards by accident: when a policy may move to a lower-ranking tag.
//!
//! A registry that answers a truncated listing must not turn into a downgrade. So a choice that
//! ranks below the previous one, with nothing else changed, waits until the registry says by name
//! that the previous tag is gone, and a later complete listing agrees. A higher choice is never
//! held. This is a function of its inputs: the caller keeps the time and asks the registry.

use crate::policy::{Exclusions, Policy};
use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

/// How much later than the first "not found" a listing must begin that confirms it.
pub const CONFIRM_AFTER: Duration = Duration::from_secs(60);

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The tag chosen before: that of `status.latestRef`, or without kept state the one that
    /// [`highest`] finds in the markers. Nothing on a first choice.
    pub previous: Option<&'a str>,
    /// Whether the policy's spec, the image or the exclusions are not those of the previous choice.
    pub changed: bool,
    /// The tag that the policy chooses from a complete listing.
    pub winner: &'a str,
    /// The tag that the policy's `tagtide.dev/allow-older` names.
    pub allow_older: Option<&'a str>,
    /// What the registry answers for the previous tag by name, once it was asked.
    pub manifest: Option<Manifest>,
    /// How long before the listing began the registry first answered that the previous tag is not
    /// found; nothing if it never did, or a record was made for another tag.
    pub missing_for: Option<Duration>,
    /// What outlives this run.
    pub memory: Memory,
    /// How long `missing_for` must be, normally [`CONFIRM_AFTER`].
    pub confirm_after: Duration,
}

/// A registry's answer to a question for a manifest by its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manifest {
    /// It is there.
    Exists,
    /// The registry says that there is none (404).
    Missing,
    /// Anything else: no access, an error, no answer.
    Unclear,
}

/// Whether the time of a first "not found" can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The process stays, or a state folder is kept.
    Kept,
    /// The run forgets everything at its end, so it can never confirm a removal.
    None,
}

/// What to do with a policy's new choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Take the winner.
    Move(Cause),
    /// Ask the registry for the manifest of the previous tag, then decide again.
    AskForManifest,
    /// Keep the previous tag, and say so.
    Hold(Hold),
}

/// Why the winner may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There was no choice before.
    First,
    /// The winner does not rank below the previous tag.
    NotOlder,
    /// The spec, the image or the exclusions have changed.
    Changed,
    /// The previous tag has no rank under the current spec.
    NoRank,
    /// The annotation allows it.
    Allowed,
    /// The previous tag left the registry, confirmed by a later listing.
    Gone,
}

/// A choice that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Why it is held.
    pub reason: HoldReason,
    /// When to list the tags again at the latest; without it the usual interval is soon enough.
    pub ask_again: Option<Duration>,
    /// What to do with the recorded time of the first "not found".
    pub record: Record,
}

/// Why a choice is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// The listing lacks the previous tag, and its manifest is there.
    StillThere,
    /// The registry's answer says nothing about the previous tag.
    Unclear,
    /// The previous tag is not found; a later listing must confirm it.
    Unconfirmed,
    /// The previous tag is not found, and this run keeps nothing for a later one to confirm it.
    Unconfirmable,
}

/// What to do with the recorded time of the first "not found".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// Record now.
    Set,
    /// Leave it as it is.
    Keep,
    /// Drop it.
    Clear,
}

/// Decides whether a policy may take its new winner.
pub fn decide(policy: &Policy, exclusions: &Exclusions, situation: &Situation<'_>) -> Decision {
    let Some(previous) = situation.previous else { return Decision::Move(Cause::First) };
    if previous == situation.winner {
        return Decision::Move(Cause::NotOlder);
    }
    if situation.changed {
        return Decision::Move(Cause::Changed);
    }
    if exclusions.excludes(previous) {
        return Decision::Move(Cause::NoRank);
    }
    match policy.compare(situation.winner, previous) {
        None => Decision::Move(Cause::NoRank),
        Some(Ordering::Equal | Ordering::Greater) => Decision::Move(Cause::NotOlder),
        Some(Ordering::Less) if situation.allow_older == Some(situation.winner) => {
            Decision::Move(Cause::Allowed)
        }
        Some(Ordering::Less) => decide_older(situation),
    }
}

/// Decides about a winner that ranks below the previous tag.
fn decide_older(situation: &Situation<'_>) -> Decision {
    let hold = |reason, ask_again, record| Decision::Hold(Hold { reason, ask_again, record });
    match (situation.manifest, situation.memory) {
        (None, _) => Decision::AskForManifest,
        (Some(Manifest::Exists), _) => hold(HoldReason::StillThere, None, Record::Clear),
        (Some(Manifest::Unclear), _) => hold(HoldReason::Unclear, None, Record::Keep),
        (Some(Manifest::Missing), Memory::None) => {
            hold(HoldReason::Unconfirmable, None, Record::Keep)
        }
        (Some(Manifest::Missing), Memory::Kept) => match situation.missing_for {
            None => hold(HoldReason::Unconfirmed, Some(situation.confirm_after), Record::Set),
            Some(waited) if waited < situation.confirm_after => {
                let rest = situation.confirm_after - waited;
                hold(HoldReason::Unconfirmed, Some(rest), Record::Keep)
            }
            Some(_) => Decision::Move(Cause::Gone),
        },
    }
}

/// Returns the highest-ranking of several tags, or nothing if none has a rank.
///
/// This stands in for the previous choice when no state is kept: the tags are those that a policy's
/// markers hold. Tags of equal rank are one as good as the other; the first is returned.
pub fn highest<'a>(
    policy: &Policy,
    exclusions: &Exclusions,
    tags: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    tags.into_iter()
        // Compared with itself, a tag without a rank gives nothing.
        .filter(|tag| !exclusions.excludes(tag) && policy.compare(tag, tag).is_some())
        .reduce(|highest, tag| match policy.compare(tag, highest) {
            Some(Ordering::Greater) => tag,
            _ => highest,
        })
}

impl Decision {
    /// Returns what to do with the recorded time of the first "not found".
    pub fn record(&self) -> Record {
        match self {
            Decision::Move(_) => Record::Clear,
            Decision::AskForManifest => Record::Keep,
            Decision::Hold(hold) => hold.record,
        }
    }

    /// Returns what a person should read about this decision, or nothing for a move like any other.
    pub fn message(&self, previous: &str, winner: &str) -> Option<String> {
        match self {
            Decision::Hold(hold) => Some(format!(
                "holding {previous}: the latest listed tag {winner} ranks below it, and {}; to move \
                 now, annotate the policy with {}={winner}{}",
                hold.reason,
                api::annotation::ALLOW_OLDER,
                hold.reason.hint(),
            )),
            Decision::Move(Cause::Gone) => Some(format!("{previous} left the registry")),
            Decision::Move(Cause::Allowed) => {
                Some(format!("moved below {previous} as {} allows", api::annotation::ALLOW_OLDER))
            }
            Decision::Move(Cause::First | Cause::NotOlder | Cause::Changed | Cause::NoRank)
            | Decision::AskForManifest => None,
        }
    }
}

impl HoldReason {
    fn hint(self) -> &'static str {
        match self {
            HoldReason::Unconfirmable => {
                ", or keep state between runs with --state so that a later run can confirm"
            }
            HoldReason::StillThere | HoldReason::Unclear | HoldReason::Unconfirmed => "",
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HoldReason::StillThere => "the registry still has it, though it is not listed",
            HoldReason::Unclear => "the registry does not say whether it still has it",
            HoldReason::Unconfirmed => {
                "the registry does not have it, which a later complete listing must confirm"
            }
            HoldReason::Unconfirmable => {
                "the registry does not have it, which a run without kept state cannot confirm"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::image::{ImagePolicyChoice, SemVerPolicy};
    use expect_test::{Expect, expect};

    fn policy() -> Policy {
        let semver = Some(SemVerPolicy { range: ">=1.0.0".to_owned() });
        let choice = ImagePolicyChoice { semver, ..ImagePolicyChoice::default() };
        Policy::new(&choice, None).expect("a valid policy")
    }

    fn exclusions() -> Exclusions {
        Exclusions::new(&["^9".to_owned()]).expect("a valid pattern")
    }

    const OLDER: Situation<'_> = Situation {
        previous: Some("1.5.0"),
        changed: false,
        winner: "1.4.0",
        allow_older: None,
        manifest: None,
        missing_for: None,
        memory: Memory::Kept,
        confirm_after: CONFIRM_AFTER,
    };

    #[track_caller]
    fn check(situation: Situation<'_>, expected: Decision) {
        assert_eq!(decide(&policy(), &exclusions(), &situation), expected, "{situation:?}");
    }

    #[test]
    fn only_a_lower_winner_is_looked_at_twice() {
        for (previous, winner, expected) in [
            (None, "1.4.0", Decision::Move(Cause::First)),
            (Some("1.5.0"), "1.5.0", Decision::Move(Cause::NotOlder)),
            (Some("1.5.0"), "1.6.0", Decision::Move(Cause::NotOlder)),
            (Some("1.5.0"), "v1.5.0", Decision::Move(Cause::NotOlder)),
            (Some("v1.5.0"), "1.5.0", Decision::Move(Cause::NotOlder)),
            (Some("1.5.0"), "1.4.0", Decision::AskForManifest),
            // No rank: not a version, out of range, excluded.
            (Some("branch-dev"), "1.4.0", Decision::Move(Cause::NoRank)),
            (Some("0.9.0"), "1.4.0", Decision::Move(Cause::NoRank)),
            (Some("9.0.0"), "1.4.0", Decision::Move(Cause::NoRank)),
        ] {
            check(Situation { previous, winner, ..OLDER }, expected);
        }
    }

    /// Every combination of the inputs that matter to an older winner.
    #[test]
    fn an_older_winner_is_taken_only_on_purpose_or_when_a_removal_is_confirmed() {
        let second = Duration::from_secs(1);
        let mut n_moves = 0;
        for changed in [false, true] {
            for allow_older in [None, Some("1.4.0"), Some("1.3.0")] {
                for manifest in
                    [None, Some(Manifest::Exists), Some(Manifest::Missing), Some(Manifest::Unclear)]
                {
                    for missing_for in
                        [None, Some(Duration::ZERO), Some(59 * second), Some(60 * second)]
                    {
                        for memory in [Memory::Kept, Memory::None] {
                            let situation = Situation {
                                changed,
                                allow_older,
                                manifest,
                                missing_for,
                                memory,
                                ..OLDER
                            };
                            let decision = decide(&policy(), &exclusions(), &situation);
                            let moves = matches!(decision, Decision::Move(_));
                            let confirmed = manifest == Some(Manifest::Missing)
                                && missing_for == Some(60 * second)
                                && memory == Memory::Kept;
                            let on_purpose = changed || allow_older == Some("1.4.0");
                            assert_eq!(moves, on_purpose || confirmed, "{situation:?}");
                            n_moves += usize::from(moves);
                            let asks = !on_purpose && manifest.is_none();
                            assert_eq!(decision == Decision::AskForManifest, asks);
                        }
                    }
                }
            }
        }
        assert_eq!(n_moves, 96 + 32 + 2);
    }

    #[test]
    fn a_removal_is_recorded_waited_for_and_confirmed() {
        let missing = Situation { manifest: Some(Manifest::Missing), ..OLDER };
        let hold = |reason, seconds: Option<u64>, record| {
            Decision::Hold(Hold { reason, ask_again: seconds.map(Duration::from_secs), record })
        };
        let waited = |seconds| Some(Duration::from_secs(seconds));
        check(missing, hold(HoldReason::Unconfirmed, Some(60), Record::Set));
        let later = Situation { missing_for: waited(20), ..missing };
        check(later, hold(HoldReason::Unconfirmed, Some(40), Record::Keep));
        check(Situation { missing_for: waited(61), ..missing }, Decision::Move(Cause::Gone));
        // It came back, or the registry is in trouble.
        let exists = Situation { manifest: Some(Manifest::Exists), ..later };
        check(exists, hold(HoldReason::StillThere, None, Record::Clear));
        let unclear = Situation { manifest: Some(Manifest::Unclear), ..later };
        check(unclear, hold(HoldReason::Unclear, None, Record::Keep));
        let forgetful = Situation { memory: Memory::None, missing_for: waited(99), ..missing };
        check(forgetful, hold(HoldReason::Unconfirmable, None, Record::Keep));
    }

    #[test]
    fn the_highest_marked_tag_stands_in_for_the_previous_choice() {
        for (tags, expected) in [
            (vec!["1.2.0", "branch-dev", "1.10.0", "9.9.9", "0.1.0"], Some("1.10.0")),
            (vec!["v1.2.0", "1.2.0"], Some("v1.2.0")),
            (vec!["branch-dev", "9.0.0"], None),
            (vec![], None),
        ] {
            assert_eq!(highest(&policy(), &exclusions(), tags), expected);
        }
    }

    #[test]
    fn a_held_choice_says_why_and_what_to_do() {
        let missing = Situation { manifest: Some(Manifest::Missing), ..OLDER };
        check_message(
            Situation { memory: Memory::None, ..missing },
            expect![
                "holding 1.5.0: the latest listed tag 1.4.0 ranks below it, and the registry does not have it, which a run without kept state cannot confirm; to move now, annotate the policy with tagtide.dev/allow-older=1.4.0, or keep state between runs with --state so that a later run can confirm"
            ],
        );
        check_message(
            Situation { manifest: Some(Manifest::Exists), ..OLDER },
            expect![
                "holding 1.5.0: the latest listed tag 1.4.0 ranks below it, and the registry still has it, though it is not listed; to move now, annotate the policy with tagtide.dev/allow-older=1.4.0"
            ],
        );
        check_message(
            Situation { missing_for: Some(CONFIRM_AFTER), ..missing },
            expect!["1.5.0 left the registry"],
        );
        check_message(Situation { winner: "1.6.0", ..OLDER }, expect!["-"]);
    }

    #[track_caller]
    fn check_message(situation: Situation<'_>, expected: Expect) {
        let decision = decide(&policy(), &exclusions(), &situation);
        let message = decision.message(situation.previous.unwrap_or("-"), situation.winner);
        expected.assert_eq(message.as_deref().unwrap_or("-"));
    }
}
