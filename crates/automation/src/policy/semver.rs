//! The highest version in a range.

use super::best::Best;
use super::{Choice, SelectError};
use std::cmp::Ordering;
use version::{Constraint, Version};

/// Major, minor and patch.
type Core = [u64; 3];

/// The highest version in the range; of one precedence the last value by bytes, and of equal values
/// the first tag by bytes.
pub(super) struct Versions<'r, 't> {
    range: &'r Constraint,
    /// No version with higher numbers lies in the range.
    ceiling: Core,
    best: Option<Choice<'t>>,
    best_core: Core,
    any: bool,
}

impl<'r> Versions<'r, '_> {
    pub(super) fn new(range: &'r Constraint) -> Self {
        let (ceiling, best_core) = (range.ceiling(), [0; 3]);
        Versions { range, ceiling, best: None, best_core, any: false }
    }

    /// Reports whether the choice goes before the best so far, which has the same three numbers.
    fn is_better(&self, choice: &Choice<'_>, version: &Version<'_>, best: &Choice<'_>) -> bool {
        let Ok(best_version) = Version::parse_tag(&best.value) else { return true };
        version
            .cmp(&best_version)
            .then_with(|| choice.value.cmp(&best.value))
            .then_with(|| best.tag.cmp(choice.tag))
            .is_gt()
    }
}

impl<'t> Best<'t> for Versions<'_, 't> {
    /// The first number that is lower than the best's, or too high for the range, decides whatever
    /// follows it: a version or none, the text does not win.
    fn may_matter(&self, value: &str) -> bool {
        // Until something was found, it counts whether there was anything at all.
        if self.best.is_none() {
            return true;
        }
        let mut rest = value.strip_prefix('v').unwrap_or(value).as_bytes();
        let mut at_ceiling = true;
        for (best, ceiling) in self.best_core.into_iter().zip(self.ceiling) {
            let Some((number, after)) = split_number(rest) else { return true };
            if number < best || at_ceiling && number > ceiling {
                return false;
            }
            if number > best || after.first() != Some(&b'.') {
                return true;
            }
            at_ceiling &= number == ceiling;
            rest = &after[1..];
        }
        true
    }

    fn offer(&mut self, choice: Choice<'t>) {
        self.any = true;
        let Ok(version) = Version::parse_tag(&choice.value) else { return };
        let core = [version.major(), version.minor(), version.patch()];
        // Most tags are no better than the best: the range is asked last.
        let better = match &self.best {
            None => true,
            Some(best) => match core.cmp(&self.best_core) {
                Ordering::Less => false,
                Ordering::Greater => true,
                Ordering::Equal => self.is_better(&choice, &version, best),
            },
        };
        if better && self.range.check(&version) {
            self.best_core = core;
            self.best = Some(choice);
        }
    }

    fn finish(self) -> Result<Choice<'t>, SelectError> {
        let none = if self.any { SelectError::NoVersion } else { SelectError::Empty };
        self.best.ok_or(none)
    }
}

/// Splits off the number that the text begins with, unless it is missing or very long.
fn split_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (n_digits, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (n_digits > 0).then(|| (number, &text[n_digits..]));
        }
        // Nineteen digits fit.
        if n_digits == 19 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    (!text.is_empty()).then_some((number, &[]))
}
