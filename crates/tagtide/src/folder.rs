//! A local folder of a Git working tree: read in the order of a walk, written atomically, never through a symbolic link.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::path::clamp;

use crate::report::Problem;

/// A file larger than this is no manifest; it equals the cap on blobs in a mirror.
pub(crate) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Twice the files of the largest repository we know.
const FILES_MAX: usize = 2_000_000;
/// Deeper than any path a file system takes; ends a walk over a folder that grows meanwhile.
const DEPTH_MAX: usize = 256;

/// A folder whose files are named by paths with `/`, relative to it.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Returns the folder at `root`, which may itself be reached through a link.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(root)
            .with_context(|| format!("cannot read folder {}", root.display()))?;
        if !metadata.is_dir() {
            bail!("{} is not a folder", root.display());
        }
        Ok(Self { root: root.to_path_buf() })
    }

    /// Returns where the folder is, for a person.
    pub(crate) fn display(&self) -> String {
        self.root.display().to_string()
    }

    /// Returns the paths below `below` that `keep` accepts, in lexical order, folder by folder.
    /// Folders that cannot be read are noted.
    ///
    /// `.git` and symbolic links are left out. `below` may name a file. Its `..` cannot
    /// leave the folder: they are clamped at the root.
    pub(crate) fn files(
        &self,
        below: &str,
        keep: impl Fn(&str) -> bool,
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<String>> {
        let start = clamp(below);
        self.refuse_links(&start)?;
        let metadata = std::fs::symlink_metadata(self.root.join(&start))
            .with_context(|| format!("cannot read {below} in {}", self.root.display()))?;
        let mut files = Vec::new();
        if metadata.is_file() {
            files.extend(Some(start).filter(|path| keep(path)));
        } else {
            let entries = self.entries(&start)?;
            self.walk(&start, entries, &keep, 0, &mut Walked { files: &mut files, problems })?;
        }
        Ok(files)
    }

    /// Returns a file's bytes; why they cannot be had is noted.
    pub(crate) fn read_or_note(&self, path: &str, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
        match self.read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                problems.push(unreadable(path.to_owned(), &error));
                None
            }
        }
    }

    /// Returns a file's bytes.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.refuse_links(path)?;
        let full = self.root.join(path);
        let file = std::fs::File::open(&full)
            .with_context(|| format!("cannot read {}", full.display()))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot read {}", full.display()))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            bail!("{} is over {FILE_BYTES_MAX} bytes", full.display());
        }
        Ok(bytes)
    }

    /// Replaces a file's bytes at once, keeping its permissions: readers see the old or the new file.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.refuse_links(path)?;
        let full = self.root.join(path);
        let say = || format!("cannot write {}", full.display());
        let permissions = std::fs::symlink_metadata(&full).with_context(say)?.permissions();
        let parent = full.parent().unwrap_or(&self.root);
        let mut file = tempfile::NamedTempFile::new_in(parent).with_context(say)?;
        file.write_all(bytes).with_context(say)?;
        file.as_file().set_permissions(permissions).with_context(say)?;
        file.as_file().sync_all().with_context(say)?;
        file.persist(&full).with_context(say)?;
        Ok(())
    }

    fn walk(
        &self,
        folder: &str,
        entries: Vec<(String, std::fs::FileType)>,
        keep: &impl Fn(&str) -> bool,
        depth: usize,
        walked: &mut Walked<'_>,
    ) -> Result<()> {
        if depth > DEPTH_MAX {
            bail!("{folder} is nested deeper than {DEPTH_MAX} folders");
        }
        for (name, kind) in entries {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if kind.is_dir() {
                match self.entries(&path) {
                    Ok(entries) => self.walk(&path, entries, keep, depth + 1, walked)?,
                    Err(error) => walked.problems.push(unreadable(path, &error)),
                }
            } else if kind.is_file() && keep(&path) {
                walked.files.push(path);
            }
            if walked.files.len() > FILES_MAX {
                bail!("{} holds more than {FILES_MAX} files", self.root.display());
            }
        }
        Ok(())
    }

    /// Returns a folder's entries, sorted by name; a name that is not UTF-8 cannot be reported and is left out.
    fn entries(&self, folder: &str) -> Result<Vec<(String, std::fs::FileType)>> {
        let full = self.root.join(folder);
        let say = || format!("cannot read folder {}", full.display());
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&full).with_context(say)? {
            let entry = entry.with_context(say)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name != ".git" {
                entries.push((name, entry.file_type().with_context(say)?));
            }
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    fn refuse_links(&self, path: &str) -> Result<()> {
        let mut full = self.root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            full.push(part);
            let is_link =
                std::fs::symlink_metadata(&full).is_ok_and(|metadata| metadata.is_symlink());
            if is_link {
                bail!(
                    "{} is a symbolic link, which is never followed; name its target",
                    full.display()
                );
            }
        }
        Ok(())
    }
}

/// What a walk has found so far.
struct Walked<'a> {
    files: &'a mut Vec<String>,
    problems: &'a mut Vec<Problem>,
}

/// Returns the problem of a file or folder that cannot be read.
pub(crate) fn unreadable(file: String, error: &anyhow::Error) -> Problem {
    let message = format!("{error:#}");
    Problem { file, line: 1, column: 1, reason: "Unreadable".to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = temporary.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let folder = Folder::open(temporary.path()).expect("the folder just made");
        (temporary, folder)
    }

    #[test]
    fn files_come_in_lexical_order_without_git_and_links() {
        let (temporary, folder) = mk_folder(&[
            ("b.yaml", ""),
            ("a/z.yaml", ""),
            ("a.yaml", ""),
            (".git/c.yaml", ""),
            ("a/x.txt", ""),
        ]);
        std::os::unix::fs::symlink("b.yaml", temporary.path().join("c.yaml")).expect("a link");
        std::os::unix::fs::symlink("a", temporary.path().join("linked")).expect("a link");
        let keep = |path: &str| path.ends_with(".yaml");
        let files = |below: &str| folder.files(below, keep, &mut Vec::new()).expect("a listing");
        assert_eq!(files("."), ["a/z.yaml", "a.yaml", "b.yaml"]);
        assert_eq!(files("./a/../../a"), ["a/z.yaml"]);
        assert_eq!(files("b.yaml"), ["b.yaml"]);
        assert!(folder.files("linked", keep, &mut Vec::new()).is_err());
        assert!(folder.files("nosuch", keep, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_write_keeps_permissions_and_never_follows_a_link() {
        use std::os::unix::fs::PermissionsExt;
        let (temporary, folder) = mk_folder(&[("a.yaml", "old"), ("target", "kept")]);
        let path = temporary.path().join("a.yaml");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        folder.write("a.yaml", b"new").expect("a write");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "new");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        std::os::unix::fs::symlink("target", temporary.path().join("link")).expect("a link");
        assert!(folder.write("link", b"new").is_err());
        assert!(folder.read("link").is_err());
        assert_eq!(
            std::fs::read_to_string(temporary.path().join("target")).expect("a file"),
            "kept"
        );
    }
}
