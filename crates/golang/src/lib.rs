//! What Go's standard library does where it is Tagtide's contract: `regexp`, `strconv`, `fmt`, `time`, `net/url`, `path/filepath`.

pub mod fmt;
pub mod path;
pub mod regexp;
pub mod strconv;
pub mod time;
pub mod unicode;
pub mod url;
