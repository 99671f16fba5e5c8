//! Strings.

use golang::unicode::{REPLACEMENT, rune_indices, runes};
use memchr::memmem;

use super::{Entry, any, fixed, int, spread, text, to_text};
use crate::builtin::format_values;
use crate::function::{Call, Fault, Param};
use crate::value::{Map, MapType, Value};

type Result = std::result::Result<Value, Fault>;

pub(super) fn functions() -> Vec<Entry> {
    let mut all = shaping();
    all.extend(searching());
    all
}

/// Returns what makes other texts of texts.
fn shaping() -> Vec<Entry> {
    use Param::{Any, Int, String};
    vec![
        fixed("hello", &[], |_, _| Ok("Hello!".into())),
        fixed("abbrev", &[Int, String], |_, args| Ok(abbrev(0, int(args, 0), text(args, 1)))),
        fixed("abbrevboth", &[Int, Int, String], |_, args| {
            Ok(abbrev(int(args, 0), int(args, 1), text(args, 2)))
        }),
        fixed("trunc", &[Int, String], trunc),
        fixed("trim", &[String], |_, args| Ok(Value::string(trim_space(text(args, 0))))),
        fixed("substr", &[Int, Int, String], substr),
        fixed("repeat", &[Int, String], repeat),
        fixed("trimAll", &[String, String], trim_all),
        fixed("trimall", &[String, String], trim_all),
        fixed("trimSuffix", &[String, String], |_, args| {
            let whole = text(args, 1);
            Ok(Value::string(whole.strip_suffix(text(args, 0)).unwrap_or(whole)))
        }),
        fixed("trimPrefix", &[String, String], |_, args| {
            let whole = text(args, 1);
            Ok(Value::string(whole.strip_prefix(text(args, 0)).unwrap_or(whole)))
        }),
        fixed("nospace", &[String], |_, args| {
            // Sprig's helper takes each byte for a character of Latin-1.
            let runes = text(args, 0).iter().map(|byte| char::from(*byte));
            let kept: std::string::String = runes.filter(|rune| !rune.is_whitespace()).collect();
            Ok(kept.into())
        }),
        fixed("initials", &[String], initials),
        fixed("wrap", &[Int, String], |call, args| {
            wrap(call, int(args, 0), b"\n", (text(args, 1), false))
        }),
        fixed("wrapWith", &[Int, String, String], |call, args| {
            let separator = if text(args, 1).is_empty() { b"\n" } else { text(args, 1) };
            wrap(call, int(args, 0), separator, (text(args, 2), true))
        }),
        spread("quote", &[], Any, quote),
        spread("squote", &[], Any, squote),
        spread("cat", &[], Any, cat),
        fixed("indent", &[Int, String], |call, args| indent(call, args, "")),
        fixed("nindent", &[Int, String], |call, args| indent(call, args, "\n")),
        fixed("replace", &[String, String, String], |call, args| {
            replace(call, text(args, 2), text(args, 0), text(args, 1))
        }),
        fixed("plural", &[String, String, Int], |_, args| {
            Ok(args[usize::from(int(args, 2) != 1)].clone())
        }),
        fixed("toString", &[Any], |call, args| Ok(Value::String(to_text(call.run, &args[0])?))),
    ]
}

/// Returns what looks into texts and takes them apart, and what fails with one.
fn searching() -> Vec<Entry> {
    use Param::{Int, String};
    vec![
        fixed("contains", &[String, String], |_, args| {
            Ok(memmem::find(text(args, 1), text(args, 0)).is_some().into())
        }),
        fixed("hasPrefix", &[String, String], |_, args| {
            Ok(text(args, 1).starts_with(text(args, 0)).into())
        }),
        fixed("hasSuffix", &[String, String], |_, args| {
            Ok(text(args, 1).ends_with(text(args, 0)).into())
        }),
        fixed("split", &[String, String], |call, args| {
            split_map(call, text(args, 0), -1, text(args, 1))
        }),
        fixed("splitn", &[String, Int, String], |call, args| {
            split_map(call, text(args, 0), int(args, 1), text(args, 2))
        }),
        fixed("splitList", &[String, String], |call, args| {
            Ok(Value::strings(split(call, text(args, 1), text(args, 0), -1)?))
        }),
        any(fixed("fail", &[String], |_, args| {
            Err(Fault::Message(super::lossy(text(args, 0)).into_owned()))
        })),
    ]
}

fn abbrev(offset: i64, width: i64, whole: &[u8]) -> Value {
    if width < 4 || offset > 0 && width < 7 {
        return Value::string(whole);
    }
    Value::string(abbreviate(whole, offset, width))
}

