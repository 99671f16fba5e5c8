//! A received pack: in memory while small, else in a file that vanishes with it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Write},
    path::{Path, PathBuf},
};

use tempfile::TempPath;
use tokio::io::AsyncWriteExt;

/// Packs up to this size stay in memory: every incremental fetch does.
const MEMORY_BYTES_MAX: usize = 1 << 20;

/// Takes the bytes of a pack as they come.
pub(crate) struct Spool {
    folder: PathBuf,
    memory: Vec<u8>,
    file: Option<(tokio::fs::File, TempPath)>,
    len: u64,
}

/// A whole pack.
pub(crate) enum Spooled {
    Memory(Vec<u8>),
    File(TempPath),
}

impl Spool {
    pub(crate) fn new(folder: &Path) -> Spool {
        Spool { folder: folder.to_owned(), memory: Vec::new(), file: None, len: 0 }
    }

    /// Returns how many bytes were taken.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.len += bytes.len() as u64;
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > MEMORY_BYTES_MAX { self.flush().await } else { Ok(()) }
    }

    pub(crate) async fn finish(mut self) -> io::Result<Spooled> {
        if self.file.is_none() {
            return Ok(Spooled::Memory(self.memory));
        }
        self.flush().await?;
        match self.file {
            Some((mut file, path)) => {
                file.flush().await?;
                Ok(Spooled::File(path))
            }
            None => Ok(Spooled::Memory(self.memory)),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let (file, path) = tempfile::NamedTempFile::new_in(&self.folder)?.into_parts();
            self.file = Some((tokio::fs::File::from_std(file), path));
        }
        if let Some((file, _)) = &mut self.file {
            file.write_all(&self.memory).await?;
        }
        self.memory.clear();
        Ok(())
    }
}

impl Spooled {
    /// Returns whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Spooled::Memory(bytes) if bytes.is_empty())
    }

    /// Returns a file in `folder` with the pack.
    pub(crate) fn into_file(self, folder: &Path) -> io::Result<TempPath> {
        match self {
            Spooled::File(path) => Ok(path),
            Spooled::Memory(bytes) => {
                let mut file = tempfile::NamedTempFile::new_in(folder)?;
                file.write_all(&bytes)?;
                Ok(file.into_temp_path())
            }
        }
    }

    /// Returns a reader from the beginning.
    pub(crate) fn open(&self) -> io::Result<Box<dyn BufRead + Send + '_>> {
        Ok(match self {
            Spooled::Memory(bytes) => Box::new(Cursor::new(bytes)),
            Spooled::File(path) => Box::new(BufReader::with_capacity(64 << 10, File::open(path)?)),
        })
    }
}
