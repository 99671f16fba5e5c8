//! Go's `time.Duration`.
