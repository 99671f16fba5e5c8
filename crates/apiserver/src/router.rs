//! From HTTP requests to operations and back.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use crate::{
    decode, discovery,
    form::Form,
    openapi,
    patch::Patch,
    path::Target,
    query::Query,
    resource::Resource,
    review::Review,
    server::Api,
    status::{FieldError, Problem, Status},
    store::Key,
    watch,
    write::{Deleted, Deletion, Options, Part, Written},
};

/// Bytes of the largest body, as in Kubernetes.
const BODY_MAX: usize = 3 << 20;

/// The version of Kubernetes whose API this is.
const VERSION: (&str, &str) = ("1", "35");

/// Paths that tell whether the server lives: it does if it answers.
const HEALTH: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// Letters of the longest name of a manager.
const MANAGER_MAX: usize = 128;

/// Warnings of one answer; the rest stay unsaid.
const WARNINGS_MAX: usize = 32;

pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new().fallback(answer).with_state(api)
}

async fn answer(State(api): State<Arc<Api>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return Status::too_large(BODY_MAX).into_response();
    };
    durably(api, &parts, body).await.unwrap_or_else(IntoResponse::into_response)
}

/// Serves a request, and answers when what it has written is durable.
async fn durably(api: Arc<Api>, parts: &Parts, body: Bytes) -> Result<Response, Status> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return serve(api, parts, body);
    }
    api.store.room().await;
    let mark = api.store.mark();
    let response = {
        let _request = api.store.request();
        serve(Arc::clone(&api), parts, body)?
    };
    match api.store.settled(mark).await {
        Ok(()) => Ok(response),
        Err(failed) => {
            // A definition may be among what is not there after all.
            api.redefine();
            Err(Status::not_written(&failed))
        }
    }
}

fn serve(api: Arc<Api>, parts: &Parts, body: Bytes) -> Result<Response, Status> {
    if parts.method == Method::GET
        && let Some(answer) = beside_resources(&api, parts)
    {
        return answer;
    }
    let target = Target::parse(parts.uri.path()).ok_or_else(Status::no_such_path)?;
    if let Some(review) = Review::find(target.group, target.version, target.plural) {
        if parts.method != Method::POST || target.name.is_some() {
            return Err(Status::method_not_allowed());
        }
        return Ok(review.answer(&decode::object(media_type(&parts.headers), &body)?.object));
    }
    let resource = api.resource(target.group, target.version, target.plural)?;
    let query = Query::parse(&parts.uri)?;
    let form = Form::negotiate(&parts.headers, &query)?;
    let part = match target.subresource {
        None => Part::Main,
        Some("status") if resource.has_status => Part::Status,
        Some(_) => return Err(Status::no_such_path()),
    };
    if target.namespace.is_some() && !resource.is_namespaced {
        return Err(Status::no_such_path());
    }
    let call = Call { api, resource, query, form, headers: &parts.headers, body };
    match target.name {
        Some(name) => {
            let namespace = match (call.resource.is_namespaced, target.namespace) {
                (true, None) => return Err(Status::no_such_path()),
                (_, namespace) => namespace.unwrap_or_default(),
            };
            call.object(&parts.method, (namespace.to_owned(), name.to_owned()), part)
        }
        None => call.collection(&parts.method, target.namespace),
    }
}

/// Answers what is about the server and not about an object.
fn beside_resources(api: &Api, parts: &Parts) -> Option<Result<Response, Status>> {
    match parts.uri.path() {
        "/version" | "/version/" => Some(Ok(Json(version()).into_response())),
        path if HEALTH.iter().any(|health| is_at(path, health)) => Some(Ok("ok".into_response())),
        path => openapi::answer(api, path, &parts.headers)
            .or_else(|| discovery::answer(api, path, &parts.headers)),
    }
}