fn abbreviate(whole: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let len = whole.len() as i64;
    if whole.is_empty() || len <= width {
        return whole.to_vec();
    }
    let part = |from: i64, to: i64| &whole[from as usize..to as usize];
    let room = width - 3;
    let mut offset = offset.min(len);
    if len - offset < room {
        offset = len - room;
    }
    if offset <= 4 {
        return [part(0, room), b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + room < len {
        let tail = part(offset, len);
        // The tail is shortened again, as long as the room is wide enough for a mark.
        let tail = if room < 4 { Vec::new() } else { abbreviate(tail, 0, room) };
        return [b"...", &tail[..]].concat();
    }
    [b"...", part(len - room, len)].concat()
}

fn trunc(_: &mut Call<'_>, args: &[Value]) -> Result {
    let (count, whole) = (int(args, 0), text(args, 1));
    let len = whole.len() as i64;
    Ok(Value::string(match count {
        ..0 if len + count > 0 => &whole[(len + count) as usize..],
        0.. if len > count => &whole[..count as usize],
        _ => whole,
    }))
}

/// Returns the text without Unicode white space at its ends.
pub(super) fn trim_space(whole: &[u8]) -> &[u8] {
    trim_runes(whole, char::is_whitespace)
}

fn trim_all(_: &mut Call<'_>, args: &[Value]) -> Result {
    let (cutset, whole) = (text(args, 0), text(args, 1));
    let mut cutset: Vec<char> = runes(cutset).collect();
    cutset.sort_unstable();
    Ok(Value::string(trim_runes(whole, |rune| cutset.binary_search(&rune).is_ok())))
}

fn trim_runes(whole: &[u8], cut: impl Fn(char) -> bool) -> &[u8] {
    let mut kept = rune_indices(whole).filter(|(_, rune, _)| !cut(*rune));
    let Some((start, _, width)) = kept.next() else { return b"" };
    let end = kept.last().map_or(start + width, |(at, _, width)| at + width);
    &whole[start..end]
}

fn substr(_: &mut Call<'_>, args: &[Value]) -> Result {
    let (start, end, whole) = (int(args, 0), int(args, 1), text(args, 2));
    let len = whole.len() as i64;
    let error = |range: String| {
        Err(Fault::Message(format!("runtime error: slice bounds out of range {range}")))
    };
    if start < 0 {
        return match usize::try_from(end) {
            Err(_) => error(format!("[:{end}]")),
            Ok(_) if end > len => error(format!("[:{end}] with length {len}")),
            Ok(end) => Ok(Value::string(&whole[..end])),
        };
    }
    let end = if end < 0 || end > len { len } else { end };
    if start > end {
        return error(format!("[{start}:{end}]"));
    }
    Ok(Value::string(&whole[start as usize..end as usize]))
}

fn repeat(call: &mut Call<'_>, args: &[Value]) -> Result {
    let (count, unit) = (int(args, 0), text(args, 1));
    let Ok(count) = usize::try_from(count) else {
        return Err(Fault::message("strings: negative Repeat count"));
    };
    call.run.charge_bytes(unit.len().saturating_mul(count))?;
    Ok(Value::string(unit.repeat(if unit.is_empty() { 0 } else { count })))
}

fn initials(_: &mut Call<'_>, args: &[Value]) -> Result {
    let (mut out, mut after_gap) = (String::new(), true);
    for byte in text(args, 0) {
        // Sprig's helper takes each byte for a character of Latin-1.
        let rune = char::from(*byte);
        match rune.is_whitespace() {
            true => after_gap = true,
            false if std::mem::take(&mut after_gap) => out.push(rune),
            false => {}
        }
    }
    Ok(out.into())
}

/// Breaks a text at blanks into lines of at most `width` bytes; longer words are cut only where `cut` says so.
fn wrap(call: &mut Call<'_>, width: i64, separator: &[u8], (whole, cut): (&[u8], bool)) -> Result {
    let width = usize::try_from(width).unwrap_or(1).max(1);
    call.run.charge_bytes((whole.len() / width).saturating_mul(separator.len()))?;
    let (mut out, mut at) = (Vec::with_capacity(whole.len()), 0);
    while whole.len() - at > width {
        if whole[at] == b' ' {
            at += 1;
            continue;
        }
        let line = &whole[at..at + width + 1];
        let (end, next) = match memchr::memrchr(b' ', line) {
            Some(blank) => (at + blank, at + blank + 1),
            None if cut => (at + width, at + width),
            None => match memchr::memchr(b' ', &whole[at + width..]) {
                Some(blank) => (at + width + blank, at + width + blank + 1),
                None => break,
            },
        };
        out.extend_from_slice(&whole[at..end]);
        out.extend_from_slice(separator);
        at = next;
    }
    out.extend_from_slice(&whole[at..]);
    Ok(Value::string(out))
}

fn quote(call: &mut Call<'_>, args: &[Value]) -> Result {
    let mut out = Vec::new();
    for value in args.iter().filter(|value| !matches!(value, Value::Nil)) {
        let value = to_text(call.run, value)?;
        call.run.charge_bytes(value.len() * 4)?;
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend(golang::strconv::quote(&value).bytes());
    }
    Ok(Value::string(out))
}

fn squote(call: &mut Call<'_>, args: &[Value]) -> Result {
    let mut out = Vec::new();
    for value in args.iter().filter(|value| !matches!(value, Value::Nil)) {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.push(b'\'');
        let value = to_text(call.run, value)?;
        call.run.charge_bytes(value.len())?;
        out.extend_from_slice(&value);
        out.push(b'\'');
    }
    Ok(Value::string(out))
}

fn cat(call: &mut Call<'_>, args: &[Value]) -> Result {
    let values: Vec<Value> =
        args.iter().filter(|value| !matches!(value, Value::Nil)).cloned().collect();
    let format = vec!["%v"; values.len()].join(" ");
    let out = format_values(call.run, |out| golang::fmt::sprintf(out, format.as_bytes(), &values))?;
    Ok(Value::string(out))
}

fn indent(call: &mut Call<'_>, args: &[Value], before: &str) -> Result {
    let (count, whole) = (int(args, 0), text(args, 1));
    let Ok(count) = usize::try_from(count) else {
        return Err(Fault::message("strings: negative Repeat count"));
    };
    let lines = 1 + memchr::memchr_iter(b'\n', whole).count();
    call.run.charge_bytes(lines.saturating_mul(count))?;
    let padding = b" ".repeat(count);
    let mut out = before.as_bytes().to_vec();
    for (at, line) in whole.split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            out.push(b'\n');
        }
        out.extend_from_slice(&padding);
        out.extend_from_slice(line);
    }
    Ok(Value::string(out))
}

