//! Finds the markers that tie a YAML scalar to a policy.
