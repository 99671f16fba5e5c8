//! Lists.

use std::rc::Rc;

use super::{Entry, NIL_DEREFERENCE, any, fixed, int, spread, text, to_text};
use crate::function::{Call, Fault, Param};
use crate::run::Run;
use crate::value::{List, Type, Value, deep_equal};

type Result = std::result::Result<Value, Fault>;

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Any, Int, String};
    let mut functions = vec![
        spread("list", &[], Any, |_, args| Ok(Value::list(args.iter().cloned()))),
        spread("tuple", &[], Any, |_, args| Ok(Value::list(args.iter().cloned()))),
        fixed("join", &[String, Any], join),
        fixed("sortAlpha", &[Any], sort_alpha),
        fixed("toStrings", &[Any], |call, args| Ok(Value::strings(strings(call.run, &args[0])?))),
        any(spread("concat", &[], Any, concat)),
    ];
    for name in ["append", "push", "mustAppend", "mustPush"] {
        functions.push(fixed(name, &[Any, Any], |_, args| {
            let items = items(&args[0], "push on")?;
            Ok(Value::list(items.iter().chain([&args[1]]).cloned()))
        }));
    }
    let both =
        |functions: &mut Vec<Entry>, names: [&'static str; 2], make: fn(&'static str) -> Entry| {
            functions.extend(names.map(make));
        };
    both(&mut functions, ["prepend", "mustPrepend"], |name| {
        fixed(name, &[Any, Any], |_, args| {
            let items = items(&args[0], "prepend on")?;
            Ok(Value::list([&args[1]].into_iter().chain(items).cloned()))
        })
    });
    both(&mut functions, ["chunk", "mustChunk"], |name| fixed(name, &[Int, Any], chunk));
    both(&mut functions, ["first", "mustFirst"], |name| {
        any(fixed(name, &[Any], |_, args| {
            Ok(items(&args[0], "find first on")?.first().cloned().unwrap_or(Value::Nil))
        }))
    });
    both(&mut functions, ["last", "mustLast"], |name| {
        any(fixed(name, &[Any], |_, args| {
            Ok(items(&args[0], "find last on")?.last().cloned().unwrap_or(Value::Nil))
        }))
    });
    both(&mut functions, ["rest", "mustRest"], |name| {
        fixed(name, &[Any], |_, args| {
            let items = items(&args[0], "find rest on")?;
            Ok(items.split_first().map_or_else(nil, |(_, rest)| Value::list(rest.to_vec())))
        })
    });
    both(&mut functions, ["initial", "mustInitial"], |name| {
        fixed(name, &[Any], |_, args| {
            let items = items(&args[0], "find initial on")?;
            Ok(items.split_last().map_or_else(nil, |(_, rest)| Value::list(rest.to_vec())))
        })
    });
    both(&mut functions, ["reverse", "mustReverse"], |name| {
        fixed(name, &[Any], |_, args| {
            Ok(Value::list(items(&args[0], "find reverse on")?.iter().rev().cloned()))
        })
    });
    both(&mut functions, ["compact", "mustCompact"], |name| {
        fixed(name, &[Any], |_, args| {
            let items = items(&args[0], "compact on")?;
            Ok(Value::list(items.iter().filter(|item| !super::logic::is_empty(item)).cloned()))
        })
    });
    both(&mut functions, ["uniq", "mustUniq"], |name| fixed(name, &[Any], uniq));
    both(&mut functions, ["without", "mustWithout"], |name| spread(name, &[Any], Any, without));
    both(&mut functions, ["has", "mustHas"], |name| fixed(name, &[Any, Any], has));
    both(&mut functions, ["slice", "mustSlice"], |name| any(spread(name, &[Any], Any, slice)));
    functions
}

fn nil() -> Value {
    Value::List(List::nil(Rc::new(Type::Interface)))
}

/// Returns the items of a list, or Sprig's error about what cannot be done on this kind.
fn items<'v>(value: &'v Value, action: &str) -> std::result::Result<&'v [Value], Fault> {
    match value {
        Value::List(list) => Ok(list.items()),
        Value::Nil => Err(Fault::message(NIL_DEREFERENCE)),
        _ => Err(Fault::Message(format!("Cannot {action} type {}", value.kind()))),
    }
}

