//! Commits changed files by rebuilding only the folders that hold them; nothing is checked out.

use std::{borrow::Cow, collections::BTreeMap};

use gix::{ObjectId, objs::Kind};
use jiff::Timestamp;

use crate::{
    limits::{MESSAGE_BYTES_MAX, TREE_DEPTH_MAX},
    objects::{ObjectError, Objects, Staged},
    reference::CommitId,
    tree::{self, Mode, TreeError},
};

/// Who commits, and when. Author and committer are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Name, which may be empty.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// The time, written in UTC.
    pub time: Timestamp,
}

/// New contents of a file that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// From the root of the repository, with slashes.
    pub path: String,
    /// All its bytes.
    pub bytes: Vec<u8>,
}

/// A commit that exists in memory.
#[derive(Clone)]
pub(crate) struct Commit {
    /// Its id.
    pub(crate) id: CommitId,
    /// Its root folder.
    pub(crate) tree: ObjectId,
    /// The message, verbatim.
    pub(crate) message: String,
    /// Commit, folders and files, as far as they are new.
    pub(crate) objects: Vec<Staged>,
}

/// Why a commit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A changed path is no regular file of the parent.
    #[error("cannot commit `{path}`: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What it is.
        reason: &'static str,
    },
    /// The message cannot be stored.
    #[error("the commit message {0}")]
    Message(&'static str),
    /// An object could not be read.
    #[error("cannot read the parent of the commit")]
    Object(#[from] ObjectError),
    /// A folder of the parent is malformed.
    #[error("cannot read the parent of the commit")]
    Tree(#[from] TreeError),
}

/// Returns a commit on top of `parent`, or none if the files are as they were.
pub(crate) fn commit(
    objects: &mut Objects,
    parent: CommitId,
    parent_tree: ObjectId,
    changes: &[FileChange],
    signature: &Signature,
    message: &str,
) -> Result<Option<Commit>, CommitError> {
    check_message(message)?;
    let mut root = Folder::default();
    for change in changes {
        root.insert(change)?;
    }
    let mut staged = Vec::new();
    let tree = rebuild(objects, parent_tree, &root, &mut staged)?;
    if tree == parent_tree {
        return Ok(None);
    }
    let text = commit_text(tree, parent, signature, message);
    let commit = objects.stage(Kind::Commit, text, None);
    let id = CommitId(commit.id);
    // A commit comes first: servers read packs in order.
    staged.push(commit);
    staged.reverse();
    Ok(Some(Commit { id, tree, message: message.to_owned(), objects: staged }))
}

/// Changes by name within a folder.
#[derive(Default)]
struct Folder<'a> {
    files: BTreeMap<&'a str, &'a FileChange>,
    folders: BTreeMap<&'a str, Folder<'a>>,
}

impl<'a> Folder<'a> {
    fn insert(&mut self, change: &'a FileChange) -> Result<(), CommitError> {
        let refuse = |reason| CommitError::Path { path: change.path.clone(), reason };
        let mut folder = self;
        let mut names = change.path.split('/').peekable();
        for depth in 0.. {
            if depth > TREE_DEPTH_MAX {
                return Err(refuse("too deep"));
            }
            let Some(name) = names.next() else { return Err(refuse("not a path")) };
            if tree::is_dangerous(name.as_bytes()) {
                return Err(refuse("not a path within the repository"));
            }
            if names.peek().is_none() {
                folder.files.insert(name, change);
                break;
            }
            folder = folder.folders.entry(name).or_default();
        }
        Ok(())
    }
}

/// Returns the id of a folder with these changes; new objects are appended, leaves first.
///
/// It recurses as deep as the changed paths, whose depth is limited.
fn rebuild(
    objects: &mut Objects,
    id: ObjectId,
    changes: &Folder<'_>,
    staged: &mut Vec<Staged>,
) -> Result<ObjectId, CommitError> {
    let mut data = objects.read(id, Kind::Tree)?.to_vec();
    let places = places(id, &data, changes)?;
    for (name, place) in places {
        let new = match (changes.files.get(name), changes.folders.get(name)) {
            (Some(change), _) => stage_file(objects, place.id, change, staged),
            (None, Some(folder)) => rebuild(objects, place.id, folder, staged)?,
            (None, None) => continue,
        };
        data[place.id_at..place.id_at + 20].copy_from_slice(new.as_slice());
    }
    let new = crate::objects::hash(Kind::Tree, &data);
    if new != id {
        staged.push(objects.stage(Kind::Tree, data, Some(id)));
    }
    Ok(new)
}

struct Place {
    id: ObjectId,
    id_at: usize,
}

/// Returns where the ids of all changed entries stand.
fn places<'a>(
    id: ObjectId,
    data: &[u8],
    changes: &Folder<'a>,
) -> Result<Vec<(&'a str, Place)>, CommitError> {
    let entries = tree::parse(id, data)?;
    let by_name: BTreeMap<&[u8], tree::Entry<'_>> = entries
        .into_iter()
        .filter(|entry| {
            std::str::from_utf8(entry.name).is_ok_and(|name| {
                changes.files.contains_key(name) || changes.folders.contains_key(name)
            })
        })
        .map(|entry| (entry.name, entry))
        .collect();
    let mut places = Vec::with_capacity(by_name.len());
    for (name, change) in &changes.files {
        places.push((*name, place(&by_name, name, Mode::File, &change.path)?));
    }
    for (name, folder) in &changes.folders {
        places.push((*name, place(&by_name, name, Mode::Folder, &folder.first_path())?));
    }
    Ok(places)
}

