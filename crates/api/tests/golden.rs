//! Recorded results of the real libraries and objects of a real cluster.

#![expect(clippy::disallowed_methods, reason = "a test reads its golden file")]

use std::{fs::File, io::Read};

use api::{
    Kind, Reference, Repository, TagList,
    image::{ImagePolicy, ImageRepository, ImageUpdateAutomation},
    image_ref::{Identifier, Reading},
    source::GitRepository,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// More than the largest of the files, unpacked.
const GOLDEN_MAX: u64 = 64 << 20;

#[test]
fn image_references_are_read_as_flux_reads_them() {
    for record in records("imageref") {
        let text = record["ref"].as_str().expect("a text");
        for (how, insecure) in [("irc", false), ("irc_insecure", true)] {
            assert_eq!(show_image(text, insecure), record[how], "{how} of {text:?}");
        }
        for (how, reading) in [("weak", Reading::Weak), ("strict", Reading::Strict)] {
            let result = match Reference::parse(text, reading) {
                Ok(reference) => show(text, &reference, false),
                Err(error) => json!({"err": error.to_string()}),
            };
            assert_eq!(result, record[how], "{how} of {text:?}");
        }
        let repository = match Repository::parse(text, Reading::Weak) {
            Ok(repository) => json!(repository.canonical()),
            Err(error) => json!({"err": error.to_string()}),
        };
        assert_eq!(repository, record["new_repository"], "new_repository of {text:?}");
    }
}

#[test]
fn lists_have_fluxs_order_count_and_revision() {
    let mut n_lists = 0;
    for record in records("scan") {
        let Some(stored) = record["stored"].as_array() else {
            continue;
        };
        // Which tags are excluded is decided elsewhere; the order in which the rest came is not kept.
        let mut list: TagList = stored.iter().rev().map(|t| t.as_str().expect("a tag")).collect();
        list.sort_descending();
        assert_eq!(json!(list.iter().collect::<Vec<_>>()), record["stored"]);
        assert_eq!(json!(list.len()), record["tagCount"]);
        assert_eq!(json!(list.latest(10)), *record.get("latestTags").unwrap_or(&json!([])));
        assert_eq!(json!(list.revision()), record["revision_fluxstorage"]);
        n_lists += 1;
    }
    assert_eq!(n_lists, 356);
}

#[test]
fn objects_of_a_cluster_survive_our_types() {
    for object in records("three-environments.objects") {
        check_round_trip(object);
    }
    for record in records("failures") {
        let mut object = record["object"].clone();
        let kind = object["kind"].as_str().expect("a kind");
        let kind: Kind = kind.parse().expect("one of ours");
        object["apiVersion"] = json!(kind.api_version());
        let name = object.as_object_mut().and_then(|o| o.remove("name"));
        object["metadata"] = json!({"name": name, "namespace": "flux-system"});
        object["status"] = record["status"].clone();
        check_round_trip(object);
    }
}

#[track_caller]
fn check_round_trip(object: Value) {
    let again = match object["kind"].as_str() {
        Some("GitRepository") => round_trip::<GitRepository>(&object),
        Some("ImageRepository") => round_trip::<ImageRepository>(&object),
        Some("ImagePolicy") => round_trip::<ImagePolicy>(&object),
        Some("ImageUpdateAutomation") => round_trip::<ImageUpdateAutomation>(&object),
        other => panic!("unexpected kind {other:?}"),
    };
    assert_eq!(again, object);
}

#[track_caller]
fn round_trip<T: Serialize + DeserializeOwned>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).expect("the types hold the object");
    serde_json::to_value(typed).expect("the types are JSON")
}

fn show_image(text: &str, insecure: bool) -> Value {
    match text.parse::<Repository>() {
        Ok(repository) => {
            let identifier = Identifier::Tag("latest".to_owned());
            show(text, &Reference { repository, identifier }, insecure)
        }
        Err(error) => json!({"err": error.to_string()}),
    }
}

fn show(text: &str, reference: &Reference, insecure: bool) -> Value {
    let repository = &reference.repository;
    json!({
        "name": reference.to_string(),
        "string": text,
        "registry": repository.registry(),
        "repository": repository.path(),
        "canonical": repository.canonical(),
        "scheme": if repository.may_use_http(insecure) { "http" } else { "https" },
        "identifier": reference.identifier.as_str(),
        "kind": match reference.identifier {
            Identifier::Tag(_) => "tag",
            Identifier::Digest(_) => "digest",
        },
    })
}

fn records(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/golden/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let file = File::open(&path).expect("the golden file is there");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .take(GOLDEN_MAX)
        .read_to_string(&mut text)
        .expect("the golden file is compressed UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}
