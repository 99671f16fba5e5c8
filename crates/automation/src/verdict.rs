//! A verdict with a reason for every tag of a listing.

use crate::policy::Offenders;
use crate::policy::{
    Choice, Exclusions, NoRank, NumberError, Order, Policy, Rank, Rule, SelectError,
};
use api::tag::TagList;
use std::borrow::Cow;
use version::{Version, VersionError};

/// What became of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An exclusion of the repository dropped it.
    Excluded,
    /// It does not match the filter of the policy.
    Filtered,
    /// Its value is not a version.
    NotVersion,
    /// Its value is a version outside the range.
    OutOfRange,
    /// Its value is not a number.
    NotNumber,
    /// It could be chosen, and others go before it.
    Eligible,
    /// It would be chosen if the winner were not there.
    RunnerUp,
    /// It is chosen.
    Winner,
}

/// A policy's judgement of a listing. It holds the listing's tags in their order.
#[derive(Debug)]
pub struct Judgement<'t> {
    policy: &'t Policy,
    exclusions: &'t Exclusions,
    /// The tags with what became of them.
    pub tags: Vec<Judged<'t>>,
    /// The chosen tag.
    pub winner: Option<Choice<'t>>,
    /// The tag that would be chosen if the winner were not there.
    pub runner_up: Option<Choice<'t>>,
    /// Why none is chosen.
    pub error: Option<SelectError>,
}

/// A tag and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged<'t> {
    /// The tag.
    pub tag: &'t str,
    /// The value that is compared; nothing if the tag does not come so far.
    pub value: Option<Cow<'t, str>>,
    /// What became of it.
    pub verdict: Verdict,
    cause: Cause,
}

/// What a reason is made of beside the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    None,
    Version(VersionError),
    Number(NumberError),
}

impl Verdict {
    /// Returns the verdict in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Excluded => "excluded",
            Verdict::Filtered => "filtered",
            Verdict::NotVersion => "not a version",
            Verdict::OutOfRange => "out of range",
            Verdict::NotNumber => "not a number",
            Verdict::Eligible => "eligible",
            Verdict::RunnerUp => "runner-up",
            Verdict::Winner => "winner",
        }
    }
}

impl Policy {
    /// Judges every tag of a listing, where [`Policy::latest`] only chooses.
    ///
    /// The winner and the error are those of `latest` over the tags that are not excluded.
    pub fn judge<'t>(&'t self, tags: &'t TagList, exclusions: &'t Exclusions) -> Judgement<'t> {
        let mut judged: Vec<_> = tags.iter().map(|tag| self.judge_tag(tag, exclusions)).collect();
        let error = self.error(&judged);
        let (mut winner, mut runner_up) = (None, None);
        if error.is_none() {
            winner = self.first(&judged, None);
            runner_up = self.first(&judged, winner.as_ref());
        }
        mark(&mut judged, runner_up.as_ref(), Verdict::RunnerUp);
        mark(&mut judged, winner.as_ref(), Verdict::Winner);
        Judgement { policy: self, exclusions, tags: judged, winner, runner_up, error }
    }

    fn judge_tag<'t>(&self, tag: &'t str, exclusions: &Exclusions) -> Judged<'t> {
        let judged = |value, verdict, cause| Judged { tag, value, verdict, cause };
        if exclusions.excludes(tag) {
            return judged(None, Verdict::Excluded, Cause::None);
        }
        let Some(Choice { value, .. }) = self.choice(tag) else {
            return judged(None, Verdict::Filtered, Cause::None);
        };
        let (verdict, cause) = match self.rule.rank(&value) {
            Ok(_) => (Verdict::Eligible, Cause::None),
            Err(NoRank::OutOfRange) => (Verdict::OutOfRange, Cause::None),
            Err(NoRank::NotVersion(error)) => (Verdict::NotVersion, Cause::Version(error)),
            Err(NoRank::NotNumber(error)) => (Verdict::NotNumber, Cause::Number(error)),
        };
        judged(Some(value), verdict, cause)
    }

    /// Returns why nothing can be chosen.
    fn error(&self, judged: &[Judged<'_>]) -> Option<SelectError> {
        let values = |verdict: Verdict| {
            judged
                .iter()
                .filter(move |judged| judged.verdict == verdict)
                .map(|judged| &judged.value)
        };
        let offenders: Vec<_> = values(Verdict::NotNumber).flatten().cloned().collect();
        if !offenders.is_empty() {
            return Some(SelectError::NotNumbers(Offenders::new(offenders)));
        }
        if values(Verdict::Eligible).next().is_some() {
            return None;
        }
        let any = judged.iter().any(|judged| judged.value.is_some());
        Some(if any { SelectError::NoVersion } else { SelectError::Empty })
    }

    /// Returns the first choice of all eligible tags but one.
    fn first<'t>(&self, judged: &[Judged<'t>], but: Option<&Choice<'t>>) -> Option<Choice<'t>> {
        let mut first: Option<(Rank<'_>, &Judged<'t>)> = None;
        for judged in judged {
            if judged.verdict != Verdict::Eligible || but.is_some_and(|but| but.tag == judged.tag) {
                continue;
            }
            let Some(Ok(rank)) = judged.value.as_deref().map(|value| self.rule.rank(value)) else {
                continue;
            };
            if first.as_ref().is_none_or(|(best_rank, best)| {
                self.prefer((&rank, &judged.choice()), (best_rank, &best.choice())).is_gt()
            }) {
                first = Some((rank, judged));
            }
        }
        first.map(|(_, judged)| judged.choice())
    }
}

