//! Registry and Git server behind a proxy, over http and https, with names that only it knows.

use testkit::{
    DockerRegistryOptions, ForwardProxy, GitAccess, GitServerOptions, PASSWORD, ProxyAccess,
    ProxyProtocol, Tls, USERNAME,
};

use super::world::{HELM_RELEASE, LOOP, RELEASE, TAGS, World};

const RUN: &[&str] = &["run", "--once", "manifests"];

const PROTOCOLS: [ProxyProtocol; 2] = [ProxyProtocol::Http, ProxyProtocol::Socks5];

/// The login that the Git server wants, and the proxy.
const LOGIN: [(&str, &str); 2] = [("username", USERNAME), ("password", PASSWORD)];

/// Returns the loop with a proxy for registry and Git server, and `more` for the registry.
fn proxied(more: &str) -> String {
    LOOP.replace("interval: 5m}", &format!("interval: 5m, proxySecretRef: {{name: proxy}}{more}}}"))
        .replace(
            "secretRef: {name: flux-system-write}",
            "secretRef: {name: flux-system-write}, proxySecretRef: {name: proxy}",
        )
}

#[test]
fn names_that_only_a_proxy_knows_are_reached_over_http() {
    for protocol in PROTOCOLS {
        let world = World::of_the_loop();
        let hosts = [
            ("registry.behind:5000", world.registry.address()),
            ("git.behind:80", world.git.address()),
        ];
        let proxy = ForwardProxy::start(protocol, ProxyAccess::Password, &hosts);
        let manifests = proxied(", insecure: true")
            .replace("registry.example", "registry.behind:5000")
            .replace("https://git.example/", "http://git.behind/");
        world.write("manifests/loop.yaml", &manifests);
        check(&world, &proxy, &["git.behind:80", "registry.behind:5000"]);
    }
}

#[test]
fn tls_goes_through_a_proxy_untouched() {
    for protocol in PROTOCOLS {
        let tls = Tls::generate();
        let registry = DockerRegistryOptions { tls: Some(tls.clone()), ..Default::default() };
        let git = GitServerOptions { access: GitAccess::Basic, tls: Some(tls.clone()) };
        let world = World::start(&[(RELEASE, HELM_RELEASE)], &registry, &git);
        let certificates = [("ca.crt", tls.ca.as_str())];
        world.secret("certificates", &certificates);
        world.secret("flux-system-write", &[&LOGIN[..], &certificates].concat());
        world.write("manifests/loop.yaml", &proxied(", certSecretRef: {name: certificates}"));
        let proxy = ForwardProxy::start(protocol, ProxyAccess::Password, &[]);
        let hosts = [world.git.address(), world.registry.address()].map(|host| host.to_string());
        check(&world, &proxy, &hosts.each_ref().map(String::as_str));
    }
}

/// Runs without the password of the proxy, which is told, and with it.
#[track_caller]
fn check(world: &World, proxy: &ForwardProxy, hosts: &[&str]) {
    let address = [("address", proxy.url().as_str())];
    world.secret("proxy", &address);
    let ran = world.tagtide(RUN).exits(1);
    assert!(ran.stdout.contains("proxyconnect tcp: "), "{}", ran.stdout);
    assert!(proxy.n_refused() > 0);
    assert_eq!(proxy.targets(), [""; 0]);

    world.secret("proxy", &[&address[..], &LOGIN].concat());
    let ran = world.tagtide(RUN).exits(0);
    let file = String::from_utf8(world.file("image-update-dev", RELEASE)).expect("text");
    assert!(file.contains(&format!("tag: {} #", TAGS[1])), "{file}");
    assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD));
    let mut targets = proxy.targets();
    targets.sort();
    targets.dedup();
    let mut hosts = hosts.to_vec();
    hosts.sort_unstable();
    assert_eq!(targets, hosts, "nothing goes elsewhere");
    world.fsck();
}
