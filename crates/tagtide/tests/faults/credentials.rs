//! Credentials stay with the origin they were given for, and appear nowhere else.

use std::path::Path;

use testkit::{
    DockerRegistry, Fault, FaultProxy, GitServer, PASSWORD, Seen, USERNAME, basic_authorization,
};

use crate::world::{APP, FLEET, Ran, World, app, automation, choice};

/// A source with a password.
const SOURCE: &str = "\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: flux-system}
spec:
  interval: 1m
  timeout: 20s
  ref: {branch: main}
  url: GIT
  secretRef: {name: git}
";

#[test]
fn redirects_of_a_git_server_take_no_credentials_along() {
    // What is redirected: the introduction, the requests of a fetch, those of a push.
    let ways: [fn(&Seen) -> bool; 3] = [
        |seen| seen.target.contains("/info/refs"),
        |seen| seen.method == "POST" && seen.target.ends_with("/git-upload-pack"),
        |seen| seen.method == "POST" && seen.target.ends_with("/git-receive-pack"),
    ];
    for (n, is_redirected) in ways.into_iter().enumerate() {
        for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
            let world = world();
            let elsewhere = GitServer::start();
            elsewhere.create_repository(FLEET, &[(APP, app("app", "1.0.0"))]);
            let watched = FaultProxy::start(elsewhere.address());
            // The path and query that were asked for are those of the other server, too.
            for target in targets() {
                let location = format!("Location: http://{}{target}", watched.host());
                let redirect = Fault::reply(status, &[&location], "");
                let filter = move |seen: &Seen| seen.target == target && is_redirected(seen);
                world.git_proxy.inject(filter, redirect);
            }
            let ran = run(&world);
            assert_silent(&watched, &format!("way {n}, {status}"));
            assert_no_canary(&world, &ran);
            // Only the introduction may lead elsewhere, and there we are nobody.
            assert_eq!(watched.traffic().n_requests > 0, n == 0, "way {n}, {status}");
        }
    }
}

#[test]
fn redirects_of_a_registry_take_no_credentials_along() {
    for status in ["302 Found", "307 Temporary Redirect"] {
        let world = world();
        let elsewhere = DockerRegistry::start();
        elsewhere.push_tag("app", "1.9.0");
        let watched = FaultProxy::start(elsewhere.address());
        let location = format!("Location: http://{}/v2/app/tags/list?n=1000", watched.host());
        let redirect = Fault::reply(status, &[&location], "");
        world.registry_proxy.inject(|seen| seen.target.contains("/tags/list"), redirect);
        let ran = run(&world);
        assert_silent(&watched, status);
        assert_no_canary(&world, &ran);
    }
}

#[test]
fn the_next_page_is_on_the_same_registry() {
    let world = world();
    let elsewhere = DockerRegistry::start();
    let watched = FaultProxy::start(elsewhere.address());
    let link = format!("Link: <http://{}/v2/app/tags/list?last=a>; rel=\"next\"", watched.host());
    let page = Fault::reply(
        "200 OK",
        &["Content-Type: application/json", &link],
        "{\"tags\":[\"1.1.0\"]}",
    );
    world.registry_proxy.inject(|seen| seen.target.contains("/tags/list"), page);
    let ran = run(&world).exited(1);
    assert!(!ran.object("ImageRepository", "app").0);
    assert_eq!(watched.traffic().n_requests, 0);
    assert_eq!(world.value("main"), "1.0.0");
}

#[test]
fn a_token_service_of_another_host_gets_nothing_and_is_named() {
    let world = world();
    let elsewhere = DockerRegistry::start();
    let watched = FaultProxy::start(elsewhere.address());
    let port = watched.address().port();
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://localhost:{port}/token\"");
    let refused = Fault::reply("401 Unauthorized", &[&challenge], "{}");
    world.registry_proxy.inject(|seen| seen.target.starts_with("/v2/"), refused);
    let ran = run(&world).exited(1);
    let (ready, _, message) = ran.object("ImageRepository", "app");
    assert!(!ready && message.contains("localhost"), "{message}");
    assert_eq!(watched.traffic().n_connections, 0);
    assert_no_canary(&world, &ran);
}

