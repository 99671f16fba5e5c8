//! Packs: objects on their way over the network.

use std::{collections::HashMap, io::Write as _};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, write::ZlibEncoder};
use gix::{ObjectId, objs::Kind};
use sha1::{Digest as _, Sha1};

use super::{
    GitError,
    objects::{Object, Objects, id_of},
};

/// More than any demonstration pushes at once.
const OBJECTS_MAX: u32 = 1_000_000;

/// The largest object that is unpacked: this host keeps everything in memory.
const OBJECT_BYTES_MAX: u64 = 256 << 20;

const CHECKSUM_BYTES: usize = 20;

/// Packs objects whole, without deltas.
pub(super) fn write<'a>(
    objects: impl ExactSizeIterator<Item = &'a Object>,
) -> Result<Vec<u8>, GitError> {
    let n_objects = u32::try_from(objects.len())
        .map_err(|_| GitError::Protocol("more objects than a pack can have".to_owned()))?;
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&n_objects.to_be_bytes());
    for object in objects {
        write_header(&mut pack, object);
        let mut encoder = ZlibEncoder::new(&mut pack, flate2::Compression::fast());
        encoder.write_all(&object.data).expect("memory can be written");
        encoder.finish().expect("memory can be written");
    }
    let checksum = Sha1::digest(&pack);
    pack.extend_from_slice(&checksum);
    Ok(pack)
}

fn write_header(pack: &mut Vec<u8>, object: &Object) {
    let kind: u8 = match object.kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut size = object.data.len();
    // Four bits of the size, then seven at a time; the top bit says that more follow.
    let mut byte = kind << 4 | low_bits(size, 4);
    size >>= 4;
    while size > 0 {
        pack.push(byte | 0x80);
        byte = low_bits(size, 7);
        size >>= 7;
    }
    pack.push(byte);
}

fn low_bits(size: usize, n_bits: u32) -> u8 {
    u8::try_from(size & ((1 << n_bits) - 1)).expect("at most seven bits")
}

/// What an entry is a delta against.
enum Base {
    Offset(usize),
    Id(ObjectId),
}

struct Delta {
    offset: usize,
    base: Base,
    instructions: Vec<u8>,
}

/// Unpacks `pack`, whose deltas may be against its own objects and against those of `known`.
pub(super) fn read(pack: &[u8], known: &Objects) -> Result<Vec<(Kind, Bytes)>, GitError> {
    let (body, n_objects) = check_frame(pack)?;
    let mut unpacked = Unpacked { known, by_offset: HashMap::new(), by_id: HashMap::new() };
    let mut deltas = Vec::new();
    let mut input = Input { bytes: body, position: 12 };
    for _ in 0..n_objects {
        let offset = input.position;
        match input.entry()? {
            Entry::Whole(kind, data) => unpacked.add(offset, kind, data.into()),
            Entry::Delta(base, instructions) => deltas.push(Delta { offset, base, instructions }),
        }
    }
    if input.position != body.len() {
        return Err(broken("has bytes after its last object"));
    }
    // A base may itself be a delta that comes later: each round resolves what it can.
    while !deltas.is_empty() {
        let n_before = deltas.len();
        let mut waiting = Vec::new();
        for delta in deltas {
            match unpacked.base(&delta.base) {
                Some(base) => {
                    let data = apply(&base.data, &delta.instructions)?;
                    unpacked.add(delta.offset, base.kind, data.into());
                }
                None => waiting.push(delta),
            }
        }
        if waiting.len() == n_before {
            return Err(broken("has a delta against an object that is nowhere"));
        }
        deltas = waiting;
    }
    Ok(unpacked.by_offset.into_values().map(|object| (object.kind, object.data)).collect())
}

fn check_frame(pack: &[u8]) -> Result<(&[u8], u32), GitError> {
    let body_len = pack
        .len()
        .checked_sub(CHECKSUM_BYTES)
        .filter(|&len| len >= 12)
        .ok_or_else(|| broken("is cut short"))?;
    let (body, checksum) = pack.split_at(body_len);
    if !body.starts_with(b"PACK\0\0\0\x02") {
        return Err(broken("is not a pack of version 2"));
    }
    if Sha1::digest(body).as_slice() != checksum {
        return Err(broken("has a wrong checksum"));
    }
    let count = body[8..12].try_into().expect("a header of twelve bytes was asked for");
    let n_objects = u32::from_be_bytes(count);
    if n_objects > OBJECTS_MAX {
        return Err(broken("has too many objects"));
    }
    Ok((body, n_objects))
}

struct Unpacked<'a> {
    known: &'a Objects,
    by_offset: HashMap<usize, Object>,
    by_id: HashMap<ObjectId, usize>,
}

impl Unpacked<'_> {
    fn add(&mut self, offset: usize, kind: Kind, data: Bytes) {
        self.by_id.insert(id_of(kind, &data), offset);
        self.by_offset.insert(offset, Object { kind, data });
    }

    fn base(&self, base: &Base) -> Option<Object> {
        let own = |offset| self.by_offset.get(offset);
        match base {
            Base::Offset(offset) => own(offset).cloned(),
            Base::Id(id) => {
                self.by_id.get(id).and_then(own).or_else(|| self.known.get(id)).cloned()
            }
        }
    }
}

