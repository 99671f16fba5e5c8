//! The recorded session against a real cluster, on our own API.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::world::{Desk, Said, World, golden};

/// Recorded invocations that are not answered as recorded, and why.
const OTHERWISE: [(&str, &str); 4] = [
    ("get kustomizations", "not yet"),
    ("get helmreleases", "not yet"),
    ("tree kustomization", "not yet"),
    ("trace deployment", "not yet"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_session_is_answered_as_by_flux() {
    let (desk, world) = (Desk::new(), World::new().await);
    let kubeconfig = desk.kubeconfig("home/.kube/config", &world.url());
    assert!(kubeconfig.exists());
    let mut n_otherwise = BTreeMap::new();
    for record in golden("real.jsonl.gz") {
        let args: Vec<String> = serde_json::from_value(record["args"].clone()).expect("arguments");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let line = args.join(" ");
        let mut recorded = Said::recorded(&record);
        if line.starts_with("events --for ImagePolicy") {
            recorded = tell(&world, recorded).await;
        }
        let said = desk.run("flux", &args).await;
        if let Some((_, why)) = OTHERWISE.iter().find(|(command, _)| line.starts_with(command)) {
            assert_eq!(said.exit, 1, "{line}: {said:?}");
            assert!(said.stderr.contains("is not yet supported"), "{line}: {said:?}");
            *n_otherwise.entry(*why).or_insert(0) += 1;
            continue;
        }
        assert_eq!(said.map(anonymous), recorded.map(anonymous), "{line}");
    }
    assert_eq!(n_otherwise, BTreeMap::from([("not yet", 4)]));
}

/// Makes the events of a recorded table, each as long ago as it says, in days instead of seconds; returns the table so.
async fn tell(world: &World, recorded: Said) -> Said {
    let api = Api::<Event>::namespaced(world.client.clone(), "envs");
    let now = Timestamp::now();
    for (n, line) in recorded.stdout.lines().skip(1).enumerate() {
        let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [seen, type_, reason, object, message, _] = cells[..] else { panic!("{line}") };
        let (kind, name) = object.split_once('/').expect("an object");
        let days = |text: &str| {
            let days: i64 = text.trim_end_matches('s').parse().expect("a number");
            now - SignedDuration::from_hours(24 * days)
        };
        let (count, first, last) = match seen.split_once(" (x") {
            None => (1, days(seen), days(seen)),
            Some((last, rest)) => {
                let (count, first) = rest.split_once(" over ").expect("a span");
                (count.parse().expect("a count"), days(first.trim_end_matches(')')), days(last))
            }
        };
        let event = json!({
            "metadata": {"name": format!("event-{n}"), "namespace": "envs"},
            "involvedObject": {"kind": kind, "name": name, "namespace": "envs"},
            "type": type_, "reason": reason, "message": message, "count": count,
            "firstTimestamp": first.to_string(), "lastTimestamp": last.to_string(),
        });
        let event: Event = serde_json::from_value(event).expect("an event");
        api.create(&PostParams::default(), &event).await.expect("a new event");
    }
    let in_days = |line: &str| {
        let (seen, rest) = line.split_once('\t').expect("a row");
        let seen = if seen.starts_with("LAST") { seen.to_owned() } else { seen.replace('s', "d") };
        format!("{seen}\t{rest}\n")
    };
    Said { stdout: recorded.stdout.lines().map(in_days).collect(), ..recorded }
}

/// Returns a text without what is of its own run: times and the server's version.
fn anonymous(text: &str) -> String {
    let time = regex_like_time;
    let mut anonymous = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match time(rest) {
            Some(length) => {
                anonymous += "TIME";
                rest = &rest[length..];
            }
            None => {
                anonymous.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    let version = |line: &str| match line.strip_prefix("✔ Kubernetes ") {
        Some(_) => "✔ Kubernetes VERSION".to_owned(),
        None => line.to_owned(),
    };
    anonymous.split('\n').map(version).collect::<Vec<_>>().join("\n")
}

/// Returns how long a time at the start of the text is, as in `2026-11-22T21:02:49.123Z`.
fn regex_like_time(text: &str) -> Option<usize> {
    let shape = "dddd-dd-ddTdd:dd:dd";
    let matches = text.len() > shape.len()
        && shape.bytes().zip(text.bytes()).all(|(shape, byte)| match shape {
            b'd' => byte.is_ascii_digit(),
            shape => shape == byte,
        });
    let rest = text.get(shape.len()..).filter(|_| matches)?;
    let fraction = rest
        .strip_prefix('.')
        .map_or(0, |rest| 1 + rest.bytes().take_while(u8::is_ascii_digit).count());
    rest[fraction..].starts_with('Z').then_some(shape.len() + fraction + 1)
}

/// JSON and YAML hold the objects themselves.
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_printed_whole_by_our_own_name() {
    let (desk, world) = (Desk::new(), World::new().await);
    let kubeconfig = desk.kubeconfig("kubeconfig", &world.url());
    let kubeconfig = kubeconfig.to_str().expect("a path");
    let get = async |line: &str| {
        let mut args: Vec<&str> = line.split(' ').collect();
        args.extend(["--kubeconfig", kubeconfig, "-n", "envs"]);
        let said = desk.run("tagtide", &args).await;
        assert_eq!((said.exit, said.stderr.as_str()), (0, ""), "{line}");
        said.stdout
    };
    let one: Value =
        serde_json::from_str(&get("get images policy dev -o json").await).expect("JSON");
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&"ImagePolicy".into(), &"dev".into()));
    assert_eq!(one["status"]["latestRef"]["tag"], "branch-dev-1715557000-f12a34b");
    let all: Value = serde_json::from_str(&get("get all -o json").await).expect("JSON");
    assert_eq!(all["items"].as_array().map(Vec::len), Some(8));
    let text = get("get images all -o yaml").await;
    let documents = yaml::documents(text.as_bytes());
    let document = documents.into_iter().next().expect("a document").expect("YAML");
    assert_eq!(document.value["items"].as_array().map(Vec::len), Some(7));
    let selected = get("get images policy -o json --status-selector ready!=false -l env=dev").await;
    let selected: Value = serde_json::from_str(&selected).expect("JSON");
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
}
