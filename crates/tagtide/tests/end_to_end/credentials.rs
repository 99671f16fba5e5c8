//! Where credentials come from, and that they are shown nowhere.

use std::fs;

use expect_test::expect;
use testkit::{
    DockerRegistryOptions, GitAccess, GitServerOptions, PASSWORD, RegistryAccess, TOKEN, Tls,
    USERNAME,
};

use super::world::{HELM_RELEASE, LOOP, RELEASE, Ran, SECRET, World};

const RUN: &[&str] = &["run", "--once", "manifests"];

fn world(registry: RegistryAccess, git: GitAccess) -> World {
    let registry = DockerRegistryOptions { access: registry, tls: None };
    let git = GitServerOptions { access: git, tls: None };
    let world = World::start(&[(RELEASE, HELM_RELEASE)], &registry, &git);
    world.write("manifests/loop.yaml", LOOP);
    world
}

#[track_caller]
fn is_written(world: &World) {
    assert_eq!(world.n_commits("dev..image-update-dev"), 1);
}

/// Every spelling in which a credential could leak.
fn canaries() -> Vec<String> {
    let basic = testkit::basic_authorization(USERNAME, PASSWORD).replace("Basic ", "");
    vec![PASSWORD.to_owned(), TOKEN.to_owned(), basic]
}

#[track_caller]
fn shows_no_secret(what: &str, bytes: &[u8]) {
    for canary in canaries() {
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{what} shows `{canary}`");
    }
}

#[track_caller]
fn shows_no_secret_in(ran: &Ran) {
    shows_no_secret("stdout", ran.stdout.as_bytes());
    shows_no_secret("stderr", ran.stderr.as_bytes());
}

