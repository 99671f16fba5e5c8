//! Reading: one object, or a list in pages.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    form::Form,
    query::Query,
    resource::Resource,
    selector::{Selectable, Selector},
    server::Api,
    status::{FieldError, Problem, Status},
    store::{Key, Listing},
};

impl Api {
    /// Returns an object in the version that is asked for.
    pub(crate) fn get(&self, resource: &Resource, key: &Key) -> Result<Value, Status> {
        match self.store.get(&resource.id, key) {
            Some(stored) => Ok(resource.present(&stored.value)),
            None => Err(Status::not_found(resource, &key.1)),
        }
    }

    /// Returns a page of a list: as things are, or as they were when its first page was read.
    pub(crate) fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        query: &Query,
        form: Form,
    ) -> Result<Value, Status> {
        let selector = selector(resource, query)?;
        let limit = query.number("limit")?.filter(|limit| *limit > 0);
        let place = Place::of(query, limit.is_some(), self.store.revision())?;
        let listing = Listing {
            namespace,
            start: place.start.as_ref(),
            at: place.revision,
            limit: limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            bytes: usize::MAX,
            counts_rest: limit.is_some(),
        };
        let select = |object: &Value| selector.matches(object);
        let select = (!selector.is_empty()).then_some(&select as &dyn Fn(&Value) -> bool);
        let page = self.store.list(&resource.id, &listing, select).map_err(|_| place.expired())?;
        let items: Vec<Value> =
            page.objects.iter().map(|stored| resource.present(&stored.value)).collect();
        let mut metadata = list_metadata(resource, place.revision);
        if let Some(next) = page.next {
            metadata["continue"] = Value::String(token(place.told(), &next));
            if let Some(n_more) = page.n_more {
                metadata["remainingItemCount"] = n_more.into();
            }
        }
        Ok(form.list(resource, metadata, items, self.now()))
    }
}

/// Returns the metadata of a whole list. Those of custom resources say that they do not go on.
pub(crate) fn list_metadata(resource: &Resource, revision: u64) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if !resource.is_builtin {
        metadata["continue"] = json!("");
    }
    metadata
}

/// Where a page is in a list, and in time.
struct Place {
    revision: u64,
    start: Option<Key>,
    /// Whether the list goes on with what is there now, as the client has agreed.
    is_inconsistent: bool,
}

impl Place {
    fn of(query: &Query, is_limited: bool, current: u64) -> Result<Place, Status> {
        check_list(query)?;
        let asked = query
            .revision()
            .map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?;
        query.number("timeoutSeconds")?;
        if !query.text("continue").is_empty() {
            if asked > 0 {
                let message = "specifying resource version is not allowed when using continue";
                return Err(Status::bad_request(message));
            }
            let (version, start) = parse_token(query.text("continue"))?;
            let start = Some(start);
            let Some(revision) = version else {
                return Ok(Place { revision: current, start, is_inconsistent: true });
            };
            return Place { revision, start, is_inconsistent: false }.within(current);
        }
        let is_exact = match query.text("resourceVersionMatch") {
            "Exact" => true,
            // As it was before there was a choice.
            "" => is_limited && asked > 0,
            _ => false,
        };
        let revision = if is_exact { asked } else { asked.max(current) };
        Place { revision, start: None, is_inconsistent: false }.within(current)
    }

    fn within(self, current: u64) -> Result<Place, Status> {
        if self.revision > current {
            return Err(Status::version_too_large(self.revision, current));
        }
        Ok(self)
    }

    /// Returns the error when what this page would show is forgotten.
    fn expired(&self) -> Status {
        match &self.start {
            Some(start) => Status::continue_expired(token(None, start)),
            None => Status::expired("The resourceVersion for the provided list is too old."),
        }
    }

    /// Returns the revision that the token for the next page names.
    fn told(&self) -> Option<u64> {
        (!self.is_inconsistent).then_some(self.revision)
    }
}

