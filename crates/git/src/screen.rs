//! Looks through a received pack before anything is built from it: counts, sizes, deltas, checksum.

use std::{
    io::{self, BufRead},
    sync::atomic::{AtomicBool, Ordering},
};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use gix::ObjectId;
use gix_pack::data::{entry::Header, input};
use sha1::{Digest, Sha1};

use crate::limits::Limits;

/// What a pack holds.
#[derive(Debug, Default)]
pub struct Screened {
    entries: Vec<Entry>,
    /// Bytes of all its objects, inflated and with deltas applied.
    pub inflated_bytes: u64,
    /// Deltas that name their base by id, which may be outside the pack.
    pub n_ref_deltas: usize,
    /// Where the entries end and the checksum begins.
    end: u64,
    checksum: [u8; 20],
}

#[derive(Debug)]
struct Entry {
    offset: u64,
    /// How many deltas lie below, as far as bases are named by offset.
    depth: u32,
    /// Of all its bytes in the pack.
    crc32: u32,
    base: Base,
}

#[derive(Debug)]
enum Base {
    None,
    /// Position in `entries`.
    Entry(usize),
    Id(ObjectId),
}

/// Why a pack is refused.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// The bytes could not be read.
    #[error("cannot read the received pack")]
    Read(#[source] io::Error),
    /// It ends too early.
    #[error("the received pack is cut short")]
    Truncated,
    /// It is not what a pack looks like.
    #[error("the received pack is malformed: {0}")]
    Malformed(&'static str),
    /// Its checksum does not match.
    #[error("the checksum of the received pack is wrong")]
    Checksum,
    /// One of the caps was hit.
    #[error("the received pack exceeds the limit of {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
    /// The caller's time is over.
    #[error("the received pack was not looked through in time")]
    Interrupted,
}

impl Screened {
    /// Returns how many objects the pack holds.
    pub fn n_objects(&self) -> usize {
        self.entries.len()
    }

    /// Returns the pack's checksum.
    pub(crate) fn checksum(&self) -> ObjectId {
        self.checksum.into()
    }

    /// Returns what an index of the pack is written from, so that nobody need look for its entries again.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = input::Entry> + '_ {
        let last = self.entries.len().saturating_sub(1);
        self.entries.iter().enumerate().map(move |(position, entry)| {
            let end = self.entries.get(position + 1).map_or(self.end, |next| next.offset);
            input::Entry {
                header: self.header(entry),
                // Only where an entry ends is of interest, not where its data begin.
                header_size: 0,
                pack_offset: entry.offset,
                compressed: None,
                compressed_size: end - entry.offset,
                crc32: Some(entry.crc32),
                decompressed_size: 0,
                trailer: (position == last).then(|| self.checksum()),
            }
        })
    }

    /// An index does not tell the kinds of whole objects apart.
    fn header(&self, entry: &Entry) -> Header {
        match entry.base {
            Base::None => Header::Blob,
            Base::Entry(base) => {
                Header::OfsDelta { base_distance: entry.offset - self.entries[base].offset }
            }
            Base::Id(base_id) => Header::RefDelta { base_id },
        }
    }

    /// Checks the depth of deltas once ids are known: `offset_of` finds an object within the pack.
    ///
    /// Bases named by id can only be followed after the pack was indexed.
    pub fn check_depths(
        &self,
        limits: &Limits,
        offset_of: impl Fn(&ObjectId) -> Option<u64>,
    ) -> Result<(), ScreenError> {
        if self.n_ref_deltas == 0 {
            return Ok(());
        }
        let mut depths: Vec<Option<u32>> = vec![None; self.entries.len()];
        for start in 0..self.entries.len() {
            self.measure(start, limits, &mut depths, &offset_of)?;
        }
        Ok(())
    }

    /// Walks down from one entry to the first measured one, then measures all on the way.
    fn measure(
        &self,
        start: usize,
        limits: &Limits,
        depths: &mut [Option<u32>],
        offset_of: &impl Fn(&ObjectId) -> Option<u64>,
    ) -> Result<(), ScreenError> {
        let mut way = Vec::new();
        let mut at = Some(start);
        while let Some(position) = at {
            if depths[position].is_some() {
                break;
            }
            way.push(position);
            if way.len() > limits.delta_depth as usize + 1 {
                return Err(too_deep(limits));
            }
            at = self.base_of(position, offset_of);
        }
        let mut below = at.and_then(|position| depths[position]);
        for position in way.into_iter().rev() {
            let depth = match (below, &self.entries[position].base) {
                (Some(below), _) => below + 1,
                (None, Base::None) => 0,
                // The base is not in this pack, as in one that was not completed yet.
                (None, Base::Entry(_) | Base::Id(_)) => 1,
            };
            if depth > limits.delta_depth {
                return Err(too_deep(limits));
            }
            depths[position] = Some(depth);
            below = Some(depth);
        }
        Ok(())
    }

    fn base_of(
        &self,
        position: usize,
        offset_of: &impl Fn(&ObjectId) -> Option<u64>,
    ) -> Option<usize> {
        match &self.entries[position].base {
            Base::None => None,
            Base::Entry(base) => Some(*base),
            Base::Id(id) => {
                let offset = offset_of(id)?;
                self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok()
            }
        }
    }
}

