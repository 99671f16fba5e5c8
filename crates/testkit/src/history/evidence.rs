//! What a repository itself knows about its past.

use std::{collections::HashSet, fs};

use bytes::Bytes;
use sandbox::GitHost;

use crate::git_server::Repositories;

/// A reference that was made, moved or removed.
pub struct Move {
    /// Its full name.
    pub reference: String,
    /// What it named before.
    pub old: Option<String>,
    /// What it names since.
    pub new: Option<String>,
}

/// A commit.
pub struct Commit {
    /// Its id.
    pub id: String,
    /// The id of its tree.
    pub tree: String,
    /// The ids of its parents.
    pub parents: Vec<String>,
    /// The author's name.
    pub author: String,
}

/// A file that differs between two commits.
pub struct Change {
    /// Its path.
    pub path: String,
    /// Its bytes before and after; `None` if it was added or removed, or its mode changed.
    pub edited: Option<(Vec<u8>, Vec<u8>)>,
}

/// Knows the past of a repository.
pub trait Evidence {
    /// Returns what became of its branches, in order for each of them.
    fn moves(&self) -> Vec<Move>;
    /// Returns a commit.
    fn commit(&self, id: &str) -> Commit;
    /// Returns the ids of all commits that references lead to.
    fn reachable(&self) -> HashSet<String>;
    /// Returns the commits that a move added, the first one first; of a new branch, its tip.
    fn between(&self, old: Option<&str>, new: &str) -> Vec<Commit>;
    /// Returns the files that a commit changed.
    fn changes(&self, parent: &str, commit: &str) -> Vec<Change>;
}

/// A repository on disk, asked by stock git.
pub(super) struct StockGit<'a> {
    pub(super) repositories: &'a Repositories,
    pub(super) name: &'a str,
}

impl Evidence for StockGit<'_> {
    fn moves(&self) -> Vec<Move> {
        let args = ["for-each-ref", "--format=%(refname)", "refs/heads/"];
        let references = self.repositories.git(self.name, &args);
        let mut moves = Vec::new();
        for reference in references.lines() {
            let log = self.repositories.path(self.name).join("logs").join(reference);
            let log = fs::read_to_string(log).expect("these repositories keep logs");
            for line in log.lines() {
                let mut words = line.split(' ').map(|id| {
                    let exists = id.bytes().any(|byte| byte != b'0');
                    exists.then(|| id.to_owned())
                });
                let (old, new) = (words.next().flatten(), words.next().flatten());
                moves.push(Move { reference: reference.to_owned(), old, new });
            }
        }
        moves
    }

    fn commit(&self, id: &str) -> Commit {
        let format = "--format=%T%n%P%n%an";
        let text = self.repositories.git(self.name, &["show", "--no-patch", format, id]);
        let mut lines = text.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        Commit {
            id: id.to_owned(),
            tree: next(),
            parents: next().split_whitespace().map(str::to_owned).collect(),
            author: next(),
        }
    }

    fn reachable(&self) -> HashSet<String> {
        let all = self.repositories.git(self.name, &["rev-list", "--all"]);
        all.lines().map(str::to_owned).collect()
    }

    fn between(&self, old: Option<&str>, new: &str) -> Vec<Commit> {
        let range = match old {
            Some(old) => format!("{old}..{new}"),
            None => format!("{new}^!"),
        };
        let args = ["rev-list", "--reverse", "--topo-order", &range];
        self.repositories.git(self.name, &args).lines().map(|id| self.commit(id)).collect()
    }

    fn changes(&self, parent: &str, commit: &str) -> Vec<Change> {
        let args = ["diff-tree", "-r", "-z", "--no-renames", parent, commit];
        let text = self.repositories.git(self.name, &args);
        let file = |revision: &str, path: &str| self.repositories.file(self.name, revision, path);
        let mut fields = text.split_terminator('\0');
        let mut changes = Vec::new();
        while let (Some(entry), Some(path)) = (fields.next(), fields.next()) {
            // `:100644 100644 OLD NEW M`
            let words: Vec<&str> = entry.trim_start_matches(':').split(' ').collect();
            let kept = matches!(words.as_slice(), [old, new, _, _, "M"] if old == new);
            let both = || Some((file(parent, path)?, file(commit, path)?));
            let edited = if kept { both() } else { None };
            changes.push(Change { path: path.to_owned(), edited });
        }
        changes
    }
}

/// A repository of the [`sandbox`]'s Git host.
pub struct Hosted<'a> {
    /// The host.
    pub host: &'a GitHost,
    /// The repository's name.
    pub name: &'a str,
}

impl Evidence for Hosted<'_> {
    fn moves(&self) -> Vec<Move> {
        let moves = self.host.moves(self.name).expect("the repository exists");
        let of =
            |step: sandbox::Move| Move { reference: step.reference, old: step.old, new: step.new };
        moves.into_iter().map(of).collect()
    }

    fn commit(&self, id: &str) -> Commit {
        let entry = self.host.commit_of(self.name, id).expect("the commit exists");
        let author = entry.author.split(" <").next().unwrap_or_default().to_owned();
        Commit { id: entry.id, tree: entry.tree, parents: entry.parents, author }
    }

    fn reachable(&self) -> HashSet<String> {
        let references = self.host.references(self.name).expect("the repository exists");
        let mut reachable = HashSet::new();
        let mut pending: Vec<String> = references.into_values().collect();
        while let Some(id) = pending.pop() {
            if reachable.insert(id.clone()) {
                pending.extend(self.commit(&id).parents);
            }
        }
        reachable
    }

    fn between(&self, old: Option<&str>, new: &str) -> Vec<Commit> {
        let mut commits = Vec::new();
        let mut next = Some(new.to_owned());
        while let Some(id) = next.filter(|id| Some(id.as_str()) != old) {
            let commit = self.commit(&id);
            next = commit.parents.first().cloned().filter(|_| old.is_some());
            commits.push(commit);
        }
        commits.reverse();
        commits
    }

    fn changes(&self, parent: &str, commit: &str) -> Vec<Change> {
        let files = |id: &str| self.host.files_at(self.name, id).expect("the commit exists");
        let (old, new) = (files(parent), files(commit));
        let bytes = |bytes: Option<&Bytes>| bytes.map(|bytes| bytes.to_vec());
        let paths = old.keys().chain(new.keys().filter(|path| !old.contains_key(*path)));
        paths
            .filter(|path| old.get(*path) != new.get(*path))
            .map(|path| Change {
                path: path.clone(),
                edited: bytes(old.get(path)).zip(bytes(new.get(path))),
            })
            .collect()
    }
}
