//! What of a source is left out of its artifact: rules in the syntax of `.gitignore`, as Flux reads them.

use golang::path::Pattern as NamePattern;

/// Files with rules, which hold for their folder.
pub(crate) const FILE: &[u8] = b".sourceignore";
/// Rules of one source: each is tried on every file.
const RULES_MAX: usize = 10_000;
/// Go's scanner stops, in silence, at a longer line.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Left out of every artifact, unless a rule brings it back.
const VERSION_CONTROL: [&str; 4] = [".git/", ".gitignore", ".gitmodules", ".gitattributes"];
/// Left out too where a source has no rules of its own.
const DEFAULTS: [&str; 20] = [
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];

/// Rules of one source, in rising order of weight.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

/// A source with more rules than are tried.
#[derive(Debug, thiserror::Error)]
#[error("the source has more than {RULES_MAX} ignore rules")]
pub(crate) struct TooManyRules;

#[derive(Debug)]
struct Rule {
    /// The folder it holds for; everywhere if it is empty.
    folder: Vec<Vec<u8>>,
    is_inclusion: bool,
    folders_only: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A name, wherever it stands. One that Go cannot read matches nothing.
    Name(Option<NamePattern>),
    /// A path from the rule's folder on.
    Path(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    /// Nothing stands between two slashes.
    Empty,
    /// `**`: any number of folders.
    Folders,
    Name(Option<NamePattern>),
}

impl Rules {
    /// Adds the rules of a text that stands in `folder`.
    pub(crate) fn read(&mut self, text: &[u8], folder: &[u8]) -> Result<(), TooManyRules> {
        for line in text.split(|byte| *byte == b'\n') {
            if line.len() >= LINE_BYTES_MAX {
                break;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.starts_with(b"#") || String::from_utf8_lossy(line).trim().is_empty() {
                continue;
            }
            self.rules.push(Rule::new(line, folder));
            if self.rules.len() > RULES_MAX {
                return Err(TooManyRules);
            }
        }
        Ok(())
    }

    /// Returns these rules with those that hold for every source.
    pub(crate) fn complete(self) -> Rules {
        let defaults: &[&str] = if self.rules.is_empty() { &DEFAULTS } else { &[] };
        let general = VERSION_CONTROL.iter().chain(defaults);
        let general = general.map(|line| Rule::new(line.as_bytes(), b""));
        Rules { rules: general.chain(self.rules).collect() }
    }

    /// Returns whether something is left out.
    pub(crate) fn excludes(&self, path: &[u8], is_folder: bool) -> bool {
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let last = self.rules.iter().rev().find(|rule| rule.matches(&names, is_folder));
        last.is_some_and(|rule| !rule.is_inclusion)
    }
}

impl Rule {
    fn new(line: &[u8], folder: &[u8]) -> Rule {
        let (is_inclusion, mut line) = match line.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        if !line.ends_with(b"\\ ") {
            line = trimmed(line);
        }
        let (folders_only, line) = match line.strip_suffix(b"/") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let is_path = line.contains(&b'/');
        let what = if is_path {
            What::Path(line.split(|byte| *byte == b'/').map(Part::new).collect())
        } else {
            What::Name(NamePattern::new(line).ok())
        };
        let names = folder.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        Rule { folder: names.map(<[u8]>::to_vec).collect(), is_inclusion, folders_only, what }
    }

    fn matches(&self, path: &[&[u8]], is_folder: bool) -> bool {
        let Some((above, path)) = path.split_at_checked(self.folder.len()) else { return false };
        if path.is_empty() || above.iter().zip(&self.folder).any(|(name, own)| name != own) {
            return false;
        }
        match &self.what {
            What::Name(pattern) => self.matches_name(pattern.as_ref(), path, is_folder),
            What::Path(parts) => self.matches_path(parts, path, is_folder),
        }
    }

    /// The first name that fits decides, be it the last one or a folder above it.
    fn matches_name(&self, pattern: Option<&NamePattern>, path: &[&[u8]], is_folder: bool) -> bool {
        let Some(pattern) = pattern else { return false };
        let Some(index) = path.iter().position(|name| pattern.is_match(name)) else { return false };
        !(self.folders_only && !is_folder && index == path.len() - 1)
    }

    /// Flux's reading, which knows no way back: `**` takes as few folders as it can, and a rule
    /// that fits a folder fits what is in it.
    fn matches_path(&self, parts: &[Part], path: &[&[u8]], is_folder: bool) -> bool {
        let (mut rest, mut is_matched, mut may_skip) = (path, false, false);
        for (index, part) in parts.iter().enumerate() {
            match part {
                Part::Empty => may_skip = false,
                Part::Folders if index == parts.len() - 1 => break,
                Part::Folders => may_skip = true,
                Part::Name(_) if rest.is_empty() => return false,
                Part::Name(None) => return false,
                Part::Name(Some(pattern)) if may_skip => {
                    may_skip = false;
                    let at = rest.iter().position(|name| pattern.is_match(name));
                    is_matched = at.is_some();
                    rest = at.map_or(&[], |at| &rest[at + 1..]);
                }
                Part::Name(Some(pattern)) => {
                    let Some((first, after)) = rest.split_first() else { return false };
                    if !pattern.is_match(first) {
                        return false;
                    }
                    (is_matched, rest) = (true, after);
                }
            }
        }
        is_matched && !(self.folders_only && !is_folder && rest.is_empty())
    }
}

impl Part {
    fn new(part: &[u8]) -> Part {
        match part {
            b"" => Part::Empty,
            b"**" => Part::Folders,
            // Two stars beside something else mean nothing to Flux.
            part if part.windows(2).any(|two| two == b"**") => Part::Name(None),
            part => Part::Name(NamePattern::new(part).ok()),
        }
    }
}

/// Go trims only spaces here.
fn trimmed(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &line[..end]
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde::Deserialize;

    use super::*;
    use crate::artifact::archive::rules_of;

    /// What `github.com/fluxcd/pkg/sourceignore` left of a tree, recorded; see `tests/golden/README.md`.
    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/sourceignore.jsonl.gz");

    #[derive(Deserialize)]
    struct Vector {
        /// Path to contents; a path with a final slash is a folder.
        files: std::collections::BTreeMap<String, String>,
        ignore: Option<String>,
        kept: Vec<String>,
    }

    #[test]
    fn rules_leave_out_what_flux_leaves_out() {
        let mut text = String::new();
        flate2::read::GzDecoder::new(GOLDEN).read_to_string(&mut text).expect("golden data");
        let mut n_vectors = 0;
        for line in text.lines() {
            let Vector { files, ignore, kept } = serde_json::from_str(line).expect("a vector");
            let own = files.iter().filter_map(|(path, text)| {
                let folder = path.strip_suffix(".sourceignore")?;
                Some((folder.trim_end_matches('/').as_bytes().to_vec(), text.as_bytes().to_vec()))
            });
            let rules = rules_of(own.collect(), ignore.as_deref()).expect("few rules");
            let left = files.keys().filter(|path| {
                let is_folder = path.ends_with('/');
                !rules.excludes(path.trim_end_matches('/').as_bytes(), is_folder)
            });
            assert_eq!(left.collect::<Vec<_>>(), kept.iter().collect::<Vec<_>>(), "{line}");
            n_vectors += 1;
        }
        assert!(n_vectors > 500, "{n_vectors}");
    }

    #[test]
    fn rules_are_bounded() {
        let many = "x\n".repeat(RULES_MAX + 1);
        assert!(Rules::default().read(many.as_bytes(), b"").is_err());
    }
}
