//! Checks source files: a first sentence, a bearable length, a telling name, no foreign words.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Lines before a file's own tests; above it a file has two subjects.
const LINES_MAX: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["mod", "util", "utils", "common", "helper", "helpers", "misc", "types", "errors"];

/// Words that a crate must not know (`ARCHITECTURE.md`, invariants), in lower case.
const FOREIGN_WORDS: &[(&str, &[&str])] = &[
    ("apiserver", &["flux", "imagepolicy", "imagerepository", "gitrepository"]),
    ("yaml", &["kubernetes", "flux", "imagepolicy"]),
    ("gotmpl", &["kubernetes", "flux"]),
    ("golang", &["kubernetes", "flux", "tagtide."]),
    ("version", &["kubernetes", "flux", "tagtide."]),
    ("git", &["imagepolicy", "kubernetes"]),
    ("controllers", &["axum", "clap::", "text/html"]),
];

pub(super) fn problems(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for krate in entries(&root.join("crates"))?.into_iter().filter(|path| path.is_dir()) {
        for file in sources(&krate.join("src"))? {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("reading {}", file.display()))?;
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let krate = krate.file_name().unwrap_or_default().to_string_lossy();
            problems.extend(check(&krate, &name, &text));
        }
    }
    Ok(problems)
}

/// Checks one source file of `krate`.
fn check(krate: &str, name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !text.starts_with("//! ") {
        problems.push(format!("{name}: does not open with a `//!` sentence"));
    }
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
    if EMPTY_NAMES.contains(&stem.as_ref()) {
        problems.push(format!("{name}: a file is named for what is in it"));
    }
    let body = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let is_test = name.ends_with("/tests.rs") || name.contains("/tests/");
    let n_lines = body.lines().count();
    if n_lines > LINES_MAX && !is_test {
        problems.push(format!("{name}: {n_lines} lines, over {LINES_MAX}"));
    }
    let foreign = FOREIGN_WORDS.iter().filter(|(owner, _)| *owner == krate && !is_test);
    for word in foreign.flat_map(|(_, words)| *words) {
        if let Some(line) = body.lines().position(|line| line.to_lowercase().contains(word)) {
            problems.push(format!("{name}:{}: `{krate}` must not know `{word}`", line + 1));
        }
    }
    problems
}

/// Returns the Rust files below `folder`, sorted.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = read.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_can_be_broken() {
        let clean = check("git", "crates/git/src/push.rs", "//! Pushes.\n");
        assert_eq!(clean, Vec::<String>::new());
        let long = format!("//! Pushes.\n{}", "\n".repeat(LINES_MAX));
        for (name, text) in [
            ("crates/git/src/push.rs", "use x;\n"),
            ("crates/git/src/utils.rs", "//! Pushes.\n"),
            ("crates/git/src/push.rs", long.as_str()),
            ("crates/git/src/push.rs", "//! Pushes.\n// An ImagePolicy.\n"),
        ] {
            assert_eq!(check("git", name, text).len(), 1, "{name}");
        }
    }
}
