//! Go's regular expressions (RE2 syntax), matched in linear time.
