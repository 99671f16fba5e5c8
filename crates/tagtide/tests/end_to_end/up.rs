//! The loop as a service: `tagtide up`, kubectl, a real registry and a real Git server.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use sha2::{Digest, Sha256};
use testkit::HttpServer;

use super::daemon::{Daemon, get};
use super::world::{FLEET, NEWER, RELEASE, TAGS, World};

/// Where the automation of the loop writes.
const BRANCH: &str = "image-update-dev";

/// Returns whether the value of the loop is this tag on the branch that the automation writes to.
fn tag_on_branch(world: &World, tag: &str) -> Option<()> {
    world.repositories().resolve(FLEET, BRANCH)?;
    let file = String::from_utf8(world.file(BRANCH, RELEASE)).expect("UTF-8");
    file.contains(&format!("tag: {tag} ")).then_some(())
}

#[test]
fn the_loop_runs_for_as_long_as_the_api_is_served() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    daemon.wait_for("the first commit", |_| tag_on_branch(&world, TAGS[1]));

    world.push(&[NEWER]);
    let request = "reconcile.fluxcd.io/requestedAt=now";
    let args = ["annotate", "imagerepository", "testservice", "-n", "flux-system", request];
    daemon.kubectl(&args);
    daemon.wait_for("the second commit", |_| tag_on_branch(&world, NEWER));
    daemon.wait_for("the status", |daemon| {
        let policy = daemon.get("imagepolicy", "testservice").expect("it was loaded");
        (policy["status"]["latestRef"]["tag"] == NEWER).then_some(())
    });
    let table = daemon.kubectl(&["get", "imagepolicies", "-A"]);
    assert!(table.contains(NEWER), "{table}");

    let ended = daemon.stop();
    assert_eq!(
        (ended.code, ended.stderr.ends_with("stopped\n")),
        (Some(0), true),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("loaded: 5 objects"), "{}", ended.stdout);
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);
    world.fsck();
}

#[test]
fn a_daemon_that_was_stopped_or_killed_goes_on_where_it_was() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    daemon.wait_for("the first commit", |_| tag_on_branch(&world, TAGS[1]));
    daemon.stop();

    // The objects are its own now.
    let mut daemon = world.up(&[]);
    let pushed = |daemon: &mut Daemon<'_>| {
        let automation = daemon.get("imageupdateautomation", "dev").expect("it is kept");
        automation["status"]["lastPushCommit"].as_str().map(str::to_owned)
    };
    let first = daemon.wait_for("the status", pushed);
    assert_eq!(first, world.git(&["rev-parse", BRANCH]).trim());
    world.push(&[NEWER]);
    let request = "reconcile.fluxcd.io/requestedAt=now";
    daemon.kubectl(&["annotate", "imgrepo", "testservice", "-n", "flux-system", request]);
    daemon.wait_for("the second commit", |_| tag_on_branch(&world, NEWER));
    daemon.wait_for("its status", |daemon| pushed(daemon).filter(|commit| *commit != first));
    daemon.kill();

    let mut daemon = world.up(&[]);
    let request = "reconcile.fluxcd.io/requestedAt=later";
    daemon.kubectl(&["annotate", "imgupd", "dev", "-n", "flux-system", "--overwrite", request]);
    daemon.wait_for("a run after the kill", |daemon| {
        let automation = daemon.get("imageupdateautomation", "dev").expect("it is kept");
        (automation["status"]["lastHandledReconcileAt"] == "later").then_some(())
    });
    let tip = world.git(&["rev-parse", BRANCH]);
    assert_eq!(pushed(&mut daemon).as_deref(), Some(tip.trim()));
    assert_eq!(world.n_commits("dev..image-update-dev"), 2, "nothing is committed twice");
    daemon.stop();
    world.fsck();
}

