//! Objects that are wrong in one way each: what Flux leaves of them, and what is left here.

use std::{collections::BTreeMap, io::Read, sync::Arc, time::Duration};

use controllers::Settings;
use serde_json::{Value, json};

use super::world::World;

/// Where something else than Flux's conditions is meant, by object and reason; the same as in
/// `docs/differences.md`.
const DIFFERENCES: &[(&str, &str)] = &[
    ("ImageRepository/awsgeneric", "a provider that is not supported yet is refused"),
    ("ImageUpdateAutomation/nokey", "signing is not supported yet and is refused"),
    ("ImageUpdateAutomation/badspec", "a refspec that is none is told before it is needed"),
    ("ImagePolicy/notnumber", "all values that are no numbers are named, not one of them"),
];

/// Messages that the contract does not fix, or that name what differs by design: the checksum, the
/// words of HTTP clients, temporary folders.
const OTHER_MESSAGES: &[&str] = &[
    "ImageRepository/ok",
    "ImageRepository/missing",
    "ImageRepository/refused",
    "GitRepository/fleet",
    "GitRepository/nobranch",
    "GitRepository/norepo",
    "ImageUpdateAutomation/badbranch",
    "ImageUpdateAutomation/badpath",
];

fn records() -> Vec<Value> {
    let packed: &[u8] = include_bytes!("../golden/failures.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("it unpacks");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// The registry and the Git host that the recorded objects name.
fn world(records: &[Value]) -> World {
    let world = World::with_artifacts();
    for tag in [
        "release-1.2.0",
        "release-1.10.1-rc.1",
        "release-1.10.0",
        "latest",
        "branch-staging-1715555000-a12b34c",
        "branch-dev-1715557000-f12a34b",
        "branch-dev-1715556000-b45d67e",
        "branch-dev-1715555000-a12b34c",
    ] {
        world.registry.push("envs", tag);
    }
    // Nothing listens on port 1.
    world.registry.intercept(|request| {
        let host = request.headers.get("host").and_then(|host| host.to_str().ok());
        let host = host.or(request.uri.authority().map(|authority| authority.as_str()));
        (host == Some("127.0.0.1:1"))
            .then(|| axum::response::IntoResponse::into_response(axum::http::StatusCode::NOT_FOUND))
    });
    world.repository("envs", "main", &[("apps/dev/core.yaml", "a: b\n")]);
    world.apply(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: envs, namespace: envs}
spec: {image: '127.0.0.1:5001/envs', interval: 1h}
",
    );
    for record in records.iter().filter(|record| record.get("apply_error").is_none()) {
        let object = &record["object"];
        let group = match object["kind"].as_str() {
            Some("GitRepository") => "source.toolkit.fluxcd.io/v1",
            _ => "image.toolkit.fluxcd.io/v1",
        };
        let object = json!({
            "apiVersion": group,
            "kind": object["kind"],
            "metadata": {"name": object["name"], "namespace": "broken"},
            "spec": object["spec"],
        });
        world.server.load(&object).expect("the API of Flux accepted it");
    }
    world
}

#[tokio::test(start_paused = true)]
async fn conditions_are_those_of_flux() {
    let records = records();
    let world = world(&records);
    let driver = Arc::new(world.driver(Settings::default()));
    world.run_for(&driver, Duration::from_secs(25)).await;
    let mut wrong = String::new();
    let mut n_compared = 0;
    for record in records.iter().filter(|record| record.get("apply_error").is_none()) {
        let (kind, name) = (text(&record["object"]["kind"]), text(&record["object"]["name"]));
        let id = format!("{kind}/{name}");
        let found = world.get(kind, "broken", name).await;
        let with_messages = !OTHER_MESSAGES.contains(&id.as_str());
        let ours = summary(&found["status"], with_messages);
        let flux = summary(&record["status"], with_messages);
        let is_listed = DIFFERENCES.iter().any(|(other, _)| *other == id);
        n_compared += 1;
        if (ours == flux) == is_listed {
            wrong.push_str(&format!(
                "{id} (listed: {is_listed})\nflux: {flux:#?}\nours: {ours:#?}\n"
            ));
        }
    }
    assert!(n_compared > 30, "only {n_compared} records");
    assert!(wrong.is_empty(), "{wrong}");
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Condition type → status, reason, generation and, where fixed, message; and the observed
/// generation.
fn summary(status: &Value, with_messages: bool) -> BTreeMap<String, String> {
    let mut summary = BTreeMap::new();
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let [type_, truth, reason] = ["type", "status", "reason"].map(|f| text(&condition[f]));
        let message = if with_messages { text(&condition["message"]) } else { "" };
        let generation = &condition["observedGeneration"];
        summary.insert(type_.to_owned(), format!("{truth} {reason} {generation} {message}"));
    }
    summary.insert("observedGeneration".to_owned(), status["observedGeneration"].to_string());
    summary
}
