//! `create image repository`.

use anyhow::{Context, Result, bail};
use api::Repository;
use api::image_ref::Reading;
use serde_json::{Value, json};

use super::{Work, optional, reference, without_nulls};
use crate::args::create::CreateRepository;

pub(super) fn spec(args: &CreateRepository, work: &Work<'_>) -> Result<Value> {
    if args.image.is_empty() {
        bail!("an image repository (--image) is required");
    }
    Repository::parse(&args.image, Reading::Weak).context("unable to parse image value")?;
    work.labels()?;
    let timeout = args.scan_timeout;
    let timeout = if timeout.to_std().is_zero() { String::new() } else { timeout.to_string() };
    Ok(without_nulls(json!({
        "image": args.image,
        "interval": work.flags.interval.to_string(),
        "timeout": optional(&timeout),
        "secretRef": reference(&args.secret_ref),
        "certSecretRef": reference(&args.cert_ref),
    })))
}
