//! `tagtide lint DIR`: every marker below a folder, and what is wrong with it.

use std::collections::BTreeSet;

use anyhow::Result;
use automation::marker::{self, Found, PolicyName};
use automation::update::{self, File, Policies};

use crate::args::{Lint, Output};
use crate::error::Outcome;
use crate::folder::Folder;
use crate::report::{Problem, Report};
use crate::ui::{Ui, count};

/// ImagePolicies that a folder defines; one whose manifest names no namespace may be in any.
type Defined = BTreeSet<(Option<String>, String)>;

/// A file that speaks of markers.
struct Marked {
    path: String,
    bytes: Vec<u8>,
    found: Found,
}

pub(crate) fn run(lint: &Lint, ui: &Ui) -> Result<Outcome> {
    let folder = Folder::open(&lint.folder)?;
    let mut unreadable = Vec::new();
    let (marked, policies) = read(&folder, &mut unreadable)?;
    let mut report = Report { problems: problems(&marked, &policies), ..Report::default() };
    report.problems.extend(unreadable);
    report.sort();
    match lint.output {
        Output::Json => ui.json(&report)?,
        Output::Text => {
            let lines = report.problems.iter().map(|problem| format!("{problem}\n"));
            ui.data(&lines.collect::<String>())?;
            let n_markers = marked.iter().map(|file| file.found.markers.len()).sum();
            let (markers, files) = (count(n_markers, "sound marker"), count(marked.len(), "file"));
            ui.note(&format!("{markers} in {files}, {}", count(report.problems.len(), "problem")))?;
        }
    }
    Ok(if report.problems.is_empty() { Outcome::Done } else { Outcome::Failed })
}

/// Reads the marked files, and the policies that the folder defines; notes what cannot be read.
fn read(folder: &Folder, unreadable: &mut Vec<Problem>) -> Result<(Vec<Marked>, Defined)> {
    let (mut marked, mut policies) = (Vec::new(), Defined::new());
    for path in folder.files(".", update::is_candidate, unreadable)? {
        let Some(bytes) = folder.read_or_note(&path, unreadable) else { continue };
        policies.extend(defined_policies(&bytes));
        let found = marker::find(&bytes);
        if !found.markers.is_empty() || !found.problems.is_empty() {
            marked.push(Marked { path, bytes, found });
        }
    }
    Ok((marked, policies))
}

/// Returns the ImagePolicies of a file; what does not parse defines none.
fn defined_policies(bytes: &[u8]) -> Vec<(Option<String>, String)> {
    if memchr::memmem::find(bytes, b"ImagePolicy").is_none() {
        return Vec::new();
    }
    let documents = yaml::documents(bytes).into_iter().flatten();
    let policies = documents.filter(|document| document.value["kind"] == "ImagePolicy");
    let names = policies.filter_map(|document| {
        let metadata = &document.value["metadata"];
        let text = |field: &str| metadata[field].as_str().map(str::to_owned);
        Some((text("namespace"), text("name")?))
    });
    names.collect()
}

/// Judges the markers. Where the folder defines no policy at all, none can be called unknown.
fn problems(marked: &[Marked], defined: &Defined) -> Vec<Problem> {
    let named = marked.iter().flat_map(|file| &file.found.markers).map(|marker| &marker.policy);
    let is_defined = |policy: &PolicyName| {
        defined.contains(&(Some(policy.namespace.clone()), policy.name.clone()))
            || defined.contains(&(None, policy.name.clone()))
    };
    let known = named.filter(|policy| is_defined(policy)).map(|policy| (policy.clone(), None));
    let policies =
        Policies { known: known.collect(), namespace: None, complete: !defined.is_empty() };
    let files: Vec<_> = marked
        .iter()
        .map(|file| File { path: &file.path, bytes: &file.bytes, found: &file.found })
        .collect();
    update::plan(&files, &policies).problems.into_iter().map(Problem::from).collect()
}
