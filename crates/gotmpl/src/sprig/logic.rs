//! Defaults, emptiness and types.

use super::{Entry, any, fixed, flag, lossy, spread, text};
use crate::function::Param;
use crate::value::{Value, deep_equal};

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Any, Bool, String};
    vec![
        any(spread("default", &[Any], Any, |_, args| {
            let given = args.get(1).filter(|given| !is_empty(given));
            Ok(given.unwrap_or(&args[0]).clone())
        })),
        fixed("empty", &[Any], |_, args| Ok(is_empty(&args[0]).into())),
        any(spread("coalesce", &[], Any, |_, args| {
            Ok(args.iter().find(|value| !is_empty(value)).cloned().unwrap_or(Value::Nil))
        })),
        spread("all", &[], Any, |_, args| Ok(args.iter().all(|value| !is_empty(value)).into())),
        spread("any", &[], Any, |_, args| Ok(args.iter().any(|value| !is_empty(value)).into())),
        any(fixed("ternary", &[Any, Any, Bool], |_, args| {
            Ok(args[usize::from(!flag(args, 2))].clone())
        })),
        fixed("typeOf", &[Any], |_, args| Ok(type_of(&args[0]).into())),
        fixed("typeIs", &[String, Any], |_, args| {
            Ok((lossy(text(args, 0)) == type_of(&args[1])).into())
        }),
        fixed("typeIsLike", &[String, Any], |_, args| {
            let (target, found) = (lossy(text(args, 0)), type_of(&args[1]));
            Ok((target == found || found.strip_prefix('*') == Some(&target)).into())
        }),
        fixed("kindOf", &[Any], |_, args| Ok(args[0].kind().into())),
        fixed("kindIs", &[String, Any], |_, args| {
            Ok((text(args, 0) == args[1].kind().as_bytes()).into())
        }),
        fixed("deepEqual", &[Any, Any], |call, args| {
            Ok(deep_equal(call.run, &args[0], &args[1])?.into())
        }),
    ]
}

/// Returns whether Sprig takes a value for not given: nil, false, zero, or without content.
pub(super) fn is_empty(value: &Value) -> bool {
    !value.is_true()
}

fn type_of(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".into(),
        _ => value.go_type().to_string(),
    }
}
