//! Maps.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Entry, any, fixed, shared_text, spread, text, to_text};
use crate::function::{Call, Fault, Param};
use crate::run::{Limit, Run};
use crate::value::{List, Map, MapType, Value};

type Result = std::result::Result<Value, Fault>;

/// How deeply maps are merged and copied.
const NESTING_MAX: usize = 200;

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Any, Dict, String};
    let mut functions = vec![
        spread("dict", &[], Any, dict),
        any(fixed("get", &[Dict, String], |_, args| {
            Ok(map(args, 0).get(text(args, 1)).unwrap_or_else(|| "".into()))
        })),
        fixed("set", &[Dict, String, Any], |call, args| {
            put(call.run, map(args, 0), shared_text(args, 1), args[2].clone())?;
            Ok(args[0].clone())
        }),
        fixed("unset", &[Dict, String], |call, args| {
            call.run.remember_changed(map(args, 0));
            map(args, 0).remove(text(args, 1));
            Ok(args[0].clone())
        }),
        fixed("hasKey", &[Dict, String], |_, args| {
            Ok(map(args, 0).get(text(args, 1)).is_some().into())
        }),
        spread("pluck", &[String], Dict, |_, args| {
            let dicts = (1..args.len()).map(|at| map(args, at));
            Ok(Value::list(dicts.filter_map(|dict| dict.get(text(args, 0)))))
        }),
        spread("keys", &[], Dict, |_, args| {
            let dicts = (0..args.len()).map(|at| map(args, at));
            let keys = dicts.flat_map(|dict| dict.string_entries().into_iter().map(|(key, _)| key));
            Ok(Value::strings(keys))
        }),
        fixed("values", &[Dict], |_, args| {
            Ok(Value::list(map(args, 0).string_entries().into_iter().map(|(_, value)| value)))
        }),
        spread("pick", &[Dict], String, |_, args| {
            let keys = (1..args.len()).map(|at| shared_text(args, at));
            Ok(Value::dict(keys.filter_map(|key| map(args, 0).get(&key).map(|value| (key, value)))))
        }),
        spread("omit", &[Dict], String, |_, args| {
            let omitted: BTreeSet<&[u8]> = (1..args.len()).map(|at| text(args, at)).collect();
            let entries = map(args, 0).string_entries().into_iter();
            Ok(Value::dict(entries.filter(|(key, _)| !omitted.contains(&**key))))
        }),
        any(fixed("deepCopy", &[Any], deep_copy)),
        any(fixed("mustDeepCopy", &[Any], deep_copy)),
        any(spread("dig", &[], Any, dig)),
    ];
    for name in ["merge", "mustMerge"] {
        functions.push(any(spread(name, &[Dict], Dict, |call, args| merge(call, args, false))));
    }
    for name in ["mergeOverwrite", "mustMergeOverwrite"] {
        functions.push(any(spread(name, &[Dict], Dict, |call, args| merge(call, args, true))));
    }
    functions
}

fn map(args: &[Value], at: usize) -> &Map {
    match args.get(at) {
        Some(Value::Map(map)) => map,
        _ => unreachable!("the parameter is a map: its type was checked before the call"),
    }
}

/// Puts a value into a map that a template may see elsewhere too.
fn put(run: &mut Run, map: &Map, key: Rc<[u8]>, value: Value) -> std::result::Result<(), Fault> {
    if map.is_nil() {
        return Err(Fault::message("assignment to entry in nil map"));
    }
    run.charge(1)?;
    run.remember_changed(map);
    map.insert(key, value);
    Ok(())
}

fn dict(call: &mut Call<'_>, args: &[Value]) -> Result {
    let dict = Map::dict();
    for pair in args.chunks(2) {
        let key = to_text(call.run, &pair[0])?;
        dict.insert(key, pair.get(1).cloned().unwrap_or_else(|| "".into()));
    }
    Ok(Value::Map(dict))
}

