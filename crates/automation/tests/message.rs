//! Commit messages are those of Flux.

use std::collections::BTreeMap;
use std::io::Read as _;

use automation::message::{MessageChange, MessageData, MessageObject, check, render};
use serde_json::Value as Json;

/// Vectors in the file.
const RECORDS: usize = 702;

#[test]
fn every_recorded_template_gives_what_flux_gives() {
    let packed: &[u8] = include_bytes!("golden/gotmpl_iac.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("the file is sound");
    let (mut n_records, mut failures) = (0, Vec::new());
    for line in text.lines() {
        let record: Json = serde_json::from_str(line).expect("a record");
        n_records += 1;
        let template = record["tpl"].as_str().unwrap_or_default();
        let got =
            with_data(&record["data"], |data| render(template, data)).map_err(|e| e.to_string());
        let want = match record["err"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(record["out"].as_str().unwrap_or_default().to_owned()),
        };
        if got != want {
            failures.push(format!("{template:?}\n  want {want:?}\n  got  {got:?}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(n_records, RECORDS);
}

#[test]
fn a_template_that_cannot_be_parsed_is_found_without_data() {
    assert!(check("{{ .Changed.Changes }}").is_ok());
    let error = check("{{ if }}").expect_err("nothing to test");
    expect_test::expect![[
        r#"unable to create commit message template from spec: template: commit message:1: missing value for if"#
    ]]
    .assert_eq(&error.to_string());
}

fn with_data<T>(json: &Json, then: impl FnOnce(&MessageData<'_>) -> T) -> T {
    let mut changes = Vec::new();
    for (file, objects) in json["FileChanges"].as_object().expect("files") {
        for object in objects.as_array().expect("objects") {
            for change in object["changes"].as_array().expect("changes") {
                changes.push(MessageChange {
                    file,
                    object: MessageObject {
                        api_version: text(object, "APIVersion"),
                        kind: text(object, "Kind"),
                        name: text(object, "Name"),
                        namespace: text(object, "Namespace"),
                    },
                    old: text(change, "OldValue"),
                    new: text(change, "NewValue"),
                    setter: text(change, "Setter"),
                });
            }
        }
    }
    let values: Option<BTreeMap<String, String>> = json["Values"].as_object().map(|values| {
        values.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
    });
    let automation = &json["AutomationObject"];
    then(&MessageData {
        namespace: text(automation, "Namespace"),
        name: text(automation, "Name"),
        changes: &changes,
        values: values.as_ref(),
    })
}

fn text<'j>(json: &'j Json, key: &str) -> &'j str {
    json[key].as_str().expect("a text")
}
