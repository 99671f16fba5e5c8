//! Errors as Kubernetes tells them: the `Status` object.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

use crate::{managed_fields::Conflict, resource::Resource};

mod store;

/// Bytes of an unreadable object that are shown to whoever sent it.
const SHOWN_MAX: usize = 1024;

/// An answer that is not an object: a failure, or the success of a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct Status {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata,
    status: &'static str,
    /// The sentence for people; empty for success.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// One word for programs; empty for success.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'static str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// The HTTP status code.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u16,
}

/// The metadata of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Metadata {
    /// How the rest of a list can be had that cannot go on as it began.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    token: Option<Box<str>>,
}

/// What a status is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its plural name, or its kind if the object is invalid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its identity, after a deletion.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which the client should ask again; 0 if nothing is said of it.
    #[serde(skip_serializing_if = "is_zero_seconds")]
    pub retry_after_seconds: u32,
}

/// One wrong field, or another reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Why, as one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// Path of the field.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// Why a field is wrong, in the words of the API machinery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) problem: Problem,
}

/// What is wrong with a field. Values are rendered when the problem is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It is missing; the text says more, or nothing.
    Required(String),
    /// Its value is wrong; one that says nothing is empty.
    Invalid { value: String, detail: String },
    /// Its value has the wrong type; rendered as `Invalid`, but no rule can be checked beside it.
    Type { value: String, detail: String, wanted: &'static str },
    /// Its value is not one of a few.
    NotSupported { value: String, supported: Vec<String> },
    /// It is too long.
    TooLong(u64),
    /// It has too many items.
    TooMany { actual: usize, max: u64 },
    /// It appears twice.
    Duplicate(String),
    /// It may not be so.
    Forbidden(String),
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, problem: Problem) -> FieldError {
        FieldError { field: field.into(), problem }
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        value: &serde_json::Value,
        detail: impl Into<String>,
    ) -> FieldError {
        let problem = Problem::Invalid { value: value.to_string(), detail: detail.into() };
        FieldError::new(field, problem)
    }

    /// Returns whether rules cannot be checked beside this error.
    pub(crate) fn is_blocking(&self) -> bool {
        match self.problem {
            Problem::Required(_)
            | Problem::Type { .. }
            | Problem::NotSupported { .. }
            | Problem::TooLong(_)
            | Problem::TooMany { .. } => true,
            Problem::Invalid { .. } | Problem::Duplicate(_) | Problem::Forbidden(_) => false,
        }
    }

    fn body(&self) -> String {
        match &self.problem {
            Problem::Required(detail) if detail.is_empty() => "Required value".to_owned(),
            Problem::Required(detail) => format!("Required value: {detail}"),
            Problem::Invalid { value, detail } if value.is_empty() => {
                format!("Invalid value: {detail}")
            }
            Problem::Invalid { value, detail } | Problem::Type { value, detail, .. } => {
                format!("Invalid value: {value}: {detail}")
            }
            Problem::NotSupported { value, supported } => {
                let supported: Vec<String> =
                    supported.iter().map(|word| serde_json::json!(word).to_string()).collect();
                format!("Unsupported value: {value}: supported values: {}", supported.join(", "))
            }
            Problem::TooLong(max) => {
                format!("Too long: may not be more than {max} byte{}", plural(*max))
            }
            Problem::TooMany { actual, max } => {
                format!("Too many: {actual}: must have at most {max} item{}", plural(*max))
            }
            Problem::Duplicate(value) => format!("Duplicate value: {value}"),
            Problem::Forbidden(detail) => format!("Forbidden: {detail}"),
        }
    }

    fn reason(&self) -> &'static str {
        match self.problem {
            Problem::Required(_) => "FieldValueRequired",
            Problem::Invalid { .. } => "FieldValueInvalid",
            Problem::Type { .. } => "FieldValueTypeInvalid",
            Problem::NotSupported { .. } => "FieldValueNotSupported",
            Problem::TooLong(_) => "FieldValueTooLong",
            Problem::TooMany { .. } => "FieldValueTooMany",
            Problem::Duplicate(_) => "FieldValueDuplicate",
            Problem::Forbidden(_) => "FieldValueForbidden",
        }
    }
}

fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn is_zero(code: &u16) -> bool {
    *code == 0
}

fn is_zero_seconds(seconds: &u32) -> bool {
    *seconds == 0
}

