//! Speaks CGI with `git http-backend`.

use std::{collections::HashMap, convert::Infallible, io::Read as _, process::Stdio, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use futures::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use super::{GitAccess, Hooks, Repositories};
use crate::{PASSWORD, TOKEN, USERNAME, background};

/// The header of a CGI reply is a handful of short lines.
const CGI_HEADER_BYTES_MAX: usize = 64 * 1024;

/// Enough of a request body to see which command of protocol v2 it gives.
const PEEK_BYTES: usize = 64;

/// Chunks of a reply that wait for a slow client.
const REPLY_QUEUE: usize = 16;

/// What a request asks of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// `GET info/refs?service=git-upload-pack`: the first request of a fetch.
    UploadRefs,
    /// `GET info/refs?service=git-receive-pack`: the first request of a push.
    ReceiveRefs,
    /// `POST git-upload-pack` with the command `ls-refs` of protocol v2.
    LsRefs,
    /// Any other `POST git-upload-pack`.
    Fetch,
    /// `POST git-receive-pack`.
    Push,
    /// Anything else.
    Other,
    /// Whatever it was, it came without the right credentials and got no further.
    Unauthorized,
}

/// A request as a hook sees it.
#[derive(Clone, Debug)]
pub struct GitRequest {
    /// What it asks.
    pub kind: RequestKind,
    /// The repository's name, as it was created.
    pub repository: String,
}

/// Counts of requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GitTraffic {
    /// How many there were.
    pub n_requests: u64,
    /// Bytes of their bodies, as received.
    pub n_bytes_up: u64,
    /// Bytes of the bodies of their replies.
    pub n_bytes_down: u64,
}

pub(super) struct Backend {
    pub(super) repositories: Repositories,
    pub(super) access: GitAccess,
    pub(super) hooks: Hooks,
    pub(super) traffic: Mutex<HashMap<RequestKind, GitTraffic>>,
}

impl Backend {
    fn count(&self, kind: RequestKind, add: impl FnOnce(&mut GitTraffic)) {
        add(self.traffic.lock().entry(kind).or_default());
    }
}

pub(super) fn router(backend: Arc<Backend>) -> Router {
    Router::new().fallback(serve).with_state(backend)
}

async fn serve(State(backend): State<Arc<Backend>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(challenge) = refusal(backend.access, &parts) {
        backend.count(RequestKind::Unauthorized, |traffic| traffic.n_requests += 1);
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
    }
    let (first, rest) = peek(body).await;
    let request = GitRequest {
        kind: kind(&parts, &first),
        repository: repository(parts.uri.path()).to_owned(),
    };
    backend.count(request.kind, |traffic| traffic.n_requests += 1);
    let request = blocking(&backend, request, Hooks::run_before).await;
    match command(&backend, &parts).spawn() {
        Ok(child) => {
            relay(backend, request, child, Body::from_stream(stream::iter(first).chain(rest))).await
        }
        Err(error) => failure(&format!("cannot start git http-backend: {error}")),
    }
}

/// Returns the challenge for a request without the right credentials.
fn refusal(access: GitAccess, parts: &Parts) -> Option<&'static str> {
    let (expected, challenge) = match access {
        GitAccess::Anonymous => return None,
        GitAccess::Basic => {
            (crate::basic_authorization(USERNAME, PASSWORD), "Basic realm=\"testkit\"")
        }
        GitAccess::Bearer => (format!("Bearer {TOKEN}"), "Bearer realm=\"testkit\""),
    };
    let given = parts.headers.get(header::AUTHORIZATION);
    (given.map(HeaderValue::as_bytes) != Some(expected.as_bytes())).then_some(challenge)
}

type Frame = Result<Bytes, axum::Error>;

/// Takes frames off a body until the first [`PEEK_BYTES`] are there.
async fn peek(body: Body) -> (Vec<Frame>, axum::body::BodyDataStream) {
    let mut rest = body.into_data_stream();
    let mut first = Vec::new();
    let mut n_bytes = 0;
    while n_bytes < PEEK_BYTES {
        let Some(frame) = rest.next().await else { break };
        let broken = frame.is_err();
        n_bytes += frame.as_ref().map_or(0, Bytes::len);
        first.push(frame);
        if broken {
            break;
        }
    }
    (first, rest)
}

fn kind(parts: &Parts, first: &[Frame]) -> RequestKind {
    let path = parts.uri.path();
    if parts.method == Method::GET && path.ends_with("/info/refs") {
        match parts.uri.query() {
            Some("service=git-upload-pack") => RequestKind::UploadRefs,
            Some("service=git-receive-pack") => RequestKind::ReceiveRefs,
            _ => RequestKind::Other,
        }
    } else if path.ends_with("/git-receive-pack") {
        RequestKind::Push
    } else if path.ends_with("/git-upload-pack") {
        if start(parts, first)[4..].starts_with(b"command=ls-refs") {
            RequestKind::LsRefs
        } else {
            RequestKind::Fetch
        }
    } else {
        RequestKind::Other
    }
}

