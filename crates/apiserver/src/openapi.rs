//! OpenAPI documents of what is served: version 3 for each group and version, version 2 for all.
//!
//! Clients read three things from them: what objects look like, which parameters an operation
//! takes, and which patches a kind understands.

mod operations;
mod schemas;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{
    form::{Media, media_types},
    resource::Resource,
    server::Api,
    status::Status,
};

/// What clients from before version 3 ask for, and give up without.
const PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

/// A document of version 2 that says only that: those clients then know kinds by themselves.
const EMPTY_DOCUMENT: &[u8] = b"\x0a\x032.0";

/// Time for which a document may be kept whose address names its content.
const KEPT: &str = "public, immutable";

/// Which version of OpenAPI a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Two,
    Three,
}

/// The index of version 3, kept for as long as the resources are the same ones. Every command of
/// kubectl asks for it, and it takes all documents to tell their addresses; those are asked for once.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<Option<(Vec<Arc<Resource>>, Bytes)>>);

impl Index {
    /// Returns the index of these resources.
    fn of(&self, resources: Vec<Arc<Resource>>) -> Bytes {
        let mut kept = self.0.lock();
        if let Some((of, text)) = &*kept
            && of.len() == resources.len()
            && of.iter().zip(&resources).all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return text.clone();
        }
        let text = Bytes::from(index(&resources).to_string());
        *kept = Some((resources, text.clone()));
        text
    }
}

/// Returns the answer to a path of OpenAPI, `None` if it is none.
pub(crate) fn answer(
    api: &Api,
    path: &str,
    headers: &HeaderMap,
) -> Option<Result<Response, Status>> {
    match path {
        "/openapi/v2" => Some(if takes(headers, |media| media.takes_json()) {
            Ok(Json(document(&api.table.read().all(), Dialect::Two)).into_response())
        } else if takes(headers, |media| PROTOBUF.contains(&media.name)) {
            // Not every client reads a media type with an `@` in it, though it asked for one.
            let media = HeaderValue::from_static(PROTOBUF[1]);
            Ok(([(header::CONTENT_TYPE, media)], EMPTY_DOCUMENT).into_response())
        } else {
            Err(Status::not_acceptable())
        }),
        "/openapi/v3" | "/openapi/v3/" => {
            let resources = api.table.read().all();
            let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            Some(Ok((headers, api.index.of(resources)).into_response()))
        }
        _ => path.strip_prefix("/openapi/v3/").map(|group_version| {
            let groups = by_path(&api.table.read().all());
            let resources = groups.get(group_version).ok_or_else(Status::no_such_path)?;
            let mut response = Json(document(resources, Dialect::Three)).into_response();
            let kept = HeaderValue::from_static(KEPT);
            response.headers_mut().insert(header::CACHE_CONTROL, kept);
            Ok(response)
        }),
    }
}

fn takes(headers: &HeaderMap, is_taken: impl Fn(Media<'_>) -> bool) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    media_types(accept.unwrap_or_default()).any(is_taken)
}

/// Returns where the document of each group and version is; the address changes with its content.
fn index(resources: &[Arc<Resource>]) -> Value {
    let mut paths = Map::new();
    for (path, resources) in by_path(resources) {
        let mut hasher = DefaultHasher::new();
        document(&resources, Dialect::Three).to_string().hash(&mut hasher);
        let address = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
        paths.insert(path, json!({"serverRelativeURL": address}));
    }
    json!({"paths": paths})
}

/// Returns the resources of each group and version under the path at which they are served.
fn by_path(resources: &[Arc<Resource>]) -> BTreeMap<String, Vec<Arc<Resource>>> {
    let mut groups: BTreeMap<String, Vec<Arc<Resource>>> = BTreeMap::new();
    for resource in resources {
        let path = operations::root(resource).trim_start_matches('/').to_owned();
        groups.entry(path).or_default().push(Arc::clone(resource));
    }
    groups
}

fn document(resources: &[Arc<Resource>], dialect: Dialect) -> Value {
    let mut paths = Map::new();
    let mut definitions = schemas::shared(dialect);
    for resource in resources {
        operations::add(resource, dialect, &mut paths);
        schemas::add(resource, dialect, &mut definitions);
    }
    let info = json!({"title": "Kubernetes", "version": "v1.35.0"});
    match dialect {
        Dialect::Two => json!({
            "swagger": "2.0",
            "info": info,
            "paths": paths,
            "definitions": definitions,
        }),
        Dialect::Three => json!({
            "openapi": "3.0.0",
            "info": info,
            "paths": paths,
            "components": {"schemas": definitions},
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn an_index_is_made_once_for_the_same_resources() {
        let (table, index) = (builtin::table(), Index::default());
        let first = index.of(table.all());
        // The same bytes, not only equal ones.
        assert_eq!(index.of(table.all()).as_ptr(), first.as_ptr());
        let other = index.of(builtin::table().all());
        assert_ne!(other.as_ptr(), first.as_ptr());
        assert_eq!(other, first);
        let fewer = index.of(table.all().into_iter().skip(1).collect());
        assert_ne!(fewer, first);
    }
}
