//! What a request asks for beside its path.

use std::collections::HashMap;

use axum::extract::Query as AxumQuery;
use http::Uri;

use crate::status::Status;

/// The parameters of a request. The last of several with one name counts.
#[derive(Debug, Default)]
pub(crate) struct Query(HashMap<String, String>);

/// What happens to fields that the schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl Query {
    pub(crate) fn parse(uri: &Uri) -> Result<Query, Status> {
        match AxumQuery::<HashMap<String, String>>::try_from_uri(uri) {
            Ok(AxumQuery(parameters)) => Ok(Query(parameters)),
            Err(error) => Err(Status::bad_request(error.to_string())),
        }
    }

    /// Returns a parameter; a missing one is empty.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!("invalid value for {name}: {text:?} is not a number"))
            }),
        }
    }

    pub(crate) fn dry_run(&self) -> Result<bool, Status> {
        match self.text("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(Status::bad_request(format!("invalid value for dryRun: {other:?}"))),
        }
    }

    /// Returns what happens to unknown fields; a warning unless the client says otherwise.
    pub(crate) fn field_validation(&self) -> Result<FieldValidation, Status> {
        match self.text("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            other => {
                Err(Status::bad_request(format!("invalid value for fieldValidation: {other:?}")))
            }
        }
    }
}
