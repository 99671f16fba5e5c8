//! `stats`: how many objects of each kind work, fail and rest, and what sources store.

use anyhow::Result;
use api::Kind;
use cluster::{Selection, kstatus};

use crate::args::flux::Stats;
use crate::console::Console;
use crate::error::Outcome;
use crate::{kinds, table};

/// Flux's reconcilers, in its order; those that are not ours have no objects here.
const RECONCILERS: [(&str, Option<Kind>); 13] = [
    ("GitRepository", Some(Kind::GitRepository)),
    ("OCIRepository", None),
    ("HelmRepository", None),
    ("HelmChart", None),
    ("Bucket", None),
    ("Kustomization", None),
    ("HelmRelease", None),
    ("Alert", None),
    ("Provider", None),
    ("Receiver", None),
    ("ImageUpdateAutomation", Some(Kind::ImageUpdateAutomation)),
    ("ImagePolicy", Some(Kind::ImagePolicy)),
    ("ImageRepository", Some(Kind::ImageRepository)),
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
    let selection = Selection {
        namespace: (!stats.all_namespaces).then_some(&namespace),
        ..Selection::default()
    };
    let mut rows = Vec::new();
    for (name, kind) in RECONCILERS {
        let mut counts = Counts::default();
        if let Some(kind) = kind {
            // As in Flux, what cannot be listed counts as nothing.
            for object in cluster.list(kind, &selection).await.unwrap_or_default() {
                counts.add(&serde_json::to_value(object)?);
            }
        }
        rows.push(counts.row(name));
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