impl<'t> Judged<'t> {
    fn choice(&self) -> Choice<'t> {
        let value = self.value.clone().unwrap_or_default();
        Choice { tag: self.tag, value }
    }
}

impl Judgement<'_> {
    /// Returns why a tag of this judgement has its verdict, as a sentence without a full stop.
    pub fn reason(&self, judged: &Judged<'_>) -> String {
        let value = judged.value.as_deref().unwrap_or_default();
        match judged.verdict {
            Verdict::Excluded => {
                let pattern = self.exclusions.excluded_by(judged.tag).unwrap_or_default();
                format!("matches the exclusion `{pattern}` of the repository")
            }
            Verdict::Filtered => {
                let pattern = self.policy.filter.as_ref().map_or("", |filter| filter.pattern());
                format!("does not match the pattern `{pattern}`")
            }
            Verdict::NotVersion => match &judged.cause {
                Cause::Version(VersionError::Invalid) if value.matches('.').count() < 2 => {
                    format!("`{value}` is not a version: it needs three parts with dots between")
                }
                Cause::Version(error) => format!("`{value}` is not a version: {error}"),
                _ => format!("`{value}` is not a version"),
            },
            Verdict::OutOfRange => self.out_of_range(value),
            Verdict::NotNumber => match &judged.cause {
                Cause::Number(error) => format!("`{value}` is not a number: {error}"),
                _ => format!("`{value}` is not a number"),
            },
            Verdict::Eligible => self.eligible(value),
            Verdict::RunnerUp => format!("`{value}` is next after the winner"),
            Verdict::Winner => self.won(value),
        }
    }

    fn out_of_range(&self, value: &str) -> String {
        let Rule::SemVer { text, range } = &self.policy.rule else {
            return String::new();
        };
        let release = |version: &Version<'_>| {
            let numbers = format!("{}.{}.{}", version.major(), version.minor(), version.patch());
            Version::parse(&numbers).is_ok_and(|release| range.check(&release))
        };
        match Version::parse_tag(value) {
            Ok(version) if !version.prerelease().is_empty() && release(&version) => {
                format!("`{value}` is a prerelease, and the range `{text}` does not admit it")
            }
            _ => format!("`{value}` is not in the range `{text}`"),
        }
    }

    fn eligible(&self, value: &str) -> String {
        match (&self.error, &self.winner) {
            (Some(_), _) => {
                format!("`{value}` could be chosen, if other tags did not fail the policy")
            }
            (None, Some(winner)) if winner.value == value => {
                format!("`{value}` is the winner's value too, and `{}` goes before it", winner.tag)
            }
            (None, Some(winner)) => format!("`{}` goes before `{value}`", winner.value),
            (None, None) => format!("`{value}` could be chosen"),
        }
    }

    fn won(&self, value: &str) -> String {
        match &self.policy.rule {
            Rule::SemVer { text, .. } => {
                format!("`{value}` is the highest version in the range `{text}`")
            }
            Rule::Alphabetical(Order::Ascending) => format!("`{value}` is the last by letters"),
            Rule::Alphabetical(Order::Descending) => format!("`{value}` is the first by letters"),
            Rule::Numerical(Order::Ascending) => format!("`{value}` is the highest number"),
            Rule::Numerical(Order::Descending) => format!("`{value}` is the lowest number"),
        }
    }
}

/// Gives every place of a chosen tag its verdict: a registry may list a tag twice.
fn mark(judged: &mut [Judged<'_>], choice: Option<&Choice<'_>>, verdict: Verdict) {
    let Some(choice) = choice else { return };
    for judged in judged.iter_mut().filter(|judged| judged.tag == choice.tag) {
        if judged.verdict == Verdict::Eligible {
            judged.verdict = verdict;
        }
    }
}
