//! URLs and foreign texts as they may be shown.

use url::Url;

/// Query parameters that hold no secret and help to understand a message.
/// A page cursor other than `last` may be a signed token, so it is not here.
const SHOWN: [&str; 6] = ["n", "last", "scope", "service", "from", "mount"];

/// Returns the URL without userinfo and fragment, and with every query value
/// that could be a credential replaced by `REDACTED`.
pub fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Fails only for URLs that cannot have userinfo.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    let Some(query) = url.query() else { return shown.into() };
    let safe = query.split('&').map(parameter).collect::<Vec<_>>().join("&");
    shown.set_query(Some(&safe));
    shown.into()
}

fn parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if !SHOWN.contains(&name) => format!("{name}=REDACTED"),
        // A parameter without a name could be a token itself.
        None if !parameter.is_empty() && !SHOWN.contains(&parameter) => "REDACTED".to_owned(),
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_credentials() {
        let check = |url: &str, expected: &str| {
            assert_eq!(redacted(&Url::parse(url).expect("a valid URL")), expected);
        };
        check("http://h:5001/v2/x/tags/list?n=1000", "http://h:5001/v2/x/tags/list?n=1000");
        check("https://user:pass@h/x#frag", "https://h/x");
        check(
            "https://h/x?n=10&last=v1&X-Amz-Signature=abc&sig",
            "https://h/x?n=10&last=v1&X-Amz-Signature=REDACTED&REDACTED",
        );
        check(
            "https://h/t?scope=repository:a:pull&service=s&token=a=b",
            "https://h/t?scope=repository:a:pull&service=s&token=REDACTED",
        );
        check("https://h/x?", "https://h/x?");
    }
}
