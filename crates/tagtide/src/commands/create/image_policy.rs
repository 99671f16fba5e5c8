//! `create image policy`.

use anyhow::{Result, bail};
use golang::regexp::Regexp;
use golang::unicode;
use serde_json::{Value, json};

use super::{Work, optional, without_nulls};
use crate::args::create::CreatePolicy;

pub(super) fn spec(args: &CreatePolicy, work: &Work<'_>) -> Result<Value> {
    if args.image_ref.is_empty() {
        bail!("the name of an ImageRepository in the namespace is required (--image-ref)");
    }
    work.labels()?;
    let policy = policy(args, work.keeps_quirks())?;
    let filter = filter(args)?;
    if !matches!(args.reflect_digest.as_str(), "" | "Never" | "IfNotPresent" | "Always") {
        bail!(
            "invalid value for --reflect-digest, must be one of 'Never', 'IfNotPresent', 'Always'"
        );
    }
    let mut interval = String::new();
    if args.interval != "0s".parse().expect("a duration") {
        if args.reflect_digest != "Always" {
            bail!(
                "the --interval flag can only be used with the 'Always' digest reflection policy, \
                 use --reflect-digest=Always"
            );
        }
        interval = args.interval.to_string();
    }
    Ok(without_nulls(json!({
        "imageRepositoryRef": {"name": args.image_ref},
        "policy": policy,
        "filterTags": filter,
        "digestReflectionPolicy": optional(&args.reflect_digest),
        "interval": optional(&interval),
    })))
}

/// Returns the rule that was typed. A range beside an order is a mistake that Flux takes for no rule at all.
fn policy(args: &CreatePolicy, keeps_quirks: bool) -> Result<Value> {
    let is_order = |order: &str| matches!(order, "asc" | "desc");
    let [semver, alpha, numeric] =
        [&args.select_semver, &args.select_alpha, &args.select_numeric].map(String::as_str);
    match (semver, alpha, numeric) {
        ("", "", "") => {
            bail!("a policy must be provided with either --select-semver or --select-alpha")
        }
        (semver, "", "") => Ok(json!({"semver": {"range": semver}})),
        ("", alpha, "") if is_order(alpha) => Ok(json!({"alphabetical": {"order": alpha}})),
        ("", _, "") => bail!("--select-alpha must be one of [\"asc\", \"desc\"]"),
        ("", "", numeric) if is_order(numeric) => Ok(json!({"numerical": {"order": numeric}})),
        ("", "", _) => bail!("--select-numeric must be one of [\"asc\", \"desc\"]"),
        (semver, _, _) if keeps_quirks && !semver.is_empty() => Ok(json!({})),
        _ => bail!(
            "only one of --select-semver, --select-alpha or --select-numeric can be specified"
        ),
    }
}

fn filter(args: &CreatePolicy) -> Result<Value> {
    if args.filter_regex.is_empty() {
        if !args.filter_extract.is_empty() {
            bail!("cannot specify --filter-extract without specifying --filter-regex");
        }
        return Ok(Value::Null);
    }
    let Ok(pattern) = Regexp::new(&args.filter_regex) else {
        bail!("--filter-regex is an invalid regex pattern");
    };
    check_extract(&args.filter_extract, pattern.subexp_names())?;
    Ok(json!({"pattern": args.filter_regex, "extract": optional(&args.filter_extract)}))
}

/// Checks that every name in the template is one of a group. Numbers are not looked at.
fn check_extract(template: &str, groups: &[String]) -> Result<()> {
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (body, is_braced) = rest.strip_prefix('{').map_or((rest, false), |body| (body, true));
        let is_inner = |c: char| unicode::is_letter(c) || unicode::is_digit(c) || c == '_';
        let (name, after) = body.split_at(body.find(|c| !is_inner(c)).unwrap_or(body.len()));
        let after = if is_braced { after.strip_prefix('}') } else { Some(after) };
        let Some(after) = after.filter(|_| !name.is_empty()) else {
            bail!("--filter-extract is malformed");
        };
        rest = after;
        if !is_number(name) && !groups.iter().any(|group| group == name) {
            bail!("capture group ${name} used in --filter-extract not found in --filter-regex");
        }
    }
    Ok(())
}

/// Whether Go's templates take a name for the number of a group.
fn is_number(name: &str) -> bool {
    // Nine digits are more than any group has.
    name.len() <= 9
        && name.bytes().all(|byte| byte.is_ascii_digit())
        && (name.len() == 1 || !name.starts_with('0'))
}