/// Returns the version of Kubernetes whose API this is.
fn version() -> Value {
    let (major, minor) = VERSION;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.0"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// Returns whether a path is another one or below it.
fn is_at(path: &str, other: &str) -> bool {
    let below = path.strip_prefix(other);
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

fn media_type(headers: &HeaderMap) -> &str {
    let header = headers.get(header::CONTENT_TYPE);
    header.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A request whose resource is known.
struct Call<'a> {
    api: Arc<Api>,
    resource: Arc<Resource>,
    query: Query,
    form: Form,
    headers: &'a HeaderMap,
    body: Bytes,
}

impl Call<'_> {
    fn collection(self, method: &Method, namespace: Option<&str>) -> Result<Response, Status> {
        match *method {
            Method::GET if self.query.flag("watch") => self.watch(namespace),
            Method::GET => {
                let list = self.api.list(&self.resource, namespace, &self.query, self.form)?;
                Ok(Json(list).into_response())
            }
            Method::POST => {
                let input = decode::object(self.media_type(), &self.body)?;
                let namespace = match (self.resource.is_namespaced, namespace) {
                    (true, None) => return Err(Status::method_not_allowed()),
                    (_, namespace) => namespace.unwrap_or_default(),
                };
                let options = self.options(input.problems)?;
                let written = self.api.create(&self.resource, namespace, input.object, &options)?;
                Ok(self.show(written, StatusCode::CREATED))
            }
            Method::DELETE => {
                let deletion = self.deletion()?;
                let list =
                    self.api.delete_all(&self.resource, namespace, &self.query, &deletion)?;
                Ok(Json(list).into_response())
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn object(self, method: &Method, key: Key, part: Part) -> Result<Response, Status> {
        match *method {
            Method::GET => {
                let object = self.api.get(&self.resource, &key)?;
                Ok(Json(self.formed(object)).into_response())
            }
            Method::PUT => {
                let input = decode::object(self.media_type(), &self.body)?;
                let options = self.options(input.problems)?;
                let written =
                    self.api.update(&self.resource, &key, part, input.object, &options)?;
                Ok(self.show(written, StatusCode::OK))
            }
            Method::PATCH => {
                let (patch, problems) =
                    Patch::parse(&self.resource, self.media_type(), &self.body)?;
                let mut options = self.options(problems)?;
                if let Patch::Apply(config) = &patch {
                    // An owner must name itself.
                    options.manager = self.query.text("fieldManager").to_owned();
                    let (written, code) =
                        self.api.apply(&self.resource, &key, part, config, &options)?;
                    return Ok(self.show(written, code));
                }
                if options.force {
                    let problem =
                        Problem::Forbidden("may not be specified for non-apply patch".to_owned());
                    let error = FieldError::new("force", problem);
                    return Err(Status::invalid_options("PatchOptions", &error));
                }
                let written = self.api.patch(&self.resource, &key, part, &patch, &options)?;
                Ok(self.show(written, StatusCode::OK))
            }
            Method::DELETE if part == Part::Main => {
                match self.api.delete(&self.resource, &key, &self.deletion()?)? {
                    Deleted::Held(object) => Ok(Json(self.formed(object)).into_response()),
                    Deleted::Gone { uid } => {
                        Ok(Status::deleted(&self.resource, &key.1, &uid).into_response())
                    }
                }
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn watch(self, namespace: Option<&str>) -> Result<Response, Status> {
        let namespace = namespace.map(str::to_owned);
        let stream = watch::watch(self.api, self.resource, self.form, namespace, &self.query)?;
        let json = HeaderValue::from_static("application/json");
        Ok(([(header::CONTENT_TYPE, json)], Body::from_stream(stream)).into_response())
    }

    /// Returns an object in the form that was asked for.
    fn formed(&self, object: Value) -> Value {
        self.form.object(&self.resource, object, self.api.now())
    }

    fn show(&self, written: Written, code: StatusCode) -> Response {
        let mut response = (code, Json(self.formed(written.object))).into_response();
        for warning in written.warnings.iter().take(WARNINGS_MAX) {
            if let Ok(value) = HeaderValue::from_str(&format!("299 - {warning:?}")) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        response
    }

    fn media_type(&self) -> &str {
        media_type(self.headers)
    }

    fn options(&self, problems: Vec<String>) -> Result<Options, Status> {
        Ok(Options {
            dry_run: self.query.dry_run()?,
            validation: self.query.field_validation()?,
            manager: self.manager()?,
            force: self.query.flag("force"),
            problems,
        })
    }

    /// Returns who writes: who the client says it is, or which program it is.
    fn manager(&self) -> Result<String, Status> {
        let manager = self.query.text("fieldManager");
        if manager.chars().count() > MANAGER_MAX {
            let problem = Problem::TooLong(MANAGER_MAX as u64);
            let error = FieldError::new("fieldManager", problem);
            return Err(Status::invalid_options("PatchOptions", &error));
        }
        if !manager.is_empty() {
            return Ok(manager.to_owned());
        }
        let agent = self.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let program: String =
            agent.split('/').next().unwrap_or_default().chars().take(MANAGER_MAX).collect();
        Ok(if program.is_empty() { "unknown".to_owned() } else { program })
    }

    fn deletion(&self) -> Result<Deletion, Status> {
        let dry_run = self.query.dry_run()?;
        if self.body.is_empty() {
            return Ok(Deletion { dry_run, ..Deletion::default() });
        }
        let options = decode::object(self.media_type(), &self.body)?.object;
        let condition = |field: &str| options["preconditions"][field].as_str().map(str::to_owned);
        Ok(Deletion {
            dry_run: dry_run || options["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
            uid: condition("uid"),
            resource_version: condition("resourceVersion"),
        })
    }
}
