//! Who owns which field: `metadata.managedFields`, kept for every write.

mod field_set;
mod typed;

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Value, json};

use crate::{object, resource::Resource, schema::Shape, status::Status};
use field_set::{Element, FieldSet};
use typed::{Ambiguous, Comparison};

/// Entries of updates that an object keeps; older ones become one.
const UPDATE_MANAGERS_MAX: usize = 10;

/// Who the older ones become.
const ANCIENT: &str = "ancient-changes";

/// Who owns what was there before anyone was an owner.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, by which door, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    pub(crate) now: &'a str,
}

/// Why an apply was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Others own fields that it would change.
    Conflicts(Vec<Conflict>),
    /// A list of it holds two items that are one.
    Ambiguous(Ambiguous),
}

/// A field that someone else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Who, as messages name an owner.
    pub(crate) owner: String,
    pub(crate) path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Apply,
    Update,
}

/// Tells entries apart; those of an apply are one whatever their version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    operation: Operation,
    manager: String,
    api_version: String,
    subresource: String,
}

#[derive(Clone, Debug)]
struct Entry {
    api_version: String,
    time: String,
    fields: FieldSet,
}

type Entries = BTreeMap<Owner, Entry>;

/// Sets the entries of an object that was created or updated; `old` is what it was, an empty object if it is new.
///
/// `sent` are the entries that the writer sent along: whoever knows them may change them.
pub(crate) fn update(
    resource: &Resource,
    old: &Value,
    new: &mut Value,
    sent: Option<&Value>,
    writer: Writer<'_>,
) {
    let mut entries = match sent.filter(|_| writer.subresource.is_empty()) {
        // One empty entry asks for all of them to be forgotten.
        Some(sent) if *sent == json!([{}]) => Entries::new(),
        Some(sent) => decode(sent).filter(|e| !e.is_empty()).unwrap_or_else(|| entries_of(old)),
        None => entries_of(old),
    };
    let shape = Shape::Root(resource.schema.as_deref());
    let comparison = typed::compare(old, new, shape);
    let changed = comparison.modified.union(&comparison.added);
    let reset = reset_fields(resource, writer.subresource);
    disown(&mut entries, &changed.without(&reset), &comparison, &reset, None);
    let owned = changed.without(&reset).difference(&STRIPPED);
    if !owned.is_empty() {
        let owner = Owner {
            operation: Operation::Update,
            manager: writer.manager.to_owned(),
            api_version: resource.api_version(),
            subresource: writer.subresource.to_owned(),
        };
        let fields = entries.get(&owner).map_or(owned.clone(), |entry| entry.fields.union(&owned));
        let (api_version, time) = (resource.api_version(), writer.now.to_owned());
        entries.insert(owner, Entry { api_version, time, fields });
    }
    cap(&mut entries);
    set_entries(new, entries);
}

