//! Objects as their schema sees them: comparing, merging and cutting field by field.
//!
//! Where the schema says nothing, maps are taken apart and lists are not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::field_set::{Element, FieldSet};
use crate::schema::{List, Schema, Shape, Taken};

/// What differs between two objects.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

/// An item of a list stands twice in what is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous {
    /// The list.
    pub(crate) path: String,
    /// What identifies the item.
    pub(crate) key: String,
}

impl Ambiguous {
    fn below(mut self, element: &Element) -> Ambiguous {
        self.path.insert_str(0, &element.identity());
        self
    }
}

/// Returns what identifies an item of a list.
fn element_of(list: &List, shape: Shape<'_>, item: &Value) -> Element {
    let List::Map(keys) = list else {
        return Element::Value(item.to_string());
    };
    let mut identity = Map::new();
    for key in keys {
        let default = shape.schema().and_then(|schema| schema.property(key));
        let default = default.and_then(Schema::default_value);
        if let Some(value) = item.get(key).or(default) {
            identity.insert(key.clone(), value.clone());
        }
    }
    Element::Key(Value::Object(identity).to_string())
}

// === The set of an object's fields ===

/// Returns the fields that an object sets.
pub(super) fn fields(object: &Value, shape: Shape<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    collect(object, shape, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, shape: Shape<'_>, path: &mut Vec<Element>, set: &mut FieldSet) {
    match (shape.take(value), value) {
        (Taken::Map, Value::Object(fields)) => {
            for (name, value) in fields {
                path.push(Element::Field(name.clone()));
                collect(value, shape.field(name), path, set);
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if is_empty || !shape.names(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (Taken::Items(list), Value::Array(items)) => {
            for item in items {
                path.push(element_of(list, shape.item(), item));
                collect(item, shape.item(), path, set);
                set.insert(path);
                path.pop();
            }
        }
        _ => set.insert(path),
    }
}

// === Comparing ===

/// Returns what changes from `old` to `new`.
pub(super) fn compare(old: &Value, new: &Value, shape: Shape<'_>) -> Comparison {
    let mut comparison = Comparison::default();
    compare_at(Some(old), Some(new), shape, &mut Vec::new(), &mut comparison);
    comparison
}

fn compare_at(
    old: Option<&Value>,
    new: Option<&Value>,
    shape: Shape<'_>,
    path: &mut Vec<Element>,
    comparison: &mut Comparison,
) {
    // A null is whatever the other is, and empty.
    let Some(either) = new.filter(|new| !new.is_null()).or(old).or(new) else {
        return;
    };
    let is_empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    let is_alike = match (old, new) {
        (Some(old), Some(new)) if !old.is_null() && !new.is_null() => {
            old.is_object() == new.is_object() && old.is_array() == new.is_array()
        }
        _ => true,
    };
    let taken = if !is_alike || (is_empty(old) && is_empty(new)) {
        Taken::Leaf
    } else {
        shape.take(either)
    };
    match taken {
        Taken::Leaf => {
            if let (Some(old), Some(new)) = (old, new) {
                if !is_equal(old, new) {
                    comparison.modified.insert(path);
                }
                return;
            }
        }
        Taken::Map => {
            let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let added = new.into_iter().flatten().map(|(name, _)| name);
            let added = added.filter(|name| old.is_none_or(|old| !old.contains_key(*name)));
            for name in old.into_iter().flatten().map(|(name, _)| name).chain(added) {
                path.push(Element::Field(name.clone()));
                let (old, new) = (field(old, name), field(new, name));
                compare_at(old, new, shape.field(name), path, comparison);
                path.pop();
            }
        }
        Taken::Items(list) => {
            let index = |value: Option<&'_ Value>| index(value, list, shape.item());
            let (old, new) = (index(old), index(new));
            let added = new.keys().filter(|element| !old.contains_key(*element));
            for element in old.keys().chain(added) {
                path.push(element.clone());
                let (old, new) = (old.get(element), new.get(element));
                compare_at(old, new, shape.item(), path, comparison);
                path.pop();
            }
        }
    }
    if old.is_none() {
        comparison.added.insert(path);
    } else if new.is_none() {
        comparison.removed.insert(path);
    }
}

fn field<'a>(fields: Option<&'a Map<String, Value>>, name: &str) -> Option<&'a Value> {
    fields.and_then(|fields| fields.get(name))
}

/// Returns the items of a list by what identifies them; of several with one identity, all as one.
fn index(value: Option<&Value>, list: &List, shape: Shape<'_>) -> BTreeMap<Element, Value> {
    let mut index: BTreeMap<Element, Value> = BTreeMap::new();
    for item in value.and_then(Value::as_array).into_iter().flatten() {
        let element = element_of(list, shape, item);
        let merged = match index.remove(&element) {
            None => item.clone(),
            Some(Value::Array(mut several)) if !item.is_array() => {
                several.push(item.clone());
                Value::Array(several)
            }
            Some(first) => Value::Array(vec![first, item.clone()]),
        };
        index.insert(element, merged);
    }
    index
}

/// Numbers are equal by value, not by spelling.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => a == b || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}

// === Merging ===

/// Returns `live` with what `applied` sets.
pub(super) fn merge(live: &Value, applied: &Value, shape: Shape<'_>) -> Result<Value, Ambiguous> {
    match (shape.take(applied), live, applied) {
        (Taken::Map, live, Value::Object(applied)) => {
            let mut merged = live.as_object().cloned().unwrap_or_default();
            for (name, value) in applied {
                // What is new is looked through all the same: its lists may not repeat themselves.
                let live = live.get(name).unwrap_or(&Value::Null);
                let value = merge(live, value, shape.field(name))
                    .map_err(|ambiguous| ambiguous.below(&Element::Field(name.clone())))?;
                merged.insert(name.clone(), value);
            }
            Ok(Value::Object(merged))
        }
        (Taken::Items(list), live, Value::Array(applied)) => {
            let live = live.as_array().map(Vec::as_slice).unwrap_or_default();
            merge_items(live, applied, list, shape.item()).map(Value::Array)
        }
        _ => Ok(applied.clone()),
    }
}

/// Merges lists: the applied items in their order, those of others where they stood among them.
fn merge_items(
    live: &[Value],
    applied: &[Value],
    list: &List,
    shape: Shape<'_>,
) -> Result<Vec<Value>, Ambiguous> {
    let identify = |items: &[Value]| -> Vec<Element> {
        items.iter().map(|item| element_of(list, shape, item)).collect()
    };
    let (live_ids, applied_ids) = (identify(live), identify(applied));
    let in_live: BTreeMap<&Element, &Value> = live_ids.iter().zip(live).collect();
    let mut in_applied: BTreeMap<&Element, &Value> = BTreeMap::new();
    for (element, item) in applied_ids.iter().zip(applied) {
        if in_applied.insert(element, item).is_some() {
            return Err(Ambiguous { path: String::new(), key: element.identity() });
        }
    }
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    for element in order(&live_ids, &applied_ids) {
        merged.push(match (in_live.get(element), in_applied.get(element)) {
            (live, Some(applied)) => merge(live.unwrap_or(&&Value::Null), applied, shape)
                .map_err(|ambiguous| ambiguous.below(element))?,
            (Some(live), None) => (*live).clone(),
            (None, None) => continue,
        });
    }
    Ok(merged)
}

/// Returns the order of a merged list.
///
/// Both lists are walked at once. What only the live one has comes as soon as it is reached there;
/// what both have comes when the applied one reaches it, and is passed over in the live one until then.
fn order<'a>(live: &'a [Element], applied: &'a [Element]) -> Vec<&'a Element> {
    let in_live: BTreeSet<&Element> = live.iter().collect();
    let in_applied: BTreeSet<&Element> = applied.iter().collect();
    let mut shared = applied.iter().filter(|element| in_live.contains(element)).peekable();
    let mut order = Vec::new();
    let mut done = BTreeSet::new();
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < applied.len() {
        if let (Some(here), Some(there)) = (live.get(l), applied.get(r)) {
            if here == there {
                order.push(here);
                done.insert(here);
                (l, r) = (l + 1, r + 1);
                shared.next();
                continue;
            }
            if in_applied.contains(here) && shared.peek().is_some_and(|next| *next != here) {
                l += 1;
                continue;
            }
        }
        if let Some(here) = live.get(l) {
            if !in_applied.contains(here) {
                order.push(here);
                l += 1;
                continue;
            }
            if done.contains(here) || r == applied.len() {
                l += 1;
            }
        }
        if let Some(there) = applied.get(r) {
            order.push(there);
            done.insert(there);
            r += 1;
            shared.next_if_eq(&there);
        }
    }
    order
}

// === Cutting ===

/// Returns a value without the fields of a set; `None` if nothing of it is left.
pub(super) fn cut(value: &Value, set: &FieldSet, shape: Shape<'_>) -> Option<Value> {
    let kept = |element: Element, shape: Shape<'_>, value: &Value| -> Option<Value> {
        if set.has(&element) {
            return None;
        }
        match set.below(&element) {
            // What stays and is empty is a null, which whoever reads the object takes for nothing.
            Some(below) => Some(cut(value, below, shape).unwrap_or_default()),
            None => Some(value.clone()),
        }
    };
    match (shape.take(value), value) {
        (Taken::Map, Value::Object(fields)) => {
            let mut left = Map::new();
            for (name, value) in fields {
                if let Some(value) = kept(Element::Field(name.clone()), shape.field(name), value) {
                    left.insert(name.clone(), value);
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Taken::Items(list), Value::Array(items)) => {
            let items = items
                .iter()
                .filter_map(|item| kept(element_of(list, shape.item(), item), shape.item(), item));
            let left: Vec<Value> = items.collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        _ => Some(value.clone()),
    }
}

/// Returns a set with the parents that the schema knows by name as members.
///
/// A struct goes with the last of its fields; the item of a list, or the entry of a map, only when its owner goes.
pub(super) fn with_named_parents(set: &FieldSet, shape: Shape<'_>) -> FieldSet {
    let children = set.parents().map(|(element, below)| {
        let shape = match element {
            Element::Field(name) => shape.field(name),
            Element::Key(_) | Element::Value(_) | Element::Index(_) => shape.item(),
        };
        (element.clone(), with_named_parents(below, shape))
    });
    let named = set.parents().filter_map(|(element, _)| match element {
        Element::Field(name) if shape.names(name) => Some(element.clone()),
        _ => None,
    });
    set.with_children(children, named)
}
