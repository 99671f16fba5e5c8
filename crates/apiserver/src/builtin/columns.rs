//! What tables show of the built-in kinds.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    age,
    object::{name, text},
    table::Column,
};

/// Returns the columns of a built-in kind.
pub(super) fn of(kind: &str) -> Vec<Column> {
    let middle = match kind {
        "Namespace" => vec![Column::computed(
            "Status",
            "string",
            0,
            "Whether the namespace lives or is going.",
            |namespace, _| namespace["status"]["phase"].clone(),
        )],
        "Secret" => vec![
            Column::computed("Type", "string", 0, "What the data means.", |secret, _| {
                secret["type"].clone()
            }),
            Column::computed("Data", "string", 0, "Number of keys.", |secret, _| {
                json!(size(&secret["data"]))
            }),
        ],
        "ConfigMap" => vec![Column::computed("Data", "string", 0, "Number of keys.", |map, _| {
            json!(size(&map["data"]) + size(&map["binaryData"]))
        })],
        "Event" => return event(),
        "CustomResourceDefinition" => {
            let created = Column::computed(
                "Created At",
                "date",
                0,
                "When it was created.",
                |definition, _| json!(text(definition, "creationTimestamp")),
            );
            return vec![Column::name(), created];
        }
        _ => Vec::new(),
    };
    [vec![Column::name()], middle, vec![Column::age()]].concat()
}

fn size(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

/// Returns the columns of events, as the core group stores them.
fn event() -> Vec<Column> {
    vec![
        Column::computed("Last Seen", "string", 0, "When it was last seen.", last_seen),
        Column::computed("Type", "string", 0, "Normal or Warning.", |event, _| {
            event["type"].clone()
        }),
        Column::computed("Reason", "string", 0, "Why, as one word.", |event, _| {
            event["reason"].clone()
        }),
        Column::computed("Object", "string", 0, "What it is about.", |event, _| {
            let about = either(event, "involvedObject", "regarding");
            let kind = about["kind"].as_str().unwrap_or_default().to_lowercase();
            match about["name"].as_str() {
                Some(name) if !name.is_empty() => json!(format!("{kind}/{name}")),
                _ => json!(kind),
            }
        }),
        Column::computed("Subobject", "string", 1, "Which field of it.", |event, _| {
            let about = either(event, "involvedObject", "regarding");
            json!(about["fieldPath"].as_str().unwrap_or_default())
        }),
        Column::computed("Source", "string", 1, "Who tells it.", source),
        Column::computed("Message", "string", 0, "What happened.", |event, _| {
            json!(either(event, "message", "note").as_str().unwrap_or_default().trim())
        }),
        Column::computed("First Seen", "string", 1, "When it was first seen.", first_seen),
        Column::computed("Count", "string", 1, "How often it was seen.", |event, _| {
            let series = &event["series"]["count"];
            let count = if series.is_null() {
                either(event, "count", "deprecatedCount").as_i64().unwrap_or_default().max(1)
            } else {
                series.as_i64().unwrap_or_default()
            };
            json!(count)
        }),
        Column::computed("Name", "string", 1, "Name of the event.", |event, _| json!(name(event))),
    ]
}

/// Returns a field by the name that the one kind of events has for it, or the other.
fn either<'a>(event: &'a Value, core: &str, events: &str) -> &'a Value {
    if event[core].is_null() { &event[events] } else { &event[core] }
}

fn moment(value: &Value) -> Option<&str> {
    value.as_str().filter(|moment| !moment.is_empty())
}

fn first_seen(event: &Value, now: Timestamp) -> Value {
    let first = moment(either(event, "firstTimestamp", "deprecatedFirstTimestamp"));
    let first = first.or_else(|| moment(&event["eventTime"]));
    json!(age::since(first.unwrap_or_default(), now))
}

fn last_seen(event: &Value, now: Timestamp) -> Value {
    let last = moment(&event["series"]["lastObservedTime"])
        .or_else(|| moment(either(event, "lastTimestamp", "deprecatedLastTimestamp")));
    match last {
        Some(last) => json!(age::since(last, now)),
        None => first_seen(event, now),
    }
}

fn source(event: &Value, _now: Timestamp) -> Value {
    let source = either(event, "source", "deprecatedSource");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut component = text(&source["component"]);
    let mut host = text(&source["host"]);
    if component.is_empty() {
        component = text(either(event, "reportingComponent", "reportingController"));
        host = text(&event["reportingInstance"]);
    }
    json!(if host.is_empty() { component } else { format!("{component}, {host}") })
}
