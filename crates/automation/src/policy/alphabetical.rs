//! The last or the first by bytes.

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

/// Returns the latest by bytes; of equal values the first tag by bytes.
pub(super) fn latest<'t>(
    order: Order,
    choices: impl Iterator<Item = Choice<'t>>,
) -> Result<Choice<'t>, SelectError> {
    let prefer = |a: &Choice<'_>, b: &Choice<'_>| {
        order.apply(a.value.cmp(&b.value)).then_with(|| b.tag.cmp(a.tag))
    };
    choices.max_by(prefer).ok_or(SelectError::Empty)
}
