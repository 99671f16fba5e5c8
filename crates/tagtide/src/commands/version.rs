//! `version`: of the command line, and of the controllers that an API's Deployments run.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use api::Reference;
use api::image_ref::Reading;
use cluster::Cluster;
use serde_json::Value;

use crate::args::flux::Version;
use crate::args::pflag::Program;
use crate::console::Console;
use crate::controllers_of::{deployments, installation};
use crate::daemon::Daemon;
use crate::error::Outcome;

pub(crate) async fn run(version: &Version, console: &Console<'_>) -> Result<Outcome> {
    let is_json = match version.output.as_str() {
        "yaml" => false,
        "json" => true,
        other => bail!("--output must be json or yaml, not {other}"),
    };
    // In the order in which they are printed.
    let own = match console.program {
        Program::Flux => "flux",
        Program::Tagtide => "tagtide",
    };
    let mut lines = vec![(own.to_owned(), concat!("v", env!("CARGO_PKG_VERSION")).to_owned())];
    if !version.client {
        let namespace = console.checked_namespace()?;
        let cluster = console.cluster().await?;
        match Daemon::of(&cluster).await? {
            Some(daemon) => lines.extend(of_daemon(&daemon, &namespace)?),
            None => lines.extend(of_cluster(&cluster, &namespace).await?),
        }
    }
    if is_json {
        let object: BTreeMap<_, _> = lines.into_iter().collect();
        console.ui.json(&object)?;
    } else {
        let line = |(name, version): &(String, String)| {
            let object = Value::from_iter([(name.clone(), version.clone())]);
            yaml::to_string(&object)
        };
        console.ui.data(&lines.iter().map(line).collect::<String>())?;
    }
    Ok(Outcome::Done)
}

fn of_daemon(daemon: &Daemon, namespace: &str) -> Result<Vec<(String, String)>> {
    let controllers = daemon.controllers(namespace);
    if controllers.is_empty() {
        bail!("no deployments found in {namespace} namespace");
    }
    let lines = controllers.iter().map(|known| (known.name.clone(), known.version.clone()));
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines.insert(0, ("distribution".to_owned(), format!("tagtide-{}", daemon.version)));
    Ok(lines)
}

async fn of_cluster(cluster: &Cluster, namespace: &str) -> Result<Vec<(String, String)>> {
    let distribution = installation(cluster).await?.map(|installed| installed.distribution());
    let distribution = distribution.filter(|distribution| !distribution.is_empty());
    let deployments = deployments(cluster, namespace).await?;
    if deployments.is_empty() {
        bail!("no deployments found in {namespace} namespace");
    }
    let images = deployments.iter().flat_map(|deployment| deployment.images());
    let controllers: BTreeMap<_, _> = images.map(split).collect::<Result<_>>()?;
    let distribution = distribution.map(|distribution| ("distribution".to_owned(), distribution));
    Ok(distribution.into_iter().chain(controllers).collect())
}

/// Returns the last part of an image's path, and its tag with a digest if there is one.
fn split(image: &str) -> Result<(String, String)> {
    Reference::parse(image, Reading::Weak)
        .map_err(|error| anyhow!("parsing image '{image}' failed: {error}"))?;
    let path = image.rsplit_once('/').map_or(image, |(_, path)| path);
    let (name, tag) =
        path.split_once(':').with_context(|| format!("missing image tag in image {image}"))?;
    Ok((name.to_owned(), tag.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn an_image_tells_name_and_version() {
        let check = |image: &str, name: &str, tag: &str| {
            let got = split(image).expect("an image with a tag");
            assert_eq!(got, (name.to_owned(), tag.to_owned()), "{image}");
        };
        check("ghcr.io/fluxcd/source-controller:v1.9.0", "source-controller", "v1.9.0");
        check("localhost:5000/a/b:v1", "b", "v1");
        assert!(split("ghcr.io/fluxcd/source-controller").is_err());
    }
}
