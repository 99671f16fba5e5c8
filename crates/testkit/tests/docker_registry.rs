//! The real registry serves what was written into its storage.

#![expect(clippy::disallowed_methods, reason = "what arrives is looked at byte by byte")]

#[path = "http/http.rs"]
mod http;

use std::{net::TcpStream, sync::Arc};

use testkit::{
    ClientCertificates, DockerRegistry, DockerRegistryOptions, PASSWORD, RegistryAccess, Tls,
    USERNAME,
};

use http::{exchange, get, status_and_body};

const ACCEPT: &str = "Accept: application/vnd.oci.image.manifest.v1+json\r\n";

#[test]
fn lists_the_tags_that_were_pushed() {
    let registry = DockerRegistry::start();
    registry.push_tags("team/app", ["1.0.0", "latest"]);
    registry.push_tag("team/app", "1.1.0");
    registry.push_tag("team/app", "1.2.0");
    registry.delete_tag("team/app", "1.2.0");
    assert_eq!(tags(&registry, "team/app"), ["1.0.0", "1.1.0", "latest"]);

    let reply = get(registry.address(), "/v2/other/tags/list", "").expect("the registry answers");
    assert_eq!(status_and_body(&reply).0, "404");
}

#[test]
fn serves_manifests_and_blobs() {
    let registry = DockerRegistry::start();
    let digest = registry.push_tag("app", "1.0.0");
    let reply = get(registry.address(), "/v2/app/manifests/1.0.0", ACCEPT).expect("an answer");
    assert!(reply.contains(&format!("Docker-Content-Digest: {digest}\r\n")), "{reply}");
    let manifest: serde_json::Value =
        serde_json::from_str(status_and_body(&reply).1).expect("a manifest is JSON");
    for blob in [&manifest["config"], &manifest["layers"][0]] {
        let path = format!("/v2/app/blobs/{}", blob["digest"].as_str().expect("a digest"));
        let reply = get(registry.address(), &path, "").expect("the registry answers");
        assert_eq!(status_and_body(&reply).0, "200", "{path}");
    }
}

#[test]
fn content_decides_the_digest() {
    let registry = DockerRegistry::start();
    let first = registry.push_image("app", "latest", "one");
    let second = registry.push_image("app", "latest", "two");
    assert_ne!(first, second);
    assert_eq!(registry.push_image("app", "other", "one"), first);
    let reply = get(registry.address(), "/v2/app/manifests/latest", ACCEPT).expect("an answer");
    assert!(reply.contains(&second), "{reply}");
    assert_ne!(registry.push_tag("app", "a"), registry.push_tag("app", "b"));
}

#[test]
fn ten_thousand_tags_are_cheap() {
    let registry = DockerRegistry::start();
    registry.push_tags("app", (0..10_000).map(|n| format!("v{n:05}")));
    let tags = tags(&registry, "app");
    assert_eq!((tags.len(), tags[9_999].as_str()), (10_000, "v09999"));
}

#[test]
fn basic_authentication_lets_only_our_user_in() {
    let options =
        DockerRegistryOptions { access: RegistryAccess::Basic, ..DockerRegistryOptions::default() };
    let registry = DockerRegistry::start_with(&options);
    let status = |headers: &str| {
        let reply = get(registry.address(), "/v2/", headers).expect("the registry answers");
        status_and_body(&reply).0.to_owned()
    };
    let header = |password| {
        format!("Authorization: {}\r\n", testkit::basic_authorization(USERNAME, password))
    };
    assert_eq!(status(""), "401");
    assert_eq!(status(&header("guess")), "401");
    assert_eq!(status(&header(PASSWORD)), "200");
}

#[test]
fn tls_is_for_those_who_trust_our_authority() {
    let tls = Tls::generate();
    let options =
        DockerRegistryOptions { tls: Some(tls.clone()), ..DockerRegistryOptions::default() };
    let registry = DockerRegistry::start_with(&options);
    assert_eq!(registry.url().scheme(), "https");
    assert_eq!(status_over_tls(&registry, &tls, false).expect("a trusted server"), "200");
    let stranger = Tls::generate();
    status_over_tls(&registry, &stranger, false).expect_err("not signed by this authority");
}

#[test]
fn mutual_tls_asks_for_a_certificate() {
    let tls = Tls::mutual();
    assert_eq!(tls.client_certificates, ClientCertificates::Required);
    let options =
        DockerRegistryOptions { tls: Some(tls.clone()), ..DockerRegistryOptions::default() };
    let registry = DockerRegistry::start_with(&options);
    status_over_tls(&registry, &tls, false).expect_err("a client without a certificate");
    assert_eq!(status_over_tls(&registry, &tls, true).expect("a client of ours"), "200");
}

fn tags(registry: &DockerRegistry, repository: &str) -> Vec<String> {
    let path = format!("/v2/{repository}/tags/list");
    let reply = get(registry.address(), &path, "").expect("the registry answers");
    let (status, body) = status_and_body(&reply);
    assert_eq!(status, "200");
    let body = match body.split_once("\r\n") {
        // A long list comes in chunks.
        Some((size, _)) if usize::from_str_radix(size, 16).is_ok() => unchunk(body),
        _ => body.to_owned(),
    };
    let list: serde_json::Value = serde_json::from_str(&body).expect("a tag list is JSON");
    let mut tags: Vec<String> =
        serde_json::from_value(list["tags"].clone()).expect("a tag list has tags");
    tags.sort();
    tags
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk has a size");
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
        if size == 0 {
            break;
        }
    }
    whole
}

fn status_over_tls(
    registry: &DockerRegistry,
    tls: &Tls,
    with_certificate: bool,
) -> std::io::Result<String> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(&tls.ca)).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("default versions")
        .with_root_certificates(roots);
    let config = if with_certificate {
        let key = PrivateKeyDer::from_pem_slice(tls.client.key.as_bytes()).expect("PEM");
        builder
            .with_client_auth_cert(vec![certificate(&tls.client.certificate)], key)
            .expect("a pair")
    } else {
        builder.with_no_client_auth()
    };
    let name = ServerName::IpAddress(registry.address().ip().into());
    let connection =
        rustls::ClientConnection::new(Arc::new(config), name).expect("a valid configuration");
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(registry.address())?);
    let reply = exchange(&mut stream, "GET", registry.address(), "/v2/", "", "")?;
    Ok(status_and_body(&reply).0.to_owned())
}
