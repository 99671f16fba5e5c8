//! Go's conversions between strings and basic values.