#[test]
fn a_kubeconfig_is_private_outlives_restarts_and_opens_what_is_closed_without() {
    let world = World::of_the_loop();
    let kubeconfig = || fs::read_to_string(world.path("state/kubeconfig")).expect("a kubeconfig");
    let daemon = world.up(&[]);
    let mode = fs::metadata(world.path("state/kubeconfig")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (is_ok, text) = daemon.try_kubectl(&["get", "secrets", "-A", "--token", "wrong"]);
    assert!(!is_ok && text.contains("You must be logged in to the server"), "{text}");
    daemon.kubectl(&["get", "secrets", "-A"]);
    let without_address = |text: String| -> Vec<String> {
        text.lines().filter(|line| !line.contains("server:")).map(str::to_owned).collect()
    };
    let first = without_address(kubeconfig());

    let second = world.tagtide(&["up", "--state", "state", "--listen", "127.0.0.1:0"]).exits(1);
    assert!(second.stderr.contains("`state` is in use by another process"), "{}", second.stderr);

    daemon.stop();
    let daemon = world.up(&[]);
    assert_eq!(without_address(kubeconfig()), first);
    daemon.stop();
}

#[test]
fn changed_manifests_are_applied_and_removed_ones_delete_only_what_they_had_loaded() {
    let world = World::of_the_loop();
    let config = |name: &str, text: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {text}}}\n"
        )
    };
    let two = |text: &str| format!("{}---\n{}", config("a", text), config("b", text));
    world.write("manifests/two.yaml", &two("first"));
    world.write("manifests/one.yaml", &config("c", "first"));
    let mut daemon = world.up(&["manifests", "--watch"]);
    let value = |daemon: &mut Daemon<'_>, name: &str| {
        daemon.get("configmap", name).map(|object| object["data"]["k"].clone())
    };
    world.write(
        "mine.yaml",
        &config("mine", "first").replace("{name: mine}", "{name: mine, namespace: flux-system}"),
    );
    daemon.kubectl(&["create", "--validate=false", "-f", "mine.yaml"]);
    assert_eq!(value(&mut daemon, "a").expect("loaded"), "first");

    world.write("manifests/two.yaml", &config("a", "second"));
    daemon
        .wait_for("what is gone from a file", |daemon| value(daemon, "b").is_none().then_some(()));
    assert_eq!(value(&mut daemon, "a").expect("loaded"), "second");

    // What does not parse is not removed, and stops no other.
    let broken = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: [\n";
    world.write("manifests/two.yaml", broken);
    world.write("manifests/one.yaml", &config("c", "second"));
    daemon.wait_for("the other file", |daemon| {
        value(daemon, "c").is_some_and(|value| value == "second").then_some(())
    });
    assert_eq!(value(&mut daemon, "a").expect("its file is broken, not gone"), "second");

    fs::remove_file(world.path("manifests/one.yaml")).expect("a file");
    fs::remove_file(world.path("manifests/two.yaml")).expect("a file");
    for name in ["a", "c"] {
        daemon.wait_for("what its file took along", |daemon| {
            value(daemon, name).is_none().then_some(())
        });
    }
    assert!(daemon.get("configmap", "mine").is_some(), "nobody loaded it");
    assert!(daemon.get("imagepolicy", "testservice").is_some(), "its file is there");
    let ended = daemon.stop();
    assert!(ended.stderr.contains("two.yaml:"), "{}", ended.stderr);
}

#[test]
fn measurements_logs_and_listings_are_served_behind_the_token() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    daemon.wait_for("the status of the automation", |daemon| {
        let automation = daemon.get("imageupdateautomation", "dev")?;
        automation["status"]["lastPushCommit"].is_string().then_some(())
    });
    let raw = |path: &str| daemon.kubectl(&["get", "--raw", path]);
    let json = |path: &str| -> Value { serde_json::from_str(&raw(path)).expect("JSON") };

    let metrics = raw("/metrics");
    for expected in [
        "gotk_reconcile_duration_seconds_count{kind=\"ImagePolicy\",name=\"testservice\",namespace=\"flux-system\"}",
        "gotk_resource_info{customresource_group=\"image.toolkit.fluxcd.io\",customresource_kind=\"ImagePolicy\",customresource_version=\"v1\",exported_namespace=\"flux-system\",name=\"testservice\",ready=\"True\",suspended=\"false\",source_name=\"testservice\"} 1",
        "gotk_reconcile_condition{kind=\"ImageRepository\",name=\"testservice\",namespace=\"flux-system\",status=\"True\",type=\"Ready\"} 1",
        "controller_runtime_reconcile_total{controller=\"imagerepository\",result=\"requeue_after\"}",
        "workqueue_depth{controller=\"imagepolicy\",name=\"imagepolicy\",priority=\"\"} 0",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }

    let controllers = json("/tagtide/v1/controllers");
    let names: Vec<_> = controllers["controllers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|controller| {
            assert_eq!(controller["ready"], true, "{controller}");
            controller["name"].as_str().expect("a name").to_owned()
        })
        .collect();
    assert_eq!(
        names,
        ["source-controller", "image-reflector-controller", "image-automation-controller"]
    );

    let logs = raw("/tagtide/v1/logs");
    let scan = logs.lines().find(|line| line.contains("successful scan")).expect("it is logged");
    let scan: Value = serde_json::from_str(scan).expect("a line is JSON");
    assert_eq!(
        (&scan["level"], &scan["controllerKind"], &scan["ImageRepository"]["name"]),
        (&"info".into(), &"ImageRepository".into(), &"testservice".into())
    );
    assert_eq!(raw("/tagtide/v1/logs?tail=1").lines().count(), 1);

    let tags = json("/tagtide/v1/tags?namespace=flux-system&name=testservice");
    assert_eq!(tags["tags"], serde_json::json!([TAGS[1], TAGS[0]]));
    let (is_ok, text) = daemon.try_kubectl(&["get", "--raw", "/metrics", "--token", "wrong"]);
    assert!(!is_ok, "{text}");
}

