//! Ranges such as `>=1.2 <2 || ^3.1`, read and checked as the library does.

use crate::quote::quote;
use crate::{Version, compare_prereleases};
use std::fmt;

/// The longest range that is read, in bytes, as in the library.
const CONSTRAINT_LEN_MAX: usize = 512;

/// The most alternatives of a range, as in the library.
const GROUPS_MAX: usize = 32;

/// A range of versions: groups joined by `||`, of terms that must all hold.
#[derive(Debug, Clone)]
pub struct Constraint {
    groups: Vec<Group>,
}

/// Why a text is not a range; prints the library's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// The range is longer than 512 bytes.
    #[error("constraint string is too long (max {CONSTRAINT_LEN_MAX} bytes)")]
    TooLong,
    /// The range has more than 32 alternatives.
    #[error("too many constraint groups (max {GROUPS_MAX})")]
    TooManyGroups,
    /// An alternative does not have the shape of a range.
    #[error("improper constraint: {}", quote(.0))]
    Improper(String),
    /// A version in a term has the shape of one and is none, such as `1x`.
    #[error("constraint parser error")]
    Version,
}

#[derive(Debug, Clone)]
struct Group {
    terms: Vec<Term>,
    /// Whether a term names a prerelease: only then does the group admit any.
    prereleases: bool,
}

#[derive(Debug, Clone)]
struct Term {
    operator: Operator,
    /// The operator as written, and the version as written.
    text: String,
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    wildcard: Wildcard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

/// The first part of a version that is missing or a wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    None,
    Major,
    Minor,
    Patch,
}

impl Constraint {
    /// Reads a range.
    ///
    /// # Errors
    /// The library's `NewConstraint`, with its texts.
    pub fn parse(text: &str) -> Result<Constraint, ConstraintError> {
        if text.len() > CONSTRAINT_LEN_MAX {
            return Err(ConstraintError::TooLong);
        }
        let text = rewrite_hyphens(text);
        let alternatives: Vec<&str> = text.split("||").collect();
        if alternatives.len() > GROUPS_MAX {
            return Err(ConstraintError::TooManyGroups);
        }
        let groups = alternatives.into_iter().map(Group::parse).collect::<Result<_, _>>()?;
        Ok(Constraint { groups })
    }

    /// Reports whether the version lies in the range.
    pub fn check(&self, version: &Version<'_>) -> bool {
        self.groups.iter().any(|group| {
            (version.prerelease.is_empty() || group.prereleases)
                && group.terms.iter().all(|term| term.admits(version))
        })
    }

    /// Returns major, minor and patch above which no version lies in the range, as an early way out
    /// of a search: there need not be a version so high.
    pub fn ceiling(&self) -> [u64; 3] {
        self.groups.iter().map(Group::ceiling).max().unwrap_or([u64::MAX; 3])
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.groups.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { " || " })?;
            for (i, term) in group.terms.iter().enumerate() {
                f.write_str(if i == 0 { "" } else { " " })?;
                f.write_str(&term.text)?;
            }
        }
        Ok(())
    }
}

// === impl Group ===

impl Group {
    fn parse(text: &str) -> Result<Group, ConstraintError> {
        let parts = split_terms(text).ok_or_else(|| ConstraintError::Improper(text.to_owned()))?;
        let terms = parts.into_iter().map(Term::parse).collect::<Result<Vec<_>, _>>()?;
        let prereleases = terms.iter().any(|term| !term.prerelease.is_empty());
        Ok(Group { terms, prereleases })
    }

    fn ceiling(&self) -> [u64; 3] {
        self.terms.iter().map(Term::ceiling).min().unwrap_or([u64::MAX; 3])
    }
}

// === impl Term ===

