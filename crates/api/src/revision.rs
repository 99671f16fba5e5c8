//! Revisions of sources: `main@sha1:…`.

use std::{fmt, str::FromStr};

/// A named pointer, if there was one, and the hash it stood at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Branch, tag or full reference name; none for a commit alone.
    pub name: Option<String>,
    /// Hash algorithm, such as `sha1`.
    pub algorithm: String,
    /// Hash in hexadecimal.
    pub hash: String,
}

/// A text that is not a revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a revision: expected `name@algorithm:hash` or `algorithm:hash`")]
pub struct RevisionError(String);

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(text: &str) -> Result<Revision, RevisionError> {
        let error = || RevisionError(text.to_owned());
        // A name may itself hold an `@`; hash and algorithm hold none.
        let (name, digest) = match text.rsplit_once('@') {
            Some((name, digest)) => (Some(name), digest),
            None => (None, text),
        };
        let (algorithm, hash) = digest.split_once(':').ok_or_else(error)?;
        let is_hash = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if name == Some("") || algorithm.is_empty() || !is_hash {
            return Err(error());
        }
        Ok(Revision {
            name: name.map(str::to_owned),
            algorithm: algorithm.to_owned(),
            hash: hash.to_owned(),
        })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}@")?;
        }
        write!(f, "{}:{}", self.algorithm, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::Revision;

    #[test]
    fn revisions_are_read_and_written_alike() {
        for text in ["main@sha1:3c67", "refs/heads/a@b@sha1:00ff", "sha256:12"] {
            assert_eq!(text.parse::<Revision>().map(|r| r.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "main", "main@sha1", "main@sha1:", "@sha1:00", "main@:00", "a@sha1:xyz"] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }
}
