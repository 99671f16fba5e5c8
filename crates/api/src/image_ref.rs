//! Names of images: registries, repositories, tags, digests, as go-containerregistry reads them.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The registry of names that give none.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// What people call that registry.
const DEFAULT_REGISTRY_ALIAS: &str = "docker.io";

/// The folder of that registry's single-segment names.
const DEFAULT_NAMESPACE: &str = "library";

/// The tag of names that give none.
const DEFAULT_TAG: &str = "latest";

/// Why a text does not name an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is there.
    #[error("a repository name must be specified")]
    NoRepository,
    /// The repository is too short or too long.
    #[error("repository must be between 2 and 255 characters in length: {0}")]
    RepositoryLength(String),
    /// The repository holds characters that it may not.
    #[error(
        "repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: {0}"
    )]
    RepositoryCharacters(String),
    /// The registry is not a host with an optional port.
    #[error("registries must be valid RFC 3986 URI authorities: {0}")]
    Registry(String),
    /// Strict reading wants the registry.
    #[error("strict validation requires the registry to be explicitly defined")]
    NoRegistry,
    /// Strict reading wants the folder.
    #[error("strict validation requires the full repository path (missing 'library')")]
    NoNamespace,
    /// It is neither a name with a tag nor one with a digest.
    #[error("could not parse reference: {0}")]
    Reference(String),
}

/// Why `spec.image` cannot be scanned, in Flux's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageUrlError {
    /// It begins with a scheme.
    #[error("image '{image}' should not include URL scheme; remove '{scheme}://'")]
    Scheme {
        /// The whole text.
        image: String,
        /// What stands before `://`.
        scheme: String,
    },
    /// It is no name of an image at all.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It has a tag, or a digest.
    #[error("image '{image}' should not include a tag; remove ':{tag}'")]
    Tag {
        /// The whole text.
        image: String,
        /// What is taken for the tag.
        tag: String,
    },
}

/// A registry and the path of a repository in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

/// How much a name may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Registry, folder and tag have defaults.
    Weak,
    /// Nothing may be left out.
    Strict,
}

impl Repository {
    /// Reads the name of a repository that has neither tag nor digest.
    pub fn parse(name: &str, reading: Reading) -> Result<Repository, NameError> {
        if name.is_empty() {
            return Err(NameError::NoRepository);
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) => (first, rest),
            _ => ("", name),
        };
        check_path(path)?;
        if registry.is_empty() && reading == Reading::Strict {
            return Err(NameError::NoRegistry);
        }
        if !is_authority(registry) {
            return Err(NameError::Registry(registry.to_owned()));
        }
        let registry = match registry {
            "" | DEFAULT_REGISTRY_ALIAS => DEFAULT_REGISTRY,
            other => other,
        };
        let is_implicit = registry == DEFAULT_REGISTRY && !path.contains('/');
        if is_implicit && reading == Reading::Strict {
            return Err(NameError::NoNamespace);
        }
        let path =
            if is_implicit { format!("{DEFAULT_NAMESPACE}/{path}") } else { path.to_owned() };
        Ok(Repository { registry: registry.to_owned(), path })
    }

    /// Returns the registry: host and, if given, port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the path below the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns `registry/path`, with Docker Hub's names written out.
    pub fn canonical(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// Returns whether plain HTTP may be tried: it was asked for, or the registry is private or local.
    pub fn may_use_http(&self, insecure: bool) -> bool {
        let host = self.registry.split(':').next().unwrap_or_default();
        insecure
            || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_private())
            || self.registry.starts_with("localhost:")
            || is_below_localhost(&self.registry)
            || self.registry.contains("127.0.0.1")
            || self.registry.contains("::1")
    }
}

impl FromStr for Repository {
    type Err = ImageUrlError;