impl Term {
    fn parse((operator, version): (&str, Pattern<'_>)) -> Result<Term, ConstraintError> {
        let [major, minor, patch] = version.parts;
        let dashed = version.dashed_prerelease;
        let (wildcard, plain) = if is_wildcard(major) {
            (Wildcard::Major, format!("0.0.0{dashed}"))
        } else if is_wildcard(minor) {
            (Wildcard::Minor, format!("{major}.0.0{dashed}"))
        } else if is_wildcard(patch) {
            (Wildcard::Patch, format!("{major}.{minor}.0{dashed}"))
        } else {
            (Wildcard::None, version.text.to_owned())
        };
        let parsed = Version::parse(&plain).map_err(|_| ConstraintError::Version)?;
        Ok(Term {
            operator: Operator::of(operator),
            text: format!("{operator}{}", version.text),
            major: parsed.major,
            minor: parsed.minor,
            patch: parsed.patch,
            prerelease: parsed.prerelease.to_owned(),
            wildcard,
        })
    }

    /// Reports whether the term holds; its group has let the prerelease through.
    fn admits(&self, version: &Version<'_>) -> bool {
        match self.operator {
            Operator::Equal if self.wildcard == Wildcard::None => *version == self.version(),
            Operator::Equal | Operator::Tilde => self.admits_tilde(version),
            Operator::NotEqual => self.admits_not_equal(version),
            Operator::Greater => self.admits_greater(version),
            Operator::Less => *version < self.version(),
            Operator::GreaterOrEqual => *version >= self.version(),
            Operator::LessOrEqual => self.admits_less_or_equal(version),
            Operator::Caret => self.admits_caret(version),
        }
    }

    /// Returns the numbers above which the term cannot hold.
    fn ceiling(&self) -> [u64; 3] {
        const MAX: u64 = u64::MAX;
        let numbers = [self.major, self.minor, self.patch];
        // What begins with a partial version belongs to it.
        let filled = match self.wildcard {
            Wildcard::None => numbers,
            Wildcard::Minor => [self.major, MAX, MAX],
            Wildcard::Major | Wildcard::Patch => [self.major, self.minor, MAX],
        };
        match self.operator {
            Operator::Less => numbers,
            Operator::LessOrEqual => filled,
            Operator::Caret => [self.major, MAX, MAX],
            Operator::Equal | Operator::Tilde => match self.wildcard {
                Wildcard::None if self.operator == Operator::Equal => numbers,
                Wildcard::None | Wildcard::Major if numbers == [0; 3] => [MAX; 3],
                Wildcard::None | Wildcard::Major => [self.major, self.minor, MAX],
                Wildcard::Minor | Wildcard::Patch => filled,
            },
            Operator::NotEqual | Operator::Greater | Operator::GreaterOrEqual => [MAX; 3],
        }
    }

    fn version(&self) -> Version<'_> {
        Version {
            major: self.major,
            minor: self.minor,
            patch: self.patch,
            prerelease: &self.prerelease,
            metadata: "",
            original: &self.text,
        }
    }

    fn admits_not_equal(&self, version: &Version<'_>) -> bool {
        match self.wildcard {
            Wildcard::None | Wildcard::Major => *version != self.version(),
            Wildcard::Minor => version.major != self.major,
            Wildcard::Patch => {
                (version.major, version.minor) != (self.major, self.minor)
                    || compare_prereleases(version.prerelease, &self.prerelease).is_ne()
            }
        }
    }

    /// A partial version stands for all that begin with it: `>1.2` begins at 1.3.0.
    fn admits_greater(&self, version: &Version<'_>) -> bool {
        match self.wildcard {
            Wildcard::None | Wildcard::Major => *version > self.version(),
            Wildcard::Minor => version.major > self.major,
            Wildcard::Patch => (version.major, version.minor) > (self.major, self.minor),
        }
    }

    /// A partial version stands for all that begin with it: `<=1.2` admits 1.2.9.
    fn admits_less_or_equal(&self, version: &Version<'_>) -> bool {
        match self.wildcard {
            Wildcard::None => *version <= self.version(),
            Wildcard::Minor => version.major <= self.major,
            // With all wild the numbers are those of 0.0: `<=x` admits 0.0.z.
            Wildcard::Major | Wildcard::Patch => {
                (version.major, version.minor) <= (self.major, self.minor)
            }
        }
    }

    fn admits_tilde(&self, version: &Version<'_>) -> bool {
        if *version < self.version() {
            return false;
        }
        match self.wildcard {
            Wildcard::Minor => version.major == self.major,
            Wildcard::None | Wildcard::Major if self.version().core() == (0, 0, 0) => true,
            _ => (version.major, version.minor) == (self.major, self.minor),
        }
    }

    /// The leftmost number that is not zero stays.
    fn admits_caret(&self, version: &Version<'_>) -> bool {
        if *version < self.version() || version.major != self.major {
            return false;
        }
        if self.major > 0 || self.wildcard == Wildcard::Minor {
            return true;
        }
        if version.minor != self.minor {
            return false;
        }
        self.minor > 0 || self.wildcard == Wildcard::Patch || version.patch == self.patch
    }
}

// === impl Operator ===

