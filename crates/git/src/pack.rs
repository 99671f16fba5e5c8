//! Writes the small packs that carry our commits, with deltas against what the server has.

use flate2::{Compress, Compression, FlushCompress, Status};
use gix::{ObjectId, objs::Kind};
use sha1::{Digest, Sha1};

/// An object to send.
pub(crate) struct Outgoing<'a> {
    pub(crate) kind: Kind,
    pub(crate) data: &'a [u8],
    /// An object the server has, and its contents, to describe this one by.
    pub(crate) base: Option<(ObjectId, &'a [u8])>,
}

/// Objects below this size are sent whole: a delta names its base in 20 bytes.
const DELTA_BYTES_MIN: usize = 96;

/// Returns a pack of these objects.
pub(crate) fn write_pack<'a>(
    objects: impl ExactSizeIterator<Item = Outgoing<'a>>,
    compression: Compression,
) -> Vec<u8> {
    let mut pack = Vec::with_capacity(1024);
    pack.extend_from_slice(b"PACK\0\0\0\x02");
    let n_objects = u32::try_from(objects.len()).expect("we make far fewer objects than 2^32");
    pack.extend_from_slice(&n_objects.to_be_bytes());
    // One for all: its tables are much larger than most objects.
    let mut zlib = Compress::new(compression, true);
    for object in objects {
        write_entry(&mut pack, &object, &mut zlib);
    }
    let checksum = Sha1::digest(&pack);
    pack.extend_from_slice(&checksum);
    pack
}

fn write_entry(pack: &mut Vec<u8>, object: &Outgoing<'_>, zlib: &mut Compress) {
    let delta = object
        .base
        .filter(|_| object.data.len() >= DELTA_BYTES_MIN)
        .map(|(id, base)| (id, delta(base, object.data)))
        .filter(|(_, delta)| delta.len() + 20 < object.data.len());
    match delta {
        Some((id, delta)) => {
            write_kind_and_size(pack, 7, delta.len());
            pack.extend_from_slice(id.as_slice());
            deflate(pack, &delta, zlib);
        }
        None => {
            let kind = match object.kind {
                Kind::Commit => 1,
                Kind::Tree => 2,
                Kind::Blob => 3,
                Kind::Tag => 4,
            };
            write_kind_and_size(pack, kind, object.data.len());
            deflate(pack, object.data, zlib);
        }
    }
}

fn write_kind_and_size(pack: &mut Vec<u8>, kind: u8, size: usize) {
    let mut byte = kind << 4 | (size & 0x0f) as u8;
    let mut rest = size >> 4;
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    pack.push(byte);
}

fn deflate(pack: &mut Vec<u8>, mut data: &[u8], zlib: &mut Compress) {
    zlib.reset();
    loop {
        // Deflated data is at most a little longer than what it is made from.
        pack.reserve(data.len() + 64);
        let before = zlib.total_in();
        let status = zlib.compress_vec(data, pack, FlushCompress::Finish);
        data = &data[(zlib.total_in() - before) as usize..];
        if status.expect("a whole object is given at once") == Status::StreamEnd {
            return;
        }
    }
}

/// Returns a delta that makes `new` from `old`.
///
/// Trees whose ids change keep their length: they are compared place by place. Everything else
/// is what both begin with, what is new, and what both end with; an edit of one value is that.
pub(crate) fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut delta = Vec::with_capacity(64);
    write_varint(&mut delta, old.len());
    write_varint(&mut delta, new.len());
    if old.len() == new.len() {
        delta_in_place(&mut delta, old, new);
    } else {
        delta_of_middle(&mut delta, old, new);
    }
    delta
}

/// Equal runs shorter than this are cheaper to insert than to copy.
const RUN_MIN: usize = 8;

fn delta_in_place(delta: &mut Vec<u8>, old: &[u8], new: &[u8]) {
    let mut at = 0;
    let mut inserted_from = 0;
    while at < new.len() {
        let run = common(&old[at..], &new[at..]);
        if run >= RUN_MIN || (at + run == new.len() && run > 0) {
            insert(delta, &new[inserted_from..at]);
            copy(delta, at, run);
            at += run;
            inserted_from = at;
        } else {
            at += run + 1;
        }
    }
    insert(delta, &new[inserted_from.min(new.len())..]);
}

