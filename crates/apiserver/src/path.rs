//! Paths of the API: which resource, namespace, object and subresource a request is about.

use std::borrow::Cow;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    pub(crate) subresource: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Reads `/api/VERSION/…` and `/apis/GROUP/VERSION/…`.
    pub(crate) fn parse(path: &'a str) -> Option<Target<'a>> {
        let mut segments = path.strip_prefix('/')?.trim_end_matches('/').split('/');
        let group = match segments.next()? {
            "api" => "",
            "apis" => segments.next()?,
            _ => return None,
        };
        let version = segments.next()?;
        let rest: Vec<&str> = segments.collect();
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        // A namespace is itself an object, with its own status and finalize paths.
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..]
                if !matches!(rest, [] | ["status" | "finalize"]) =>
            {
                (Some(*namespace), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
            _ => return None,
        };
        Some(Target { group, version, plural, namespace, name, subresource })
    }
}

/// Returns a path without its escapes, `None` if one of them is none or the path is no text.
pub(crate) fn decoded(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        // A sign would be read as part of the number.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{Target, decoded};

    #[test]
    fn escapes_are_read() {
        assert_eq!(decoded("/a%20b%2Fc%c3%a4").as_deref(), Some("/a b/c\u{e4}"));
        for path in ["%", "/%2", "/%zz", "/%+1", "/%ff"] {
            assert_eq!(decoded(path), None, "{path}");
        }
    }

    #[test]
    fn paths_name_resources_objects_and_subresources() {
        check("/api/v1/namespaces", expect!["//v1/namespaces - - -"]);
        check("/api/v1/namespaces/a", expect!["//v1/namespaces - a -"]);
        check("/api/v1/namespaces/a/status", expect!["//v1/namespaces - a status"]);
        check("/api/v1/namespaces/a/secrets", expect!["//v1/secrets a - -"]);
        check("/api/v1/secrets", expect!["//v1/secrets - - -"]);
        check("/apis/x.io/v1/namespaces/a/bs/c/status", expect!["/x.io/v1/bs a c status"]);
        check("/apis/x.io/v1/bs/", expect!["/x.io/v1/bs - - -"]);
        for path in ["", "/", "/api", "/api/v1", "/apis/x.io/v1", "/healthz", "/api/v1//secrets"] {
            check(path, expect!["nothing"]);
        }
    }

    #[track_caller]
    fn check(path: &str, expected: Expect) {
        let shown = Target::parse(path).map_or("nothing".to_owned(), |t| {
            let [namespace, name, subresource] =
                [t.namespace, t.name, t.subresource].map(|part| part.unwrap_or("-"));
            format!("/{}/{}/{} {namespace} {name} {subresource}", t.group, t.version, t.plural)
        });
        expected.assert_eq(&shown);
    }
}
