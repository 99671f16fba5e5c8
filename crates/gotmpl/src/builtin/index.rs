//! `index`, `slice`, `len`.

use std::rc::Rc;

use crate::exec::Slot;
use crate::function::Fault;
use crate::run::Run;
use crate::value::{List, Type, Value};

pub(super) fn index(_: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    let mut item = args[0].clone();
    if matches!(item.value, Value::Nil) {
        return Err(Fault::message("index of untyped nil"));
    }
    item.boxed = false;
    for index in &args[1..] {
        item = step(&item.value, &index.value)?;
    }
    Ok(item)
}

fn step(item: &Value, index: &Value) -> Result<Slot, Fault> {
    match item {
        Value::Nil => Err(Fault::message("index of nil pointer")),
        Value::String(text) => {
            let at = position(index, text.len())?;
            let byte =
                text.get(at).ok_or_else(|| Fault::message("reflect: string index out of range"))?;
            Ok(Slot::plain(Value::Uint8(*byte)))
        }
        Value::List(list) => {
            let at = position(index, list.len())?;
            let item = list.items().get(at).cloned();
            let item = item.ok_or_else(|| Fault::message("reflect: slice index out of range"))?;
            Ok(Slot::of(item, list.element()))
        }
        Value::Map(map) => {
            let map_type = map.map_type();
            let (expected, found) = (&map_type.key, index.go_type());
            if matches!(index, Value::Nil) && *expected != Type::Interface {
                return Err(Fault::Message(format!("value is nil; should be of type {expected}")));
            }
            if *expected != Type::Interface && found != *expected {
                return Err(Fault::Message(format!(
                    "value has type {found}; should be {expected}"
                )));
            }
            let value = map.get_value(index).unwrap_or_else(|| map_type.element.zero());
            Ok(Slot::of(value, &map_type.element))
        }
        _ => Err(Fault::Message(format!("can't index item of type {}", item.go_type()))),
    }
}

/// Returns an index of something of length `len`; the length itself passes, as in Go.
fn position(index: &Value, len: usize) -> Result<usize, Fault> {
    let number = match (index, index.as_signed(), index.as_unsigned()) {
        (_, Some(signed), _) => signed,
        (_, _, Some(unsigned)) => unsigned as i64,
        (Value::Nil, ..) => return Err(Fault::message("cannot index slice/array with nil")),
        _ => {
            let found = index.go_type();
            return Err(Fault::Message(format!("cannot index slice/array with type {found}")));
        }
    };
    let position = usize::try_from(number).ok().filter(|position| *position <= len);
    position.ok_or_else(|| Fault::Message(format!("index out of range: {number}")))
}

pub(super) fn slice(run: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    let (item, indices) = (&args[0].value, &args[1..]);
    if matches!(item, Value::Nil) {
        return Err(Fault::message("slice of untyped nil"));
    }
    if indices.len() > 3 {
        return Err(Fault::Message(format!("too many slice indexes: {}", indices.len())));
    }
    let len = match item {
        Value::String(_) if indices.len() == 3 => {
            return Err(Fault::message("cannot 3-index slice a string"));
        }
        Value::String(text) => text.len(),
        Value::List(list) => list.len(),
        _ => return Err(Fault::Message(format!("can't slice item of type {}", item.go_type()))),
    };
    let mut bounds = [0, len, len];
    for (bound, index) in bounds.iter_mut().zip(indices) {
        *bound = position(&index.value, len)?;
    }
    for (low, high) in [(bounds[0], bounds[1]), (bounds[1], bounds[2])] {
        if low > high {
            return Err(Fault::Message(format!("invalid slice index: {low} > {high}")));
        }
    }
    run.charge((bounds[1] - bounds[0]) as u64)?;
    Ok(Slot::plain(match item {
        Value::List(list) => {
            let items = list.items()[bounds[0]..bounds[1]].to_vec();
            Value::List(List::of(Rc::clone(list.element()), items))
        }
        Value::String(text) => Value::string(&text[bounds[0]..bounds[1]]),
        _ => Value::Nil,
    }))
}

pub(super) fn len(_: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    let len = match &args[0].value {
        Value::Nil if args[0].boxed => return Err(Fault::message("len of nil pointer")),
        Value::Nil => {
            return Err(Fault::message("reflect: call of reflect.Value.Type on zero Value"));
        }
        Value::String(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        value => return Err(Fault::Message(format!("len of type {}", value.go_type()))),
    };
    Ok(Slot::plain(Value::Int(len as i64)))
}
