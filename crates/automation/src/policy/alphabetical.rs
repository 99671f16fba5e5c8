//! The last or the first by bytes.

use super::best::Best;
use super::{Choice, PolicyError, SelectError};
use std::cmp::Ordering;

/// Which end of an ordered list is the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The greatest is the latest.
    Ascending,
    /// The least is the latest.
    Descending,
}

impl Order {
    /// Reads an order in any case; none is ascending.
    pub(super) fn new(text: Option<&str>) -> Result<Order, PolicyError> {
        let capitals: String =
            text.unwrap_or_default().chars().map(golang::unicode::to_upper).collect();
        match capitals.as_str() {
            "" | "ASC" => Ok(Order::Ascending),
            "DESC" => Ok(Order::Descending),
            _ => Err(PolicyError::Order(capitals)),
        }
    }

    /// Turns a comparison around if the least is the latest.
    pub(super) fn apply(self, ordering: Ordering) -> Ordering {
        match self {
            Order::Ascending => ordering,
            Order::Descending => ordering.reverse(),
        }
    }
}

/// The latest by bytes; of equal values the first tag by bytes.
pub(super) struct Text<'t> {
    order: Order,
    best: Option<Choice<'t>>,
}

impl Text<'_> {
    pub(super) fn new(order: Order) -> Self {
        Text { order, best: None }
    }
}

impl<'t> Best<'t> for Text<'t> {
    fn may_matter(&self, value: &str) -> bool {
        let is_worse = |best: &Choice<'_>| self.order.apply(value.cmp(&best.value)).is_lt();
        !self.best.as_ref().is_some_and(is_worse)
    }

    fn offer(&mut self, choice: Choice<'t>) {
        let is_better = |best: &Choice<'_>| {
            let values = self.order.apply(choice.value.cmp(&best.value));
            values.then_with(|| best.tag.cmp(choice.tag)).is_gt()
        };
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(choice);
        }
    }

    fn finish(self) -> Result<Choice<'t>, SelectError> {
        self.best.ok_or(SelectError::Empty)
    }
}
