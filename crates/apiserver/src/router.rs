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
    decode::{self, Input},
    discovery,
    form::Form,
    openapi,
    patch::Patch,
    path::{self, Target},
    query::{Query, check_dry_run},
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

/// The kind of the options of deletions.
const DELETE_OPTIONS: &str = "DeleteOptions";

/// Letters of the longest name of a manager.
const MANAGER_MAX: usize = 128;

/// Warnings of one answer; the rest stay unsaid.
const WARNINGS_MAX: usize = 32;

pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new().fallback(answer).with_state(api)
}

async fn answer(State(api): State<Arc<Api>>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    if is_head {
        parts.method = Method::GET;
    }
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return Status::too_large(BODY_MAX).into_response();
    };
    let answer = durably(api, &parts, body).await.unwrap_or_else(IntoResponse::into_response);
    if is_head { answer.map(|_| Body::empty()) } else { answer }
}

/// Serves a request, and answers when what it has written is durable.
async fn durably(api: Arc<Api>, parts: &Parts, body: Bytes) -> Result<Response, Status> {
    if parts.method == Method::GET {
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
    let path = path::decoded(parts.uri.path()).ok_or_else(Status::no_such_path)?;
    let target = Target::parse(&path).ok_or_else(Status::no_such_path)?;
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
        Some(_) if resource.is_builtin => return Err(Status::no_such_path()),
        Some(_) => return Err(Status::not_found(&resource, target.name.unwrap_or_default())),
    };
    if target.namespace.is_some() && !resource.is_namespaced {
        return Err(Status::no_such_path());
    }
    let deprecation = resource.deprecation.clone();
    let call = Call { api, resource, query, form, headers: &parts.headers, body };
    let mut response = call.answer(&parts.method, &target, part)?;
    // That a version goes is said before what is wrong with the object.
    let others: Vec<HeaderValue> =
        response.headers().get_all(header::WARNING).iter().cloned().collect();
    response.headers_mut().remove(header::WARNING);
    let mut response = warned(response, &[deprecation]);
    response.headers_mut().extend(others.into_iter().map(|value| (header::WARNING, value)));
    Ok(response)
}

