//! Versions and ranges as Masterminds/semver reads them.
//!
//! Semantic Versioning with that library's leniency: a `v` in front, missing parts, leading zeros.
//! Versions borrow their text, so reading one allocates nothing.

mod constraint;
mod quote;

pub use constraint::{Constraint, ConstraintError};

use std::cmp::Ordering;
use std::fmt;

/// The longest text that is read as a version, in bytes, as in the library.
pub const VERSION_LEN_MAX: usize = 256;

/// A version. It is compared by precedence, so build metadata does not count.
#[derive(Debug, Clone, Copy)]
pub struct Version<'t> {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: &'t str,
    metadata: &'t str,
    original: &'t str,
}

/// Why a text is not a version; prints the library's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The text does not have the shape of a version.
    #[error("invalid semantic version")]
    Invalid,
    /// A strict version has no text.
    #[error("version string empty")]
    Empty,
    /// A part of a strict version is not a number.
    #[error("invalid characters in version")]
    Characters,
    /// A number has a leading zero where it may not.
    #[error("version segment starts with 0")]
    LeadingZero,
    /// The build metadata is malformed.
    #[error("invalid metadata string")]
    Metadata,
    /// The prerelease is malformed.
    #[error("invalid prerelease string")]
    Prerelease,
    /// The text is longer than [`VERSION_LEN_MAX`].
    #[error("version string is too long (max {VERSION_LEN_MAX} bytes)")]
    TooLong,
    /// A number does not fit into 64 bits.
    #[error("error parsing version segment: strconv.ParseUint: parsing {}: value out of range", quote::quote(.0))]
    Range(String),
    /// A number of a strict version is missing.
    #[error("strconv.ParseUint: parsing \"\": invalid syntax")]
    MissingNumber,
    /// A number of a strict version does not fit into 64 bits.
    #[error("strconv.ParseUint: parsing {}: value out of range", quote::quote(.0))]
    StrictRange(String),
}

impl<'t> Version<'t> {
    /// Reads a version leniently: `v1`, `1.2` and `01.2.3` are versions too.
    ///
    /// # Errors
    /// The library's `NewVersion`, with its texts.
    pub fn parse(text: &'t str) -> Result<Version<'t>, VersionError> {
        if text.len() > VERSION_LEN_MAX {
            return Err(VersionError::TooLong);
        }
        let shape = Shape::of(text).ok_or(VersionError::Invalid)?;
        let number =
            |digits: &str| integer(digits).ok_or_else(|| VersionError::Range(digits.to_owned()));
        let [major, minor, patch] = shape.numbers;
        let version = Version {
            major: number(major)?,
            minor: number(minor)?,
            patch: number(patch)?,
            prerelease: shape.prerelease,
            metadata: shape.metadata,
            original: text,
        };
        check_prerelease(version.prerelease)?;
        Ok(version)
    }

    /// Reads a version that follows the specification to the letter.
    ///
    /// # Errors
    /// The library's `StrictNewVersion`, with its texts.
    pub fn parse_strict(text: &'t str) -> Result<Version<'t>, VersionError> {
        if text.is_empty() {
            return Err(VersionError::Empty);
        }
        if text.len() > VERSION_LEN_MAX {
            return Err(VersionError::TooLong);
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(VersionError::Invalid);
        };
        let (rest, metadata) = split_checked(rest, '+', check_metadata)?;
        let (patch, prerelease) = split_checked(rest, '-', check_strict_prerelease)?;
        for part in [major, minor, patch] {
            if !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(VersionError::Characters);
            }
            if part.len() > 1 && part.starts_with('0') {
                return Err(VersionError::LeadingZero);
            }
        }
        let number = |digits: &str| match digits {
            "" => Err(VersionError::MissingNumber),
            _ => integer(digits).ok_or_else(|| VersionError::StrictRange(digits.to_owned())),
        };
        let (major, minor, patch) = (number(major)?, number(minor)?, number(patch)?);
        Ok(Version { major, minor, patch, prerelease, metadata, original: text })
    }

    /// Reads a tag as a version: leniently, but with at least two dots in it.
    ///
    /// # Errors
    /// [`VersionError::Invalid`] without two dots, else as [`Version::parse`].
    pub fn parse_tag(tag: &'t str) -> Result<Version<'t>, VersionError> {
        if let Some(version) = Version::plain(tag) {
            return Ok(version);
        }
        if tag.bytes().filter(|&b| b == b'.').nth(1).is_none() {
            return Err(VersionError::Invalid);
        }
        Version::parse(tag)
    }

    /// Reads three numbers of at most nineteen digits, what most tags are, in one pass.
    fn plain(text: &'t str) -> Option<Version<'t>> {
        let bytes = text.as_bytes();
        let mut at = usize::from(bytes.first() == Some(&b'v'));
        let mut numbers = [0; 3];
        for (i, number) in numbers.iter_mut().enumerate() {
            let start = at;
            while let Some(digit) = bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10)
            {
                // Nineteen digits fit; of more the sum is not used.
                *number = u64::wrapping_add(u64::wrapping_mul(*number, 10), digit.into());
                at += 1;
            }
            if !(1..=19).contains(&(at - start)) {
                return None;
            }
            if i < 2 {
                if bytes.get(at) != Some(&b'.') {
                    return None;
                }
                at += 1;
            }
        }
        let [major, minor, patch] = numbers;
        (at == bytes.len()).then_some(Version {
            major,
            minor,
            patch,
            prerelease: "",
            metadata: "",
            original: text,
        })
    }

    /// Returns the first number.
    pub fn major(&self) -> u64 {
        self.major
    }

    /// Returns the second number.
    pub fn minor(&self) -> u64 {
        self.minor
    }

    /// Returns the third number.
    pub fn patch(&self) -> u64 {
        self.patch
    }

    /// Returns what follows `-`, empty for a release.
    pub fn prerelease(&self) -> &'t str {
        self.prerelease
    }

    /// Returns the build metadata, what follows `+`.
    pub fn metadata(&self) -> &'t str {
        self.metadata
    }

