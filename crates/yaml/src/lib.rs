//! Lossless YAML: spans, editing one scalar while every other byte stays, and a reader with Go's rules.