/// Looks through a whole pack and returns what it holds, in memory that grows with its entries only.
pub fn screen(
    pack: &mut dyn BufRead,
    limits: &Limits,
    stop: &AtomicBool,
) -> Result<Screened, ScreenError> {
    let (hash, crc, limit) = (Sha1::new(), Crc::new(), limits.pack_bytes);
    let mut reader = Reader { inner: pack, hash, crc, at: 0, limit };
    let n_objects = read_header(&mut reader, limits)?;
    let mut screened = Screened::default();
    let mut inflater = Inflater::default();
    for _ in 0..n_objects {
        if stop.load(Ordering::Relaxed) {
            return Err(ScreenError::Interrupted);
        }
        screen_entry(&mut reader, &mut screened, &mut inflater, limits)?;
    }
    let expected = reader.hash.clone().finalize();
    screened.end = reader.at;
    reader.read(&mut screened.checksum)?;
    if screened.checksum != expected.as_slice() {
        return Err(ScreenError::Checksum);
    }
    if !reader.inner.fill_buf().map_err(ScreenError::Read)?.is_empty() {
        return Err(ScreenError::Malformed("bytes follow its checksum"));
    }
    Ok(screened)
}

fn read_header(reader: &mut Reader<'_>, limits: &Limits) -> Result<u32, ScreenError> {
    let mut header = [0; 12];
    reader.read(&mut header)?;
    let number = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if &header[..4] != b"PACK" || number(4) != 2 {
        return Err(ScreenError::Malformed("it is not a pack of version 2"));
    }
    let n_objects = number(8);
    if n_objects > limits.objects {
        return Err(ScreenError::Limit { what: "objects", limit: limits.objects.into() });
    }
    Ok(n_objects)
}

fn screen_entry(
    reader: &mut Reader<'_>,
    screened: &mut Screened,
    inflater: &mut Inflater,
    limits: &Limits,
) -> Result<(), ScreenError> {
    let offset = reader.at;
    reader.crc.reset();
    let (kind, size) = read_kind_and_size(reader)?;
    check_object_size(size, limits)?;
    let (base, depth) = match kind {
        1..=4 => (Base::None, 0),
        6 => {
            let base = read_base_position(reader, offset, &screened.entries)?;
            (Base::Entry(base), screened.entries[base].depth + 1)
        }
        7 => {
            let mut id = [0; 20];
            reader.read(&mut id)?;
            screened.n_ref_deltas += 1;
            (Base::Id(ObjectId::from(id)), 1)
        }
        _ => return Err(ScreenError::Malformed("an entry of an unknown type")),
    };
    if depth > limits.delta_depth {
        return Err(too_deep(limits));
    }
    let is_delta = !matches!(base, Base::None);
    // The sum is checked against what an entry declares before it is inflated.
    add_inflated(screened, size, limits)?;
    let head = inflater.inflate(reader, size)?;
    if is_delta {
        let target = delta_target(head).ok_or(ScreenError::Malformed("a delta without sizes"))?;
        check_object_size(target, limits)?;
        add_inflated(screened, target, limits)?;
    }
    screened.entries.push(Entry { offset, depth, crc32: reader.crc.sum(), base });
    Ok(())
}

