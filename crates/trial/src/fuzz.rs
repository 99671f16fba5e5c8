//! Fuzz bodies: functions that take any bytes, tried on a corpus and on mutations of it.
//!
//! Every test run replays the corpus. `cargo xtask fuzz NAME --seconds N` names a body and a time
//! in `TAGTIDE_FUZZ` and `TAGTIDE_FUZZ_SECONDS`; what then fails is kept beside the corpus as
//! `crash-…`, so that the next test run fails too until it is mended.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a long run is asked for by the environment, seeded by time, and says its seed"
)]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The most mutations of one input.
const MUTATIONS_MAX: usize = 8;

/// The longest piece of another entry that is put into an input.
const PIECE_MAX: usize = 64;

/// A fuzz body, and how to find inputs for it.
#[derive(Debug, Clone, Copy)]
pub struct Body {
    /// Its name, which is also that of its corpus below `tests/corpus`.
    pub name: &'static str,
    /// Takes an input; what is wrong is a panic.
    pub run: fn(&[u8]),
    /// What means something to it: mutations insert these.
    pub words: &'static [&'static str],
    /// The longest input in bytes that mutation makes.
    pub input_max: usize,
}

/// Runs every body over its corpus; `krate` is the folder of the crate.
///
/// # Panics
/// When a body does, or a corpus is missing.
pub fn replay(krate: &str, bodies: &[Body]) {
    for body in bodies {
        for (path, input) in entries(krate, body) {
            assert!(catch_unwind(|| (body.run)(&input)).is_ok(), "{} fails", path.display());
        }
    }
}

/// Runs every body over so many mutations of its corpus, the same ones every time.
///
/// # Panics
/// When a body does.
pub fn mutations(krate: &str, bodies: &[Body], n_inputs: usize) {
    for body in bodies {
        let entries = entries(krate, body);
        let mut random = Random(0x5eed_1234_5678_9abc);
        (0..n_inputs).for_each(|_| (body.run)(&random.mutated(body, &entries)));
    }
}

/// Mutates the corpus of the body that the environment names, for as long as it says.
///
/// # Panics
/// When the body does; the input is then kept.
pub fn run_if_asked(krate: &str, bodies: &[Body]) {
    let Ok(name) = std::env::var("TAGTIDE_FUZZ") else { return };
    let Some(body) = bodies.iter().find(|body| body.name == name) else { return };
    let seconds = std::env::var("TAGTIDE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(10));
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = since_epoch.as_nanos() as u64 | 1;
    eprintln!("fuzzing {name} with seed {seed:#x}");
    let (mut random, entries) = (Random(seed), entries(krate, body));
    let mut n_inputs = 0_u64;
    while Instant::now() < end {
        let input = random.mutated(body, &entries);
        if catch_unwind(|| (body.run)(&input)).is_err() {
            let path = corpus(krate, body).join(format!("crash-{seed:x}-{n_inputs}"));
            fs::write(&path, &input).expect("the corpus can be written");
            panic!("the input that fails is kept as {}", path.display());
        }
        n_inputs += 1;
    }
    eprintln!("{n_inputs} inputs");
}

fn corpus(krate: &str, body: &Body) -> PathBuf {
    Path::new(krate).join("tests/corpus").join(body.name)
}

fn entries(krate: &str, body: &Body) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpus(krate, body);
    let files = fs::read_dir(&folder).expect("every body has a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a readable folder").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no input", folder.display());
    let read = |path: PathBuf| {
        let input = fs::read(&path).expect("a readable file");
        (path, input)
    };
    paths.into_iter().map(read).collect()
}

/// A xorshift generator.
struct Random(u64);

impl Random {
    /// Returns a number below `limit`, 0 for 0.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// Returns an entry with a few mutations.
    fn mutated(&mut self, body: &Body, entries: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
        let mut input = entries[self.below(entries.len())].1.clone();
        for _ in 0..=self.below(MUTATIONS_MAX) {
            let at = self.below(input.len() + 1);
            let to = (at + self.below(16)).min(input.len());
            match self.below(6) {
                0 => drop(input.drain(at..to)),
                1 => input.insert(at, self.below(256) as u8),
                2 if at < input.len() => input[at] ^= 1 << self.below(8),
                3 if !body.words.is_empty() => {
                    let word = body.words[self.below(body.words.len())];
                    input.splice(at..at, word.bytes());
                }
                4 if self.below(4) == 0 => input.truncate(at),
                _ => {
                    let other = &entries[self.below(entries.len())].1;
                    let from = self.below(other.len() + 1);
                    let until = (from + self.below(PIECE_MAX)).min(other.len());
                    input.splice(at..to, other[from..until].iter().copied());
                }
            }
        }
        input.truncate(body.input_max);
        input
    }
}