/// Checks the parameters of a list against each other.
fn check_list(query: &Query) -> Result<(), Status> {
    const MATCH: &str = "resourceVersionMatch";
    let forbidden =
        |field: &str, why: &str| FieldError::new(field, Problem::Forbidden(why.to_owned()));
    let mut errors = Vec::new();
    let asked = query.text("resourceVersion");
    let matched = query.text(MATCH);
    if !matched.is_empty() {
        if asked.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.push(forbidden(MATCH, why));
        }
        if !query.text("continue").is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(forbidden(MATCH, why));
        }
        if !matches!(matched, "Exact" | "NotOlderThan") {
            errors.push(unknown_match(matched, &["Exact", "NotOlderThan", ""]));
        }
        if matched == "Exact" && asked == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(forbidden(MATCH, why));
        }
    }
    if !query.text("sendInitialEvents").is_empty() {
        let why = "sendInitialEvents is forbidden for list";
        errors.push(forbidden("sendInitialEvents", why));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid_list(&errors)) }
}

/// Checks the parameters of a watch against each other.
pub(crate) fn check_watch(query: &Query) -> Result<(), Status> {
    const MATCH: &str = "resourceVersionMatch";
    let forbidden = |why: &str| FieldError::new(MATCH, Problem::Forbidden(why.to_owned()));
    let mut errors = Vec::new();
    let matched = query.text(MATCH);
    let has_initial = !query.text("sendInitialEvents").is_empty();
    if has_initial && matched != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(forbidden(why));
    }
    if !matched.is_empty() {
        if !has_initial {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(forbidden(why));
        }
        if matched != "NotOlderThan" {
            errors.push(unknown_match(matched, &["NotOlderThan"]));
        }
    }
    if !query.text("continue").is_empty() {
        errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid_list(&errors)) }
}

fn unknown_match(matched: &str, supported: &[&str]) -> FieldError {
    let supported = supported.iter().map(|&word| word.to_owned()).collect();
    let value = Value::from(matched).to_string();
    FieldError::new("resourceVersionMatch", Problem::NotSupported { value, supported })
}

/// Reads the selectors of a request.
pub(crate) fn selector(resource: &Resource, query: &Query) -> Result<Arc<Selector>, Status> {
    let (labels, fields) = (query.text("labelSelector"), query.text("fieldSelector"));
    let selectable = Selectable { fields: &resource.selectable, is_plain: resource.is_builtin };
    Selector::parse(labels, fields, &selectable).map(Arc::new)
}

/// What a client sends back for the next page, as Kubernetes writes it.
#[derive(Deserialize, Serialize)]
struct Token {
    v: String,
    /// The revision of the list; -1 for whatever is there.
    rv: i64,
    /// Namespace and name at which the page begins.
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

fn token(revision: Option<u64>, next: &Key) -> String {
    let token = Token {
        v: TOKEN_VERSION.to_owned(),
        rv: revision.and_then(|revision| i64::try_from(revision).ok()).unwrap_or(-1),
        start: format!("{}/{}", next.0, next.1),
    };
    // A struct of texts and a number has no way to fail.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

/// Reads a token; without a revision, the list goes on with whatever is there.
fn parse_token(token: &str) -> Result<(Option<u64>, Key), Status> {
    let invalid = |why: &str| Status::bad_request(format!("continue key is not valid{why}"));
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|error| invalid(&format!(": {error}")))?;
    let token: Token =
        serde_json::from_slice(&bytes).map_err(|error| invalid(&format!(": {error}")))?;
    if token.v != TOKEN_VERSION {
        return Err(invalid(": server does not recognize this encoded version"));
    }
    let (namespace, name) = token
        .start
        .split_once('/')
        .ok_or_else(|| invalid(": encoded start key empty (version meta.k8s.io/v1)"))?;
    let revision = match token.rv {
        -1 => None,
        rv => Some(u64::try_from(rv).ok().filter(|rv| *rv > 0).ok_or_else(|| {
            invalid(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
        })?),
    };
    Ok((revision, (namespace.to_owned(), name.to_owned())))
}