/// Merges what is applied into an object that is there, or into an empty one; returns it with its entries.
pub(crate) fn apply(
    resource: &Resource,
    live: &Value,
    config: &Value,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, Refusal> {
    let shape = Shape::Root(resource.schema.as_deref());
    let mut entries = entries_of(live);
    if entries.is_empty() {
        entries = entries_before(resource, live, writer);
    }
    let merged = typed::merge(live, config, shape).map_err(Refusal::Ambiguous)?;
    let owner = Owner {
        operation: Operation::Apply,
        manager: writer.manager.to_owned(),
        api_version: String::new(),
        subresource: writer.subresource.to_owned(),
    };
    let reset = reset_fields(resource, writer.subresource);
    let fields = typed::fields(config, shape).without(&reset);
    let previous = entries.remove(&owner);
    let object = match &previous {
        Some(previous) => {
            let others = entries.values().map(|entry| &entry.fields);
            let owned = others.fold(fields.clone(), |owned, fields| owned.union(fields));
            let gone = typed::with_named_parents(&previous.fields, shape)
                .difference(&typed::with_named_parents(&owned, shape));
            typed::cut(&merged, &gone, shape).unwrap_or_else(|| json!({}))
        }
        None => merged,
    };
    let comparison = typed::compare(live, &object, shape);
    let changed = comparison.modified.union(&comparison.added).without(&reset);
    if !force {
        let conflicts = conflicts(&entries, &changed);
        if !conflicts.is_empty() {
            return Err(Refusal::Conflicts(conflicts));
        }
    }
    disown(&mut entries, &changed, &comparison, &reset, Some(&owner));
    let fields = fields.difference(&STRIPPED);
    let is_same = previous.as_ref().is_some_and(|previous| previous.fields == fields);
    let time = match previous {
        Some(previous) if is_same && *live == object => previous.time,
        _ => writer.now.to_owned(),
    };
    if !fields.is_empty() {
        entries.insert(owner, Entry { api_version: resource.api_version(), time, fields });
    }
    let mut object = object;
    set_entries(&mut object, entries);
    Ok(object)
}

/// Returns what an object of which nobody owned anything is taken to have been made by.
fn entries_before(resource: &Resource, live: &Value, writer: Writer<'_>) -> Entries {
    let shape = Shape::Root(resource.schema.as_deref());
    let made = typed::compare(&json!({}), live, shape).added;
    let fields = made.without(&reset_fields(resource, writer.subresource)).difference(&STRIPPED);
    if fields.is_empty() {
        return Entries::new();
    }
    let owner = Owner {
        operation: Operation::Update,
        manager: BEFORE_FIRST_APPLY.to_owned(),
        api_version: resource.api_version(),
        subresource: String::new(),
    };
    let entry = Entry { api_version: resource.api_version(), time: writer.now.to_owned(), fields };
    Entries::from([(owner, entry)])
}

/// Returns whether every conflict is about a field that the object says was last applied by `kubectl apply` without a server.
pub(crate) fn is_last_applied(resource: &Resource, live: &Value, conflicts: &[Conflict]) -> bool {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let last = live["metadata"]["annotations"][ANNOTATION].as_str();
    let Some(Ok(last)) = last.map(serde_json::from_str::<Value>) else {
        return false;
    };
    let paths = typed::fields(&last, Shape::Root(resource.schema.as_deref())).paths();
    let annotation = format!(".metadata.annotations.{ANNOTATION}");
    conflicts.iter().all(|conflict| conflict.path == annotation || paths.contains(&conflict.path))
}

impl Refusal {
    /// Returns the answer to the client.
    pub(crate) fn into_status(self, resource: &Resource, config: &Value) -> Status {
        match self {
            Refusal::Conflicts(conflicts) => Status::apply_conflict(&conflicts),
            Refusal::Ambiguous(Ambiguous { path, key }) => Status::unexplained(format!(
                "failed to create typed patch object ({}/{}; {}, Kind={}): {path}: duplicate entries for key {key}",
                object::namespace(config),
                object::name(config),
                resource.api_version(),
                resource.kind,
            )),
        }
    }
}

/// Takes from others what changed, and from everyone what is gone.
fn disown(
    entries: &mut Entries,
    changed: &FieldSet,
    comparison: &Comparison,
    reset: &FieldSet,
    but: Option<&Owner>,
) {
    let gone = changed.union(&comparison.removed.without(reset));
    for (owner, entry) in entries.iter_mut() {
        if Some(owner) != but {
            entry.fields = entry.fields.difference(&gone);
        }
    }
    entries.retain(|_, entry| !entry.fields.is_empty());
}

fn conflicts(entries: &Entries, changed: &FieldSet) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (owner, entry) in entries {
        for path in entry.fields.intersection(changed).paths() {
            conflicts.push(Conflict { owner: owner.show(), path });
        }
    }
    conflicts.sort_by(|a, b| a.owner.cmp(&b.owner));
    conflicts
}

impl Owner {
    fn show(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }
}

