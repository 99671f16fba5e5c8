//! Who may come in: a layer that asks each request for the bearer token.

use std::{hint::black_box, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::State,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Request, header};

use crate::status::Status;

/// Paths that answer everyone: whether the server lives, and which it is.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// Returns a service that answers `401 Unauthorized` to whoever does not send
/// `Authorization: Bearer TOKEN`; only health and version are told to everyone.
///
/// It covers every path of the router that it is given, those of the caller too.
pub fn require_token(router: Router, token: &str) -> Router {
    let token: Arc<[u8]> = token.as_bytes().into();
    router.layer(middleware::from_fn_with_state(token, check))
}

async fn check(State(token): State<Arc<[u8]>>, request: Request<Body>, next: Next) -> Response {
    let path = request.uri().path();
    let is_public = PUBLIC.iter().any(|public| {
        let below = path.strip_prefix(public);
        below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    });
    let is_known = bearer(request.headers()).is_some_and(|sent| is_equal(sent, &token));
    if is_public || is_known {
        return next.run(request).await;
    }
    Status::unauthorized().into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes())
}

/// Compares in a time that tells nothing but the length.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    a.len() == b.len() && !b.is_empty() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_opens() {
        let cases = [
            ("Bearer abc", true),
            ("bearer  abc ", true),
            ("Bearer abd", false),
            ("Bearer ab", false),
            ("Bearer abcd", false),
            ("Bearer ", false),
            ("Basic abc", false),
            ("abc", false),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, sent.parse().expect("a header value"));
            let opens = bearer(&headers).is_some_and(|sent| is_equal(sent, b"abc"));
            assert_eq!(opens, expected, "{sent:?}");
        }
        assert!(!is_equal(b"", b""), "an empty token would open to everyone");
    }
}
