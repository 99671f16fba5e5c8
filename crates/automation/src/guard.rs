//! Never backwards by accident: when a policy may move to a lower-ranking tag.
