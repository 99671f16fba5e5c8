//! Files whose writes are lost with the power, unless they were synced.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;
use tokio::sync::watch;

/// The power of one machine. Clones are the same; it goes away once and for good.
#[derive(Clone, Debug, Default)]
pub struct Power(Arc<Supply>);

#[derive(Debug, Default)]
struct Supply {
    is_off: watch::Sender<bool>,
    failing: Mutex<Option<Failing>>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    n_syncs: usize,
    torn: u64,
}

impl Power {
    /// Takes the power away now.
    pub fn cut(&self) {
        self.0.is_off.send_replace(true);
    }

    /// Takes the power away in the middle of a sync, after `n_syncs` more have gone well. Each bit
    /// of `torn` says of one unsynced write, in turn, whether it has reached the disk by then.
    pub fn cut_at_sync(&self, n_syncs: usize, torn: u64) {
        *self.failing() = Some(Failing { n_syncs, torn });
    }

    /// Returns whether the power is gone.
    pub fn is_off(&self) -> bool {
        *self.0.is_off.borrow()
    }

    /// Waits until the power is gone.
    pub async fn gone(&self) {
        let mut is_off = self.0.is_off.subscribe();
        // The sender is here.
        let _ = is_off.wait_for(|is_off| *is_off).await;
    }

    fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        self.0.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a sync, and returns which writes it still makes if it is the last.
    fn sync(&self) -> Option<u64> {
        if self.is_off() {
            return Some(0);
        }
        let mut failing = self.failing();
        let failing = failing.as_mut()?;
        if failing.n_syncs > 0 {
            failing.n_syncs -= 1;
            return None;
        }
        self.cut();
        Some(failing.torn)
    }
}

/// A database's file. What is written to it is in memory until it is synced.
#[derive(Debug)]
pub struct ForgetfulFile {
    power: Power,
    file: File,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

impl ForgetfulFile {
    /// Wraps a file with what it holds now.
    pub fn new(file: File, power: Power) -> io::Result<ForgetfulFile> {
        let mut bytes = vec![0; size(file.metadata()?.len())?];
        file.read_exact_at(&mut bytes, 0)?;
        let content = Mutex::new(Content { bytes, unsynced: Vec::new() });
        Ok(ForgetfulFile { power, file, content })
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> io::Result<()> {
        if self.power.is_off() { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }
}

impl StorageBackend for ForgetfulFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (content, start) = (self.content(), size(offset)?);
        let bytes = start.checked_add(out.len()).and_then(|end| content.bytes.get(start..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.alive()?;
        let mut content = self.content();
        content.bytes.resize(size(len)?, 0);
        content.unsynced.push(Write::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let left = self.power.sync();
        let unsynced = std::mem::take(&mut self.content().unsynced);
        for (n, write) in unsynced.into_iter().enumerate() {
            if left.is_some_and(|left| left >> (n % 64) & 1 == 0) {
                continue;
            }
            match write {
                Write::Bytes(offset, bytes) => self.file.write_all_at(&bytes, offset)?,
                Write::Length(len) => self.file.set_len(len)?,
            }
        }
        self.alive()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.alive()?;
        let (mut content, start) = (self.content(), size(offset)?);
        let end = start.checked_add(data.len()).ok_or(io::ErrorKind::InvalidInput)?;
        let place = content.bytes.get_mut(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        place.copy_from_slice(data);
        content.unsynced.push(Write::Bytes(offset, data.to_vec()));
        Ok(())
    }
}

fn size(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        tempfile::tempfile().expect("a temporary file")
    }

    fn reopened(file: &File) -> Vec<u8> {
        let again = ForgetfulFile::new(file.try_clone().expect("a file"), Power::default());
        again.expect("it is read").content().bytes.clone()
    }

    #[test]
    fn what_was_not_synced_is_lost_with_the_power() {
        let (file, power) = (file(), Power::default());
        let forgetful = ForgetfulFile::new(file.try_clone().expect("a file"), power.clone());
        let forgetful = forgetful.expect("it is empty");
        forgetful.set_len(4).expect("it has power");
        forgetful.write(0, b"ab").expect("it has power");
        forgetful.sync_data().expect("it has power");
        forgetful.write(2, b"cd").expect("it has power");
        let mut bytes = [0; 4];
        forgetful.read(0, &mut bytes).expect("it is as long");
        assert_eq!(&bytes, b"abcd");
        power.cut();
        assert!(forgetful.write(0, b"x").is_err() && forgetful.sync_data().is_err());
        assert_eq!(reopened(&file), b"ab\0\0");
    }

    #[test]
    fn a_sync_without_power_makes_some_of_the_writes() {
        let (file, power) = (file(), Power::default());
        let forgetful = ForgetfulFile::new(file.try_clone().expect("a file"), power.clone());
        let forgetful = forgetful.expect("it is empty");
        power.cut_at_sync(1, 0b10);
        forgetful.set_len(2).expect("it has power");
        forgetful.sync_data().expect("this one is still well");
        forgetful.write(0, b"a").expect("it has power");
        forgetful.write(1, b"b").expect("it has power");
        assert!(forgetful.sync_data().is_err() && power.is_off());
        assert_eq!(reopened(&file), b"\0b");
    }
}
