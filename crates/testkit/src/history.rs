//! Checks what a bot did to a repository against what it may do.
//!
//! The judge is the repository itself: its reference logs say which tip every push replaced, and
//! its objects what every commit changed. Nothing of what the bot says about itself counts.

use std::{
    collections::{BTreeSet, HashSet},
    fmt, fs,
};

use crate::git_server::Repositories;

/// What stands before the name of a policy in a marked line.
const MARKER: &str = "{\"$imagepolicy\": \"";

/// Something a bot must never do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A push replaced a tip that its first new commit does not have as its parent.
    NotOnTop {
        /// The full name of the reference.
        reference: String,
        /// The tip that was replaced.
        old: String,
        /// What replaced it.
        new: String,
    },
    /// A person's commit can be reached from no reference any more.
    HumanCommitLost {
        /// The commit.
        commit: String,
    },
    /// A commit changes nothing.
    EmptyCommit {
        /// The commit.
        commit: String,
    },
    /// A commit says again what another one has said to the same parent.
    DuplicateCommit {
        /// The commit.
        commit: String,
    },
    /// A commit changes more of a file than marked values: it was added, removed, its mode changed,
    /// or other bytes did.
    MoreThanMarkedValues {
        /// The commit.
        commit: String,
        /// The file's path.
        path: String,
    },
    /// A value was written that its policy had not chosen.
    NotChosen {
        /// The commit.
        commit: String,
        /// The file's path.
        path: String,
        /// The policy with the part that the marker asks for, `NAMESPACE:NAME[:PART]`.
        policy: String,
        /// The value.
        value: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::NotOnTop { reference, old, new } => {
                write!(f, "{new} replaced {old} on {reference} and is not on top of it")
            }
            Violation::HumanCommitLost { commit } => write!(f, "the human commit {commit} is lost"),
            Violation::EmptyCommit { commit } => write!(f, "{commit} changes nothing"),
            Violation::DuplicateCommit { commit } => write!(f, "{commit} repeats another commit"),
            Violation::MoreThanMarkedValues { commit, path } => {
                write!(f, "{commit} changes more of {path} than marked values")
            }
            Violation::NotChosen { commit, path, policy, value } => {
                write!(f, "{commit} writes `{value}` to {path}, which {policy} never chose")
            }
        }
    }
}

/// What is known about a bot and the choices it was to write.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The author's name in the bot's commits; everyone else is a person.
    pub bot: String,
    /// Pairs of a marker's text, such as `flux-system:app:tag`, and a value it may have got.
    chosen: BTreeSet<(String, String)>,
}

impl History {
    /// Returns a history of a bot with that author's name, which has chosen nothing yet.
    pub fn of_bot(bot: &str) -> History {
        History { bot: bot.to_owned(), chosen: BTreeSet::new() }
    }

    /// Records that a policy chose an image, so that its values may be written from then on.
    pub fn record_choice(&mut self, policy: &str, name: &str, tag: &str) {
        let values = [
            (policy.to_owned(), format!("{name}:{tag}")),
            (format!("{policy}:name"), name.to_owned()),
            (format!("{policy}:tag"), tag.to_owned()),
        ];
        self.chosen.extend(values);
    }

    /// Returns everything that went wrong in a repository, nothing if all is well.
    ///
    /// Marked values are looked for on lines that have value and marker both.
    pub fn violations(&self, repositories: &Repositories, name: &str) -> Vec<Violation> {
        let moves = moves(repositories, name);
        let mut violations = self.lost(repositories, name, &moves);
        let mut checked = HashSet::new();
        let mut said = HashSet::new();
        for step in &moves {
            let Some(new) = &step.new else { continue };
            if Commit::read(repositories, name, new).author != self.bot {
                continue;
            }
            let commits = commits_between(repositories, name, step.old.as_deref(), new);
            let on_top = match (&step.old, commits.first()) {
                (Some(old), Some(first)) => first.parents.first() == Some(old),
                (Some(_), None) => false,
                (None, _) => true,
            };
            if let (false, Some(old)) = (on_top, &step.old) {
                violations.push(Violation::NotOnTop {
                    reference: step.reference.clone(),
                    old: old.clone(),
                    new: new.clone(),
                });
            }
            for commit in commits.iter().filter(|commit| commit.author == self.bot) {
                if checked.insert(commit.id.clone()) {
                    self.check_commit(repositories, name, commit, &mut said, &mut violations);
                }
            }
        }
        violations
    }

    /// Panics with all violations if there are any.
    #[track_caller]
    pub fn check(&self, repositories: &Repositories, name: &str) {
        let violations = self.violations(repositories, name);
        let lines: Vec<String> =
            violations.iter().map(|violation| format!("\n{violation}")).collect();
        assert!(violations.is_empty(), "in the history of {name}:{}", lines.concat());
    }

    fn lost(&self, repositories: &Repositories, name: &str, moves: &[Move]) -> Vec<Violation> {
        let all = repositories.git(name, &["rev-list", "--all"]);
        let reachable: HashSet<&str> = all.lines().collect();
        let tips: BTreeSet<&String> = moves.iter().filter_map(|step| step.new.as_ref()).collect();
        tips.into_iter()
            .filter(|tip| !reachable.contains(tip.as_str()))
            .filter(|tip| Commit::read(repositories, name, tip).author != self.bot)
            .map(|tip| Violation::HumanCommitLost { commit: tip.clone() })
            .collect()
    }

