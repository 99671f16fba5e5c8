//! What the store has to say: writes that did not become durable, lists that cannot be shown.

use http::StatusCode;

use super::{Cause, Details, FieldError, Status};
use crate::{
    resource::Resource,
    store::{Failed, Refused},
};

/// Seconds after which a client may ask again for a version that this server has not reached.
const RETRY_SECONDS: u32 = 1;

impl Status {
    /// Returns what became of a write that the store did not accept.
    pub(crate) fn refused(refused: Refused, resource: &Resource, name: &str) -> Status {
        match refused {
            Refused::Conflict => Status::modified(resource, name),
            Refused::TooDeep => Status::bad_request("the object is nested too deeply"),
            Refused::Full => Status::internal(
                StatusCode::INSUFFICIENT_STORAGE,
                "the objects take all the space that they may: delete some",
            ),
        }
    }

    /// Returns what became of a write that did not become durable.
    pub(crate) fn not_written(failed: &Failed) -> Status {
        let code = if failed.is_full {
            StatusCode::INSUFFICIENT_STORAGE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Status::internal(code, &failed.message)
    }

    fn internal(code: StatusCode, why: &str) -> Status {
        let message = format!("Internal error occurred: {why}");
        let mut status = Status::failure(code, "InternalError", message);
        let cause = Cause { reason: "", message: why.to_owned(), field: String::new() };
        status.details = Some(Box::new(Details { causes: vec![cause], ..Details::default() }));
        status
    }

    /// Returns the answer to a list that wants to go on where nothing is remembered of its
    /// beginning; with `token` it can go on, but shows what is there now.
    pub(crate) fn continue_expired(token: String) -> Status {
        const MESSAGE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
        let mut status = Status::expired(MESSAGE);
        status.metadata.token = Some(token.into());
        status
    }

    /// Returns the answer to a request for a version that this server has not reached.
    pub(crate) fn version_too_large(version: u64, current: u64) -> Status {
        let message = format!("Timeout: Too large resource version: {version}, current: {current}");
        let mut status = Status::failure(StatusCode::GATEWAY_TIMEOUT, "Timeout", message);
        let cause = Cause {
            reason: "ResourceVersionTooLarge",
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        status.details = Some(Box::new(Details {
            causes: vec![cause],
            retry_after_seconds: RETRY_SECONDS,
            ..Details::default()
        }));
        status
    }

    /// Returns the answer to parameters of a list or a watch that do not go together.
    pub(crate) fn invalid_list(errors: &[FieldError]) -> Status {
        let (group, kind) = ("meta.k8s.io".to_owned(), "ListOptions".to_owned());
        Status::invalid_kind("ListOptions.meta.k8s.io", group, kind, "", errors)
    }
}