#[test]
fn a_source_is_an_archive_to_fetch_and_news_are_sent() {
    let world = World::of_the_loop();
    let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
    let hearing = Arc::clone(&heard);
    let hear = move |body: axum::Json<Value>| {
        hearing.lock().expect("no test panics with it").push(body.0);
        std::future::ready(())
    };
    let listener = HttpServer::start(axum::Router::new().fallback(axum::routing::post(hear)), None);
    let url = listener.url().as_str();
    let mut daemon =
        world.up(&["manifests", "--storage-addr", "127.0.0.1:0", "--events-addr", url]);
    let artifact = daemon.wait_for("the artifact", |daemon| {
        let source = daemon.get("gitrepository", "flux-system-write")?;
        Some(source["status"]["artifact"].clone()).filter(Value::is_object)
    });
    let url = artifact["url"].as_str().expect("an address");
    let archive = get(url);
    assert_eq!(artifact["size"], archive.len());
    let digest: String =
        Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(artifact["digest"], format!("sha256:{digest}"));
    let path = artifact["path"].as_str().expect("a path");
    let key = url.split('/').nth(3).expect("a part that nobody guesses");
    assert!(key.len() == 32 && url.ends_with(&format!("/{key}/{path}")), "{url}");

    let event = daemon.wait_for("the event", |_| {
        let heard = heard.lock().expect("no test panics with it");
        heard.iter().find(|event| event["reason"] == "NewArtifact").cloned()
    });
    let tip = world.git(&["rev-parse", "dev"]);
    let revision = format!("dev@sha1:{}", tip.trim());
    assert_eq!(artifact["revision"], revision);
    assert_eq!(event["severity"], "info");
    assert_eq!(event["reportingController"], "source-controller");
    assert_eq!(event["involvedObject"]["kind"], "GitRepository");
    assert_eq!(event["involvedObject"]["name"], "flux-system-write");
    assert_eq!(event["metadata"]["source.toolkit.fluxcd.io/revision"], revision);
    assert!(
        event["message"].as_str().expect("a message").starts_with("stored artifact for commit")
    );
    daemon.wait_for("the event of the push", |_| {
        let heard = heard.lock().expect("no test panics with it");
        let pushed = |event: &&Value| {
            let message = event["message"].as_str().unwrap_or_default();
            message.starts_with("pushed commit '")
                && event["reportingController"] == "image-automation-controller"
        };
        heard.iter().find(pushed).map(|_| ())
    });
    daemon.stop();
}

#[test]
fn one_poisoned_object_among_a_thousand_harms_no_other() {
    let world = World::of_the_loop();
    let policy = |name: &str, pattern: &str| {
        format!(
            "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {{name: {name}}}\n\
             spec:\n  imageRepositoryRef: {{name: testservice}}\n  filterTags: {{pattern: '{pattern}'}}\n  \
             policy: {{alphabetical: {{}}}}\n---\n"
        )
    };
    let many = (0..998).map(|n| policy(&format!("p{n}"), "^branch-dev-"));
    let poisoned = policy("poisoned", "^(");
    // The API itself refuses this one.
    let refused = policy("refused", "x").replace("{}", "{order: sideways}");
    world.write("manifests/many.yaml", &(many.collect::<String>() + &poisoned + &refused));
    let mut daemon = world.up(&["manifests"]);
    let is_chosen = |policy: &Value| policy["status"]["latestRef"]["tag"] == TAGS[1];
    // One at a time is asked for: a thousand at once are a burden of their own.
    for n in (0..998).step_by(100) {
        daemon.wait_for("a policy", |daemon| {
            let policy = daemon.get("imagepolicy", &format!("p{n}"))?;
            is_chosen(&policy).then_some(())
        });
    }
    let policies = daemon.wait_for("all policies", |daemon| {
        let text = daemon.kubectl(&["get", "imagepolicies", "-n", "flux-system", "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        let items = list["items"].as_array().expect("a list").clone();
        (items.iter().filter(|policy| is_chosen(policy)).count() == 999).then_some(items)
    });
    assert_eq!(policies.len(), 1000, "the refused one is not there");
    let poisoned = daemon.wait_for("its status", |daemon| {
        let policy = daemon.get("imagepolicy", "poisoned").expect("it was loaded");
        let conditions = policy["status"]["conditions"].as_array()?.clone();
        conditions.into_iter().find(|condition| condition["type"] == "Ready")
    });
    assert_eq!(
        (&poisoned["status"], &poisoned["reason"]),
        (&"False".into(), &"InvalidPolicy".into())
    );
    daemon.wait_for("the commit", |_| tag_on_branch(&world, TAGS[1]));
    let ended = daemon.stop();
    assert!(ended.stderr.contains("ImagePolicy flux-system/refused"), "{}", ended.stderr);
}
