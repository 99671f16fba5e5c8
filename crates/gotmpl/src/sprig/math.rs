//! Arithmetic.

use super::convert::{to_float, to_int};
use super::{Entry, fixed, int, spread};
use crate::function::{Call, Fault, Param};
use crate::value::{List, Type, Value};

type Result = std::result::Result<Value, Fault>;

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Any, Float, Int};
    vec![
        fixed("add1", &[Any], |_, args| Ok(Value::Int64(to_int(&args[0]).wrapping_add(1)))),
        spread("add", &[], Any, |_, args| {
            Ok(Value::Int64(args.iter().map(to_int).fold(0, i64::wrapping_add)))
        }),
        fixed("sub", &[Any, Any], |_, args| {
            Ok(Value::Int64(to_int(&args[0]).wrapping_sub(to_int(&args[1]))))
        }),
        fixed("div", &[Any, Any], |_, args| divided(args, i64::wrapping_div)),
        fixed("mod", &[Any, Any], |_, args| divided(args, i64::wrapping_rem)),
        spread("mul", &[Any], Any, |_, args| {
            Ok(Value::Int64(args.iter().map(to_int).fold(1, i64::wrapping_mul)))
        }),
        spread("max", &[Any], Any, |_, args| Ok(extreme(args, i64::max))),
        spread("biggest", &[Any], Any, |_, args| Ok(extreme(args, i64::max))),
        spread("min", &[Any], Any, |_, args| Ok(extreme(args, i64::min))),
        spread("maxf", &[Any], Any, |_, args| Ok(extreme_float(args, max_float))),
        spread("minf", &[Any], Any, |_, args| Ok(extreme_float(args, min_float))),
        fixed("floor", &[Any], |_, args| Ok(Value::Float(to_float(&args[0]).floor()))),
        fixed("ceil", &[Any], |_, args| Ok(Value::Float(to_float(&args[0]).ceil()))),
        spread("round", &[Any, Int], Float, round),
        fixed("until", &[Int], |call, args| {
            let stop = int(args, 0);
            numbers(call, (0, stop, if stop < 0 { -1 } else { 1 }))
        }),
        fixed("untilStep", &[Int, Int, Int], |call, args| {
            numbers(call, (int(args, 0), int(args, 1), int(args, 2)))
        }),
        spread("seq", &[], Int, seq),
    ]
}

fn divided(args: &[Value], divide: fn(i64, i64) -> i64) -> Result {
    match to_int(&args[1]) {
        0 => Err(Fault::message("runtime error: integer divide by zero")),
        divisor => Ok(Value::Int64(divide(to_int(&args[0]), divisor))),
    }
}

fn extreme(args: &[Value], choose: fn(i64, i64) -> i64) -> Value {
    Value::Int64(args.iter().map(to_int).reduce(choose).unwrap_or_default())
}

fn extreme_float(args: &[Value], choose: fn(f64, f64) -> f64) -> Value {
    Value::Float(args.iter().map(to_float).reduce(choose).unwrap_or_default())
}

/// An infinity wins over NaN, NaN over numbers, as in Go's `math.Max`.
fn max_float(a: f64, b: f64) -> f64 {
    match (a == f64::INFINITY || b == f64::INFINITY, a.is_nan() || b.is_nan()) {
        (true, _) => f64::INFINITY,
        (_, true) => f64::NAN,
        _ if a == 0.0 && b == 0.0 => {
            if a.is_sign_negative() {
                b
            } else {
                a
            }
        }
        _ => a.max(b),
    }
}

fn min_float(a: f64, b: f64) -> f64 {
    -max_float(-a, -b)
}

fn round(_: &mut Call<'_>, args: &[Value]) -> Result {
    let (value, places) = (to_float(&args[0]), int(args, 1));
    let threshold = args.get(2).map_or(0.5, to_float);
    let power = 10f64.powf(places as f64);
    let digits = power * value;
    let rounded = if digits % 1.0 >= threshold { digits.ceil() } else { digits.floor() };
    Ok(Value::Float(rounded / power))
}

/// Returns the integers from start up to before stop; charged before they are made.
fn steps(
    call: &mut Call<'_>,
    (start, stop, step): (i64, i64, i64),
) -> std::result::Result<Vec<i64>, Fault> {
    let distance = i128::from(stop) - i128::from(start);
    if distance == 0 || step == 0 || (distance < 0) != (step < 0) {
        return Ok(Vec::new());
    }
    let step_wide = i128::from(step);
    let count = (distance.abs() + step_wide.abs() - 1) / step_wide.abs();
    call.run.charge(u64::try_from(count).unwrap_or(u64::MAX))?;
    let numbers = (0..count).map(|at| (i128::from(start) + at * step_wide) as i64);
    Ok(numbers.collect())
}

fn numbers(call: &mut Call<'_>, range: (i64, i64, i64)) -> Result {
    let items = steps(call, range)?.into_iter().map(Value::Int).collect();
    Ok(Value::List(List::new(Type::Int, items)))
}

fn seq(call: &mut Call<'_>, args: &[Value]) -> Result {
    let number = |at: usize| int(args, at);
    let (start, step, end) = match args.len() {
        1 => (1, None, number(0)),
        2 => (number(0), None, number(1)),
        3 => (number(0), Some(number(1)), number(2)),
        _ => return Ok("".into()),
    };
    let direction = if end < start { -1 } else { 1 };
    if direction < 0 && step.is_some_and(|step| step > 0) {
        return Ok("".into());
    }
    let range = (start, end.wrapping_add(direction), step.unwrap_or(direction));
    let texts: Vec<String> = steps(call, range)?.iter().map(i64::to_string).collect();
    Ok(texts.join(" ").into())
}
