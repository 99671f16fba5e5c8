//! Foreign bytes: whatever a server sends, we end with a value or an error, within our limits.
//!
//! The corpus is replayed by the test command. With `TAGTIDE_FUZZ=NAME` and
//! `TAGTIDE_FUZZ_SECONDS=N` the entries of `tests/corpus/NAME` are mutated for that long; an input
//! that fails is written there as `crash-…`.

#![expect(clippy::print_stderr, reason = "a fuzzing run says its seed and its count")]
#![expect(clippy::disallowed_methods, reason = "a fuzzing run is told its name, seeded by time")]

use std::{
    fs,
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use git::{Limits, advertisement, pkt, screen};
use sha1::{Digest, Sha1};

type Body = fn(&[u8]);

const BODIES: [(&str, Body); 4] = [
    ("pkt-line", pkt_line),
    ("pack", pack),
    ("git-advertisement", git_advertisement),
    ("git-fetch", git_fetch),
];

/// Frames are the same whether they come at once or in pieces, and what is framed is read back.
fn pkt_line(bytes: &[u8]) {
    let whole = pkt::decode_all(bytes);
    let mut decoder = pkt::Decoder::default();
    let mut pieces = Vec::new();
    let mut failed = false;
    for piece in bytes.chunks(3) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(packet)) => pieces.push(packet),
                Ok(None) => break,
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
        if failed {
            break;
        }
    }
    match whole {
        Ok(whole) => {
            assert_eq!(whole, pieces);
            let mut framed = Vec::new();
            for packet in &whole {
                match packet {
                    pkt::Packet::Flush => pkt::write_flush(&mut framed),
                    pkt::Packet::Delimiter => pkt::write_delimiter(&mut framed),
                    pkt::Packet::ResponseEnd => framed.extend_from_slice(b"0002"),
                    pkt::Packet::Data(data) => pkt::write(&mut framed, data),
                }
            }
            assert_eq!(framed.to_ascii_lowercase().len(), bytes.len());
            assert_eq!(pkt::decode_all(&framed).expect("what we write is well-formed"), whole);
        }
        Err(_) => assert!(failed || !decoder.is_empty()),
    }
}

/// A pack that passes the screen is within the limits, and gix takes or refuses it in peace.
fn pack(bytes: &[u8]) {
    let limits = Limits {
        pack_bytes: 1 << 20,
        objects: 1_000,
        object_bytes: 1 << 20,
        inflated_bytes: 4 << 20,
        delta_depth: 50,
        ..Limits::default()
    };
    // Without a right checksum no mutation would get any further.
    let mut pack = bytes.to_vec();
    if let Some(body) = pack.len().checked_sub(20) {
        let checksum = Sha1::digest(&pack[..body]);
        pack[body..].copy_from_slice(&checksum);
    }
    let stop = AtomicBool::new(false);
    let Ok(screened) = screen::screen(&mut Cursor::new(&pack), &limits, &stop) else { return };
    assert!(screened.n_objects() <= 1_000 && screened.inflated_bytes <= 4 << 20);
    let _ = screened.check_depths(&limits, |_| Some(12));
    let _ = gix_pack::Bundle::write_to_directory(
        &mut Cursor::new(&pack),
        None,
        &mut gix::progress::Discard,
        &stop,
        None::<gix::odb::Handle>,
        gix::hash::Kind::Sha1,
        gix_pack::bundle::write::Options { thread_limit: Some(1), ..Default::default() },
    );
}

/// Listings and reports are values or errors.
fn git_advertisement(bytes: &[u8]) {
    let limits = Limits { refs: 100, ..Limits::default() };
    for service in ["git-upload-pack", "git-receive-pack"] {
        if let Ok(advertisement::Advertisement::V0 { refs, .. }) =
            advertisement::parse_advertisement(bytes, service, &limits)
        {
            assert!(refs.len() <= 100);
        }
    }
    if let Ok(refs) = advertisement::parse_ls_refs(bytes, &limits) {
        assert!(refs.iter().all(|found| found.name.as_str().starts_with("refs/")));
    }
    if let Ok(report) = advertisement::parse_report(bytes) {
        let reasons = report.refs.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
        assert!(reasons.chain(report.unpacked.as_ref().err()).all(|r| !r.contains(['\n', '\x1b'])));
    }
}

/// A reply to a fetch is a pack or an error.
fn git_fetch(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(git::fuzz_fetch_reply(bytes, &std::env::temp_dir()));
}

#[test]
fn corpus() {
    for (name, body) in BODIES {
        let entries = entries(name);
        assert!(entries.len() >= 3, "{name} has a corpus");
        for (path, bytes) in entries {
            assert!(catch_unwind(|| body(&bytes)).is_ok(), "{}", path.display());
        }
    }
}

#[test]
fn fuzz() {
    let Ok(name) = std::env::var("TAGTIDE_FUZZ") else { return };
    let Some((_, body)) = BODIES.iter().find(|(known, _)| *known == name) else { return };
    let seconds = std::env::var("TAGTIDE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(10));
    let mut random = Random::seeded();
    eprintln!("fuzzing {name} with seed {}", random.0);
    let corpus: Vec<Vec<u8>> = entries(&name).into_iter().map(|(_, bytes)| bytes).collect();
    let mut n_inputs = 0_u64;
    while Instant::now() < end {
        let input = mutate(&corpus, &mut random);
        if catch_unwind(AssertUnwindSafe(|| body(&input))).is_err() {
            let path = folder(&name).join(format!("crash-{n_inputs}"));
            fs::write(&path, &input).expect("the corpus can be written");
            panic!("the input is kept as {}", path.display());
        }
        n_inputs += 1;
    }
    eprintln!("{n_inputs} inputs");
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn entries(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(folder(name)).expect("a corpus for each body");
    let paths = files.map(|file| file.expect("readable").path());
    let mut entries: Vec<_> =
        paths.map(|path| (path.clone(), fs::read(path).expect("readable"))).collect();
    entries.sort();
    entries
}

/// Changes, inserts, removes and splices bytes of an entry.
fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let to = (at + random.below(16)).min(input.len());
        match random.below(5) {
            0 => drop(input.drain(at..to)),
            1 => input.insert(at, random.below(256) as u8),
            2 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let until = (from + random.below(64)).min(other.len());
                input.splice(at..to, other[from..until].iter().copied());
            }
            3 => {
                input[at..to].iter_mut().for_each(|byte| *byte = b"0123f \n\0"[*byte as usize % 8])
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    input
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn seeded() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Random(now.map_or(1, |now| now.as_nanos() as u64) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}
