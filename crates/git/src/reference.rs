//! Names of references, what an object asks for, and what a remote says it is.

use std::{fmt, str::FromStr, sync::Arc};

use gix::ObjectId;

/// Longest reference name accepted, in bytes: file systems and servers stop at 1,024 or earlier.
const REF_NAME_BYTES_MAX: usize = 1024;

/// Suffix by which a reference name asks for what an annotated tag points to.
const PEELED: &str = "^{}";

/// A full, well-formed reference name, `refs/heads/main`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(Arc<str>);

/// Why a text is no reference name, by git's own rules (`git check-ref-format`).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{name}` is not a valid reference name: {reason}")]
pub struct RefNameError {
    name: String,
    reason: String,
}

impl RefName {
    /// Returns the reference of a branch.
    pub fn branch(name: &str) -> Result<RefName, RefNameError> {
        RefName::new(format!("refs/heads/{name}"))
    }

    /// Returns the reference of a tag.
    pub fn tag(name: &str) -> Result<RefName, RefNameError> {
        RefName::new(format!("refs/tags/{name}"))
    }

    /// Returns the full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name without `refs/heads/` or `refs/tags/`.
    pub fn short(&self) -> &str {
        let name = self.as_str();
        name.strip_prefix("refs/heads/").or(name.strip_prefix("refs/tags/")).unwrap_or(name)
    }

    fn new(name: String) -> Result<RefName, RefNameError> {
        let reason = match check_ref_name(&name) {
            Ok(()) => return Ok(RefName(name.into())),
            Err(reason) => reason,
        };
        Err(RefNameError { name: name.chars().take(200).collect(), reason })
    }
}

