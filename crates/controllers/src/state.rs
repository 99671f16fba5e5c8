//! The state folder: what one process leaves for the next.
//!
//! ```text
//! schema         a number: a newer one is refused, an older one migrated (and its caches dropped)
//! lock           held while a process uses the folder; one at a time
//! objects.redb   the truth: the objects of a server, and statuses that wait for theirs
//! objects.tip    how far the truth has come
//! cache.redb     tags and first-seen times; rebuilt from the registries when lost; pushes under way; events to be sent
//! mirrors/       Git mirrors; fetched again when lost
//! artifacts/     what sources serve; made again when lost
//! pki/           keys and certificates of a server
//! log/           what a server has to say
//! ```
//!
//! The truth is the embedded API's, which opens it, migrates it by a number of its own and keeps
//! damage apart; here is only its place.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::Database;

/// The layout this program writes. The first had nothing but statuses in `objects.redb`.
const SCHEMA: u32 = 2;
/// A schema file is one short number; anything longer is not ours.
const SCHEMA_BYTES_MAX: u64 = 16;
/// Bytes of the caches' database that are kept in memory; unsaid, it would be a gibibyte.
const CACHE_BYTES: usize = 2 << 20;

/// An open state folder. Dropping it lets another process in.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    cache: Arc<Database>,
    notices: Vec<String>,
    /// Held for as long as the folder is used.
    _lock: File,
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder has files of somebody else.
    #[error("`{0}` is not empty and not a state folder; name an empty or a new folder")]
    NotOurs(PathBuf),
    /// Another process uses it.
    #[error(
        "the state folder `{0}` is in use by another process; wait for it or name another folder"
    )]
    InUse(PathBuf),
    /// A newer program wrote it.
    #[error(
        "the state folder `{folder}` has schema {found}, this program knows up to {SCHEMA}; use the newer program"
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The schema number in it.
        found: u32,
    },
    /// The schema file does not hold a number.
    #[error("`{0}` does not hold a schema number")]
    Schema(PathBuf),
    /// The file system refused.
    #[error("cannot use `{path}`")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A database refused.
    #[error("cannot use the database `{path}`")]
    Database {
        /// The database file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<redb::Error>,
    },
}

impl State {
    /// Opens `folder`, creating it (mode 0700) when it is missing.
    pub fn open(folder: &Path) -> Result<State, StateError> {
        create(folder)?;
        let lock = lock(folder)?;
        tracing::trace!(target: "durable", step = "state folder locked", "Durable step");
        let schema = check_schema(folder)?;
        restrict(folder)?;
        if schema == Schema::Older {
            drop_caches(folder)?;
        }
        let mut notices = Vec::new();
        let cache = open_cache(&folder.join("cache.redb"), schema, &mut notices)?;
        let cache = Arc::new(cache);
        tracing::trace!(target: "durable", step = "cache made", "Durable step");
        let state = State { folder: folder.to_owned(), cache, notices, _lock: lock };
        state.subfolder("mirrors")?;
        write_schema(folder)?;
        Ok(state)
    }

    /// Returns the file of the objects.
    pub fn objects(&self) -> PathBuf {
        self.folder.join("objects.redb")
    }

    /// Returns what was found damaged when the folder was opened, and what was done about it.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Returns the folder of the Git mirrors.
    pub fn mirrors(&self) -> PathBuf {
        self.folder.join("mirrors")
    }

    /// Returns the folder of what sources serve; it is made if it is missing.
    pub fn artifacts(&self) -> Result<PathBuf, StateError> {
        self.subfolder("artifacts")
    }

    /// Returns the folder of keys and certificates; it is made if it is missing.
    pub fn pki(&self) -> Result<PathBuf, StateError> {
        self.subfolder("pki")
    }

    /// Returns the folder of logs; it is made if it is missing.
    pub fn log(&self) -> Result<PathBuf, StateError> {
        self.subfolder("log")
    }

    /// Returns the database of things that can be fetched again.
    pub fn cache(&self) -> Arc<Database> {
        Arc::clone(&self.cache)
    }

    fn subfolder(&self, name: &str) -> Result<PathBuf, StateError> {
        let path = self.folder.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).or_path(&path)?;
        restrict(&path)?;
        Ok(path)
    }
}