impl Status {
    fn failure(code: StatusCode, reason: &'static str, message: String) -> Status {
        Status {
            kind: "Status",
            api_version: "v1",
            metadata: Metadata::default(),
            status: "Failure",
            message,
            reason,
            details: None,
            code: code.as_u16(),
        }
    }

    /// Returns the answer to a deletion after which nothing is left.
    pub(crate) fn deleted(resource: &Resource, name: &str, uid: &str) -> Status {
        let mut status = Status::failure(StatusCode::OK, "", String::new()).about(
            resource.group.clone(),
            resource.plural.clone(),
            name,
        );
        status.status = "Success";
        status.code = 0;
        if let Some(details) = &mut status.details {
            details.uid = uid.to_owned();
        }
        status
    }

    fn about(mut self, group: String, kind: String, name: &str) -> Status {
        let name = name.to_owned();
        self.details = Some(Box::new(Details { name, group, kind, ..Details::default() }));
        self
    }

    /// Says that nothing is known of what it is about.
    fn about_nothing(mut self) -> Status {
        self.details = Some(Box::default());
        self
    }

    fn about_object(self, resource: &Resource, name: &str) -> Status {
        self.about(resource.group.clone(), resource.plural.clone(), name)
    }

    pub(crate) fn no_such_path() -> Status {
        let message = "the server could not find the requested resource".to_owned();
        Status::failure(StatusCode::NOT_FOUND, "NotFound", message).about_nothing()
    }

