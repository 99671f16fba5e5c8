//! Artifacts: archives of sources, in a folder, for whoever fetches them by their URL.

mod archive;
mod ignore;

use std::{
    collections::HashMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api::source::Artifact;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::queue::ObjectKey;

pub(crate) use archive::ArchiveError;

/// Where the archives of GitRepositories lie.
const KIND: &str = "gitrepository";
/// How many archives of one source are kept for those who still fetch the one before.
const KEPT_MAX: usize = 2;
/// How long an archive that is no longer the current one is kept, at least while there is room.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Archives of one source that are looked at.
const LISTED_MAX: usize = 1_000;
/// Digests are checked in pieces of this size.
const CHUNK: usize = 64 * 1024;

/// A folder of archives and the URL it is served under. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts {
    folder: Arc<Path>,
    url: Arc<str>,
    /// Archives whose digest was found to be right, as the file was then.
    checked: Arc<Mutex<HashMap<PathBuf, Checked>>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Checked {
    digest: String,
    bytes: u64,
    modified: (i64, i64),
    inode: u64,
}

/// Why an archive could not be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot write {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Artifacts {
    /// Returns the archives in `folder`, which is made if it is missing; they are served under
    /// `url`, which has no final slash.
    pub fn open(folder: &Path, url: &str) -> io::Result<Artifacts> {
        make_folder(folder)?;
        Ok(Artifacts { folder: folder.into(), url: url.into(), checked: Arc::default() })
    }

    /// Returns whether an artifact is here and is what it says.
    pub(crate) fn holds(&self, artifact: &Artifact) -> bool {
        let path = self.folder.join(&artifact.path);
        let is_below = artifact.path.starts_with(KIND) && !artifact.path.contains("..");
        let Some(digest) = artifact.digest.as_deref().filter(|_| is_below) else { return false };
        let Some(checked) = stat(&path, digest) else { return false };
        if self.checked.lock().get(&path) == Some(&checked) {
            return true;
        }
        let is_right = digest_of(&path).is_ok_and(|found| found == digest);
        if is_right {
            self.checked.lock().insert(path, checked);
        }
        is_right
    }

    /// Returns where an artifact is fetched from now.
    pub(crate) fn url_of(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Stores the archive of a commit and returns the artifact that it is. Blocks.
    pub(crate) fn store(
        &self,
        source: &ObjectKey,
        files: &mut git::Snapshot,
        ignore: Option<&str>,
        revision: &str,
        now: Timestamp,
    ) -> Result<Artifact, StoreError> {
        let path = format!("{}/{}.tar.gz", path_of(source), files.commit_id());
        let full = self.folder.join(&path);
        let say = |source| StoreError::Io { path: full.clone(), source };
        let folder = self.folder.join(path_of(source));
        make_folder(&folder).map_err(say)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(say)?;
        let written = archive::write(files, ignore, file.as_file_mut())?;
        file.as_file().sync_all().map_err(say)?;
        file.persist(&full).map_err(|error| say(error.error))?;
        tracing::trace!(target: "durable", step = "artifact stored", "Durable step");
        if let Some(checked) = stat(&full, &written.digest) {
            self.checked.lock().insert(full, checked);
        }
        Ok(Artifact {
            url: self.url_of(&path),
            path,
            revision: revision.to_owned(),
            digest: Some(written.digest),
            last_update_time: Time(api::condition::seconds(now).0),
            size: i64::try_from(written.n_bytes).ok(),
            metadata: None,
        })
    }

    /// Removes archives of a source that are neither current nor young.
    pub(crate) fn collect_garbage(&self, source: &ObjectKey, current: &Artifact) {
        let current = self.folder.join(&current.path);
        let mut others = archives(&self.folder.join(path_of(source)));
        others.retain(|(_, path)| *path != current);
        others.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
        let is_old = |age: Option<Duration>| age.is_none_or(|age| age > KEPT_FOR);
        for (index, (modified, path)) in others.into_iter().enumerate() {
            if index + 1 >= KEPT_MAX || is_old(modified.elapsed().ok()) {
                self.remove_file(&path);
            }
        }
    }

    /// Removes all archives of a source.
    pub(crate) fn remove(&self, source: &ObjectKey) {
        let folder = self.folder.join(path_of(source));
        self.checked.lock().retain(|path, _| !path.starts_with(&folder));
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "Cannot remove the artifacts of a deleted object");
            }
            _ => {}
        }
    }

    fn remove_file(&self, path: &Path) {
        self.checked.lock().remove(path);
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "Cannot remove an old artifact");
        }
    }
}

/// Names of Kubernetes objects are names of folders too.
fn path_of(source: &ObjectKey) -> String {
    format!("{KIND}/{}/{}", source.namespace, source.name)
}

/// Returns the archives in a folder, and those whose writer died, with their times.
fn archives(folder: &Path) -> Vec<(std::time::SystemTime, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(LISTED_MAX);
    entries
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn stat(path: &Path, digest: &str) -> Option<Checked> {
    let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Checked {
        digest: digest.to_owned(),
        bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        inode: metadata.ino(),
    })
}

fn digest_of(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let (mut file, mut hash) = (fs::File::open(path)?, Sha256::new());
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(archive::digest(hash)),
            n => hash.update(&chunk[..n]),
        }
    }
}