fn create(folder: &Path) -> Result<(), StateError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            let is_ours = folder.join("schema").exists() || folder.join("lock").exists();
            if entries.next().is_some() && !is_ours {
                return Err(StateError::NotOurs(folder.to_owned()));
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).or_path(folder)
        }
        Err(error) => Err(error).or_path(folder),
    }
}

/// Takes away what group and others may do; the folder holds what registries and repositories say.
fn restrict(folder: &Path) -> Result<(), StateError> {
    let mode = fs::metadata(folder).or_path(folder)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).or_path(folder)
}

fn lock(folder: &Path) -> Result<File, StateError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .or_path(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(error).or_path(&path),
    }
}

/// Under which schema a folder was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Schema {
    /// None: it was never opened to the end.
    None,
    Older,
    Present,
}

fn check_schema(folder: &Path) -> Result<Schema, StateError> {
    let path = folder.join("schema");
    let size = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Schema::None),
        Err(error) => return Err(error).or_path(&path),
    };
    if size > SCHEMA_BYTES_MAX {
        return Err(StateError::Schema(path));
    }
    let text = fs::read_to_string(&path).or_path(&path)?;
    let found: u32 = text.trim().parse().map_err(|_| StateError::Schema(path))?;
    if found > SCHEMA {
        return Err(StateError::Newer { folder: folder.to_owned(), found });
    }
    Ok(if found < SCHEMA { Schema::Older } else { Schema::Present })
}

fn write_schema(folder: &Path) -> Result<(), StateError> {
    let path = folder.join("schema");
    let next = folder.join("schema.next");
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(&next);
    let write = |mut file: File| {
        file.write_all(format!("{SCHEMA}\n").as_bytes())?;
        file.sync_all()
    };
    file.and_then(write).or_path(&next)?;
    tracing::trace!(target: "durable", step = "schema number written", "Durable step");
    fs::rename(&next, &path).or_path(&path)?;
    tracing::trace!(target: "durable", step = "schema number replaced", "Durable step");
    Ok(())
}

fn drop_caches(folder: &Path) -> Result<(), StateError> {
    let cache = folder.join("cache.redb");
    if cache.exists() {
        fs::remove_file(&cache).or_path(&cache)?;
    }
    let mirrors = folder.join("mirrors");
    if mirrors.exists() {
        fs::remove_dir_all(&mirrors).or_path(&mirrors)?;
    }
    Ok(())
}

/// Opens a database after a look at every checksum in it: reads do not look at them. It costs one
/// pass over the file.
fn open_checked(path: &Path) -> Result<Database, redb::DatabaseError> {
    let mut options = OpenOptions::new();
    // Nobody else's from its first byte on.
    options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
    let mut database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
    if !database.check_integrity()? {
        tracing::warn!(path = %path.display(), "The database was repaired after a crash");
    }
    Ok(database)
}

/// Opens the cache; a damaged one is made anew, which is said: all in it can be fetched again.
fn open_cache(
    path: &Path,
    schema: Schema,
    notices: &mut Vec<String>,
) -> Result<Database, StateError> {
    // A folder with a schema had a whole one once, and no database is empty.
    let is_emptied =
        schema != Schema::None && fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    let reason = if is_emptied {
        "it is empty".to_owned()
    } else {
        match open_checked(path) {
            Ok(database) => return Ok(database),
            Err(error) if is_damage(&error) => error.to_string(),
            Err(error) => return Err(database_error(path, error)),
        }
    };
    fs::remove_file(path).or_path(path)?;
    // Without a schema the process was killed while it made the file.
    if schema != Schema::None {
        notices.push(format!("`{}` is damaged ({reason}): it is made anew", path.display()));
    }
    open_checked(path).map_err(|source| database_error(path, source))
}

/// Returns whether the file itself is bad, and not only out of reach.
fn is_damage(error: &redb::DatabaseError) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    use redb::{DatabaseError, StorageError};
    match error {
        DatabaseError::RepairAborted
        | DatabaseError::UpgradeRequired(_)
        | DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            [InvalidData, UnexpectedEof].contains(&error.kind())
        }
        _ => false,
    }
}

