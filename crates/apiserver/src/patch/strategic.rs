//! Strategic merge patches: merge patches that know which lists are merged, and by what.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    schema::{PatchStrategy, Schema, Shape},
    status::Status,
};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Changes an object.
pub(super) fn apply(
    object: &mut Value,
    patch: &Map<String, Value>,
    schema: Option<&Schema>,
) -> Result<(), Status> {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    merge_map(&mut fields, patch, Shape::Root(schema))?;
    *object = Value::Object(fields);
    Ok(())
}

fn merge_map(
    fields: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    shape: Shape<'_>,
) -> Result<(), Status> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *fields = patch.clone();
            fields.remove(DIRECTIVE);
            return Ok(());
        }
        Some("delete") => {
            fields.clear();
            return Ok(());
        }
        Some(other) => {
            return Err(Status::bad_request(format!("unknown patch type found: {other}")));
        }
    }
    if let Some(kept) = patch.get(RETAIN_KEYS) {
        let kept = kept.as_array().map(Vec::as_slice).unwrap_or_default();
        fields.retain(|name, _| kept.iter().any(|kept| kept == name));
    }
    for (name, value) in patch {
        if let Some(name) = name.strip_prefix(DELETE_FROM) {
            delete_from(fields, name, value);
        } else if !name.starts_with('$') {
            merge_field(fields, name, value, shape.field(name))?;
        }
    }
    for (name, order) in patch {
        if let Some(name) = name.strip_prefix(SET_ORDER)
            && let (Some(Value::Array(items)), Some(order)) =
                (fields.get_mut(name), order.as_array())
        {
            let strategy = shape.field(name).schema().and_then(Schema::patch_strategy);
            sort(items, order, strategy);
        }
    }
    Ok(())
}

