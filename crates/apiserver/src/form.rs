//! The forms in which objects are shown: whole, as rows of a table, or as their metadata alone.

use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    query::Query,
    resource::Resource,
    status::Status,
    table::{self, Include},
};

/// Bytes of the longest `Accept` header that is read.
const ACCEPT_MAX: usize = 4096;

/// A form that a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    Metadata,
    Table { version: &'static str, include: Include, has_head: bool },
}

impl Form {
    /// Returns the first form of the `Accept` header that is known here.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Form, Status> {
        let Some(accept) = headers.get(header::ACCEPT) else {
            return Ok(Form::Whole);
        };
        let accept = accept.to_str().unwrap_or_default();
        if accept.len() > ACCEPT_MAX {
            return Err(Status::not_acceptable());
        }
        let include = match query.text("includeObject") {
            "None" => Include::Nothing,
            "Object" => Include::Object,
            _ => Include::Metadata,
        };
        let mut forms = media_types(accept).filter_map(|media| media.form(include));
        let form = forms.next().ok_or_else(Status::not_acceptable)?;
        let included = query.text("includeObject");
        if matches!(form, Form::Table { .. })
            && !matches!(included, "" | "None" | "Metadata" | "Object")
        {
            return Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {included:?}: must be 'Metadata', 'Object', 'None', or empty"
            )));
        }
        Ok(form)
    }

    /// Returns one object.
    pub(crate) fn object(self, resource: &Resource, object: Value, now: Timestamp) -> Value {
        match self {
            Form::Whole => object,
            Form::Metadata => table::metadata_only(&object),
            Form::Table { .. } => {
                let version = object["metadata"]["resourceVersion"].clone();
                let metadata = json!({"resourceVersion": version});
                self.list(resource, metadata, vec![object], now)
            }
        }
    }

    /// Returns a list of objects, whose own metadata is given.
    pub(crate) fn list(
        self,
        resource: &Resource,
        mut metadata: Value,
        mut items: Vec<Value>,
        now: Timestamp,
    ) -> Value {
        if self == Form::Whole && resource.is_builtin {
            // The list says it for all of them.
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                item.remove("apiVersion");
                item.remove("kind");
            }
        }
        if self != Form::Whole && metadata["continue"] == "" {
            metadata.as_object_mut().map(|metadata| metadata.remove("continue"));
        }
        match self {
            Form::Whole => json!({
                "apiVersion": resource.api_version(),
                "kind": resource.list_kind,
                "metadata": metadata,
                "items": items,
            }),
            Form::Metadata => json!({
                "apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadataList",
                "metadata": metadata,
                "items": items.iter().map(table::metadata_only).collect::<Value>(),
            }),
            Form::Table { version, include, has_head } => {
                let columns = &resource.columns;
                let rows = items
                    .into_iter()
                    .map(|object| table::row(columns, object, include, version, now));
                let rows: Value = rows.collect();
                let head =
                    if has_head { table::definitions(columns) } else { Value::Array(Vec::new()) };
                json!({
                    "apiVersion": version,
                    "kind": "Table",
                    "metadata": metadata,
                    "columnDefinitions": head,
                    "rows": rows,
                })
            }
        }
    }

    /// Returns a bookmark, which is an object that has only metadata.
    pub(crate) fn bookmark(self, resource: &Resource, metadata: Value) -> Value {
        match self {
            Form::Whole => json!({
                "apiVersion": resource.api_version(),
                "kind": resource.kind,
                "metadata": metadata,
            }),
            Form::Metadata => table::metadata_only(&json!({"metadata": metadata})),
            Form::Table { version, .. } => json!({
                "apiVersion": version,
                "kind": "Table",
                "metadata": metadata,
                "columnDefinitions": [],
                "rows": [{
                    "cells": [],
                    "object": table::metadata_only(&json!({"metadata": metadata})),
                }],
            }),
        }
    }

    /// Returns the form of what follows the first object of a watch: a table tells its head once.
    pub(crate) fn without_head(self) -> Form {
        match self {
            Form::Table { version, include, .. } => {
                Form::Table { version, include, has_head: false }
            }
            other => other,
        }
    }
}

/// A media type with the parameters that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Media<'a> {
    pub(crate) name: &'a str,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
}

/// Reads an `Accept` header in its order.
pub(crate) fn media_types(accept: &str) -> impl Iterator<Item = Media<'_>> {
    accept.split(',').map(|part| {
        let mut parts = part.split(';').map(str::trim);
        let mut media = Media { name: parts.next().unwrap_or_default(), ..Media::default() };
        for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            match key {
                "g" => media.group = value,
                "v" => media.version = value,
                "as" => media.kind = value,
                _ => {}
            }
        }
        media
    })
}

impl Media<'_> {
    /// Returns whether JSON answers this.
    pub(crate) fn takes_json(&self) -> bool {
        matches!(self.name, "application/json" | "application/*" | "*/*" | "")
    }

    fn form(&self, include: Include) -> Option<Form> {
        let version = match (self.group, self.version) {
            ("meta.k8s.io", "v1") => "meta.k8s.io/v1",
            ("meta.k8s.io", "v1beta1") => "meta.k8s.io/v1beta1",
            _ => "",
        };
        match self.kind {
            _ if !self.takes_json() => None,
            "" => Some(Form::Whole),
            _ if version.is_empty() => None,
            "Table" => Some(Form::Table { version, include, has_head: true }),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Form::Metadata),
            _ => None,
        }
    }
}