fn replace(call: &mut Call<'_>, whole: &[u8], old: &[u8], new: &[u8]) -> Result {
    let mut out = Vec::with_capacity(whole.len());
    if old.is_empty() {
        // The empty text stands before every character and at the end.
        call.run.charge_bytes((whole.len() + 1).saturating_mul(new.len()))?;
        for (at, _, width) in rune_indices(whole) {
            out.extend_from_slice(new);
            out.extend_from_slice(&whole[at..at + width]);
        }
        out.extend_from_slice(new);
        return Ok(Value::string(out));
    }
    let finder = memmem::Finder::new(old);
    call.run.charge_bytes(finder.find_iter(whole).count().saturating_mul(new.len()))?;
    let mut copied = 0;
    for at in finder.find_iter(whole) {
        out.extend_from_slice(&whole[copied..at]);
        out.extend_from_slice(new);
        copied = at + old.len();
    }
    out.extend_from_slice(&whole[copied..]);
    Ok(Value::string(out))
}

/// Splits as Go's `SplitN`: at most `limit` parts, all of them if it is negative, characters if the separator is empty.
fn split<'t>(
    call: &mut Call<'_>,
    whole: &'t [u8],
    separator: &[u8],
    limit: i64,
) -> std::result::Result<Vec<&'t [u8]>, Fault> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let (mut parts, mut start) = (Vec::new(), 0);
    if separator.is_empty() {
        for (at, _, width) in rune_indices(whole) {
            call.run.charge(1)?;
            if parts.len() + 1 >= limit {
                break;
            }
            start = at + width;
            parts.push(&whole[at..start]);
        }
        if start < whole.len() {
            parts.push(&whole[start..]);
        }
        return Ok(parts);
    }
    for at in memmem::find_iter(whole, separator) {
        call.run.charge(1)?;
        if parts.len() + 1 >= limit {
            break;
        }
        parts.push(&whole[start..at]);
        start = at + separator.len();
    }
    parts.push(&whole[start..]);
    Ok(parts)
}

fn split_map(call: &mut Call<'_>, separator: &[u8], limit: i64, whole: &[u8]) -> Result {
    let parts = split(call, whole, separator, limit)?;
    let parts = parts.into_iter().enumerate();
    let entries = parts.map(|(at, part)| (format!("_{at}"), Value::string(part)));
    Ok(Value::Map(Map::with_strings(MapType::strings(), entries)))
}

/// Returns the characters of a text as a string, each mapped; bad bytes become U+FFFD.
pub(super) fn map_runes(whole: &[u8], map: impl Fn(char) -> char) -> Value {
    let mapped: String =
        runes(whole).map(|rune| if rune == REPLACEMENT { rune } else { map(rune) }).collect();
    mapped.into()
}
