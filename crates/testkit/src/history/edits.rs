//! What a commit did to the marked lines of a file.

/// What stands before the name of a policy in a marked line.
const MARKER: &str = "{\"$imagepolicy\": \"";

/// Returns marker and new value of each edited line, if nothing but values of marked lines changed.
pub(super) fn marked_edits(old: &[u8], new: &[u8]) -> Option<Vec<(String, String)>> {
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (old, new) = (lines(old), lines(new));
    if old.len() != new.len() {
        return None;
    }
    let changed = old.iter().zip(&new).filter(|(old, new)| old != new);
    changed.map(|(old, new)| marked_edit(old, new)).collect()
}

fn marked_edit(old: &[u8], new: &[u8]) -> Option<(String, String)> {
    let (old, new) = (MarkedLine::parse(old)?, MarkedLine::parse(new)?);
    let same = old.before == new.before && old.after == new.after;
    same.then_some((new.policy, new.value))
}

/// A line `KEY: VALUE # {"$imagepolicy": "POLICY"}`.
struct MarkedLine {
    /// All before the value, an opening quote included.
    before: String,
    value: String,
    policy: String,
    /// All after the value, a closing quote included.
    after: String,
}

impl MarkedLine {
    fn parse(line: &[u8]) -> Option<MarkedLine> {
        let line = std::str::from_utf8(line).ok()?;
        let (_, policy) = line.split_once(MARKER)?;
        let policy = policy.split('"').next()?;
        let end = line.find(" #")?;
        let text = line[..end].trim_end();
        // A value holds no space; a key, and the dash of an item, end with one.
        let start = text.rfind(' ').map_or(0, |space| space + 1);
        let value = text[start..].trim_matches(['"', '\'']);
        let start = start + text[start..].find(value)?;
        Some(MarkedLine {
            before: line[..start].to_owned(),
            value: value.to_owned(),
            policy: policy.to_owned(),
            after: line[start + value.len()..].to_owned(),
        })
    }
}
