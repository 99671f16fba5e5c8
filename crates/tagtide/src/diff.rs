//! A unified diff, as `git diff` shows it.

use std::fmt::Write;

use similar::TextDiff;

/// Returns the unified diff of one file, or an empty text if nothing differs.
pub(crate) fn unified(file: &str, old: &[u8], new: &[u8]) -> String {
    if old == new {
        return String::new();
    }
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let diff = TextDiff::from_lines(old.as_ref(), new.as_ref());
    let mut unified = diff.unified_diff();
    unified.context_radius(3).header(&format!("a/{file}"), &format!("b/{file}"));
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write!(text, "{unified}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_changed_line_shows_with_its_neighbours() {
        let old = b"a\nb\nc\nd\ne\r\nf\ng\nh\ni";
        let new = b"a\nb\nc\nd\nE\r\nf\ng\nh\ni";
        expect![[r#"
            --- a/x.yaml
            +++ b/x.yaml
            @@ -2,7 +2,7 @@
             b
             c
             d
            -e
            +E
             f
             g
             h
        "#]]
        .assert_eq(&unified("x.yaml", old, new).replace('\r', ""));
        assert_eq!(unified("x.yaml", old, old), "");
    }
}
