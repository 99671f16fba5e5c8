//! Fuzz bodies: any text is a version, a range, or refused, and never panics.
//!
//! The committed corpus is replayed by every test run. With `TAGTIDE_FUZZ=version` and
//! `TAGTIDE_FUZZ_SECONDS=N` it is also mutated for that long; what fails is left as `crash-*`.

#![expect(clippy::disallowed_methods, reason = "a fuzz run is asked for by the environment")]

use std::cmp::Ordering;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};
use version::{Constraint, Version};

/// The longest input: more only makes a run slower.
const INPUT_MAX: usize = 512;

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
    let inputs = corpus("version");
    assert!(inputs.len() > 2);
    inputs.iter().for_each(|input| version(input));
}

#[test]
fn fuzz() {
    if std::env::var("TAGTIDE_FUZZ").is_ok_and(|name| name == "version") {
        run("version", version);
    }
}

fn run(name: &str, body: fn(&[u8])) {
    let seconds = std::env::var("TAGTIDE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(10));
    let mut state = u64::from(std::process::id()) | 1;
    eprint_seed(state);
    let inputs = corpus(name);
    while Instant::now() < end {
        let mut input = inputs[random(&mut state, inputs.len())].clone();
        for _ in 0..=random(&mut state, 8) {
            mutate(&mut state, &mut input, &inputs);
        }
        input.truncate(INPUT_MAX);
        if catch_unwind(|| body(&input)).is_err() {
            let path = folder(name).join(format!("crash-{:016x}", random(&mut state, usize::MAX)));
            std::fs::write(&path, &input).expect("the corpus can be written");
            panic!("a failing input was written to {}", path.display());
        }
    }
}

#[expect(clippy::print_stderr, reason = "a run is repeated from its seed")]
fn eprint_seed(seed: u64) {
    eprintln!("seed {seed}");
}

fn mutate(state: &mut u64, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
    let at = random(state, input.len() + 1);
    match random(state, 5) {
        0 => input.insert(at, random(state, 256) as u8),
        1 if at < input.len() => drop(input.remove(at)),
        2 if at < input.len() => input[at] ^= 1 << random(state, 8),
        3 => input.insert(at, b".-+v0129xX*|^~<>=!, rc"[random(state, 22)]),
        _ => {
            let other = &inputs[random(state, inputs.len())];
            let from = random(state, other.len() + 1);
            let to = (from + random(state, 16)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
    }
}

/// A xorshift generator.
fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below.max(1) as u64) as usize
}

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder(name))
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("an input")).collect()
}
