//! Which API a verb speaks to, and as whom.

use super::world::{Desk, World, said};

/// The order is kubectl's by the link, and a state's daemon comes before the home folder by our own name.
#[tokio::test(flavor = "multi_thread")]
async fn the_target_is_found_in_order() {
    let (desk, world) = (Desk::new(), World::new().await);
    let args = ["get", "images", "repository", "-n", "envs", "--no-header"];
    let none = desk.run("flux", &args).await;
    assert_eq!(none.stderr, "✗ there is no kubeconfig; name one with --kubeconfig or KUBECONFIG\n");

    let dead = desk.kubeconfig("dead", "http://127.0.0.1:1");
    let alive = desk.kubeconfig("alive", &world.url());
    desk.kubeconfig("home/.local/state/tagtide/kubeconfig", &world.url());
    assert_eq!(desk.run("flux", &args).await.exit, 1, "a daemon's state is nothing to flux");
    assert_eq!(desk.run("tagtide", &args).await.exit, 0, "it is found without a word");

    desk.kubeconfig("home/.kube/config", "http://127.0.0.1:1");
    assert_eq!(desk.run("flux", &args).await.exit, 1);
    assert_eq!(desk.run("tagtide", &args).await.exit, 0, "it comes before the home folder");

    let with = async |program: &str, variable: &std::path::Path| {
        let mut command = desk.command(program, &args);
        command.env("KUBECONFIG", variable);
        said(command).await.exit
    };
    assert_eq!((with("flux", &alive).await, with("tagtide", &alive).await), (0, 0));
    assert_eq!((with("flux", &dead).await, with("tagtide", &dead).await), (1, 1));

    let state = desk.path("home/.local/state/tagtide");
    let state = state.to_str().expect("a path");
    let mut command = desk.command("tagtide", &[&args[..], &["--state", state]].concat());
    command.env("KUBECONFIG", &dead);
    assert_eq!(said(command).await.exit, 0, "a flag comes before a variable");
    let dead = dead.to_str().expect("a path");
    let both = [&args[..], &["--state", state, "--kubeconfig", dead]].concat();
    assert_eq!(desk.run("tagtide", &both).await.exit, 1, "a kubeconfig that is named comes first");
}

/// A verb that changes something names what it changes, by our own name only.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_names_its_target() {
    let (desk, world) = (Desk::new(), World::new().await);
    let kubeconfig = desk.kubeconfig("kubeconfig", &world.url());
    let kubeconfig = kubeconfig.to_str().expect("a path");
    let args = ["suspend", "image", "policy", "dev", "-n", "envs", "--kubeconfig", kubeconfig];
    let expected = "► suspending image policy dev in envs namespace\n✔ image policy suspended\n";
    assert_eq!(desk.run("flux", &args).await.stderr, expected);
    let target = format!("target: {}/ ({kubeconfig})\n", world.url());
    assert_eq!(desk.run("tagtide", &args).await.stderr, format!("{target}{expected}"));
    let get = ["get", "images", "policy", "-n", "envs", "--kubeconfig", kubeconfig];
    assert_eq!(desk.run("tagtide", &get).await.stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_namespace_is_the_flags_the_contexts_or_the_environments() {
    let (desk, world) = (Desk::new(), World::new().await);
    desk.kubeconfig("home/.kube/config", &world.url());
    let namespace = async |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = desk.command("flux", &[&["get", "images", "policy"], flags].concat());
        command.envs(variables.iter().copied());
        said(command).await.stderr
    };
    let none =
        |namespace: &str| format!("✗ no ImagePolicy objects found in \"{namespace}\" namespace\n");
    assert_eq!(namespace(&[], &[]).await, none("flux-system"));
    assert_eq!(namespace(&["-n", "x"], &[("FLUX_SYSTEM_NAMESPACE", "y")]).await, none("x"));
    assert_eq!(namespace(&[], &[("FLUX_SYSTEM_NAMESPACE", "y")]).await, none("y"));
    let warned = namespace(&[], &[("FLUX_SYSTEM_NAMESPACE", "Y!")]).await;
    let expected =
        format!("⚠️  ignoring invalid FLUX_SYSTEM_NAMESPACE: \"Y!\"\n{}", none("flux-system"));
    assert_eq!(warned, expected);
    let follows = ["--ns-follows-kube-context"];
    assert_eq!(namespace(&follows, &[]).await, none("of-the-context"));
    let expected = "✗ namespace must be a valid DNS label: \"A b\"\n";
    assert_eq!(namespace(&["-n", "A b"], &[]).await, expected);
}

/// The user's own kubeconfig may name a program that logs in; it has no longer than the verb.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_plugin_is_run_and_bounded() {
    let (desk, world) = (Desk::new(), World::new().await);
    let plugin = |script: &str| {
        let path = desk.kubeconfig("kubeconfig", &world.url());
        let text = std::fs::read_to_string(&path).expect("a kubeconfig");
        let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        config["users"][0]["user"] = serde_json::json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "/bin/sh", "args": ["-c", script], "interactiveMode": "Never",
            "env": [{"name": "TOKEN", "value": "t0ken"}],
        }});
        std::fs::write(&path, config.to_string()).expect("a file");
        path.to_str().expect("a path").to_owned()
    };
    let get = async |kubeconfig: String| {
        let args = ["get", "images", "policy", "-n", "envs", "--timeout", "3s"];
        desk.run("flux", &[&args[..], &["--kubeconfig", &kubeconfig]].concat()).await
    };
    let good = r#"echo "{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"$TOKEN\"}}""#;
    let said = get(plugin(good)).await;
    assert_eq!((said.exit, said.stderr.as_str()), (0, ""));

    let said = get(plugin("exec sleep 600")).await;
    assert_eq!(
        said.stderr,
        "✗ the kubeconfig's login plugin `/bin/sh`: it did not answer within 3 seconds\n"
    );
    let said = get(plugin("exit 7")).await;
    assert_eq!(
        said.stderr,
        "✗ the kubeconfig's login plugin `/bin/sh`: it failed: exit status: 7\n"
    );
    let said = get(plugin("echo secret-but-no-json: {")).await;
    assert!(!said.stderr.contains("secret"), "{}", said.stderr);
    assert_eq!(said.exit, 1);
}
