//! Reads folders as Git stores them, strictly, and swaps ids in them in place.

use gix::ObjectId;

use crate::limits::{PATH_BYTES_MAX, TREE_ENTRIES_MAX};

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Folder,
    File,
    Symlink,
    Submodule,
}

/// An entry of a folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) mode: Mode,
    pub(crate) is_executable: bool,
    pub(crate) name: &'a [u8],
    pub(crate) id: ObjectId,
    /// Where the id stands in the folder's bytes.
    pub(crate) id_at: usize,
}

/// Why a folder is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("folder {id} is malformed: {reason}")]
pub struct TreeError {
    id: ObjectId,
    reason: &'static str,
}

/// Returns the entries of a folder, which must be what `git fsck` accepts.
///
/// Only names that could be mistaken for `.git` are let through, for [`is_dangerous`] to tell.
pub(crate) fn parse(id: ObjectId, data: &[u8]) -> Result<Vec<Entry<'_>>, TreeError> {
    let malformed = |reason| TreeError { id, reason };
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let entry = parse_entry(data, &mut at).map_err(malformed)?;
        if let Some(last) = entries.last()
            && sort_key(last).cmp(sort_key(&entry)).is_ge()
        {
            return Err(malformed("its entries are not in order"));
        }
        entries.push(entry);
        if entries.len() > TREE_ENTRIES_MAX {
            return Err(malformed("it has more than a million entries"));
        }
    }
    check_duplicates(&entries).map_err(malformed)?;
    Ok(entries)
}

/// Returns whether a name is one by which `.git` could be reached on some file system.
pub(crate) fn is_dangerous(name: &[u8]) -> bool {
    let options = gix::validate::path::component::Options {
        protect_windows: false,
        protect_hfs: true,
        protect_ntfs: true,
    };
    gix::validate::path::component(name.into(), None, options).is_err()
}

fn parse_entry<'a>(data: &'a [u8], at: &mut usize) -> Result<Entry<'a>, &'static str> {
    let rest = &data[*at..];
    let space = memchr::memchr(b' ', rest).ok_or("an entry without a mode")?;
    let mode = parse_mode(&rest[..space])?;
    let is_executable = &rest[..space] == b"100755";
    let name_length =
        memchr::memchr(0, &rest[space + 1..]).ok_or("an entry without the end of its name")?;
    let name = &rest[space + 1..space + 1 + name_length];
    check_name(name)?;
    let id_from = space + name_length + 2;
    let id = rest.get(id_from..id_from + 20).ok_or("an entry without an id")?;
    let id = ObjectId::from_bytes_or_panic(id);
    let entry = Entry { mode, is_executable, name, id, id_at: *at + id_from };
    *at += id_from + 20;
    Ok(entry)
}

fn parse_mode(mode: &[u8]) -> Result<Mode, &'static str> {
    match mode {
        b"40000" => Ok(Mode::Folder),
        // Git itself once wrote 100664, and repositories keep it.
        b"100644" | b"100755" | b"100664" => Ok(Mode::File),
        b"120000" => Ok(Mode::Symlink),
        b"160000" => Ok(Mode::Submodule),
        _ => Err("an entry of an unknown mode"),
    }
}

fn check_name(name: &[u8]) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("an entry without a name");
    }
    if name.len() > PATH_BYTES_MAX {
        return Err("an entry whose name is too long");
    }
    if memchr::memchr(b'/', name).is_some() {
        return Err("an entry with a slash in its name");
    }
    Ok(())
}

/// Git sorts folders as if their names ended in a slash.
fn sort_key<'a>(entry: &Entry<'a>) -> impl Iterator<Item = u8> + use<'a> {
    let slash = (entry.mode == Mode::Folder).then_some(b'/');
    entry.name.iter().copied().chain(slash)
}

/// A file and a folder of one name sort apart, so the order alone does not show them.
fn check_duplicates(entries: &[Entry<'_>]) -> Result<(), &'static str> {
    let is_folder = |entry: &&Entry<'_>| entry.mode == Mode::Folder;
    let mut folders: Vec<&[u8]> = entries.iter().filter(is_folder).map(|e| e.name).collect();
    folders.sort_unstable();
    let mut files = entries.iter().filter(|entry| entry.mode != Mode::Folder);
    if files.any(|file| folders.binary_search(&file.name).is_ok()) {
        return Err("two entries of one name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn entries_are_read_in_order() {
        check(
            &[("100644", "a"), ("40000", "b"), ("120000", "c"), ("160000", "d")],
            expect![[r#"
            File a
            Folder b
            Symlink c
            Submodule d"#]],
        );
        check(
            &[("100644", "a-b"), ("40000", "a"), ("100644", "a0")],
            expect![[r#"
            File a-b
            Folder a
            File a0"#]],
        );
    }

    #[test]
    fn malformed_folders_are_refused() {
        check(&[("100644", "b"), ("100644", "a")], expect!["its entries are not in order"]);
        check(&[("100644", "a"), ("100755", "a")], expect!["its entries are not in order"]);
        check(
            &[("100644", "a"), ("100644", "a-"), ("40000", "a")],
            expect!["two entries of one name"],
        );
        check(&[("100644", "a/b")], expect!["an entry with a slash in its name"]);
        check(&[("100644", "")], expect!["an entry without a name"]);
        check(&[("100000", "a")], expect!["an entry of an unknown mode"]);
        check(&[("040000", "a")], expect!["an entry of an unknown mode"]);
    }

    #[test]
    fn names_that_reach_git_are_dangerous() {
        for name in [
            ".git",
            ".GIT",
            ".git ",
            ".git.",
            "git~1",
            ".git::$INDEX_ALLOCATION",
            "..",
            ".",
            ".g\u{200c}it",
        ] {
            assert!(is_dangerous(name.as_bytes()), "{name:?}");
        }
        for name in [".gitignore", "git", "a:b", "aux.yaml", "app.yaml", "x\\y"] {
            assert!(!is_dangerous(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn a_cut_folder_is_refused() {
        let data = b"100644 a\0".to_vec();
        let null = ObjectId::null(gix::hash::Kind::Sha1);
        assert!(parse(null, &data).is_err());
        assert!(parse(null, b"100644 a").is_err());
        assert!(parse(null, b"100644").is_err());
    }

    #[track_caller]
    fn check(entries: &[(&str, &str)], expected: Expect) {
        let mut data = Vec::new();
        for (mode, name) in entries {
            data.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            data.extend_from_slice(&[1; 20]);
        }
        let actual = match parse(ObjectId::null(gix::hash::Kind::Sha1), &data) {
            Ok(entries) => entries
                .iter()
                .map(|e| format!("{:?} {}", e.mode, String::from_utf8_lossy(e.name)))
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => error.reason.to_owned(),
        };
        expected.assert_eq(&actual);
    }
}
