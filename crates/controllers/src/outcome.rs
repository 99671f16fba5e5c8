//! What a reconciliation ends with, and what that means for conditions, events and the next run.
//!
//! The rules are Flux's (kstatus): an object is Ready, or Stalled until somebody changes it, or
//! Reconciling with another attempt to come. One difference: a stalled object's Ready always shows
//! the reason of the stall, never one that an earlier run left.

use std::{collections::BTreeMap, error::Error, fmt, time::Duration};

use api::condition::{self, Reason, Statement, Truth, Type};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    events::{Event, Level},
    queue::Next,
};

/// A reconciliation that reached what the spec asks for.
#[derive(Clone, Debug, Default)]
pub struct Success {
    /// The message of `Ready`.
    pub message: String,
    /// When to look again without being asked.
    pub requeue_after: Option<Duration>,
    /// News that are told even though `Ready` did not change.
    pub event: Option<String>,
    /// Why they are told, if not because it succeeded.
    pub event_reason: Option<Reason>,
    /// What they carry for machines.
    pub annotations: BTreeMap<String, String>,
}

/// A reconciliation that did not.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happens next.
    pub response: Response,
    /// The reason of `Ready`.
    pub reason: Reason,
    /// The message of `Ready`.
    pub message: String,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Only a change of the object helps.
    Stall,
    /// Something else must come first; look again after this time.
    Wait(Duration),
    /// Try again, later and later.
    Retry,
    /// The process is stopping: nothing is written, and the next one tries again.
    Abandon,
}

/// A condition beside Ready, Reconciling and Stalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// Its type.
    pub type_: Type,
    /// Its reason.
    pub reason: Reason,
    /// Its message.
    pub message: String,
    /// Whether setting or changing it is news of its own.
    pub told: bool,
}

/// Says what the failure of a step means.
pub trait OrFail<T> {
    /// No retry helps: the object itself must change.
    fn stalled(self, reason: Reason) -> Result<T, Failure>;
    /// Something else must come first.
    fn waiting(self, reason: Reason, after: Duration) -> Result<T, Failure>;
    /// A retry may help.
    fn retry(self, reason: Reason) -> Result<T, Failure>;
}

/// Puts a sentence before an error.
pub trait Saying<T, E> {
    /// Returns the error under `sentence`; printed as a chain it reads `sentence: error`.
    fn saying(self, sentence: impl Into<String>) -> Result<T, Said<E>>;
}

/// An error under a sentence.
#[derive(Debug)]
pub struct Said<E> {
    sentence: String,
    source: E,
}

/// An error that is only a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Sentence(pub String);

impl Success {
    /// Returns a success that says `message` and needs no further run.
    pub fn new(message: impl Into<String>) -> Success {
        Success { message: message.into(), ..Success::default() }
    }

    /// Looks again after `delay`.
    pub fn again_after(self, delay: Duration) -> Success {
        Success { requeue_after: Some(delay), ..self }
    }
}

impl Failure {
    /// Returns a failure that says `error` and all its causes.
    pub fn new(response: Response, reason: Reason, error: &(dyn Error + 'static)) -> Failure {
        Failure { response, reason, message: chain(error) }
    }
}

impl<T, E: Error + 'static> OrFail<T> for Result<T, E> {
    fn stalled(self, reason: Reason) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Response::Stall, reason, &error))
    }

    fn waiting(self, reason: Reason, after: Duration) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Response::Wait(after), reason, &error))
    }

    fn retry(self, reason: Reason) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Response::Retry, reason, &error))
    }
}

impl<T, E: Error + 'static> Saying<T, E> for Result<T, E> {
    fn saying(self, sentence: impl Into<String>) -> Result<T, Said<E>> {
        self.map_err(|source| Said { sentence: sentence.into(), source })
    }
}

impl<E> fmt::Display for Said<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl<E: Error + 'static> Error for Said<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Returns an error and its causes, `: `-joined. The chain is bounded: a cause may not be its own.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    const CAUSES_MAX: usize = 16;
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(error) = cause else { break };
        let sentence = error.to_string();
        if !sentence.is_empty() {
            text = format!("{text}: {sentence}");
        }
        cause = error.source();
    }
    text
}

/// The object and moment that conditions are set for.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// `metadata.generation` of what is reconciled.
    pub generation: i64,
    /// Now.
    pub now: Timestamp,
}

/// Marks conditions as being worked on; `unready` also takes a good Ready away until the end.
pub fn begin(conditions: &mut Vec<Condition>, message: &str, unready: bool, at: Moment) {
    condition::remove(conditions, Type::Stalled);
    set(conditions, Type::Reconciling, Truth::True, Reason::Progressing, message, at);
    let is_open = condition::find(conditions, Type::Ready).is_none()
        || condition::is(conditions, Type::Ready, Truth::Unknown);
    if unready || is_open {
        set(conditions, Type::Ready, Truth::Unknown, Reason::Progressing, message, at);
    }
}

