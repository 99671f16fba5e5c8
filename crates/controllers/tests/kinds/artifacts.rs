//! A GitRepository as a source: its artifact is stored, kept, renewed and removed.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use controllers::{Driver, Settings};
use expect_test::expect;
use serde_json::{Value, json};

use super::world::{World, human};

const SOURCE: &str = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: a}
spec: {interval: 1m, ref: {branch: main}, url: 'https://git.example/fleet.git'}
";

struct Sources {
    world: World,
    driver: Arc<Driver>,
    folder: PathBuf,
}

impl Sources {
    fn new() -> Sources {
        let world = World::with_artifacts();
        let files = [("a.yaml", "a: 1\n"), ("apps/b.yaml", "b: 1\n"), ("logo.png", "png")];
        world.repository("fleet", "main", &files);
        world.apply(SOURCE);
        let driver = Arc::new(world.driver(Settings::default()));
        let folder = world.artifacts_folder().join("gitrepository/a/fleet");
        Sources { world, driver, folder }
    }

    async fn run_for(&self, seconds: u64) {
        self.world.run_for(&self.driver, Duration::from_secs(seconds)).await;
    }

    async fn status(&self) -> Value {
        self.world.get("GitRepository", "a", "fleet").await["status"].take()
    }

    fn change_spec(&self, change: impl FnOnce(&mut Value)) {
        let mut object: Value = yaml::documents(SOURCE.as_bytes()).remove(0).expect("YAML").value;
        change(&mut object["spec"]);
        self.world.server.load(&object).expect("the API accepts it");
    }

    /// Returns the names of the archives.
    fn archives(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten();
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Returns what is in an archive: mode and contents, `/` for folders.
fn unpacked(path: &Path) -> BTreeMap<String, (u32, String)> {
    let file = fs::File::open(path).expect("an archive");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let header = entry.header();
        assert_eq!((header.uid().ok(), header.mtime().ok()), (Some(0), Some(0)), "{path}");
        let mode = header.mode().expect("a mode");
        let is_folder = header.entry_type().is_dir();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        files.insert(path, (mode, if is_folder { "/".to_owned() } else { text }));
    }
    files
}

#[tokio::test(start_paused = true)]
async fn a_source_is_stored_and_told_once() {
    let sources = Sources::new();
    sources.run_for(10).await;
    let tip = sources.world.git.tip("fleet", "main").expect("a tip");
    let status = sources.status().await;
    let artifact = &status["artifact"];
    assert_eq!(artifact["revision"], format!("main@sha1:{tip}"));
    assert_eq!(artifact["path"], format!("gitrepository/a/fleet/{tip}.tar.gz"));
    assert_eq!(
        artifact["url"],
        format!("http://artifacts.example/key/gitrepository/a/fleet/{tip}.tar.gz")
    );
    let archive = sources.folder.join(format!("{tip}.tar.gz"));
    assert_eq!(artifact["size"], fs::metadata(&archive).expect("an archive").len());
    let digest = artifact["digest"].as_str().expect("a digest");
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    let conditions = sources.world.conditions("GitRepository", "a", "fleet").await;
    let message = format!("True Succeeded stored artifact for revision 'main@sha1:{tip}'\n");
    assert_eq!(conditions, format!("Ready {message}ArtifactInStorage {message}"));
    let files = unpacked(&archive);
    expect![[r#"
        {
            ".": (
                488,
                "/",
            ),
            "a.yaml": (
                384,
                "a: 1\n",
            ),
            "apps": (
                488,
                "/",
            ),
            "apps/b.yaml": (
                384,
                "b: 1\n",
            ),
        }
    "#]]
    .assert_debug_eq(&files);
    let events = sources.world.events("a").await;
    assert_eq!(
        events,
        "Normal GitRepository/fleet NewArtifact ×1: stored artifact for commit 'Initial commit'\n"
    );
    let annotations = sources.world.event_annotations("a").await;
    let expected = json!({
        "source.toolkit.fluxcd.io/revision": format!("main@sha1:{tip}"),
        "source.toolkit.fluxcd.io/digest": digest,
    });
    assert_eq!(annotations, [expected]);

    sources.world.take_writes();
    sources.run_for(600).await;
    assert_eq!(sources.world.take_writes(), [""; 0], "nothing changed, nothing is written");
    assert_eq!(sources.status().await, status);
}

#[tokio::test(start_paused = true)]
async fn a_new_commit_makes_a_new_artifact_and_the_last_one_stays_a_while() {
    let sources = Sources::new();
    sources.run_for(10).await;
    let first = sources.archives();
    let commit = |text: &str| {
        let files = [("a.yaml", text)];
        sources.world.git.commit("fleet", "main", &files, &human(), "next\n").expect("a commit")
    };
    let tip = commit("a: 2\n");
    sources.run_for(60).await;
    let second = sources.archives();
    assert_eq!(second.len(), 2, "who fetches the first is not disturbed");
    assert!(first.iter().all(|name| second.contains(name)));
    assert_eq!(sources.status().await["artifact"]["revision"], format!("main@sha1:{tip}"));
    commit("a: 3\n");
    sources.run_for(60).await;
    let third = sources.archives();
    assert_eq!(third.len(), 2);
    assert!(!first.iter().any(|name| third.contains(name)), "two are enough");
}

#[tokio::test(start_paused = true)]
async fn other_rules_and_a_damaged_archive_make_it_anew() {
    let sources = Sources::new();
    sources.run_for(10).await;
    let before = sources.status().await;
    sources.change_spec(|spec| spec["ignore"] = "/*\n!/apps\n".into());
    sources.run_for(10).await;
    let after = sources.status().await;
    assert_eq!(after["artifact"]["revision"], before["artifact"]["revision"]);
    assert_ne!(after["artifact"]["digest"], before["artifact"]["digest"]);
    assert_eq!(after["observedIgnore"], "/*\n!/apps\n");
    let archive = sources.folder.join(&sources.archives()[0]);
    assert_eq!(unpacked(&archive).into_keys().collect::<Vec<_>>(), [".", "apps", "apps/b.yaml"]);
    fs::write(&archive, "damaged").expect("a file");
    sources.run_for(61).await;
    assert_eq!(unpacked(&archive).len(), 3, "it was made anew");
    assert_eq!(sources.status().await["artifact"]["digest"], after["artifact"]["digest"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_source_leaves_no_archive() {
    let sources = Sources::new();
    sources.run_for(10).await;
    assert_eq!(sources.archives().len(), 1);
    let objects: kube::Api<api::source::GitRepository> =
        kube::Api::namespaced(sources.world.client(), "a");
    objects.delete("fleet", &kube::api::DeleteParams::default()).await.expect("it is deleted");
    sources.run_for(10).await;
    assert!(!sources.folder.exists());
    assert!(objects.get_opt("fleet").await.expect("the API answers").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_an_artifact_would_lack_is_an_error() {
    for (field, value) in [
        ("include", json!([{"repository": {"name": "other"}}])),
        ("recurseSubmodules", json!(true)),
        ("sparseCheckout", json!(["apps"])),
        ("verify", json!({"mode": "HEAD", "secretRef": {"name": "keys"}})),
    ] {
        let sources = Sources::new();
        sources.change_spec(|spec| spec[field] = value);
        sources.run_for(10).await;
        let conditions = sources.world.conditions("GitRepository", "a", "fleet").await;
        assert!(conditions.starts_with("Stalled True NotSupported "), "{field}: {conditions}");
        assert!(conditions.contains(&format!("spec.{field} is not supported yet")), "{conditions}");
        assert!(sources.status().await.get("artifact").is_none(), "{field}");
    }
}