    pub(crate) fn method_not_allowed() -> Status {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Status::failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).about_nothing()
    }

    /// Returns the answer to a verb that objects of a definition do not know.
    pub(crate) fn verb_not_supported(resource: &Resource, verb: &str) -> Status {
        if resource.is_builtin {
            return Status::method_not_allowed();
        }
        let what = resource.qualified();
        let message = format!("{verb} is not supported on resources of kind {what:?}");
        Status::failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
            .about_object(resource, "")
    }

    /// Returns the answer to a name that is taken by an object that is going.
    pub(crate) fn still_exists(resource: &Resource, name: &str) -> Status {
        let mut status = Status::already_exists(resource, name);
        status.message = format!("object is being deleted: {}", status.message);
        status
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Status {
        let message = format!("{} {name:?} not found", resource.qualified());
        Status::failure(StatusCode::NOT_FOUND, "NotFound", message).about_object(resource, name)
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Status {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Status::failure(StatusCode::CONFLICT, "AlreadyExists", message).about_object(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Status {
        let what = resource.qualified();
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Status::failure(StatusCode::CONFLICT, "Conflict", message).about_object(resource, name)
    }

    pub(crate) fn modified(resource: &Resource, name: &str) -> Status {
        const WHY: &str = "the object has been modified; please apply your changes to the latest version and try again";
        Status::conflict(resource, name, WHY)
    }

    pub(crate) fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Status {
        let (group, kind) = (resource.group.clone(), resource.kind.clone());
        Status::invalid_kind(&resource.qualified_kind(), group, kind, name, errors)
    }

    /// Returns the answer to an update that names no version: it is about the resource, not the kind.
    pub(crate) fn invalid_update(resource: &Resource, name: &str, error: FieldError) -> Status {
        let (group, plural) = (resource.group.clone(), resource.plural.clone());
        Status::invalid_kind(&resource.qualified(), group, plural, name, &[error])
    }

    /// Returns the answer to an object of another kind than its resource has.
    pub(crate) fn wrong_kind(resource: &Resource, kind: &str, name: &str) -> Status {
        let detail = format!("must be {}", resource.kind);
        let error = FieldError::invalid("kind", &serde_json::Value::from(kind), detail);
        let qualified = crate::resource::qualify(kind, &resource.group);
        Status::invalid_kind(&qualified, resource.group.clone(), kind.to_owned(), name, &[error])
    }

    fn invalid_kind(
        qualified_kind: &str,
        group: String,
        kind: String,
        name: &str,
        errors: &[FieldError],
    ) -> Status {
        let mut causes: Vec<Cause> = Vec::with_capacity(errors.len());
        let mut messages: Vec<String> = Vec::with_capacity(errors.len());
        for error in errors {
            let body = error.body();
            let message = format!("{}: {body}", error.field);
            // The same error twice says nothing new.
            if !messages.contains(&message) {
                messages.push(message);
            }
            causes.push(Cause {
                reason: error.reason(),
                message: body,
                field: error.field.clone(),
            });
        }
        let message = match messages.as_slice() {
            [message] => message.clone(),
            _ => format!("[{}]", messages.join(", ")),
        };
        let message = format!("{qualified_kind} {name:?} is invalid: {message}");
        let mut status = Status::failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
            .about(group, kind, name);
        if let Some(details) = &mut status.details {
            details.causes = causes;
        }
        status
    }

    /// Returns the answer to an apply that would take fields from their owners.
    pub(crate) fn apply_conflict(conflicts: &[Conflict]) -> Status {
        let message = match conflicts {
            [one] => {
                format!("Apply failed with 1 conflict: conflict with {}: {}", one.owner, one.path)
            }
            _ => {
                let mut lines: Vec<String> = Vec::new();
                let mut owner = None;
                for conflict in conflicts {
                    if owner != Some(&conflict.owner) {
                        lines.push(format!("conflicts with {}:", conflict.owner));
                        owner = Some(&conflict.owner);
                    }
                    lines.push(format!("- {}", conflict.path));
                }
                format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
            }
        };
        let causes = conflicts.iter().map(|conflict| Cause {
            reason: "FieldManagerConflict",
            message: format!("conflict with {}", conflict.owner),
            field: conflict.path.clone(),
        });
        let details = Details { causes: causes.collect(), ..Details::default() };
        let mut status = Status::failure(StatusCode::CONFLICT, "Conflict", message);
        status.details = Some(Box::new(details));
        status
    }

    /// Returns the answer to what Kubernetes, too, fails at without a reason.
    pub(crate) fn unexplained(message: impl Into<String>) -> Status {
        Status::failure(StatusCode::INTERNAL_SERVER_ERROR, "", message.into())
    }

    /// Returns the answer to wrong options of a request.
    pub(crate) fn invalid_options(kind: &str, error: &FieldError) -> Status {
        let body = error.body();
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}: {body}", error.field);
        let mut status = Status::failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
            .about("meta.k8s.io".to_owned(), kind.to_owned(), "");
        let cause = Cause { reason: error.reason(), message: body, field: error.field.clone() };
        if let Some(details) = &mut status.details {
            details.causes = vec![cause];
        }
        status
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Status {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Status::failure(StatusCode::FORBIDDEN, "Forbidden", message).about_object(resource, name)
    }

    /// Returns the answer to whoever creates something in a namespace that is going.
    pub(crate) fn namespace_terminating(
        resource: &Resource,
        name: &str,
        namespace: &str,
    ) -> Status {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut status = Status::forbidden(resource, name, &why);
        if let Some(details) = &mut status.details {
            details.causes = vec![Cause {
                reason: "NamespaceTerminating",
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".to_owned(),
            }];
        }
        status
    }

    /// Returns the answer to a deletion whose precondition does not hold.
    pub(crate) fn precondition_failed(resource: &Resource, name: &str, why: &str) -> Status {
        let what = resource.qualified_kind();
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Status::failure(StatusCode::CONFLICT, "Conflict", message).about(
            resource.group.clone(),
            resource.kind.clone(),
            name,
        )
    }

    /// Returns the answer to an object that does not say its kind; it shows how the object begins.
    pub(crate) fn kind_missing(kind: &str, body: &[u8]) -> Status {
        let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_MAX)]);
        let head: String = text.chars().take(30).collect();
        let more = if head.len() < text.len() { " ..." } else { "" };
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): Object 'Kind' is missing in '{text}' ({head}{more})"
        ))
    }

    pub(crate) fn not_allowed(why: &str) -> Status {
        Status::failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", why.to_owned())
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Status {
        Status::failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message.into())
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Status {
        Status::failure(StatusCode::BAD_REQUEST, "BadRequest", message.into())
    }

    pub(crate) fn too_large(max: usize) -> Status {
        let message = format!("Request entity too large: limit is {max}");
        Status::failure(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &[&str]) -> Status {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Status::failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn not_acceptable() -> Status {
        let message = "only the following media types are accepted: application/json, application/json;stream=watch";
        Status::failure(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message.to_owned())
    }

    pub(crate) fn unauthorized() -> Status {
        Status::failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized".to_owned())
    }

    pub(crate) fn expired(message: impl Into<String>) -> Status {
        Status::failure(StatusCode::GONE, "Expired", message.into())
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::OK);
        (code, Json(self)).into_response()
    }
}
