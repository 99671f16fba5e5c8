//! Fuzz bodies for the reader and the editor: the corpus is replayed by every test run.
//!
//! `TAGTIDE_FUZZ=edit|reader TAGTIDE_FUZZ_SECONDS=N` mutates the corpus for N seconds instead.

#![expect(
    clippy::disallowed_methods,
    reason = "a long run is asked for by environment and reads the clock"
)]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use yaml::edit::{Edit, replace};

type Body = fn(&[u8]);

const BODIES: [(&str, Body); 2] = [("edit", edit), ("reader", reader)];

/// Whatever the bytes, reading ends with values or errors.
fn reader(bytes: &[u8]) {
    for document in yaml::documents(bytes) {
        assert!(document.map_or_else(|error| error.line, |document| document.line) > 0);
    }
}

/// An edit of any scalar is refused, or gives exactly its value and leaves the bytes before it.
fn edit(bytes: &[u8]) {
    let Ok(stream) = yaml::scan::text(bytes).and_then(yaml::scan::scan) else { return };
    let attached = yaml::comment::attach(&stream);
    assert_eq!(attached.places.len(), stream.comments.len());
    for (at, event) in stream.events.iter().enumerate().take(50) {
        if event.scalar().is_none() || event.span.is_empty() {
            continue;
        }
        let Ok(new) = replace(bytes, &[Edit { span: event.span.clone(), value: "v1.2-x" }]) else {
            continue;
        };
        let start = attached.start(&stream, at);
        assert_eq!(new[..start], bytes[..start]);
        let again =
            yaml::scan::scan(std::str::from_utf8(&new).expect("UTF-8")).expect("it was verified");
        assert_eq!(again.events[at].scalar().expect("a scalar").value, "v1.2-x");
    }
}

fn corpus(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn entries(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(corpus(name))
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

#[test]
fn fuzz() {
    let wanted = std::env::var("TAGTIDE_FUZZ").ok();
    let seconds = std::env::var("TAGTIDE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    for (name, body) in BODIES {
        let entries = entries(name);
        assert!(!entries.is_empty(), "{name} has a corpus");
        entries.iter().for_each(|entry| body(entry));
        if wanted.as_deref() == Some(name) {
            mutate(name, body, &entries, Duration::from_secs(seconds.unwrap_or(10)));
        }
    }
}

fn mutate(name: &str, body: Body, entries: &[Vec<u8>], time: Duration) {
    let seed = u64::from(std::process::id()) << 20 | 0x9e37_79b9;
    let mut random = Random(seed);
    let end = Instant::now() + time;
    while Instant::now() < end {
        let input = random.mutated(entries);
        if std::panic::catch_unwind(|| body(&input)).is_err() {
            let path = corpus(name).join(format!("crash-{seed:x}"));
            fs::write(&path, &input).expect("writable");
            panic!("seed {seed:x}: {} fails", path.display());
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).expect("below a usize")
    }

    fn mutated(&mut self, entries: &[Vec<u8>]) -> Vec<u8> {
        const BYTES: &[u8] = b" \n\r\t#:-?,[]{}&*!|>'\"%@`~<=0aZ.\xef\xbb\xbf\x00\xff";
        let mut input = entries[self.below(entries.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            match self.below(4) {
                0 if at < input.len() => drop(input.remove(at)),
                1 if at < input.len() => input[at] = BYTES[self.below(BYTES.len())],
                2 => {
                    let other = &entries[self.below(entries.len())];
                    let from = self.below(other.len());
                    let to = from + self.below(other.len() - from + 1);
                    input.splice(at..at, other[from..to].iter().copied());
                }
                _ => input.insert(at, BYTES[self.below(BYTES.len())]),
            }
        }
        input
    }
}
