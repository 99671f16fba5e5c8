//! Regular expressions in Go's syntax.

use std::rc::Rc;

use golang::regexp::{ErrorKind, Regexp, Submatches, quote_meta};

use super::{Entry, fixed, int, lossy, shared_text, text};
use crate::function::{Call, Fault, Param};
use crate::value::{List, Type, Value};

type Result<T = Value> = std::result::Result<T, Fault>;

/// Steps for compiling one expression, beside those for its length.
const COMPILE_STEPS: u64 = 500;
/// Steps for an expression that turned out to be too large: finding that out takes part of a second.
const LARGE_STEPS: u64 = 500_000;
/// Bytes of a compiled expression that cost one step: `\pL{1000}`, with twenty million, is over every limit.
const MEMORY_PER_STEP: u64 = 16;
/// Bytes of text times bytes of the expression that cost one step.
const SEARCH_PER_STEP: u64 = 16_384;
/// Bytes of text behind a match that cost one step: the search for it may have seen them.
const BYTES_PER_SEARCH_STEP: u64 = 16;
/// Bytes of an expression: Go has no limit.
const PATTERN_MAX: usize = 4096;
/// Expressions that a run keeps compiled; further ones are compiled at every use.
const CACHED_MAX: usize = 64;

pub(super) fn functions() -> Vec<Entry> {
    use Param::{Int, String};
    let mut functions = vec![
        fixed("regexMatch", &[String, String], |call, args| match is_match(call, args) {
            Err(Fault::Message(_)) => Ok(false.into()),
            result => result,
        }),
        fixed("mustRegexMatch", &[String, String], is_match),
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

/// Compiles the first argument, once a run. The forms without `must` panic in Go, which shows in the text of the error.
fn compile(call: &mut Call<'_>, args: &[Value], must: bool) -> Result<Rc<Regexp>> {
    let pattern = shared_text(args, 0);
    if let Some(regexp) = call.run.regexps.get(&pattern) {
        return Ok(regexp.clone());
    }
    if pattern.len() > PATTERN_MAX {
        return Err(Fault::Message(format!(
            "the regular expression has more than {PATTERN_MAX} bytes"
        )));
    }
    call.run.charge(COMPILE_STEPS + 10 * pattern.len() as u64)?;
    let compiled = Regexp::from_bytes(&pattern);
    if let Err(error) = &compiled
        && error.kind() == ErrorKind::Large
    {
        call.run.charge(LARGE_STEPS)?;
    }
    let regexp = compiled.map_err(|error| {
        Fault::Message(match must {
            true => error.to_string(),
            false => format!("regexp: Compile({}): {error}", quote(&pattern)),
        })
    })?;
    call.run.charge(regexp.memory() as u64 / MEMORY_PER_STEP)?;
    let regexp = Rc::new(regexp);
    if call.run.regexps.len() < CACHED_MAX {
        call.run.regexps.insert(pattern, regexp.clone());
    }
    Ok(regexp)
}

/// Pays for one search: at worst every byte meets every state of the expression.
fn charge_search(call: &mut Call<'_>, regexp: &Regexp, bytes: usize) -> Result<()> {
    let cost = (bytes as u64).saturating_mul(regexp.memory() as u64) / SEARCH_PER_STEP;
    Ok(call.run.charge(cost)?)
}

/// Returns the first matches; each may have searched to the end of the text.
fn matches(
    call: &mut Call<'_>,
    regexp: &Regexp,
    text: &[u8],
    limit: usize,
) -> Result<Vec<Submatches>> {
    charge_search(call, regexp, text.len())?;
    let mut all = Vec::new();
    for found in regexp.matches(text).take(limit) {
        let rest = text.len() - found.get(0).map_or(0, |whole| whole.end);
        call.run.charge(1 + rest as u64 / BYTES_PER_SEARCH_STEP)?;
        all.push(found);
    }
    Ok(all)
}

fn quote(pattern: &[u8]) -> String {
    match golang::strconv::can_backquote(pattern) {
        true => format!("`{}`", lossy(pattern)),
        false => golang::strconv::quote(pattern),
    }
}

fn is_match(call: &mut Call<'_>, args: &[Value]) -> Result {
    let (regexp, whole) = (compile(call, args, true)?, text(args, 1));
    charge_search(call, &regexp, whole.len())?;
    Ok(regexp.is_match(whole).into())
}

fn find(call: &mut Call<'_>, args: &[Value], must: bool) -> Result {
    let (regexp, whole) = (compile(call, args, must)?, text(args, 1));
    charge_search(call, &regexp, whole.len())?;
    let found = regexp.find_submatch(whole);
    Ok(Value::string(found.and_then(|found| found.text(0, whole)).unwrap_or_default()))
}

fn find_all(call: &mut Call<'_>, args: &[Value], must: bool) -> Result {
    let (regexp, whole) = (compile(call, args, must)?, text(args, 1));
    let limit = usize::try_from(int(args, 2)).unwrap_or(usize::MAX);
    let all = matches(call, &regexp, whole, limit)?;
    let texts: Vec<&[u8]> = all.iter().filter_map(|found| found.text(0, whole)).collect();
    Ok(match texts.is_empty() {
        true => Value::List(List::nil(Rc::new(Type::String))),
        false => Value::strings(texts),
    })
}

fn split(call: &mut Call<'_>, args: &[Value], must: bool) -> Result {
    let (regexp, whole) = (compile(call, args, must)?, text(args, 1));
    let limit = match int(args, 2) {
        0 => return Ok(Value::List(List::nil(Rc::new(Type::String)))),
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    matches(call, &regexp, whole, usize::MAX)?;
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
    let template = lossy(template);
    let template = if literal { template.replace('$', "$$") } else { template.into_owned() };
    let n_matches = matches(call, &regexp, whole, usize::MAX)?.len();
    call.run.charge_bytes(n_matches.saturating_mul(template.len()))?;
    call.run.charge_bytes(if literal { 0 } else { groups.saturating_mul(whole.len()) })?;
    Ok(Value::string(regexp.replace_all(whole, &template)))
}
