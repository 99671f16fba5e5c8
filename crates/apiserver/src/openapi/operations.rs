//! What can be done at each path.

use serde_json::{Map, Value, json};

use super::{
    Dialect,
    schemas::{self, reference},
};
use crate::{patch, resource::Resource};

const JSON: &str = "application/json";

/// An operation: what it is called, what it takes and what it answers.
struct Operation {
    method: &'static str,
    action: &'static str,
    parameters: &'static [&'static str],
    body: Body,
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Object,
    Patch,
    DeleteOptions,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Object,
    List,
    Status,
}

const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];

const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "propagationPolicy"];

const OF_COLLECTION: [Operation; 3] = [
    Operation {
        method: "get",
        action: "list",
        parameters: LIST,
        body: Body::None,
        answer: Answer::List,
    },
    Operation {
        method: "post",
        action: "post",
        parameters: WRITE,
        body: Body::Object,
        answer: Answer::Object,
    },
    Operation {
        method: "delete",
        action: "deletecollection",
        parameters: &["dryRun", "fieldSelector", "labelSelector", "propagationPolicy"],
        body: Body::DeleteOptions,
        answer: Answer::Status,
    },
];

const OF_OBJECT: [Operation; 4] = [
    Operation {
        method: "get",
        action: "get",
        parameters: &[],
        body: Body::None,
        answer: Answer::Object,
    },
    Operation {
        method: "put",
        action: "put",
        parameters: WRITE,
        body: Body::Object,
        answer: Answer::Object,
    },
    Operation {
        method: "patch",
        action: "patch",
        parameters: &["dryRun", "fieldManager", "fieldValidation", "force"],
        body: Body::Patch,
        answer: Answer::Object,
    },
    Operation {
        method: "delete",
        action: "delete",
        parameters: DELETE,
        body: Body::DeleteOptions,
        answer: Answer::Status,
    },
];

/// Returns the path under which the resources of a group and version are served.
pub(super) fn root(resource: &Resource) -> String {
    match resource.group.as_str() {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    }
}

/// Adds the paths of a resource.
pub(super) fn add(resource: &Resource, dialect: Dialect, paths: &mut Map<String, Value>) {
    let (root, plural) = (root(resource), &resource.plural);
    let base = if resource.is_namespaced {
        // Across namespaces, objects can only be listed.
        let list = &OF_COLLECTION[..1];
        paths.insert(format!("{root}/{plural}"), path(resource, list, &[], dialect));
        format!("{root}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{root}/{plural}")
    };
    let in_path: &[&str] = if resource.is_namespaced { &["name", "namespace"] } else { &["name"] };
    let of_collection = path(resource, &OF_COLLECTION, &in_path[1..], dialect);
    paths.insert(base.clone(), of_collection);
    paths.insert(format!("{base}/{{name}}"), path(resource, &OF_OBJECT, in_path, dialect));
    if resource.has_status {
        let of_status = path(resource, &OF_OBJECT[..3], in_path, dialect);
        paths.insert(format!("{base}/{{name}}/status"), of_status);
    }
}

fn path(
    resource: &Resource,
    operations: &[Operation],
    in_path: &[&str],
    dialect: Dialect,
) -> Value {
    let mut path = Map::new();
    for operation in operations {
        path.insert(operation.method.to_owned(), operation.describe(resource, dialect));
    }
    let mut parameters: Vec<Value> =
        in_path.iter().map(|name| parameter(name, "path", dialect)).collect();
    parameters.push(parameter("pretty", "query", dialect));
    path.insert("parameters".to_owned(), Value::Array(parameters));
    Value::Object(path)
}

impl Operation {
    fn describe(&self, resource: &Resource, dialect: Dialect) -> Value {
        let answer = match self.answer {
            Answer::Object => schemas::name(resource),
            Answer::List => schemas::list_name(resource),
            Answer::Status => schemas::STATUS.to_owned(),
        };
        let answer = reference(&answer, dialect);
        let mut parameters: Vec<Value> =
            self.parameters.iter().map(|name| parameter(name, "query", dialect)).collect();
        let mut operation = json!({
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": {
                "group": resource.group,
                "version": resource.version,
                "kind": resource.kind,
            },
        });
        let consumed = self.consumed(resource);
        let sent = match self.body {
            Body::None => None,
            Body::Object => Some(schemas::name(resource)),
            Body::Patch => Some(schemas::PATCH.to_owned()),
            Body::DeleteOptions => Some(schemas::DELETE_OPTIONS.to_owned()),
        };
        let sent = sent.map(|name| reference(&name, dialect));
        match dialect {
            Dialect::Two => {
                operation["consumes"] = json!(consumed);
                operation["produces"] = json!([JSON]);
                operation["responses"] = json!({"200": {"description": "OK", "schema": answer}});
                if let Some(schema) = sent {
                    let body = json!({"name": "body", "in": "body", "schema": schema});
                    parameters.push(body);
                }
            }
            Dialect::Three => {
                let content = |types: &[&str], schema: &Value| -> Value {
                    let content =
                        types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema})));
                    Value::Object(content.collect())
                };
                operation["responses"] =
                    json!({"200": {"description": "OK", "content": content(&[JSON], &answer)}});
                if let Some(schema) = sent {
                    operation["requestBody"] = json!({"content": content(consumed, &schema)});
                }
            }
        }
        operation["parameters"] = Value::Array(parameters);
        operation
    }

    fn consumed(&self, resource: &Resource) -> &'static [&'static str] {
        match self.body {
            Body::Patch => patch::media_types(resource),
            Body::None | Body::Object | Body::DeleteOptions => &[JSON],
        }
    }
}

fn parameter(name: &str, place: &str, dialect: Dialect) -> Value {
    let type_ = match name {
        "allowWatchBookmarks" | "force" | "sendInitialEvents" | "watch" => "boolean",
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    };
    let mut parameter = json!({"name": name, "in": place});
    if place == "path" {
        parameter["required"] = json!(true);
    }
    match dialect {
        Dialect::Two => parameter["type"] = json!(type_),
        Dialect::Three => parameter["schema"] = json!({"type": type_}),
    }
    parameter
}
