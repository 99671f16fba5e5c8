//! Compares the edges between our crates with the table in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Crate name to the names of our crates it uses (or may use).
type Edges = BTreeMap<String, BTreeSet<String>>;

/// A longer chain of crates costs build time and understanding.
const CHAIN_MAX: usize = 6;

pub(super) fn problems(root: &Path, metadata: &Value) -> Result<Vec<String>> {
    let page =
        std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("reading ARCHITECTURE.md")?;
    let allowed = allowed(&page);
    let used = used(metadata);
    let mut problems = compare(&allowed, &used);
    let chain = used.keys().map(|name| chain(&used, name)).max_by_key(Vec::len).unwrap_or_default();
    if chain.len() > CHAIN_MAX {
        problems
            .push(format!("longest chain of crates is over {CHAIN_MAX}: {}", chain.join(" → ")));
    }
    Ok(problems)
}

/// Reads the rows ``| `name` | purpose | a, b |`` of the page.
fn allowed(page: &str) -> Edges {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, edges] = cells.as_slice() else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let edges = edges.split(',').map(|edge| edge.trim().trim_matches('`'));
        let edges = edges.filter(|edge| !edge.is_empty() && *edge != "–");
        Some((name.to_owned(), edges.map(str::to_owned).collect()))
    });
    rows.collect()
}

/// Returns the normal dependencies between the workspace's packages.
fn used(metadata: &Value) -> Edges {
    let packages: Vec<_> = super::dependencies::ours(metadata).collect();
    let names: BTreeSet<_> =
        packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let edges = packages.iter().filter_map(|package| {
        let dependencies = package["dependencies"].as_array()?.iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
        let named = normal.filter_map(|dependency| dependency["name"].as_str());
        let ours = named.filter(|name| names.contains(name)).map(str::to_owned).collect();
        Some((package["name"].as_str()?.to_owned(), ours))
    });
    edges.collect()
}

fn compare(allowed: &Edges, used: &Edges) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, edges) in used {
        let Some(may) = allowed.get(name) else {
            problems.push(format!("ARCHITECTURE.md has no row for crate `{name}`"));
            continue;
        };
        for edge in edges.difference(may) {
            problems.push(format!("`{name}` uses `{edge}`, which ARCHITECTURE.md does not allow"));
        }
    }
    problems
}

/// Returns the longest chain that begins at `name`; cargo refuses cycles.
fn chain(edges: &Edges, name: &str) -> Vec<String> {
    let next = edges.get(name).into_iter().flatten();
    let mut longest = next.map(|next| chain(edges, next)).max_by_key(Vec::len).unwrap_or_default();
    longest.insert(0, name.to_owned());
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_outside_the_table_is_a_problem() {
        let allowed = allowed("| `a` | first | – |\n| `b` | second | `a` |\n| no | row |\n");
        let used = |from: &str, to: &str| Edges::from([(from.to_owned(), [to.to_owned()].into())]);
        assert_eq!(compare(&allowed, &used("b", "a")), Vec::<String>::new());
        assert_eq!(compare(&allowed, &used("a", "b")).len(), 1);
        assert_eq!(compare(&allowed, &used("c", "a")).len(), 1);
    }

    #[test]
    fn the_longest_chain_is_found() {
        let edges = allowed("| `a` | . | `b`, `c` |\n| `b` | . | `c` |\n| `c` | . | – |\n");
        assert_eq!(chain(&edges, "a"), ["a", "b", "c"]);
    }
}