fn check_ref_name(name: &str) -> Result<(), String> {
    if name.len() > REF_NAME_BYTES_MAX {
        return Err(format!("longer than {REF_NAME_BYTES_MAX} bytes"));
    }
    if !name.starts_with("refs/") {
        return Err("it must begin with refs/".to_owned());
    }
    if name.starts_with("refs/heads/-") {
        return Err("a branch must not begin with a dash".to_owned());
    }
    match gix::validate::reference::name(name.into()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

impl FromStr for RefName {
    type Err = RefNameError;

    fn from_str(name: &str) -> Result<RefName, RefNameError> {
        RefName::new(name.to_owned())
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a commit: 40 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub(crate) ObjectId);

/// A text is no commit id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a commit id of 40 hexadecimal digits")]
pub struct CommitIdError(String);

impl CommitId {
    /// Returns the id as gix knows it.
    pub fn object(&self) -> ObjectId {
        self.0
    }
}

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<CommitId, CommitIdError> {
        match ObjectId::from_hex(text.as_bytes()) {
            Ok(id) if text.len() == 40 => Ok(CommitId(id)),
            _ => Err(CommitIdError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Chooses among the short names of all tags: the position of the one preferred.
pub type TagChooser = Arc<dyn Fn(&[String]) -> Option<usize> + Send + Sync>;

/// What to check out. Which of an object's fields wins is the caller's business.
#[derive(Clone)]
pub enum Reference {
    /// The tip of a branch, by its short name.
    Branch(RefName),
    /// A tag; annotated tags are followed to their commit.
    Tag(RefName),
    /// The tag that the chooser prefers; `range` is for messages.
    Semver {
        /// The range, as the user wrote it.
        range: String,
        /// The choice.
        choose: TagChooser,
    },
    /// Any reference by its full name.
    Name(RefName),
    /// A commit, which servers give by id; `branch` only names it in revisions.
    Commit {
        /// The commit.
        id: CommitId,
        /// The branch it is said to be on.
        branch: Option<RefName>,
    },
}

impl Reference {
    /// Returns the branch with this short name.
    pub fn branch(name: &str) -> Result<Reference, RefNameError> {
        RefName::branch(name).map(Reference::Branch)
    }

    /// Returns the tag with this short name.
    pub fn tag(name: &str) -> Result<Reference, RefNameError> {
        RefName::tag(name).map(Reference::Tag)
    }

    /// Returns the reference with this full name, which may end in `^{}`.
    pub fn name(name: &str) -> Result<Reference, RefNameError> {
        name.strip_suffix(PEELED).unwrap_or(name).parse().map(Reference::Name)
    }

    /// Returns the prefix a server is asked for; none where no listing is needed.
    pub(crate) fn prefix(&self) -> Option<&str> {
        match self {
            Reference::Branch(name) | Reference::Tag(name) | Reference::Name(name) => {
                Some(name.as_str())
            }
            Reference::Semver { .. } => Some("refs/tags/"),
            Reference::Commit { .. } => None,
        }
    }

    /// Returns what this reference is among those a server listed.
    pub(crate) fn find(&self, refs: &[RemoteRef]) -> Option<Resolved> {
        match self {
            Reference::Branch(name) | Reference::Tag(name) => {
                find(refs, name).map(|found| Resolved::new(found, Some(name.short())))
            }
            Reference::Name(name) => {
                find(refs, name).map(|found| Resolved::new(found, Some(name.as_str())))
            }
            Reference::Semver { choose, .. } => {
                let tags: Vec<&RemoteRef> =
                    refs.iter().filter(|r| r.name.as_str().starts_with("refs/tags/")).collect();
                let names: Vec<String> = tags.iter().map(|r| r.name.short().to_owned()).collect();
                let tag = tags.get(choose(&names)?)?;
                Some(Resolved::new(tag, Some(tag.name.short())))
            }
            Reference::Commit { id, branch } => Some(Resolved {
                name: branch.clone(),
                id: *id,
                want: id.0,
                revision: revision(branch.as_ref().map(RefName::short), *id),
            }),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Branch(name) | Reference::Tag(name) | Reference::Name(name) => {
                write!(f, "{name}")
            }
            Reference::Semver { range, .. } => write!(f, "tags in {range}"),
            Reference::Commit { id, .. } => write!(f, "{id}"),
        }
    }
}

/// A reference as a remote advertised it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    /// Its full name.
    pub name: RefName,
    /// What it points to: a commit, or a tag object.
    pub id: ObjectId,
    /// What the tag object points to.
    pub peeled: Option<ObjectId>,
}

/// A reference and the commit it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The full name; none for a commit asked for by id alone.
    pub name: Option<RefName>,
    /// The commit.
    pub id: CommitId,
    /// The object to ask a server for: the tag object where there is one.
    pub(crate) want: ObjectId,
    /// `main@sha1:…`, `v1.0.0@sha1:…`, `refs/pull/1/head@sha1:…` or `sha1:…`.
    pub revision: String,
}

impl Resolved {
    fn new(found: &RemoteRef, label: Option<&str>) -> Resolved {
        let id = CommitId(found.peeled.unwrap_or(found.id));
        Resolved {
            name: Some(found.name.clone()),
            id,
            want: found.id,
            revision: revision(label, id),
        }
    }
}

/// Returns the revision of a commit under a label: `label@sha1:…`, or `sha1:…` without one.
pub fn revision(label: Option<&str>, id: CommitId) -> String {
    match label {
        Some(label) => format!("{label}@sha1:{id}"),
        None => format!("sha1:{id}"),
    }
}

pub(crate) fn find<'a>(refs: &'a [RemoteRef], name: &RefName) -> Option<&'a RemoteRef> {
    refs.iter().find(|r| r.name == *name)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn names_follow_gits_rules() {
        check("refs/heads/main", expect!["ok main"]);
        check("refs/heads/a/b", expect!["ok a/b"]);
        check("refs/pull/1/head", expect!["ok refs/pull/1/head"]);
        for bad in [
            "main",
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/a b",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a\u{7f}",
            "refs/heads/a\nb",
            "refs/heads/a@{1}",
            "refs/heads/a//b",
            "refs/heads/-x",
            "refs/heads/a\\b",
            "refs/heads/*",
        ] {
            assert!(bad.parse::<RefName>().is_err(), "{bad:?} is refused");
        }
    }

    #[test]
    fn the_caller_chooses_among_tags() {
        let refs = ["refs/tags/v1", "refs/tags/v2", "refs/heads/v3"].map(|name| RemoteRef {
            name: name.parse().expect("valid"),
            id: ObjectId::null(gix::hash::Kind::Sha1),
            peeled: None,
        });
        let choose: TagChooser = Arc::new(|names| names.iter().position(|name| name == "v2"));
        let reference = Reference::Semver { range: ">=1".to_owned(), choose };
        let resolved = reference.find(&refs).expect("one matches");
        assert_eq!(resolved.revision, format!("v2@sha1:{}", "0".repeat(40)));
    }

    #[track_caller]
    fn check(name: &str, expected: Expect) {
        let actual = match name.parse::<RefName>() {
            Ok(name) => format!("ok {}", name.short()),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&actual);
    }
}
