//! `stats`: how many objects of each kind work, fail and rest, and what sources store.

use anyhow::Result;
use cluster::kstatus;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;

use crate::args::flux::Stats;
use crate::console::Console;
use crate::error::Outcome;
use crate::{kinds, table};

/// Flux's reconcilers, in its order: group, version, kind and plural. Those that an API does not have count nothing.
const RECONCILERS: [(&str, &str, &str, &str); 13] = [
    ("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories"),
    ("source.toolkit.fluxcd.io", "v1", "OCIRepository", "ocirepositories"),
    ("source.toolkit.fluxcd.io", "v1", "HelmRepository", "helmrepositories"),
    ("source.toolkit.fluxcd.io", "v1", "HelmChart", "helmcharts"),
    ("source.toolkit.fluxcd.io", "v1", "Bucket", "buckets"),
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
    ("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
    ("notification.toolkit.fluxcd.io", "v1beta3", "Alert", "alerts"),
    ("notification.toolkit.fluxcd.io", "v1beta3", "Provider", "providers"),
    ("notification.toolkit.fluxcd.io", "v1", "Receiver", "receivers"),
    ("image.toolkit.fluxcd.io", "v1", "ImageUpdateAutomation", "imageupdateautomations"),
    ("image.toolkit.fluxcd.io", "v1", "ImagePolicy", "imagepolicies"),
    ("image.toolkit.fluxcd.io", "v1", "ImageRepository", "imagerepositories"),
];

#[derive(Default)]
struct Counts {
    n_objects: usize,
    n_failing: usize,
    n_suspended: usize,
    /// Bytes of artifacts.
    stored: u64,
}

pub(crate) async fn run(stats: &Stats, console: &Console<'_>) -> Result<Outcome> {
    let namespace = console.checked_namespace()?;
    let cluster = console.cluster().await?;
    let mut rows = Vec::new();
    for (group, version, kind, plural) in RECONCILERS {
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let client = cluster.client().clone();
        let api: Api<DynamicObject> = match stats.all_namespaces {
            true => Api::all_with(client, &resource),
            false => Api::namespaced_with(client, &namespace, &resource),
        };
        let mut counts = Counts::default();
        // As in Flux, what cannot be listed counts as nothing.
        for object in cluster.list_all(&api, ListParams::default()).await.unwrap_or_default() {
            counts.add(&serde_json::to_value(object)?);
        }
        rows.push(counts.row(kind));
    }
    let header = ["Reconcilers", "Running", "Failing", "Suspended", "Storage"];
    console.ui.data(&table::render(&header, &rows))?;
    Ok(Outcome::Done)
}

impl Counts {
    fn add(&mut self, object: &serde_json::Value) {
        let ready = kstatus::condition(object, "Ready");
        self.n_objects += 1;
        self.n_suspended += usize::from(kinds::is_suspended(object));
        self.n_failing += usize::from(ready.is_some_and(|ready| ready["status"] == "False"));
        self.stored += object["status"]["artifact"]["size"].as_u64().unwrap_or(0);
    }

    fn row(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            (self.n_objects - self.n_suspended).to_string(),
            self.n_failing.to_string(),
            self.n_suspended.to_string(),
            size(self.stored),
        ]
    }
}

/// Returns a number of bytes for people: `-` for none, then powers of 1024.
fn size(bytes: u64) -> String {
    match bytes {
        0 => return "-".to_owned(),
        1..1024 => return format!("{bytes} B"),
        _ => {}
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = "KMGTPE".chars().peekable();
    while value >= 1024.0 && units.clone().nth(1).is_some() {
        value /= 1024.0;
        units.next();
    }
    format!("{value:.1} {}iB", units.next().unwrap_or('E'))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_in_powers_of_1024() {
        let sizes = [0, 1, 1023, 1024, 1536, 1024 * 1024, u64::MAX].map(size);
        assert_eq!(sizes, ["-", "1 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "16.0 EiB"]);
    }
}
