//! The client against registries that are wrong, slow or hostile, in memory
//! and under a paused clock: what comes out, and who saw a credential.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::Repository;
use auth::Keychain;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use clock::Clock;
use expect_test::{Expect, expect};
use http::StatusCode;
use registry::{Access, Client, Limits, Listing, Options};
use tokio::time::Instant;

/// A request as the servers see it.
#[derive(Clone, Debug)]
struct Seen {
    /// `GET https://host/path?query`
    line: String,
    /// `basic user:password`, `bearer token` or nothing.
    credential: String,
    headers: http::HeaderMap,
    /// How many came before it.
    n: usize,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn text(&self) -> String {
        self.0.lock().expect("no panic while noting").join("\n")
    }

    fn count(&self, part: &str) -> usize {
        self.0
            .lock()
            .expect("no panic while noting")
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }
}

fn client_with<F, R>(options: Options, answer: F) -> (Client, Log)
where
    F: Fn(Seen) -> R + Clone + Send + Sync + 'static,
    R: IntoResponse,
{
    let log = Log::default();
    let noted = log.clone();
    let service = Router::new().fallback(move |request: Request| {
        let mut lines = noted.0.lock().expect("no panic while noting");
        let seen = Seen {
            line: format!("{} {}", request.method(), request.uri()),
            credential: credential(&request),
            headers: request.headers().clone(),
            n: lines.len(),
        };
        lines.push(format!("{} {}", seen.line, seen.credential).trim_end().to_owned());
        let answer = answer(seen).into_response();
        async move { answer }
    });
    let client = Client::new(net::Client::with_service(service), Clock::real(), options);
    (client, log)
}

fn client<F, R>(answer: F) -> (Client, Log)
where
    F: Fn(Seen) -> R + Clone + Send + Sync + 'static,
    R: IntoResponse,
{
    client_with(Options::default(), answer)
}

fn credential(request: &Request) -> String {
    let Some(value) = request.headers().get("authorization") else { return String::new() };
    let value = value.to_str().expect("a readable header");
    match value.split_once(' ') {
        Some(("Basic", text)) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
            format!("basic {}", String::from_utf8_lossy(&bytes))
        }
        Some((_, token)) => format!("bearer {token}"),
        None => value.to_owned(),
    }
}

fn access(user: &str) -> Access {
    let keychain = match user {
        "" => Keychain::default(),
        user => {
            let text = format!(
                "{{\"*.example\":{{\"username\":\"{user}\",\"password\":\"canary\"}},\
                \"10.0.0.1\":{{\"username\":\"{user}\",\"password\":\"canary\"}},\
                \"localhost:5000\":{{\"username\":\"{user}\",\"password\":\"canary\"}}}}"
            );
            Keychain::from_dockercfg(text.as_bytes()).expect("a valid configuration")
        }
    };
    Access { keychain, ..Access::default() }
}

fn repository(image: &str) -> Repository {
    image.parse().expect("a valid image")
}

async fn list(client: &Client, image: &str, access: &Access) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    match client.list_tags(&repository(image), access, None, deadline).await {
        Ok(Listing::Complete { tags, pages, .. }) => {
            let tags: Vec<&str> = tags.iter().collect();
            format!("{} in {pages}", tags.join(" "))
        }
        Ok(Listing::NotModified) => "not modified".to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn check(setup: (Client, Log), image: &str, user: &str, expected: Expect) {
    let (client, log) = setup;
    let result = list(&client, image, &access(user)).await;
    expected.assert_eq(&format!("{}\n= {result}\n", log.text()));
}

fn tags(names: &str) -> String {
    let names: Vec<String> = names.split_whitespace().map(|name| format!("{name:?}")).collect();
    format!("{{\"name\":\"x\",\"tags\":[{}]}}", names.join(","))
}

fn ok(body: impl Into<Body>) -> Response {
    Response::new(body.into())
}

fn linked(body: &str, target: &str) -> Response {
    ([("link", format!("<{target}>; rel=\"next\""))], body.to_owned()).into_response()
}

fn unauthorized(challenge: &str) -> Response {
    (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge.to_owned())], "").into_response()
}

/// A body that comes after some seconds.
fn slow(seconds: u64, body: String) -> Response {
    let body = async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok::<_, std::io::Error>(body)
    };
    ok(Body::from_stream(futures::stream::once(body)))
}

