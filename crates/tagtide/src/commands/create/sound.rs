//! Whether an object that was made from flags would work: what Flux leaves for its controllers to find.

use anyhow::{Context, Result, anyhow};
use api::image::ImagePolicySpec;
use api::{Kind, Repository};
use apiserver::Server;
use automation::policy::Policy;
use clock::Clock;
use kube::api::DynamicObject;

/// Refuses an object that the API or its controller would refuse.
pub(super) fn check(kind: Kind, object: &DynamicObject) -> Result<()> {
    let spec = &object.data["spec"];
    match kind {
        Kind::ImageRepository => {
            let image = spec["image"].as_str().unwrap_or_default();
            image.parse::<Repository>().context("--image")?;
        }
        Kind::ImagePolicy => {
            let spec: ImagePolicySpec = serde_json::from_value(spec.clone())?;
            // A range that is none would only show when the policy is reconciled.
            Policy::new(&spec.policy, spec.filter_tags.as_ref())?;
        }
        Kind::GitRepository | Kind::ImageUpdateAutomation => {}
    }
    let server = Server::in_memory(Clock::real());
    for definition in api::crds() {
        server.install_yaml(definition).context("installing our own definitions")?;
    }
    let refused = server.load(&serde_json::to_value(object)?).err();
    refused.map_or(Ok(()), |error| Err(anyhow!(error)))
}
