//! Fuzz bodies: any text is a version, a range, or refused, and never panics.

use std::cmp::Ordering;
use trial::fuzz::{Body, replay, run_if_asked};
use version::{Constraint, Version};

const BODIES: [Body; 1] = [Body {
    name: "version",
    run: version,
    words: &[
        ".", "-", "+", "v", "0", "1", "2", "9", "x", "X", "*", "|", "||", "^", "~", "~>", "<",
        "<=", ">", ">=", "!=", "=", ",", " ", " - ", "-rc", "\n",
    ],
    input_max: 512,
}];

/// The first line is a range, the others are versions.
fn version(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (range, versions) = text.split_once('\n').unwrap_or((&text, ""));
    let range = Constraint::parse(range);
    let versions: Vec<_> = versions.lines().filter_map(|line| Version::parse(line).ok()).collect();
    for version in &versions {
        let canonical = version.to_string();
        // The canonical text may be longer than what is read as a version.
        if let Ok(again) = Version::parse(&canonical) {
            assert_eq!(again.to_string(), canonical);
            assert_eq!(again.cmp(version), Ordering::Equal);
            assert!(Version::parse_strict(&canonical).is_ok(), "{canonical}");
            if let Ok(range) = &range {
                assert_eq!(range.check(&again), range.check(version));
            }
        }
    }
    for a in &versions {
        for b in &versions {
            assert_eq!(a.cmp(b), b.cmp(a).reverse());
            for c in versions.iter().filter(|c| a <= b && b <= *c) {
                assert!(a <= c, "{a} {b} {c}");
            }
        }
    }
}

#[test]
fn the_corpus_holds() {
    replay(env!("CARGO_MANIFEST_DIR"), &BODIES);
}

#[test]
fn fuzz() {
    run_if_asked(env!("CARGO_MANIFEST_DIR"), &BODIES);
}