enum Entry {
    Whole(Kind, Vec<u8>),
    Delta(Base, Vec<u8>),
}

struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Input<'_> {
    fn entry(&mut self) -> Result<Entry, GitError> {
        let offset = self.position;
        let first = self.byte()?;
        let mut size = u64::from(first & 0x0f);
        let mut shift = 4;
        let mut byte = first;
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            if shift > 56 {
                return Err(broken("has an object with an endless size"));
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        let kind = match first >> 4 & 7 {
            1 => Kind::Commit,
            2 => Kind::Tree,
            3 => Kind::Blob,
            4 => Kind::Tag,
            6 => {
                let distance = self.distance()?;
                let base = offset.checked_sub(distance).ok_or_else(|| broken("has a bad delta"))?;
                return Ok(Entry::Delta(Base::Offset(base), self.inflate(size)?));
            }
            7 => {
                let id = ObjectId::from_bytes_or_panic(self.take(CHECKSUM_BYTES)?);
                return Ok(Entry::Delta(Base::Id(id), self.inflate(size)?));
            }
            _ => return Err(broken("has an object of an unknown type")),
        };
        Ok(Entry::Whole(kind, self.inflate(size)?))
    }

    fn byte(&mut self) -> Result<u8, GitError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, n_bytes: usize) -> Result<&[u8], GitError> {
        let bytes = self
            .bytes
            .get(self.position..self.position.saturating_add(n_bytes))
            .ok_or_else(|| broken("is cut short"))?;
        self.position += n_bytes;
        Ok(bytes)
    }

    /// Reads how far back the base of a delta begins.
    fn distance(&mut self) -> Result<usize, GitError> {
        let mut byte = self.byte()?;
        let mut distance = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            distance = distance
                .checked_add(1)
                .and_then(|distance| distance.checked_mul(128))
                .ok_or_else(|| broken("has a bad delta"))?
                | usize::from(byte & 0x7f);
        }
        Ok(distance)
    }

    fn inflate(&mut self, size: u64) -> Result<Vec<u8>, GitError> {
        if size > OBJECT_BYTES_MAX {
            return Err(broken("has an object that is too large"));
        }
        let size = usize::try_from(size).map_err(|_| broken("has an object that is too large"))?;
        // One byte of room more shows data beyond the declared size.
        let mut data = Vec::with_capacity(size + 1);
        let mut decompress = Decompress::new(true);
        loop {
            let (n_in, n_out) = (decompress.total_in(), decompress.total_out());
            let input = &self.bytes[self.position..];
            let status = decompress
                .decompress_vec(input, &mut data, FlushDecompress::None)
                .map_err(|_| broken("has an object that cannot be inflated"))?;
            let n_read = decompress.total_in() - n_in;
            self.position += usize::try_from(n_read).expect("no more than the input");
            match status {
                Status::StreamEnd if data.len() == size => return Ok(data),
                Status::StreamEnd => return Err(broken("has an object of another size")),
                _ if n_read == 0 && decompress.total_out() == n_out => {
                    return Err(broken("has an object of another size"));
                }
                _ => {}
            }
        }
    }
}

/// Makes an object from its base and the instructions of a delta.
fn apply(base: &[u8], mut instructions: &[u8]) -> Result<Vec<u8>, GitError> {
    let bad = || broken("has a bad delta");
    let base_size = delta_size(&mut instructions)?;
    let size = delta_size(&mut instructions)?;
    if base_size != base.len() as u64 || size > OBJECT_BYTES_MAX {
        return Err(bad());
    }
    let mut data = Vec::new();
    while let Some((&instruction, rest)) = instructions.split_first() {
        instructions = rest;
        let piece = if instruction & 0x80 == 0 {
            let (piece, rest) =
                instructions.split_at_checked(usize::from(instruction)).ok_or_else(bad)?;
            instructions = rest;
            piece
        } else {
            let mut fields = [0_u8; 7];
            for (bit, field) in fields.iter_mut().enumerate() {
                if instruction & 1 << bit != 0 {
                    let (&byte, rest) = instructions.split_first().ok_or_else(bad)?;
                    *field = byte;
                    instructions = rest;
                }
            }
            let [o0, o1, o2, o3, s0, s1, s2] = fields.map(usize::from);
            let offset = o0 | o1 << 8 | o2 << 16 | o3 << 24;
            let size = s0 | s1 << 8 | s2 << 16;
            let size = if size == 0 { 0x1_0000 } else { size };
            base.get(offset..offset + size).ok_or_else(bad)?
        };
        if instruction == 0 || (data.len() + piece.len()) as u64 > size {
            return Err(bad());
        }
        data.extend_from_slice(piece);
    }
    if data.len() as u64 == size { Ok(data) } else { Err(bad()) }
}

fn delta_size(instructions: &mut &[u8]) -> Result<u64, GitError> {
    let mut size = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = instructions.split_first().ok_or_else(|| broken("has a bad delta"))?;
        *instructions = rest;
        size |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
    Err(broken("has a bad delta"))
}

fn broken(how: &str) -> GitError {
    GitError::Protocol(format!("the pack {how}"))
}
