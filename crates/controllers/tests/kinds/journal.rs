//! Pushes of which nobody was told: the process ended, the API was away, or somebody asked to stop.

use std::{sync::Arc, time::Duration};

use controllers::Settings;
use expect_test::expect;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{image_loop::three_environments, world::World};

const NEWER: &str = "branch-dev-1715557000-f12a34b";
const BRANCH: &str = "image-update-dev";

/// The plural of the kind whose pushes these are.
const AUTOMATIONS: &str = "imageupdateautomations";

/// Returns a world in which all is up to date and then a tag came, and what outlives its processes.
async fn world() -> World {
    let backend = redb::backends::InMemoryBackend::new();
    let cache = redb::Database::builder().create_with_backend(backend).expect("memory takes it");
    let world = World { cache: Some(Arc::new(cache)), ..three_environments() };
    world.run_once_as_session().await;
    world.registry.push("app", NEWER);
    world
}

impl World {
    /// Returns the status of the automation without times, and with `TIP` for the commit at the tip.
    async fn status(&self) -> Value {
        let mut status = self.get("ImageUpdateAutomation", "envs", "dev").await["status"].clone();
        for time in ["lastAutomationRunTime", "lastPushTime"] {
            assert!(status[time].is_string(), "{status:#}");
            status[time] = "TIME".into();
        }
        let conditions = status["conditions"].as_array_mut().into_iter().flatten();
        conditions.for_each(|condition| condition["lastTransitionTime"] = "TIME".into());
        let tip = self.git.tip("fleet", BRANCH).expect("it is there");
        serde_json::from_str(&status.to_string().replace(&tip, "TIP")).expect("it is JSON still")
    }

    /// Returns the events of the automation, with `TIP` for the commit at the tip.
    async fn told(&self) -> String {
        let tip = self.git.tip("fleet", BRANCH).expect("it is there");
        let events = self.events("envs").await;
        let mine = events.split("Normal ").filter(|e| e.starts_with("ImageUpdateAutomation/dev"));
        mine.collect::<String>().replace(&tip[..7], "TIP")
    }
}

fn sorted(told: &str) -> Vec<&str> {
    let mut told: Vec<&str> = told.split_inclusive("automation\n").collect();
    told.sort_unstable();
    told
}

#[tokio::test(start_paused = true)]
async fn killed_before_its_status_a_push_is_told_by_the_next_process() {
    let (calm, killed) = (world().await, world().await);
    let expected = calm.run_once_as_session().await;
    killed.refuse_statuses(Some(AUTOMATIONS));
    // It ends without having written what it did.
    drop(killed.run_once().await);
    killed.refuse_statuses(None);
    let summary = killed.run_once_as_session().await;
    assert_eq!(summary.report.commits.len(), 1);
    let tip = killed.git.tip("fleet", BRANCH).expect("it is there");
    assert_eq!(summary.report.commits[0].id, tip);
    assert_eq!(expected.report.commits.len(), 1);
    assert_eq!(killed.status().await, calm.status().await);
    // What was told ahead of the status is told again by who does not know of it.
    let told = killed.told().await;
    assert_eq!(told.matches("×2: pushed commit 'TIP'").count(), 1, "{told}");
    assert_eq!(sorted(&told.replace("×2", "×1")), sorted(&calm.told().await));
    assert_eq!(killed.git.log("fleet", BRANCH).expect("it is there").len(), 3);
    // It is told once.
    assert_eq!(killed.run_once_as_session().await.report.commits, []);
}

