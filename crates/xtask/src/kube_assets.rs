//! Builds `kubectl`, and a real API server to compare with, from the sources of Kubernetes.
//!
//! Debian's `kubectl` is older than what the API is promised to. The sources come through the
//! Go module proxy; `go install` refuses them because their manifest replaces modules, so a
//! manifest of our own names the same modules by their released versions.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run;

/// The version that is built, without its `v1.`: the same as the API says it serves.
const MINOR: &str = "35";
const PATCH: &str = "4";

/// The oldest minor version of `kubectl` that the tests run against.
const MINOR_MIN: u64 = 27;

/// The programs that can be built, and the packages they are built from.
///
/// `etcd` is not Kubernetes' own, but its manifest names the release that it is tested with.
const PACKAGES: [(&str, &str); 3] = [
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("etcd", "go.etcd.io/etcd/server/v3"),
];

/// Where the programs are put; the tests look there.
const FOLDER: &str = "target/kube-assets";

/// Makes sure that the tests have a `kubectl` that is new enough.
pub(crate) fn ensure_kubectl(root: &Path) -> Result<()> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let built = root.join(FOLDER);
    let folders = assets.into_iter().chain([built]);
    if folders.map(|folder| folder.join("kubectl")).any(|program| program.exists())
        || is_new_enough(root)
    {
        return Ok(());
    }
    build(root, &["kubectl"])
}

/// Builds programs of Kubernetes by their names into the folder of assets.
pub(crate) fn build(root: &Path, programs: &[&str]) -> Result<()> {
    if !run::has("go") {
        bail!(
            "{} cannot be built without a Go toolchain: install one, or put a kubectl 1.{MINOR_MIN} or newer in the path",
            programs.join(" and ")
        );
    }
    let folder = root.join(FOLDER);
    let module = folder.join("module");
    std::fs::create_dir_all(&module).with_context(|| format!("making {}", module.display()))?;
    write_module(&module)?;
    run::program_in(&module, "go", &["mod", "tidy"])?;
    for program in programs {
        run::say(&format!("building {program}; the first build takes minutes"));
        let output = folder.join(program).display().to_string();
        let package = package(program)?;
        let flags = linker_flags();
        let args = ["build", "-p", "2", "-trimpath", "-ldflags", &flags, "-o", &output, package];
        run::program_in(&module, "go", &args)?;
    }
    Ok(())
}

fn package(program: &str) -> Result<&'static str> {
    let known = PACKAGES.into_iter().find(|(name, _)| *name == program);
    let (_, package) = known.with_context(|| format!("no package is known for {program}"))?;
    Ok(package)
}

/// Without a version in it a server says v0.0.0, and clients refuse it.
fn linker_flags() -> String {
    let version = "k8s.io/component-base/version";
    format!(
        "-s -w -X {version}.gitVersion=v1.{MINOR}.{PATCH} -X {version}.gitMajor=1 -X {version}.gitMinor={MINOR}"
    )
}

fn is_new_enough(root: &Path) -> bool {
    let version = run::output(root, "kubectl", &["version", "--client", "--output=json"]);
    let version = version.ok().and_then(|text| text.parse::<Value>().ok());
    version.and_then(|version| minor(&version)).is_some_and(|minor| minor >= MINOR_MIN)
}

/// Returns the minor version that `kubectl version` tells; builds of clouds have a `+` behind it.
fn minor(version: &Value) -> Option<u64> {
    let minor = version["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches('+').parse().ok()
}

/// Writes the manifest, and a file that imports what is to be built.
fn write_module(module: &Path) -> Result<()> {
    let kubernetes = format!("k8s.io/kubernetes@v1.{MINOR}.{PATCH}");
    let download = run::output(module, "go", &["mod", "download", "-json", &kubernetes])?;
    let download: Value = download.parse().context("reading what go downloaded")?;
    let theirs = download["GoMod"].as_str().context("go names no manifest of Kubernetes")?;
    let theirs = std::fs::read_to_string(theirs).with_context(|| format!("reading {theirs}"))?;
    let files = [("go.mod", manifest(&theirs)), ("tools.go", imports())];
    for (name, text) in files {
        let path = module.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Returns a file that imports every package, so that `go mod tidy` finds what they need.
fn imports() -> String {
    let lines = PACKAGES.map(|(_, package)| format!("\t_ \"{package}\"\n"));
    format!("//go:build tools\n\npackage tools\n\nimport (\n{})\n", lines.concat())
}

/// Returns a manifest like theirs, in which what they replace by folders has a version.
fn manifest(theirs: &str) -> String {
    let mut ours = String::from("module kubeassets\n\n");
    for line in
        theirs.lines().filter(|line| line.starts_with("go ") || line.starts_with("godebug "))
    {
        ours += &format!("{line}\n");
    }
    ours += &format!("\nrequire k8s.io/kubernetes v1.{MINOR}.{PATCH}\n\nreplace (\n");
    for line in theirs.lines() {
        let Some((name, folder)) = line.trim().trim_start_matches("replace ").split_once(" => ")
        else {
            continue;
        };
        if folder.starts_with("./staging/") {
            ours += &format!("\t{name} => {name} v0.{MINOR}.{PATCH}\n");
        }
    }
    ours + ")\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{manifest, minor};

    #[test]
    fn replaced_modules_get_a_version() {
        let theirs = "module k8s.io/kubernetes\n\ngo 1.25.0\n\ngodebug default=go1.25\n\nrequire (\n\tx v1\n)\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\ta => b v1\n)\n";
        assert_eq!(
            manifest(theirs),
            "module kubeassets\n\ngo 1.25.0\ngodebug default=go1.25\n\nrequire k8s.io/kubernetes v1.35.4\n\nreplace (\n\tk8s.io/api => k8s.io/api v0.35.4\n)\n"
        );
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(minor(&json!({"clientVersion": {"minor": "32+"}})), Some(32));
        assert_eq!(minor(&json!({"clientVersion": {"minor": "27"}})), Some(27));
        assert_eq!(minor(&json!({})), None);
    }
}
