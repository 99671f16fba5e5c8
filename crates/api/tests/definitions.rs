//! The definitions and the types say the same.

use std::collections::BTreeSet;

use api::{
    Kind,
    image::{ImagePolicy, ImageRepository, ImageUpdateAutomation},
    source::GitRepository,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

#[test]
fn every_field_of_a_definition_is_a_field_of_its_type_and_back() {
    check::<GitRepository>(Kind::GitRepository);
    check::<ImageRepository>(Kind::ImageRepository);
    check::<ImagePolicy>(Kind::ImagePolicy);
    check::<ImageUpdateAutomation>(Kind::ImageUpdateAutomation);
}

#[test]
fn names_are_those_of_the_table() {
    for (kind, text) in Kind::ALL.into_iter().zip(api::crds()) {
        let definition = read(text);
        let names = kind.names();
        let expected = json!({
            "kind": names.kind,
            "listKind": format!("{}List", names.kind),
            "plural": names.plural,
            "singular": names.singular,
            "shortNames": names.short_names,
            "categories": names.categories,
        });
        assert_eq!(definition["spec"]["names"], expected);
        assert_eq!(definition["spec"]["group"], names.group);
        assert_eq!(definition["spec"]["versions"][0]["name"], names.version);
        assert_eq!(definition["metadata"]["name"], format!("{}.{}", names.plural, names.group));
    }
}

#[test]
fn every_field_is_described() {
    for (kind, text) in Kind::ALL.into_iter().zip(api::crds()) {
        check_described(schema(&read(text)), kind.as_str());
    }
}

/// Fills every field that the definition knows, and looks for it behind the type; then asks the
/// definition for every field that the type writes.
#[track_caller]
fn check<T: Serialize + DeserializeOwned>(kind: Kind) {
    let text = api::crds()[Kind::ALL.iter().position(|k| *k == kind).expect("one of all")];
    let definition = read(text);
    let mut full = example(schema(&definition), "x");
    full["apiVersion"] = json!(kind.api_version());
    full["kind"] = json!(kind.as_str());
    full["metadata"] = json!({"name": "x"});
    let typed: T = serde_json::from_value(full.clone()).expect("the type takes every field");
    let again = serde_json::to_value(typed).expect("the type is JSON");
    assert_eq!(again, full, "{kind}");
    // What the type writes is in the definition: a field that the example lacks cannot be written,
    // so compare with the fields that deserialisation knows.
    for part in ["spec", "status"] {
        let known = keys(&schema(&definition)["properties"][part]["properties"]);
        assert_eq!(known, keys(&again[part]), "{kind} {part}");
    }
}

fn example(schema: &Value, name: &str) -> Value {
    match schema["type"].as_str() {
        Some("object") if schema["additionalProperties"].is_object() => {
            json!({"key": example(&schema["additionalProperties"], "key")})
        }
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let fields = properties.map(|(name, schema)| (name.clone(), example(schema, name)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Some("array") => json!([example(&schema["items"], name)]),
        Some("string") if schema["format"] == "date-time" => json!("2026-01-02T03:04:05Z"),
        Some("string") => json!(name),
        Some("integer") => json!(7),
        Some("boolean") => json!(true),
        other => panic!("unexpected type {other:?} of {name}"),
    }
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn check_described(schema: &Value, path: &str) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if name != "metadata" {
            let description = schema["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{path} needs a description");
        }
        check_described(schema, &path);
        check_described(&schema["items"], &path);
        check_described(&schema["additionalProperties"], &path);
    }
}

fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn read(text: &str) -> Value {
    let mut documents = yaml::documents(text.as_bytes()).into_iter();
    let document = documents.next().expect("one document").expect("sound YAML");
    assert!(documents.next().is_none(), "one document");
    document.value
}
