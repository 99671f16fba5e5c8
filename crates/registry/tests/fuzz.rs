//! Fuzz bodies for what comes from registries, replayed over the committed
//! corpus; `TAGTIDE_FUZZ=NAME TAGTIDE_FUZZ_SECONDS=N` mutates it for N seconds.

#![expect(clippy::disallowed_methods, reason = "long runs are asked for by the environment")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use registry::{TagsParser, next_link, next_page, parse_challenges};
use url::Url;

type FuzzBody = fn(&[u8]);

const BODIES: [(&str, FuzzBody); 3] =
    [("tags", fuzz_tags), ("challenge", fuzz_challenge), ("link", fuzz_link)];

/// Longest input that mutation makes.
const INPUT_MAX: usize = 4_096;

/// A tag list reads the same whole and in pieces, and what is accepted is what
/// a JSON parser reads.
pub fn fuzz_tags(data: &[u8]) {
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
    let Ok(tags) = whole else { return };
    let value: serde_json::Value = serde_json::from_slice(data).expect("what is accepted is JSON");
    let expected: Vec<&str> = match value.get("tags") {
        Some(serde_json::Value::Array(items)) => {
            items.iter().filter_map(|item| item.as_str()).collect()
        }
        _ => Vec::new(),
    };
    assert!(tags.iter().eq(expected), "the tags are those of the JSON");
}

/// Challenges are bounded and their names plain.
pub fn fuzz_challenge(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for challenge in parse_challenges(&text) {
        assert!(!challenge.scheme.is_empty() && !challenge.scheme.contains([' ', ',', '"', '=']));
        assert_eq!(challenge.scheme, challenge.scheme.to_ascii_lowercase());
        assert!(challenge.parameters.len() <= 32);
    }
}

/// Whatever a link says, the next page is on the same origin and path.
pub fn fuzz_link(data: &[u8]) {
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
fn corpus_is_replayed() {
    for (name, body) in BODIES {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has a corpus");
        corpus.iter().for_each(|input| body(input));
    }
}

#[test]
fn mutations_of_the_corpus_are_survived() {
    for (name, body) in BODIES {
        let corpus = corpus(name);
        let mut random = Random(0x5eed_1234_5678_9abc);
        for _ in 0..3_000 {
            body(&mutated(&corpus, &mut random));
        }
    }
}

#[test]
fn fuzz() {
    let Some((name, body)) = asked_for() else { return };
    let seconds =
        std::env::var("TAGTIDE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64 | 1);
    let corpus = corpus(name);
    let mut random = Random(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runs = 0_u64;
    while Instant::now() < end {
        let input = mutated(&corpus, &mut random);
        if std::panic::catch_unwind(|| body(&input)).is_err() {
            let path = folder(name).join(format!("crash-{seed:x}-{runs}"));
            std::fs::write(&path, &input).expect("the corpus is writable");
            panic!("seed {seed:#x}: {} fails", path.display());
        }
        runs += 1;
    }
    assert!(runs > 0, "seed {seed:#x}");
}

fn asked_for() -> Option<(&'static str, FuzzBody)> {
    let asked = std::env::var("TAGTIDE_FUZZ").ok()?;
    BODIES.into_iter().find(|(name, _)| *name == asked)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .expect("the corpus is there")
        .map(|entry| entry.expect("the corpus is readable").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("the corpus is readable")).collect()
}

struct Random(u64);

impl Random {
    /// Returns a number below `n`, 0 for 0.
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if n == 0 { 0 } else { (self.0 >> 11) as usize % n }
    }
}

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        match random.below(5) {
            0 => input.truncate(at),
            1 => input.insert(at, b"\"\\{}[],:;<>= \x00\xffu1a"[random.below(18)]),
            2 if at < input.len() => input[at] ^= 1 << random.below(8),
            3 if at < input.len() => {
                input.remove(at);
            }
            _ => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let piece = other[from..].iter().take(1 + random.below(16)).copied();
                input.splice(at..at, piece.collect::<Vec<_>>());
            }
        }
    }
    input.truncate(INPUT_MAX);
    input
}
