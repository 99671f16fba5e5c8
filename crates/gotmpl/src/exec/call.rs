//! Calls of functions and methods.

use golang::strconv::quote;

use super::{ExecError, Executed, Slot, Spot, State};
use crate::function::{Body, Call, Fault, Param};
use crate::node::Expr;
use crate::value::{Method, Value};

impl<'a> State<'a> {
    pub(super) fn function(
        &mut self,
        dot: &Slot,
        name: &'a str,
        spot: Spot<'a>,
        args: &'a [Expr],
        last: Option<Slot>,
    ) -> Executed<Slot> {
        let context = self.context;
        let Some(function) = context.functions.get(name) else {
            return self.fail(format!("{} is not a defined function", quote(name.as_bytes())));
        };
        self.check_count(name, &function.params, function.variadic, args, last.as_ref())?;
        match function.body {
            Body::And => return self.short_circuit(dot, false, args, last),
            Body::Or => return self.short_circuit(dot, true, args, last),
            _ => {}
        }
        let callee = match (&function.body, args, &last) {
            (Body::Call, [callee, ..], _) => callee.to_string(),
            (Body::Call, [], Some(last)) => reflect_string(&last.value),
            _ => String::new(),
        };
        let slots = self.args(dot, &function.params, function.variadic, args, last)?;
        let result = match &function.body {
            Body::Builtin(body) => body(self.run, &slots),
            Body::Native(body) => {
                let values: Vec<Value> = slots.into_iter().map(|slot| slot.value).collect();
                let mut call = Call { run: self.run, context, depth: self.depth };
                body(&mut call, &values).map(|value| Slot { boxed: function.returns_any, value })
            }
            // No value of ours is a function.
            Body::Call | Body::And | Body::Or => Err(match slots.first().map(|slot| &slot.value) {
                None | Some(Value::Nil) => Fault::message("call of nil"),
                Some(value) => {
                    Fault::message(format!("non-function {callee} of type {}", value.go_type()))
                }
            }),
        };
        self.conclude(name, spot, result)
    }

    pub(super) fn method(
        &mut self,
        dot: &Slot,
        method: &Method,
        name: &str,
        expr: &'a Expr,
        args: &'a [Expr],
        last: Option<Slot>,
    ) -> Executed<Slot> {
        self.check_count(name, method.params, None, args, last.as_ref())?;
        let slots = self.args(dot, method.params, None, args, last)?;
        let values: Vec<Value> = slots.into_iter().map(|slot| slot.value).collect();
        let mut call = Call { run: self.run, context: self.context, depth: self.depth };
        let result = (method.body)(&mut call, &values).map(Slot::plain);
        self.conclude(name, Spot::Expr(expr), result)
    }

    /// Turns a function's fault into the template's error at the node of the call.
    fn conclude(
        &mut self,
        name: &str,
        spot: Spot<'a>,
        result: Result<Slot, Fault>,
    ) -> Executed<Slot> {
        let message = match result {
            Ok(slot) => return Ok(slot),
            Err(Fault::Limit(limit)) => return Err(ExecError::Limit(limit)),
            Err(Fault::Message(message)) => message,
            Err(Fault::Template(error)) => error.to_string(),
        };
        self.spot = spot;
        self.fail(format!("error calling {name}: {message}"))
    }

    fn check_count(
        &self,
        name: &str,
        params: &[Param],
        variadic: Option<Param>,
        args: &[Expr],
        last: Option<&Slot>,
    ) -> Executed<()> {
        let (want, got) = (params.len(), args.len() + usize::from(last.is_some()));
        match variadic {
            Some(_) if got < want => self.fail(format!(
                "wrong number of args for {name}: want at least {want} got {}",
                args.len()
            )),
            None if got != want => {
                self.fail(format!("wrong number of args for {name}: want {want} got {got}"))
            }
            _ => Ok(()),
        }
    }

    fn args(
        &mut self,
        dot: &Slot,
        params: &[Param],
        variadic: Option<Param>,
        args: &'a [Expr],
        last: Option<Slot>,
    ) -> Executed<Vec<Slot>> {
        let param = |at: usize| params.get(at).copied().or(variadic).unwrap_or(Param::Any);
        let mut slots = Vec::with_capacity(args.len() + 1);
        for (at, arg) in args.iter().enumerate() {
            slots.push(self.arg(dot, param(at), arg)?);
        }
        if let Some(last) = last {
            slots.push(self.checked(last, param(args.len()))?);
        }
        Ok(slots)
    }

    fn short_circuit(
        &mut self,
        dot: &Slot,
        stop: bool,
        args: &'a [Expr],
        last: Option<Slot>,
    ) -> Executed<Slot> {
        let mut result = Slot::plain(Value::Nil);
        for arg in args {
            result = self.arg(dot, Param::Reflect, arg)?;
            if result.value.is_true() == stop {
                return Ok(result);
            }
        }
        Ok(last.unwrap_or(result))
    }
}

/// Returns what `reflect.Value.String` gives: the string itself, or the type in brackets.
fn reflect_string(value: &Value) -> String {
    match value {
        Value::String(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Nil => "<invalid Value>".into(),
        _ => format!("<{} Value>", value.go_type()),
    }
}
