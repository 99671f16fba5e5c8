//! Renders a commit message from the changes it describes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::update::{ChangeSet, FileChange};
use gotmpl::{
    ExecError, Field, Functions, Limits, List, Map, MapType, Method, Object, ParseError, Run,
    Template, Type, Value,
};

/// The message of an automation that gives no template.
pub const DEFAULT_MESSAGE: &str = "Update from image update automation";

/// The name of the template in texts of errors.
const NAME: &str = "commit message";
const REMOVED_FIELDS: [(&str, &str, &str); 2] = [
    ("can't evaluate field Updated in type source.TemplateData", ".Updated", "'.Changed'"),
    (
        "can't evaluate field ImageResult in type update.Result",
        ".Changed.ImageResult",
        "'.Changed.FileChanges' or '.Changed.Objects'",
    ),
];

/// What a template can refer to.
#[derive(Debug, Clone, Copy)]
pub struct MessageData<'a> {
    /// Namespace of the automation.
    pub namespace: &'a str,
    /// Name of the automation.
    pub name: &'a str,
    /// The changes, in order of files and lines.
    pub changes: &'a [MessageChange<'a>],
    /// The spec's `messageTemplateValues`; `None` when the spec has none.
    pub values: Option<&'a BTreeMap<String, String>>,
}

/// One changed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageChange<'a> {
    /// The file's path, relative to the update path.
    pub file: &'a str,
    /// The object that holds the value.
    pub object: MessageObject<'a>,
    /// The value before.
    pub old: &'a str,
    /// The value now.
    pub new: &'a str,
    /// The setter of the marker, e.g. `ns:policy:tag`.
    pub setter: &'a str,
}

/// Identifies the object that holds a changed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageObject<'a> {
    /// `apiVersion`
    pub api_version: &'a str,
    /// `kind`
    pub kind: &'a str,
    /// `metadata.name`, empty where there is none.
    pub name: &'a str,
    /// `metadata.namespace`, empty where there is none.
    pub namespace: &'a str,
}

/// Returns the changes of a change set; its paths begin below the update path, as messages name them.
pub fn changes_of(changes: &ChangeSet) -> Vec<MessageChange<'_>> {
    changes.files.iter().flat_map(changes_of_file).collect()
}

fn changes_of_file(file: &FileChange) -> impl Iterator<Item = MessageChange<'_>> {
    file.changes.iter().map(|change| MessageChange {
        file: &file.path,
        object: MessageObject {
            api_version: &change.object.api_version,
            kind: &change.object.kind,
            name: &change.object.name,
            namespace: &change.object.namespace,
        },
        old: &change.old,
        new: &change.new,
        setter: &change.setter,
    })
}

/// Why there is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The template cannot be parsed.
    #[error("unable to create commit message template from spec: {0}")]
    Parse(ParseError),
    /// The template uses a field that older versions had.
    #[error(
        "template uses removed '{field}' field. Please use {instead} instead. \
         See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template"
    )]
    RemovedField {
        /// The field, e.g. `.Updated`.
        field: &'static str,
        /// What to use, quoted.
        instead: &'static str,
    },
    /// The template failed or reached a limit.
    #[error("failed to run template from spec: {0}")]
    Run(ExecError),
}

/// Returns the message that a template makes of the changes; an empty template makes the default message.
///
/// Bytes that are no UTF-8 become U+FFFD.
pub fn render(template: &str, data: &MessageData<'_>) -> Result<String, MessageError> {
    if template.is_empty() {
        return Ok(DEFAULT_MESSAGE.to_owned());
    }
    let template = parse(template)?;
    let out = template.execute(&root(data), &mut Run::new(Limits::default()));
    let out = out.map_err(|error| removed_field(&error).unwrap_or(MessageError::Run(error)))?;
    Ok(String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Returns whether a template can be parsed, without any data.
pub fn check(template: &str) -> Result<(), MessageError> {
    parse(template).map(drop)
}

fn parse(template: &str) -> Result<Template, MessageError> {
    Template::parse(NAME, template, &Functions::hermetic()).map_err(MessageError::Parse)
}

fn removed_field(error: &ExecError) -> Option<MessageError> {
    let text = error.to_string();
    let (_, field, instead) = REMOVED_FIELDS.iter().find(|(sign, ..)| text.contains(sign))?;
    Some(MessageError::RemovedField { field, instead })
}

// === The data as the template sees it, under the names of Flux's Go types ===

fn root(data: &MessageData<'_>) -> Value {
    let values = match data.values {
        None => Map::nil(MapType::strings()),
        Some(values) => Map::with_strings(
            MapType::strings(),
            values.iter().map(|(key, value)| (key, Value::from(value.as_str()))),
        ),
    };
    object(
        "source.TemplateData",
        vec![
            Field::new("AutomationObject", namespaced_name(data.namespace, data.name)),
            Field::new("Changed", Value::Object(Rc::new(Changed::new(data.changes)))),
            Field::new("Values", Value::Map(values)),
        ],
    )
}

/// A struct with nothing but fields.
struct Record {
    type_name: &'static str,
    fields: Vec<Field>,
    text: Option<String>,
}

impl Object for Record {
    fn type_name(&self) -> Cow<'static, str> {
        self.type_name.into()
    }

    fn fields(&self) -> Vec<Field> {
        self.fields.clone()
    }

    fn text(&self) -> Option<String> {
        self.text.clone()
    }

    fn method(&self, name: &str) -> Option<Method> {
        let text = self.text.clone().filter(|_| name == "String")?;
        Some(getter(text.into()))
    }
}

fn getter(value: Value) -> Method {
    Method { params: &[], body: Rc::new(move |_, _| Ok(value.clone())) }
}

fn object(type_name: &'static str, fields: Vec<Field>) -> Value {
    Value::Object(Rc::new(Record { type_name, fields, text: None }))
}

fn namespaced_name(namespace: &str, name: &str) -> Value {
    Value::Object(Rc::new(Record {
        type_name: "types.NamespacedName",
        fields: vec![Field::new("Namespace", namespace.into()), Field::new("Name", name.into())],
        text: Some(format!("{namespace}/{name}")),
    }))
}

/// The changes as templates reach them: `.Changed.FileChanges`, `.Changed.Objects`, `.Changed.Changes`.
struct Changed {
    file_changes: Value,
    objects: Value,
    changes: Value,
}

impl Changed {
    fn new(changes: &[MessageChange<'_>]) -> Self {
        let (mut files, mut objects) = (BTreeMap::new(), BTreeMap::new());
        let (mut seen, mut distinct) = (BTreeSet::new(), Vec::new());
        for each in changes {
            let value = change(each);
            let file: &mut BTreeMap<MessageObject<'_>, Vec<Value>> =
                files.entry(each.file).or_default();
            file.entry(each.object).or_default().push(value.clone());
            objects.entry(each.object).or_insert_with(Vec::new).push(value.clone());
            if seen.insert((each.old, each.new, each.setter)) {
                distinct.push(value);
            }
        }
        let files_type = Rc::new(MapType {
            name: None,
            key: Type::String,
            element: Type::Map(object_changes_type()),
        });
        let files = files.into_iter().map(|(file, objects)| (file, object_changes(objects)));
        Changed {
            file_changes: Value::Map(match changes {
                [] => Map::nil(files_type),
                _ => Map::with_strings(files_type, files),
            }),
            objects: object_changes(objects),
            changes: change_list(distinct),
        }
    }
}

impl Object for Changed {
    fn type_name(&self) -> Cow<'static, str> {
        "update.Result".into()
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("FileChanges", self.file_changes.clone())]
    }

    fn method(&self, name: &str) -> Option<Method> {
        match name {
            "Objects" => Some(getter(self.objects.clone())),
            "Changes" => Some(getter(self.changes.clone())),
            _ => None,
        }
    }
}

