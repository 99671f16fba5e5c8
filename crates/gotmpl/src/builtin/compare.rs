//! `eq`, `ne`, `lt`, `le`, `gt`, `ge`.

use std::cmp::Ordering;

use golang::fmt::sprintf;

use super::{bool, format_values};
use crate::exec::Slot;
use crate::function::Fault;
use crate::run::Run;
use crate::value::{Value, deep_equal};

/// The kinds that can be compared with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Other,
    Bool,
    Complex,
    Int,
    Float,
    String,
    Uint,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) | Value::Int64(_) => Kind::Int,
        Value::Uint8(_) | Value::Uint64(_) => Kind::Uint,
        Value::Float(_) => Kind::Float,
        Value::Complex(..) => Kind::Complex,
        Value::String(_) => Kind::String,
        Value::Nil | Value::List(_) | Value::Map(_) | Value::Object(_) => Kind::Other,
    }
}

pub(super) fn eq(run: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    let (first, others) = args.split_first().map_or((&Value::Nil, args), |(a, b)| (&a.value, b));
    if others.is_empty() {
        return Err(Fault::message("missing argument for comparison"));
    }
    for other in others {
        if is_equal(run, first, &other.value)? {
            return Ok(bool(true));
        }
    }
    Ok(bool(false))
}

pub(super) fn ne(run: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    Ok(bool(!is_equal(run, &args[0].value, &args[1].value)?))
}

pub(super) fn lt(_: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    Ok(bool(order(args)? == Some(Ordering::Less)))
}

pub(super) fn le(_: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    Ok(bool(matches!(order(args)?, Some(Ordering::Less | Ordering::Equal))))
}

pub(super) fn gt(_: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    Ok(bool(!matches!(order(args)?, Some(Ordering::Less | Ordering::Equal))))
}

pub(super) fn ge(_: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    Ok(bool(order(args)? != Some(Ordering::Less)))
}

/// Returns the order of two values; `None` where a NaN has none.
fn order(args: &[Slot]) -> Result<Option<Ordering>, Fault> {
    let (a, b) = (&args[0].value, &args[1].value);
    let invalid = || Err(Fault::message("invalid type for comparison"));
    let (kind_a, kind_b) = (kind(a), kind(b));
    if kind_a == Kind::Other || kind_b == Kind::Other {
        return invalid();
    }
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        _ => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => Ok(Some(a.cmp(&b))),
            _ if kind_a == kind_b => invalid(),
            _ => Err(incompatible(a, b)),
        },
    }
}

fn integer(value: &Value) -> Option<i128> {
    let signed = value.as_signed().map(i128::from);
    signed.or_else(|| value.as_unsigned().map(i128::from))
}

fn incompatible(a: &Value, b: &Value) -> Fault {
    let (a, b) = (a.go_type(), b.go_type());
    Fault::Message(format!("incompatible types for comparison: {a} and {b}"))
}

fn is_equal(run: &mut Run, a: &Value, b: &Value) -> Result<bool, Fault> {
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return Ok(a == b);
    }
    let (kind_a, kind_b) = (kind(a), kind(b));
    if kind_a != kind_b {
        return match (a, b) {
            (Value::Nil, _) | (_, Value::Nil) => Ok(false),
            _ => Err(incompatible(a, b)),
        };
    }
    if kind_a != Kind::Other {
        return Ok(deep_equal(run, a, b)?);
    }
    let comparable = a.kind() == b.kind() || matches!((a, b), (Value::Nil, _) | (_, Value::Nil));
    if !comparable {
        let (shown_a, shown_b) = (show(run, a)?, show_plain(run, b)?);
        let (type_a, type_b) = (a.go_type(), b.go_type());
        let text = format!("non-comparable types {shown_a}: {type_a}, {type_b}: {shown_b}");
        return Err(Fault::Message(text));
    }
    if is_nil(a) || is_nil(b) {
        return Ok(is_nil(a) && is_nil(b));
    }
    if !is_comparable(b) {
        let shown = show(run, b)?;
        return Err(Fault::Message(format!("non-comparable type {shown}: {}", b.go_type())));
    }
    Ok(deep_equal(run, a, b)?)
}

fn is_nil(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::List(list) => list.is_nil(),
        Value::Map(map) => map.is_nil(),
        _ => false,
    }
}

/// Returns whether Go's `==` is defined for the type: not for slices, maps and what holds one.
fn is_comparable(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Map(_) => false,
        Value::Object(object) => {
            object.is_pointer() || object.fields().iter().all(|field| is_comparable(&field.value))
        }
        _ => true,
    }
}

fn show(run: &mut Run, value: &Value) -> Result<String, Fault> {
    let text = format_values(run, |out| sprintf(out, b"%s", std::slice::from_ref(value)))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn show_plain(run: &mut Run, value: &Value) -> Result<String, Fault> {
    let text = format_values(run, |out| sprintf(out, b"%v", std::slice::from_ref(value)))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
