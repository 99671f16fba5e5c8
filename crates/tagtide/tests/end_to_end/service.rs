//! What a service owes to those around it: measurements by Flux's names, files that come and go,
//! news that wait, and neighbours of bad clients and bad objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use expect_test::expect;
use kube::config::Kubeconfig;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};
use serde_json::{Value, json};
use testkit::{HttpServer, PASSWORD, USERNAME};

use super::daemon::{Daemon, get};
use super::world::{LOOP, World};

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: v}}\n")
}

/// Waits until the automation of the loop has pushed.
#[track_caller]
fn wait_for_push(daemon: &mut Daemon<'_>) {
    daemon.wait_for("the push", |daemon| {
        let automation = daemon.get("imageupdateautomation", "dev")?;
        automation["status"]["lastPushCommit"].is_string().then_some(())
    });
}

/// Returns a line for each family: name, type, labels; and checks that each has a help text.
fn families(metrics: &str) -> String {
    let mut types = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in metrics.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            assert!(!help.is_empty() && helped.insert(name), "{line}");
        } else if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, type_) = family.split_once(' ').expect("a type");
            assert!(types.insert(name, type_).is_none(), "{name} twice");
        } else {
            let (sample, _) = line.rsplit_once(' ').expect("a value");
            let (name, all) = sample.split_once('{').unwrap_or((sample, "}"));
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|end| name.strip_suffix(end))
                .find(|family| types.get(family) == Some(&"histogram"));
            let labels = labels.entry(family.unwrap_or(name)).or_default();
            let mut rest = all.trim_end_matches('}');
            while let Some((label, more)) = rest.split_once("=\"") {
                labels.insert(label.trim_start_matches(','));
                rest = more.split_once('"').map_or("", |(_, rest)| rest);
            }
        }
    }
    assert_eq!(helped, types.keys().copied().collect());
    let line = |(name, type_): (&&str, &&str)| {
        let labels: Vec<&str> = labels.get(name).into_iter().flatten().copied().collect();
        format!("{name} {type_} {}", labels.join(",")).trim_end().to_owned() + "\n"
    };
    types.iter().map(line).collect()
}

