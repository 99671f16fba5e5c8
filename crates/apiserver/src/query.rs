//! What a request asks for beside its path.

use std::collections::HashMap;

use axum::extract::Query as AxumQuery;
use http::Uri;
use serde_json::Value;

use crate::status::{FieldError, Problem, Status};

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

    /// Returns whether a flag is given and not denied.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|text| text != "0" && !text.eq_ignore_ascii_case("false"))
    }

    /// Returns a number; one that is missing or not above zero is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let number: i64 = text.parse().map_err(|_| {
            Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        })?;
        Ok(u64::try_from(number).ok().filter(|number| *number > 0))
    }

    /// Returns the revision that is asked for, 0 for any; what is none is told in the words of the error.
    pub(crate) fn revision(&self) -> Result<u64, String> {
        match self.text("resourceVersion") {
            "" => Ok(0),
            text => text.parse().map_err(|_| {
                format!(
                    "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                )
            }),
        }
    }

    /// Returns whether nothing is to be kept; `options` names the kind of the request's options.
    pub(crate) fn dry_run(&self, options: &str) -> Result<bool, Status> {
        check_dry_run(options, self.0.get("dryRun").map(String::as_str).as_slice())
    }

    /// Returns what happens to unknown fields; a warning unless the client says otherwise.
    pub(crate) fn field_validation(&self, options: &str) -> Result<FieldValidation, Status> {
        match self.text("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"].map(str::to_owned).to_vec();
                let value = Value::from(other).to_string();
                let problem = Problem::NotSupported { value, supported };
                let error = FieldError::new("fieldValidation", problem);
                Err(Status::invalid_options(options, &error))
            }
        }
    }
}

/// Returns whether the stages of a dry run are all, or none.
pub(crate) fn check_dry_run(options: &str, stages: &[&str]) -> Result<bool, Status> {
    if stages.iter().all(|stage| matches!(*stage, "All" | "")) {
        return Ok(stages.contains(&"All"));
    }
    let value = Value::from(stages.to_vec()).to_string();
    let problem = Problem::NotSupported { value, supported: vec!["All".to_owned()] };
    Err(Status::invalid_options(options, &FieldError::new("dryRun", problem)))
}