impl Folder<'_> {
    /// Returns the path of some change below, for errors.
    fn first_path(&self) -> Cow<'_, str> {
        match (self.files.values().next(), self.folders.values().next()) {
            (Some(change), _) => Cow::Borrowed(&change.path),
            (None, Some(folder)) => folder.first_path(),
            (None, None) => Cow::Borrowed(""),
        }
    }
}

fn place(
    by_name: &BTreeMap<&[u8], tree::Entry<'_>>,
    name: &str,
    expected: Mode,
    path: &str,
) -> Result<Place, CommitError> {
    let refuse = |reason| CommitError::Path { path: path.to_owned(), reason };
    match by_name.get(name.as_bytes()) {
        Some(entry) if entry.mode == expected => Ok(Place { id: entry.id, id_at: entry.id_at }),
        Some(entry) if entry.mode == Mode::Symlink => {
            Err(refuse("it is, or lies behind, a symbolic link"))
        }
        Some(_) => Err(refuse("it is not a regular file in a folder")),
        None => Err(refuse("no such file")),
    }
}

fn stage_file(
    objects: &mut Objects,
    old: ObjectId,
    change: &FileChange,
    staged: &mut Vec<Staged>,
) -> ObjectId {
    let new = crate::objects::hash(Kind::Blob, &change.bytes);
    if new != old {
        staged.push(objects.stage(Kind::Blob, change.bytes.clone(), Some(old)));
    }
    new
}

fn check_message(message: &str) -> Result<(), CommitError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(CommitError::Message("is longer than a mebibyte"));
    }
    if message.contains('\0') {
        return Err(CommitError::Message("holds a NUL character, which Git cannot store"));
    }
    Ok(())
}

fn commit_text(tree: ObjectId, parent: CommitId, signature: &Signature, message: &str) -> Vec<u8> {
    let name = clean(&signature.name);
    let email = clean(&signature.email);
    let seconds = signature.time.as_second().max(0);
    // Git reads `author <email>`; with an empty name there must be one space, not two.
    let space = if name.is_empty() { "" } else { " " };
    let who = format!("{name}{space}<{email}> {seconds} +0000");
    format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{message}").into_bytes()
}

/// Drops what would break a commit's header, as git does.
fn clean(text: &str) -> String {
    let crud = |c: char| c.is_ascii_control() || c == ' ' || ".,:;<>\"\\'".contains(c);
    let kept: String =
        text.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\0' | '\r')).collect();
    kept.trim_matches(crud).to_owned()
}