    /// Returns the text it was read from.
    pub fn original(&self) -> &'t str {
        self.original
    }

    fn core(&self) -> (u64, u64, u64) {
        (self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.core().cmp(&other.core()).then_with(|| {
            // A release follows its prereleases.
            match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_prereleases(self.prerelease, other.prerelease),
            }
        })
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version<'_> {}

/// Compares prereleases part by part; an empty one comes first.
fn compare_prereleases(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let ordering = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => compare_parts(a.unwrap_or_default(), b.unwrap_or_default()),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

/// Compares parts: nothing, then numbers by value, then texts by bytes.
fn compare_parts(a: &str, b: &str) -> Ordering {
    if a.is_empty() || b.is_empty() {
        return a.len().cmp(&b.len());
    }
    // A number that does not fit into 64 bits counts as text.
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// The parts of a text that looks like a version.
struct Shape<'t> {
    /// A missing number is `0`.
    numbers: [&'t str; 3],
    prerelease: &'t str,
    metadata: &'t str,
}

impl<'t> Shape<'t> {
    fn of(text: &'t str) -> Option<Shape<'t>> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut numbers = ["0"; 3];
        let (mut rest, mut n_numbers) = (text, 0);
        loop {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            if len == 0 {
                return None;
            }
            (numbers[n_numbers], rest) = rest.split_at(len);
            n_numbers += 1;
            match rest.strip_prefix('.') {
                Some(after) if n_numbers < 3 => rest = after,
                _ => break,
            }
        }
        let (mut prerelease, mut metadata) = ("", "");
        if let Some(after) = rest.strip_prefix('-') {
            (prerelease, rest) = after.split_at(after.find('+').unwrap_or(after.len()));
            identifiers(prerelease)?;
        }
        if let Some(after) = rest.strip_prefix('+') {
            (metadata, rest) = (after, "");
            identifiers(metadata)?;
        }
        rest.is_empty().then_some(Shape { numbers, prerelease, metadata })
    }
}

/// Returns nothing unless the text is `[0-9A-Za-z-]+` parts joined by dots.
fn identifiers(text: &str) -> Option<()> {
    let mut part_is_empty = true;
    for b in text.bytes() {
        match b {
            b'.' if part_is_empty => return None,
            b'.' => part_is_empty = true,
            b'-' => part_is_empty = false,
            _ if b.is_ascii_alphanumeric() => part_is_empty = false,
            _ => return None,
        }
    }
    (!part_is_empty).then_some(())
}

/// Checks that no number in a well-formed prerelease has a leading zero.
fn check_prerelease(text: &str) -> Result<(), VersionError> {
    let padded = |part: &str| {
        part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit())
    };
    if !text.is_empty() && text.split('.').any(padded) {
        return Err(VersionError::LeadingZero);
    }
    Ok(())
}

fn check_strict_prerelease(text: &str) -> Result<(), VersionError> {
    identifiers(text).ok_or(VersionError::Prerelease)?;
    check_prerelease(text)
}

fn check_metadata(text: &str) -> Result<(), VersionError> {
    identifiers(text).ok_or(VersionError::Metadata)
}

/// Splits at the first separator and checks what follows it.
fn split_checked(
    text: &str,
    separator: char,
    check: fn(&str) -> Result<(), VersionError>,
) -> Result<(&str, &str), VersionError> {
    let Some((before, after)) = text.split_once(separator) else { return Ok((text, "")) };
    check(after)?;
    Ok((before, after))
}

/// Reads a number of digits only, or nothing if there are others or it exceeds 64 bits.
fn integer(digits: &str) -> Option<u64> {
    let mut value: u64 = 0;
    for b in digits.bytes() {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!digits.is_empty()).then_some(value)
}
