//! Redirects, limits, deadlines and texts of `net::Client`, against routers in
//! memory and real sockets on loopback.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request as Incoming;
use axum::response::Response as Answer;
use bytes::Bytes;
use expect_test::{Expect, expect};
use http::{HeaderValue, Method, StatusCode};
use net::{Client, Options, Proxy, Redirects, Request, Route, Secret, Timeouts};
use tokio::time::Instant;
use url::Url;

/// What the wire saw: a line per request.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, request: &Incoming) {
        let credential = request.headers().get("authorization").is_some_and(|v| v == "canary");
        let line = format!(
            "{} {}{}",
            request.method(),
            request.uri(),
            if credential { " with credential" } else { "" }
        );
        self.0.lock().expect("no test panics while it notes").push(line);
    }

    fn lines(&self) -> String {
        self.0.lock().expect("no test panics while it notes").join("\n")
    }
}

/// Answers `/to?STATUS=LOCATION` with that redirect and the rest with 200.
fn redirecting(seen: &Seen) -> Client {
    let seen = seen.clone();
    Client::with_service(Router::new().fallback(move |request: Incoming| {
        seen.note(&request);
        async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let Some((status, location)) = query.split_once('=') else {
                return Answer::new(Body::from("hello"));
            };
            let mut answer = Answer::new(Body::empty());
            *answer.status_mut() = status.parse().expect("a status");
            let location = HeaderValue::from_str(location).expect("a header value");
            answer.headers_mut().insert("location", location);
            answer
        }
    }))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn get(url: &str, redirects: Redirects) -> Request {
    let mut request = Request::new(Method::GET, Url::parse(url).expect("a valid URL"));
    request.headers.insert("authorization", HeaderValue::from_static("canary"));
    request.redirects = redirects;
    request
}

