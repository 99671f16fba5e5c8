//! The objects of a benchmark, as files that `tagtide up` loads.

use std::{fmt::Write as _, fs, path::Path};

/// Objects of one file.
const PER_FILE: usize = 100;

/// Where the objects are.
pub(crate) const NAMESPACE: &str = "flux-system";

/// Returns an image repository of `host/app-N`.
pub(crate) fn repository(host: &str, n: usize, interval: &str) -> String {
    format!(
        "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\n\
         metadata: {{name: app-{n}, namespace: {NAMESPACE}}}\n\
         spec: {{image: {host}/app-{n}, interval: {interval}, insecure: true}}\n"
    )
}

/// Returns a policy over [`repository`]: the greatest number in the tag.
pub(crate) fn policy(n: usize) -> String {
    format!(
        "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\n\
         metadata: {{name: app-{n}, namespace: {NAMESPACE}, labels: {{app: app-{n}}}}}\n\
         spec:\n  imageRepositoryRef: {{name: app-{n}}}\n  \
         filterTags: {{pattern: '^branch-(?P<ts>[0-9]+)-[0-9a-f]+$', extract: $ts}}\n  \
         policy: {{numerical: {{order: asc}}}}\n"
    )
}

/// Returns the source that automations write to.
pub(crate) fn source(url: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n\
         metadata: {{name: fleet, namespace: {NAMESPACE}}}\n\
         spec: {{url: {url}, interval: 1h, ref: {{branch: main}}}}\n"
    )
}

/// Returns an automation of its own folder and policy.
pub(crate) fn automation(n: usize, interval: &str) -> String {
    format!(
        "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\n\
         metadata: {{name: app-{n}, namespace: {NAMESPACE}}}\n\
         spec:\n  interval: {interval}\n  sourceRef: {{kind: GitRepository, name: fleet}}\n  \
         git:\n    checkout: {{ref: {{branch: main}}}}\n    \
         commit: {{author: {{name: Bot, email: bot@example.com}}}}\n    \
         push: {{branch: main}}\n  policySelector: {{matchLabels: {{app: app-{n}}}}}\n  update: {{path: ./apps/{n}, strategy: Setters}}\n"
    )
}

/// Returns a marked file for the policy of [`policy`].
pub(crate) fn marked(host: &str, n: usize, tag: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app-{n}}}\nspec:\n  \
         image: {host}/app-{n}:{tag} # {{\"$imagepolicy\": \"{NAMESPACE}:app-{n}\"}}\n"
    )
}

/// Writes objects to files of some hundred.
pub(crate) fn write(folder: &Path, name: &str, objects: &[String]) {
    fs::create_dir_all(folder).expect("a folder");
    for (n, objects) in objects.chunks(PER_FILE).enumerate() {
        let mut text = String::new();
        for object in objects {
            write!(text, "---\n{object}").expect("a text takes any text");
        }
        fs::write(folder.join(format!("{name}-{n}.yaml")), text).expect("a file");
    }
}
