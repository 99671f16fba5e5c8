//! The highest version in a range.

use super::{Choice, SelectError};
use std::cmp::Ordering;
use version::{Constraint, Version};

/// Returns the highest version in the range; of one precedence the last value by bytes, and of
/// equal values the first tag by bytes.
pub(super) fn latest<'t>(
    range: &Constraint,
    choices: impl Iterator<Item = Choice<'t>>,
) -> Result<Choice<'t>, SelectError> {
    let mut any = false;
    let mut best: Option<Choice<'t>> = None;
    let mut best_numbers = (0, 0, 0);
    for choice in choices {
        any = true;
        // A lower major number decides, whatever follows it.
        if best.is_some() && major(&choice.value).is_some_and(|major| major < best_numbers.0) {
            continue;
        }
        let Ok(version) = Version::parse_tag(&choice.value) else { continue };
        let numbers = (version.major(), version.minor(), version.patch());
        // Most tags are no better than the best: the range is asked last.
        let better = match &best {
            None => true,
            Some(best) => match numbers.cmp(&best_numbers) {
                Ordering::Less => false,
                Ordering::Greater => true,
                Ordering::Equal => is_better(&choice, &version, best),
            },
        };
        if better && range.check(&version) {
            best_numbers = numbers;
            best = Some(choice);
        }
    }
    best.ok_or(if any { SelectError::NoVersion } else { SelectError::Empty })
}

/// Returns the major number that the text has if it is a version at all.
fn major(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('v').unwrap_or(text).as_bytes();
    let n_digits = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    // Nineteen digits fit.
    if !(1..=19).contains(&n_digits) {
        return None;
    }
    Some(digits[..n_digits].iter().fold(0, |value, byte| value * 10 + u64::from(byte - b'0')))
}

/// Reports whether the choice goes before the best so far, which has the same three numbers.
fn is_better(choice: &Choice<'_>, version: &Version<'_>, best: &Choice<'_>) -> bool {
    let Ok(best_version) = Version::parse_tag(&best.value) else { return true };
    version
        .cmp(&best_version)
        .then_with(|| choice.value.cmp(&best.value))
        .then_with(|| best.tag.cmp(choice.tag))
        .is_gt()
}
