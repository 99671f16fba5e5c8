//! Versions and ranges as Masterminds/semver reads them.
