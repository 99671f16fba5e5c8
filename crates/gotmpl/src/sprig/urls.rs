//! URLs.

use golang::url::Url;

use super::{Entry, fixed, text};
use crate::function::{Call, Fault, Param};
use crate::value::{Map, Value};

type Result<T = Value> = std::result::Result<T, Fault>;

pub(super) fn functions() -> Vec<Entry> {
    vec![
        fixed("urlParse", &[Param::String], |_, args| parse(text(args, 0))),
        fixed("urlJoin", &[Param::Dict], join),
    ]
}

fn parse(text: &[u8]) -> Result {
    let url = Url::parse(text)
        .map_err(|error| Fault::Message(format!("unable to parse url: {error}")))?;
    let userinfo = url.user.as_ref().map(|user| user.to_bytes()).unwrap_or_default();
    let parts: [(&str, &[u8]); 8] = [
        ("scheme", &url.scheme),
        ("host", &url.host),
        ("hostname", url.hostname()),
        ("path", &url.path),
        ("query", &url.raw_query),
        ("opaque", &url.opaque),
        ("fragment", &url.fragment),
        ("userinfo", &userinfo),
    ];
    Ok(Value::dict(parts.map(|(key, part)| (key, Value::string(part)))))
}

fn join(_: &mut Call<'_>, args: &[Value]) -> Result {
    let Some(Value::Map(parts)) = args.first() else { return Ok("".into()) };
    let mut url = Url {
        scheme: part(parts, "scheme")?,
        host: part(parts, "host")?,
        path: part(parts, "path")?,
        raw_query: part(parts, "query")?,
        opaque: part(parts, "opaque")?,
        fragment: part(parts, "fragment")?,
        ..Url::default()
    };
    let userinfo = part(parts, "userinfo")?;
    if !userinfo.is_empty() {
        let whole = [b"proto://", &userinfo[..], b"@host"].concat();
        let parsed = Url::parse(&whole).map_err(|error| {
            Fault::Message(format!("unable to parse userinfo in dict: {error}"))
        })?;
        url.user = parsed.user;
    }
    Ok(Value::string(url.to_bytes()))
}

/// Returns the text under a key, nothing if it is missing.
fn part(parts: &Map, key: &str) -> Result<Vec<u8>> {
    match parts.get(key.as_bytes()) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text.to_vec()),
        Some(Value::Nil) => Err(Fault::message(super::NIL_DEREFERENCE)),
        Some(other) => Err(Fault::Message(format!(
            "unable to parse {key} key, must be of type string, but {} found",
            other.kind()
        ))),
    }
}
