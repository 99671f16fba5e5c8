//! `Link`: where the next page is, and whether we may go there.

use net::{origin, redacted};
use url::Url;

/// Longest header value that is read.
const VALUE_MAX: usize = 16 << 10;

/// A next page that is not part of this listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The target is not a URL.
    #[error("the next page is not a valid URL")]
    Invalid,
    /// The target is another scheme, host, port or path.
    #[error("the next page {target} is not on {expected}")]
    Elsewhere {
        /// Where the server sends us, without credentials.
        target: String,
        /// Where the listing is.
        expected: String,
    },
}

/// Returns the target with `rel=next` in a `Link` value; several links may
/// stand in it. What is not a link is passed over.
pub fn next_link(value: &str) -> Option<&str> {
    let mut rest = value.get(..value.len().min(VALUE_MAX))?;
    loop {
        let start = rest.find('<')?;
        let after = &rest[start + 1..];
        let (target, parameters) = after.split_at(after.find('>')?);
        let parameters = &parameters[1..];
        let end = link_end(parameters);
        if is_next(&parameters[..end]) {
            return Some(target.trim());
        }
        rest = &parameters[end..];
    }
}

/// Returns the URL of the next page after the page at `page`: only its query
/// may differ.
///
/// # Errors
/// When the target leads anywhere else.
pub fn next_page(page: &Url, target: &str) -> Result<Url, LinkError> {
    let mut next = page.join(target).map_err(|_| LinkError::Invalid)?;
    next.set_fragment(None);
    let bare = next.username().is_empty() && next.password().is_none();
    if bare && origin(&next) == origin(page) && next.path() == page.path() {
        return Ok(next);
    }
    let mut expected = page.clone();
    expected.set_query(None);
    Err(LinkError::Elsewhere { target: redacted(&next), expected: redacted(&expected) })
}

/// Returns where a link's parameters end: at a comma outside quotes.
fn link_end(text: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// Says whether parameters hold `rel` with `next` among its words; only the
/// first `rel` counts.
fn is_next(parameters: &str) -> bool {
    let named = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches('"').to_owned())
    };
    split_outside_quotes(parameters).into_iter().find_map(named).is_some_and(|rel| {
        rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
    })
}

fn split_outside_quotes(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found() {
        let check =
            |value: &str, expected: Option<&str>| assert_eq!(next_link(value), expected, "{value}");
        check(r#"</v2/a/tags/list?n=2&last=b>; rel="next""#, Some("/v2/a/tags/list?n=2&last=b"));
        check("</x>;rel=next", Some("/x"));
        check("</x> ; REL = \"NEXT\"", Some("/x"));
        check(r#"</p>; rel="prev", </n>; rel="next""#, Some("/n"));
        check(r#"</p>; title="a, <b>; rel=next"; rel=prev, </n>; rel="last next""#, Some("/n"));
        check(r#"</x>; title="rel=next""#, None);
        check(r#"</x>; rel="prev"; rel="next""#, None);
        check(r#"</x>; rel="nextish""#, None);
        check("</x>", None);
        check("</x; rel=next", None);
        check("rel=next", None);
        check("", None);
        check("<a,b>; rel=next", Some("a,b"));
    }

    #[test]
    fn the_next_page_differs_only_in_its_query() {
        let page =
            Url::parse("https://registry.example/v2/a/b/tags/list?n=1000").expect("a valid URL");
        let go = |target: &str| {
            next_page(&page, target).map(String::from).map_err(|error| error.to_string())
        };
        let next = "https://registry.example/v2/a/b/tags/list?n=1000&last=x".to_owned();
        for target in [
            "/v2/a/b/tags/list?n=1000&last=x",
            "?n=1000&last=x#frag",
            "list?n=1000&last=x",
            "//registry.example/v2/a/b/tags/list?n=1000&last=x",
            "https://REGISTRY.example:443/v2/a/b/tags/list?n=1000&last=x",
        ] {
            assert_eq!(go(target), Ok(next.clone()), "{target}");
        }
        for target in [
            "http://registry.example/v2/a/b/tags/list?last=x",
            "https://registry.example:8443/v2/a/b/tags/list?last=x",
            "https://evil.example/v2/a/b/tags/list?last=x",
            "https://169.254.169.254/v2/a/b/tags/list",
            "https://registry.example@evil.example/v2/a/b/tags/list",
            "https://u:canary@registry.example/v2/a/b/tags/list",
            "/v2/a/c/tags/list?last=x",
            "/v2/a/b/tags/list/../../../../c/tags/list",
            "/v2/a/b/tags/list/",
            "file:///etc/passwd",
        ] {
            let error = go(target).expect_err(target);
            assert!(
                error.ends_with("is not on https://registry.example/v2/a/b/tags/list"),
                "{error}"
            );
            assert!(!error.contains("canary"), "{error}");
        }
        assert_eq!(go("https://[/"), Err("the next page is not a valid URL".to_owned()));
    }
}
