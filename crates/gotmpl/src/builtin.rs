//! Go's own functions: `and`, `call`, `eq`, `html`, `index`, `len`, `print`, ….

mod compare;
mod escape;
mod index;

use golang::fmt::{Buffer, Overflow, sprint, sprintf, sprintln};

use crate::exec::Slot;
use crate::function::{Body, Fault, Function, Param};
use crate::run::{Limit, Run};
use crate::value::Value;

type Builtin = fn(&mut Run, &[Slot]) -> Result<Slot, Fault>;

/// Returns Go's own functions by name.
pub(crate) fn functions() -> Vec<(&'static str, Function)> {
    use Param::{Any, Reflect, String};
    let plain = |name: &'static str, params: &[Param], variadic, body: Body| {
        (name, Function { params: params.to_vec(), variadic, returns_any: false, body })
    };
    let builtin = |body: Builtin| Body::Builtin(body);
    vec![
        plain("and", &[Reflect], Some(Reflect), Body::And),
        plain("or", &[Reflect], Some(Reflect), Body::Or),
        plain("call", &[Reflect], Some(Reflect), Body::Call),
        plain("not", &[Reflect], None, builtin(|_, args| Ok(bool(!args[0].value.is_true())))),
        plain("eq", &[Reflect], Some(Reflect), builtin(compare::eq)),
        plain("ne", &[Reflect, Reflect], None, builtin(compare::ne)),
        plain("lt", &[Reflect, Reflect], None, builtin(compare::lt)),
        plain("le", &[Reflect, Reflect], None, builtin(compare::le)),
        plain("gt", &[Reflect, Reflect], None, builtin(compare::gt)),
        plain("ge", &[Reflect, Reflect], None, builtin(compare::ge)),
        plain("html", &[], Some(Any), builtin(|run, args| text(run, args, escape::html))),
        plain("js", &[], Some(Any), builtin(|run, args| text(run, args, escape::js))),
        plain("urlquery", &[], Some(Any), builtin(|run, args| text(run, args, escape::url_query))),
        plain("index", &[Reflect], Some(Reflect), builtin(index::index)),
        plain("slice", &[Reflect], Some(Reflect), builtin(index::slice)),
        plain("len", &[Reflect], None, builtin(index::len)),
        plain("print", &[], Some(Any), builtin(|run, args| write(run, args, sprint))),
        plain("println", &[], Some(Any), builtin(|run, args| write(run, args, sprintln))),
        plain("printf", &[String], Some(Any), builtin(printf)),
    ]
}

/// Returns what `format` writes, charged to the run.
pub(crate) fn format_values(
    run: &mut Run,
    format: impl FnOnce(&mut Buffer),
) -> Result<Vec<u8>, Limit> {
    let mut buffer = Buffer::new(run.bytes_left());
    format(&mut buffer);
    match buffer.finish() {
        Ok(text) => {
            run.charge_bytes(text.len())?;
            Ok(text)
        }
        Err(Overflow::Bytes) => Err(Limit::Steps(run.limits().steps)),
        Err(Overflow::Depth) => Err(Limit::Nesting(golang::fmt::DEPTH_MAX)),
    }
}

fn bool(value: bool) -> Slot {
    Slot::plain(Value::Bool(value))
}

fn values(args: &[Slot]) -> Vec<Value> {
    args.iter().map(|slot| slot.value.clone()).collect()
}

fn write(run: &mut Run, args: &[Slot], print: fn(&mut Buffer, &[Value])) -> Result<Slot, Fault> {
    let text = format_values(run, |out| print(out, &values(args)))?;
    Ok(Slot::plain(Value::string(text)))
}

fn printf(run: &mut Run, args: &[Slot]) -> Result<Slot, Fault> {
    let Some((Value::String(format), args)) = args.split_first().map(|(f, a)| (&f.value, a)) else {
        return Err(Fault::message("printf needs a format"));
    };
    let text = format_values(run, |out| sprintf(out, format, &values(args)))?;
    Ok(Slot::plain(Value::string(text)))
}

/// Escapes the arguments, printed as `print` does; a missing value is `<no value>`.
fn text(run: &mut Run, args: &[Slot], escape: fn(&[u8]) -> Vec<u8>) -> Result<Slot, Fault> {
    let printed = match args {
        [Slot { value: Value::String(text), .. }] => text.to_vec(),
        _ => {
            let mut values = values(args);
            for value in values.iter_mut().filter(|value| matches!(value, Value::Nil)) {
                *value = Value::from("<no value>");
            }
            format_values(run, |out| sprint(out, &values))?
        }
    };
    // No character becomes more than six bytes.
    run.charge_bytes(printed.len() * 6)?;
    Ok(Slot::plain(Value::string(escape(&printed))))
}
