//! The text with which everything begins that an expression matches.

use regex_syntax::hir::{Hir, HirKind, Look};

/// Returns the longest such text that can be read off the expression, empty if it is not anchored.
pub(super) fn of(hir: &Hir) -> String {
    let HirKind::Concat(parts) = hir.kind() else { return String::new() };
    let [first, parts @ ..] = &parts[..] else { return String::new() };
    if *first.kind() != HirKind::Look(Look::Start) {
        return String::new();
    }
    let mut prefix = Vec::new();
    let _ = parts.iter().try_for_each(|part| collect(part, &mut prefix));
    String::from_utf8(prefix).unwrap_or_default()
}

/// Adds the literals at the beginning of a part; returns nothing where something else follows.
fn collect(hir: &Hir, prefix: &mut Vec<u8>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => Some(()),
        HirKind::Literal(literal) => {
            prefix.extend_from_slice(&literal.0);
            Some(())
        }
        HirKind::Capture(capture) => collect(&capture.sub, prefix),
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| collect(part, prefix)),
        HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::regexp::Regexp;
    use proptest::prelude::*;

    #[test]
    fn a_prefix_ends_where_there_is_a_choice() {
        for (pattern, prefix) in [
            ("^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$", "branch-dev-"),
            (r"^(?P<name>main)-(v1\.[0-9])", "main-v1."),
            ("^é(a|b)", "é"),
            ("^(ab|ac)d", ""),
            ("^ab?c", "a"),
            ("^a{2}b", ""),
            ("^$", ""),
            ("branch-", ""),
            ("(?m)^branch-", ""),
            ("(?i)^branch-", ""),
            ("^a|^b", ""),
        ] {
            assert_eq!(Regexp::new(pattern).expect("sound").prefix(), prefix, "{pattern}");
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let atoms = ["a", "b", "ab", "é", "(a)", "(ab|ac)", "[ab]", "(?:b|é)", "(?i:a)", "$", ""];
        let counts = ["", "", "", "+", "?", "{2}"];
        let atom = proptest::sample::select(atoms.to_vec());
        let part = (atom, proptest::sample::select(counts.to_vec()))
            .prop_map(|(atom, count)| format!("(?:{atom}){count}"));
        let start = proptest::sample::select(vec!["^", "^", "", "(?:^|b)", r"\A", "(?m)^"]);
        (start, proptest::collection::vec(part, 0..5))
            .prop_map(|(start, parts)| format!("{start}{}", parts.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_matches_begins_with_the_prefix(
            pattern in pattern(),
            texts in proptest::collection::vec("[abcAé\n]{0,6}", 8),
        ) {
            let regexp = Regexp::new(&pattern).expect("a sound pattern");
            for text in &texts {
                if regexp.is_match(text.as_bytes()) {
                    prop_assert!(text.starts_with(regexp.prefix()), "{} {:?}", pattern, text);
                }
            }
        }
    }
}
