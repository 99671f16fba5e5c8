//! Chooses the latest tag that an ImagePolicy allows.