/// Returns the first bytes of a body as its sender meant them, padded with zeros.
fn start(parts: &Parts, first: &[Frame]) -> [u8; PEEK_BYTES] {
    let bytes: Vec<u8> = first.iter().flatten().flatten().copied().collect();
    let mut start = [0; PEEK_BYTES];
    let gzip = parts.headers.get(header::CONTENT_ENCODING).is_some_and(|value| value == "gzip");
    if gzip {
        // A body cut short here gives what there is of it.
        let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice());
        let mut n_bytes = 0;
        while n_bytes < start.len() {
            match decoder.read(&mut start[n_bytes..]) {
                Ok(0) | Err(_) => break,
                Ok(n_read) => n_bytes += n_read,
            }
        }
    } else {
        let n_bytes = bytes.len().min(start.len());
        start[..n_bytes].copy_from_slice(&bytes[..n_bytes]);
    }
    start
}

fn repository(path: &str) -> &str {
    path.trim_start_matches('/').split(".git/").next().unwrap_or_default()
}

fn command(backend: &Backend, parts: &Parts) -> Command {
    let mut command = Command::from(backend.repositories.command());
    command.arg("http-backend");
    command.env("GIT_PROJECT_ROOT", backend.repositories.folder());
    command.env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REQUEST_METHOD", parts.method.as_str());
    command.env("PATH_INFO", parts.uri.path());
    command.env("QUERY_STRING", parts.uri.query().unwrap_or_default());
    command.env("REMOTE_ADDR", "127.0.0.1");
    command.env("SERVER_PROTOCOL", "HTTP/1.1");
    // No CONTENT_LENGTH: git 2.39 reads for ever when a client breaks off before that many bytes,
    // and without one it reads to the end.
    let variables = [
        ("CONTENT_TYPE", header::CONTENT_TYPE),
        ("HTTP_CONTENT_ENCODING", header::CONTENT_ENCODING),
        ("GIT_PROTOCOL", HeaderName::from_static("git-protocol")),
    ];
    for (variable, name) in variables {
        if let Some(value) = parts.headers.get(name).and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

async fn relay(
    backend: Arc<Backend>,
    request: GitRequest,
    mut child: Child,
    body: Body,
) -> Response {
    let stdin = child.stdin.take().expect("stdin is piped");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    background::spawn(feed(backend.clone(), request.kind, body, stdin));
    let (header, start) = match read_header(&mut stdout).await {
        Ok(read) => read,
        Err(problem) => return failure(&problem),
    };
    let Some(mut response) = parse_header(&header) else {
        return failure("git http-backend sent a header that is none");
    };
    let (sender, mut receiver) = mpsc::channel(REPLY_QUEUE);
    background::spawn(drain(backend, request, child, start, stdout, sender));
    let reply = stream::poll_fn(move |context| receiver.poll_recv(context));
    *response.body_mut() = Body::from_stream(reply.map(Ok::<Bytes, Infallible>));
    response
}

/// Sends the request's body; a client that breaks off ends it early, as a real server would.
async fn feed(backend: Arc<Backend>, kind: RequestKind, body: Body, mut stdin: ChildStdin) {
    let mut frames = body.into_data_stream();
    while let Some(Ok(frame)) = frames.next().await {
        backend.count(kind, |traffic| traffic.n_bytes_up += frame.len() as u64);
        if stdin.write_all(&frame).await.is_err() {
            break;
        }
    }
}

/// Reads the reply to its end, whether a client still listens or not, then runs the hooks.
async fn drain(
    backend: Arc<Backend>,
    request: GitRequest,
    mut child: Child,
    start: Bytes,
    mut stdout: impl AsyncRead + Unpin,
    sender: mpsc::Sender<Bytes>,
) {
    let mut chunk = start;
    loop {
        if !chunk.is_empty() {
            backend.count(request.kind, |traffic| traffic.n_bytes_down += chunk.len() as u64);
            drop(sender.send(chunk).await);
        }
        let mut buffer = Vec::with_capacity(CGI_HEADER_BYTES_MAX);
        match stdout.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => chunk = buffer.into(),
        }
    }
    drop(child.wait().await);
    blocking(&backend, request, Hooks::run_after).await;
}

/// Reads to the empty line; returns the header and what of the body came with it.
async fn read_header(stdout: &mut (impl AsyncRead + Unpin)) -> Result<(Bytes, Bytes), String> {
    let mut buffer = Vec::new();
    loop {
        if let Some(end) = find(&buffer, b"\r\n\r\n") {
            let mut header = Bytes::from(buffer);
            let body = header.split_off(end + 4);
            return Ok((header, body));
        }
        if buffer.len() > CGI_HEADER_BYTES_MAX {
            return Err("git http-backend sent no end of its header".to_owned());
        }
        match stdout.read_buf(&mut buffer).await {
            Ok(0) => return Err("git http-backend ended without a reply".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("cannot read from git http-backend: {error}")),
        }
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn parse_header(header: &[u8]) -> Option<Response> {
    let mut response = Response::new(Body::empty());
    for line in std::str::from_utf8(header).ok()?.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            *response.status_mut() = StatusCode::from_bytes(value.get(..3)?.as_bytes()).ok()?;
        } else {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            response.headers_mut().append(name, HeaderValue::from_str(value).ok()?);
        }
    }
    Some(response)
}

/// Runs hooks where they may block, and hands the request back.
async fn blocking(
    backend: &Arc<Backend>,
    request: GitRequest,
    run: fn(&Hooks, &Repositories, &GitRequest),
) -> GitRequest {
    let backend = backend.clone();
    let work = tokio::task::spawn_blocking(move || {
        run(&backend.hooks, &backend.repositories, &request);
        request
    });
    // A hook that panics fails its request, and the harness prints why.
    work.await.expect("a hook of the test panicked")
}

fn failure(message: &str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, message.to_owned()).into_response()
}
