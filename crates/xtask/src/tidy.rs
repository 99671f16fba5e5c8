//! The rules of the house that no compiler knows: edges between crates, licences, files, words.

mod dependencies;
mod edges;
mod files;

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::run;

/// Fails with every broken rule, a line each.
pub(crate) fn check(root: &Path) -> Result<()> {
    let metadata: Value = serde_json::from_str(&run::output(
        root,
        "cargo",
        &["metadata", "--format-version", "1", "--locked"],
    )?)?;
    let mut problems = edges::problems(root, &metadata)?;
    problems.extend(dependencies::problems(root)?);
    problems.extend(files::problems(root)?);
    if problems.is_empty() {
        return Ok(());
    }
    problems.sort();
    bail!("the house is not tidy:\n{}", problems.join("\n"));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_is_tidy() {
        let root = crate::root().expect("the workspace has a root");
        if let Err(error) = super::check(&root) {
            panic!("{error:#}");
        }
    }
}
