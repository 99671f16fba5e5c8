//! Loads manifests as people have them: files, folders, whole GitOps repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use crate::folder::{self, Folder};
use crate::report::Problem;

/// Lists inside lists deeper than this are a bomb, not a manifest.
const LIST_DEPTH_MAX: usize = 4;

/// Core kinds that runs read beside the reconciled ones.
const CORE_KINDS: &[&str] = &["Namespace", "Secret", "ServiceAccount", "ConfigMap"];

/// A file that does not parse matters only if it speaks of one of these.
const OUR_WORDS: &[&str] = &[api::kinds::IMAGE_GROUP, api::kinds::SOURCE_GROUP];

/// What was found in the paths that were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Loaded {
    /// Whether part of the files does not parse: who knows what stands there.
    pub(crate) is_partial: bool,
    /// Objects to create, in the order in which they were read.
    pub(crate) objects: Vec<Manifest>,
    /// How many objects of each other kind were skipped.
    pub(crate) skipped: BTreeMap<String, usize>,
    /// What a person should know, though nothing is wrong.
    pub(crate) notices: Vec<String>,
    /// What could not be loaded.
    pub(crate) problems: Vec<Problem>,
    /// Secrets that are encrypted, as (namespace, name): they are unresolved, not wrong.
    pub(crate) encrypted: BTreeSet<(String, String)>,
}

