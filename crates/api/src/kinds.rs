//! The table of kinds: how each is named on the wire, on the command line and in paths.

use std::{fmt, str::FromStr};

/// The group of the image kinds.
pub const IMAGE_GROUP: &str = "image.toolkit.fluxcd.io";

/// The group of the sources.
pub const SOURCE_GROUP: &str = "source.toolkit.fluxcd.io";

/// A kind that we reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A Git repository to read from and to push to.
    GitRepository,
    /// An image repository whose tags are scanned.
    ImageRepository,
    /// A rule that chooses one tag of an image repository.
    ImagePolicy,
    /// The writing of choices into a Git repository.
    ImageUpdateAutomation,
}

/// How a kind is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// API group.
    pub group: &'static str,
    /// The version that is served and stored.
    pub version: &'static str,
    /// `kind` of its objects.
    pub kind: &'static str,
    /// Name in paths.
    pub plural: &'static str,
    /// Name of one, in lower case.
    pub singular: &'static str,
    /// Abbreviations on the command line.
    pub short_names: &'static [&'static str],
    /// Groups of kinds that it is listed with.
    pub categories: &'static [&'static str],
}

impl Kind {
    /// Every kind, in the order in which facts travel through them.
    pub const ALL: [Kind; 4] = [
        Kind::GitRepository,
        Kind::ImageRepository,
        Kind::ImagePolicy,
        Kind::ImageUpdateAutomation,
    ];

    /// The controllers of Flux that reconcile these kinds.
    pub const CONTROLLERS: [&'static str; 3] =
        ["source-controller", "image-reflector-controller", "image-automation-controller"];

    /// Returns which controller of Flux reconciles this kind: the name that its events carry.
    pub const fn controller(self) -> &'static str {
        match self {
            Kind::GitRepository => "source-controller",
            Kind::ImageRepository | Kind::ImagePolicy => "image-reflector-controller",
            Kind::ImageUpdateAutomation => "image-automation-controller",
        }
    }

    /// Returns how this kind is named.
    pub const fn names(self) -> &'static Names {
        match self {
            Kind::GitRepository => &GIT_REPOSITORY,
            Kind::ImageRepository => &IMAGE_REPOSITORY,
            Kind::ImagePolicy => &IMAGE_POLICY,
            Kind::ImageUpdateAutomation => &IMAGE_UPDATE_AUTOMATION,
        }
    }

    /// Returns the kind as objects spell it.
    pub const fn as_str(self) -> &'static str {
        self.names().kind
    }

    /// Returns `group/version`.
    pub fn api_version(self) -> String {
        let names = self.names();
        format!("{}/{}", names.group, names.version)
    }

    /// Returns the kind of objects with this group and kind, if it is one of ours.
    pub fn of(group: &str, kind: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.names().group == group && k.names().kind == kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names none of our kinds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind that is reconciled here")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Reads a kind as people write it: kind, plural, singular or short name, in any case.
    fn from_str(word: &str) -> Result<Kind, UnknownKind> {
        let lower = word.to_ascii_lowercase();
        Kind::ALL
            .into_iter()
            .find(|kind| {
                let names = kind.names();
                names.plural == lower
                    || names.singular == lower
                    || names.short_names.contains(&lower.as_str())
            })
            .ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

const GIT_REPOSITORY: Names = Names {
    group: SOURCE_GROUP,
    version: "v1",
    kind: "GitRepository",
    plural: "gitrepositories",
    singular: "gitrepository",
    short_names: &["gitrepo"],
    categories: &["all", "fluxcd", "fluxcd-sources"],
};

const IMAGE_REPOSITORY: Names = Names {
    group: IMAGE_GROUP,
    version: "v1",
    kind: "ImageRepository",
    plural: "imagerepositories",
    singular: "imagerepository",
    short_names: &["imgrepo", "imagerepo"],
    categories: &["all", "fluxcd", "fluxcd-images"],
};

const IMAGE_POLICY: Names = Names {
    group: IMAGE_GROUP,
    version: "v1",
    kind: "ImagePolicy",
    plural: "imagepolicies",
    singular: "imagepolicy",
    short_names: &["imgpol", "imagepol"],
    categories: &["all", "fluxcd", "fluxcd-images"],
};

const IMAGE_UPDATE_AUTOMATION: Names = Names {
    group: IMAGE_GROUP,
    version: "v1",
    kind: "ImageUpdateAutomation",
    plural: "imageupdateautomations",
    singular: "imageupdateautomation",
    short_names: &["iua", "imgupd", "imgauto"],
    categories: &["all", "fluxcd", "fluxcd-images"],
};

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn kinds_are_read_as_people_write_them() {
        for word in ["ImagePolicy", "imagepolicies", "imgpol", "IMAGEPOL"] {
            assert_eq!(word.parse(), Ok(Kind::ImagePolicy), "{word}");
        }
        let error = "pod".parse::<Kind>().expect_err("pods are not ours");
        assert_eq!(error.to_string(), "`pod` is not a kind that is reconciled here");
    }

    #[test]
    fn a_kind_is_found_by_its_group() {
        assert_eq!(Kind::of("image.toolkit.fluxcd.io", "ImagePolicy"), Some(Kind::ImagePolicy));
        assert_eq!(Kind::of("example.com", "ImagePolicy"), None);
    }
}