async fn check_redirects(request: Request, expected: Expect) {
    let seen = Seen::default();
    let client = redirecting(&seen);
    let result = match client.send(request, &Route::default(), soon()).await {
        Ok(response) => format!("{} from {}", response.status.as_u16(), response.url),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&format!("{}\n{result}\n", seen.lines()));
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    check_redirects(
        get("https://a.example/x?302=/y", Redirects::Follow),
        expect![[r#"
            GET https://a.example/x?302=/y with credential
            GET https://a.example/y with credential
            200 from https://a.example/y
        "#]],
    )
    .await;
    for target in ["https://b.example/y", "https://a.example:8443/y", "//b.example/y"] {
        let seen = Seen::default();
        let request = get(&format!("https://a.example/x?307={target}"), Redirects::Follow);
        let response = redirecting(&seen).send(request, &Route::default(), soon()).await;
        assert_eq!(response.map(|r| r.status).expect("followed"), StatusCode::OK);
        assert_eq!(seen.lines().matches("with credential").count(), 1, "{target}");
        assert_eq!(seen.lines().lines().count(), 2, "{target}");
    }
}

#[tokio::test]
async fn redirects_that_are_refused() {
    let check = async |target: &str, redirects: Redirects, reason: &str| {
        let seen = Seen::default();
        let request = get(&format!("https://a.example/x?302={target}"), redirects);
        let error =
            redirecting(&seen).send(request, &Route::default(), soon()).await.expect_err("refused");
        assert!(error.to_string().ends_with(reason), "{error}");
        assert_eq!(seen.lines().lines().count(), 1, "{target}: nothing else is contacted");
    };
    check("/y", Redirects::Refuse, "no redirect is followed here").await;
    check("https://b.example/y", Redirects::SameOrigin, "it leads to another origin").await;
    check("http://a.example/y", Redirects::Follow, "it leads from https to http").await;
    check("ftp://a.example/y", Redirects::Follow, "only http and https are followed").await;
    check("file:///etc/passwd", Redirects::Follow, "only http and https are followed").await;
    check("https://u:p@a.example/y", Redirects::Follow, "it names a user").await;
    check("https://169.254.169.254/y", Redirects::Follow, "its address is not allowed here").await;
    check("https://10.0.0.1/y", Redirects::Follow, "its address is not allowed here").await;
    check("https://127.0.0.1/y", Redirects::Follow, "its address is not allowed here").await;
    check("https://[::ffff:10.0.0.1]/y", Redirects::Follow, "its address is not allowed here")
        .await;
    check("https://0x7f.1/y", Redirects::Follow, "its address is not allowed here").await;
}

#[tokio::test]
async fn a_server_in_a_private_network_may_send_us_within_it() {
    check_redirects(
        get("http://10.0.0.1/x?302=http://10.0.0.2:81/y", Redirects::Follow),
        expect![[r#"
            GET http://10.0.0.1/x?302=http://10.0.0.2:81/y with credential
            GET http://10.0.0.2:81/y
            200 from http://10.0.0.2:81/y
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let seen = Seen::default();
    let counted = seen.clone();
    let client = Client::with_service(Router::new().fallback(move |request: Incoming| {
        counted.note(&request);
        async { (StatusCode::FOUND, [("location", "/x")]) }
    }));
    let error = client
        .send(get("https://a.example/x", Redirects::Follow), &Route::default(), soon())
        .await
        .expect_err("an endless chain");
    assert_eq!(error.to_string(), "Get \"https://a.example/x\": stopped after 5 redirects");
    assert_eq!(seen.lines().lines().count(), 6);
}

#[tokio::test]
async fn bodies_follow_only_within_their_origin() {
    let post = |target: &str| {
        let mut request = get(&format!("https://a.example/x?307={target}"), Redirects::Follow);
        request.method = Method::POST;
        request.body = Bytes::from_static(b"refresh_token=canary");
        request
    };
    check_redirects(
        post("/y"),
        expect![[r#"
            POST https://a.example/x?307=/y with credential
            POST https://a.example/y with credential
            200 from https://a.example/y
        "#]],
    )
    .await;
    check_redirects(
        post("https://b.example/y"),
        expect![[r#"
            POST https://a.example/x?307=https://b.example/y with credential
            Post "https://a.example/x?307=REDACTED": redirect to https://b.example/y refused: the request has a body, which stays with its origin
        "#]],
    )
    .await;
}

#[tokio::test]
async fn userinfo_is_neither_sent_nor_shown() {
    check_redirects(
        get("https://user:secret@a.example/x", Redirects::Refuse),
        expect![[r#"
            GET https://a.example/x with credential
            200 from https://user:secret@a.example/x
        "#]],
    )
    .await;
    let error = Client::new(Options::default())
        .expect("TLS works")
        .send(
            get("http://user:secret@127.0.0.1:1/x?token=canary", Redirects::Refuse),
            &Route::default(),
            soon(),
        )
        .await
        .expect_err("nobody listens on port 1");
    assert_eq!(
        error.to_string(),
        "Get \"http://127.0.0.1:1/x?token=REDACTED\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
}

#[tokio::test]
async fn what_cannot_be_contacted_is_named() {
    let client = Client::new(Options::default()).expect("TLS works");
    let check = async |url: &str, expected: &str| {
        let error = client
            .send(get(url, Redirects::Refuse), &Route::default(), soon())
            .await
            .expect_err("refused");
        assert_eq!(error.to_string(), expected);
    };
    check(
        "http://169.254.169.254/latest",
        "Get \"http://169.254.169.254/latest\": connection to 169.254.169.254 refused: its address is not allowed here",
    )
    .await;
    check("ftp://a.example/", "Get \"ftp://a.example/\": unsupported protocol scheme \"ftp\"")
        .await;
    check(
        "https://[::1]:1/",
        "Get \"https://[::1]:1/\": dial tcp [::1]:1: connect: connection refused",
    )
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named_without_its_password() {
    let client = Client::new(Options::default()).expect("TLS works");
    let refused = "connection refused";
    let socks = "SOCKS error: failed to create underlying connection";
    for (scheme, reason) in [("http", refused), ("socks5", socks)] {
        let proxy = Proxy::Url {
            url: Url::parse(&format!("{scheme}://127.0.0.1:1")).expect("a valid URL"),
            username: Some("user".to_owned()),
            password: Some(Secret::from("canary")),
        };
        let route = Route { proxy, ..Route::default() };
        for target in ["http://registry.example/v2/", "https://registry.example/v2/"] {
            let error = client
                .send(get(target, Redirects::Refuse), &route, soon())
                .await
                .expect_err("no proxy");
            assert_eq!(error.to_string(), format!("Get \"{target}\": proxyconnect tcp: {reason}"));
        }
    }
}

fn streaming(
    chunks: impl Fn() -> Vec<Bytes> + Clone + Send + Sync + 'static,
    gzip: bool,
) -> Client {
    Client::with_service(Router::new().fallback(move || {
        let chunks = chunks();
        async move {
            let stream = futures::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
            let mut answer = Answer::new(Body::from_stream(stream));
            if gzip {
                answer.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            }
            answer
        }
    }))
}

#[tokio::test]
async fn a_body_over_its_limit_is_an_error() {
    let client =
        streaming(|| vec![Bytes::from_static(b"12345"), Bytes::from_static(b"67890")], false);
    let read = async |limit: usize| {
        let request = get("https://a.example/x", Redirects::Refuse);
        let response = client.send(request, &Route::default(), soon()).await.expect("an answer");
        response.bytes(limit).await.map_err(|error| error.to_string())
    };
    assert_eq!(read(10).await, Ok(Bytes::from_static(b"1234567890")));
    assert_eq!(
        read(9).await,
        Err("Get \"https://a.example/x\": response body exceeds the limit of 9 bytes".to_owned())
    );
}

#[tokio::test]
async fn a_gzip_bomb_is_an_error() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 32 << 20]).expect("writing to memory");
    let bomb = Bytes::from(encoder.finish().expect("writing to memory"));
    let client = streaming(move || vec![bomb.clone()], true);
    let request = get("https://a.example/x", Redirects::Refuse);
    let response = client.send(request, &Route::default(), soon()).await.expect("an answer");
    let error = response.bytes(64 << 20).await.expect_err("a bomb");
    assert_eq!(
        error.to_string(),
        "Get \"https://a.example/x\": compressed response body unpacks to more than 200 times its size"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_an_error() {
    let client = Client::with_service(Router::new().fallback(|| async {
        let stream = futures::stream::unfold(0_u32, |n| async move {
            tokio::time::sleep(Duration::from_secs(u64::from(n))).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), n + 5))
        });
        Answer::new(Body::from_stream(stream))
    }));
    let read = async |seconds: u64| {
        let start = Instant::now();
        let request = get("https://a.example/x", Redirects::Refuse);
        let deadline = start + Duration::from_secs(seconds);
        let response = client.send(request, &Route::default(), deadline).await.expect("an answer");
        let error = response.bytes(1000).await.expect_err("slower and slower");
        format!("{} after {} s", error.kind(), start.elapsed().as_secs())
    };
    // Pauses of 5, 10, … 30, 35 s: the idle limit is 30 s.
    assert_eq!(
        read(1000).await,
        "timeout awaiting response body: nothing came for 30 s after 135 s"
    );
    assert_eq!(read(40).await, "context deadline exceeded after 40 s");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_an_error() {
    let client = Client::with_service(
        Router::new().fallback(|| async { std::future::pending::<StatusCode>().await }),
    );
    let timeouts = Timeouts {
        connect: Duration::from_secs(1),
        headers: Duration::from_secs(2),
        ..Timeouts::default()
    };
    let client = client.with_options(Options { timeouts, ..Options::default() });
    let send = async |seconds: u64| {
        let start = Instant::now();
        let request = get("https://a.example/x", Redirects::Refuse);
        let error = client
            .send(request, &Route::default(), start + Duration::from_secs(seconds))
            .await
            .expect_err("silence");
        format!("{} after {} s", error.kind(), start.elapsed().as_secs())
    };
    assert_eq!(send(60).await, "timeout awaiting response headers after 3 s");
    assert_eq!(send(2).await, "context deadline exceeded after 2 s");
}

/// Serves raw bytes, a connection each, on a real socket; returns its URL.
async fn raw_server(answers: Vec<&'static [u8]>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    format!("http://{address}/x")
}

#[tokio::test]
async fn real_sockets_answer_and_break() {
    let url = raw_server(vec![
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\nconnection: close\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhello\r\n",
        // A GET is sent once more when nothing came.
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecond",
        b"",
        b"",
        b"garbage\r\n\r\n",
    ])
    .await;
    let client = Client::new(Options::default()).expect("TLS works");
    let mut results = String::new();
    for _ in 0..6 {
        let request = get(&url, Redirects::Refuse);
        let result = match client.send(request, &Route::default(), soon()).await {
            Ok(response) => response.bytes(100).await,
            Err(error) => Err(error),
        };
        results += &match result {
            Ok(body) => format!("{body:?}\n"),
            Err(error) => format!("{}\n", error.kind()),
        };
    }
    expect![[r#"
        b"hello"
        unexpected EOF
        unexpected EOF
        b"second"
        EOF
        invalid HTTP version parsed
    "#]]
    .assert_eq(&results);
}

#[tokio::test]
async fn a_request_that_changes_something_is_sent_once() {
    let url = raw_server(vec![b"", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await;
    let client = Client::new(Options::default()).expect("TLS works");
    let mut request = get(&url, Redirects::Refuse);
    request.method = Method::POST;
    let error = client.send(request, &Route::default(), soon()).await.expect_err("no answer");
    assert_eq!(error.kind().to_string(), "EOF");
}

#[tokio::test]
async fn names_are_checked_when_they_are_resolved() {
    let url = raw_server(vec![
        b"HTTP/1.1 302 Found\r\nlocation: http://localhost:1/y\r\ncontent-length: 0\r\n\r\n",
    ])
    .await;
    let client = Client::new(Options::default()).expect("TLS works");
    // Loopback may lead to loopback …
    let error = client
        .send(get(&url, Redirects::Follow), &Route::default(), soon())
        .await
        .expect_err("nobody listens on port 1");
    assert_eq!(
        error.to_string(),
        "Get \"http://localhost:1/y\": dial tcp localhost:1: connect: connection refused"
    );
    // … but a host named by a public server may not be this machine.
    let route =
        Route { addresses: net::AddressPolicy::named_by(net::Reach::Public), ..Route::default() };
    let error = client
        .send(get("http://localhost:1/y", Redirects::Follow), &route, soon())
        .await
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "Get \"http://localhost:1/y\": connection to localhost refused: its address is not allowed here"
    );
}

#[tokio::test]
async fn environment_proxies_are_used_and_bypassed() {
    let proxy = raw_server(vec![
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nthe proxy",
    ])
    .await;
    let proxies = net::EnvironmentProxies {
        http: proxy.trim_end_matches("/x").to_owned(),
        no_proxy: "direct.invalid".to_owned(),
        ..Default::default()
    };
    let client = Client::new(Options { proxies, ..Options::default() }).expect("TLS works");
    let response = client
        .send(get("http://registry.invalid/x", Redirects::Refuse), &Route::default(), soon())
        .await
        .expect("the proxy answers");
    assert_eq!(response.bytes(100).await.expect("a body"), Bytes::from_static(b"the proxy"));
    let error = client
        .send(get("http://direct.invalid/x", Redirects::Refuse), &Route::default(), soon())
        .await
        .expect_err("no such host");
    assert!(error.to_string().contains("lookup direct.invalid"), "{error}");
}
