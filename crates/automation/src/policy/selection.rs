//! A policy's choice, kept beside a tag list and brought up to date with it.

use super::{Choice, Policy, SelectError};
use api::tag::TagList;
use std::borrow::Cow;

/// What a policy chooses from a tag list, cheap to bring up to date when few tags change.
///
/// Added tags are compared with the winner only. All tags are looked at again only when the winner
/// is removed, while values that are no numbers fail the policy, and when tags are removed while
/// none of them is a version in the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    outcome: Result<Owned, SelectError>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    tag: String,
    value: String,
}

impl Selection {
    /// Evaluates a policy over all tags.
    pub fn new(policy: &Policy, tags: &TagList) -> Selection {
        Selection { outcome: policy.latest(tags).map(Owned::from) }
    }

    /// Follows a change of the list: `tags` is the whole list after it, `added` and `removed` are
    /// the difference, a tag that stands there twice counting twice.
    pub fn update<'t>(
        &mut self,
        policy: &Policy,
        tags: &TagList,
        added: impl IntoIterator<Item = &'t str>,
        removed: impl IntoIterator<Item = &'t str>,
    ) {
        let is_stale = match &self.outcome {
            Ok(winner) => removed.into_iter().any(|tag| tag == winner.tag),
            Err(SelectError::NotNumbers(_)) => true,
            Err(SelectError::NoVersion) => removed.into_iter().next().is_some(),
            Err(SelectError::Empty) => false,
        };
        if is_stale {
            *self = Selection::new(policy, tags);
            return;
        }
        let added = added.into_iter().filter_map(|tag| policy.choice(tag));
        let latest = policy.rule.latest(self.winner().into_iter().chain(added));
        self.outcome = match (latest, &self.outcome) {
            // Those that are not looked at again are no versions, but they are there.
            (Err(SelectError::Empty), Err(SelectError::NoVersion)) => Err(SelectError::NoVersion),
            (latest, _) => latest.map(Owned::from),
        };
    }

    /// Returns what [`Policy::latest`] returns for the same tags.
    ///
    /// # Errors
    /// The same.
    pub fn latest(&self) -> Result<Choice<'_>, SelectError> {
        match &self.outcome {
            Ok(winner) => Ok(winner.choice()),
            Err(error) => Err(error.clone()),
        }
    }

    fn winner(&self) -> Option<Choice<'_>> {
        self.outcome.as_ref().ok().map(Owned::choice)
    }
}

impl Owned {
    fn choice(&self) -> Choice<'_> {
        Choice { tag: &self.tag, value: Cow::Borrowed(&self.value) }
    }
}

impl From<Choice<'_>> for Owned {
    fn from(choice: Choice<'_>) -> Owned {
        Owned { tag: choice.tag.to_owned(), value: choice.value.into_owned() }
    }
}
