//! Fuzz bodies: a pattern and a text of any bytes are matched or refused, and never panic.
//!
//! The committed corpus is replayed by every test run. With `TAGTIDE_FUZZ=regexp` and
//! `TAGTIDE_FUZZ_SECONDS=N` it is also mutated for that long; what fails is left as `crash-*`.

#![expect(clippy::disallowed_methods, reason = "a fuzz run is asked for by the environment")]

use golang::regexp::Regexp;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest input: more only makes a run slower.
const INPUT_MAX: usize = 512;

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
    let inputs = corpus("regexp");
    assert!(inputs.len() > 5);
    inputs.iter().for_each(|input| regexp(input));
}

#[test]
fn fuzz() {
    if std::env::var("TAGTIDE_FUZZ").is_ok_and(|name| name == "regexp") {
        run("regexp", regexp);
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
        3 => input.insert(at, b"\\()[]{}*+?|^$.-:\n,0aPpQEzZbBxsiUm"[random(state, 33)]),
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
