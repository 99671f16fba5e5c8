//! The kinds and nouns: custom resource types, conditions, object and image references, tags, digests, revisions.
