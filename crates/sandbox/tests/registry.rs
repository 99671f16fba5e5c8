//! The registry speaks OCI distribution.

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header};
use sandbox::{Authentication, Registry, RegistryOptions, Validators};
use tower::ServiceExt as _;

#[tokio::test]
async fn lists_tags_page_by_page() {
    let registry = Registry::with(RegistryOptions { page_size: 2, ..Default::default() });
    for tag in ["c", "a", "e", "b", "d"] {
        registry.push("team/app", tag);
    }
    let mut path = Some("/v2/team/app/tags/list?n=1000".to_owned());
    let mut pages = Vec::new();
    while let Some(next) = path {
        let (status, headers, body) = get(&registry, &next, &[]).await;
        assert_eq!(status, StatusCode::OK);
        let page: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        pages.push(page["tags"].to_string());
        path = headers.get(header::LINK).map(|link| {
            let link = link.to_str().expect("text");
            link.strip_prefix('<')
                .and_then(|link| link.split('>').next())
                .expect("a URL")
                .to_owned()
        });
    }
    assert_eq!(pages, [r#"["a","b"]"#, r#"["c","d"]"#, r#"["e"]"#]);
    assert_eq!(registry.requests().len(), 3);
}

#[tokio::test]
async fn a_repository_nobody_pushed_to_is_unknown() {
    let (status, _, body) = get(&Registry::new(), "/v2/other/tags/list", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("NAME_UNKNOWN"), "{body}");
}

#[tokio::test]
async fn manifests_are_found_by_tag_and_by_digest() {
    let registry = Registry::new();
    let digest = registry.push("app", "1.0.0");
    for reference in ["1.0.0", &digest] {
        let path = format!("/v2/app/manifests/{reference}");
        let (status, headers, body) = get(&registry, &path, &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["docker-content-digest"], *digest);
        assert!(body.contains("application/vnd.oci.image.config.v1+json"), "{body}");
    }
    assert!(registry.delete("app", "1.0.0"));
    assert_eq!(get(&registry, "/v2/app/manifests/1.0.0", &[]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(registry.tags("app"), [""; 0]);
    assert_ne!(registry.push_image("app", "1.0.0", "other"), digest);
}

#[tokio::test]
async fn a_manifest_is_put() {
    let registry = Registry::new();
    let request = Request::put("/v2/app/manifests/1.0.0")
        .header(header::CONTENT_TYPE, "application/vnd.oci.image.manifest.v1+json")
        .body(Body::from("{}"))
        .expect("a request");
    let response = registry.router().oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(registry.tags("app"), ["1.0.0"]);
}

#[tokio::test]
async fn a_page_that_did_not_change_is_not_sent_again() {
    let registry =
        Registry::with(RegistryOptions { validators: Validators::ETag, ..Default::default() });
    registry.push("app", "1.0.0");
    let (_, headers, _) = get(&registry, "/v2/app/tags/list", &[]).await;
    let etag = headers[header::ETAG].to_str().expect("text").to_owned();
    let condition = [("if-none-match", etag.as_str())];
    let (status, _, body) = get(&registry, "/v2/app/tags/list", &condition).await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    registry.push("app", "1.0.1");
    assert_eq!(get(&registry, "/v2/app/tags/list", &condition).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_token_opens_the_registry() {
    let authentication =
        Authentication::TokenFor { username: "tide".to_owned(), password: "secret".to_owned() };
    let registry = Registry::with(RegistryOptions { authentication, ..Default::default() });
    registry.push("app", "1.0.0");
    let (status, headers, _) = get(&registry, "/v2/app/tags/list", &[("host", "r.test")]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        headers[header::WWW_AUTHENTICATE],
        "Bearer realm=\"http://r.test/token\",service=\"sandbox\",scope=\"repository:app:pull\""
    );
    let (status, _, _) = get(&registry, "/token", &[("authorization", "Basic eDp5")]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (_, _, body) =
        get(&registry, "/token", &[("authorization", "Basic dGlkZTpzZWNyZXQ=")]).await;
    let token: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let bearer = format!("Bearer {}", token["token"].as_str().expect("a token"));
    let (status, _, _) = get(&registry, "/v2/app/tags/list", &[("authorization", &bearer)]).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_intercepted_is_not_served() {
    let registry = Registry::new();
    registry.push("app", "1.0.0");
    let mut n_left = 1;
    registry.intercept(move |_| {
        n_left -= 1;
        (n_left >= 0).then(|| {
            let mut response = axum::response::Response::default();
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            response
        })
    });
    let status = async || get(&registry, "/v2/app/tags/list", &[]).await.0;
    assert_eq!(status().await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status().await, StatusCode::OK);
}

async fn get(
    registry: &Registry,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = registry.router().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    (parts.status, parts.headers, String::from_utf8(body.into()).expect("text"))
}