#[test]
fn measurements_have_the_names_types_and_labels_that_dashboards_ask_for() {
    let world = World::of_the_loop();
    let ports = ["manifests", "--metrics-addr", "127.0.0.1:0", "--health-addr", "127.0.0.1:0"];
    let mut daemon = world.up(&ports);
    wait_for_push(&mut daemon);
    let text = |url: &str| String::from_utf8(get(url)).expect("UTF-8");
    let health = daemon.greeting("health: ");
    assert_eq!(text(&health), "ok");
    assert_eq!(text(&health.replace("/healthz", "/readyz")), "ok");
    let metrics = text(&daemon.greeting("metrics: "));
    expect![[r#"
        controller_runtime_active_workers gauge controller
        controller_runtime_max_concurrent_reconciles gauge controller
        controller_runtime_reconcile_errors_total counter controller
        controller_runtime_reconcile_panics_total counter controller
        controller_runtime_reconcile_time_seconds histogram controller,le
        controller_runtime_reconcile_timeouts_total counter controller
        controller_runtime_reconcile_total counter controller,result
        controller_runtime_terminal_reconcile_errors_total counter controller
        go_threads gauge
        gotk_reconcile_condition gauge kind,name,namespace,status,type
        gotk_reconcile_duration_seconds histogram kind,le,name,namespace
        gotk_resource_info gauge customresource_group,customresource_kind,customresource_version,exported_namespace,name,ready,revision,source_name,suspended,url
        gotk_suspend_status gauge kind,name,namespace
        gotk_token_cache_evictions_total counter
        gotk_token_cached_items gauge
        process_cpu_seconds_total counter
        process_max_fds gauge
        process_network_receive_bytes_total counter
        process_network_transmit_bytes_total counter
        process_open_fds gauge
        process_resident_memory_bytes gauge
        process_start_time_seconds gauge
        process_virtual_memory_bytes gauge
        process_virtual_memory_max_bytes gauge
        rest_client_requests_total counter code,host,method
        workqueue_adds_total counter controller,name
        workqueue_depth gauge controller,name,priority
        workqueue_longest_running_processor_seconds gauge controller,name
        workqueue_queue_duration_seconds histogram controller,le,name
        workqueue_retries_total counter controller,name
        workqueue_unfinished_work_seconds gauge controller,name
        workqueue_work_duration_seconds histogram controller,le,name
    "#]]
    .assert_eq(&families(&metrics));
    let asked = "rest_client_requests_total{code=\"200\",host=\"embedded\",method=\"PATCH\"} ";
    assert!(metrics.contains(asked), "{metrics}");
    let ended = daemon.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn what_was_removed_while_nobody_looked_is_deleted_only_under_watch() {
    let world = World::of_the_loop();
    for name in ["gone", "kept", "broken"] {
        world.write(&format!("more/{name}.yaml"), &config_map(name));
    }
    world.up(&["more"]).stop();
    fs::remove_file(world.path("more/gone.yaml")).expect("a file");
    // It looks like nothing of ours any more, as a file does that is being written.
    world.write("more/broken.yaml", "kind: [\n");

    let daemon = world.up(&["more"]);
    for name in ["gone", "kept", "broken"] {
        assert!(daemon.get("configmap", name).is_some(), "{name}: nobody watches");
    }
    daemon.stop();

    let mut daemon = world.up(&["more", "--watch"]);
    daemon.wait_for("the end of what has no file", |daemon| {
        daemon.get("configmap", "gone").is_none().then_some(())
    });
    for name in ["kept", "broken"] {
        assert!(daemon.get("configmap", name).is_some(), "{name} has a file");
    }
    daemon.stop();
}

#[test]
fn news_that_wait_at_a_stop_are_sent_by_the_next_start() {
    let world = World::of_the_loop();
    let is_there = Arc::new(AtomicBool::new(false));
    let attempts: Arc<Mutex<Vec<(bool, String, String)>>> = Arc::default();
    let (is_open, seen) = (Arc::clone(&is_there), Arc::clone(&attempts));
    let hear = move |headers: HeaderMap, Json(event): Json<Value>| {
        let is_taken = is_open.load(Ordering::SeqCst);
        let id = headers["idempotency-key"].to_str().expect("a word").to_owned();
        let message = event["message"].as_str().expect("a text").to_owned();
        seen.lock().expect("no test panics with it").push((is_taken, id, message));
        let answer = if is_taken { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready(answer)
    };
    let receiver = HttpServer::start(Router::new().fallback(post(hear)), None);
    let events = ["--events-addr", receiver.url().as_str()];

    let mut daemon = world.up(&[&["manifests"], &events[..]].concat());
    wait_for_push(&mut daemon);
    let ended = daemon.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("Events are left for the next start"), "{}", ended.stderr);

    is_there.store(true, Ordering::SeqCst);
    let mut daemon = world.up(&events);
    daemon.wait_for("the event of the push", |_| {
        let attempts = attempts.lock().expect("no test panics with it");
        let is_push = |(taken, _, message): &&(bool, String, String)| {
            *taken && message.starts_with("pushed commit '")
        };
        attempts.iter().find(is_push).map(|_| ())
    });
    daemon.stop();
    let attempts = attempts.lock().expect("no test panics with it");
    let taken: Vec<_> = attempts.iter().filter(|(taken, ..)| *taken).collect();
    let ids: BTreeSet<_> = taken.iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), taken.len(), "nothing is sent twice: {taken:?}");
    // What waited longest is known again.
    assert_eq!((&attempts[0].0, &attempts[0].1), (&false, &taken[0].1));
}

#[test]
fn objects_made_through_the_api_get_the_users_own_git_credentials() {
    let world = World::of_the_loop();
    let variables = [
        ("TAGTIDE_GIT_USERNAME_127_0_0_1", USERNAME),
        ("TAGTIDE_GIT_PASSWORD_127_0_0_1", PASSWORD),
    ];
    let mut daemon = world.up_with(&[], &variables);
    daemon.kubectl(&["create", "namespace", "flux-system"]);
    let source = LOOP.split("---").next().expect("it begins with the source");
    world.write("source.yaml", &source.replace("secretRef: {name: flux-system-write}, ", ""));
    daemon.kubectl(&["create", "--validate=false", "-f", "source.yaml"]);
    daemon.wait_for("the artifact", |daemon| {
        let source = daemon.get("gitrepository", "flux-system-write").expect("it was created");
        source["status"]["artifact"].is_object().then_some(())
    });
    daemon.stop();
}

#[test]
fn what_objects_say_forges_no_log_line_and_fits_into_their_status() {
    let world = World::of_the_loop();
    let forged = "x\n2026-01-01T00:00:00Z  INFO forged\u{1b}[31m\u{2028}";
    let policy = |name: &str, pattern: &str| {
        json!({
            "apiVersion": "image.toolkit.fluxcd.io/v1",
            "kind": "ImagePolicy",
            "metadata": {"name": name, "namespace": "flux-system"},
            "spec": {
                "imageRepositoryRef": {"name": "testservice"},
                "filterTags": {"pattern": pattern},
                "policy": {"alphabetical": {}},
            },
        })
    };
    let long = format!("x{}", "é".repeat(40_000));
    for (name, text) in [("forging", forged), ("long", &long)] {
        let policy = policy(name, &format!("{text}("));
        world.write(&format!("manifests/{name}.json"), &policy.to_string());
    }
    let mut daemon = world.up(&["manifests"]);
    for name in ["forging", "long"] {
        let ready = daemon.wait_for("its status", |daemon| {
            let policy = daemon.get("imagepolicy", name).expect("it was loaded");
            let conditions = policy["status"]["conditions"].as_array()?.clone();
            conditions.into_iter().find(|condition| {
                condition["type"] == "Ready" && condition["reason"] == "InvalidPolicy"
            })
        });
        let message = ready["message"].as_str().expect("a text");
        assert!((10..=32_768).contains(&message.len()), "{name}: {}", message.len());
        daemon.wait_for("its event", |daemon| {
            let about = format!("involvedObject.name={name}");
            let args = ["get", "events", "-n", "flux-system", "--field-selector", &about, "-o"];
            let events = daemon.kubectl(&[&args[..], &["json"]].concat());
            let events: Value = serde_json::from_str(&events).expect("kubectl prints JSON");
            let events = events["items"].as_array().expect("a list").clone();
            assert!(
                events
                    .iter()
                    .all(|event| { event["message"].as_str().expect("a text").len() <= 32_768 })
            );
            (!events.is_empty()).then_some(())
        });
    }
    wait_for_push(&mut daemon);
    let logs = daemon.kubectl(&["get", "--raw", "/tagtide/v1/logs"]);
    assert!(logs.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{logs}");
    let ended = daemon.stop();
    assert!(ended.stderr.contains("forged\\u{1b}[31m"), "{}", ended.stderr);
    let forges = |line: &str| line.starts_with("2026-01-01T00:00:00Z");
    assert!(!ended.stderr.lines().any(forges) && !ended.stderr.contains('\u{1b}'));
}

/// A TLS connection to the API.
type Connection = StreamOwned<ClientConnection, TcpStream>;

/// Returns where the API is, and what connects to it.
fn door(world: &World) -> (String, impl Fn() -> Connection) {
    let kubeconfig = Kubeconfig::read_from(world.path("state/kubeconfig")).expect("a kubeconfig");
    let cluster = kubeconfig.clusters[0].cluster.clone().expect("a cluster");
    let address = cluster.server.expect("a server").replace("https://", "");
    let authority = cluster.certificate_authority_data.expect("an authority");
    let authority = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, authority);
    let authority = CertificateDer::from_pem_slice(&authority.expect("base64")).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (config, at) = (Arc::new(config), address.clone());
    let connect = move || {
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let connection = ClientConnection::new(Arc::clone(&config), name).expect("TLS");
        StreamOwned::new(connection, TcpStream::connect(&at).expect("it listens"))
    };
    (address, connect)
}

#[test]
fn floods_wrong_tokens_and_half_open_connections_harm_no_neighbour() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    wait_for_push(&mut daemon);
    let before = daemon.memory();
    let (address, connect) = door(&world);

    // Who says nothing, who says something else, and who stops in the middle of a request.
    let mut held = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        let garbage: &[u8] = if n % 2 == 0 { b"" } else { b"GET / HTTP/1.1\r\n\r\n\xff\x00" };
        stream.write_all(garbage).expect("it reads");
        held.push(stream);
    }
    let mut halves = Vec::new();
    for _ in 0..50 {
        let mut connection = connect();
        connection
            .write_all(b"GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\nX-Half")
            .expect("it reads");
        halves.push(connection);
    }
    // Who guesses tokens.
    let mut guesses = connect();
    for n in 0..500 {
        let request = format!(
            "GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guess{n}\r\n\r\n"
        );
        guesses.write_all(request.as_bytes()).expect("it reads");
        let mut answer = [0; 12];
        guesses.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"HTTP/1.1 401");
        // The rest of the answer is drained with the next ones.
        let mut rest = [0; 4096];
        let mut text = String::new();
        while !text.ends_with('}') && !text.ends_with("}\n") {
            let n = guesses.read(&mut rest).expect("it answers");
            text.push_str(&String::from_utf8_lossy(&rest[..n]));
        }
    }
    // Who sends a head, or a body, without an end.
    let mut endless = connect();
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(1 << 20));
    drop(endless.write_all(head.as_bytes()));

    assert!(daemon.get("imagepolicy", "testservice").is_some(), "neighbours are answered");
    let after = daemon.memory();
    assert!(after < before + (64 << 20), "{before} bytes became {after}");
    drop((held, halves, guesses));
    daemon.stop();
}

#[test]
fn what_is_too_much_for_an_object_is_refused_in_kubernetes_words() {
    let world = World::of_the_loop();
    let daemon = world.up(&["manifests"]);
    let annotated = |n_bytes: usize| {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "big",
                "namespace": "flux-system",
                "annotations": {"example.com/long": "x".repeat(n_bytes)},
            },
        })
    };
    let refusal = |object: &Value| {
        world.write("big.json", &object.to_string());
        let create = ["create", "--validate=false", "-f", "big.json"];
        let (is_ok, text) = daemon.try_kubectl(&create);
        assert!(!is_ok, "{text}");
        text
    };
    let text = refusal(&annotated(1 << 20));
    assert!(
        text.contains("metadata.annotations: Too long: may not be more than 262144 bytes"),
        "{text}"
    );
    let text = refusal(&annotated(4 << 20));
    assert!(text.contains("Request entity too large"), "{text}");
    assert!(daemon.get("configmap", "big").is_none());
    daemon.stop();
}
