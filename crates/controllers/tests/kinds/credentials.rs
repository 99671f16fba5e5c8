//! Where credentials come from.

use std::sync::Arc;

use auth::{GitCredential, Keychain};
use controllers::{Fallback, Settings};
use expect_test::expect;

use super::world::World;

const OBJECTS: &str = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: a}
spec: {interval: 1m, ref: {branch: main}, url: 'https://git.example/fleet.git', secretRef: {name: gone}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: a}
spec: {image: registry.example/app, interval: 5m, secretRef: {name: gone}}
";

fn world() -> World {
    let world = World::new();
    world.repository("fleet", "main", &[("a.yaml", "a: b\n")]);
    world.registry.push("app", "1.0.0");
    world.apply(OBJECTS);
    world
}

fn fallback(host: &str) -> Settings {
    let config = format!(r#"{{"auths": {{"registry.{host}": {{"auth": "dTpw"}}}}}}"#);
    let token = net::Secret::new("t".to_owned());
    let fallback = Fallback {
        keychain: Keychain::from_config_json(config.as_bytes()).expect("a configuration"),
        git: [(Fallback::spelled(&format!("git.{host}")), GitCredential::Bearer(token))].into(),
    };
    Settings { fallback: Some(Arc::new(fallback)), ..Settings::default() }
}

/// A Secret that is not there is an error, unless the machine has a credential for just that host.
#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_replaced_only_by_a_credential_for_its_host() {
    let world = world();
    let summary = world.run_once_with(fallback("elsewhere")).await;
    let messages: String = summary.objects.iter().map(|o| format!("{}\n", o.message)).collect();
    expect![[r#"
        failed to get secret 'a/gone': secrets "gone" not found
        failed to configure authentication options: secrets "gone" not found
    "#]]
    .assert_eq(&messages);
    assert!(world.run_once_with(fallback("example")).await.is_ok());
}
