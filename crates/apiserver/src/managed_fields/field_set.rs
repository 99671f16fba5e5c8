//! Sets of fields: who owns what, as `fieldsV1` writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Map, Value};

/// Nesting of the deepest set; objects themselves are read no deeper.
const DEPTH_MAX: usize = 128;

/// One step into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    Field(String),
    /// An item of a list, by the fields that identify it, as JSON.
    Key(String),
    /// An item of a list, by its value, as JSON.
    Value(String),
    Index(i64),
}

/// A set of fields: members, and what lies below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    members: BTreeSet<Element>,
    children: BTreeMap<Element, FieldSet>,
}

/// What is no set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Element {
    fn parse(text: &str) -> Option<Element> {
        let (kind, rest) = text.split_once(':')?;
        // Two spellings of one value must be one element.
        let canonical = |rest: &str| Some(rest.parse::<Value>().ok()?.to_string());
        match kind {
            "f" => Some(Element::Field(rest.to_owned())),
            "k" => canonical(rest).map(Element::Key),
            "v" => canonical(rest).map(Element::Value),
            "i" => rest.parse().ok().map(Element::Index),
            _ => None,
        }
    }

    fn encode(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(key) => format!("k:{key}"),
            Element::Value(value) => format!("v:{value}"),
            Element::Index(index) => format!("i:{index}"),
        }
    }

    /// Returns what identifies the element, as messages about a list show it.
    pub(crate) fn identity(&self) -> String {
        let mut text = String::new();
        self.show(&mut text);
        text
    }

    /// Writes the element as the message of a conflict shows it.
    fn show(&self, path: &mut String) {
        // Writing to a text cannot fail.
        let _ = match self {
            Element::Field(name) => write!(path, ".{name}"),
            Element::Value(value) => write!(path, "[={value}]"),
            Element::Index(index) => write!(path, "[{index}]"),
            Element::Key(key) => {
                let fields: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(path, "[{}]", fields.join(","))
            }
        };
    }
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(FieldSet::is_empty)
    }

    pub(crate) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(crate) fn has(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    /// Returns what lies below an element.
    pub(crate) fn below(&self, element: &Element) -> Option<&FieldSet> {
        self.children.get(element).filter(|set| !set.is_empty())
    }

    pub(crate) fn union(&self, other: &FieldSet) -> FieldSet {
        let mut result = self.clone();
        result.members.extend(other.members.iter().cloned());
        for (element, set) in &other.children {
            let child = result.children.entry(element.clone()).or_default();
            *child = child.union(set);
        }
        result
    }

    pub(crate) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let members = self.members.intersection(&other.members).cloned().collect();
        let children = self.children.iter().filter_map(|(element, set)| {
            let set = set.intersection(other.children.get(element)?);
            (!set.is_empty()).then(|| (element.clone(), set))
        });
        FieldSet { members, children: children.collect() }
    }

    /// Returns what is here and not there, member by member.
    pub(crate) fn difference(&self, other: &FieldSet) -> FieldSet {
        let members = self.members.difference(&other.members).cloned().collect();
        let children = self.children.iter().filter_map(|(element, set)| {
            let set = match other.children.get(element) {
                Some(other) => set.difference(other),
                None => set.clone(),
            };
            (!set.is_empty()).then(|| (element.clone(), set))
        });
        FieldSet { members, children: children.collect() }
    }

    /// Returns what is here and neither there nor below what is there.
    pub(crate) fn without(&self, other: &FieldSet) -> FieldSet {
        let members = self.members.difference(&other.members).cloned().collect();
        let children = self.children.iter().filter_map(|(element, set)| {
            if other.members.contains(element) {
                return None;
            }
            let set = match other.children.get(element) {
                Some(other) => set.without(other),
                None => set.clone(),
            };
            (!set.is_empty()).then(|| (element.clone(), set))
        });
        FieldSet { members, children: children.collect() }
    }

    /// Returns the elements that have something below them.
    pub(crate) fn parents(&self) -> impl Iterator<Item = (&Element, &FieldSet)> {
        self.children.iter()
    }

    /// Returns a set of the same members with other children.
    pub(crate) fn with_children(
        &self,
        children: impl Iterator<Item = (Element, FieldSet)>,
        added: impl Iterator<Item = Element>,
    ) -> FieldSet {
        let members = self.members.iter().cloned().chain(added).collect();
        FieldSet { members, children: children.collect() }
    }

    /// Returns every member as messages show it, such as `.spec.parts[name="x"]`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths(&mut String::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, path: &mut String, paths: &mut Vec<String>) {
        let length = path.len();
        for element in &self.members {
            element.show(path);
            paths.push(path.clone());
            path.truncate(length);
        }
        for (element, set) in &self.children {
            element.show(path);
            set.collect_paths(path, paths);
            path.truncate(length);
        }
    }

    /// Reads `fieldsV1`.
    pub(crate) fn decode(fields: &Value) -> Result<FieldSet, Malformed> {
        decode(fields, 0)
    }

    /// Returns `fieldsV1`.
    pub(crate) fn encode(&self) -> Value {
        let mut fields = Map::new();
        for element in &self.members {
            fields.insert(element.encode(), Value::Object(Map::new()));
        }
        for (element, set) in self.children.iter().filter(|(_, set)| !set.is_empty()) {
            let mut below = set.encode();
            if self.members.contains(element) {
                below["."] = Value::Object(Map::new());
            }
            fields.insert(element.encode(), below);
        }
        Value::Object(fields)
    }
}

fn decode(fields: &Value, depth: usize) -> Result<FieldSet, Malformed> {
    let fields = fields.as_object().filter(|_| depth <= DEPTH_MAX).ok_or(Malformed)?;
    let mut set = FieldSet::default();
    for (text, below) in fields.iter().filter(|(text, _)| text.as_str() != ".") {
        let element = Element::parse(text).ok_or(Malformed)?;
        let children = decode(below, depth + 1)?;
        let is_leaf = below.as_object().is_some_and(Map::is_empty);
        if is_leaf || below.get(".").is_some() {
            set.members.insert(element.clone());
        }
        if !children.is_empty() {
            set.children.insert(element, children);
        }
    }
    Ok(set)
}