/// Adds warnings to an answer; empty ones are none.
fn warned(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings.iter().filter(|warning| !warning.is_empty()).take(WARNINGS_MAX) {
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {warning:?}")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
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
    fn answer(self, method: &Method, target: &Target<'_>, part: Part) -> Result<Response, Status> {
        match target.name {
            Some(name) => {
                let namespace = match (self.resource.is_namespaced, target.namespace) {
                    (true, None) => return Err(Status::no_such_path()),
                    (_, namespace) => namespace.unwrap_or_default(),
                };
                self.object(method, (namespace.to_owned(), name.to_owned()), part)
            }
            None => self.collection(method, target.namespace),
        }
    }

    fn collection(self, method: &Method, namespace: Option<&str>) -> Result<Response, Status> {
        match *method {
            Method::GET if self.query.flag("watch") => self.watch(namespace),
            Method::GET => {
                let list = self.api.list(&self.resource, namespace, &self.query, self.form)?;
                Ok(Json(list).into_response())
            }
            Method::POST => {
                let input = self.input()?;
                let namespace = match (self.resource.is_namespaced, namespace) {
                    (true, None) => return Err(Status::method_not_allowed()),
                    (_, namespace) => namespace.unwrap_or_default(),
                };
                let options = self.options(input.problems, "CreateOptions")?;
                let written = self.api.create(&self.resource, namespace, input.object, &options)?;
                Ok(self.show(written, StatusCode::CREATED))
            }
            // What lives in namespaces is swept in one of them, not everywhere.
            Method::DELETE if self.resource.has_delete_collection(namespace) => {
                let deletion = self.deletion()?;
                let list =
                    self.api.delete_all(&self.resource, namespace, &self.query, &deletion)?;
                Ok(Json(list).into_response())
            }
            _ => Err(Status::verb_not_supported(&self.resource, verb(method))),
        }
    }

    fn object(self, method: &Method, key: Key, part: Part) -> Result<Response, Status> {
        match *method {
            Method::GET => {
                self.query.revision().map_err(Status::unexplained)?;
                let object = self.api.get(&self.resource, &key)?;
                Ok(Json(self.formed(object)).into_response())
            }
            Method::PUT => {
                let input = self.input()?;
                let options = self.options(input.problems, "UpdateOptions")?;
                let written =
                    self.api.update(&self.resource, &key, part, input.object, &options)?;
                Ok(self.show(written, StatusCode::OK))
            }
            Method::PATCH => {
                let (patch, problems) =
                    Patch::parse(&self.resource, self.media_type(), &self.body)?;
                let mut options = self.options(problems, "PatchOptions")?;
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
            _ => Err(Status::verb_not_supported(&self.resource, verb(method))),
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
        let response = (code, Json(self.formed(written.object))).into_response();
        warned(response, &written.warnings)
    }

    /// Reads the object that was sent. Only a built-in kind may be left to the path.
    fn input(&self) -> Result<Input, Status> {
        let input = decode::object(self.media_type(), &self.body)?;
        if !self.resource.is_builtin && input.object.is_object() && input.object["kind"].is_null() {
            return Err(Status::kind_missing(&self.resource.kind, &self.body));
        }
        Ok(input)
    }

    fn media_type(&self) -> &str {
        media_type(self.headers)
    }

    /// Returns how to write; `kind` names the options of the request in its errors.
    fn options(&self, problems: Vec<String>, kind: &str) -> Result<Options, Status> {
        Ok(Options {
            dry_run: self.query.dry_run(kind)?,
            validation: self.query.field_validation(kind)?,
            manager: self.manager(kind)?,
            force: self.query.flag("force"),
            problems,
        })
    }

    /// Returns who writes: who the client says it is, or which program it is.
    fn manager(&self, kind: &str) -> Result<String, Status> {
        let manager = self.query.text("fieldManager");
        if manager.chars().count() > MANAGER_MAX {
            let problem = Problem::TooLong(MANAGER_MAX as u64);
            let error = FieldError::new("fieldManager", problem);
            return Err(Status::invalid_options(kind, &error));
        }
        if let Some((index, odd)) = manager.char_indices().find(|(_, c)| c.is_control()) {
            let detail =
                format!("invalid character U+{:04X} (at position {index})", u32::from(odd));
            let error = FieldError::invalid("fieldManager", &Value::from(manager), detail);
            return Err(Status::invalid_options(kind, &error));
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
        let dry_run = self.query.dry_run(DELETE_OPTIONS)?;
        if self.body.is_empty() {
            self.query.number("gracePeriodSeconds")?;
            check_propagation(self.query.text("propagationPolicy"), &Value::Null)?;
            return Ok(Deletion { dry_run, ..Deletion::default() });
        }
        let options = decode::object(self.media_type(), &self.body)?.object;
        if let Some(kind) = options["kind"].as_str().filter(|kind| *kind != DELETE_OPTIONS) {
            let version = options["apiVersion"].as_str().unwrap_or_default();
            return Err(Status::bad_request(format!(
                "no kind {kind:?} is registered for version {version:?}"
            )));
        }
        let policy = options["propagationPolicy"].as_str().unwrap_or_default();
        let policy = if policy.is_empty() { self.query.text("propagationPolicy") } else { policy };
        check_propagation(policy, &options["orphanDependents"])?;
        let stages = options["dryRun"].as_array().into_iter().flatten();
        let stages: Vec<&str> = stages.filter_map(Value::as_str).collect();
        let condition = |field: &str| options["preconditions"][field].as_str().map(str::to_owned);
        Ok(Deletion {
            dry_run: dry_run || check_dry_run(DELETE_OPTIONS, &stages)?,
            uid: condition("uid"),
            resource_version: condition("resourceVersion"),
        })
    }
}

/// Checks what is to become of the objects that a deleted one owns.
fn check_propagation(policy: &str, orphans: &Value) -> Result<(), Status> {
    let value = Value::from(policy).to_string();
    let problem = match policy {
        "" => return Ok(()),
        _ if orphans.is_boolean() => {
            let detail = "orphanDependents and deletionPropagation cannot be both set".to_owned();
            Problem::Invalid { value, detail }
        }
        "Foreground" | "Background" | "Orphan" => return Ok(()),
        _ => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            Problem::NotSupported { value, supported: supported.map(str::to_owned).to_vec() }
        }
    };
    Err(Status::invalid_options(DELETE_OPTIONS, &FieldError::new("propagationPolicy", problem)))
}

/// Returns what a method does, in the word of the API; what none of them does has none.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}
