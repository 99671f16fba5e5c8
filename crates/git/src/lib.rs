//! Kept mirrors, tree-level commits, compare-and-swap push.