#[test]
fn a_secret_may_come_from_a_folder() {
    let world = world(RegistryAccess::Anonymous, GitAccess::Basic);
    let ran = world.tagtide(RUN).exits(1);
    let lines = ran.stdout.lines().filter(|line| line.starts_with('✗'));
    expect![[r#"
        ✗ GitRepository flux-system/flux-system-write  AuthenticationFailed: failed to get secret 'flux-system/flux-system-write': secrets "flux-system-write" not found
        ✗ ImageUpdateAutomation flux-system/dev  SourceManagerFailed: failed configuring source manager: failed to get auth secret 'flux-system/flux-system-write': secrets "flux-system-write" not found"#]].assert_eq(&lines.collect::<Vec<_>>().join("\n"));

    expect![[r#"
        notice: Secret flux-system/flux-system-write is not among the manifests; give it with --secret flux-system/flux-system-write=DIR
    "#]].assert_eq(&ran.stderr);

    world.write("secret/username", USERNAME);
    world.write("secret/password", PASSWORD);
    let secret = ["--secret", "flux-system/flux-system-write=secret"];
    world.tagtide(&[RUN, &secret].concat()).exits(0);
    is_written(&world);

    let ran = world.tagtide(&[RUN, &["--secret", "flux-system=secret"]].concat()).exits(2);
    expect![[r#"
        error: --secret `flux-system=secret`: write NAMESPACE/NAME=DIR
    "#]]
    .assert_eq(&ran.stderr);
    let nowhere = ["--secret", "flux-system/flux-system-write=nowhere"];
    let ran = world.tagtide(&[RUN, &nowhere].concat()).exits(1);
    expect![[r#"
        error: --secret `flux-system/flux-system-write=nowhere`: cannot read folder nowhere: No such file or directory (os error 2)
    "#]].assert_eq(&ran.stderr);
}

#[test]
fn an_encrypted_secret_is_unresolved_until_it_is_given() {
    let world = world(RegistryAccess::Anonymous, GitAccess::Basic);
    let encrypted = "apiVersion: v1\nkind: Secret\nmetadata: {name: flux-system-write, namespace: flux-system}\n\
                     stringData: {username: 'ENC[AES256_GCM,data:x]', password: 'ENC[AES256_GCM,data:y]'}\n\
                     sops: {mac: 'ENC[x]'}\n";
    world.write("manifests/secret.yaml", encrypted);
    let ran = world.tagtide(RUN).exits(1);
    expect![[r#"
        notice: Secret flux-system/flux-system-write is encrypted and unresolved; give it with --secret flux-system/flux-system-write=DIR
    "#]].assert_eq(&ran.stderr);
    world.write("secret/username", USERNAME);
    world.write("secret/password", PASSWORD);
    let secret = ["--secret", "flux-system/flux-system-write=secret"];
    let ran = world.tagtide(&[RUN, &secret].concat()).exits(0);
    assert_eq!(ran.stderr, "");
    is_written(&world);
}

#[test]
fn git_credentials_may_come_from_the_environment() {
    let basic = world(RegistryAccess::Anonymous, GitAccess::Basic);
    let mut command = basic.command(RUN);
    command.env("TAGTIDE_GIT_USERNAME_127_0_0_1", USERNAME);
    command.env("TAGTIDE_GIT_PASSWORD_127_0_0_1", PASSWORD);
    basic.finish(command.output()).exits(0);
    is_written(&basic);

    let bearer = world(RegistryAccess::Anonymous, GitAccess::Bearer);
    let mut command = bearer.command(RUN);
    bearer.finish(command.env("TAGTIDE_GIT_TOKEN_127_0_0_1", TOKEN).output()).exits(0);
    is_written(&bearer);
}

#[test]
fn registry_credentials_may_come_from_the_docker_config() {
    let mut notices = Vec::new();
    for folder in ["home/.docker", "docker"] {
        let world = world(RegistryAccess::Basic, GitAccess::Anonymous);
        world.write("manifests/secret.yaml", SECRET);
        world.tagtide(RUN).exits(1);
        let auth = testkit::basic_authorization(USERNAME, PASSWORD).replace("Basic ", "");
        let config = serde_json::json!({
            "auths": {world.registry.host(): {"auth": auth}},
            "credHelpers": {"gcr.io": "gcloud"},
        });
        world.write(&format!("{folder}/config.json"), &config.to_string());
        let mut command = world.command(RUN);
        if folder == "docker" {
            command.env("DOCKER_CONFIG", world.path("docker"));
        }
        let ran = world.finish(command.output()).exits(0);
        notices.push(ran.stderr);
        is_written(&world);
    }
    expect![[r#"
        notice: home/.docker/config.json: credential helpers are not run (gcloud (gcr.io)); log in without them
        notice: docker/config.json: credential helpers are not run (gcloud (gcr.io)); log in without them
    "#]].assert_eq(&notices.concat());
}

#[test]
fn a_pull_secret_among_the_manifests_is_used() {
    let world = world(RegistryAccess::Basic, GitAccess::Anonymous);
    world.write("manifests/secret.yaml", SECRET);
    let auths = serde_json::json!({
        "auths": {world.registry.host(): {"username": USERNAME, "password": PASSWORD}},
    });
    let secret = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pull", "namespace": "flux-system"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": auths.to_string()},
    });
    world.write("manifests/pull.json", &secret.to_string());
    let spec = "spec: {image: registry.example/testservice, ";
    world.write(
        "manifests/loop.yaml",
        &LOOP.replace(spec, &format!("{spec}secretRef: {{name: pull}}, ")),
    );
    world.tagtide(RUN).exits(0);
    is_written(&world);
}

#[test]
fn servers_may_have_certificates_of_ones_own() {
    for tls in [Tls::generate(), Tls::mutual()] {
        let registry = DockerRegistryOptions { tls: Some(tls.clone()), ..Default::default() };
        let git = GitServerOptions { access: GitAccess::Basic, tls: Some(tls.clone()) };
        let world = World::start(&[(RELEASE, HELM_RELEASE)], &registry, &git);
        let spec = "spec: {image: registry.example/testservice, ";
        let with_certificates = format!("{spec}certSecretRef: {{name: certificates}}, ");
        world.write("manifests/loop.yaml", &LOOP.replace(spec, &with_certificates));
        let login = [("username", USERNAME), ("password", PASSWORD)];
        world.secret(
            "certificates",
            &[("tls.crt", &tls.client.certificate), ("tls.key", &tls.client.key)],
        );
        world.secret("flux-system-write", &login);
        // Nobody vouches for the servers.
        let ran = world.tagtide(RUN).exits(1);
        assert!(ran.stdout.contains("signed by unknown authority"), "{}", ran.stdout);

        let certificates = [
            ("ca.crt", tls.ca.as_str()),
            ("tls.crt", &tls.client.certificate),
            ("tls.key", &tls.client.key),
        ];
        world.secret("certificates", &certificates);
        world.secret("flux-system-write", &[&login[..], &certificates].concat());
        let ran = world.tagtide(RUN).exits(0);
        assert_eq!(ran.stderr, "");
        is_written(&world);
        assert!(!ran.stdout.contains("PRIVATE KEY"));
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    for (encoding, output) in [("console", "text"), ("json", "json")] {
        let world = world(RegistryAccess::Basic, GitAccess::Basic);
        let auth = testkit::basic_authorization(USERNAME, PASSWORD).replace("Basic ", "");
        let config = serde_json::json!({"auths": {world.registry.host(): {"auth": auth}}});
        world.write("home/.docker/config.json", &config.to_string());
        world.write("manifests/secret.yaml", SECRET);
        let run = |command: &str| {
            let args = [command, "manifests", "--state", "state", "-o", output];
            let logs = ["--log-level", "trace", "--log-encoding", encoding];
            let once: &[&str] = if command == "run" { &["--once"] } else { &[] };
            let mut command = world.command(&[&args[..], &logs, once].concat());
            command.env("TAGTIDE_GIT_TOKEN_127_0_0_1", TOKEN);
            let ran = world.finish(command.output());
            let log = ran.stderr.to_lowercase();
            assert!(log.contains("trace"), "the log level is at work");
            shows_no_secret_in(&ran);
            ran
        };
        run("plan").exits(0);
        run("run").exits(0);
        is_written(&world);

        // Userinfo in a URL is refused or used, and never shown.
        let userinfo = format!("{USERNAME}:{PASSWORD}@");
        let url =
            world.git.url("org/repo").to_string().replace("http://", &format!("http://{userinfo}"));
        world.write("manifests/loop.yaml", &LOOP.replace("https://git.example/org/repo.git", &url));
        run("run");
        // Neither when it is wrong.
        fs::remove_file(world.path("manifests/secret.yaml")).expect("a file");
        let wrong = url.replace(USERNAME, "somebody");
        world.write(
            "manifests/loop.yaml",
            &LOOP.replace("https://git.example/org/repo.git", &wrong),
        );
        run("run").exits(1);

        for file in files(&world.path("state")) {
            shows_no_secret(&file.display().to_string(), &fs::read(&file).expect("a file"));
        }
        let objects = world.git(&["log", "--all", "--format=raw", "--patch"]);
        shows_no_secret("a commit", objects.as_bytes());
        for file in files(&world.git.path(super::world::FLEET)) {
            shows_no_secret(&file.display().to_string(), &fs::read(&file).expect("a file"));
        }
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
