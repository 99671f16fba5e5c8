//! Whatever the template, parsing and executing it ends within its fuel and never panics.

#![allow(
    clippy::disallowed_methods,
    reason = "long runs are started through the environment and seeded by the time"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gotmpl::{Functions, Limits, Run, Template, Value};

/// One input: a template's text, which is executed on data of every kind.
fn template(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(template) = Template::parse("fuzz", &text, &Functions::hermetic()) else { return };
    let limits = Limits { steps: 20_000, output: 4096, depth: 100 };
    let mut run = Run::new(limits);
    if let Ok(out) = template.execute(&data(), &mut run) {
        assert!(out.len() <= limits.output, "the output is bounded");
        assert!(run.steps() <= limits.steps, "the steps are bounded");
    }
}

fn data() -> Value {
    let list = || Value::list(["a".into(), Value::Int(2), Value::Nil, Value::Float(1.5)]);
    Value::dict([
        ("n", Value::Float(3.0)),
        ("s", "hello wörld".into()),
        ("b", Value::string(b"\xff\xc3")),
        ("l", list()),
        ("m", Value::dict([("a", list()), ("b", true.into())])),
    ])
}

#[test]
fn corpus() {
    let entries = entries(&folder("template"));
    assert!(!entries.is_empty(), "there is a corpus");
    entries.iter().for_each(|entry| template(entry));
}

/// Runs for long only when `TAGTIDE_FUZZ` names this body.
#[test]
fn fuzz() {
    if std::env::var("TAGTIDE_FUZZ").as_deref() != Ok("template") {
        return;
    }
    let seconds = std::env::var("TAGTIDE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(10));
    let folder = folder("template");
    let entries = entries(&folder);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = Random(since_epoch.as_nanos() as u64 | 1);
    let seed = random.0;
    while Instant::now() < end {
        let input = mutated(&entries, &mut random);
        if std::panic::catch_unwind(|| template(&input)).is_err() {
            let path = folder.join(format!("crash-{seed:x}"));
            fs::write(&path, &input).expect("the corpus folder can be written");
            panic!("seed {seed:#x}: the failing input is in {}", path.display());
        }
    }
}

/// Words that make a mutated template more likely to parse.
const WORDS: [&str; 24] = [
    "{{",
    "}}",
    "{{-",
    "-}}",
    "(",
    ")",
    "|",
    " ",
    ".",
    "$",
    ":=",
    "=",
    ",",
    "{{end}}",
    "{{else}}",
    "{{range .l}}",
    "{{if .n}}",
    "{{with .m}}",
    "\"%v\"",
    "printf ",
    "index .l ",
    "toJson ",
    "list ",
    "99999999999",
];

fn mutated(entries: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = entries[random.below(entries.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(input.len() + 1);
        match random.below(4) {
            0 if at < input.len() => input[at] = random.below(256) as u8,
            1 => {
                let end = (at + random.below(8)).min(input.len());
                input.drain(at..end);
            }
            2 => {
                let other = &entries[random.below(entries.len())];
                let start = random.below(other.len() + 1);
                let piece = other[start..(start + random.below(24)).min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                input.splice(at..at, WORDS[random.below(WORDS.len())].bytes());
            }
        }
    }
    input
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn entries(folder: &Path) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder).expect("the corpus is there");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}
