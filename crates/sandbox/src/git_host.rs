//! A Git host in memory, spoken to by smart HTTP.

mod objects;
mod pack;
mod pkt_line;
mod receive_pack;
mod server;
mod upload_pack;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use gix::{
    ObjectId,
    bstr::ByteSlice as _,
    objs::{self, Kind, tree::EntryKind},
};
use parking_lot::Mutex;

use self::objects::{File, Objects};

/// Why the host could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no repository of that name.
    #[error("there is no repository `{0}`")]
    NoRepository(String),
    /// The repository has no such branch.
    #[error("there is no branch `{0}`")]
    NoBranch(String),
    /// An object is named that the repository does not have.
    #[error("there is no object {0}")]
    NoObject(ObjectId),
    /// An object is not what its place asks for, or not well formed.
    #[error("the object {0} is not what it should be")]
    BadObject(ObjectId),
    /// A client broke the protocol, or asked for what this host does not do.
    #[error("{0}")]
    Protocol(String),
    /// A folder cannot be written.
    #[error("cannot write a repository to disk")]
    Export(#[from] io::Error),
}

/// Who commits, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// A person's name.
    pub name: String,
    /// A person's address.
    pub email: String,
    /// Seconds since 1970, UTC.
    pub seconds: i64,
}

/// A commit, as a history shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its id, 40 hexadecimal digits.
    pub id: String,
    /// The id of its tree.
    pub tree: String,
    /// The ids of its parents.
    pub parents: Vec<String>,
    /// Who wrote it, as `NAME <EMAIL>`.
    pub author: String,
    /// The whole message.
    pub message: String,
}

/// A reference that was made, moved or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Its full name.
    pub reference: String,
    /// What it named before; `None` if it was not there.
    pub old: Option<String>,
    /// What it names since; `None` if it is not there any more.
    pub new: Option<String>,
}

/// A host of bare repositories; clones are the same host.
///
/// It speaks version 2 of the protocol for fetching (shallow clones and fetches included) and
/// the usual one for pushing, with `report-status`, `atomic` and push options. Every update of a
/// reference is a compare-and-swap.
#[derive(Clone, Default)]
pub struct GitHost {
    repositories: Arc<Mutex<HashMap<String, Repository>>>,
}

#[derive(Clone)]
struct Repository {
    objects: Objects,
    /// By full name.
    references: BTreeMap<String, ObjectId>,
    /// The full name of the default branch.
    head: String,
    /// What became of the references, from the beginning.
    moves: Vec<Move>,
}

impl GitHost {
    /// Returns a host without repositories.
    pub fn new() -> GitHost {
        GitHost::default()
    }

    /// Makes a repository, or makes it anew, whose default branch has one commit with `files`;
    /// without files it is empty.
    pub fn create<P: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        name: &str,
        branch: &str,
        files: &[(P, B)],
        author: &Signature,
    ) {
        let head = reference(branch);
        let mut repository = Repository {
            objects: Objects::default(),
            references: BTreeMap::new(),
            head,
            moves: Vec::new(),
        };
        if !files.is_empty() {
            repository
                .commit(branch, files, author, "Initial commit\n")
                .expect("an empty repository has nothing that could be broken");
        }
        self.repositories.lock().insert(name.to_owned(), repository);
    }

    /// Commits files onto a branch, past the network, and returns the commit's id.
    ///
    /// A branch that does not exist begins at the default branch.
    pub fn commit<P: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        name: &str,
        branch: &str,
        files: &[(P, B)],
        author: &Signature,
        message: &str,
    ) -> Result<String, GitError> {
        self.with(name, |repository| {
            Ok(repository.commit(branch, files, author, message)?.to_string())
        })
    }

    /// Returns the id of a branch's last commit, if the repository and the branch exist.
    pub fn tip(&self, name: &str, branch: &str) -> Option<String> {
        let repositories = self.repositories.lock();
        Some(repositories.get(name)?.references.get(&reference(branch))?.to_string())
    }

    /// Returns all references by their full names, with the ids they have.
    pub fn references(&self, name: &str) -> Result<BTreeMap<String, String>, GitError> {
        self.with(name, |repository| {
            let references = repository.references.iter();
            Ok(references.map(|(name, id)| (name.clone(), id.to_string())).collect())
        })
    }

    /// Returns the files at the tip of a branch, by path.
    pub fn files(&self, name: &str, branch: &str) -> Result<BTreeMap<String, Bytes>, GitError> {
        self.with(name, |repository| repository.contents(repository.branch(branch)?))
    }

    /// Returns the files of a commit, by path.
    pub fn files_at(&self, name: &str, commit: &str) -> Result<BTreeMap<String, Bytes>, GitError> {
        self.with(name, |repository| repository.contents(upload_pack::parse_id(commit)?))
    }

    /// Returns what became of the references, from the beginning.
    pub fn moves(&self, name: &str) -> Result<Vec<Move>, GitError> {
        self.with(name, |repository| Ok(repository.moves.clone()))
    }

    /// Returns a commit by its id.
    pub fn commit_of(&self, name: &str, id: &str) -> Result<LogEntry, GitError> {
        self.with(name, |repository| repository.log_entry(upload_pack::parse_id(id)?))
    }

    /// Returns the commits of a branch, the last one first, along first parents.
    pub fn log(&self, name: &str, branch: &str) -> Result<Vec<LogEntry>, GitError> {
        self.with(name, |repository| {
            let mut log = Vec::new();
            let mut next = Some(repository.branch(branch)?);
            while let Some(id) = next {
                log.push(repository.log_entry(id)?);
                next = repository.objects.commit(&id)?.parents().next();
            }
            Ok(log)
        })
    }

    /// Writes every repository as a bare one that stock git reads, `FOLDER/NAME.git`.
    pub fn export(&self, folder: &Path) -> Result<(), GitError> {
        for (name, repository) in self.repositories.lock().iter() {
            repository.export(&folder.join(format!("{name}.git")))?;
        }
        Ok(())
    }

    /// Returns the host as a service: `/NAME.git/info/refs` and what follows from it.
    pub fn router(&self) -> axum::Router {
        server::router(self.clone())
    }

    fn with<T>(
        &self,
        name: &str,
        work: impl FnOnce(&mut Repository) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let mut repositories = self.repositories.lock();
        let repository =
            repositories.get_mut(name).ok_or_else(|| GitError::NoRepository(name.to_owned()))?;
        work(repository)
    }
}

