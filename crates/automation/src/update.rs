//! Plans the edits that bring marked values to their policies' choices.