fn merge_field(
    fields: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    shape: Shape<'_>,
) -> Result<(), Status> {
    let strategy = shape.schema().and_then(Schema::patch_strategy);
    match (value, strategy) {
        (Value::Null, _) => {
            fields.remove(name);
        }
        (Value::Object(patch), _) => {
            // What is new loses its directives too.
            let mut old = match fields.remove(name) {
                Some(Value::Object(old)) => old,
                _ => Map::new(),
            };
            merge_map(&mut old, patch, shape)?;
            fields.insert(name.to_owned(), Value::Object(old));
        }
        (Value::Array(patch), Some(strategy)) => {
            let old = match fields.remove(name) {
                Some(Value::Array(old)) => old,
                _ => Vec::new(),
            };
            let merged = match strategy {
                PatchStrategy::Union => union(old, patch),
                PatchStrategy::MergeBy(key) => merge_items(old, patch, key, shape.item())?,
            };
            fields.insert(name.to_owned(), Value::Array(merged));
        }
        _ => {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    Ok(())
}

fn delete_from(fields: &mut Map<String, Value>, name: &str, gone: &Value) {
    let gone = gone.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(Value::Array(items)) = fields.get_mut(name) {
        items.retain(|item| !gone.contains(item));
    }
}

fn union(mut items: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    for item in patch {
        if !items.contains(item) {
            items.push(item.clone());
        }
    }
    items
}

fn merge_items(
    old: Vec<Value>,
    patch: &[Value],
    key: &str,
    shape: Shape<'_>,
) -> Result<Vec<Value>, Status> {
    let is = |item: &Value, directive: &str| item[DIRECTIVE] == directive;
    // One item that says so replaces the whole list.
    let replaces = patch.iter().any(|item| is(item, "replace"));
    let mut items = if replaces { Vec::new() } else { old };
    for change in patch.iter().filter(|item| !is(item, "replace")) {
        let Some(id) = change.get(key) else {
            return Err(Status::bad_request(format!(
                "map: {change} does not contain declared merge key: {key}"
            )));
        };
        let position = items.iter().position(|item| item.get(key) == Some(id));
        if is(change, "delete") {
            items.retain(|item| item.get(key) != Some(id));
            continue;
        }
        let change = change.as_object().cloned().unwrap_or_default();
        let mut merged = match position {
            Some(position) => items[position].as_object().cloned().unwrap_or_default(),
            None => Map::new(),
        };
        merge_map(&mut merged, &change, shape)?;
        match position {
            Some(position) => items[position] = Value::Object(merged),
            None => items.push(Value::Object(merged)),
        }
    }
    Ok(items)
}

/// Sorts the items that the order names by it; the others stay behind what stood before them.
fn sort(items: &mut Vec<Value>, order: &[Value], strategy: Option<&PatchStrategy>) {
    let id = |item: &Value| match strategy {
        Some(PatchStrategy::MergeBy(key)) => item.get(key).cloned().unwrap_or_default().to_string(),
        Some(PatchStrategy::Union) | None => item.to_string(),
    };
    let ranks: BTreeMap<String, usize> =
        order.iter().enumerate().map(|(rank, item)| (id(item), rank)).collect();
    let stood: BTreeMap<String, usize> =
        items.iter().enumerate().map(|(position, item)| (id(item), position)).collect();
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.drain(..).partition(|item| ranks.contains_key(&id(item)));
    named.sort_by_key(|item| ranks.get(&id(item)).copied());
    let mut others = others.into_iter().peekable();
    for item in named {
        while let Some(other) =
            others.next_if(|other| stood.get(&id(other)) < stood.get(&id(&item)))
        {
            items.push(other);
        }
        items.push(item);
    }
    items.extend(others);
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::apply;
    use crate::{schema::Schema, status::Status};

    #[test]
    fn lists_are_merged_by_their_key() {
        check(
            json!({"parts": [{"name": "a", "n": 1}, {"name": "b"}]}),
            json!({"parts": [{"name": "a", "n": 2}, {"name": "c"}]}),
            expect![[r#"{"parts":[{"n":2,"name":"a"},{"name":"b"},{"name":"c"}]}"#]],
        );
        check(
            json!({"parts": [{"name": "a"}, {"name": "b"}]}),
            json!({"parts": [{"$patch": "delete", "name": "a"}]}),
            expect![[r#"{"parts":[{"name":"b"}]}"#]],
        );
        check(
            json!({"parts": [{"name": "a"}]}),
            json!({"parts": [{"name": "z"}, {"$patch": "replace"}]}),
            expect![[r#"{"parts":[{"name":"z"}]}"#]],
        );
        check(
            json!({"parts": [{"name": "a"}]}),
            json!({"parts": [{"n": 1}]}),
            expect![[r#"error: map: {"n":1} does not contain declared merge key: name"#]],
        );
    }

    #[test]
    fn lists_without_a_strategy_are_replaced() {
        check(json!({"list": [1, 2]}), json!({"list": [3]}), expect![[r#"{"list":[3]}"#]]);
    }

    #[test]
    fn sets_grow_shrink_and_keep_an_order() {
        check(json!({"set": ["a"]}), json!({"set": ["b", "a"]}), expect![[r#"{"set":["a","b"]}"#]]);
        check(
            json!({"set": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/set": ["a"]}),
            expect![[r#"{"set":["b"]}"#]],
        );
        check(
            json!({"parts": [{"name": "a"}, {"name": "x"}, {"name": "b"}]}),
            json!({"$setElementOrder/parts": [{"name": "b"}, {"name": "a"}]}),
            expect![[r#"{"parts":[{"name":"x"},{"name":"b"},{"name":"a"}]}"#]],
        );
    }

    #[test]
    fn maps_are_merged_replaced_and_emptied() {
        check(
            json!({"map": {"a": 1, "b": {"c": 1}}}),
            json!({"map": {"a": null, "b": {"d": 2}}}),
            expect![[r#"{"map":{"b":{"c":1,"d":2}}}"#]],
        );
        check(
            json!({"map": {"a": 1}}),
            json!({"map": {"$patch": "replace", "b": 2}}),
            expect![[r#"{"map":{"b":2}}"#]],
        );
        check(
            json!({"map": {"a": 1}}),
            json!({"map": {"$patch": "delete"}}),
            expect![[r#"{"map":{}}"#]],
        );
        check(
            json!({"map": {"a": 1, "b": 2}}),
            json!({"map": {"$retainKeys": ["b", "c"], "c": 3}}),
            expect![[r#"{"map":{"b":2,"c":3}}"#]],
        );
        check(
            json!({}),
            json!({"map": {"$patch": "burn"}}),
            expect!["error: unknown patch type found: burn"],
        );
    }

    #[track_caller]
    fn check(mut object: Value, patch: Value, expected: Expect) {
        let schema = Schema::compile(&json!({
            "type": "object",
            "properties": {
                "set": {
                    "type": "array",
                    "items": {"type": "string"},
                    "x-kubernetes-patch-strategy": "merge",
                },
                "parts": {
                    "type": "array",
                    "items": {"type": "object"},
                    "x-kubernetes-patch-strategy": "merge",
                    "x-kubernetes-patch-merge-key": "name",
                },
            },
        }));
        let schema = schema.expect("a sound schema");
        let patch = patch.as_object().expect("an object");
        let shown = match apply(&mut object, patch, Some(&schema)) {
            Ok(()) => object.to_string(),
            Err(Status { message, .. }) => format!("error: {message}"),
        };
        expected.assert_eq(&shown);
    }
}
