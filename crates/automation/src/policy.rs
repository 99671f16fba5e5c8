//! Chooses the latest tag that an ImagePolicy allows.
//!
//! The choice never depends on the order of the tags. Flux decides ties by the order of its list,
//! which is descending by bytes; what wins there wins here whatever the order:
//!
//! * versions of one precedence: the last by bytes, so `v1.0.0` before `1.0.0`;
//! * equal numbers: the first by bytes, so `1.0` before `1.00`;
//! * tags from which the same value was extracted: the first by bytes.

mod alphabetical;
mod best;
mod filter;
mod numerical;
mod selection;
mod semver;

pub use alphabetical::Order;
pub use filter::{ExclusionError, Exclusions};
pub use numerical::{EXPONENT_DIGITS_MAX, HEX_DIGITS_MAX, HEX_EXPONENT_MAX, Number, NumberError};
pub use selection::Selection;

use api::image::{ImagePolicyChoice, TagFilter};
use api::tag::TagList;
use filter::Filter;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use version::{Constraint, ConstraintError, Version, VersionError};

/// A policy that is valid.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) rule: Rule,
    pub(crate) filter: Option<Filter>,
}

/// A tag that was chosen, and the value by which it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<'t> {
    /// The tag.
    pub tag: &'t str,
    /// What was compared: the tag itself, or what the filter extracted from it.
    pub value: Cow<'t, str>,
}

/// Why a policy is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No way to choose is named.
    #[error("invalid policy: given ImagePolicyChoice object is invalid")]
    NoRule,
    /// The range of versions cannot be read.
    #[error("invalid policy: {0}")]
    Range(ConstraintError),
    /// The order is neither ascending nor descending; the text is in capitals.
    #[error("invalid policy: invalid order argument provided: '{0}', must be one of: ASC, DESC")]
    Order(String),
    /// The pattern of the filter is not a regular expression.
    #[error("failed to filter tags: invalid regular expression pattern '{pattern}': {error}")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        error: golang::regexp::Error,
    },
}

/// Why a policy chooses none of the tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No tag passed the filter.
    #[error("version list argument cannot be empty")]
    Empty,
    /// No tag is a version in the range.
    #[error("unable to determine latest version from provided list")]
    NoVersion,
    /// Values that should be compared by number are no numbers.
    #[error("failed to parse invalid numeric value {0}")]
    NotNumbers(Offenders),
}

/// Values that are no numbers, each once, in descending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offenders {
    /// The first [`OFFENDERS_NAMED_MAX`] of them.
    pub named: Vec<String>,
    /// How many there are besides.
    pub n_more: usize,
}

/// The most values that an error names: more would hide what to do.
pub const OFFENDERS_NAMED_MAX: usize = 20;

/// How the tags that pass the filter are ranked.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    SemVer { range: Constraint, text: String },
    Alphabetical(Order),
    Numerical(Order),
}

/// What a value is ranked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rank<'v> {
    Version(Version<'v>),
    Text(&'v str),
    Number(Number),
}

/// Why a value has no rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoRank {
    NotVersion(VersionError),
    OutOfRange,
    NotNumber(NumberError),
}

impl Policy {
    /// Checks and compiles the `policy` and `filterTags` of an ImagePolicy.
    ///
    /// # Errors
    /// Flux's, with its texts. Like Flux it takes the first of semver, alphabetical, numerical
    /// that is set.
    pub fn new(
        choice: &ImagePolicyChoice,
        filter: Option<&TagFilter>,
    ) -> Result<Policy, PolicyError> {
        let rule = Rule::new(choice)?;
        let filter = filter.map(Filter::new).transpose()?;
        Ok(Policy { rule, filter })
    }

    /// Returns the tag that this policy prefers.
    ///
    /// What is not a version, or lies outside the range, is passed over: registries keep branch
    /// builds and signatures beside releases.
    ///
    /// # Errors
    /// When no tag can be chosen, with Flux's texts. One value that is no number fails a numerical
    /// policy as in Flux; all such values are named.
    pub fn latest<'t>(&self, tags: &'t TagList) -> Result<Choice<'t>, SelectError> {
        let (filter, order) = (self.filter.as_ref(), self.rule.order());
        match &self.rule {
            Rule::SemVer { range, .. } => {
                best::of_tags(semver::Versions::new(range), order, filter, tags)
            }
            Rule::Alphabetical(_) => {
                best::of_tags(alphabetical::Text::new(order), order, filter, tags)
            }
            Rule::Numerical(_) => {
                best::of_tags(numerical::Numbers::new(order), order, filter, tags)
            }
        }
    }

    /// Compares two tags by the rank that this policy gives them: the greater is preferred.
    ///
    /// Equal ranks are equal: how ties are broken does not count. Returns nothing when one of
    /// them has no rank, because it does not pass the filter, or is no version in the range or no
    /// number.
    pub fn compare(&self, a: &str, b: &str) -> Option<Ordering> {
        let (a, b) = (self.choice(a)?, self.choice(b)?);
        let (a, b) = (self.rule.rank(&a.value).ok()?, self.rule.rank(&b.value).ok()?);
        Some(self.rule.compare(&a, &b))
    }

    /// Returns the tag with its value, or nothing if it does not pass the filter.
    pub(crate) fn choice<'t>(&self, tag: &'t str) -> Option<Choice<'t>> {
        match &self.filter {
            None => Some(Choice::whole(tag)),
            Some(filter) => filter.apply(tag),
        }
    }

    /// Compares two ranked choices as `latest` does, ties included: the greater is chosen.
    pub(crate) fn prefer(
        &self,
        a: (&Rank<'_>, &Choice<'_>),
        b: (&Rank<'_>, &Choice<'_>),
    ) -> Ordering {
        self.rule.compare(a.0, b.0).then_with(|| self.rule.break_tie(a.1, b.1))
    }
}

