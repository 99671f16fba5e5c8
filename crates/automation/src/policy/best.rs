//! One pass over the tags that keeps the best of them.

use super::filter::Filter;
use super::{Choice, Order, SelectError};
use api::tag::TagList;

/// The best choice so far by one of the rules.
pub(super) trait Best<'t> {
    /// Reports whether a choice of this value would change the answer, or might: what certainly
    /// would not is told cheaply, and need not be offered.
    fn may_matter(&self, value: &str) -> bool;

    /// Takes a choice into account.
    fn offer(&mut self, choice: Choice<'t>);

    /// Returns the best of all that was offered.
    fn finish(self) -> Result<Choice<'t>, SelectError>;
}

/// Returns the best of the tags that pass the filter.
///
/// Lists are kept in descending order, so their beginning is looked at first by a rule that prefers
/// what is high: the sooner a good choice is found, the more of the others are passed over.
pub(super) fn of_tags<'t>(
    mut best: impl Best<'t>,
    order: Order,
    filter: Option<&Filter>,
    tags: &'t TagList,
) -> Result<Choice<'t>, SelectError> {
    match filter {
        None => each(tags.iter(), order, |tag| {
            if best.may_matter(tag) {
                best.offer(Choice::whole(tag));
            }
        }),
        Some(filter) => {
            let mut matcher = filter.matcher();
            each(tags.candidates(filter.prefix()), order, |tag| {
                if let Some(choice) = matcher.apply_if(tag, |value| best.may_matter(value)) {
                    best.offer(choice);
                }
            });
        }
    }
    best.finish()
}

/// Returns the best of a few choices.
pub(super) fn of_choices<'t>(
    mut best: impl Best<'t>,
    choices: impl IntoIterator<Item = Choice<'t>>,
) -> Result<Choice<'t>, SelectError> {
    choices.into_iter().for_each(|choice| best.offer(choice));
    best.finish()
}

fn each<'t>(
    tags: impl DoubleEndedIterator<Item = &'t str>,
    order: Order,
    look_at: impl FnMut(&'t str),
) {
    match order {
        Order::Ascending => tags.for_each(look_at),
        Order::Descending => tags.rev().for_each(look_at),
    }
}
