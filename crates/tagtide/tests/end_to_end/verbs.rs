//! Flux's verbs against `tagtide up`: found by its state folder, over TLS, with the token of its kubeconfig.

use super::world::{NEWER, Ran, TAGS, World};

#[test]
fn verbs_speak_to_the_daemon_of_a_state() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    daemon.wait_for("the status of the automation", |daemon| {
        let automation = daemon.get("imageupdateautomation", "dev")?;
        automation["status"]["lastPushCommit"].is_string().then_some(())
    });
    let run = |line: &str| -> Ran {
        let mut args: Vec<&str> = line.split(' ').collect();
        args.extend(["--state", "state"]);
        world.tagtide(&args).exits(0)
    };

    let table = run("get images policy").stdout;
    let rows: Vec<Vec<&str>> =
        table.lines().map(|row| row.split('\t').map(str::trim).collect()).collect();
    assert_eq!(rows[0], ["NAME", "IMAGE", "TAG", "READY", "MESSAGE"]);
    assert_eq!([rows[1][0], rows[1][2], rows[1][3]], ["testservice", TAGS[1], "True"]);

    world.push(&[NEWER]);
    let reconciled = run("reconcile image repository testservice").stderr;
    let lines: Vec<&str> = reconciled.lines().collect();
    assert!(lines[0].starts_with("target: https://127.0.0.1:"), "{reconciled}");
    assert!(lines[0].ends_with("(`tagtide up` on state)"), "{reconciled}");
    assert_eq!(
        lines[1..],
        [
            "► annotating ImageRepository testservice in flux-system namespace",
            "✔ ImageRepository annotated",
            "◎ waiting for ImageRepository reconciliation",
            "✔ scan fetched 3 tags",
        ]
    );
    daemon.wait_for("the choice", |daemon| {
        let policy = daemon.get("imagepolicy", "testservice")?;
        (policy["status"]["latestRef"]["tag"] == NEWER).then_some(())
    });

    let explained = run("explain image policy testservice");
    assert_eq!(explained.stdout.lines().count(), 3, "{}", explained.stdout);
    assert!(explained.stderr.contains(&format!("winner: {NEWER}\nin effect: {NEWER}\n")));
    let one = run(&format!("explain image policy testservice --tag {}", TAGS[0])).stdout;
    assert!(one.starts_with(TAGS[0]) && one.lines().count() == 1, "{one}");

    let suspended = run("suspend image update dev").stderr;
    assert!(suspended.ends_with("✔ image update automation suspended\n"), "{suspended}");
    let resumed = run("resume image update dev").stderr;
    assert!(
        resumed.contains("✔ ImageUpdateAutomation dev reconciliation completed\n"),
        "{resumed}"
    );

    let events = run("events --for ImagePolicy/testservice").stdout;
    assert!(events.contains("ImageRepository/testservice"), "{events}");
    assert!(events.contains(&format!("resolved to {NEWER}")), "{events}");
    daemon.stop();
}

#[test]
fn the_daemon_is_checked_in_fluxs_words() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    daemon.wait_for("the first scan", |daemon| {
        let repository = daemon.get("imagerepository", "testservice")?;
        repository["status"]["lastScanResult"].is_object().then_some(())
    });
    let run = |line: &str| -> Ran {
        let mut args: Vec<&str> = line.split(' ').collect();
        args.extend(["--state", "state"]);
        world.tagtide(&args).exits(0)
    };

    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let checked = run("check").stderr;
    for expected in [
        "► checking prerequisites\n✔ Kubernetes 1.",
        &format!("✔ distribution: tagtide-{version}\n✔ bootstrapped: false\n"),
        &format!("✔ image-automation-controller: deployment ready\n► tagtide:{version}\n"),
        "✔ imagepolicies.image.toolkit.fluxcd.io/v1\n",
    ] {
        assert!(checked.contains(expected), "{expected} is not in\n{checked}");
    }
    assert!(checked.ends_with("✔ all checks passed\n"), "{checked}");

    let versions = run("version").stdout;
    let expected = format!(
        "tagtide: {version}\ndistribution: tagtide-{version}\n\
         image-automation-controller: {version}\nimage-reflector-controller: {version}\n\
         source-controller: {version}\n"
    );
    assert_eq!(versions, expected);
    assert_eq!(run("version --client").stdout, format!("tagtide: {version}\n"));

    let logs = run("logs --kind imagerepository --name testservice").stdout;
    let scan = logs.lines().find(|line| line.contains("successful scan")).expect("it is logged");
    let (_, rest) = scan.split_once(' ').expect("a time");
    let expected = "info ImageRepository/testservice.flux-system - successful scan: found 2 tags";
    assert!(rest.starts_with(expected), "{scan}");
    assert_eq!(run("logs -A --kind nosuch").stdout, "");

    let stats = run("stats -A").stdout;
    let row = stats.lines().find(|row| row.starts_with("ImagePolicy")).expect("a row");
    let cells: Vec<&str> = row.split('\t').map(str::trim).collect();
    assert_eq!(cells[1..4], ["1", "0", "0"], "{stats}");
    daemon.stop();
}

/// Objects are made, changed and deleted without a manifest.
#[test]
fn objects_are_made_from_flags() {
    let world = World::of_the_loop();
    let mut daemon = world.up(&["manifests"]);
    let run = |line: &str| -> String {
        let mut args: Vec<&str> = line.split(' ').collect();
        args.extend(["--state", "state"]);
        let stderr = world.tagtide(&args).exits(0).stderr;
        stderr.lines().filter(|line| !line.starts_with("target: ")).collect::<Vec<_>>().join("\n")
    };
    daemon.wait_for("the first scan", |daemon| {
        let repository = daemon.get("imagerepository", "testservice")?;
        repository["status"]["lastScanResult"].is_object().then_some(())
    });
    let create =
        "create image policy newest --image-ref=testservice --select-alpha=asc --label a=b";
    let said = |what: &str| {
        format!(
            "✚ generating ImagePolicy\n► applying ImagePolicy\n✔ ImagePolicy {what}\n\
             ◎ waiting for ImagePolicy reconciliation\n✔ ImagePolicy reconciliation completed"
        )
    };
    assert_eq!(run(create), said("created"));
    assert_eq!(run(&create.replace("asc", "desc")), said("updated"));
    let policy = daemon.get("imagepolicy", "newest").expect("it was made");
    assert_eq!(policy["metadata"]["labels"]["a"], "b");
    assert_eq!(policy["spec"]["policy"]["alphabetical"]["order"], "desc");

    let secret = "create secret git git-auth --url=https://git.example/a --username=u --password=p";
    let said = "► git secret 'git-auth' created in 'flux-system' namespace";
    assert_eq!(run(secret), said);
    assert_eq!(run(&secret.replace("=p", "=q")), said);
    let secret = daemon.get("secret", "git-auth").expect("it was made");
    assert_eq!(secret["data"], serde_json::json!({"password": "cQ==", "username": "dQ=="}));

    let deleted = run("delete image policy newest -s");
    assert!(deleted.ends_with("✔ image policy deleted"), "{deleted}");
    daemon
        .wait_for("its end", |daemon| daemon.get("imagepolicy", "newest").is_none().then_some(()));
    daemon.stop();
}