impl<'t> Choice<'t> {
    fn whole(tag: &'t str) -> Choice<'t> {
        Choice { tag, value: Cow::Borrowed(tag) }
    }
}

impl Rule {
    fn new(choice: &ImagePolicyChoice) -> Result<Rule, PolicyError> {
        if let Some(semver) = &choice.semver {
            let range = Constraint::parse(&semver.range).map_err(PolicyError::Range)?;
            return Ok(Rule::SemVer { range, text: semver.range.clone() });
        }
        if let Some(alphabetical) = &choice.alphabetical {
            return Order::new(alphabetical.order.as_deref()).map(Rule::Alphabetical);
        }
        match &choice.numerical {
            Some(numerical) => Order::new(numerical.order.as_deref()).map(Rule::Numerical),
            None => Err(PolicyError::NoRule),
        }
    }

    /// Returns the one of a few choices that this rule prefers.
    pub(crate) fn latest<'t>(
        &self,
        choices: impl IntoIterator<Item = Choice<'t>>,
    ) -> Result<Choice<'t>, SelectError> {
        match self {
            Rule::SemVer { range, .. } => best::of_choices(semver::Versions::new(range), choices),
            Rule::Alphabetical(order) => best::of_choices(alphabetical::Text::new(*order), choices),
            Rule::Numerical(order) => best::of_choices(numerical::Numbers::new(*order), choices),
        }
    }

    /// Returns the rank of a value, or why it has none.
    pub(crate) fn rank<'v>(&self, value: &'v str) -> Result<Rank<'v>, NoRank> {
        match self {
            Rule::SemVer { range, .. } => {
                let version = Version::parse_tag(value).map_err(NoRank::NotVersion)?;
                match range.check(&version) {
                    true => Ok(Rank::Version(version)),
                    false => Err(NoRank::OutOfRange),
                }
            }
            Rule::Alphabetical(_) => Ok(Rank::Text(value)),
            Rule::Numerical(_) => Number::parse(value).map(Rank::Number).map_err(NoRank::NotNumber),
        }
    }

    /// Compares ranks that this rule gave: the greater is preferred.
    pub(crate) fn compare(&self, a: &Rank<'_>, b: &Rank<'_>) -> Ordering {
        match (a, b) {
            (Rank::Version(a), Rank::Version(b)) => a.cmp(b),
            (Rank::Text(a), Rank::Text(b)) => self.order().apply(a.cmp(b)),
            (Rank::Number(a), Rank::Number(b)) => self.order().apply(a.cmp(b)),
            // One rule gives one sort of rank.
            _ => Ordering::Equal,
        }
    }

    fn order(&self) -> Order {
        match self {
            Rule::SemVer { .. } => Order::Ascending,
            Rule::Alphabetical(order) | Rule::Numerical(order) => *order,
        }
    }

    /// Decides between choices of one rank: the greater is chosen.
    pub(crate) fn break_tie(&self, a: &Choice<'_>, b: &Choice<'_>) -> Ordering {
        let values = match self {
            Rule::SemVer { .. } => a.value.cmp(&b.value),
            Rule::Alphabetical(_) | Rule::Numerical(_) => b.value.cmp(&a.value),
        };
        values.then_with(|| b.tag.cmp(a.tag))
    }
}

// === impl Offenders ===

impl Offenders {
    /// Sorts the values, drops repetitions and names the first.
    pub(crate) fn new<'v>(mut values: Vec<Cow<'v, str>>) -> Offenders {
        values.sort_unstable_by(|a, b| b.cmp(a));
        values.dedup();
        let n_more = values.len().saturating_sub(OFFENDERS_NAMED_MAX);
        values.truncate(OFFENDERS_NAMED_MAX);
        Offenders { named: values.into_iter().map(Cow::into_owned).collect(), n_more }
    }
}

impl fmt::Display for Offenders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.named.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}'{value}'")?;
        }
        match self.n_more {
            0 => Ok(()),
            n_more => write!(f, " and {n_more} more"),
        }
    }
}