fn add_inflated(screened: &mut Screened, size: u64, limits: &Limits) -> Result<(), ScreenError> {
    screened.inflated_bytes = screened.inflated_bytes.saturating_add(size);
    if screened.inflated_bytes > limits.inflated_bytes {
        let limit = limits.inflated_bytes;
        return Err(ScreenError::Limit { what: "bytes when inflated", limit });
    }
    Ok(())
}

fn check_object_size(size: u64, limits: &Limits) -> Result<(), ScreenError> {
    if size > limits.object_bytes {
        return Err(ScreenError::Limit { what: "bytes per object", limit: limits.object_bytes });
    }
    Ok(())
}

fn too_deep(limits: &Limits) -> ScreenError {
    ScreenError::Limit { what: "deltas on top of one another", limit: limits.delta_depth.into() }
}

fn read_kind_and_size(reader: &mut Reader<'_>) -> Result<(u8, u64), ScreenError> {
    let first = reader.byte()?;
    let kind = first >> 4 & 7;
    let mut size = u64::from(first & 0x0f);
    let mut shift = 4;
    let mut byte = first;
    while byte & 0x80 != 0 {
        byte = reader.byte()?;
        if shift > 56 {
            return Err(ScreenError::Malformed("a size beyond 64 bits"));
        }
        size |= u64::from(byte & 0x7f) << shift;
        shift += 7;
    }
    Ok((kind, size))
}

fn read_base_position(
    reader: &mut Reader<'_>,
    offset: u64,
    entries: &[Entry],
) -> Result<usize, ScreenError> {
    let mut byte = reader.byte()?;
    let mut distance = u64::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = reader.byte()?;
        distance = distance
            .checked_add(1)
            .and_then(|distance| distance.checked_mul(128))
            .map(|distance| distance | u64::from(byte & 0x7f))
            .ok_or(ScreenError::Malformed("a base before the pack"))?;
    }
    offset
        .checked_sub(distance)
        .and_then(|base| entries.binary_search_by_key(&base, |entry| entry.offset).ok())
        .ok_or(ScreenError::Malformed("a delta whose base is not an entry before it"))
}

/// Returns the size of what a delta makes, which is the second number of its data.
fn delta_target(head: &[u8]) -> Option<u64> {
    let mut bytes = head.iter();
    read_varint(&mut bytes)?;
    read_varint(&mut bytes)
}

fn read_varint<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = bytes.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads, hashes and counts.
struct Reader<'a> {
    inner: &'a mut dyn BufRead,
    hash: Sha1,
    /// Of the entry that is being read.
    crc: Crc,
    at: u64,
    limit: u64,
}