impl Repository {
    fn branch(&self, branch: &str) -> Result<ObjectId, GitError> {
        let id = self.references.get(&reference(branch)).copied();
        id.ok_or_else(|| GitError::NoBranch(branch.to_owned()))
    }

    fn files(&self, commit: ObjectId) -> Result<BTreeMap<String, File>, GitError> {
        self.objects.files(self.objects.commit(&commit)?.tree())
    }

    fn contents(&self, commit: ObjectId) -> Result<BTreeMap<String, Bytes>, GitError> {
        let mut contents = BTreeMap::new();
        for (path, file) in self.files(commit)? {
            // A commit of a submodule is in another repository.
            if !file.mode.is_commit() {
                contents.insert(path, self.objects.need(&file.id)?.data.clone());
            }
        }
        Ok(contents)
    }

    fn log_entry(&self, id: ObjectId) -> Result<LogEntry, GitError> {
        let commit = self.objects.commit(&id)?;
        let author = commit.author().map_err(|_| GitError::BadObject(id))?;
        Ok(LogEntry {
            id: id.to_string(),
            tree: commit.tree().to_string(),
            parents: commit.parents().map(|parent| parent.to_string()).collect(),
            author: format!("{} <{}>", author.name, author.email),
            message: commit.message.to_str_lossy().into_owned(),
        })
    }

    fn moved(&mut self, reference: &str, old: Option<ObjectId>, new: Option<ObjectId>) {
        let text = |id: Option<ObjectId>| id.map(|id| id.to_string());
        let reference = reference.to_owned();
        self.moves.push(Move { reference, old: text(old), new: text(new) });
    }

    fn commit<P: AsRef<str>, B: AsRef<[u8]>>(
        &mut self,
        branch: &str,
        files: &[(P, B)],
        author: &Signature,
        message: &str,
    ) -> Result<ObjectId, GitError> {
        let name = reference(branch);
        let parent =
            self.references.get(&name).or_else(|| self.references.get(&self.head)).copied();
        let mut tree = match parent {
            Some(parent) => self.files(parent)?,
            None => BTreeMap::new(),
        };
        for (path, bytes) in files {
            let data = Bytes::copy_from_slice(bytes.as_ref());
            let id = self.objects.insert(Kind::Blob, data);
            let path = path.as_ref().to_owned();
            let mode = tree.get(&path).map_or(EntryKind::Blob.into(), |file| file.mode);
            tree.insert(path, File { mode, id });
        }
        let author = gix::actor::Signature {
            name: author.name.as_str().into(),
            email: author.email.as_str().into(),
            time: gix::date::Time { seconds: author.seconds, offset: 0 },
        };
        let commit = objs::Commit {
            tree: self.objects.write_trees(&tree),
            parents: parent.into_iter().collect(),
            author: author.clone(),
            committer: author,
            encoding: None,
            message: message.into(),
            extra_headers: Vec::new(),
        };
        let id = self.objects.write(&commit);
        let old = self.references.insert(name.clone(), id);
        self.moved(&name, old, Some(id));
        Ok(id)
    }

    fn export(&self, folder: &Path) -> Result<(), GitError> {
        fs::create_dir_all(folder.join("refs"))?;
        fs::create_dir_all(folder.join("objects"))?;
        for (id, object) in self.objects.iter() {
            let id = id.to_string();
            let (fan, rest) = id.split_at(2);
            fs::create_dir_all(folder.join("objects").join(fan))?;
            let file = fs::File::create(folder.join("objects").join(fan).join(rest))?;
            let mut encoder = flate2::write::ZlibEncoder::new(file, flate2::Compression::fast());
            let size = object.data.len() as u64;
            encoder.write_all(&objs::encode::loose_header(object.kind, size))?;
            encoder.write_all(&object.data)?;
            encoder.finish()?;
        }
        for (name, id) in &self.references {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap_or(folder))?;
            fs::write(file, format!("{id}\n"))?;
        }
        fs::write(folder.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n")?;
        fs::write(folder.join("HEAD"), format!("ref: {}\n", self.head))?;
        Ok(())
    }
}

fn reference(branch: &str) -> String {
    format!("refs/heads/{branch}")
}
