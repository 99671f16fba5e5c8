//! One driver, one file per kind.