fn is_ping(seen: &Seen) -> bool {
    seen.line.ends_with("/v2/")
}

/// A registry with a token service on the same domain.
fn with_tokens(seen: &Seen, list: impl Fn() -> Response) -> Response {
    let challenge =
        "Bearer realm=\"https://auth.example/token?keep=1\",service=\"registry.example\"";
    if seen.line.contains("/token") {
        ok(format!("{{\"token\":\"token{}\",\"expires_in\":300}}", seen.n))
    } else if !seen.credential.starts_with("bearer ") {
        unauthorized(challenge)
    } else {
        list()
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_once_and_the_ping_is_remembered() {
    // `auth.example` is a registrable domain of its own below the suffix `example`.
    let options = Options { allow_realms: vec!["auth.example".to_owned()], ..Options::default() };
    let (client, log) = client_with(options, |seen| with_tokens(&seen, || ok(tags("a b"))));
    for _ in 0..3 {
        assert_eq!(list(&client, "registry.example/xx", &access("user")).await, "b a in 1");
    }
    expect![[r#"
        GET https://registry.example/v2/
        GET https://auth.example/token?keep=1&scope=repository%3Axx%3Apull&service=registry.example basic user:canary
        GET https://registry.example/v2/xx/tags/list?n=1000 bearer token1
        GET https://registry.example/v2/xx/tags/list?n=1000 bearer token1
        GET https://registry.example/v2/xx/tags/list?n=1000 bearer token1"#]]
    .assert_eq(&log.text());
    tokio::time::sleep(Duration::from_secs(291)).await;
    assert_eq!(list(&client, "registry.example/xx", &access("user")).await, "b a in 1");
    assert_eq!(log.count("/token"), 2, "an old token is replaced before it expires");
    assert_eq!(list(&client, "registry.example/xx", &access("")).await, "b a in 1");
    assert_eq!(log.count("/token"), 3, "somebody else has a token of their own");
}

#[tokio::test(start_paused = true)]
async fn basic_credentials_go_to_the_registry_only() {
    let setup = client(|seen| match seen.credential.as_str() {
        "basic user:canary" if !is_ping(&seen) => ok(tags("v1")),
        _ => unauthorized("Negotiate, Basic realm=\"x\""),
    });
    check(
        setup,
        "registry.example/xx",
        "user",
        expect![[r#"
            GET https://registry.example/v2/
            GET https://registry.example/v2/xx/tags/list?n=1000 basic user:canary
            = v1 in 1
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_realm_elsewhere_is_named_and_not_contacted() {
    for realm in ["https://evil.test/t", "https://169.254.169.254/t", "http://registry.example/t"] {
        let (client, log) =
            client(move |_| unauthorized(&format!("Bearer realm=\"{realm}\",service=\"s\"")));
        for user in ["user", ""] {
            let error = list(&client, "registry.example/xx", &access(user)).await;
            assert!(
                error.starts_with(&format!("the registry names the token realm {realm}, ")),
                "{error}"
            );
        }
        assert_eq!(log.text(), "GET https://registry.example/v2/");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_are_followed_to_the_last() {
    let setup = client(|seen| match seen.line.rsplit_once('?').map_or("", |(_, query)| query) {
        "n=1000" => linked(&tags("a b"), "/v2/xx/tags/list?n=1000&last=b"),
        "n=1000&last=b" => linked(&tags("b c"), "?last=c"),
        _ => ok(tags("d")),
    });
    check(
        setup,
        "registry.example/xx",
        "",
        expect![[r#"
            GET https://registry.example/v2/
            GET https://registry.example/v2/xx/tags/list?n=1000
            GET https://registry.example/v2/xx/tags/list?n=1000&last=b
            GET https://registry.example/v2/xx/tags/list?last=c
            = d c b b a in 3
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_next_page_elsewhere_ends_the_scan() {
    for target in [
        "https://evil.test/v2/xx/tags/list",
        "http://registry.example/v2/xx/tags/list",
        "https://registry.example:444/v2/xx/tags/list",
        "http://169.254.169.254/latest",
        "//evil.test/v2/xx/tags/list",
        "/v2/other/tags/list",
        "https://u:p@registry.example/v2/xx/tags/list",
    ] {
        let (client, log) = client(move |_| linked(&tags("a"), target));
        let error = list(&client, "registry.example/xx", &access("user")).await;
        assert!(
            error.ends_with("is not on https://registry.example/v2/xx/tags/list"),
            "{target}: {error}"
        );
        assert_eq!(log.text().lines().count(), 2, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_do_not_follow_a_redirect() {
    let setup = client(|seen| {
        if seen.line.contains("mirror.test") {
            let next = "https://mirror.test/v2/xx/tags/list?last=a";
            return if seen.line.contains("last") {
                ok(tags("b"))
            } else {
                linked(&tags("a"), next)
            };
        }
        match seen.credential.as_str() {
            "" => unauthorized("Basic realm=\"x\""),
            _ => {
                let target = "https://mirror.test/v2/xx/tags/list";
                (StatusCode::TEMPORARY_REDIRECT, [("location", target)], "").into_response()
            }
        }
    });
    check(
        setup,
        "registry.example/xx",
        "user",
        expect![[r#"
            GET https://registry.example/v2/
            GET https://registry.example/v2/xx/tags/list?n=1000 basic user:canary
            GET https://mirror.test/v2/xx/tags/list
            GET https://mirror.test/v2/xx/tags/list?last=a
            = b a in 2
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_challenge_from_elsewhere_gets_no_credentials() {
    let (client, log) = client(|seen| {
        if seen.line.contains("mirror.test") {
            return unauthorized("Basic realm=\"x\"");
        }
        if is_ping(&seen) {
            return ok("");
        }
        (StatusCode::FOUND, [("location", "https://mirror.test/v2/xx/tags/list")], "")
            .into_response()
    });
    let error = list(&client, "registry.example/xx", &access("user")).await;
    assert_eq!(
        error,
        "GET https://mirror.test/v2/xx/tags/list: unexpected status code 401 Unauthorized"
    );
    assert_eq!(log.count("canary"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_service_may_not_send_us_elsewhere() {
    let (client, log) = client(|seen| {
        if seen.line.contains("/token") {
            return (StatusCode::FOUND, [("location", "https://evil.test/t")], "").into_response();
        }
        unauthorized("Bearer realm=\"https://registry.example/token\"")
    });
    let error = list(&client, "registry.example/xx", &access("user")).await;
    assert!(
        error.ends_with("redirect to https://evil.test/t refused: it leads to another origin"),
        "{error}"
    );
    assert_eq!(log.count("evil.test"), 0);
    assert!(!error.contains("canary"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn endless_pages_end() {
    let run = async |answer: fn(Seen) -> Response, reason: &str| {
        let limits = Limits { tags: 5_000, bytes: 1 << 20, pages: 50 };
        let (client, log) = client_with(Options { limits, ..Options::default() }, answer);
        let error = list(&client, "registry.example/xx", &access("")).await;
        assert!(error.ends_with(reason), "{error}");
        assert!(log.count("tags/list") <= 51, "{}", log.text());
    };
    run(|_| linked(&tags("a"), "?n=1000"), "a page leads back to an earlier one").await;
    run(
        |seen| linked(&tags(&format!("t{}", seen.n)), if seen.n % 2 == 0 { "?a" } else { "?b" }),
        "a page leads back to an earlier one",
    )
    .await;
    run(|seen| linked(&tags("a"), &format!("?n={}", seen.n)), "a page came twice").await;
    run(|seen| linked(&tags(""), &format!("?n={}", seen.n)), "page after page has no tags").await;
    run(
        |seen| linked(&tags(&format!("t{}", seen.n)), &format!("?n={}", seen.n)),
        "the limit of 50 pages",
    )
    .await;
    run(
        |seen| {
            let names: Vec<String> = (0..1_000).map(|n| format!("t{}-{n}", seen.n)).collect();
            linked(&tags(&names.join(" ")), &format!("?n={}", seen.n))
        },
        "the limit of 5000 tags",
    )
    .await;
    run(|_| ok(tags(&"x".repeat(2 << 20))), "the limit of 1048576 bytes").await;
}

#[tokio::test(start_paused = true)]
async fn a_listing_counts_only_as_a_whole() {
    let run = async |last: &'static str, reason: &str| {
        let (client, _) = client(move |seen| match seen.line.contains("last") {
            true => ok(last),
            false => linked(&tags("a b"), "?last=b"),
        });
        let error = list(&client, "registry.example/xx", &access("")).await;
        assert!(error.contains(reason), "{error}");
    };
    run("{\"tags\":[\"c\",", "is not a tag list: it ends early").await;
    run("", "is not a tag list: it is empty").await;
    run("{}", "is not a tag list: it has no `tags`").await;
    run("{\"tags\":[1]}", "is not a tag list: a tag is no string").await;
    run("<html>maintenance</html>", "is not a tag list: it is no object").await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_breaks_off_is_asked_for_again() {
    let (client, log) = client(|seen| {
        if is_ping(&seen) {
            return ok("");
        }
        if seen.n > 2 {
            return ok(tags("a b"));
        }
        let pieces = [Ok("{\"tags\":[\"a\","), Err(std::io::Error::other("connection reset"))];
        ok(Body::from_stream(futures::stream::iter(pieces)))
    });
    assert_eq!(list(&client, "registry.example/xx", &access("")).await, "b a in 1");
    assert_eq!(log.count("tags/list"), 3);
}

#[tokio::test(start_paused = true)]
async fn servers_in_trouble_are_asked_three_times() {
    for (status, attempts) in [
        (500, 3),
        (502, 3),
        (503, 3),
        (504, 3),
        (408, 3),
        (429, 3),
        (522, 3),
        (404, 1),
        (403, 1),
        (501, 1),
    ] {
        let (client, log) = client(move |seen| match is_ping(&seen) {
            true => ok(""),
            false => (StatusCode::from_u16(status).expect("a status"), "trouble").into_response(),
        });
        let start = Instant::now();
        let error = list(&client, "registry.example/xx", &access("")).await;
        assert!(error.contains(&format!("unexpected status code {status}")), "{error}");
        assert_eq!(log.count("tags/list"), attempts, "{status}");
        let waited = start.elapsed().as_secs_f64();
        assert!(attempts == 1 || (3.6..4.5).contains(&waited), "{status}: {waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_asks_for_a_pause_gets_it_and_others_go_on() {
    let (client, log) = client(|seen| {
        if is_ping(&seen) || seen.line.contains("other.example") {
            return ok(tags("o"));
        }
        if seen.n < 3 {
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "20")], "").into_response();
        }
        ok(tags("a"))
    });
    let start = Instant::now();
    let access = access("");
    let patient = list(&client, "registry.example/xx", &access);
    let hasty = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let deadline = Instant::now() + Duration::from_secs(5);
        let repository = repository("registry.example/yy");
        let error =
            client.list_tags(&repository, &access, None, deadline).await.expect_err("paused");
        assert_eq!(start.elapsed().as_secs(), 2, "it is said at once");
        assert_eq!(error.retry_after().map(|wait| wait.as_secs()), Some(18));
        assert_eq!(list(&client, "other.example/xx", &access).await, "o in 1");
        assert_eq!(start.elapsed().as_secs(), 2);
        error.to_string()
    };
    let (patient, hasty) = tokio::join!(patient, hasty);
    assert_eq!(hasty, "registry.example asked for a pause of 18 s more (Retry-After)");
    assert_eq!(patient, "a in 1");
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(log.count("/v2/yy/"), 0, "nothing was sent before the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_between_pages_is_replaced_once() {
    let setup = client(|seen| {
        if seen.line.contains("/token") {
            return ok(format!("{{\"token\":\"token{}\"}}", seen.n));
        }
        match (seen.credential.as_str(), seen.line.contains("last")) {
            ("bearer token1", false) => linked(&tags("a"), "?last=a"),
            ("bearer token4", true) => ok(tags("b")),
            _ => unauthorized("Bearer realm=\"https://registry.example/token\""),
        }
    });
    check(
        setup,
        "registry.example/xx",
        "user",
        expect![[r#"
            GET https://registry.example/v2/
            GET https://registry.example/token?scope=repository%3Axx%3Apull basic user:canary
            GET https://registry.example/v2/xx/tags/list?n=1000 bearer token1
            GET https://registry.example/v2/xx/tags/list?last=a bearer token1
            GET https://registry.example/token?scope=repository%3Axx%3Apull basic user:canary
            GET https://registry.example/v2/xx/tags/list?last=a bearer token4
            = b a in 2
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_never_accepts_is_asked_twice() {
    let (client, log) = client(|seen| match seen.line.contains("/token") {
        true => ok("{\"token\":\"t\"}"),
        false => unauthorized("Bearer realm=\"https://registry.example/token\""),
    });
    let error = list(&client, "registry.example/xx", &access("user")).await;
    assert!(error.ends_with("unexpected status code 401 Unauthorized"), "{error}");
    assert_eq!((log.count("tags/list"), log.count("/token")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_did_not_change_is_not_sent_again() {
    let (client, _) = client(|seen| match seen.headers.get("if-none-match") {
        _ if is_ping(&seen) => ok(""),
        Some(etag) if etag == "\"e1\"" => StatusCode::NOT_MODIFIED.into_response(),
        _ => ([("etag", "\"e1\"")], tags("a")).into_response(),
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let (image, access) = (repository("registry.example/xx"), access(""));
    let first = client.list_tags(&image, &access, None, deadline).await.expect("a listing");
    let Listing::Complete { validator: Some(validator), .. } = first else { panic!("{first:?}") };
    let second = client.list_tags(&image, &access, Some(&validator), deadline).await;
    assert!(matches!(second, Ok(Listing::NotModified)), "{second:?}");
    let other = client
        .list_tags(&repository("registry.example/yy"), &access, Some(&validator), deadline)
        .await;
    assert!(
        matches!(other, Ok(Listing::Complete { .. })),
        "a validator is good for its repository: {other:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn several_pages_have_no_validator() {
    let (client, _) = client(|seen| {
        let body = tags(&format!("t{}", seen.n));
        let link = if seen.line.contains("last") { "<x>; rel=prev" } else { "<?last=1>; rel=next" };
        ([("etag", "\"e\""), ("link", link)], body).into_response()
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let listing =
        client.list_tags(&repository("registry.example/xx"), &access(""), None, deadline).await;
    assert!(
        matches!(listing, Ok(Listing::Complete { validator: None, pages: 2, .. })),
        "{listing:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn callers_that_ask_for_the_same_share_a_scan() {
    let (client, log) = client(|seen| with_basic(&seen));
    let lists = |user: &'static str| {
        let client = client.clone();
        (0..10).map(move |_| {
            let client = client.clone();
            tokio::spawn(async move { list(&client, "registry.example/xx", &access(user)).await })
        })
    };
    for scan in lists("one").chain(lists("two")).collect::<Vec<_>>() {
        assert_eq!(scan.await.expect("no panic"), "a in 1");
    }
    assert_eq!(log.count("tags/list"), 2, "one for each user:\n{}", log.text());
}

fn with_basic(seen: &Seen) -> Response {
    if is_ping(seen) { unauthorized("Basic") } else { slow(10, tags("a")) }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_take_others_along() {
    let (client, log) = client(|seen| if is_ping(&seen) { ok("") } else { slow(10, tags("a")) });
    let access = access("");
    let hasty = list_until(&client, &access, 5);
    let patient = list_until(&client, &access, 60);
    let (hasty, patient) = tokio::join!(hasty, patient);
    assert!(hasty.contains("context deadline exceeded"), "{hasty}");
    assert_eq!(patient, "a");
    assert_eq!(log.count("tags/list"), 2);
}

fn list_until<'a>(
    client: &'a Client,
    access: &'a Access,
    seconds: u64,
) -> impl Future<Output = String> + 'a {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    async move {
        match client.list_tags(&repository("registry.example/xx"), access, None, deadline).await {
            Ok(Listing::Complete { tags, .. }) => tags.latest(9).join(" "),
            other => other.map(|_| String::new()).unwrap_or_else(|error| error.to_string()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_go_over_plain_http_only_where_allowed() {
    let plain_only = |seen: Seen| match seen.line.contains("https://") {
        true => StatusCode::BAD_GATEWAY.into_response(),
        false if seen.credential.is_empty() => unauthorized("Basic"),
        false => ok(tags("a")),
    };
    let run = async |image: &str, insecure: bool| {
        let (client, log) = client(plain_only);
        let result = list(&client, image, &Access { insecure, ..access("user") }).await;
        (result, log.count("canary"))
    };
    assert_eq!(run("localhost:5000/xx", false).await, ("a in 1".to_owned(), 1));
    assert_eq!(run("10.0.0.1/xx", true).await, ("a in 1".to_owned(), 1));
    let refused = "credentials for 10.0.0.1 are not sent over plain http: serve it over https, or set `insecure: true`";
    assert_eq!(run("10.0.0.1/xx", false).await, (refused.to_owned(), 0));
    let (result, sent) = run("registry.example/xx", false).await;
    assert_eq!(
        (result.as_str(), sent),
        ("GET https://registry.example/v2/: unexpected status code 502 Bad Gateway", 0)
    );
    assert_eq!(run("registry.example/xx", true).await, ("a in 1".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn identity_tokens_are_exchanged_by_post() {
    let (client, log) = client(|seen| match seen.credential.as_str() {
        _ if seen.line.starts_with("POST") => ok("{\"access_token\":\"t\"}"),
        "bearer t" => ok(tags("a")),
        _ => unauthorized("Bearer realm=\"https://registry.example/token\",service=\"s\""),
    });
    let text = br#"{"registry.example":{"identitytoken":"canary"}}"#;
    let keychain = Keychain::from_dockercfg(text).expect("a valid configuration");
    let access = Access { keychain, ..Access::default() };
    assert_eq!(list(&client, "registry.example/xx", &access).await, "a in 1");
    assert_eq!(log.count("POST https://registry.example/token"), 1);
    assert_eq!(log.count("canary"), 0, "not in a URL");
}

#[tokio::test(start_paused = true)]
async fn what_a_registry_echoes_holds_no_secret() {
    let (client, _) = client(|seen| match seen.credential.as_str() {
        "" => unauthorized("Basic"),
        credential => {
            (StatusCode::FORBIDDEN, format!("no {credential} {:?}", seen.headers)).into_response()
        }
    });
    let error = list(&client, "registry.example/xx", &access("user")).await;
    assert!(error.contains("no basic user:****"), "{error}");
    assert!(!error.contains("canary") && !error.contains("dXNlcjpjYW5hcnk="), "{error}");
}

async fn head(answer: fn(Seen) -> Response, reference: &str) -> String {
    let (client, _) = client(answer);
    let deadline = Instant::now() + Duration::from_secs(60);
    let digest = client
        .head_manifest(&repository("registry.example/xx"), reference, &access(""), deadline)
        .await;
    match digest {
        Ok(digest) => digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string()),
        Err(error) => error.to_string(),
    }
}

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[tokio::test(start_paused = true)]
async fn a_manifest_has_a_digest_or_is_missing_or_nobody_knows() {
    let found = |seen: Seen| {
        let index_first =
            |v: &http::HeaderValue| v.as_bytes().starts_with(b"application/vnd.oci.image.index");
        assert!(is_ping(&seen) || seen.headers.get("accept").is_some_and(index_first));
        let fields =
            [("docker-content-digest", DIGEST), ("content-type", "a/b"), ("content-length", "7")];
        (fields, "").into_response()
    };
    assert_eq!(head(found, "v1").await, DIGEST);
    assert_eq!(head(found, DIGEST).await, DIGEST);
    let other = DIGEST.replace("0123", "ffff");
    assert!(head(found, &other).await.starts_with("manifest digest: "));
    let url = "https://registry.example/v2/xx/manifests/v1";
    let missing =
        |seen: Seen| if is_ping(&seen) { ok("") } else { StatusCode::NOT_FOUND.into_response() };
    assert_eq!(head(missing, "v1").await, "none");
    let without = |seen: Seen| {
        if is_ping(&seen) {
            ok("")
        } else {
            ([("content-type", "a/b"), ("content-length", "1")], "").into_response()
        }
    };
    assert_eq!(
        head(without, "v1").await,
        format!("HEAD {url}: response did not include Docker-Content-Digest header")
    );
    let untyped = |_: Seen| {
        ([("docker-content-digest", DIGEST), ("content-type", ""), ("content-length", "1")], "")
            .into_response()
    };
    assert_eq!(
        head(untyped, "v1").await,
        format!("HEAD {url}: response did not include Content-Type header")
    );
    let forbidden =
        |seen: Seen| if is_ping(&seen) { ok("") } else { StatusCode::FORBIDDEN.into_response() };
    assert_eq!(
        head(forbidden, "v1").await,
        format!(
            "HEAD {url}: unexpected status code 403 Forbidden (HEAD responses have no body, use GET for details)"
        )
    );
    // Only the registry itself can say that something is not there.
    let elsewhere = |seen: Seen| {
        if is_ping(&seen) {
            ok("")
        } else if seen.line.contains("mirror.test") {
            StatusCode::NOT_FOUND.into_response()
        } else {
            (StatusCode::FOUND, [("location", "https://mirror.test/x")], "").into_response()
        }
    };
    assert!(head(elsewhere, "v1").await.contains("unexpected status code 404"));
    assert_eq!(head(found, "../../../etc").await, "`../../../etc` is neither a tag nor a digest");
}
