//! What else a push updates: `refs/heads/main:refs/heads/mirror` and its like.

use std::{fmt, str::FromStr};

use crate::reference::{CommitId, RefName};

/// Longest refspec accepted, in bytes: two reference names.
const REFSPEC_BYTES_MAX: usize = 2_100;

/// A refspec for pushing, `[+]source:destination`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refspec {
    force: bool,
    source: String,
    destination: String,
}

/// Why a text is no refspec.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed refspec, {reason}")]
pub struct RefspecError {
    reason: &'static str,
}

/// An update that a refspec stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) name: RefName,
    /// None deletes.
    pub(crate) new: Option<CommitId>,
}

impl Refspec {
    /// Returns whether commits at the destination may be dropped.
    pub(crate) fn is_forced(&self) -> bool {
        self.force
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Returns the updates for the references we have; the first is `HEAD`.
    pub(crate) fn destinations(&self, ours: &[(RefName, CommitId)]) -> Vec<Destination> {
        if self.source.is_empty() {
            let name = self.destination.parse().ok();
            return name.map(|name| Destination { name, new: None }).into_iter().collect();
        }
        let matched = ours.iter().enumerate().filter_map(|(position, (name, id))| {
            let name = self.destination_of(name, position == 0)?;
            Some(Destination { name, new: Some(*id) })
        });
        matched.collect()
    }

    fn destination_of(&self, ours: &RefName, is_head: bool) -> Option<RefName> {
        let name = match self.source.split_once('*') {
            Some((before, after)) => {
                let rest = ours.as_str().strip_prefix(before)?.strip_suffix(after)?;
                self.destination.replacen('*', rest, 1)
            }
            None if self.source == ours.as_str() || self.source == ours.short() => {
                self.destination.clone()
            }
            None if is_head && self.source == "HEAD" => self.destination.clone(),
            None => return None,
        };
        name.parse().ok()
    }
}

impl FromStr for Refspec {
    type Err = RefspecError;

    fn from_str(text: &str) -> Result<Refspec, RefspecError> {
        let malformed = |reason| RefspecError { reason };
        if text.len() > REFSPEC_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let (force, rest) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let Some((source, destination)) = rest.split_once(':') else {
            return Err(malformed("separators are wrong"));
        };
        let stars = |text: &str| text.matches('*').count();
        if stars(source) > 1 || stars(source) != stars(destination) {
            return Err(malformed("mismatched globs"));
        }
        if destination.replacen('*', "x", 1).parse::<RefName>().is_err() {
            return Err(malformed("the destination is not a full reference name"));
        }
        Ok(Refspec { force, source: source.to_owned(), destination: destination.to_owned() })
    }
}

impl fmt::Display for Refspec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plus = if self.force { "+" } else { "" };
        write!(f, "{plus}{}:{}", self.source, self.destination)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn sources_are_found_among_our_references() {
        check("refs/heads/bot:refs/heads/other", expect!["refs/heads/other=1"]);
        check("HEAD:refs/for/main", expect!["refs/for/main=1"]);
        check("+refs/heads/*:refs/mirror/*", expect!["refs/mirror/bot=1 refs/mirror/main=2"]);
        check(":refs/heads/gone", expect!["refs/heads/gone=-"]);
        check("refs/heads/nosuch:refs/heads/other", expect![""]);
    }

    #[test]
    fn malformed_refspecs_are_refused() {
        check("refs/heads/main", expect!["malformed refspec, separators are wrong"]);
        check("refs/heads/*:refs/heads/x", expect!["malformed refspec, mismatched globs"]);
        check("a:b", expect!["malformed refspec, the destination is not a full reference name"]);
        check(
            "a:refs/heads/a..b",
            expect!["malformed refspec, the destination is not a full reference name"],
        );
    }

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let id = |digit: &str| digit.repeat(40).parse::<CommitId>().expect("an id");
        let name = |name: &str| RefName::branch(name).expect("a name");
        let ours = [(name("bot"), id("1")), (name("main"), id("2"))];
        let actual = match text.parse::<Refspec>() {
            Ok(refspec) => {
                assert_eq!(refspec.to_string(), text);
                let shown = refspec.destinations(&ours).into_iter().map(|to| match to.new {
                    Some(id) => format!("{}={}", to.name, &id.to_string()[..1]),
                    None => format!("{}=-", to.name),
                });
                shown.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&actual);
    }
}
