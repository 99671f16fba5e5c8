//! A commit's files as Flux archives them: folders and regular files, without owners and times, so
//! that equal files give equal bytes.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use git::{Item, ItemKind, ObjectError, Snapshot, SnapshotError};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::ignore::{self, Rules, TooManyRules};

/// Bytes of all files of an archive before compression. Flux has no limit; a disk has.
const BYTES_MAX: u64 = 4 << 30;

/// A folder, and the text of the rules in it.
type RuleFile = (Vec<u8>, Vec<u8>);

/// What was written.
pub(super) struct Written {
    pub(super) digest: String,
    pub(super) n_bytes: u64,
}

/// Why an archive could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error(transparent)]
    Rules(#[from] TooManyRules),
    #[error(transparent)]
    Files(#[from] SnapshotError),
    #[error(transparent)]
    File(#[from] ObjectError),
    #[error("the files of the source have more than {BYTES_MAX} bytes")]
    TooLarge,
    #[error("cannot write the archive")]
    Io(#[from] io::Error),
}

/// Writes the archive of a commit; `ignore` are the rules of its spec.
pub(super) fn write(
    files: &mut Snapshot,
    ignore: Option<&str>,
    to: impl Write,
) -> Result<Written, ArchiveError> {
    let items = files.contents()?;
    let rules = rules_of(own_rules(files, &items)?, ignore)?;
    let hashed = Hashed { inner: io::BufWriter::new(to), hash: Sha256::new(), n_bytes: 0 };
    let mut archive = Builder::new(GzEncoder::new(hashed, Compression::default()));
    add(&mut archive, b".", EntryType::Directory, FOLDER, &[])?;
    let mut n_bytes = 0;
    for item in &items {
        let is_folder = matches!(item.kind, ItemKind::Folder | ItemKind::Submodule);
        if rules.excludes(&item.path, is_folder) {
            continue;
        }
        match item.kind {
            // Nothing is followed out of the repository.
            ItemKind::Symlink => {}
            // Without its files a submodule is an empty folder.
            ItemKind::Folder | ItemKind::Submodule => {
                add(&mut archive, &item.path, EntryType::Directory, FOLDER, &[])?;
            }
            ItemKind::File { is_executable } => {
                let bytes = files.read_file(item.id)?;
                n_bytes += bytes.len() as u64;
                if n_bytes > BYTES_MAX {
                    return Err(ArchiveError::TooLarge);
                }
                let mode = if is_executable { EXECUTABLE } else { FILE };
                add(&mut archive, &item.path, EntryType::Regular, mode, &bytes)?;
            }
        }
    }
    let mut hashed = archive.into_inner()?.finish()?;
    hashed.flush()?;
    Ok(Written { digest: digest(hashed.hash), n_bytes: hashed.n_bytes })
}

/// Modes of everything, whatever they were.
const FOLDER: u32 = 0o750;
const FILE: u32 = 0o600;
const EXECUTABLE: u32 = 0o700;

/// Returns the rules of a source: those of its files, by folder, and those of its spec.
pub(crate) fn rules_of(
    mut files: Vec<RuleFile>,
    ignore: Option<&str>,
) -> Result<Rules, TooManyRules> {
    // A folder's rules weigh less than those of the folders in it.
    let names = |folder: &[u8]| -> Vec<Vec<u8>> {
        folder.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
    };
    files.sort_by_cached_key(|(folder, _)| (!folder.is_empty(), names(folder)));
    let mut rules = Rules::default();
    for (folder, text) in &files {
        rules.read(text, folder)?;
    }
    rules.read(ignore.unwrap_or_default().as_bytes(), b"")?;
    Ok(rules.complete())
}

/// Returns the files with rules and the folders they hold for.
fn own_rules(files: &mut Snapshot, items: &[Item]) -> Result<Vec<RuleFile>, ObjectError> {
    let mut own = Vec::new();
    for Item { path, kind, id } in items {
        let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path.as_slice()),
        };
        if name == ignore::FILE && matches!(kind, ItemKind::File { .. }) {
            own.push((folder.to_vec(), files.read_file(*id)?));
        }
    }
    Ok(own)
}

fn add<W: Write>(
    archive: &mut Builder<W>,
    path: &[u8],
    kind: EntryType,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive.append_data(&mut header, OsStr::from_bytes(path), bytes)
}

/// Returns a digest as artifacts name it.
pub(super) fn digest(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Hashes and counts what goes through it.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    n_bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