impl Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<(), ScreenError> {
        let mut filled = 0;
        while filled < into.len() {
            let available = self.available()?;
            let n = available.len().min(into.len() - filled);
            into[filled..filled + n].copy_from_slice(&available[..n]);
            self.consume(n)?;
            filled += n;
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, ScreenError> {
        let mut byte = [0];
        self.read(&mut byte)?;
        Ok(byte[0])
    }

    /// Returns at least one byte.
    fn available(&mut self) -> Result<&[u8], ScreenError> {
        let available = self.inner.fill_buf().map_err(ScreenError::Read)?;
        if available.is_empty() { Err(ScreenError::Truncated) } else { Ok(available) }
    }

    fn consume(&mut self, n: usize) -> Result<(), ScreenError> {
        let available = self.inner.fill_buf().map_err(ScreenError::Read)?;
        self.hash.update(&available[..n]);
        self.crc.update(&available[..n]);
        self.inner.consume(n);
        self.at += n as u64;
        if self.at > self.limit {
            return Err(ScreenError::Limit { what: "bytes", limit: self.limit });
        }
        Ok(())
    }
}

/// Inflates entries one after the other, keeping only their first bytes.
struct Inflater {
    zlib: Decompress,
    out: Vec<u8>,
    head: Vec<u8>,
}

/// Two sizes at the head of a delta take at most this many bytes.
const HEAD_BYTES: usize = 20;

impl Default for Inflater {
    fn default() -> Inflater {
        let out = vec![0; 64 * 1024];
        Inflater { zlib: Decompress::new(true), out, head: Vec::with_capacity(HEAD_BYTES) }
    }
}

impl Inflater {
    /// Inflates one stream that must make exactly `size` bytes; returns its first bytes.
    fn inflate(&mut self, reader: &mut Reader<'_>, size: u64) -> Result<&[u8], ScreenError> {
        self.zlib.reset(true);
        self.head.clear();
        loop {
            let (before_in, before_out) = (self.zlib.total_in(), self.zlib.total_out());
            let status = self
                .zlib
                .decompress(reader.available()?, &mut self.out, FlushDecompress::None)
                .map_err(|_| ScreenError::Malformed("an object that does not inflate"))?;
            let n_in = (self.zlib.total_in() - before_in) as usize;
            let n_out = (self.zlib.total_out() - before_out) as usize;
            reader.consume(n_in)?;
            let wanted = (HEAD_BYTES - self.head.len()).min(n_out);
            self.head.extend_from_slice(&self.out[..wanted]);
            if self.zlib.total_out() > size {
                return Err(ScreenError::Malformed("an object larger than it says"));
            }
            match status {
                Status::StreamEnd if self.zlib.total_out() == size => return Ok(&self.head),
                Status::StreamEnd => {
                    return Err(ScreenError::Malformed("an object smaller than it says"));
                }
                Status::Ok | Status::BufError if n_in == 0 && n_out == 0 => {
                    return Err(ScreenError::Malformed("an object that does not inflate"));
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use expect_test::{Expect, expect};
    use flate2::{Compression, write::ZlibEncoder};

    use super::*;

    /// An entry: type, declared size, base, and what it inflates to.
    type Raw = (u8, u64, Vec<u8>, Vec<u8>);

    const LIMITS: fn() -> Limits = || Limits {
        pack_bytes: 10_000,
        objects: 100,
        object_bytes: 1_000,
        inflated_bytes: 2_000,
        delta_depth: 3,
        ..Limits::default()
    };

    #[test]
    fn sound_packs_pass() {
        check(&[], expect!["0 objects, 0 bytes"]);
        check(&[blob(b"hello"), blob(b"")], expect!["2 objects, 5 bytes"]);
        check(&[blob(b"hello"), delta(14, 5, 9)], expect!["2 objects, 17 bytes"]);
    }

    #[test]
    fn bombs_are_refused_by_what_they_declare() {
        check(
            &[(3, 1 << 40, Vec::new(), vec![0; 10])],
            expect!["exceeds the limit of 1000 bytes per object"],
        );
        check(
            &[blob(b"hello"), delta(14, 5, 1 << 40)],
            expect!["exceeds the limit of 1000 bytes per object"],
        );
        check(&vec![blob(&[0; 900]); 3], expect!["exceeds the limit of 2000 bytes when inflated"]);
        check(&vec![blob(b""); 101], expect!["exceeds the limit of 100 objects"]);
    }

    #[test]
    fn objects_are_as_large_as_they_say() {
        check(
            &[(3, 5, Vec::new(), vec![0; 900])],
            expect!["is malformed: an object larger than it says"],
        );
        check(
            &[(3, 50, Vec::new(), vec![0; 5])],
            expect!["is malformed: an object smaller than it says"],
        );
        check(
            &[(5, 0, Vec::new(), Vec::new())],
            expect!["is malformed: an entry of an unknown type"],
        );
        check(
            &[delta(99, 5, 5)],
            expect!["is malformed: a delta whose base is not an entry before it"],
        );
        check(
            &[blob(b"hello"), delta(13, 5, 5)],
            expect!["is malformed: a delta whose base is not an entry before it"],
        );
    }

    #[test]
    fn chains_of_deltas_end() {
        let chain = |n: usize| {
            let mut raws = vec![blob(b"hello")];
            let mut last = 14;
            for _ in 0..n {
                raws.push(delta(last, 5, 5));
                last = entry(&delta(last, 5, 5)).len() as u8;
            }
            raws
        };
        check(&chain(3), expect!["4 objects, 29 bytes"]);
        check(&chain(4), expect!["exceeds the limit of 3 deltas on top of one another"]);
    }

    #[test]
    fn deltas_that_name_their_base_are_measured_afterwards() {
        let raws: Vec<Raw> = (0..5).map(|n| (7, 2, vec![n; 20], vec![5, 5])).collect();
        let pack = pack(&raws);
        let stop = AtomicBool::new(false);
        let screened = screen(&mut pack.as_slice(), &LIMITS(), &stop).expect("sound so far");
        let size = entry(&raws[0]).len() as u64;
        let before =
            |id: &ObjectId| 12_u64.checked_add(size * u64::from(id.as_slice()[0]).checked_sub(1)?);
        let error = screened.check_depths(&LIMITS(), before).expect_err("five in a row");
        assert!(matches!(error, ScreenError::Limit { limit: 3, .. }), "{error}");
        screened.check_depths(&LIMITS(), |_| None).expect("one above the mirror each");
        screened.check_depths(&LIMITS(), |_| Some(12)).expect_err("one is its own base");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let pack = pack(&[blob(b"hello"), blob(&[7; 300])]);
        for at in 0..pack.len() {
            let mut harmed = pack.clone();
            harmed[at] ^= 0x10;
            let stop = AtomicBool::new(false);
            screen(&mut harmed.as_slice(), &LIMITS(), &stop).expect_err("one byte differs");
            screen(&mut &pack[..at], &LIMITS(), &stop).expect_err("cut short");
        }
        let longer = [&pack[..], b"x"].concat();
        screen(&mut longer.as_slice(), &LIMITS(), &AtomicBool::new(false)).expect_err("too long");
    }

    fn blob(data: &[u8]) -> Raw {
        (3, data.len() as u64, Vec::new(), data.to_vec())
    }

    /// A delta on the entry `distance` bytes before it.
    fn delta(distance: u8, source: u64, mut target: u64) -> Raw {
        let mut data = vec![source as u8];
        while target >= 0x80 {
            data.push(target as u8 | 0x80);
            target >>= 7;
        }
        data.push(target as u8);
        // The sizes alone are no delta, but the screen looks no further.
        data.extend_from_slice(&[1, b'x', 1][..3 - data.len().min(3)]);
        (6, data.len() as u64, vec![distance], data)
    }

    fn entry((kind, size, base, data): &Raw) -> Vec<u8> {
        let mut entry = Vec::new();
        let mut byte = kind << 4 | (size & 0x0f) as u8;
        let mut rest = size >> 4;
        while rest > 0 {
            entry.push(byte | 0x80);
            byte = (rest & 0x7f) as u8;
            rest >>= 7;
        }
        entry.push(byte);
        entry.extend_from_slice(base);
        let mut zlib = ZlibEncoder::new(&mut entry, Compression::default());
        zlib.write_all(data).expect("a Vec takes all");
        zlib.finish().expect("a Vec takes all");
        entry
    }

    fn pack(raws: &[Raw]) -> Vec<u8> {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend_from_slice(&(raws.len() as u32).to_be_bytes());
        pack.extend(raws.iter().flat_map(entry));
        let checksum = Sha1::digest(&pack);
        pack.extend_from_slice(&checksum);
        pack
    }

    #[track_caller]
    fn check(raws: &[Raw], expected: Expect) {
        let stop = AtomicBool::new(false);
        let actual = match screen(&mut pack(raws).as_slice(), &LIMITS(), &stop) {
            Ok(screened) => {
                format!("{} objects, {} bytes", screened.n_objects(), screened.inflated_bytes)
            }
            Err(error) => error.to_string().replace("the received pack ", ""),
        };
        expected.assert_eq(&actual);
    }
}
