//! Scans registries, chooses tags by policy and writes the choice into Git.

fn main() {}