/// Makes one entry a version of the oldest updates if there are too many.
fn cap(entries: &mut Entries) {
    let mut updates: Vec<(String, Owner)> = entries
        .iter()
        .filter(|(owner, _)| owner.operation == Operation::Update)
        .map(|(owner, entry)| (entry.time.clone(), owner.clone()))
        .collect();
    if updates.len() <= UPDATE_MANAGERS_MAX {
        return;
    }
    updates.sort();
    let mut n_left = updates.len();
    let mut first: BTreeMap<String, Owner> = BTreeMap::new();
    for (_, owner) in updates {
        if n_left <= UPDATE_MANAGERS_MAX {
            return;
        }
        let version = owner.api_version.clone();
        let Some(oldest) = first.get(&version) else {
            first.insert(version, owner);
            continue;
        };
        let bucket = Owner {
            operation: Operation::Update,
            manager: ANCIENT.to_owned(),
            api_version: version,
            subresource: String::new(),
        };
        if !entries.contains_key(&bucket)
            && let Some(entry) = entries.remove(oldest)
        {
            entries.insert(bucket.clone(), entry);
        }
        if let Some(entry) = entries.remove(&owner)
            && let Some(merged) = entries.get_mut(&bucket)
        {
            merged.fields = merged.fields.union(&entry.fields);
            merged.time = entry.time;
        }
        n_left -= 1;
    }
}

/// Fields of the metadata that belong to the server, and what only holds others. The entries themselves
/// are among them: nobody owns them, so that they need not be taken out before objects are compared.
static STRIPPED: LazyLock<FieldSet> = LazyLock::new(|| {
    const METADATA: [&str; 8] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let field = |name: &str| Element::Field(name.to_owned());
    let mut set = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(&[field(name)]);
    }
    for name in METADATA {
        set.insert(&[field("metadata"), field(name)]);
    }
    set
});

/// Returns the fields that a writer cannot set through this door.
fn reset_fields(resource: &Resource, subresource: &str) -> FieldSet {
    let names: &[&str] = match subresource {
        "" if resource.has_status => &["status"],
        "" => &[],
        _ => &["metadata", "spec"],
    };
    let mut set = FieldSet::default();
    names.iter().for_each(|&name| set.insert(&[Element::Field(name.to_owned())]));
    set
}

fn entries_of(object: &Value) -> Entries {
    let fields = object::metadata(object).and_then(|metadata| metadata.get("managedFields"));
    fields.and_then(decode).unwrap_or_default()
}

fn decode(fields: &Value) -> Option<Entries> {
    let mut entries = Entries::new();
    for entry in fields.as_array()? {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let (operation, api_version) = match text("operation").as_str() {
            "Apply" => (Operation::Apply, String::new()),
            "Update" => (Operation::Update, text("apiVersion")),
            _ => return None,
        };
        let owner = Owner {
            operation,
            manager: text("manager"),
            api_version,
            subresource: text("subresource"),
        };
        let fields = match &entry["fieldsV1"] {
            Value::Null => FieldSet::default(),
            fields => FieldSet::decode(fields).ok()?,
        };
        let api_version = text("apiVersion");
        entries.insert(owner, Entry { api_version, time: text("time"), fields });
    }
    Some(entries)
}

fn set_entries(object: &mut Value, entries: Entries) {
    let mut entries: Vec<(Owner, Entry)> = entries.into_iter().collect();
    entries.sort_by(|(a, x), (b, y)| {
        (a.operation, &x.time, &a.manager, &x.api_version, &a.subresource).cmp(&(
            b.operation,
            &y.time,
            &b.manager,
            &y.api_version,
            &b.subresource,
        ))
    });
    let encoded: Vec<Value> = entries.iter().map(|(owner, entry)| encode(owner, entry)).collect();
    let metadata = object::metadata_mut(object);
    if encoded.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), Value::Array(encoded));
    }
}

fn encode(owner: &Owner, entry: &Entry) -> Value {
    let mut encoded = json!({
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.fields.encode(),
        "manager": owner.manager,
        "operation": match owner.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        },
    });
    for (field, text) in [("time", &entry.time), ("subresource", &owner.subresource)] {
        if !text.is_empty() {
            encoded[field] = json!(text);
        }
    }
    encoded
}