/// How a run ended, for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// What the queue is told.
    pub next: Next,
    /// Whether `status.observedGeneration` becomes the generation of this run.
    pub observed: bool,
}

/// Writes the end of a run into its conditions. `stage` is the last progress message.
pub fn conclude(
    conditions: &mut Vec<Condition>,
    outcome: &Result<Success, Failure>,
    stage: &str,
    at: Moment,
) -> Conclusion {
    match outcome {
        Ok(success) => {
            condition::remove(conditions, Type::Stalled);
            condition::remove(conditions, Type::Reconciling);
            set(conditions, Type::Ready, Truth::True, Reason::Succeeded, &success.message, at);
            let next = success.requeue_after.map_or(Next::Done, Next::After);
            Conclusion { next, observed: true }
        }
        Err(failure) => fail(conditions, failure, stage, at),
    }
}

fn fail(conditions: &mut Vec<Condition>, failure: &Failure, stage: &str, at: Moment) -> Conclusion {
    let reason = failure.reason;
    set(conditions, Type::Ready, Truth::False, reason, &failure.message, at);
    if failure.response == Response::Stall {
        condition::remove(conditions, Type::Reconciling);
        set(conditions, Type::Stalled, Truth::True, reason, &failure.message, at);
        return Conclusion { next: Next::Done, observed: true };
    }
    condition::remove(conditions, Type::Stalled);
    let with_retry = Reason::ProgressingWithRetry;
    set(conditions, Type::Reconciling, Truth::True, with_retry, stage, at);
    let next = match failure.response {
        Response::Wait(after) => Next::After(after),
        Response::Retry | Response::Stall | Response::Abandon => Next::Retry,
    };
    Conclusion { next, observed: false }
}

/// Gives conditions that end as the API has them their old times back: what a run said meanwhile,
/// and never wrote, was no transition.
pub fn keep_times(conditions: &mut [Condition], written: &[Condition]) {
    for condition in conditions {
        let same = written.iter().find(|other| {
            (&other.type_, &other.status, &other.reason, &other.message)
                == (&condition.type_, &condition.status, &condition.reason, &condition.message)
        });
        if let Some(same) = same {
            condition.last_transition_time = same.last_transition_time.clone();
        }
    }
}

/// Returns what a run has to tell: a change of Ready or of its message, any failure, and what the
/// run itself calls news. Nothing changed, nothing told.
pub fn news(
    before: &[Condition],
    after: &[Condition],
    outcome: &Result<Success, Failure>,
    extras: &[Extra],
) -> Vec<Event> {
    let mut news = Vec::new();
    let ready_before = condition::find(before, Type::Ready);
    match outcome {
        Err(failure) => news.push(Event {
            level: Level::Warning,
            reason: failure.reason.as_str().to_owned(),
            message: failure.message.clone(),
        }),
        Ok(success) => {
            let is_news = success.event.is_some()
                || ready_before
                    .is_none_or(|ready| ready.status != "True" || ready.message != success.message);
            if is_news {
                news.push(Event {
                    level: Level::Normal,
                    reason: success.event_reason.unwrap_or(Reason::Succeeded).as_str().to_owned(),
                    message: success.event.as_ref().unwrap_or(&success.message).clone(),
                });
            }
        }
    }
    let changed = |extra: &&Extra| {
        let state = |conditions| {
            condition::find(conditions, extra.type_)
                .map(|condition: &Condition| (condition.reason.clone(), condition.message.clone()))
        };
        extra.told && state(before) != state(after)
    };
    news.extend(extras.iter().filter(changed).map(|extra| Event {
        level: Level::Warning,
        reason: extra.reason.as_str().to_owned(),
        message: extra.message.clone(),
    }));
    news
}

