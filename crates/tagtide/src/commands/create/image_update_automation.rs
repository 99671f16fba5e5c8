//! `create image update`.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Work, optional, without_nulls};
use crate::args::create::CreateUpdate;

pub(super) fn spec(args: &CreateUpdate, work: &Work<'_>) -> Result<Value> {
    let required = [
        (&args.git_repo_ref, "a reference to a GitRepository is required (--git-repo-ref)"),
        (&args.checkout_branch, "the Git repository branch is required (--checkout-branch)"),
        (&args.author_name, "the author name is required (--author-name)"),
        (&args.author_email, "the author email is required (--author-email)"),
    ];
    for (value, missing) in required {
        if value.is_empty() {
            bail!("{missing}");
        }
    }
    if !args.signing_key_type.is_empty() && args.signing_key_secret.is_empty() {
        bail!("--signing-key-type requires --signing-key-secret");
    }
    if !matches!(args.signing_key_type.as_str(), "" | "gpg" | "ssh") {
        bail!("--signing-key-type must be one of: gpg, ssh");
    }
    work.labels()?;
    let group = |is_there: bool, value: Value| if is_there { value } else { Value::Null };
    Ok(without_nulls(json!({
        "git": {
            "checkout": {"ref": {"branch": args.checkout_branch}},
            "commit": {
                "author": {"email": args.author_email, "name": args.author_name},
                "messageTemplate": optional(&args.commit_template),
                "signingKey": group(!args.signing_key_secret.is_empty(), json!({
                    "secretRef": {"name": args.signing_key_secret},
                    "type": optional(&args.signing_key_type),
                })),
            },
            "push": group(!args.push_branch.is_empty(), json!({"branch": args.push_branch})),
        },
        "interval": work.flags.interval.to_string(),
        "sourceRef": {
            "kind": "GitRepository",
            "name": args.git_repo_ref,
            "namespace": optional(&args.git_repo_namespace),
        },
        "update": group(!args.git_repo_path.is_empty(), json!({
            "path": args.git_repo_path,
            "strategy": "Setters",
        })),
    })))
}
