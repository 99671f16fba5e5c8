//! A policy's choice, kept beside a tag list and brought up to date with it.

use super::{Choice, Policy, SelectError};
use api::tag::TagList;
use std::borrow::Cow;

/// What a policy chooses from a tag list, cheap to bring up to date when few tags change.
///
/// Added tags are compared with the winner only. All tags are looked at again only when the
/// winner is removed, and while values that are no numbers fail the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    outcome: Result<Owned, SelectError>,
    /// How many tags pass the filter.
    n_candidates: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    tag: String,
    value: String,
}

impl Selection {
    /// Evaluates a policy over all tags.
    pub fn new(policy: &Policy, tags: &TagList) -> Selection {
        let mut n_candidates = 0;
        let mut count = |_: &Choice<'_>| n_candidates += 1;
        let latest = match &policy.filter {
            None => policy.rule.latest(tags.iter().map(Choice::whole).inspect(&mut count)),
            Some(filter) => {
                let mut matcher = filter.matcher();
                let choices = tags.iter().filter_map(|tag| matcher.apply(tag));
                policy.rule.latest(choices.inspect(&mut count))
            }
        };
        Selection { outcome: latest.map(Owned::from), n_candidates }
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
        let mut stale = matches!(self.outcome, Err(SelectError::NotNumbers(_)));
        for tag in removed {
            stale |= self.outcome.as_ref().is_ok_and(|winner| winner.tag == tag);
            if !stale && policy.choice(tag).is_some() {
                self.n_candidates -= 1;
            }
        }
        if stale {
            *self = Selection::new(policy, tags);
            return;
        }
        let added: Vec<_> = added.into_iter().filter_map(|tag| policy.choice(tag)).collect();
        self.n_candidates += added.len();
        let latest = policy.rule.latest(self.winner().into_iter().chain(added));
        self.outcome = match latest {
            // The winner stands for all that are not looked at again.
            Err(SelectError::Empty) if self.n_candidates > 0 => Err(SelectError::NoVersion),
            Err(SelectError::NoVersion) if self.n_candidates == 0 => Err(SelectError::Empty),
            latest => latest.map(Owned::from),
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