#[test]
fn credentials_are_in_no_log_report_state_or_commit() {
    let world = world();
    let ran = run(&world).exited(0);
    assert_eq!(world.value("main"), "1.1.0");
    assert_no_canary(&world, &ran);
    let log = world.git.git(FLEET, &["log", "-p", "--all"]);
    assert!(!log.contains(PASSWORD));
    // The program did use them.
    let used = |proxy: &FaultProxy| proxy.seen().iter().any(|seen| is_authorized(&seen.head));
    assert!(used(&world.git_proxy) && used(&world.registry_proxy));
}

#[test]
fn credentials_that_are_wrong_are_a_clear_condition() {
    let world = world();
    world.manifest("secrets", &secrets(&world, "another-canary"));
    let ran = run(&world).exited(1);
    let (_, reason, message) = ran.object("GitRepository", "fleet");
    assert_eq!(reason, "GitOperationFailed");
    assert!(message.contains("authentication required"), "{message}");
    assert!(!ran.object("ImageRepository", "app").0);
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains("another-canary"), "{text}");
    }
}

/// One application whose servers want a password.
fn world() -> World {
    let world = World::behind_passwords(&[(APP, &app("app", "1.0.0"))]);
    world.push("app", &["1.1.0"]);
    let pull = "  secretRef: {name: registry}\n  timeout: 5s\n";
    let choice = choice("app", "semver: {range: '>=1.0.0'}").replacen(
        "  interval: 1m\n",
        &format!("  interval: 1m\n{pull}"),
        1,
    );
    world.manifest("source", SOURCE);
    world.manifest("app", &choice);
    world.manifest("automation", &automation("app", ""));
    world.manifest("secrets", &secrets(&world, PASSWORD));
    world
}

fn secrets(world: &World, password: &str) -> String {
    let host = world.registry_proxy.host();
    let config = serde_json::json!({
        "auths": {host: {"username": USERNAME, "password": password}}
    });
    let secret = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: flux-system}}\n{rest}\n"
        )
    };
    let git = secret("git", &format!("stringData: {{username: {USERNAME}, password: {password}}}"));
    let registry = format!(
        "type: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '{config}'"
    );
    git + &secret("registry", &registry)
}

/// Runs with everything logged that can be, keeping state.
fn run(world: &World) -> Ran {
    let state = world.state().display().to_string();
    world.run_with(&["--state", &state], &[("TAGTIDE_LOG_LEVEL", "trace")])
}

/// All paths with queries that Git's protocol has for our repository.
fn targets() -> Vec<String> {
    let below = |tail: &str| format!("/{FLEET}.git/{tail}");
    vec![
        below("info/refs?service=git-upload-pack"),
        below("info/refs?service=git-receive-pack"),
        below("git-upload-pack"),
        below("git-receive-pack"),
    ]
}

fn is_authorized(head: &str) -> bool {
    head.to_ascii_lowercase().contains("\nauthorization:")
}

#[track_caller]
fn assert_silent(watched: &FaultProxy, what: &str) {
    for seen in watched.seen() {
        assert!(!is_authorized(&seen.head), "{what}: {}", seen.head);
        assert!(!seen.head.contains(PASSWORD), "{what}: {}", seen.head);
    }
}

/// Looks for the password, plain and as it is sent.
#[track_caller]
fn assert_no_canary(world: &World, ran: &Ran) {
    let sent = basic_authorization(USERNAME, PASSWORD);
    let sent = sent.trim_start_matches("Basic ");
    let canaries = [PASSWORD.as_bytes(), sent.as_bytes()];
    let mut texts = vec![("stdout".to_owned(), ran.stdout.clone().into_bytes())];
    texts.push(("stderr".to_owned(), ran.stderr.clone().into_bytes()));
    files(&world.state(), &mut texts);
    assert!(texts.len() > 2, "there is a state folder");
    for (name, text) in texts {
        for canary in canaries {
            let at = text.windows(canary.len()).position(|window| window == canary);
            let around = at.map(|at| &text[at.saturating_sub(200)..(at + 50).min(text.len())]);
            let around = around.map(String::from_utf8_lossy);
            assert!(at.is_none(), "a credential in {name}: {}", around.unwrap_or_default());
        }
    }
}

fn files(folder: &Path, texts: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), texts);
        } else if let Ok(bytes) = std::fs::read(entry.path()) {
            texts.push((entry.path().display().to_string(), bytes));
        }
    }
}