fn database_error(path: &Path, source: redb::DatabaseError) -> StateError {
    StateError::Database { path: path.to_owned(), source: Box::new(source.into()) }
}

trait OrPath<T> {
    fn or_path(self, path: &Path) -> Result<T, StateError>;
}

impl<T> OrPath<T> for Result<T, io::Error> {
    fn or_path(self, path: &Path) -> Result<T, StateError> {
        self.map_err(|source| StateError::Io { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn error(folder: &Path) -> String {
        let error = State::open(folder).expect_err("the folder is refused").to_string();
        error.replace(&folder.display().to_string(), "DIR")
    }

    #[test]
    fn everything_is_its_owners_alone() {
        let temporary = folder();
        let path = temporary.path().join("state");
        fs::create_dir_all(path.join("pki")).expect("a folder");
        fs::write(path.join("lock"), "").expect("written");
        fs::set_permissions(path.join("lock"), fs::Permissions::from_mode(0o600)).expect("set");
        let state = State::open(&path).expect("a folder without a schema opens");
        let folders = [state.artifacts(), state.pki(), state.log()];
        let folders = folders.map(|folder| folder.expect("a folder is made"));
        let mode =
            |path: &Path| fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&state.mirrors()), 0o700);
        assert_eq!(folders.map(|folder| mode(&folder)), [0o700; 3]);
        assert_eq!(["cache.redb", "lock", "schema"].map(|name| mode(&path.join(name))), [0o600; 3]);
    }

    #[test]
    fn one_process_at_a_time() {
        let temporary = folder();
        let _open = State::open(temporary.path()).expect("an empty folder opens");
        assert_eq!(
            error(temporary.path()),
            "the state folder `DIR` is in use by another process; wait for it or name another folder"
        );
    }

    #[test]
    fn a_newer_schema_is_refused_and_an_older_one_loses_its_caches() {
        let temporary = folder();
        drop(State::open(temporary.path()).expect("an empty folder opens"));
        let schema = temporary.path().join("schema");
        fs::write(&schema, "3\n").expect("written");
        assert_eq!(
            error(temporary.path()),
            "the state folder `DIR` has schema 3, this program knows up to 2; use the newer program"
        );
        fs::write(&schema, "x").expect("written");
        assert_eq!(error(temporary.path()), "`DIR/schema` does not hold a schema number");
        let stale = temporary.path().join("mirrors/stale");
        fs::write(&stale, "").expect("written");
        fs::write(&schema, "1\n").expect("written");
        drop(State::open(temporary.path()).expect("an older folder opens"));
        assert!(!stale.exists());
        assert_eq!(fs::read_to_string(&schema).expect("read"), "2\n");
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let temporary = folder();
        fs::write(temporary.path().join("letter.txt"), "dear").expect("written");
        assert_eq!(
            error(temporary.path()),
            "`DIR` is not empty and not a state folder; name an empty or a new folder"
        );
    }

    #[test]
    fn a_broken_cache_is_made_anew() {
        let temporary = folder();
        fs::write(temporary.path().join("lock"), "").expect("written");
        fs::write(temporary.path().join("cache.redb"), "not a database").expect("written");
        State::open(temporary.path()).expect("it opens");
    }

    #[test]
    fn a_damaged_cache_is_said_and_never_served() {
        let ways: [fn(Vec<u8>) -> Vec<u8>; 5] = [
            |_| Vec::new(),
            |mut bytes| bytes.split_off(bytes.len() / 2),
            |bytes| bytes[..bytes.len() / 2].to_vec(),
            |bytes| vec![0xa5; bytes.len()],
            |bytes| bytes,
        ];
        let last = ways.len() - 1;
        for (n, way) in ways.into_iter().enumerate() {
            let temporary = folder();
            drop(State::open(temporary.path()).expect("a new folder opens"));
            let path = temporary.path().join("cache.redb");
            let bytes = fs::read(&path).expect("it is there");
            fs::write(&path, way(bytes)).expect("written");
            let state = State::open(temporary.path()).expect("it opens");
            let notices = state.notices().join("\n");
            assert_eq!(notices.contains("cache.redb` is damaged ("), n != last, "{notices}");
            assert_eq!(notices.ends_with("): it is made anew"), n != last, "{notices}");
        }
    }
}
