//! Discovery: what is served, in the aggregated form and in the old one.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use crate::{form::media_types, resource::Resource, review::REVIEWS, server::Api, status::Status};

/// What every resource can do.
const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What namespaces can do.
const VERBS_ONE_BY_ONE: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];

/// What a status can do.
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// A resource as discovery tells of it.
#[derive(Clone, Debug)]
struct Served {
    group: String,
    version: String,
    kind: String,
    plural: String,
    singular: String,
    short_names: Vec<String>,
    categories: Vec<String>,
    is_namespaced: bool,
    has_status: bool,
    verbs: &'static [&'static str],
}

/// Returns everything that is served: groups by name, versions best first.
fn served(api: &Api) -> Vec<Served> {
    let of = |resource: Arc<Resource>| Served {
        group: resource.group.clone(),
        version: resource.version.clone(),
        kind: resource.kind.clone(),
        plural: resource.plural.clone(),
        singular: resource.singular.clone(),
        short_names: resource.short_names.clone(),
        categories: resource.categories.clone(),
        is_namespaced: resource.is_namespaced,
        has_status: resource.has_status,
        verbs: if resource.goes_one_by_one() { &VERBS_ONE_BY_ONE } else { &VERBS },
    };
    let mut served: Vec<Served> = api.table.read().all().into_iter().map(of).collect();
    served.extend(REVIEWS.iter().map(|review| Served {
        group: review.group.to_owned(),
        version: review.version.to_owned(),
        kind: review.kind.to_owned(),
        plural: review.plural.to_owned(),
        singular: review.singular.to_owned(),
        short_names: Vec::new(),
        categories: Vec::new(),
        is_namespaced: false,
        has_status: false,
        verbs: &["create"],
    }));
    // Stable: within a group the versions keep their order.
    served.sort_by(|a, b| a.group.cmp(&b.group));
    served
}

/// Returns the answer to a path of discovery, `None` if it is none.
pub(crate) fn answer(
    api: &Api,
    path: &str,
    headers: &HeaderMap,
) -> Option<Result<Response, Status>> {
    let resources = || served(api);
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let json = |value: Value| Some(Ok(Json(value).into_response()));
    match segments.as_slice() {
        ["api" | "apis"] => {
            let is_core = segments == ["api"];
            Some(root(&resources(), is_core, headers))
        }
        ["apis", group] => match group_of(&resources(), group) {
            Some(group) => json(group),
            None => Some(Err(Status::no_such_path())),
        },
        ["api", version] => list(&resources(), "", version),
        ["apis", group, version] => list(&resources(), group, version),
        _ => None,
    }
}

fn root(resources: &[Served], is_core: bool, headers: &HeaderMap) -> Result<Response, Status> {
    let accept = headers.get(header::ACCEPT).map_or("", |value| value.to_str().unwrap_or_default());
    for media in media_types(accept).filter(|media| media.takes_json()) {
        let is_aggregated = (media.group, media.kind)
            == ("apidiscovery.k8s.io", "APIGroupDiscoveryList")
            && matches!(media.version, "v2" | "v2beta1");
        if is_aggregated {
            return Ok(aggregated(resources, is_core, media.version));
        }
        if media.kind.is_empty() {
            let answer = if is_core { versions() } else { group_list(resources) };
            return Ok(vary(Json(answer).into_response()));
        }
    }
    Err(Status::not_acceptable())
}

/// Tells caches that the answer depends on what was asked for.
fn vary(mut response: Response) -> Response {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

// === The aggregated form ===

fn aggregated(resources: &[Served], is_core: bool, version: &str) -> Response {
    let groups = group_names(resources).into_iter().filter(|group| group.is_empty() == is_core);
    let items: Vec<Value> = groups.map(|group| aggregated_group(resources, group)).collect();
    let answer = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    let mut response = vary(Json(answer).into_response());
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    if let Ok(media) = HeaderValue::from_str(&media) {
        response.headers_mut().insert(header::CONTENT_TYPE, media);
    }
    response
}

fn aggregated_group(resources: &[Served], group: &str) -> Value {
    let versions: Vec<Value> = version_names(resources, group)
        .into_iter()
        .map(|version| {
            let resources: Vec<Value> =
                of_version(resources, group, version).map(aggregated_resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Served) -> Value {
    let kind = json!({
        "group": resource.group,
        "version": resource.version,
        "kind": resource.kind,
    });
    let mut shown = json!({
        "resource": resource.plural,
        "responseKind": kind,
        "scope": if resource.is_namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    extend_with_names(&mut shown, resource);
    if resource.has_status {
        shown["subresources"] =
            json!([{"subresource": "status", "responseKind": kind, "verbs": STATUS_VERBS}]);
    }
    shown
}

fn extend_with_names(shown: &mut Value, resource: &Served) {
    for (field, names) in
        [("shortNames", &resource.short_names), ("categories", &resource.categories)]
    {
        if !names.is_empty() {
            shown[field] = json!(names);
        }
    }
}

// === The old form ===

fn versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

fn group_list(resources: &[Served]) -> Value {
    let groups = group_names(resources).into_iter().filter(|group| !group.is_empty());
    let groups: Vec<Value> = groups.map(|group| group_object(resources, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group_of(resources: &[Served], group: &str) -> Option<Value> {
    if group.is_empty() || !group_names(resources).contains(&group) {
        return None;
    }
    let mut object = group_object(resources, group);
    object["kind"] = json!("APIGroup");
    object["apiVersion"] = json!("v1");
    Some(object)
}

fn group_object(resources: &[Served], group: &str) -> Value {
    let versions: Vec<Value> = version_names(resources, group)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn list(resources: &[Served], group: &str, version: &str) -> Option<Result<Response, Status>> {
    let mut shown = Vec::new();
    for resource in of_version(resources, group, version) {
        shown.push(listed(resource, "", resource.verbs));
        if resource.has_status {
            shown.push(listed(resource, "/status", &STATUS_VERBS));
        }
    }
    if shown.is_empty() {
        return Some(Err(Status::no_such_path()));
    }
    let group_version = crate::resource::api_version(group, version);
    Some(Ok(Json(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": shown,
    }))
    .into_response()))
}

fn listed(resource: &Served, subresource: &str, verbs: &[&str]) -> Value {
    let mut shown = json!({
        "name": format!("{}{subresource}", resource.plural),
        "singularName": if subresource.is_empty() { resource.singular.as_str() } else { "" },
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": verbs,
    });
    if subresource.is_empty() {
        extend_with_names(&mut shown, resource);
    }
    shown
}

// === What both are made of ===

/// Returns the groups in the order of the resources, which is by name.
fn group_names(resources: &[Served]) -> Vec<&str> {
    let mut names: Vec<&str> = resources.iter().map(|resource| resource.group.as_str()).collect();
    names.dedup();
    names
}

/// Returns the versions of a group, the preferred one first.
fn version_names<'a>(resources: &'a [Served], group: &str) -> Vec<&'a str> {
    let of_group = resources.iter().filter(|resource| resource.group == group);
    let mut names: Vec<&str> = of_group.map(|resource| resource.version.as_str()).collect();
    names.dedup();
    names
}

fn of_version<'a>(
    resources: &'a [Served],
    group: &str,
    version: &str,
) -> impl Iterator<Item = &'a Served> {
    resources.iter().filter(move |r| r.group == group && r.version == version)
}