/// An object and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) value: Value,
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl Manifest {
    /// Returns kind, namespace and name.
    pub(crate) fn key(&self) -> (String, String, String) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &self.value["metadata"];
        (text(&self.value["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
    }
}

/// Loads every manifest of `paths`; an object that names no namespace gets `namespace`.
///
/// A path that cannot be read is an error of the whole; a file below it that cannot be read, and
/// a file or object that cannot be understood, is a problem of its own.
pub(crate) fn load(paths: &[PathBuf], namespace: &str) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    for path in paths {
        let Files { files, unreadable } = files(path)?;
        loaded.problems.extend(unreadable);
        for file in files {
            match read(&file, namespace) {
                Ok(read) => loaded.extend(read),
                Err(error) if file.given == Given::Named => return Err(error),
                Err(error) => loaded.problems.push(file.unreadable(&error)),
            }
        }
    }
    Ok(loaded)
}

/// A file that may hold manifests.
#[derive(Clone, Debug)]
pub(crate) struct ManifestFile {
    folder: Folder,
    /// Relative to the folder.
    file: String,
    pub(crate) path: PathBuf,
    given: Given,
}

/// What a path has.
pub(crate) struct Files {
    /// Files, in lexical order.
    pub(crate) files: Vec<ManifestFile>,
    /// Folders that cannot be read.
    pub(crate) unreadable: Vec<Problem>,
}

impl ManifestFile {
    /// Returns the problem of a file that cannot be read.
    pub(crate) fn unreadable(&self, error: &anyhow::Error) -> Problem {
        folder::unreadable(self.path.display().to_string(), error)
    }
}

/// Returns the files of a path: itself, or those of a folder.
pub(crate) fn files(path: &Path) -> Result<Files> {
    if path.is_dir() {
        let folder = Folder::open(path)?;
        let mut unreadable = Vec::new();
        let files = folder.files(".", is_manifest, &mut unreadable)?.into_iter();
        let files = files.map(|file| ManifestFile {
            folder: folder.clone(),
            path: path.join(&file),
            file,
            given: Given::Found,
        });
        let full = |problem: &mut Problem| {
            problem.file = path.join(&problem.file).display().to_string();
        };
        unreadable.iter_mut().for_each(full);
        return Ok(Files { files: files.collect(), unreadable });
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = Folder::open(parent.unwrap_or(Path::new(".")))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files = vec![ManifestFile { folder, file, path: path.to_owned(), given: Given::Named }];
    Ok(Files { files, unreadable: Vec::new() })
}

/// Loads every manifest of one file.
pub(crate) fn read(file: &ManifestFile, namespace: &str) -> Result<Loaded> {
    let bytes = file.folder.read(&file.file)?;
    let mut loader = Loader { loaded: Loaded::default(), namespace };
    loader.file(&file.path.display().to_string(), &bytes, file.given);
    Ok(loader.loaded)
}

impl Loaded {
    /// Adds what was found elsewhere.
    pub(crate) fn extend(&mut self, other: Loaded) {
        self.objects.extend(other.objects);
        for (kind, n) in other.skipped {
            *self.skipped.entry(kind).or_default() += n;
        }
        self.notices.extend(other.notices);
        self.problems.extend(other.problems);
        self.encrypted.extend(other.encrypted);
        self.is_partial |= other.is_partial;
    }
}

struct Loader<'a> {
    loaded: Loaded,
    namespace: &'a str,
}

impl Loader<'_> {
    fn file(&mut self, name: &str, bytes: &[u8], given: Given) {
        let mut faults = Vec::new();
        for document in yaml::documents(bytes) {
            match document {
                Ok(document) => self.document(document.value, name, document.line, 0),
                Err(error) => faults.push(error),
            }
        }
        // What follows the first fault is mostly its consequence.
        if let Some(error) = faults.first() {
            self.loaded.is_partial = true;
            self.unreadable(name, bytes, error, given);
        }
    }

    /// Notes a file that is no YAML: a chart's template, perhaps, which is nobody's mistake.
    fn unreadable(&mut self, name: &str, bytes: &[u8], error: &yaml::Error, given: Given) {
        let is_ours =
            OUR_WORDS.iter().any(|word| memchr::memmem::find(bytes, word.as_bytes()).is_some());
        if given == Given::Found && !is_ours {
            self.loaded.notices.push(format!("{name}: skipped, it is not YAML ({error})"));
            return;
        }
        self.loaded.problems.push(Problem {
            file: name.to_owned(),
            line: error.line,
            column: error.column,
            reason: "InvalidYAML".to_owned(),
            message: format!("{}; its objects are not loaded", error.reason),
        });
    }

    fn document(&mut self, value: Value, file: &str, line: usize, depth: usize) {
        let Some(kind) = value["kind"].as_str().map(str::to_owned) else { return };
        if kind == "List" && depth < LIST_DEPTH_MAX {
            let items = value.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            for item in items {
                self.document(item, file, line, depth + 1);
            }
            return;
        }
        let api_version = value["apiVersion"].as_str().unwrap_or_default();
        let (group, _) = api_version.split_once('/').unwrap_or(("", api_version));
        let is_core = group.is_empty() && CORE_KINDS.contains(&kind.as_str());
        if is_core {
            self.keep(Manifest { value, file: file.to_owned(), line });
        } else if api::Kind::of(group, &kind).is_some() {
            self.convert(Manifest { value, file: file.to_owned(), line });
        } else {
            *self.loaded.skipped.entry(kind).or_default() += 1;
        }
    }

    /// Brings an older version of one of our kinds to the one that is served.
    fn convert(&mut self, manifest: Manifest) {
        let Manifest { value, file, line } = manifest;
        match api::convert(value) {
            Ok(converted) => {
                let notices = converted.notices.into_iter();
                self.loaded
                    .notices
                    .extend(notices.map(|notice| format!("{file}:{line}: {notice}")));
                self.keep(Manifest { value: converted.value, file, line });
            }
            Err(error) => self.loaded.problems.push(Problem {
                file,
                line,
                column: 1,
                reason: "UnsupportedVersion".to_owned(),
                message: error.to_string(),
            }),
        }
    }

    fn keep(&mut self, mut manifest: Manifest) {
        let kind = manifest.value["kind"].as_str().unwrap_or_default().to_owned();
        let metadata = manifest.value["metadata"].as_object_mut();
        if let Some(metadata) = metadata.filter(|_| kind != "Namespace") {
            metadata.entry("namespace").or_insert_with(|| self.namespace.into());
        }
        if kind == "Secret" && is_encrypted(&manifest.value) {
            let (_, namespace, name) = manifest.key();
            self.loaded.encrypted.insert((namespace, name));
            return;
        }
        self.loaded.objects.push(manifest);
    }
}

/// How a file came to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// By its own name on the command line.
    Named,
    /// As one of a folder's many.
    Found,
}

/// Settles objects that stand in more than one file, as overlays and patches do.
///
/// Equal ones are one. Of several different ones nobody can say which is meant: each is
/// left out with a problem, unless only one of them is `valid` by itself.
pub(crate) fn settle(
    objects: Vec<Manifest>,
    valid: impl Fn(&Manifest) -> bool,
) -> (Vec<Manifest>, Vec<Problem>) {
    let mut by_key: BTreeMap<_, Vec<Manifest>> = BTreeMap::new();
    for manifest in objects {
        let same = by_key.entry(manifest.key()).or_default();
        if !same.iter().any(|other| other.value == manifest.value) {
            same.push(manifest);
        }
    }
    let (mut kept, mut problems) = (Vec::new(), Vec::new());
    for ((kind, namespace, name), mut same) in by_key {
        if same.len() > 1 {
            let (whole, parts): (Vec<_>, Vec<_>) = same.into_iter().partition(&valid);
            same = if whole.is_empty() { parts } else { whole };
        }
        if same.len() == 1 {
            kept.extend(same);
            continue;
        }
        let places: Vec<_> =
            same.iter().map(|manifest| format!("{}:{}", manifest.file, manifest.line)).collect();
        problems.extend(same.first().map(|first| Problem {
            file: first.file.clone(),
            line: first.line,
            column: 1,
            reason: "Ambiguous".to_owned(),
            message: format!(
                "{kind} {namespace}/{name} stands differently in {}; give only the paths whose version is meant",
                places.join(", ")
            ),
        }));
    }
    (kept, problems)
}

