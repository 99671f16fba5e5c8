//! The file of a store: a redb database, and beside it the revision that it must have reached.
//!
//! ```text
//! objects.redb   objects, waiting statuses, a schema number, the last revision
//! objects.tip    the last revision that was answered
//! ```
//!
//! The database notices torn and flipped pages by their checksums, and may then go back to the
//! state before its last transaction; the second file tells whether that loses an answered
//! write. Each record has a checksum of its own besides, which binds it to its key.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, StorageBackend, backends::FileBackend};

use super::{
    Key,
    memory::{Published, Queue, State, Statuses, Write},
};

mod backend;
mod tables;
mod tip;

use backend::Backend;
use tip::Tip;

/// Bytes that the database may cache: the path to one object; readers never come here.
const CACHE_BYTES: usize = 2 << 20;

/// Transactions between two looks at the size of the file.
const COMPACT_EVERY: u64 = 4096;

/// A file up to this size is never compacted.
const COMPACT_MIN: u64 = 4 << 20;

/// A file is compacted when it is so many times larger than what is in it.
const COMPACT_RATIO: u64 = 4;

/// Damaged files that are kept beside a state. A person must look before there are more.
const DAMAGED_MAX: usize = 100;

/// How the file is read and written; only tests have another way than the system's.
pub type Door = Arc<dyn Fn(File) -> Box<dyn StorageBackend> + Send + Sync>;

/// Why a file of objects cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another server of this one, has it open.
    #[error("the objects in `{path}` are in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("the objects in `{path}` have schema {found}, this program knows up to {known}; use the newer program", known = tables::SCHEMA)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema number.
        found: u64,
    },
    /// It is not what was written.
    #[error(
        "the objects in `{path}` are damaged ({reason}); remove the file to begin without what it keeps"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot use `{path}`")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("cannot use the database `{path}`")]
    Database {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<redb::Error>,
    },
}

/// What becomes of a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// It stays where it is, and nothing is opened.
    Refuse,
    /// It is renamed, and a new one begins without any object.
    MoveAside,
}

/// A damaged file that was moved aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it is now.
    pub moved_to: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    door: DoorHolder,
    /// None after a failure: the database has to be opened anew.
    database: Option<Database>,
    tip: Tip,
    /// Revision of the last transaction that is known to be durable.
    durable: u64,
    touched: Touched,
    n_commits: u64,
}

struct DoorHolder(Door);

/// What may be on disk otherwise than it is published, since a transaction has failed.
#[derive(Debug, Default)]
pub(super) struct Touched {
    keys: BTreeSet<(Arc<str>, Arc<Key>)>,
    statuses: bool,
    /// Everything: the file has been lost.
    all: bool,
}

/// What the next transaction has to write again.
#[derive(Debug, Default)]
pub(super) struct Repair {
    records: Vec<Published>,
    statuses: Option<Arc<Statuses>>,
    /// Whether nothing else is to stay.
    is_whole: bool,
}

/// Returns the system's way to a file.
pub(super) fn file_door() -> Door {
    Arc::new(|file| Box::new(FileBackend::new(file).expect("wrapping a file has no way to fail")))
}

/// Renames a damaged file.
pub(crate) fn move_aside(path: &Path, reason: String) -> Result<Damage, OpenError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let free = (1..=DAMAGED_MAX)
        .map(|n| path.with_file_name(format!("{name}.damaged-{n}")))
        .find(|path| !path.exists());
    let Some(moved_to) = free else {
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    };
    fs::rename(path, &moved_to).or_path(path)?;
    sync_folder(path)?;
    let (from, to) = (path.display(), moved_to.display());
    tracing::error!(path = %from, moved_to = %to, reason, "The objects are damaged; beginning without them");
    Ok(Damage { moved_to, reason })
}

impl Disk {
    /// Opens a file, or makes it, and reads all that is in it.
    pub(super) fn open(path: &Path, door: Door) -> Result<(Disk, State), OpenError> {
        let tip = Tip::open(&path.with_extension("tip")).or_path(path)?;
        let door = DoorHolder(door);
        if !path.try_exists().or_path(path)? {
            create(path, &door, tip.revision().unwrap_or(1))?;
        }
        let database = open_database(path, &door)?;
        let state = guard(path, || tables::load(&database))?.map_err(|e| e.at(path))?;
        if let Some(answered) = tip.revision()
            && state.revision < answered
        {
            let reason = format!(
                "it ends with revision {}, but {answered} has been answered",
                state.revision
            );
            return Err(OpenError::Damaged { path: path.to_owned(), reason });
        }
        let mut disk = Disk {
            path: path.to_owned(),
            door,
            database: Some(database),
            tip,
            durable: state.revision,
            touched: Touched::default(),
            n_commits: 0,
        };
        disk.tip.write(state.revision);
        disk.compact(state.bytes);
        Ok((disk, state))
    }