/// Returns the texts of a list's items, or of the value itself; nil has none.
fn strings(run: &mut Run, value: &Value) -> std::result::Result<Vec<Rc<[u8]>>, Fault> {
    let items = match value {
        Value::List(list) => list.items(),
        Value::Nil => &[],
        _ => std::slice::from_ref(value),
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items.iter().filter(|item| !matches!(item, Value::Nil)) {
        run.charge(1)?;
        texts.push(to_text(run, item)?);
    }
    Ok(texts)
}

fn join(call: &mut Call<'_>, args: &[Value]) -> Result {
    let separator = text(args, 0);
    let texts = strings(call.run, &args[1])?;
    let bytes = texts.iter().map(|text| text.len()).fold(0, usize::saturating_add);
    let separators = texts.len().saturating_mul(separator.len());
    call.run.charge_bytes(bytes.saturating_add(separators))?;
    Ok(Value::string(texts.join(separator)))
}

fn sort_alpha(call: &mut Call<'_>, args: &[Value]) -> Result {
    let mut texts = match &args[0] {
        Value::List(_) => strings(call.run, &args[0])?,
        value => vec![to_text(call.run, value)?],
    };
    texts.sort();
    Ok(Value::strings(texts))
}

fn concat(call: &mut Call<'_>, args: &[Value]) -> Result {
    let mut all = Vec::new();
    for list in args {
        let items = match list {
            Value::List(list) => list.items(),
            Value::Nil => return Err(Fault::message(NIL_DEREFERENCE)),
            _ => {
                let text = format!("Cannot concat type {} as list", list.kind());
                return Err(Fault::Message(text));
            }
        };
        call.run.charge(items.len() as u64)?;
        all.extend_from_slice(items);
    }
    Ok(if all.is_empty() { nil() } else { Value::list(all) })
}

fn chunk(_: &mut Call<'_>, args: &[Value]) -> Result {
    let size = int(args, 0);
    let Value::List(list) = &args[1] else {
        items(&args[1], "chunk")?;
        return Ok(Value::Nil);
    };
    let inner = Rc::new(Type::Interface);
    let needed = list.len() as u64;
    if size < 0 && needed > 1 && size.unsigned_abs() >= needed - 1 {
        return Ok(Value::List(List::new(Type::List(inner), Vec::new())));
    }
    let size = match chunk_size(size, list.len()) {
        Some(size) => size,
        None => return Err(Fault::message("runtime error: makeslice: len out of range")),
    };
    let chunks = list
        .items()
        .chunks(size)
        .map(|chunk| Value::List(List::of(inner.clone(), chunk.to_vec())))
        .collect();
    Ok(Value::List(List::new(Type::List(inner.clone()), chunks)))
}

/// Returns the size of chunks that Go's arithmetic gives for any number; `None` where it asks for an impossible slice.
///
/// A negative size gives one chunk of a single item; what it gives for more items is decided before.
fn chunk_size(size: i64, len: usize) -> Option<usize> {
    match usize::try_from(size) {
        Ok(0) => None,
        Ok(size) => Some(size),
        Err(_) if len == 1 => Some(1),
        Err(_) => None,
    }
}

fn contains(run: &mut Run, items: &[Value], needle: &Value) -> std::result::Result<bool, Fault> {
    for item in items {
        if deep_equal(run, needle, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn uniq(call: &mut Call<'_>, args: &[Value]) -> Result {
    let mut kept = Vec::new();
    for item in items(&args[0], "find uniq on")? {
        if !contains(call.run, &kept, item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn without(call: &mut Call<'_>, args: &[Value]) -> Result {
    let mut kept = Vec::new();
    for item in items(&args[0], "find without on")? {
        if !contains(call.run, &args[1..], item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn has(call: &mut Call<'_>, args: &[Value]) -> Result {
    if matches!(args[1], Value::Nil) {
        return Ok(false.into());
    }
    let items = items(&args[1], "find has on")?;
    Ok(contains(call.run, items, &args[0])?.into())
}

fn slice(_: &mut Call<'_>, args: &[Value]) -> Result {
    let list = match &args[0] {
        Value::List(list) => list,
        Value::Nil => return Err(Fault::message(NIL_DEREFERENCE)),
        value => {
            let text = format!("list should be type of slice or array but {}", value.kind());
            return Err(Fault::Message(text));
        }
    };
    if list.is_empty() {
        return Ok(Value::Nil);
    }
    let bound = |at: usize, default: usize| match args.get(at) {
        Some(value) => usize::try_from(super::convert::to_int(value)).ok(),
        None => Some(default),
    };
    let range =
        bound(1, 0).zip(bound(2, list.len())).and_then(|(start, end)| list.items().get(start..end));
    match range {
        Some(items) => Ok(Value::List(List::of(Rc::clone(list.element()), items.to_vec()))),
        None => Err(Fault::message("reflect.Value.Slice: slice index out of bounds")),
    }
}
