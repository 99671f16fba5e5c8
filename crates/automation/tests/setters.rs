//! Markers and edits against what Flux's library did with the same files.

#![expect(clippy::disallowed_methods, reason = "a test reads its golden file")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File as Disk,
    io::{BufRead, BufReader},
};

use api::image::ImageRef;
use automation::{
    marker::{Found, PolicyName, ProblemReason, find},
    update::{
        ChangeSet, File, FileChange, Policies, is_candidate, is_due, plan, relative, walk_order,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use serde_json::Value;
use yaml::scan::{Kind, Style};

/// A change: file, object (apiVersion, kind, name, namespace), old and new value, setter.
type Change = (String, [String; 4], [String; 3]);

/// The same values are written as by Flux, or differ for one of the reasons in `kind`; the counts keep both honest.
#[test]
fn golden_files_get_the_values_that_flux_writes() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut n_values, mut n_read_back) = (0, 0);
    for record in records() {
        let run = Run::new(&record);
        // The values of such comments are not in `changes`.
        let own_values = run.mentions("x-k8s-cli");
        let same = record.get("error").is_none() && run.recorded() == run.planned() && !own_values;
        let kind = if same { "as Flux" } else { kind(&run) };
        assert_ne!(kind, "unknown", "{record}\n{:?}", run.changes);
        *counts.entry(kind).or_default() += 1;
        if same {
            n_values += run.check_positions();
            n_read_back += run.check_values_are_text();
        }
        run.check_other_lines_stay();
        run.check_nothing_is_skipped_in_silence();
    }
    counts.insert("values at their recorded place", n_values);
    counts.insert("values that read back as text", n_read_back);
    expect![[r#"
        {
            "a comment does not set a value of its own": 5,
            "a comment stands apart from a quoted value": 3,
            "an invalid choice harms its own policy only": 71,
            "an object is called by its name before the edit": 3,
            "an update path that does not exist is the caller's error": 46,
            "annotations of users have no effect": 5,
            "as Flux": 1141,
            "every one of duplicate keys is edited": 18,
            "items of a list are edited in place": 11,
            "sound files that Flux skips are edited": 28,
            "two dots in a name are no way out": 1,
            "values at their recorded place": 1250,
            "values that read back as text": 1042,
        }
    "#]]
    .assert_debug_eq(&counts);
}

fn records() -> impl Iterator<Item = Value> {
    let file = Disk::open("tests/golden/setters.jsonl.gz").expect("the golden file is there");
    BufReader::new(flate2::read::GzDecoder::new(file))
        .lines()
        .map(|line| serde_json::from_str(&line.expect("a line")).expect("a record"))
}

struct Run<'r> {
    record: &'r Value,
    root: String,
    /// Path below the update path, bytes, and what was found in them.
    files: Vec<(String, Vec<u8>, Found)>,
    changes: ChangeSet,
}

impl<'r> Run<'r> {
    fn new(record: &'r Value) -> Run<'r> {
        let root = api::path::clamp(record["update_path"].as_str().unwrap_or_default());
        let mut files = Vec::new();
        for (path, content) in record["files"].as_object().expect("files") {
            if let Some(path) = relative(&root, path).filter(|path| is_candidate(path)) {
                let bytes = bytes(content);
                let found = find(&bytes);
                files.push((path.to_owned(), bytes, found));
            }
        }
        files.sort_by(|(a, ..), (b, ..)| walk_order(a, b));
        let inputs: Vec<File<'_>> =
            files.iter().map(|(path, bytes, found)| File { path, bytes, found }).collect();
        let changes = plan(&inputs, &policies(record));
        Run { record, root, files, changes }
    }

    fn recorded(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for entry in self.record["changes"].as_array().into_iter().flatten() {
            let object = ["apiVersion", "kind", "name", "namespace"]
                .map(|field| text(&entry["object"], field));
            for change in entry["changes"].as_array().into_iter().flatten() {
                let values = ["old", "new", "setter"].map(|field| text(change, field));
                changes.push((text(entry, "file"), object.clone(), values));
            }
        }
        changes.sort();
        changes
    }

    fn planned(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for file in &self.changes.files {
            for change in &file.changes {
                let object = change.object.clone();
                changes.push((
                    file.path.clone(),
                    [object.api_version, object.kind, object.name, object.namespace],
                    [change.old.clone(), change.new.clone(), change.setter.clone()],
                ));
            }
        }
        changes.sort();
        changes
    }

    /// Every value that Flux changed is changed at the recorded line and column.
    fn check_positions(&self) -> usize {
        let positions: BTreeSet<(&str, usize, usize, &str)> = self
            .changes
            .files
            .iter()
            .flat_map(|file| file.changes.iter().map(move |change| (file, change)))
            .map(|(file, change)| {
                (file.path.as_str(), change.line, change.column, change.new.as_str())
            })
            .collect();
        let mut n_values = 0;
        for (path, value) in self.values() {
            let new = value["new"].as_str().unwrap_or_default();
            let number = |field: &str| {
                usize::try_from(value[field].as_u64().expect("a number")).expect("small")
            };
            let position = (path, number("line"), number("col"), new);
            assert!(positions.contains(&position), "{position:?} {positions:?} {}", self.record);
            n_values += 1;
        }
        n_values
    }

    /// In files of one document every new value is text to a reader of YAML 1.1.
    fn check_values_are_text(&self) -> usize {
        let mut n_values = 0;
        for (path, value) in self.values() {
            let file = self.file(path);
            if has_duplicate_keys(&file.new_bytes) {
                continue;
            }
            let documents = yaml::documents(&file.new_bytes);
            let [Ok(document)] = &documents[..] else { continue };
            let Some(read) =
                value["path"].as_array().expect("a path").iter().try_fold(&document.value, step)
            else {
                continue;
            };
            assert_eq!(read, &value["new"], "{value} {}", String::from_utf8_lossy(&file.new_bytes));
            n_values += 1;
        }
        n_values
    }

    fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.record["values"].as_object().into_iter().flatten().flat_map(|(path, values)| {
            let path = relative(&self.root, path).expect("below the update path");
            values.as_array().into_iter().flatten().map(move |value| (path, value))
        })
    }

    fn file(&self, path: &str) -> &FileChange {
        self.changes.files.iter().find(|file| file.path == path).expect("the file changes")
    }

    /// Only lines that a changed value occupies differ.
    fn check_other_lines_stay(&self) {
        for file in &self.changes.files {
            let (_, old, found) = self
                .files
                .iter()
                .find(|(path, ..)| *path == file.path)
                .expect("a file that was given");
            let (old, new) =
                (String::from_utf8_lossy(old), String::from_utf8_lossy(&file.new_bytes));
            if old.split('\n').count() != new.split('\n').count() {
                continue;
            }
            let mut touched = BTreeSet::new();
            for marker in &found.markers {
                let last = old[..marker.span.end].split('\n').count();
                touched.extend(marker.line..=last);
            }
            for (at, (old, new)) in old.split('\n').zip(new.split('\n')).enumerate() {
                assert!(old == new || touched.contains(&(at + 1)), "line {}: {old} {new}", at + 1);
            }
        }
    }

    /// A file that Flux calls a problem and skips is edited, or reported, or has no marker to obey.
    fn check_nothing_is_skipped_in_silence(&self) {
        for path in
            self.record["problem_files"].as_array().into_iter().flatten().filter_map(Value::as_str)
        {
            let edited = self.changes.files.iter().any(|file| file.path == path);
            let reported = self.changes.problems.iter().any(|problem| problem.path == path);
            let (_, bytes, found) =
                self.files.iter().find(|(given, ..)| given == path).expect("given");
            let nothing_to_do = found.markers.iter().all(|marker| {
                let foreign = marker.policy.namespace != "ns";
                foreign || !self.changes.unresolved.is_empty() || self.planned().is_empty()
            });
            assert!(edited || reported || nothing_to_do, "{}", String::from_utf8_lossy(bytes));
        }
    }

    fn mentions(&self, needle: &str) -> bool {
        self.files.iter().any(|(_, bytes, _)| String::from_utf8_lossy(bytes).contains(needle))
    }
}

/// Returns why a run may differ.
fn kind(run: &Run<'_>) -> &'static str {
    let (recorded, planned) = (run.recorded(), run.planned());
    if let Some(error) = run.record["error"].as_str() {
        return error_kind(run, error);
    }
    if run.mentions("x-k8s-cli") {
        assert!(planned.iter().all(|(_, _, [_, new, _])| !new.contains("evil")), "{}", run.record);
        return "a comment does not set a value of its own";
    }
    let only_more = recorded.iter().all(|change| planned.contains(change));
    let problem_files = run.record["problem_files"].as_array().cloned().unwrap_or_default();
    let without_object = |changes: &[Change]| {
        let mut values: Vec<_> =
            changes.iter().map(|(file, _, values)| (file.clone(), values.clone())).collect();
        values.sort();
        values
    };
    if only_more
        && planned.iter().all(|change| {
            recorded.contains(change) || problem_files.contains(&change.0.as_str().into())
        })
    {
        "sound files that Flux skips are edited"
    } else if run.mentions("kind: List") || run.mentions("kind: ResourceList") {
        "items of a list are edited in place"
    } else if without_object(&recorded) == without_object(&planned) {
        "an object is called by its name before the edit"
    } else if only_more && run.files.iter().any(|(_, bytes, _)| has_duplicate_keys(bytes)) {
        "every one of duplicate keys is edited"
    } else if planned.is_empty() && run.mentions("\"#") | run.mentions("'#") {
        "a comment stands apart from a quoted value"
    } else {
        "unknown"
    }
}

fn error_kind(run: &Run<'_>, error: &str) -> &'static str {
    let planned = run.planned();
    if let Some(reference) = error.strip_prefix("encountered invalid image ref ") {
        let reference = reference.split('"').nth(1).expect("a quoted reference");
        assert!(planned.iter().all(|(_, _, [_, new, _])| new != reference), "{}", run.record);
        "an invalid choice harms its own policy only"
    } else if error.starts_with("walking path for files: lstat") {
        assert!(run.files.is_empty(), "{}", run.record);
        "an update path that does not exist is the caller's error"
    } else if error.contains("mismatched legacy and internal path annotations") {
        "annotations of users have no effect"
    } else if error.starts_with("wrong node kind") {
        "items of a list are edited in place"
    } else if error.starts_with("resource must be written under package") {
        "two dots in a name are no way out"
    } else {
        "unknown"
    }
}

fn has_duplicate_keys(bytes: &[u8]) -> bool {
    let Some(stream) = std::str::from_utf8(bytes).ok().and_then(|text| yaml::scan::scan(text).ok())
    else {
        return false;
    };
    // For each open collection the keys so far, and whether a key comes next; sequences have no keys.
    let mut open: Vec<(Option<BTreeSet<String>>, bool)> = Vec::new();
    for event in &stream.events {
        match &event.kind {
            Kind::DocumentStart | Kind::DocumentEnd => continue,
            Kind::MappingEnd | Kind::SequenceEnd => drop(open.pop()),
            Kind::MappingStart(_) => {
                open.push((Some(BTreeSet::new()), true));
                continue;
            }
            Kind::SequenceStart(_) => {
                open.push((None, false));
                continue;
            }
            Kind::Scalar(scalar) => {
                if let Some((Some(keys), true)) = open.last_mut()
                    && !keys.insert(scalar.value.to_string())
                {
                    return true;
                }
            }
            Kind::Alias(_) => {}
        }
        if let Some((_, at_key)) = open.last_mut() {
            *at_key = !*at_key;
        }
    }
    false
}

fn policies(record: &Value) -> Policies {
    let mut policies =
        Policies { complete: true, namespace: Some("ns".to_owned()), ..Policies::default() };
    for policy in record["policies"].as_array().into_iter().flatten() {
        let name = PolicyName { namespace: text(policy, "namespace"), name: text(policy, "name") };
        let choice = policy.get("latestRef").map(|choice| {
            serde_json::from_value::<ImageRef>(choice.clone()).expect("an image reference")
        });
        policies.known.insert(name, choice);
    }
    policies
}

fn bytes(content: &Value) -> Vec<u8> {
    match content.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(content["b64"].as_str().expect("base64")).expect("base64"),
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn step<'v>(value: &'v Value, name: &Value) -> Option<&'v Value> {
    match name {
        Value::Number(at) => value.get(usize::try_from(at.as_u64()?).ok()?),
        name => value.get(name.as_str()?),
    }
}

#[test]
fn markers_survive_being_kept_on_disk() {
    let found = find(b"image: a:1 # {\"$imagepolicy\": \"ns:p\"}\nb: # {\"$imagepolicy\": \"ns:p:tags\"}\n  - x\n");
    let kept = serde_json::to_string(&found).expect("serialisable");
    assert_eq!(serde_json::from_str::<Found>(&kept).expect("readable"), found);
    assert_eq!(found.markers.len(), 1);
    assert_eq!(found.problems[0].reason, ProblemReason::Misplaced);
}

#[test]
fn a_plain_value_stays_text_in_every_reader() {
    for tag in [
        "1.10",
        "0755",
        "12e4567",
        "20210101",
        "yes",
        "0x1F",
        "1_000",
        "null",
        "2021-01-01",
        "-1",
        "v1",
    ] {
        let old = b"tag: 1.0 # {\"$imagepolicy\": \"ns:p:tag\"}\n";
        let found = find(old);
        let choice = ImageRef { name: "repo/x".to_owned(), tag: tag.to_owned(), digest: None };
        let name = PolicyName { namespace: "ns".to_owned(), name: "p".to_owned() };
        let policies =
            Policies { known: BTreeMap::from([(name, Some(choice))]), ..Policies::default() };
        let changes = plan(&[File { path: "a.yaml", bytes: old, found: &found }], &policies);
        let Some(file) = changes.files.first() else {
            assert_eq!(tag, "-1", "only an illegal tag is not written");
            continue;
        };
        let text = std::str::from_utf8(&file.new_bytes).expect("UTF-8");
        let stream = yaml::scan::scan(text).expect("YAML");
        let value = stream.events[3].scalar().expect("a scalar");
        let plain = value.style == Style::Plain;
        assert_eq!((value.value.as_ref(), plain), (tag, tag == "v1"), "{text}");
    }
}

/// Files planned together, on several threads, come to what they come to alone.
#[test]
fn many_files_are_planned_as_each_of_them_is() {
    let marked = |n: usize| match n % 4 {
        // A problem, no change, a change, a file that does not parse.
        0 => format!("a: {{x: v1}} # {{\"$imagepolicy\": \"ns:p:tag\"}}\nn: {n}\n"),
        1 => format!("a: v2 # {{\"$imagepolicy\": \"ns:p:tag\"}}\nn: {n}\n"),
        2 => {
            format!("a: v1 # {{\"$imagepolicy\": \"ns:p:tag\"}}\n{}n: {n}\n", "# \n".repeat(n * 40))
        }
        _ => "a: v1 # {\"$imagepolicy\": \"ns:p:tag\"}\nb: [\n".to_owned(),
    };
    let texts: Vec<String> = (0..200).map(marked).collect();
    let large = format!("{}# {}\n", marked(2), "x".repeat(2 << 20));
    let texts: Vec<&str> = texts.iter().map(String::as_str).chain([large.as_str()]).collect();
    let found: Vec<Found> = texts.iter().map(|text| find(text.as_bytes())).collect();
    let paths: Vec<String> = (0..texts.len()).map(|n| format!("{n}.yaml")).collect();
    let files: Vec<File<'_>> = (0..texts.len())
        .map(|n| File { path: &paths[n], bytes: texts[n].as_bytes(), found: &found[n] })
        .collect();
    let choice = ImageRef { name: "repo".to_owned(), tag: "v2".to_owned(), digest: None };
    let name = PolicyName { namespace: "ns".to_owned(), name: "p".to_owned() };
    let policies =
        Policies { known: BTreeMap::from([(name, Some(choice))]), ..Policies::default() };
    let together = plan(&files, &policies);
    let mut alone = ChangeSet::default();
    for file in &files {
        let ChangeSet { files, problems, .. } = plan(std::slice::from_ref(file), &policies);
        assert_eq!(files.len(), usize::from(is_due(file.found, &policies)), "{}", file.path);
        alone.files.extend(files);
        alone.problems.extend(problems);
    }
    assert_eq!(together, alone);
    assert_eq!((alone.files.len(), alone.problems.len()), (51, 100));
}
