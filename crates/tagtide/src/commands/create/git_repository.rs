//! `create source git`.

use anyhow::{Context, Result, bail};
use api::Kind;
use cluster::Upserted;
use serde_json::{Value, json};

use super::{Work, optional, read_file, reference, secret, sound, without_nulls};
use crate::args::create::{CreateGit, CreateSource};
use crate::commands::export;
use crate::error::Outcome;

pub(super) async fn run(
    args: &CreateGit,
    source: &CreateSource,
    work: &Work<'_>,
) -> Result<Outcome> {
    let console = work.console;
    let (mut spec, scheme) = spec(args, source, work)?;
    let object = work.describe(Kind::GitRepository, spec.clone())?;
    if !work.keeps_quirks() {
        sound::check(Kind::GitRepository, &object)?;
    }
    if work.flags.export {
        export::print(&export::exported(Kind::GitRepository, &object), console)?;
        return Ok(Outcome::Done);
    }
    if scheme == "ssh" && args.secret_ref.is_empty() {
        bail!("SSH keys are not yet supported; name a Secret that holds one with --secret-ref");
    }
    let cluster = console.cluster_to_change().await?;
    console.generate("generating GitRepository source")?;
    if args.secret_ref.is_empty() {
        let entries = credentials(args, &scheme, work)?;
        if !entries.is_empty() {
            console.action("applying secret with repository credentials")?;
            cluster.apply_secret(work.secret(entries, None, false)?).await?;
            spec["secretRef"] = json!({"name": work.name});
            console.success("authentication configured")?;
        }
    }
    let object = work.describe(Kind::GitRepository, spec)?;
    console.action("applying GitRepository source")?;
    match cluster.create_or_update(Kind::GitRepository, &object).await? {
        Upserted::Created => console.success("GitRepository source created")?,
        // Flux writes it even if nothing differs.
        Upserted::Updated | Upserted::Unchanged => {
            console.success("GitRepository source updated")?;
        }
    }
    console.waiting("waiting for GitRepository source reconciliation")?;
    let timeout = console.timeout();
    let ready = cluster.wait_ready(Kind::GitRepository, &work.namespace, work.name, timeout);
    let ready = ready.await?;
    console.success("GitRepository source reconciliation completed")?;
    let Some(revision) = ready.data["status"]["artifact"]["revision"].as_str() else {
        bail!("GitRepository source reconciliation completed but no artifact was found");
    };
    console.success(&format!("fetched revision: {revision}"))?;
    Ok(Outcome::Done)
}

fn spec(args: &CreateGit, source: &CreateSource, work: &Work<'_>) -> Result<(Value, String)> {
    if args.url.is_empty() {
        bail!("url is required");
    }
    let scheme = secret::scheme_of(&args.url)?;
    let refs = [&args.branch, &args.tag, &args.tag_semver, &args.commit, &args.ref_name];
    if refs.iter().all(|reference| reference.is_empty()) {
        bail!(
            "a Git ref is required, use one of the following: --branch, --tag, --commit, \
             --ref-name or --tag-semver"
        );
    }
    if !args.ca_file.is_empty() && scheme == "ssh" {
        bail!("specifying a CA file is not supported for Git over SSH");
    }
    work.labels()?;
    let timeout = source.fetch_timeout;
    let timeout = if timeout.to_std().is_zero() { String::new() } else { timeout.to_string() };
    let sparse = &args.sparse_checkout_paths;
    let spec = without_nulls(json!({
        "url": args.url,
        "interval": work.flags.interval.to_string(),
        "timeout": optional(&timeout),
        "recurseSubmodules": if args.recurse_submodules { json!(true) } else { Value::Null },
        "ref": git_ref(args),
        "ignore": optional(&args.ignore_paths.join("\n")),
        "sparseCheckout": if sparse.is_empty() { Value::Null } else { json!(sparse) },
        "secretRef": reference(&args.secret_ref),
        "proxySecretRef": reference(&args.proxy_secret_ref),
        "provider": optional(&args.provider),
    }));
    Ok((spec, scheme))
}

/// Of several refs the most precise one counts, as in a GitRepository.
fn git_ref(args: &CreateGit) -> Value {
    if !args.commit.is_empty() {
        return json!({"commit": args.commit, "branch": optional(&args.branch)});
    }
    let refs = [
        ("name", &args.ref_name),
        ("semver", &args.tag_semver),
        ("tag", &args.tag),
        ("branch", &args.branch),
    ];
    let given = refs.into_iter().find(|(_, value)| !value.is_empty());
    given.map_or(json!({}), |(field, value)| json!({field: value}))
}

/// Returns the entries of a Secret with what was typed; none if nothing was.
fn credentials(
    args: &CreateGit,
    scheme: &str,
    work: &Work<'_>,
) -> Result<Vec<(&'static str, String)>> {
    let mut entries = Vec::new();
    if scheme == "http" {
        work.console.warning("insecure configuration: credentials configured for an HTTP URL")?;
    }
    let password = args.password.expose();
    if !args.username.is_empty() && !password.is_empty() {
        entries.push(("username", args.username.clone()));
        entries.push(("password", password.clone()));
    }
    if scheme == "https" && !args.ca_file.is_empty() {
        let ca = read_file(&args.ca_file).context("unable to read TLS CA file")?;
        entries.push(("ca.crt", String::from_utf8_lossy(&ca).into_owned()));
    }
    Ok(entries)
}
