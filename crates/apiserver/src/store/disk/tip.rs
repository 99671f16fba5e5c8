//! The revision that has been answered last, in a file of its own.
//!
//! It is written after each transaction and not waited for: a process that is killed loses
//! nothing of it, and a machine that loses power leaves an older revision, which is no lie.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::tables::checksum;

/// A revision and its checksum.
const SIZE: usize = 16;

#[derive(Debug)]
pub(super) struct Tip {
    file: File,
    revision: Option<u64>,
}

impl Tip {
    pub(super) fn open(path: &Path) -> io::Result<Tip> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = [0; SIZE];
        let is_read = file.read_exact_at(&mut bytes, 0).is_ok();
        let revision = is_read.then(|| decode(bytes)).flatten();
        if revision.is_none() && file.metadata()?.len() > 0 {
            tracing::warn!(path = %path.display(), "The last revision cannot be read; the objects are not compared with it");
        }
        Ok(Tip { file, revision })
    }

    /// Returns the last revision, if the file tells one.
    pub(super) fn revision(&self) -> Option<u64> {
        self.revision
    }

    pub(super) fn write(&mut self, revision: u64) {
        // An older revision in the file is a weaker check, not a wrong one.
        if let Err(error) = self.file.write_all_at(&encode(revision), 0) {
            tracing::warn!(%error, "Cannot write the last revision");
        }
    }
}

fn encode(revision: u64) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let (value, sum) = bytes.split_at_mut(8);
    value.copy_from_slice(&revision.to_le_bytes());
    sum.copy_from_slice(&checksum(&[b"tip", &revision.to_le_bytes()]));
    bytes
}

fn decode(bytes: [u8; SIZE]) -> Option<u64> {
    let (value, _) = bytes.split_first_chunk()?;
    let revision = u64::from_le_bytes(*value);
    (encode(revision) == bytes).then_some(revision)
}