fn is_manifest(path: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| path.ends_with(ending))
}

/// Returns whether a Secret was encrypted by SOPS, in whole or key by key.
fn is_encrypted(secret: &Value) -> bool {
    let is_cipher = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("ENC["));
    let keys = ["data", "stringData"].into_iter().filter_map(|field| secret[field].as_object());
    secret["sops"].is_object() || keys.flat_map(|map| map.values()).any(is_cipher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(files: &[(&str, &str)], expected: &Expect) {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            std::fs::write(temporary.path().join(path), text).expect("a file");
        }
        let loaded = load(&[temporary.path().to_path_buf()], "default").expect("loaded");
        let (kept, ambiguous) =
            settle(loaded.objects, |manifest| manifest.value["spec"].is_object());
        let keys = kept.iter().map(|manifest| format!("{:?}\n", manifest.key()));
        let problems = loaded.problems.iter().chain(&ambiguous);
        let problems = problems.map(|problem| format!("{} {}\n", problem.reason, problem.message));
        let skipped = format!("skipped {:?}\n", loaded.skipped);
        let unresolved = format!("encrypted {:?}\n", loaded.encrypted);
        let notices = loaded.notices.iter().map(|notice| format!("{notice}\n"));
        let text: String =
            keys.chain([skipped, unresolved]).chain(problems).chain(notices).collect();
        let folder = format!("{}/", temporary.path().display());
        expected.assert_eq(&text.replace(&folder, ""));
    }

    #[test]
    fn other_kinds_are_counted_and_encrypted_secrets_unresolved() {
        check(
            &[
                ("a.yaml", "kind: Deployment\n---\nkind: Deployment\n---\nkind: Service\n"),
                ("b.yaml", "kind: Secret\napiVersion: v1\nmetadata: {name: s}\nsops: {mac: x}\n"),
                (
                    "c.yaml",
                    "kind: Secret\napiVersion: v1\nmetadata: {name: t}\ndata: {k: 'ENC[AES256_GCM,x]'}\n",
                ),
                ("d.yaml", "{{ if .Values.x }}\n: {\n"),
                ("values.yaml", "image: x\n"),
            ],
            &expect![[r#"
                skipped {"Deployment": 2, "Service": 1}
                encrypted {("default", "s"), ("default", "t")}
                d.yaml: skipped, it is not YAML (line 1, column 2: this mapping key cannot be a JSON key)
            "#]],
        );
    }

    #[test]
    fn a_patch_beside_its_object_is_left_out_and_two_whole_ones_are_ambiguous() {
        let head =
            "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: p}\n";
        check(
            &[("a.yaml", &format!("{head}spec: {{}}\n")), ("b.yaml", head)],
            &expect![[r#"
                ("ImagePolicy", "default", "p")
                skipped {}
                encrypted {}
            "#]],
        );
        check(
            &[
                ("a.yaml", &format!("{head}spec: {{}}\n")),
                ("b.yaml", &format!("{head}spec: {{x: 1}}\n")),
            ],
            &expect![[r#"
                skipped {}
                encrypted {}
                Ambiguous ImagePolicy default/p stands differently in a.yaml:1, b.yaml:1; give only the paths whose version is meant
            "#]],
        );
    }

    #[test]
    fn lists_are_unpacked_and_a_broken_file_of_ours_is_a_problem() {
        check(
            &[
                (
                    "a.yaml",
                    "kind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: apps}}\n",
                ),
                ("b.yaml", "apiVersion: image.toolkit.fluxcd.io/v1\nkind: [\n"),
            ],
            &expect![[r#"
                ("Namespace", "", "apps")
                skipped {}
                encrypted {}
                InvalidYAML unclosed bracket '['; its objects are not loaded
            "#]],
        );
    }
}
