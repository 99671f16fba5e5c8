//! The requests of smart HTTP.

use std::io::Read as _;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{GitError, GitHost, pkt_line, receive_pack, upload_pack};

/// The largest request; this host keeps it in memory.
const REQUEST_BYTES_MAX: usize = 256 << 20;

pub(super) fn router(host: GitHost) -> Router {
    Router::new().fallback(serve).with_state(host)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    UploadPack,
    ReceivePack,
}

impl Service {
    fn parse(name: &str) -> Option<Service> {
        match name {
            "git-upload-pack" => Some(Service::UploadPack),
            "git-receive-pack" => Some(Service::ReceivePack),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Service::UploadPack => "git-upload-pack",
            Service::ReceivePack => "git-receive-pack",
        }
    }
}

async fn serve(State(host): State<GitHost>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches('/');
    let Some((name, action)) = path.split_once(".git/") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answer = if parts.method == Method::GET && action == "info/refs" {
        let service = parts.uri.query().and_then(|query| query.strip_prefix("service="));
        let Some(service) = service.and_then(Service::parse) else {
            return (StatusCode::FORBIDDEN, "only smart HTTP is spoken here\n").into_response();
        };
        advertise(&host, name, service, version(&parts.headers))
    } else if let (true, Some(service)) = (parts.method == Method::POST, Service::parse(action)) {
        match read(body, &parts.headers).await {
            Ok(body) => act(&host, name, service, version(&parts.headers), &body),
            Err(refusal) => return refusal,
        }
    } else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match answer {
        Ok((content_type, body)) => reply(&content_type, body),
        Err(GitError::NoRepository(name)) => {
            (StatusCode::NOT_FOUND, format!("there is no repository `{name}`\n")).into_response()
        }
        // Whatever stage a client is in, it understands this line.
        Err(error) => {
            let mut body = Vec::new();
            pkt_line::write(&mut body, format!("ERR {error}\n").as_bytes());
            let content_type = format!("application/x-{action}-result");
            reply(&content_type, body)
        }
    }
}

fn reply(content_type: &str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let content_type = HeaderValue::from_str(content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Returns the version of the protocol that a client asks for.
fn version(headers: &HeaderMap) -> u8 {
    let asked = headers.get("git-protocol").and_then(|value| value.to_str().ok());
    let versions = asked.unwrap_or_default().split(':');
    versions
        .filter_map(|part| part.strip_prefix("version="))
        .filter_map(|version| version.parse().ok())
        .max()
        .unwrap_or(0)
}

async fn read(body: Body, headers: &HeaderMap) -> Result<Bytes, Response> {
    let too_large = |_| StatusCode::PAYLOAD_TOO_LARGE.into_response();
    let body = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await.map_err(too_large)?;
    if headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding != "gzip") {
        return Ok(body);
    }
    let mut inflated = Vec::new();
    flate2::read::MultiGzDecoder::new(body.as_ref())
        .take(REQUEST_BYTES_MAX as u64)
        .read_to_end(&mut inflated)
        .map_err(|_| StatusCode::BAD_REQUEST.into_response())?;
    Ok(inflated.into())
}

type Answer = Result<(String, Vec<u8>), GitError>;

fn advertise(host: &GitHost, name: &str, service: Service, version: u8) -> Answer {
    let mut body = Vec::new();
    pkt_line::write(&mut body, format!("# service={}\n", service.name()).as_bytes());
    body.extend_from_slice(pkt_line::FLUSH);
    host.with(name, |repository| {
        match (service, version) {
            (Service::UploadPack, 2..) => upload_pack::advertise_capabilities(&mut body),
            (Service::UploadPack, _) => {
                upload_pack::advertise_references(repository, version, &mut body);
            }
            (Service::ReceivePack, _) => receive_pack::advertise(repository, version, &mut body),
        }
        Ok(())
    })?;
    Ok((format!("application/x-{}-advertisement", service.name()), body))
}

fn act(host: &GitHost, name: &str, service: Service, version: u8, request: &[u8]) -> Answer {
    let body = host.with(name, |repository| match (service, version) {
        (Service::UploadPack, 2..) => upload_pack::command(repository, request),
        (Service::UploadPack, _) => {
            Err(GitError::Protocol("this host fetches by version 2 of the protocol".to_owned()))
        }
        (Service::ReceivePack, _) => receive_pack::receive(repository, request),
    })?;
    Ok((format!("application/x-{}-result", service.name()), body))
}
