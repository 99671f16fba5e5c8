//! Sprig's hermetic text functions, as of v3.3.0.

mod cases;
mod convert;
mod dates;
mod decimals;
mod dicts;
mod digests;
mod encoding;
mod jsons;
mod lists;
mod logic;
mod math;
mod passwords;
mod paths;
mod regexes;
mod semver;
mod strings;
mod urls;

use std::rc::Rc;

use golang::fmt::sprintf;

use crate::builtin::format_values;
use crate::function::{Body, Call, Fault, Function, Param};
use crate::run::{BYTES_PER_STEP, Limit, Run};
use crate::value::Value;

/// Names of the set that are not built yet. They need the clock, randomness or keys.
pub(crate) const LATER: &[&str] = &[
    "ago",
    "bcrypt",
    "buildCustomCert",
    "decryptAES",
    "encryptAES",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "htpasswd",
    "randInt",
    "shuffle",
];

/// The error of Go's runtime where Sprig asks for the kind of nil.
const NIL_DEREFERENCE: &str = "runtime error: invalid memory address or nil pointer dereference";

type Entry = (&'static str, Function);
type Native = fn(&mut Call<'_>, &[Value]) -> Result<Value, Fault>;

/// Returns the functions by name.
pub(crate) fn functions() -> Vec<Entry> {
    let groups = [
        cases::functions(),
        convert::functions(),
        dates::functions(),
        decimals::functions(),
        dicts::functions(),
        digests::functions(),
        encoding::functions(),
        jsons::functions(),
        lists::functions(),
        logic::functions(),
        math::functions(),
        passwords::functions(),
        paths::functions(),
        regexes::functions(),
        semver::functions(),
        strings::functions(),
        urls::functions(),
    ];
    groups.into_iter().flatten().map(|(name, function)| (name, charged(function))).collect()
}

/// Returns a function with fixed parameters.
fn fixed(name: &'static str, params: &[Param], body: Native) -> Entry {
    (name, Function::new(params, body))
}

/// Returns a function with further arguments of one type.
fn spread(name: &'static str, params: &[Param], more: Param, body: Native) -> Entry {
    (name, Function::new(params, body).variadic(more))
}

/// Returns the function with the result type `interface {}`.
fn any((name, function): Entry) -> Entry {
    (name, function.returns_any())
}

/// Lets a function pay for the size of its arguments and of its result: both cost time and memory in proportion.
fn charged(mut function: Function) -> Function {
    if let Body::Native(body) = function.body {
        function.body = Body::Native(std::sync::Arc::new(move |call, args| {
            let size = args.iter().map(weight).fold(0, u64::saturating_add);
            call.run.charge(size)?;
            let value = body(call, args)?;
            call.run.charge(weight(&value))?;
            Ok(value)
        }));
    }
    function
}

fn weight(value: &Value) -> u64 {
    match value {
        Value::String(text) => (text.len() / BYTES_PER_STEP) as u64,
        Value::List(list) => list.len() as u64,
        Value::Map(map) => map.len() as u64,
        _ => 0,
    }
}

// === Arguments. Their types were checked before the call; the fallbacks are never seen. ===

fn text(args: &[Value], at: usize) -> &[u8] {
    match args.get(at) {
        Some(Value::String(text)) => text,
        _ => b"",
    }
}

fn shared_text(args: &[Value], at: usize) -> Rc<[u8]> {
    match args.get(at) {
        Some(Value::String(text)) => text.clone(),
        _ => Rc::from(&b""[..]),
    }
}

fn int(args: &[Value], at: usize) -> i64 {
    args.get(at).and_then(Value::as_signed).unwrap_or_default()
}

fn flag(args: &[Value], at: usize) -> bool {
    matches!(args.get(at), Some(Value::Bool(true)))
}

/// Returns the text of a value as Sprig's `toString` gives it.
fn to_text(run: &mut Run, value: &Value) -> Result<Rc<[u8]>, Limit> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => {
            let text = format_values(run, |out| sprintf(out, b"%v", std::slice::from_ref(value)))?;
            Ok(Rc::from(text))
        }
    }
}

/// Returns the text as UTF-8, bad bytes replaced.
fn lossy(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}