/// Sets a condition; its time changes only with its truth, reason or message.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: Type,
    truth: Truth,
    reason: Reason,
    message: &str,
    at: Moment,
) {
    let statement = Statement { type_, truth, reason, message };
    condition::set(conditions, &statement, Some(at.generation), at.now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn at() -> Moment {
        Moment { generation: 2, now: Timestamp::UNIX_EPOCH }
    }

    fn conditions(text: &str) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let type_ = match words[0] {
                "Ready" => Type::Ready,
                "Reconciling" => Type::Reconciling,
                "Stalled" => Type::Stalled,
                _ => Type::Held,
            };
            let truth = match words[1] {
                "True" => Truth::True,
                "False" => Truth::False,
                _ => Truth::Unknown,
            };
            let reason = match words[2] {
                "Succeeded" => Reason::Succeeded,
                "Progressing" => Reason::Progressing,
                "ImageURLInvalid" => Reason::ImageUrlInvalid,
                "ReadOperationFailed" => Reason::ReadOperationFailed,
                _ => Reason::TagStillPresent,
            };
            set(&mut conditions, type_, truth, reason, words[3], at());
        }
        conditions
    }

    fn shown(conditions: &[Condition]) -> String {
        let line = |c: &Condition| format!("{} {} {} {}\n", c.type_, c.status, c.reason, c.message);
        conditions.iter().map(line).collect()
    }

    fn success() -> Result<Success, Failure> {
        Ok(Success::new("all is well").again_after(Duration::from_secs(60)))
    }

    fn failure(response: Response) -> Result<Success, Failure> {
        let error = Sentence("no such image".to_owned());
        Err(Failure::new(response, Reason::ImageUrlInvalid, &error))
    }

    #[track_caller]
    fn check(before: &str, outcome: Result<Success, Failure>, expected: Expect) {
        let before = conditions(before);
        let mut after = before.clone();
        begin(&mut after, "scanning: first scan", false, at());
        let conclusion = conclude(&mut after, &outcome, "scanning: first scan", at());
        let news = news(&before, &after, &outcome, &[]);
        let told: String = news
            .iter()
            .map(|event| format!("{:?}: {} {}\n", event.level, event.reason, event.message))
            .collect();
        let Conclusion { next, observed } = conclusion;
        expected.assert_eq(&format!("{}{told}{next:?} observed={observed}\n", shown(&after)));
    }

    #[test]
    fn a_first_success_is_ready_and_told() {
        check(
            "",
            success(),
            expect![[r#"
                Ready True Succeeded all is well
                Normal: Succeeded all is well
                After(60s) observed=true
            "#]],
        );
    }

    #[test]
    fn a_success_that_changes_nothing_is_not_told() {
        check(
            "Ready True Succeeded all is well",
            success(),
            expect![[r#"
                Ready True Succeeded all is well
                After(60s) observed=true
            "#]],
        );
    }

    #[test]
    fn a_success_with_another_message_is_told() {
        check(
            "Ready True Succeeded all was well",
            success(),
            expect![[r#"
                Ready True Succeeded all is well
                Normal: Succeeded all is well
                After(60s) observed=true
            "#]],
        );
    }

    #[test]
    fn a_success_ends_a_stall_and_keeps_conditions_of_the_kinds_own() {
        check(
            "Stalled True ImageURLInvalid bad
             Ready False ImageURLInvalid bad
             Held True TagStillPresent held",
            success(),
            expect![[r#"
                Ready True Succeeded all is well
                Held True TagStillPresent held
                Normal: Succeeded all is well
                After(60s) observed=true
            "#]],
        );
    }

    #[test]
    fn a_failure_with_retry_stays_reconciling_with_the_stage_it_reached() {
        check(
            "Ready True Succeeded all is well",
            failure(Response::Retry),
            expect![[r#"
                Reconciling True ProgressingWithRetry scanning: first scan
                Ready False ImageURLInvalid no such image
                Warning: ImageURLInvalid no such image
                Retry observed=false
            "#]],
        );
    }

    #[test]
    fn waiting_is_a_failure_with_a_time() {
        check(
            "",
            failure(Response::Wait(Duration::from_secs(30))),
            expect![[r#"
                Reconciling True ProgressingWithRetry scanning: first scan
                Ready False ImageURLInvalid no such image
                Warning: ImageURLInvalid no such image
                After(30s) observed=false
            "#]],
        );
    }

    #[test]
    fn a_stall_shows_its_own_reason_whatever_failed_before() {
        check(
            "Reconciling True Progressing again
             Ready False ReadOperationFailed an older failure",
            failure(Response::Stall),
            expect![[r#"
                Stalled True ImageURLInvalid no such image
                Ready False ImageURLInvalid no such image
                Warning: ImageURLInvalid no such image
                Done observed=true
            "#]],
        );
    }

    #[test]
    fn beginning_takes_ready_away_only_where_it_is_open_or_must_be() {
        for (before, unready, ready) in [
            ("", false, "Unknown"),
            ("Ready True Succeeded fine", false, "True"),
            ("Ready False ImageURLInvalid bad", false, "False"),
            ("Ready True Succeeded fine", true, "Unknown"),
        ] {
            let mut conditions = conditions(before);
            begin(&mut conditions, "work", unready, at());
            let status = condition::find(&conditions, Type::Ready).map(|c| c.status.as_str());
            assert_eq!(status, Some(ready), "{before:?} {unready}");
        }
    }

    #[test]
    fn a_chain_says_every_layer_once() {
        let error: Result<(), _> = Err(Sentence("connection refused".to_owned()));
        let error = error.saying("cannot list tags").saying("scan failed");
        let failure = error.retry(Reason::ReadOperationFailed).expect_err("it failed");
        assert_eq!(failure.message, "scan failed: cannot list tags: connection refused");
    }

    #[test]
    fn a_condition_of_the_kinds_own_is_told_when_it_changes() {
        let held = conditions("Ready True Succeeded m\nHeld True TagStillPresent held");
        let extra = Extra {
            type_: Type::Held,
            reason: Reason::TagStillPresent,
            message: "held".to_owned(),
            told: true,
        };
        let outcome = Ok(Success::new("m"));
        let extras = [extra];
        assert_eq!(news(&held, &held, &outcome, &extras), []);
        let before = conditions("Ready True Succeeded m");
        let told = news(&before, &held, &outcome, &extras);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].message, "held");
    }
}