/// A person went on from the commit before anybody knew of it, and there is a newer tag as well.
#[tokio::test(start_paused = true)]
async fn a_push_below_those_of_others_is_found() {
    let world = world().await;
    world.refuse_statuses(Some(AUTOMATIONS));
    drop(world.run_once().await);
    let ours = world.git.tip("fleet", BRANCH).expect("it is there");
    let human = super::world::human();
    let files = [("notes.txt", "on top\n")];
    world.git.commit("fleet", BRANCH, &files, &human, "Note\n").expect("it commits");
    world.registry.push("app", "branch-dev-1715558000-abc");
    world.refuse_statuses(None);
    let summary = world.run_once_as_session().await;
    let tip = world.git.tip("fleet", BRANCH).expect("it is there");
    let told: Vec<_> = summary.report.commits.iter().map(|commit| commit.id.clone()).collect();
    assert_eq!(told, [ours.clone(), tip.clone()]);
    let automation = world.get("ImageUpdateAutomation", "envs", "dev").await;
    assert_eq!(automation["status"]["lastPushCommit"], tip);
    let events = world.events("envs").await;
    for commit in [ours, tip] {
        let said = format!("pushed commit '{}' to branch '{BRANCH}'", &commit[..7]);
        assert_eq!(events.matches(&said).count(), 1, "{events}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_api_was_away_tells_what_it_pushed() {
    let world = World { cache: None, ..world().await };
    world.refuse_statuses(Some(AUTOMATIONS));
    let driver = Arc::new(world.driver(Settings::default()));
    // Longer than the interval of the scans.
    world.run_for(&driver, Duration::from_secs(600)).await;
    let tip = world.git.tip("fleet", BRANCH).expect("it is there");
    let automation = world.get("ImageUpdateAutomation", "envs", "dev").await;
    assert_ne!(automation["status"]["lastPushCommit"], tip);
    world.refuse_statuses(None);
    world.run_for(&driver, Duration::from_secs(600)).await;
    let automation = world.get("ImageUpdateAutomation", "envs", "dev").await;
    assert_eq!(automation["status"]["lastPushCommit"], tip);
    expect![[r#"
        ImageUpdateAutomation/dev Succeeded ×1: pushed commit 'TIP' to branch 'image-update-dev'
        Update from image update automation
        ImageUpdateAutomation/dev Succeeded ×1: pushed commit '9c87e24' to branch 'image-update-dev'
        Update from image update automation
    "#]]
    .assert_eq(&world.told().await);
}

/// Whoever asks to stop while a push is being sent gets it into its status; nothing else begins.
#[tokio::test(start_paused = true)]
async fn a_stopped_run_ends_with_its_pushes_told() {
    for is_service in [false, true] {
        let world = three_environments();
        let stop = CancellationToken::new();
        let driver = world.driver(Settings::default());
        world.before_push({
            let stop = stop.clone();
            move || stop.cancel()
        });
        if is_service {
            driver.run(stop.clone()).await;
        } else {
            let summary = driver.run_until_idle(stop.clone()).await.expect("the API lists");
            let n_pushed = summary.report.commits.len();
            assert_eq!(summary.n_unfinished, 3 - n_pushed, "{summary:#?}");
            assert!(n_pushed >= 1);
        }
        let mut n_pushed = 0;
        for name in ["dev", "staging", "production"] {
            let automation = world.get("ImageUpdateAutomation", "envs", name).await;
            let tip = world.git.tip("fleet", &format!("image-update-{name}"));
            assert_eq!(automation["status"]["lastPushCommit"].as_str(), tip.as_deref());
            n_pushed += usize::from(tip.is_some());
        }
        assert!(n_pushed >= 1);
        let summary = world.run_once().await;
        assert!(summary.is_ok());
        assert_eq!(summary.report.commits.len(), 3 - n_pushed);
    }
}

/// A scan is given up at once, and nothing is said about it.
#[tokio::test(start_paused = true)]
async fn a_stopped_scan_is_given_up() {
    let world = three_environments();
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    world.registry.intercept(move |_| {
        cancelled.cancel();
        None
    });
    let driver = world.driver(Settings::default());
    let summary = driver.run_until_idle(stop).await.expect("the API lists");
    assert!(summary.n_unfinished >= 1, "{summary:#?}");
    assert_eq!(world.events("envs").await.matches("ImageRepository").count(), 0);
    assert_eq!(summary.report.commits, []);
}
