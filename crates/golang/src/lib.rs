//! What Go's standard library does where it is Tagtide's contract: `regexp`, `strconv`, `fmt`, `time.Duration`.

pub mod fmt;
pub mod regexp;
pub mod strconv;
pub mod time;
pub mod unicode;
