//! Reading: one object, or a list in pages.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    form::Form, query::Query, resource::Resource, selector::Selector, server::Api, status::Status,
    store::Key,
};

impl Api {
    /// Returns an object in the version that is asked for.
    pub(crate) fn get(&self, resource: &Resource, key: &Key) -> Result<Value, Status> {
        match self.store.get(&resource.id, key) {
            Some(stored) => Ok(resource.present(&stored.value)),
            None => Err(Status::not_found(resource, &key.1)),
        }
    }

    /// Returns a page of a list.
    ///
    /// Later pages show newer changes, but name the revision of the first: a watch from
    /// there tells every change that a page may have missed.
    pub(crate) fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        query: &Query,
        form: Form,
    ) -> Result<Value, Status> {
        let selector = selector(resource, query)?;
        let limit = query.number("limit")?.filter(|limit| *limit > 0);
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let start = match query.text("continue") {
            "" => None,
            token => Some(parse_token(token)?),
        };
        let page = self.store.list(
            &resource.id,
            namespace,
            start.as_ref().map(|(_, key)| key),
            limit,
            |object| selector.matches(object),
        );
        let revision = start.map_or(page.revision, |(revision, _)| revision);
        let items: Vec<Value> =
            page.objects.iter().map(|stored| resource.present(&stored.value)).collect();
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let Some(next) = page.next {
            metadata["continue"] = Value::String(token(revision, &next));
        }
        Ok(form.list(resource, metadata, items, self.now()))
    }
}

/// Reads the selectors of a request.
pub(crate) fn selector(resource: &Resource, query: &Query) -> Result<Arc<Selector>, Status> {
    let (labels, fields) = (query.text("labelSelector"), query.text("fieldSelector"));
    Selector::parse(labels, fields, &resource.selectable).map(Arc::new)
}

/// Returns what a client sends back for the next page.
fn token(revision: u64, next: &Key) -> String {
    URL_SAFE_NO_PAD.encode(json!([revision, next.0, next.1]).to_string())
}

fn parse_token(token: &str) -> Result<(u64, Key), Status> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let parsed = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let (revision, namespace, name) =
        parsed.ok_or_else(|| Status::bad_request("continue key is not valid"))?;
    Ok((revision, (namespace, name)))
}
