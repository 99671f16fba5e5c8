//! Lists and maps, shared by handle.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::rc::Rc;

use super::compare::compare_keys;
use super::{Type, Value};

/// A slice: its items never change.
#[derive(Clone)]
pub struct List(Rc<ListNode>);

struct ListNode {
    element: Rc<Type>,
    items: Vec<Value>,
    is_nil: bool,
}

/// A map. Every clone is a handle to the same entries, as in Go.
#[derive(Clone)]
pub struct Map(Rc<MapNode>);

struct MapNode {
    map_type: Rc<MapType>,
    entries: RefCell<Entries>,
    is_nil: bool,
    changed: Cell<bool>,
}

enum Entries {
    Strings(BTreeMap<Rc<[u8]>, Value>),
    /// Any other keys, sorted; such maps are the caller's and do not change.
    Sorted(Vec<(Value, Value)>),
}

/// The type of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapType {
    /// The name where the type has one.
    pub name: Option<Cow<'static, str>>,
    /// The type of the keys.
    pub key: Type,
    /// The type of the values.
    pub element: Type,
}

impl List {
    /// Returns a list of items of one type.
    pub fn new(element: Type, items: Vec<Value>) -> List {
        List::of(Rc::new(element), items)
    }

    pub(crate) fn of(element: Rc<Type>, items: Vec<Value>) -> List {
        List(Rc::new(ListNode { element, items, is_nil: false }))
    }

    /// Returns Go's nil slice.
    pub fn nil(element: Rc<Type>) -> List {
        List(Rc::new(ListNode { element, items: Vec::new(), is_nil: true }))
    }

    /// Returns the type of the items.
    pub fn element(&self) -> &Rc<Type> {
        &self.0.element
    }

    /// Returns the items.
    pub fn items(&self) -> &[Value] {
        &self.0.items
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.0.items.len()
    }

    /// Returns whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.0.items.is_empty()
    }

    pub(crate) fn is_nil(&self) -> bool {
        self.0.is_nil
    }
}

impl Map {
    /// Returns a map with string keys.
    pub fn with_strings<K: AsRef<[u8]>>(
        map_type: Rc<MapType>,
        entries: impl IntoIterator<Item = (K, Value)>,
    ) -> Map {
        let entries = entries.into_iter().map(|(key, value)| (Rc::from(key.as_ref()), value));
        Map::of(map_type, Entries::Strings(entries.collect()), false)
    }

    /// Returns a map with keys of any type; of equal keys the last entry counts.
    pub fn with_keys(map_type: Rc<MapType>, mut entries: Vec<(Value, Value)>) -> Map {
        entries.reverse();
        entries.sort_by(|(a, _), (b, _)| compare_keys(a, b));
        entries.dedup_by(|(a, _), (b, _)| compare_keys(a, b).is_eq());
        Map::of(map_type, Entries::Sorted(entries), false)
    }

    /// Returns an empty `map[string]interface {}`.
    pub fn dict() -> Map {
        Map::of(MapType::dict(), Entries::Strings(BTreeMap::new()), false)
    }

    /// Returns Go's nil map.
    pub fn nil(map_type: Rc<MapType>) -> Map {
        Map::of(map_type, Entries::Strings(BTreeMap::new()), true)
    }

    fn of(map_type: Rc<MapType>, entries: Entries, is_nil: bool) -> Map {
        let (entries, changed) = (RefCell::new(entries), Cell::new(false));
        Map(Rc::new(MapNode { map_type, entries, is_nil, changed }))
    }

    /// Returns the map's type.
    pub fn map_type(&self) -> &Rc<MapType> {
        &self.0.map_type
    }

    pub(crate) fn is_nil(&self) -> bool {
        self.0.is_nil
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        match &*self.0.entries.borrow() {
            Entries::Strings(entries) => entries.len(),
            Entries::Sorted(entries) => entries.len(),
        }
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value under a string key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        match &*self.0.entries.borrow() {
            Entries::Strings(entries) => entries.get(key).cloned(),
            Entries::Sorted(_) => None,
        }
    }

