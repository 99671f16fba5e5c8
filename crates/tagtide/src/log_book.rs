//! The last log lines: in memory for whoever asks, and in files that outlive the process.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Bytes of the lines in memory, and of each of the two files.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longer lines are cut: their sender meant to say too much.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The lines. Cheap to clone; all clones are one book.
#[derive(Clone)]
pub(crate) struct LogBook {
    kept: Arc<Mutex<Kept>>,
    /// How many lines there have been.
    count: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Arc<str>>,
    n_bytes: usize,
    /// How many lines there have been.
    count: u64,
    file: Option<LogFile>,
}

struct LogFile {
    path: PathBuf,
    file: File,
    n_bytes: u64,
}

/// Lines of the book.
pub(crate) struct Page {
    pub(crate) lines: Vec<Arc<str>>,
    /// Where the lines after these begin.
    pub(crate) next: u64,
}

impl Default for LogBook {
    fn default() -> Self {
        Self { kept: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }
}

impl LogBook {
    /// Keeps lines in a folder from now on, and takes up those that an earlier process left there.
    pub(crate) fn keep_in(&self, folder: &Path) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make folder {}", folder.display()))?;
        let path = folder.join("tagtide.log");
        let file = LogFile::open(&path)?;
        let mut earlier = tail(&older(&path))?;
        earlier.push_str(&tail(&path)?);
        let mut kept = self.kept.lock();
        let so_far = std::mem::take(&mut kept.lines);
        kept.n_bytes = 0;
        kept.count = 0;
        earlier.lines().for_each(|line| kept.remember(line));
        kept.file = Some(file);
        so_far.iter().for_each(|line| kept.add(line));
        self.count.send_replace(kept.count);
        Ok(())
    }

    /// Adds a line.
    pub(crate) fn add(&self, line: &str) {
        let mut kept = self.kept.lock();
        kept.add(&line[..line.floor_char_boundary(LINE_BYTES_MAX)]);
        self.count.send_replace(kept.count);
    }

    /// Returns the lines from the `start`th on, as far as they are still there.
    pub(crate) fn after(&self, start: u64) -> Page {
        let kept = self.kept.lock();
        let first = kept.count - kept.lines.len() as u64;
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        Page { lines: kept.lines.iter().skip(skip).cloned().collect(), next: kept.count }
    }

    /// Returns the last `n` lines.
    pub(crate) fn last(&self, n: u64) -> Page {
        let count = self.kept.lock().count;
        self.after(count.saturating_sub(n))
    }

    /// Returns what shows the number of lines as it grows.
    pub(crate) fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}

impl Kept {
    fn add(&mut self, line: &str) {
        if let Some(file) = &mut self.file {
            file.add(line);
        }
        self.remember(line);
    }

    fn remember(&mut self, line: &str) {
        self.n_bytes += line.len();
        self.lines.push_back(line.into());
        self.count += 1;
        while self.n_bytes > BYTES_MAX {
            let Some(line) = self.lines.pop_front() else { return };
            self.n_bytes -= line.len();
        }
    }
}

impl LogFile {
    fn open(path: &Path) -> Result<Self> {
        let say = || format!("cannot open {}", path.display());
        let options = OpenOptions::new().create(true).append(true).mode(0o600).clone();
        let file = options.open(path).with_context(say)?;
        let n_bytes = file.metadata().with_context(say)?.len();
        Ok(Self { path: path.to_owned(), file, n_bytes })
    }

    /// Adds a line. A full disk costs lines, not the work that they tell of.
    fn add(&mut self, line: &str) {
        if self.n_bytes > BYTES_MAX as u64 {
            let renamed = std::fs::rename(&self.path, older(&self.path));
            match renamed.map_err(anyhow::Error::from).and_then(|()| Self::open(&self.path)) {
                Ok(fresh) => *self = fresh,
                Err(_) => return,
            }
        }
        if self.file.write_all(format!("{line}\n").as_bytes()).is_ok() {
            self.n_bytes += line.len() as u64 + 1;
        }
    }
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Returns the last lines of a file, as many as are kept in memory.
fn tail(path: &Path) -> Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let say = || format!("cannot read {}", path.display());
    let length = file.metadata().with_context(say)?.len();
    let start = length.saturating_sub(BYTES_MAX as u64);
    file.seek(SeekFrom::Start(start)).with_context(say)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX as u64).read_to_end(&mut bytes).with_context(say)?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if start > 0 {
        // It may begin within a line.
        text.drain(..text.find('\n').map_or(text.len(), |end| end + 1));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(page: &Page) -> Vec<&str> {
        page.lines.iter().map(|line| &**line).collect()
    }

    #[test]
    fn lines_outlive_the_process_and_come_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let book = LogBook::default();
        book.add("before the folder");
        book.keep_in(folder.path()).expect("a folder");
        book.add("after it");
        let again = LogBook::default();
        again.add("new");
        again.keep_in(folder.path()).expect("a folder");
        assert_eq!(texts(&again.after(0)), ["before the folder", "after it", "new"]);
        assert_eq!(texts(&again.last(1)), ["new"]);
        let next = again.after(0).next;
        again.add("newer");
        assert_eq!(texts(&again.after(next)), ["newer"]);
    }

    #[test]
    fn a_long_life_takes_bounded_memory_and_two_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let book = LogBook::default();
        book.keep_in(folder.path()).expect("a folder");
        let line = "x".repeat(LINE_BYTES_MAX * 2);
        for _ in 0..300 {
            book.add(&line);
        }
        let kept = book.kept.lock();
        assert!(kept.n_bytes <= BYTES_MAX && kept.lines.len() == BYTES_MAX / LINE_BYTES_MAX);
        assert_eq!(kept.count, 300);
        let files = std::fs::read_dir(folder.path()).expect("a folder");
        let bytes: u64 =
            files.map(|file| file.expect("a file").metadata().expect("a file").len()).sum();
        assert!(bytes <= 2 * (BYTES_MAX + LINE_BYTES_MAX + 1) as u64, "{bytes}");
    }
}
