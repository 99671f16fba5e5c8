//! Versions and ranges.

use super::Entry;

pub(super) fn functions() -> Vec<Entry> {
    Vec::new()
}