fn deep_copy(call: &mut Call<'_>, args: &[Value]) -> Result {
    if matches!(args[0], Value::Nil) {
        return Err(Fault::message("reflect: call of reflect.Value.Type on zero Value"));
    }
    Ok(copy(call.run, &args[0], 0)?)
}

fn copy(run: &mut Run, value: &Value, depth: usize) -> std::result::Result<Value, Limit> {
    run.charge(1)?;
    if depth > NESTING_MAX {
        return Err(Limit::Nesting(NESTING_MAX));
    }
    Ok(match value {
        Value::List(list) if !list.is_nil() => {
            let items: std::result::Result<_, _> =
                list.items().iter().map(|item| copy(run, item, depth + 1)).collect();
            Value::List(List::of(Rc::clone(list.element()), items?))
        }
        Value::Map(map) if !map.is_nil() && map.map_type().key == crate::value::Type::String => {
            let mut entries = Vec::with_capacity(map.len());
            for (key, value) in map.string_entries() {
                entries.push((key, copy(run, &value, depth + 1)?));
            }
            Value::Map(Map::with_strings(Rc::clone(map.map_type()), entries))
        }
        _ => value.clone(),
    })
}

fn merge(call: &mut Call<'_>, args: &[Value], overwrite: bool) -> Result {
    for at in 1..args.len() {
        merge_into(call.run, map(args, 0), map(args, at), (overwrite, 0))?;
    }
    Ok(args[0].clone())
}

/// Puts what the source has and the target lacks into the target; maps on both sides are merged.
fn merge_into(
    run: &mut Run,
    target: &Map,
    source: &Map,
    (overwrite, depth): (bool, usize),
) -> std::result::Result<(), Fault> {
    if depth > NESTING_MAX {
        return Err(Limit::Nesting(NESTING_MAX).into());
    }
    run.charge(source.len() as u64)?;
    for (key, value) in source.string_entries() {
        let own = target.get(&key);
        let is_own_empty = own.as_ref().is_none_or(super::logic::is_empty);
        let takes = match (&own, &value) {
            (_, Value::Nil) => overwrite,
            (Some(Value::Map(own)), Value::Map(value)) if !is_own_empty => {
                if !own.is_same(value) {
                    merge_into(run, own, value, (overwrite, depth + 1))?;
                }
                false
            }
            (_, Value::List(list)) if !is_own_empty => overwrite && !list.is_empty(),
            _ => overwrite || is_own_empty,
        };
        if takes {
            put(run, target, key, value)?;
        }
    }
    Ok(())
}

fn dig(_: &mut Call<'_>, args: &[Value]) -> Result {
    let [keys @ .., default, last] = args else {
        return Err(Fault::message("dig needs at least three arguments"));
    };
    if keys.is_empty() {
        return Err(Fault::message("dig needs at least three arguments"));
    }
    let mut current = dict_of(last)?;
    let mut names = Vec::with_capacity(keys.len());
    for key in keys {
        match key {
            Value::String(key) => names.push(key),
            _ => return Err(conversion(key, "string")),
        }
    }
    for (at, key) in names.iter().enumerate() {
        let Some(value) = current.get(key) else { return Ok(default.clone()) };
        if at + 1 == names.len() {
            return Ok(value);
        }
        current = dict_of(&value)?;
    }
    Ok(default.clone())
}

fn dict_of(value: &Value) -> std::result::Result<Map, Fault> {
    match value {
        Value::Map(map) if *map.map_type() == MapType::dict() => Ok(map.clone()),
        _ => Err(conversion(value, "map[string]interface {}")),
    }
}

/// Returns the error of a type assertion in Go.
fn conversion(value: &Value, wanted: &str) -> Fault {
    let found = match value {
        Value::Nil => "nil".into(),
        _ => value.go_type().to_string(),
    };
    Fault::Message(format!("interface conversion: interface {{}} is {found}, not {wanted}"))
}
