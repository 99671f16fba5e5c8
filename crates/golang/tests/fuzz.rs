//! Fuzz bodies: a pattern and a text of any bytes are matched or refused, and never panic.

use golang::regexp::Regexp;
use trial::fuzz::{Body, replay, run_if_asked};

const BODIES: [Body; 1] = [Body {
    name: "regexp",
    run: regexp,
    words: &[
        "\\", "(", ")", "(?:", "(?P<a>", "[", "]", "[^", "{", "}", "{2,3}", "*", "+", "?", "|",
        "^", "$", ".", "-", ":", "\n", ",", "\\pL", "\\Q", "\\E", "\\z", "\\b", "\\x", "(?i)",
        "(?s)", "(?m)", "(?U)",
    ],
    input_max: 512,
}];

/// The first line is the pattern, the second a template, the rest the text.
fn regexp(input: &[u8]) {
    let mut lines = input.splitn(3, |&b| b == b'\n');
    let pattern = lines.next().unwrap_or_default();
    let template = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let text = lines.next().unwrap_or_default();
    let Ok(regexp) = Regexp::from_bytes(pattern) else { return };
    let found = regexp.find_submatch(text);
    assert_eq!(found.is_some(), regexp.is_match(text));
    let all = regexp.find_all(text);
    assert_eq!(all.first(), found.as_ref());
    for pair in all.windows(2) {
        let (a, b) = (pair[0].get(0).expect("a match"), pair[1].get(0).expect("a match"));
        assert!(a.end <= b.start && b.end <= text.len(), "{a:?} {b:?}");
    }
    if let Some(found) = found {
        let mut out = Vec::new();
        regexp.expand(&template, text, &found, &mut out);
        if let Ok(text) = str::from_utf8(text) {
            let filled = regexp.matcher().expand(&regexp.template(&template), text);
            assert_eq!(filled.as_deref().map(str::as_bytes), Some(&out[..]));
        }
    }
    // What is between the matches is what is left of the text.
    let kept: usize = regexp.split(text).iter().map(|part| part.len()).sum();
    assert!(kept <= text.len());
    assert_eq!(regexp.replace_all(text, "$0"), text);
}

#[test]
fn the_corpus_holds() {
    replay(env!("CARGO_MANIFEST_DIR"), &BODIES);
}

#[test]
fn fuzz() {
    run_if_asked(env!("CARGO_MANIFEST_DIR"), &BODIES);
}
