//! Checks what a bot did to a repository against what it may do.
//!
//! The judge is the repository itself: its reference logs say which tip every push replaced, and
//! its objects what every commit changed. Nothing of what the bot says about itself counts.

mod edits;
mod evidence;

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
};

pub use self::evidence::{Change, Commit, Evidence, Hosted, Move};
use self::{edits::marked_edits, evidence::StockGit};
use crate::git_server::Repositories;

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
        self.violations_in(&StockGit { repositories, name })
    }

    /// As [`violations`](Self::violations), by whatever knows the repository.
    pub fn violations_in(&self, repository: &impl Evidence) -> Vec<Violation> {
        let moves = repository.moves();
        let mut violations = self.lost(repository, &moves);
        let mut checked = HashSet::new();
        let mut said = HashSet::new();
        for step in &moves {
            let Some(new) = &step.new else { continue };
            if repository.commit(new).author != self.bot {
                continue;
            }
            let commits = repository.between(step.old.as_deref(), new);
            violations.extend(not_on_top(step, new, &commits));
            for commit in commits.iter().filter(|commit| commit.author == self.bot) {
                if checked.insert(commit.id.clone()) {
                    self.check_commit(repository, commit, &mut said, &mut violations);
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

    fn lost(&self, repository: &impl Evidence, moves: &[Move]) -> Vec<Violation> {
        let reachable = repository.reachable();
        let tips: BTreeSet<&String> = moves.iter().filter_map(|step| step.new.as_ref()).collect();
        tips.into_iter()
            .filter(|tip| !reachable.contains(*tip))
            .filter(|tip| repository.commit(tip).author != self.bot)
            .map(|tip| Violation::HumanCommitLost { commit: tip.clone() })
            .collect()
    }

    fn check_commit(
        &self,
        repository: &impl Evidence,
        commit: &Commit,
        said: &mut HashSet<(Option<String>, String)>,
        violations: &mut Vec<Violation>,
    ) {
        let parent = commit.parents.first();
        if !said.insert((parent.cloned(), commit.tree.clone())) {
            violations.push(Violation::DuplicateCommit { commit: commit.id.clone() });
        }
        let Some(parent) = parent else { return };
        if repository.commit(parent).tree == commit.tree {
            violations.push(Violation::EmptyCommit { commit: commit.id.clone() });
        }
        for change in repository.changes(parent, &commit.id) {
            let path = change.path;
            let edits = change.edited.and_then(|(old, new)| marked_edits(&old, &new));
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

/// Says whether the first new commit has the replaced tip as its parent.
fn not_on_top(step: &Move, new: &str, commits: &[Commit]) -> Option<Violation> {
    let old = step.old.as_ref()?;
    if commits.first().is_some_and(|first| first.parents.first() == Some(old)) {
        return None;
    }
    let (reference, old, new) = (step.reference.clone(), old.clone(), new.to_owned());
    Some(Violation::NotOnTop { reference, old, new })
}