fn object_changes_type() -> Rc<MapType> {
    Rc::new(MapType {
        name: Some("update.ObjectChanges".into()),
        key: Type::Named("update.ObjectIdentifier".into()),
        element: Type::List(Rc::new(Type::Named("update.Change".into()))),
    })
}

fn object_changes(objects: BTreeMap<MessageObject<'_>, Vec<Value>>) -> Value {
    let entries =
        objects.into_iter().map(|(object, changes)| (identifier(&object), change_list(changes)));
    Value::Map(Map::with_keys(object_changes_type(), entries.collect()))
}

fn change_list(changes: Vec<Value>) -> Value {
    let element = Type::Named("update.Change".into());
    Value::List(if changes.is_empty() {
        List::nil(Rc::new(element))
    } else {
        List::new(element, changes)
    })
}

fn change(change: &MessageChange<'_>) -> Value {
    object(
        "update.Change",
        vec![
            Field::new("OldValue", change.old.into()),
            Field::new("NewValue", change.new.into()),
            Field::new("Setter", change.setter.into()),
        ],
    )
}

fn identifier(id: &MessageObject<'_>) -> Value {
    let part = |name, json, text: &str| Field {
        json: Some(json),
        omit_empty: true,
        ..Field::new(name, text.into())
    };
    let embedded =
        |name, value| Field { json: Some(""), embedded: true, ..Field::new(name, value) };
    let type_meta = object(
        "yaml.TypeMeta",
        vec![part("APIVersion", "apiVersion", id.api_version), part("Kind", "kind", id.kind)],
    );
    let name_meta = object(
        "yaml.NameMeta",
        vec![part("Name", "name", id.name), part("Namespace", "namespace", id.namespace)],
    );
    let resource = object(
        "yaml.ResourceIdentifier",
        vec![embedded("TypeMeta", type_meta), embedded("NameMeta", name_meta)],
    );
    object("update.ObjectIdentifier", vec![embedded("ResourceIdentifier", resource)])
}

#[cfg(test)]
mod tests {
    use super::changes_of;
    use crate::marker::{ObjectIdentifier, PolicyName};
    use crate::update::{Change, ChangeSet, FileChange};

    #[test]
    fn a_change_keeps_its_values_and_its_object() {
        let set = change_set(&["web.yaml"]);
        let change = changes_of(&set)[0];
        let object = change.object;
        let parts = [
            change.file,
            change.old,
            change.new,
            change.setter,
            object.api_version,
            object.kind,
            object.name,
            object.namespace,
        ];
        assert_eq!(parts, ["web.yaml", "1.0", "1.1", "ns:policy:tag", "v1", "Pod", "web", "prod"]);
    }

    fn change_set(paths: &[&str]) -> ChangeSet {
        let change = Change {
            line: 1,
            column: 1,
            setter: "ns:policy:tag".to_owned(),
            policy: PolicyName { namespace: "ns".to_owned(), name: "policy".to_owned() },
            old: "1.0".to_owned(),
            new: "1.1".to_owned(),
            object: ObjectIdentifier {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: "web".to_owned(),
                namespace: "prod".to_owned(),
            },
        };
        let file = |path: &&str| FileChange {
            path: (*path).to_owned(),
            new_bytes: Vec::new(),
            changes: vec![change.clone()],
        };
        let files = paths.iter().map(file).collect();
        ChangeSet { files, problems: Vec::new(), unresolved: Default::default() }
    }
}
