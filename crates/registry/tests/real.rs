//! The client against a real registry, directly and through a faulty network.

use std::time::Duration;

use api::Repository;
use auth::Keychain;
use clock::Clock;
use net::{Pem, Route, Secret, Tls as RouteTls};
use registry::{Access, Client, Listing, Options};
use testkit::{
    Direction, DockerRegistry, DockerRegistryOptions, Fault, FaultProxy, PASSWORD, RegistryAccess,
    Seen, Tls, USERNAME,
};
use tokio::time::Instant;

fn client() -> Client {
    let net = net::Client::new(net::Options::default()).expect("TLS works");
    Client::new(net, Clock::real(), Options::default())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn image(host: &str, name: &str) -> Repository {
    format!("{host}/{name}").parse().expect("a valid image")
}

async fn list(client: &Client, host: &str, name: &str, access: &Access) -> Result<String, String> {
    match client.list_tags(&image(host, name), access, None, soon()).await {
        Ok(Listing::Complete { tags, .. }) => Ok(tags.latest(10).join(" ")),
        Ok(Listing::NotModified) => Ok("not modified".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn tags_and_digests_of_a_real_registry() {
    let registry = DockerRegistry::start();
    let digest = registry.push_tag("apps/web", "v1.0.0");
    registry.push_tag("apps/web", "v1.1.0");
    let (client, access, host) = (client(), Access::default(), registry.host());
    assert_eq!(list(&client, &host, "apps/web", &access).await, Ok("v1.1.0 v1.0.0".to_owned()));
    let web = image(&host, "apps/web");
    let head = async |reference: &str| {
        let digest = client.head_manifest(&web, reference, &access, soon()).await;
        digest.expect("an answer").map(|digest| digest.to_string())
    };
    assert_eq!(head("v1.0.0").await, Some(digest.clone()));
    assert_eq!(head(&digest).await, Some(digest));
    assert_eq!(head("v9.9.9").await, None);
    registry.delete_tag("apps/web", "v1.0.0");
    assert_eq!(head("v1.0.0").await, None);
    assert_eq!(list(&client, &host, "apps/web", &access).await, Ok("v1.1.0".to_owned()));
    let missing = format!(
        "GET http://{host}/v2/nosuch/tags/list?n=1000: NAME_UNKNOWN: repository name not known to registry; map[name:nosuch]"
    );
    assert_eq!(list(&client, &host, "nosuch", &access).await, Err(missing));
}

#[tokio::test]
async fn a_registry_with_users_and_tls() {
    let tls = Tls::generate();
    let options = DockerRegistryOptions { access: RegistryAccess::Basic, tls: Some(tls.clone()) };
    let registry = DockerRegistry::start_with(&options);
    registry.push_tag("apps/web", "v1");
    let (client, host) = (client(), registry.host());
    let route = Route {
        tls: RouteTls { ca: Some(Pem::new(tls.ca.clone())), identity: None },
        ..Route::default()
    };
    let keychain = |password: &str| {
        let text =
            format!("{{\"{host}\":{{\"username\":\"{USERNAME}\",\"password\":\"{password}\"}}}}");
        Keychain::from_dockercfg(text.as_bytes()).expect("a valid configuration")
    };
    let good = Access { keychain: keychain(PASSWORD), route: route.clone(), insecure: false };
    assert_eq!(list(&client, &host, "apps/web", &good).await, Ok("v1".to_owned()));
    let wrong = Access { keychain: keychain("other"), ..good.clone() };
    let error = list(&client, &host, "apps/web", &wrong).await.expect_err("a wrong password");
    assert!(error.contains("UNAUTHORIZED: authentication required"), "{error}");
    let anonymous = Access { route, ..Access::default() };
    let error = list(&client, &host, "apps/web", &anonymous).await.expect_err("nobody");
    assert!(error.contains("UNAUTHORIZED: authentication required"), "{error}");
    let distrusting = Access { route: Route::default(), ..good };
    let error =
        list(&client, &host, "apps/web", &distrusting).await.expect_err("an unknown authority");
    let unknown = format!(
        "Get \"https://{host}/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    assert!(error.starts_with(&unknown), "{error}");
    assert!(!error.contains(PASSWORD), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let tls = Tls::mutual();
    let options =
        DockerRegistryOptions { tls: Some(tls.clone()), ..DockerRegistryOptions::default() };
    let registry = DockerRegistry::start_with(&options);
    registry.push_tag("apps/web", "v1");
    let (client, host) = (client(), registry.host());
    let with = |identity| {
        let tls = RouteTls { ca: Some(Pem::new(tls.ca.clone())), identity };
        Access { route: Route { tls, ..Route::default() }, ..Access::default() }
    };
    let key = Secret::new(Pem::new(tls.client.key.clone()));
    let known = with(Some((Pem::new(tls.client.certificate.clone()), key)));
    assert_eq!(list(&client, &host, "apps/web", &known).await, Ok("v1".to_owned()));
    list(&client, &host, "apps/web", &with(None))
        .await
        .expect_err("a client without a certificate");
}

#[tokio::test]
async fn faults_of_the_network_do_not_shorten_a_list() {
    let registry = DockerRegistry::start();
    registry.push_tags("apps/web", (0..500).map(|n| format!("v{n:04}")));
    let proxy = FaultProxy::start(registry.address());
    let (client, access, host) = (client(), Access::default(), proxy.host());
    let whole = list(&client, &host, "apps/web", &access).await;
    assert!(whole.as_ref().is_ok_and(|tags| tags.starts_with("v0499 ")), "{whole:?}");
    let is_list = |seen: &Seen| seen.target.contains("tags/list");
    proxy.inject_once(is_list, Fault::Close(Direction::Down, 900));
    assert_eq!(list(&client, &host, "apps/web", &access).await, whole);
    proxy.inject_once(is_list, Fault::reply("429 Too Many Requests", &["Retry-After: 1"], ""));
    let start = Instant::now();
    assert_eq!(list(&client, &host, "apps/web", &access).await, whole);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    proxy.inject(is_list, Fault::Close(Direction::Down, 900));
    let error = list(&client, &host, "apps/web", &access).await.expect_err("cut every time");
    assert!(error.ends_with("unexpected EOF"), "{error}");
}
