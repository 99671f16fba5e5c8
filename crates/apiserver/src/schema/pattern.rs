//! Patterns of texts. Definitions share most of theirs, and compiling one costs more than all the
//! rest of a schema: a pattern is compiled once in a process.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use regex::Regex;

/// Patterns that are remembered. Further ones are compiled whenever they are needed.
const PATTERNS_MAX: usize = 256;

static PATTERNS: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

/// Compiles a pattern, unless that has been done.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    // A map of finished patterns is whole at any instant.
    let mut patterns = PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = patterns.get(pattern) {
        return Ok(known.clone());
    }
    let compiled = Regex::new(pattern)?;
    if patterns.len() < PATTERNS_MAX {
        patterns.insert(pattern.to_owned(), compiled.clone());
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_is_known_matches_as_it_did() {
        for _ in 0..2 {
            let compiled = compile("^[0-9]+(s|m)$").expect("it is a pattern");
            assert!(compiled.is_match("10m") && !compiled.is_match("10h"));
            assert!(compile("(").is_err());
        }
    }

    #[test]
    fn patterns_beyond_the_limit_are_compiled_still() {
        for n in 0..=PATTERNS_MAX {
            let compiled = compile(&format!("^x{n}$")).expect("it is a pattern");
            assert!(compiled.is_match(&format!("x{n}")));
        }
        let n_known = PATTERNS.lock().map_or(0, |patterns| patterns.len());
        assert!(n_known <= PATTERNS_MAX);
    }
}
