//! What one process leaves for the next.

use std::time::Duration;

use api::Kind;
use apiserver::{OnDamage, Server};
use controllers::{ObjectKey, state::State, tags::TagStore};

use super::{
    image_loop::three_environments,
    world::{World, human},
};

/// Returns the name under which the API keeps the objects of a kind.
fn resource(kind: Kind) -> String {
    let names = kind.names();
    format!("{}.{}", names.plural, names.group)
}

/// Another process: objects from the manifests alone, with the statuses that were kept.
async fn restart(old: &World, new: World, folder: &std::path::Path) -> World {
    let keys: Vec<(Kind, ObjectKey)> = [
        (Kind::GitRepository, "fleet"),
        (Kind::ImageRepository, "app"),
        (Kind::ImagePolicy, "dev"),
        (Kind::ImagePolicy, "staging"),
        (Kind::ImagePolicy, "production"),
        (Kind::ImageUpdateAutomation, "dev"),
        (Kind::ImageUpdateAutomation, "staging"),
        (Kind::ImageUpdateAutomation, "production"),
    ]
    .map(|(kind, name)| (kind, ObjectKey::new("envs", name)))
    .to_vec();
    let open = |state: &State| {
        let opened = Server::open(&state.objects(), old.clock.clone(), OnDamage::Refuse);
        opened.expect("the objects open").0
    };
    {
        let state = State::open(folder).expect("the folder opens");
        let mut statuses = Vec::new();
        for (kind, key) in &keys {
            let object = old.get(kind.as_str(), "envs", &key.name).await;
            let place = (resource(*kind), "envs".to_owned(), key.name.clone());
            statuses.push((place, object["status"].clone()));
        }
        open(&state).keep_statuses(statuses.into_iter()).await.expect("it keeps");
    }
    let state = State::open(folder).expect("the folder opens");
    let kept = open(&state);
    for (kind, key) in &keys {
        let mut object = new.get(kind.as_str(), "envs", &key.name).await;
        let status = kept.kept_status(&resource(*kind), kind.as_str(), "envs", &key.name);
        object["status"] = status.expect("it was kept");
        new.server.load_status(&object).expect("the API takes the status");
    }
    World {
        registry: old.registry.clone(),
        git: old.git.clone(),
        tags: TagStore::on_disk(state.cache()),
        clock: old.clock.clone(),
        ..new
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_choice_is_confirmed_gone_by_a_later_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let tags = {
        let state = State::open(folder.path()).expect("an empty folder opens");
        TagStore::on_disk(state.cache())
    };
    let mut first = World { tags, ..three_environments() };
    first.run_once().await;
    first.registry.delete("app", "release-1.10.0");
    drop(first.run_once().await);
    let held = first.conditions("ImagePolicy", "envs", "production").await;
    assert!(held.contains("Held True RemovalUnconfirmed"), "{held}");
    // The process ends, and with it its hold on the folder.
    first.tags = TagStore::in_memory();

    tokio::time::sleep(Duration::from_secs(61)).await;
    let second = restart(&first, three_environments(), folder.path()).await;
    second.run_once().await;
    let moved = second.conditions("ImagePolicy", "envs", "production").await;
    assert!(moved.contains("release-1.10.0 left the registry"), "{moved}");
    let log = second.git.log("fleet", "image-update-production").expect("it is there");
    assert_eq!(log.len(), 3, "the first commit, the choice, and the move: {log:#?}");
}

/// The time of an idle run is the only news.
#[tokio::test(start_paused = true)]
async fn a_restart_makes_no_commit_and_no_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = three_environments();
    first.run_once().await;
    let second = restart(&first, three_environments(), folder.path()).await;
    let summary = second.run_once().await;
    assert_eq!(summary.report.commits, []);
    assert_eq!(second.events("envs").await, "");
}

/// Somebody pushes between our reading and our pushing, up to ten times in a row: we plan anew on
/// what is there, and nobody's commit is lost.
#[tokio::test(start_paused = true)]
async fn lost_races_are_planned_anew() {
    let world = three_environments();
    world.run_once().await;
    let mut n_commits = 2;
    for n_races in [1, 2, 10] {
        for n in 0..n_races {
            let git = world.git.clone();
            world.before_push(move || {
                let text = format!("{n_races} {n}\n");
                let files = [("notes.txt", text.as_str())];
                let commit = git.commit("fleet", "image-update-dev", &files, &human(), "Note\n");
                commit.expect("it commits");
            });
        }
        world.registry.push("app", &format!("branch-dev-17155580{n_races:02}-abc"));
        let summary = world.run_once().await;
        assert!(summary.is_ok(), "{summary:#?}");
        assert_eq!(summary.report.commits.len(), 1);
        n_commits += n_races + 1;
        let log = world.git.log("fleet", "image-update-dev").expect("it is there");
        assert_eq!(log.len(), n_commits, "{log:#?}");
    }
}
