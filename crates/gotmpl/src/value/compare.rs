//! Order of map keys and deep equality.

use std::cmp::Ordering;

use super::Value;
use crate::run::{Limit, Run};

/// How deeply values are compared before it is an error.
const NESTING_MAX: usize = 200;

/// Orders map keys as Go prints maps: numbers by size, strings by bytes, structs field by field.
pub(super) fn compare_keys(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Object(a), Value::Object(b)) => {
            let (a, b) = (a.fields(), b.fields());
            let pairs = a.iter().zip(&b).map(|(a, b)| compare_keys(&a.value, &b.value));
            pairs.fold(Ordering::Equal, Ordering::then)
        }
        _ => number(a).cmp(&number(b)),
    }
}

fn number(value: &Value) -> i128 {
    let signed = value.as_signed().map(i128::from);
    signed.or(value.as_unsigned().map(i128::from)).unwrap_or_default()
}

/// Returns whether two values are deeply equal: same types, same contents. Every visited value costs a step.
pub(crate) fn deep_equal(run: &mut Run, a: &Value, b: &Value) -> Result<bool, Limit> {
    equal(run, a, b, 0)
}

fn equal(run: &mut Run, a: &Value, b: &Value, depth: usize) -> Result<bool, Limit> {
    run.charge(1)?;
    if depth > NESTING_MAX {
        return Err(Limit::Nesting(NESTING_MAX));
    }
    Ok(match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) | (Value::Int64(a), Value::Int64(b)) => a == b,
        (Value::Uint8(a), Value::Uint8(b)) => a == b,
        (Value::Uint64(a), Value::Uint64(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Complex(a, b), Value::Complex(c, d)) => a == c && b == d,
        (Value::String(a), Value::String(b)) => {
            run.charge_bytes(a.len().min(b.len()))?;
            a == b
        }
        (Value::List(x), Value::List(y)) => {
            if x.element() != y.element() || x.is_nil() != y.is_nil() || x.len() != y.len() {
                return Ok(false);
            }
            for (x, y) in x.items().iter().zip(y.items()) {
                if !equal(run, x, y, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(x), Value::Map(y)) => {
            if x.map_type() != y.map_type() || x.is_nil() != y.is_nil() || x.len() != y.len() {
                return Ok(false);
            }
            if x.is_same(y) {
                return Ok(true);
            }
            for (key, x) in x.entries() {
                match y.get_value(&key) {
                    Some(y) if equal(run, &x, &y, depth + 1)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Object(x), Value::Object(y)) => {
            if x.type_name() != y.type_name() {
                return Ok(false);
            }
            let (x, y) = (x.fields(), y.fields());
            for (x, y) in x.iter().zip(&y) {
                if !equal(run, &x.value, &y.value, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        _ => false,
    })
}
