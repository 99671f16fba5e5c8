//! What a walk sees: order, filter, links, and what it reads again.

use std::{collections::HashMap, sync::Arc};

use expect_test::{Expect, expect};
use git::{BlobIndex, IndexStore, Reference, Walk};
use parking_lot::Mutex;
use testkit::Change;

use crate::world::{Marks, World, marked};

#[derive(Default)]
struct Kept(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

impl IndexStore for Kept {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().get(key).cloned()
    }

    fn put(&self, entries: Vec<(Vec<u8>, Vec<u8>)>) {
        self.0.lock().extend(entries);
    }
}

async fn walk(
    world: &World,
    path: &str,
    index: &Arc<BlobIndex<Marks>>,
) -> Result<Walk<Vec<String>>, String> {
    let main = Reference::branch("main").expect("valid");
    let tip = world.mirror().refresh(&main, &world.access).await.expect("all is well");
    let (index, path) = (Arc::clone(index), path.to_owned());
    let walk =
        move |files: &mut git::Snapshot| files.walk(&path, &index).map_err(|e| e.to_string());
    world.mirror().with_files(&tip, &world.access, walk).await.expect("in time")
}

#[tokio::test]
async fn files_come_in_the_order_of_gos_walk() {
    let one = marked("x", "1");
    let paths = [
        "a.yaml",
        "a/b.yaml",
        "a-b/c.yaml",
        "a0.yaml",
        ".hidden/d.yaml",
        "a/no.txt",
        "z/.git.yaml",
    ];
    let files: Vec<(&str, &str)> = paths.iter().map(|path| (*path, one.as_str())).collect();
    let world = World::with_files(&files);
    check(&world, ".", expect![".hidden/d.yaml a/b.yaml a-b/c.yaml a.yaml a0.yaml z/.git.yaml"])
        .await;
    check(&world, "./a/", expect!["a/b.yaml"]).await;
    check(&world, "../../a", expect!["a/b.yaml"]).await;
    check(&world, "a.yaml", expect!["a.yaml"]).await;
    check(&world, "a/no.txt", expect![""]).await;
    check(&world, "nosuch", expect!["error: path `nosuch` does not exist"]).await;
    check(&world, "a.yaml/x", expect!["error: path `a.yaml/x` does not exist"]).await;
}

#[tokio::test]
async fn links_are_reported_and_never_followed() {
    let one = marked("x", "1");
    let world = World::with_files(&[("real/a.yaml", &one)]);
    world.server.repositories().commit(
        "app",
        "main",
        "links\n",
        &[
            Change::symlink("link.yaml", "real/a.yaml"),
            Change::symlink("folder", "real"),
            Change::symlink("out.yaml", "/etc/passwd"),
        ],
    );
    check(&world, ".", expect!["real/a.yaml; Symlink folder; Symlink link.yaml; Symlink out.yaml"])
        .await;
    check(&world, "folder", expect!["error: path `folder` leads through a symbolic link or submodule, which is never followed"]).await;
    check(&world, "link.yaml", expect!["error: path `link.yaml` leads through a symbolic link or submodule, which is never followed"]).await;
}

#[tokio::test]
async fn what_is_known_is_never_read_again() {
    let files: Vec<(String, String)> = (0..40)
        .map(|n| (format!("apps/{}/{n}.yaml", n % 4), marked("x", &n.to_string())))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, b)| (p.as_str(), b.as_str())).collect();
    let world = World::with_files(&files);
    let kept = Arc::new(Kept::default());
    let index = Arc::new(BlobIndex::with_store(Marks, Arc::clone(&kept) as Arc<dyn IndexStore>));
    assert_eq!(walk(&world, ".", &index).await.expect("a walk").n_read, 46);
    assert_eq!(walk(&world, ".", &index).await.expect("a walk").n_read, 0);
    // Another process knows what this one found.
    let index = Arc::new(BlobIndex::with_store(Marks, Arc::clone(&kept) as Arc<dyn IndexStore>));
    let again = walk(&world, ".", &index).await.expect("a walk");
    assert_eq!((again.n_read, again.hits.len()), (0, 40));
    world.server.commit_as_human("app", "main", &[("apps/3/3.yaml", &marked("x", "new"))]);
    // The file, its folder, and the two folders above.
    assert_eq!(walk(&world, ".", &index).await.expect("a walk").n_read, 4);
    // A lost store is only slow.
    kept.0.lock().clear();
    let index = Arc::new(BlobIndex::with_store(Marks, kept as Arc<dyn IndexStore>));
    assert_eq!(walk(&world, ".", &index).await.expect("a walk").n_read, 46);
}

