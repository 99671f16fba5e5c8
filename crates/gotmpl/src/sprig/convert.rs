//! Conversions between numbers and texts.

use golang::strconv::{parse_float, parse_int};

use super::{Entry, fixed, lossy, text, to_text};
use crate::function::Param;
use crate::value::Value;

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Any, String};
    vec![
        fixed("atoi", &[String], |_, args| {
            let number = parse_int(&lossy(text(args, 0)), 10, 64);
            Ok(Value::Int(number.unwrap_or_else(saturated)))
        }),
        fixed("int", &[Any], |_, args| Ok(Value::Int(to_int(&args[0])))),
        fixed("int64", &[Any], |_, args| Ok(Value::Int64(to_int(&args[0])))),
        fixed("float64", &[Any], |_, args| Ok(Value::Float(to_float(&args[0])))),
        fixed("toDecimal", &[Any], |call, args| {
            let octal = to_text(call.run, &args[0])?;
            Ok(Value::Int64(parse_int(&lossy(&octal), 8, 64).unwrap_or(0)))
        }),
        fixed("duration", &[Any], |_, args| {
            let seconds = match &args[0] {
                Value::String(text) => parse_int(&lossy(text), 10, 64).unwrap_or_else(saturated),
                Value::Int64(seconds) => *seconds,
                _ => 0,
            };
            let nanoseconds = seconds.wrapping_mul(1_000_000_000);
            Ok(golang::time::Duration::from_nanos(nanoseconds).to_string().into())
        }),
    ]
}

/// Returns what Go's parser leaves behind next to an error that nobody looks at: the nearest number in range.
fn saturated(error: golang::strconv::NumError) -> i64 {
    match error.reason {
        golang::strconv::Reason::Syntax => 0,
        golang::strconv::Reason::Range if error.text.starts_with('-') => i64::MIN,
        golang::strconv::Reason::Range => i64::MAX,
    }
}

/// Returns the integer that a value stands for, 0 if it stands for none.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(int) | Value::Int64(int) => *int,
        Value::Uint8(byte) => i64::from(*byte),
        Value::Uint64(uint) => *uint as i64,
        Value::Float(float) => truncate(*float),
        Value::Bool(value) => i64::from(*value),
        Value::String(text) => {
            parse_int(without_zero_decimals(&lossy(text)), 0, 64).unwrap_or_default()
        }
        _ => 0,
    }
}

/// Converts as amd64 does: what is out of range becomes the smallest integer.
fn truncate(float: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&float) { float as i64 } else { i64::MIN }
}

/// Returns the float that a value stands for, 0 if it stands for none.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(int) | Value::Int64(int) => *int as f64,
        Value::Uint8(byte) => f64::from(*byte),
        Value::Uint64(uint) => *uint as f64,
        Value::Float(float) => *float,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::String(text) => parse_float(&lossy(text)).unwrap_or_default(),
        _ => 0.0,
    }
}

/// `"3.00"` is read as `"3"`.
fn without_zero_decimals(text: &str) -> &str {
    let trimmed = text.trim_end_matches('0');
    match trimmed.strip_suffix('.') {
        Some(whole) if trimmed.len() < text.len() => whole,
        _ => text,
    }
}
