//! Objects are accepted, completed and refused as by the real API machinery.

use std::{fs::File, io::Read as _};

use apiserver::Server;
use clock::Clock;
use serde_json::Value;

/// More than the file holds, unpacked.
const GOLDEN_MAX: u64 = 16 << 20;

#[test]
fn objects_are_judged_as_by_the_real_thing() {
    for record in records() {
        let server = Server::in_memory(Clock::real());
        server.install_yaml(include_str!("widgets.yaml")).expect("a sound definition");
        if record["old"].is_object() {
            server.load(&record["old"]).expect("the old object is sound");
        }
        let object = &record["object"];
        match (server.load(object), record["error"].as_str()) {
            (Ok(loaded), None) => {
                assert_eq!(loaded.get("spec"), record["after"].get("spec"), "{object}")
            }
            (Err(error), Some(expected)) => {
                assert_eq!(sentences(&error.to_string()), sentences(expected), "{object}");
            }
            (Ok(loaded), Some(expected)) => panic!("{loaded} should be refused: {expected}"),
            (Err(error), None) => panic!("{object} should be accepted: {error}"),
        }
    }
}

/// Splits a message into its errors and sorts them: the real thing tells them in any order.
fn sentences(message: &str) -> Vec<String> {
    let message = message.replace(", spec", "\nspec").replace(", <nil>", "\n<nil>");
    let message = message.replace("is invalid: ", "is invalid:\n");
    let mut lines: Vec<String> =
        message.lines().map(|line| line.trim_matches(['[', ']']).to_owned()).collect();
    lines.sort();
    lines
}

fn records() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/validation.jsonl.gz");
    let file = File::open(path).expect("the golden file is there");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .take(GOLDEN_MAX)
        .read_to_string(&mut text)
        .expect("the golden file is compressed UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}
