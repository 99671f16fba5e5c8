//! Regular expressions in Go's syntax.

use golang::regexp::{Regexp, quote_meta};

use super::{Entry, fixed, int, lossy, text};
use crate::function::{Call, Fault, Param};
use crate::value::{List, Type, Value};

type Result = std::result::Result<Value, Fault>;

/// Steps for compiling one expression, beside those for its length.
const COMPILE_STEPS: u64 = 500;
/// Bytes of an expression: Go has no limit, but every use compiles anew.
const PATTERN_MAX: usize = 4096;

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Int, String};
    let mut functions = vec![
        fixed("regexMatch", &[String, String], |call, args| match compile(call, args, true) {
            Ok(regexp) => Ok(regexp.is_match(text(args, 1)).into()),
            Err(Fault::Message(_)) => Ok(false.into()),
            Err(fault) => Err(fault),
        }),
        fixed("mustRegexMatch", &[String, String], |call, args| {
            Ok(compile(call, args, true)?.is_match(text(args, 1)).into())
        }),
        fixed("regexQuoteMeta", &[String], |_, args| Ok(quote_meta(&lossy(text(args, 0))).into())),
    ];
    functions.push(fixed("regexFind", &[String, String], |call, args| find(call, args, false)));
    functions.push(fixed("mustRegexFind", &[String, String], |call, args| find(call, args, true)));
    let params = &[String, String, Int];
    functions.push(fixed("regexFindAll", params, |call, args| find_all(call, args, false)));
    functions.push(fixed("mustRegexFindAll", params, |call, args| find_all(call, args, true)));
    functions.push(fixed("regexSplit", params, |call, args| split(call, args, false)));
    functions.push(fixed("mustRegexSplit", params, |call, args| split(call, args, true)));
    let params = &[String, String, String];
    functions
        .push(fixed("regexReplaceAll", params, |call, args| replace(call, args, (false, false))));
    functions.push(fixed("mustRegexReplaceAll", params, |call, args| {
        replace(call, args, (true, false))
    }));
    functions.push(fixed("regexReplaceAllLiteral", params, |call, args| {
        replace(call, args, (false, true))
    }));
    functions.push(fixed("mustRegexReplaceAllLiteral", params, |call, args| {
        replace(call, args, (true, true))
    }));
    functions
}

/// Compiles the first argument. The forms without `must` panic in Go, which shows in the text of the error.
fn compile(call: &mut Call<'_>, args: &[Value], must: bool) -> std::result::Result<Regexp, Fault> {
    let pattern = text(args, 0);
    if pattern.len() > PATTERN_MAX {
        return Err(Fault::Message(format!(
            "the regular expression has more than {PATTERN_MAX} bytes"
        )));
    }
    call.run.charge(COMPILE_STEPS + 10 * pattern.len() as u64)?;
    Regexp::from_bytes(pattern).map_err(|error| {
        Fault::Message(match must {
            true => error.to_string(),
            false => format!("regexp: Compile({}): {error}", quote(pattern)),
        })
    })
}

fn quote(pattern: &[u8]) -> String {
    match golang::strconv::can_backquote(pattern) {
        true => format!("`{}`", lossy(pattern)),
        false => golang::strconv::quote(pattern),
    }
}

fn find(call: &mut Call<'_>, args: &[Value], must: bool) -> Result {
    let (regexp, whole) = (compile(call, args, must)?, text(args, 1));
    let found = regexp.find_submatch(whole);
    Ok(Value::string(found.and_then(|found| found.text(0, whole)).unwrap_or_default()))
}

fn find_all(call: &mut Call<'_>, args: &[Value], must: bool) -> Result {
    let (regexp, whole) = (compile(call, args, must)?, text(args, 1));
    call.run.charge(whole.len() as u64)?;
    let limit = usize::try_from(int(args, 2)).unwrap_or(usize::MAX);
    let all = regexp.find_all(whole);
    let texts: Vec<&[u8]> =
        all.iter().take(limit).filter_map(|found| found.text(0, whole)).collect();
    Ok(match texts.is_empty() {
        true => Value::List(List::nil(std::rc::Rc::new(Type::String))),
        false => Value::strings(texts),
    })
}

fn split(call: &mut Call<'_>, args: &[Value], must: bool) -> Result {
    let (regexp, whole) = (compile(call, args, must)?, text(args, 1));
    call.run.charge(whole.len() as u64)?;
    let limit = match int(args, 2) {
        0 => return Ok(Value::List(List::nil(std::rc::Rc::new(Type::String)))),
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let mut parts = regexp.split(whole);
    if parts.len() > limit {
        // The last part takes all that follows.
        let start = parts[limit - 1].as_ptr() as usize - whole.as_ptr() as usize;
        parts.truncate(limit - 1);
        parts.push(&whole[start..]);
    }
    Ok(Value::strings(parts))
}

fn replace(call: &mut Call<'_>, args: &[Value], (must, literal): (bool, bool)) -> Result {
    let (regexp, whole, template) = (compile(call, args, must)?, text(args, 1), text(args, 2));
    // Every byte may be a match, and every `$` of the template may stand for the whole text.
    let groups = memchr::memchr_iter(b'$', template).count();
    call.run.charge(whole.len() as u64)?;
    let template = lossy(template);
    let template = if literal { template.replace('$', "$$") } else { template.into_owned() };
    let matches = if template.is_empty() { 0 } else { regexp.find_all(whole).len() };
    call.run.charge_bytes(matches.saturating_mul(template.len()))?;
    call.run.charge_bytes(if literal { 0 } else { groups.saturating_mul(whole.len()) })?;
    Ok(Value::string(regexp.replace_all(whole, &template)))
}
