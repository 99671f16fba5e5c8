//! Go's formatting verbs, as `text/template` shows them.
