//! The resources that are served without a definition.

mod check;
mod columns;

pub(crate) use check::check;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde_json::Value;

use crate::{
    resource::{Resource, Table, api_version},
    schema::Schema,
};

/// A schema as it was written, and as it is used.
type Described = (Arc<Value>, Arc<Schema>);

/// Schemas by kind, or by kind and group where two groups share a kind.
static SCHEMAS: LazyLock<BTreeMap<String, Described>> = LazyLock::new(|| {
    let document = yaml::documents(include_bytes!("builtin/schemas.yaml"))
        .into_iter()
        .next()
        .expect("the file has a document")
        .expect("the file is sound YAML");
    let schemas = document.value.as_object().cloned().unwrap_or_default();
    schemas
        .into_iter()
        .map(|(name, schema)| {
            let compiled = Schema::compile(&schema).expect("the schemas are sound");
            (name, (Arc::new(schema), Arc::new(compiled)))
        })
        .collect()
});

/// Returns what the metadata of every object looks like.
pub(crate) fn metadata() -> &'static Schema {
    &SCHEMAS["ObjectMeta"].1
}

/// Returns the same as it was written.
pub(crate) fn metadata_as_written() -> &'static Value {
    &SCHEMAS["ObjectMeta"].0
}

/// Group of the definitions themselves.
pub(crate) const DEFINITION_GROUP: &str = "apiextensions.k8s.io";

/// Plural of the definitions themselves.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions";

struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short_names: &'static [&'static str],
    is_namespaced: bool,
    has_status: bool,
    has_generation: bool,
    selectable: &'static [&'static str],
    renames: &'static [(&'static str, &'static str)],
    /// Group and plural under which its objects are stored.
    stored: (&'static str, &'static str, &'static str),
}

/// What the two kinds of events call the same things.
const EVENT_RENAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

const NAMESPACE: Row = Row {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    is_namespaced: false,
    has_status: true,
    has_generation: false,
    selectable: &["status.phase"],
    renames: &[],
    stored: ("", "v1", "namespaces"),
};

const TABLE: [Row; 7] = [
    NAMESPACE,
    Row {
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        short_names: &[],
        is_namespaced: true,
        has_status: false,
        selectable: &["type"],
        stored: ("", "v1", "secrets"),
        ..NAMESPACE
    },
    Row {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        is_namespaced: true,
        has_status: false,
        selectable: &[],
        stored: ("", "v1", "configmaps"),
        ..NAMESPACE
    },
    Row {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        is_namespaced: true,
        has_status: false,
        selectable: &[],
        stored: ("", "v1", "serviceaccounts"),
        ..NAMESPACE
    },
    Row {
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        is_namespaced: true,
        has_status: false,
        selectable: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        stored: ("", "v1", "events"),
        ..NAMESPACE
    },
    Row {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        is_namespaced: true,
        has_status: false,
        selectable: &["reason", "type"],
        renames: &EVENT_RENAMES,
        stored: ("", "v1", "events"),
        ..NAMESPACE
    },
    Row {
        group: DEFINITION_GROUP,
        kind: "CustomResourceDefinition",
        plural: DEFINITIONS,
        singular: "customresourcedefinition",
        short_names: &["crd", "crds"],
        has_generation: true,
        selectable: &[],
        stored: (DEFINITION_GROUP, "v1", DEFINITIONS),
        ..NAMESPACE
    },
];

/// Returns the table of built-in resources.
pub(crate) fn table() -> Table {
    let mut table = Table::default();
    for row in TABLE {
        let (group, version, plural) = row.stored;
        let own = SCHEMAS.get(&format!("{}.{}", row.kind, row.group));
        let (openapi, schema) =
            own.or_else(|| SCHEMAS.get(row.kind)).cloned().expect("every kind has a schema");
        table.insert(Resource {
            group: row.group.to_owned(),
            version: row.version.to_owned(),
            kind: row.kind.to_owned(),
            list_kind: format!("{}List", row.kind),
            plural: row.plural.to_owned(),
            singular: row.singular.to_owned(),
            short_names: row.short_names.iter().map(|&name| name.to_owned()).collect(),
            categories: if row.plural == DEFINITIONS {
                vec!["api-extensions".to_owned()]
            } else {
                Vec::new()
            },
            is_namespaced: row.is_namespaced,
            has_status: row.has_status,
            has_generation: row.has_generation,
            columns: columns::of(row.kind),
            selectable: row.selectable.iter().map(|&field| field.to_owned()).collect(),
            deprecation: String::new(),
            is_builtin: true,
            is_going: false,
            openapi,
            schema: Some(schema),
            rules: None,
            renames: row.renames,
            stored_as: api_version(group, version),
            id: format!("{plural}.{group}").into(),
        });
    }
    table
}
