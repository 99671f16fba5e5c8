//! Checks every locked package against deny.toml: licences, banned names, how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::run;

/// The part of deny.toml that can be checked without an advisory database.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
    /// Ours: the highest number of packages, raised only on purpose.
    #[serde(rename = "x-packages-max")]
    packages_max: usize,
}

#[derive(Deserialize)]
struct Banned {
    name: String,
}

/// Returns the workspace's own packages.
pub(super) fn ours(metadata: &Value) -> impl Iterator<Item = &Value> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter(|package| package["source"].is_null())
}

pub(super) fn problems(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("reading deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("parsing deny.toml")?;
    // `cargo metadata` also lists packages that only a disabled feature would bring in.
    let tree = run::output(
        root,
        "cargo",
        &["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}|{l}"],
    )?;
    Ok(check(&deny, &tree))
}

/// Checks lines of `NAME vVERSION …|LICENCE`; a package repeated has ` (*)` at the end.
fn check(deny: &Deny, tree: &str) -> Vec<String> {
    let packages: BTreeMap<&str, &str> =
        tree.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|')).collect();
    let mut problems = Vec::new();
    for (package, license) in &packages {
        let name = package.split(' ').next().unwrap_or_default();
        if deny.bans.deny.iter().any(|banned| banned.name == name) {
            problems.push(format!("deny.toml bans the package `{name}`"));
        }
        if !is_allowed(license, &deny.licenses.allow) {
            problems.push(format!(
                "package `{name}` has the licence `{license}`, not allowed by deny.toml"
            ));
        }
    }
    let (n_packages, max) = (packages.len(), deny.bans.packages_max);
    if n_packages > max {
        problems.push(format!("{n_packages} packages, over the ceiling of {max} in deny.toml"));
    }
    problems
}

/// Returns whether an SPDX expression of names, AND, OR, WITH and parentheses is satisfied.
///
/// `A AND B` needs both; `A OR B` and the old `A/B` need one. Parentheses are rare and
/// only ever group an OR inside an AND, so splitting at AND first is right for them.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    expression.split(" AND ").all(|part| {
        let part = part.trim_matches(['(', ')', ' ']).replace('/', " OR ");
        part.split(" OR ").any(|name| allowed.contains(name.trim_matches(['(', ')', ' '])))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_package_a_foreign_licence_and_a_crowd_are_problems() {
        let deny =
            "licenses.allow = [\"MIT\"]\nbans.deny = [{ name = \"bad\" }]\nbans.x-packages-max = 2";
        let deny: Deny = toml::from_str(deny).expect("a valid deny.toml");
        assert_eq!(check(&deny, "a v1|MIT\na v1|MIT (*)\nb v1|MIT\n"), Vec::<String>::new());
        assert_eq!(check(&deny, "bad v1|MIT\n").len(), 1);
        assert_eq!(check(&deny, "a v1|GPL-3.0\n").len(), 1);
        assert_eq!(check(&deny, "a v1|MIT\nb v1|MIT\nc v1|MIT\n").len(), 1);
    }

    #[test]
    fn licences_are_read_as_expressions() {
        let allowed = BTreeSet::from(["MIT".to_owned(), "Apache-2.0".to_owned()]);
        for good in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(MIT OR X) AND Apache-2.0"] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(X OR Y) AND MIT"] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }
}