#[tokio::test]
async fn hostile_folders_harm_nobody() {
    let world = World::with_files(&[("a.yaml", &marked("x", "1"))]);
    let blob = world.server.git("app", &["rev-parse", "main:a.yaml"]);
    let blob = blob.trim();
    // Names that git itself would not make, through mktree, which takes them.
    let entries = format!(
        "100644 blob {blob}\tgit~1\n100644 blob {blob}\t.GIT\n100644 blob {blob}\tok.yaml\n"
    );
    let tree = mktree(&world, &entries);
    commit_tree(&world, &tree);
    check(&world, ".", expect!["ok.yaml"]).await;
    let entries = format!(
        "040000 tree {tree}\t.git \n040000 tree {tree}\tgood\n120000 blob {blob}\tl.yaml\n"
    );
    let tree = mktree(&world, &entries);
    commit_tree(&world, &tree);
    check(&world, ".", expect!["good/ok.yaml; DangerousName .git ; Symlink l.yaml"]).await;
    // Ten folders of ten, ten deep: ten thousand million files in eleven objects.
    let mut tree = tree;
    for _ in 0..10 {
        let entries: String = (0..10).map(|n| format!("040000 tree {tree}\t{n}\n")).collect();
        tree = mktree(&world, &entries);
    }
    commit_tree(&world, &tree);
    check(
        &world,
        ".",
        expect!["error: the repository exceeds the limit of 200000 files with findings"],
    )
    .await;
}

fn mktree(world: &World, entries: &str) -> String {
    let file = world.server.path("app").join("entries");
    std::fs::write(&file, entries).expect("a temporary folder");
    let script = format!("alias.make=!git mktree < '{}'", file.display());
    world.server.git("app", &["-c", &script, "make"]).trim().to_owned()
}

fn commit_tree(world: &World, tree: &str) {
    let who = ["-c", "user.name=H", "-c", "user.email=h@example.com"];
    let commit = [&who[..], &["commit-tree", "-m", "x", tree]].concat();
    let commit = world.server.git("app", &commit);
    world.server.git("app", &["update-ref", "refs/heads/main", commit.trim()]);
}

async fn check(world: &World, path: &str, expected: Expect) {
    let index = Arc::new(BlobIndex::in_memory(Marks));
    let shown = match walk(world, path, &index).await {
        Ok(walk) => {
            let hits: Vec<&str> = walk.hits.iter().map(|hit| hit.path.as_str()).collect();
            let skipped = walk.skipped.iter().map(|s| format!("; {:?} {}", s.reason, s.path));
            hits.join(" ") + &skipped.collect::<String>()
        }
        Err(error) => format!("error: {}", error.split(" in commit").next().unwrap_or_default()),
    };
    expected.assert_eq(&shown);
}

/// Many unknown blobs are read on several threads; a large one waits for its turn.
#[tokio::test]
async fn many_files_are_each_read_once() {
    let mut files: Vec<(String, String)> = (0..300)
        .map(|n| {
            let text = if n % 3 == 0 { marked(&n.to_string(), "1") } else { format!("n: {n}\n") };
            (format!("{}/{n}.yaml", n % 7), text)
        })
        .collect();
    files.push(("large.yaml".to_owned(), marked("large", &"1".repeat(2 << 20))));
    files.push(("twice.yaml".to_owned(), marked("0", "1")));
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let world = World::with_files(&files);
    let index = Arc::new(BlobIndex::in_memory(Marks));
    let first = walk(&world, ".", &index).await.expect("all is well");
    assert_eq!(first.n_read, 301 + 8, "blobs and folders");
    assert_eq!(first.hits.len(), 102);
    for hit in first.hits.iter().filter(|hit| hit.path.contains('/')) {
        assert!(hit.path.ends_with(&format!("/{}.yaml", hit.value[0])), "{hit:?}");
    }
    let again = walk(&world, ".", &index).await.expect("all is well");
    assert_eq!((again.n_read, again.hits.len()), (0, 102));
}
