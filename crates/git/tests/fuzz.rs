//! Foreign bytes: whatever a server sends, we end with a value or an error, within our limits. The
//! corpus is replayed by the test command.

use std::{io::Cursor, sync::atomic::AtomicBool};

use git::{Limits, advertisement, pkt, screen};
use sha1::{Digest, Sha1};
use trial::fuzz::{Body, replay, run_if_asked};

const BODIES: [Body; 4] = [
    Body { name: "pkt-line", run: pkt_line, words: WORDS, input_max: INPUT_MAX },
    Body { name: "pack", run: pack, words: &[], input_max: INPUT_MAX },
    Body { name: "git-advertisement", run: git_advertisement, words: WORDS, input_max: INPUT_MAX },
    Body { name: "git-fetch", run: git_fetch, words: WORDS, input_max: INPUT_MAX },
];

const WORDS: &[&str] = &[
    "0000",
    "0001",
    "0002",
    "fff0",
    "ffff",
    "0004",
    "0",
    "f",
    " ",
    "\n",
    "\0",
    "refs/heads/",
    "ERR ",
];

/// The longest input that mutation makes.
const INPUT_MAX: usize = 64 * 1024;

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
fn the_corpus_holds() {
    replay(env!("CARGO_MANIFEST_DIR"), &BODIES);
}

#[test]
fn fuzz() {
    run_if_asked(env!("CARGO_MANIFEST_DIR"), &BODIES);
}