impl Operator {
    fn of(text: &str) -> Operator {
        match text {
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" | "=>" => Operator::GreaterOrEqual,
            "<=" | "=<" => Operator::LessOrEqual,
            "~" | "~>" => Operator::Tilde,
            "^" => Operator::Caret,
            _ => Operator::Equal,
        }
    }
}

// === Text ===

/// A version in a range, where a part may be a wildcard.
#[derive(Debug, Clone, Copy)]
struct Pattern<'t> {
    text: &'t str,
    /// The numbers, empty where one is missing.
    parts: [&'t str; 3],
    /// The prerelease with its dash, or nothing.
    dashed_prerelease: &'t str,
}

/// Splits an alternative into operators and versions, or returns nothing if it is malformed.
///
/// Terms are separated by spaces, one comma, or both.
fn split_terms(text: &str) -> Option<Vec<(&str, Pattern<'_>)>> {
    let mut terms = Vec::new();
    let mut rest = trim_start(text);
    loop {
        let (operator, after) = split_operator(rest);
        let (pattern, after) = split_version(trim_start(after))?;
        terms.push((operator, pattern));
        rest = trim_start(after);
        if rest.is_empty() {
            return Some(terms);
        }
        match rest.strip_prefix(',') {
            Some(after) => rest = trim_start(after),
            None if rest.len() == after.len() => return None,
            None => {}
        }
    }
}

fn split_operator(text: &str) -> (&str, &str) {
    let operators = ["!=", ">=", "=>", "<=", "=<", "~>", "=", ">", "<", "~", "^"];
    let operator = operators.iter().find(|operator| text.starts_with(**operator));
    text.split_at(operator.map_or(0, |operator| operator.len()))
}

/// Splits the longest version off.
fn split_version(text: &str) -> Option<(Pattern<'_>, &str)> {
    let mut rest = text.strip_prefix('v').unwrap_or(text);
    let mut parts = [""; 3];
    (parts[0], rest) = split_part(rest)?;
    for part in &mut parts[1..] {
        let Some((found, after)) = rest.strip_prefix('.').and_then(split_part) else { break };
        (*part, rest) = (found, after);
    }
    let before = rest;
    let after = rest.strip_prefix('-').and_then(skip_identifiers).unwrap_or(rest);
    let dashed_prerelease = &before[..before.len() - after.len()];
    let rest = after.strip_prefix('+').and_then(skip_identifiers).unwrap_or(after);
    let text = &text[..text.len() - rest.len()];
    Some((Pattern { text, parts, dashed_prerelease }, rest))
}

/// Splits digits and wildcards off. `|` is among them, as in the library.
fn split_part(text: &str) -> Option<(&str, &str)> {
    let is_part = |b: &u8| b.is_ascii_digit() || matches!(b, b'x' | b'X' | b'*' | b'|');
    let len = text.bytes().take_while(is_part).count();
    (len > 0).then(|| text.split_at(len))
}

/// Skips identifiers joined by dots; a dot that no identifier follows stays.
fn skip_identifiers(text: &str) -> Option<&str> {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    let len = |text: &str| text.bytes().take_while(is_part).count();
    let first = len(text);
    if first == 0 {
        return None;
    }
    let mut rest = &text[first..];
    while let Some(after) = rest.strip_prefix('.') {
        match len(after) {
            0 => break,
            len => rest = &after[len..],
        }
    }
    Some(rest)
}

fn is_wildcard(part: &str) -> bool {
    matches!(part, "" | "x" | "X" | "*")
}

/// Rewrites `1.2 - 1.4` as `>= 1.2, <= 1.4 `, as the library does before it reads anything else.
fn rewrite_hyphens(text: &str) -> String {
    let mut rewritten = text.to_owned();
    let mut start = 0;
    while start < text.len() {
        match text.get(start..).and_then(hyphen_range) {
            Some((len, low, high)) => {
                let range = format!(">= {low}, <= {high} ");
                rewritten = rewritten.replacen(&text[start..start + len], &range, 1);
                start += len;
            }
            None => start += 1,
        }
    }
    rewritten
}

/// Reads a hyphen range at the start of the text, with the spaces around it.
fn hyphen_range(text: &str) -> Option<(usize, &str, &str)> {
    let (low, rest) = split_version(trim_start(text))?;
    let dash = trim_start(rest);
    let after = dash.strip_prefix('-')?;
    let high = trim_start(after);
    if dash.len() == rest.len() || high.len() == after.len() {
        return None;
    }
    let (high, rest) = split_version(high)?;
    Some((text.len() - trim_start(rest).len(), low.text, high.text))
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(['\t', '\n', '\x0C', '\r', ' '])
}
