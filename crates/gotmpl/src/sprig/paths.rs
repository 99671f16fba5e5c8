//! Slash-separated paths.

use super::{Entry, fixed, text};
use crate::function::Param;
use crate::value::Value;

pub(super) fn functions() -> Vec<Entry> {
    let mut functions = Vec::new();
    for (names, of) in [
        (["base", "osBase"], base as fn(&[u8]) -> Vec<u8>),
        (["dir", "osDir"], dir),
        (["clean", "osClean"], clean),
        (["ext", "osExt"], ext),
    ] {
        for name in names {
            let (name, mut function) = fixed(name, &[Param::String], |_, _| Ok(Value::Nil));
            function.body = crate::function::Body::Native(std::sync::Arc::new(move |_, args| {
                Ok(Value::string(of(text(args, 0))))
            }));
            functions.push((name, function));
        }
    }
    for name in ["isAbs", "osIsAbs"] {
        functions.push(fixed(name, &[Param::String], |_, args| {
            Ok(text(args, 0).starts_with(b"/").into())
        }));
    }
    functions
}

fn base(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let name = path[..end].rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if name.is_empty() { b"/".to_vec() } else { name.to_vec() }
}

fn dir(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    clean(&path[..end])
}

fn ext(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.iter().rposition(|byte| *byte == b'.').map_or_else(Vec::new, |at| name[at..].to_vec())
}

fn clean(path: &[u8]) -> Vec<u8> {
    let is_rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => {
                    parts.pop();
                }
                _ if is_rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (is_rooted, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}
