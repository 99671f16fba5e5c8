//! Sprig's hermetic text functions.
use crate::function::Function;
pub(crate) const LATER: &[&str] = &[];
pub(crate) fn functions() -> Vec<(&'static str, Function)> {
    Vec::new()
}