    /// Returns the value under a key of any type.
    pub(crate) fn get_value(&self, key: &Value) -> Option<Value> {
        match (&*self.0.entries.borrow(), key) {
            (Entries::Strings(entries), Value::String(key)) => entries.get(key).cloned(),
            (Entries::Strings(_), _) => None,
            (Entries::Sorted(entries), _) => {
                let at = entries.binary_search_by(|(other, _)| compare_keys(other, key)).ok()?;
                Some(entries[at].1.clone())
            }
        }
    }

    /// Puts a value under a string key.
    pub fn insert(&self, key: Rc<[u8]>, value: Value) {
        if let Entries::Strings(entries) = &mut *self.0.entries.borrow_mut() {
            entries.insert(key, value);
        }
    }

    /// Removes a string key.
    pub(crate) fn remove(&self, key: &[u8]) -> Option<Value> {
        match &mut *self.0.entries.borrow_mut() {
            Entries::Strings(entries) => entries.remove(key),
            Entries::Sorted(_) => None,
        }
    }

    /// Returns the entries in Go's order of printing.
    pub fn entries(&self) -> Vec<(Value, Value)> {
        match &*self.0.entries.borrow() {
            Entries::Strings(entries) => entries
                .iter()
                .map(|(key, value)| (Value::String(key.clone()), value.clone()))
                .collect(),
            Entries::Sorted(entries) => entries.clone(),
        }
    }

    /// Returns the entries of a map with string keys in order.
    pub(crate) fn string_entries(&self) -> Vec<(Rc<[u8]>, Value)> {
        match &*self.0.entries.borrow() {
            Entries::Strings(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
            }
            Entries::Sorted(_) => Vec::new(),
        }
    }

    /// Returns whether both are handles to the same map.
    pub(crate) fn is_same(&self, other: &Map) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Marks the map as changed by a template; returns whether it was not yet.
    pub(crate) fn mark_changed(&self) -> bool {
        !self.0.changed.replace(true)
    }

    pub(crate) fn clear(&self) {
        let entries = mem::replace(&mut *self.0.entries.borrow_mut(), Entries::Sorted(Vec::new()));
        drop(entries);
    }
}

impl MapType {
    /// Returns `map[string]interface {}`.
    pub fn dict() -> Rc<MapType> {
        thread_local! {
            static DICT: Rc<MapType> =
                Rc::new(MapType { name: None, key: Type::String, element: Type::Interface });
        }
        DICT.with(Rc::clone)
    }

    /// Returns `map[string]string`.
    pub fn strings() -> Rc<MapType> {
        Rc::new(MapType { name: None, key: Type::String, element: Type::String })
    }
}

impl fmt::Display for MapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "map[{}]{}", self.key, self.element),
        }
    }
}

// Values can nest as deeply as a template's steps allow, so they are freed without recursion.

impl Drop for ListNode {
    fn drop(&mut self) {
        free(mem::take(&mut self.items));
    }
}

impl Drop for MapNode {
    fn drop(&mut self) {
        let entries = mem::replace(self.entries.get_mut(), Entries::Sorted(Vec::new()));
        free(entries.into_values());
    }
}

impl Entries {
    fn into_values(self) -> Vec<Value> {
        match self {
            Entries::Strings(entries) => entries.into_values().collect(),
            Entries::Sorted(entries) => entries.into_iter().map(|(_, value)| value).collect(),
        }
    }
}

fn free(mut pending: Vec<Value>) {
    while let Some(value) = pending.pop() {
        match value {
            Value::List(list) => {
                if let Some(mut node) = Rc::into_inner(list.0) {
                    pending.append(&mut node.items);
                }
            }
            Value::Map(map) => {
                if let Some(mut node) = Rc::into_inner(map.0) {
                    let entries = mem::replace(node.entries.get_mut(), Entries::Sorted(Vec::new()));
                    pending.append(&mut entries.into_values());
                }
            }
            _ => {}
        }
    }
}