    /// Reads `spec.image`: no scheme, no tag, no digest.
    fn from_str(image: &str) -> Result<Repository, ImageUrlError> {
        if let Some((scheme, _)) = image.split_once("://") {
            return Err(ImageUrlError::Scheme { image: image.into(), scheme: scheme.into() });
        }
        let reference = Reference::parse(image, Reading::Weak)?;
        let name = image.strip_prefix(reference.repository.registry()).unwrap_or(image);
        match name.split(':').nth(1) {
            Some(tag) => Err(ImageUrlError::Tag { image: image.into(), tag: tag.into() }),
            None => Ok(reference.repository),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// A repository with a tag or a digest.
///
/// Of a text with both, as go-containerregistry reads it, only the digest counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// What of the repository.
    pub identifier: Identifier,
}

/// What a reference names in its repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identifier {
    /// A tag; `latest` when the text gave none.
    Tag(String),
    /// A digest.
    Digest(Digest),
}

impl Identifier {
    /// Returns the text that stands in a manifest's path.
    pub fn as_str(&self) -> &str {
        match self {
            Identifier::Tag(tag) => tag,
            Identifier::Digest(digest) => digest.as_str(),
        }
    }
}

impl Reference {
    /// Reads a name with a tag or a digest.
    pub fn parse(text: &str, reading: Reading) -> Result<Reference, NameError> {
        parse_tagged(text, reading)
            .or_else(|| parse_digested(text, reading))
            .ok_or_else(|| NameError::Reference(text.to_owned()))
    }
}

impl FromStr for Reference {
    type Err = NameError;

    /// Reads weakly.
    fn from_str(text: &str) -> Result<Reference, NameError> {
        Reference::parse(text, Reading::Weak)
    }
}

impl fmt::Display for Reference {
    /// Writes `registry/path:tag` or `registry/path@digest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identifier {
            Identifier::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Identifier::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

/// The digest of a manifest: `sha256:` and 64 hexadecimal digits in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

/// A text that is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: expected `sha256:` and 64 hexadecimal digits in lower case")]
pub struct DigestError(String);

impl Digest {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let is_digest = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        if is_digest { Ok(Digest(text.to_owned())) } else { Err(DigestError(text.to_owned())) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag that a registry accepts: a letter, digit or `_`, then up to 127 of these and `.`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// A text that is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a tag: expected up to 128 of A-Z a-z 0-9 _ . - and neither . nor - first")]
pub struct TagError(String);

impl Tag {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a text is a tag, without keeping it.
    pub fn is_valid(text: &str) -> bool {
        text.len() <= 128
            && text.bytes().all(is_tag_byte)
            && !text.starts_with(['.', '-'])
            && !text.is_empty()
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Tag, TagError> {
        if Tag::is_valid(text) { Ok(Tag(text.to_owned())) } else { Err(TagError(text.to_owned())) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse_tagged(text: &str, reading: Reading) -> Option<Reference> {
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    };
    // A name without a tag has the default one, unless nothing may be left out.
    let tag = match tag {
        None if reading == Reading::Weak => DEFAULT_TAG,
        None => return None,
        Some(tag) => tag,
    };
    if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(is_tag_byte) {
        return None;
    }
    let repository = Repository::parse(name, reading).ok()?;
    Some(Reference { repository, identifier: Identifier::Tag(tag.to_owned()) })
}

fn parse_digested(text: &str, reading: Reading) -> Option<Reference> {
    let (base, digest) = text.split_once('@')?;
    let digest: Digest = digest.parse().ok()?;
    let repository = match parse_tagged(base, reading) {
        Some(tagged) => tagged.repository,
        None => Repository::parse(base, reading).ok()?,
    };
    Some(Reference { repository, identifier: Identifier::Digest(digest) })
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn check_path(path: &str) -> Result<(), NameError> {
    // The path is foreign and may hold any character.
    if !(2..=255).contains(&path.chars().count()) {
        return Err(NameError::RepositoryLength(path.to_owned()));
    }
    let is_allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/');
    if path.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err(NameError::RepositoryCharacters(path.to_owned()))
    }
}

/// Returns whether Go's URL parser takes the text, unchanged, for a host with an optional port.
fn is_authority(text: &str) -> bool {
    let is_host = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || !byte.is_ascii()
            || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
    };
    if !text.bytes().all(is_host) {
        return false;
    }
    match text.rfind('[') {
        Some(0) => text.rfind(']').is_some_and(|end| {
            text[1..end].parse::<Ipv6Addr>().is_ok() && is_optional_port(&text[end + 1..])
        }),
        Some(_) => false,
        None => text.rfind(':').is_none_or(|colon| is_optional_port(&text[colon..])),
    }
}

fn is_optional_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether the registry is `*.localhost` with an optional port of up to five digits.
fn is_below_localhost(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port))
            if (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()) =>
        {
            host
        }
        _ => registry,
    };
    host.ends_with(".localhost")
}
