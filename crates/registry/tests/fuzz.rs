//! Fuzz bodies for what comes from registries: the corpus and mutations of it are tried by every run.

use registry::{TagsParser, next_link, next_page, parse_challenges};
use trial::fuzz::{Body, mutations, replay, run_if_asked};
use url::Url;

const BODIES: [Body; 3] = [
    Body { name: "tags", run: tags, words: WORDS, input_max: INPUT_MAX },
    Body { name: "challenge", run: challenge, words: WORDS, input_max: INPUT_MAX },
    Body { name: "link", run: link, words: WORDS, input_max: INPUT_MAX },
];

const WORDS: &[&str] = &[
    "\"", "\\", "{", "}", "[", "]", ",", ":", ";", "<", ">", "=", " ", "\0", "u1a", "\"tags\"",
    "rel",
];

/// The longest input that mutation makes.
const INPUT_MAX: usize = 4_096;

/// A tag list reads the same whole and in pieces, and what is accepted is what
/// a JSON parser reads.
fn tags(data: &[u8]) {
    let read = |size: usize| {
        let mut parser = TagsParser::new();
        for piece in data.chunks(size.max(1)) {
            parser.feed(piece)?;
        }
        parser.finish()
    };
    let whole = read(data.len());
    for size in [1, 2, 7] {
        assert_eq!(read(size), whole, "in pieces of {size}");
    }
    let Ok(listed) = whole else { return };
    let value: serde_json::Value = serde_json::from_slice(data).expect("what is accepted is JSON");
    let expected: Vec<&str> = match value.get("tags") {
        Some(serde_json::Value::Array(items)) => {
            items.iter().filter_map(|item| item.as_str()).collect()
        }
        _ => Vec::new(),
    };
    assert!(listed.iter().eq(expected), "the tags are those of the JSON");
}

/// Challenges are bounded and their names plain.
fn challenge(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for challenge in parse_challenges(&text) {
        assert!(!challenge.scheme.is_empty() && !challenge.scheme.contains([' ', ',', '"', '=']));
        assert_eq!(challenge.scheme, challenge.scheme.to_ascii_lowercase());
        assert!(challenge.parameters.len() <= 32);
    }
}

/// Whatever a link says, the next page is on the same origin and path.
fn link(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let page =
        Url::parse("https://registry.example:5000/v2/a/tags/list?n=1000").expect("a valid URL");
    for target in [next_link(&text), Some(text.as_ref())].into_iter().flatten() {
        if let Ok(next) = next_page(&page, target) {
            assert!(next.as_str().starts_with("https://registry.example:5000/v2/a/tags/list"));
            assert_eq!(next.path(), page.path());
        }
    }
}

#[test]
fn the_corpus_holds() {
    replay(env!("CARGO_MANIFEST_DIR"), &BODIES);
}

#[test]
fn mutations_of_the_corpus_hold() {
    mutations(env!("CARGO_MANIFEST_DIR"), &BODIES, 3_000);
}

#[test]
fn fuzz() {
    run_if_asked(env!("CARGO_MANIFEST_DIR"), &BODIES);
}