    fn check_commit(
        &self,
        repositories: &Repositories,
        name: &str,
        commit: &Commit,
        said: &mut HashSet<(Option<String>, String)>,
        violations: &mut Vec<Violation>,
    ) {
        let parent = commit.parents.first();
        if !said.insert((parent.cloned(), commit.tree.clone())) {
            violations.push(Violation::DuplicateCommit { commit: commit.id.clone() });
        }
        let Some(parent) = parent else { return };
        if Commit::read(repositories, name, parent).tree == commit.tree {
            violations.push(Violation::EmptyCommit { commit: commit.id.clone() });
        }
        for path in changed_files(repositories, name, parent, &commit.id) {
            let (path, whole) = path;
            let old = repositories.file(name, parent, &path);
            let new = repositories.file(name, &commit.id, &path);
            let edits = match (whole, old, new) {
                (Whole::Kept, Some(old), Some(new)) => marked_edits(&old, &new),
                _ => None,
            };
            let Some(edits) = edits else {
                let commit = commit.id.clone();
                violations.push(Violation::MoreThanMarkedValues { commit, path });
                continue;
            };
            for (policy, value) in edits {
                if !self.chosen.contains(&(policy.clone(), value.clone())) {
                    let (commit, path) = (commit.id.clone(), path.clone());
                    violations.push(Violation::NotChosen { commit, path, policy, value });
                }
            }
        }
    }
}

/// One line of a reference log.
struct Move {
    reference: String,
    old: Option<String>,
    new: Option<String>,
}

fn moves(repositories: &Repositories, name: &str) -> Vec<Move> {
    let references =
        repositories.git(name, &["for-each-ref", "--format=%(refname)", "refs/heads/"]);
    let mut moves = Vec::new();
    for reference in references.lines() {
        let log = fs::read_to_string(repositories.path(name).join("logs").join(reference));
        for line in log.expect("these repositories keep logs of their references").lines() {
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

struct Commit {
    id: String,
    tree: String,
    parents: Vec<String>,
    author: String,
}

impl Commit {
    fn read(repositories: &Repositories, name: &str, id: &str) -> Commit {
        let format = "--format=%T%n%P%n%an";
        let text = repositories.git(name, &["show", "--no-patch", format, id]);
        let mut lines = text.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        Commit {
            id: id.to_owned(),
            tree: next(),
            parents: next().split_whitespace().map(str::to_owned).collect(),
            author: next(),
        }
    }
}

/// Returns the commits that a push added, the first one first; of a new branch, its tip.
fn commits_between(
    repositories: &Repositories,
    name: &str,
    old: Option<&str>,
    new: &str,
) -> Vec<Commit> {
    let range = match old {
        Some(old) => format!("{old}..{new}"),
        None => format!("{new}^!"),
    };
    let list = repositories.git(name, &["rev-list", "--reverse", "--topo-order", &range]);
    list.lines().map(|id| Commit::read(repositories, name, id)).collect()
}

/// Whether a file is there before and after a commit, with the same mode.
#[derive(PartialEq, Eq)]
enum Whole {
    Kept,
    Changed,
}

fn changed_files(
    repositories: &Repositories,
    name: &str,
    parent: &str,
    commit: &str,
) -> Vec<(String, Whole)> {
    let args = ["diff-tree", "-r", "-z", "--no-renames", parent, commit];
    let text = repositories.git(name, &args);
    let mut fields = text.split_terminator('\0');
    let mut files = Vec::new();
    while let (Some(entry), Some(path)) = (fields.next(), fields.next()) {
        // `:100644 100644 OLD NEW M`
        let words: Vec<&str> = entry.trim_start_matches(':').split(' ').collect();
        let kept = matches!(words.as_slice(), [old, new, _, _, "M"] if old == new);
        files.push((path.to_owned(), if kept { Whole::Kept } else { Whole::Changed }));
    }
    files
}

/// Returns marker and new value of each edited line, if nothing but values of marked lines changed.
fn marked_edits(old: &[u8], new: &[u8]) -> Option<Vec<(String, String)>> {
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (old, new) = (lines(old), lines(new));
    if old.len() != new.len() {
        return None;
    }
    let changed = old.iter().zip(&new).filter(|(old, new)| old != new);
    changed.map(|(old, new)| marked_edit(old, new)).collect()
}

fn marked_edit(old: &[u8], new: &[u8]) -> Option<(String, String)> {
    let (old, new) = (MarkedLine::parse(old)?, MarkedLine::parse(new)?);
    let same = old.before == new.before && old.after == new.after;
    same.then_some((new.policy, new.value))
}

/// A line `KEY: VALUE # {"$imagepolicy": "POLICY"}`.
struct MarkedLine {
    /// All before the value, an opening quote included.
    before: String,
    value: String,
    policy: String,
    /// All after the value, a closing quote included.
    after: String,
}

impl MarkedLine {
    fn parse(line: &[u8]) -> Option<MarkedLine> {
        let line = std::str::from_utf8(line).ok()?;
        let (_, policy) = line.split_once(MARKER)?;
        let policy = policy.split('"').next()?;
        let end = line.find(" #")?;
        let text = line[..end].trim_end();
        // A value holds no space; a key, and the dash of an item, end with one.
        let start = text.rfind(' ').map_or(0, |space| space + 1);
        let value = text[start..].trim_matches(['"', '\'']);
        let start = start + text[start..].find(value)?;
        Some(MarkedLine {
            before: line[..start].to_owned(),
            value: value.to_owned(),
            policy: policy.to_owned(),
            after: line[start + value.len()..].to_owned(),
        })
    }
}
