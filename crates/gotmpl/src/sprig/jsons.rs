//! JSON.

use super::{Entry, any, fixed, text};
use crate::function::{Call, Fault, Param};
use crate::json::{Style, decode, encode};
use crate::value::Value;

type Result = std::result::Result<Value, Fault>;

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Any, String};
    vec![
        any(fixed("fromJson", &[String], |call, args| match decode(call.run, text(args, 0)) {
            Ok(value) => Ok(value),
            Err(Fault::Message(_)) => Ok(Value::Nil),
            Err(fault) => Err(fault),
        })),
        any(fixed("mustFromJson", &[String], |call, args| decode(call.run, text(args, 0)))),
        fixed("toJson", &[Any], |call, args| lenient(call, args, Style::Compact)),
        fixed("mustToJson", &[Any], |call, args| {
            Ok(encode(call.run, &args[0], Style::Compact)?.into())
        }),
        fixed("toPrettyJson", &[Any], |call, args| lenient(call, args, Style::Pretty)),
        fixed("mustToPrettyJson", &[Any], |call, args| {
            Ok(encode(call.run, &args[0], Style::Pretty)?.into())
        }),
        fixed("toRawJson", &[Any], |call, args| Ok(encode(call.run, &args[0], Style::Raw)?.into())),
        fixed("mustToRawJson", &[Any], |call, args| {
            Ok(encode(call.run, &args[0], Style::Raw)?.into())
        }),
    ]
}

/// Returns nothing for what JSON cannot hold.
fn lenient(call: &mut Call<'_>, args: &[Value], style: Style) -> Result {
    match encode(call.run, &args[0], style) {
        Ok(json) => Ok(json.into()),
        Err(Fault::Message(_)) => Ok("".into()),
        Err(fault) => Err(fault),
    }
}