    /// Opens the database anew if a failure has closed it.
    pub(super) fn ready(&mut self) -> Result<(), OpenError> {
        if self.database.is_some() {
            return Ok(());
        }
        if !self.path.try_exists().or_path(&self.path)? {
            create(&self.path, &self.door, self.durable)?;
            self.touched.all = true;
        }
        let opened = open_database(&self.path, &self.door).and_then(|database| {
            let revision = guard(&self.path, || tables::revision(&database))?;
            Ok((database, revision.map_err(|error| error.at(&self.path))?))
        });
        match opened {
            Ok((database, revision)) => {
                // What is published was durable once: the file has lost it.
                self.touched.all |= revision < self.durable;
                self.database = Some(database);
                Ok(())
            }
            Err(OpenError::Damaged { reason, .. }) => {
                move_aside(&self.path, reason)?;
                create(&self.path, &self.door, self.durable)?;
                self.touched.all = true;
                self.database = Some(open_database(&self.path, &self.door)?);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns what the next transaction has to write again.
    pub(super) fn repair(&self, state: &State) -> Repair {
        if self.touched.all {
            let statuses = Some(Arc::clone(&state.statuses));
            return Repair { records: state.all(), statuses, is_whole: true };
        }
        let records = self.touched.keys.iter().map(|(resource, key)| Published {
            resource: Arc::clone(resource),
            key: Arc::clone(key),
            record: state.get(resource, key).cloned(),
        });
        let statuses = self.touched.statuses.then(|| Arc::clone(&state.statuses));
        Repair { records: records.collect(), statuses, is_whole: false }
    }

    /// Makes writes durable, all or none. After an error it is not known which.
    pub(super) fn commit(
        &mut self,
        repair: &Repair,
        queue: &Queue,
        tip: u64,
    ) -> Result<(), redb::Error> {
        let Some(database) = &self.database else { return Err(redb::Error::DatabaseClosed) };
        tables::write(database, repair, queue, tip)?;
        tracing::trace!(target: "durable", step = "objects written", "Durable step");
        self.tip.write(tip);
        tracing::trace!(target: "durable", step = "objects told", "Durable step");
        self.durable = tip;
        self.touched = Touched::default();
        Ok(())
    }

    /// Remembers what a failed transaction may have left, and closes the database: after an
    /// error it serves nobody until it is opened anew.
    pub(super) fn failed(&mut self, queue: &Queue) {
        let keys = queue
            .writes
            .iter()
            .map(|Write { resource, key, .. }| (Arc::clone(resource), Arc::clone(key)));
        self.touched.keys.extend(keys);
        self.touched.statuses |= queue.statuses.is_some();
        let database = self.database.take();
        // Closing writes too, and a panic there says nothing new.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }

    /// Looks from time to time whether the file is much larger than what is in it.
    pub(super) fn tidy(&mut self, bytes: usize) {
        self.n_commits += 1;
        if self.n_commits.is_multiple_of(COMPACT_EVERY) {
            self.compact(bytes);
        }
    }

    fn compact(&mut self, bytes: usize) {
        let size = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        let content = u64::try_from(bytes).unwrap_or(u64::MAX);
        if size <= COMPACT_MIN || size / COMPACT_RATIO < content {
            return;
        }
        let Some(database) = &mut self.database else { return };
        match catch_unwind(AssertUnwindSafe(|| database.compact())) {
            Ok(Ok(_)) => tracing::debug!(size, "Compacted the objects"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "Cannot compact the objects");
                self.failed(&Queue::default());
            }
            Err(_) => self.failed(&Queue::default()),
        }
    }
}

impl std::fmt::Debug for DoorHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}

/// Makes a file without objects, complete when it gets its name.
fn create(path: &Path, door: &DoorHolder, revision: u64) -> Result<(), OpenError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let next = path.with_file_name(format!("{name}.new"));
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).or_path(&next),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)
        .or_path(&next)?;
    let build = || -> Result<(), redb::Error> {
        let database = builder().create_with_backend(Backend((door.0)(file)))?;
        tables::init(&database, revision)?;
        database.close()?;
        Ok(())
    };
    guard(&next, build)?.map_err(|source| database_error(&next, source))?;
    tracing::trace!(target: "durable", step = "object file made", "Durable step");
    fs::rename(&next, path).or_path(path)?;
    sync_folder(path)?;
    tracing::trace!(target: "durable", step = "object file named", "Durable step");
    Ok(())
}

fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).or_path(folder)
}

/// Opens a file that is there, after a look at every checksum in it.
fn open_database(path: &Path, door: &DoorHolder) -> Result<Database, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path).or_path(path)?;
    let metadata = file.metadata().or_path(path)?;
    if metadata.len() == 0 {
        // The database would begin anew in it.
        let reason = "it is empty".to_owned();
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).or_path(path)?;
    }
    let backend = Backend((door.0)(file));
    guard(path, || builder().create_with_backend(backend))?
        .map_err(|source| database_error(path, source.into()))
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Calls the database; a panic in it is damage.
fn guard<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| OpenError::Damaged {
        path: path.to_owned(),
        reason: "the database does not know what to make of it".to_owned(),
    })
}

/// Tells damage from other errors.
fn database_error(path: &Path, error: redb::Error) -> OpenError {
    use redb::Error as In;
    let path = path.to_owned();
    match error {
        In::DatabaseAlreadyOpen | In::LockProtocolMismatch => OpenError::InUse { path },
        In::Corrupted(reason) => OpenError::Damaged { path, reason },
        In::UpgradeRequired(version) => {
            let reason = format!("it names version {version} of its format");
            OpenError::Damaged { path, reason }
        }
        In::Io(source)
            if matches!(
                source.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            OpenError::Damaged { path, reason: source.to_string() }
        }
        In::Io(source) => OpenError::Io { path, source },
        source => OpenError::Database { path, source: Box::new(source) },
    }
}

trait OrPath<T> {
    fn or_path(self, path: &Path) -> Result<T, OpenError>;
}

impl<T> OrPath<T> for io::Result<T> {
    fn or_path(self, path: &Path) -> Result<T, OpenError> {
        self.map_err(|source| OpenError::Io { path: path.to_owned(), source })
    }
}