fn delta_of_middle(delta: &mut Vec<u8>, old: &[u8], new: &[u8]) {
    let prefix = common(old, new);
    let suffix = old[prefix..]
        .iter()
        .rev()
        .zip(new[prefix..].iter().rev())
        .take_while(|(old, new)| old == new)
        .count();
    copy(delta, 0, prefix);
    insert(delta, &new[prefix..new.len() - suffix]);
    copy(delta, old.len() - suffix, suffix);
}

fn common(old: &[u8], new: &[u8]) -> usize {
    old.iter().zip(new).take_while(|(old, new)| old == new).count()
}

fn insert(delta: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.chunks(127) {
        delta.push(chunk.len() as u8);
        delta.extend_from_slice(chunk);
    }
}

/// Largest run that one copy instruction can name.
const COPY_MAX: usize = 0xff_ffff;

fn copy(delta: &mut Vec<u8>, mut offset: usize, mut size: usize) {
    while size > 0 {
        let run = size.min(COPY_MAX);
        let instruction = delta.len();
        delta.push(0x80);
        for (bit, byte) in (offset as u32).to_le_bytes().into_iter().enumerate() {
            if byte != 0 {
                delta.push(byte);
                delta[instruction] |= 1 << bit;
            }
        }
        for (bit, byte) in (run as u32).to_le_bytes().into_iter().take(3).enumerate() {
            if byte != 0 {
                delta.push(byte);
                delta[instruction] |= 0x10 << bit;
            }
        }
        offset += run;
        size -= run;
    }
}

fn write_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Applies a delta as Git does.
    fn apply(old: &[u8], delta: &[u8]) -> Vec<u8> {
        let (mut new, mut at) = (Vec::new(), 0);
        for _ in 0..2 {
            while delta[at] & 0x80 != 0 {
                at += 1;
            }
            at += 1;
        }
        while at < delta.len() {
            let instruction = delta[at];
            at += 1;
            if instruction & 0x80 == 0 {
                let n = instruction as usize;
                new.extend_from_slice(&delta[at..at + n]);
                at += n;
                continue;
            }
            let (mut offset, mut size) = (0, 0);
            for bit in 0..7 {
                if instruction & 1 << bit != 0 {
                    let value = usize::from(delta[at]);
                    at += 1;
                    if bit < 4 {
                        offset |= value << (8 * bit)
                    } else {
                        size |= value << (8 * (bit - 4))
                    }
                }
            }
            let size = if size == 0 { 0x10000 } else { size };
            new.extend_from_slice(&old[offset..offset + size]);
        }
        new
    }

    proptest! {
        #[test]
        fn deltas_make_the_new_text(
            old in proptest::collection::vec(0u8..4, 0..400),
            edits in proptest::collection::vec((0usize..400, 0u8..4), 0..6),
            tail in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut new = old.clone();
            for (at, byte) in edits {
                if let Some(place) = new.get_mut(at) { *place = byte; }
            }
            prop_assert_eq!(apply(&old, &delta(&old, &new)), new.clone());
            new.extend(tail);
            prop_assert_eq!(apply(&old, &delta(&old, &new)), new.clone());
            prop_assert_eq!(apply(&new, &delta(&new, &old)), old);
        }
    }

    #[test]
    fn an_edit_of_one_value_is_a_few_bytes() {
        let old = "line of text\n".repeat(10_000);
        let new = format!("{}v1.0.1\n{}", &old[..60_000], &old[60_000..]);
        assert!(delta(old.as_bytes(), new.as_bytes()).len() < 40);
        assert_eq!(apply(old.as_bytes(), &delta(old.as_bytes(), new.as_bytes())), new.as_bytes());
    }

    #[test]
    fn a_copy_of_exactly_64_kib_is_written_as_git_reads_it() {
        let old = vec![7; 0x10000 + 300];
        let new = [&old[..], b"x"].concat();
        assert_eq!(apply(&old, &delta(&old, &new)), new);
        let new = [&vec![7; 0x10000][..], &[8; 300][..]].concat();
        assert_eq!(apply(&old, &delta(&old, &new)), new);
    }
}
