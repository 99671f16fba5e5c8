//! What is asked of the command line itself.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::world::{Desk, World};

#[tokio::test]
async fn texts_go_to_standard_output() {
    let desk = Desk::new();
    let version = concat!("flux version ", env!("CARGO_PKG_VERSION"), "\n");
    for args in [["--version"], ["-v"]] {
        assert_eq!(desk.run("flux", &args).await.stdout, version);
    }
    for args in [vec![], vec!["--help"], vec!["help"]] {
        let said = desk.run("flux", &args).await;
        assert_eq!((said.exit, said.stderr.as_str()), (0, ""));
        assert!(
            said.stdout.contains("\n  reconcile   Reconcile sources and resources\n"),
            "{said:?}"
        );
    }
    let leaf = desk.run("tagtide", &["get", "images", "policy", "-h"]).await.stdout;
    assert!(leaf.contains("Usage:\n  tagtide get images policy [name] [flags]\n"), "{leaf}");
    assert!(leaf.contains("      --state string "), "{leaf}");
    let leaf = desk.run("flux", &["help", "get", "images", "policy"]).await.stdout;
    assert!(!leaf.contains("--state"), "{leaf}");
}

#[tokio::test]
async fn mistakes_end_with_one() {
    let desk = Desk::new();
    let check = async |program: &str, line: &str, expected: &str| {
        let said = desk.run(program, &line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((said.exit, said.stdout.as_str()), (1, ""), "{line}");
        assert_eq!(said.stderr, format!("✗ {expected}\n"), "{line}");
    };
    check("flux", "nosuch", "unknown command \"nosuch\" for \"flux\"").await;
    check("flux", "run --once", "unknown command \"run\" for \"flux\"").await;
    check("flux", "get all -o json", "unknown shorthand flag: 'o' in -o").await;
    check("tagtide", "get all --nosuch", "unknown flag: --nosuch").await;
    check("tagtide", "get all -o table", "--output must be json or yaml, not table").await;
    let later = "`tagtide bootstrap` is not yet supported: so far there are image automation and Git sources";
    check("tagtide", "bootstrap github", later).await;
    check("flux", "version --client -o xml", "--output must be json or yaml, not xml").await;
}

#[tokio::test]
async fn every_shell_gets_its_script() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        for program in ["flux", "tagtide"] {
            let said = desk.run(program, &["completion", shell]).await;
            assert_eq!((said.exit, said.stderr.as_str()), (0, ""), "{shell}");
            for word in [program, "reconcile", "label-selector"] {
                assert!(said.stdout.contains(word), "{word} is not in the script for {shell}");
            }
        }
    }
}

/// What is there comes first, then what changes; time ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_is_and_what_becomes() {
    let (desk, world) = (Desk::new(), World::new().await);
    let kubeconfig = desk.kubeconfig("kubeconfig", &world.url());
    let kubeconfig = kubeconfig.to_str().expect("a path");
    let place = ["-n", "envs", "--kubeconfig", kubeconfig];
    let mut watching = desk
        .command(
            "flux",
            &[&["get", "image", "update", "-w", "--timeout", "2m"], &place[..]].concat(),
        )
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
    let mut next = async || {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = line.expect("in time").expect("UTF-8").expect("a line");
        line.split('\t').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(next().await[..2], ["NAME", "LAST RUN"]);
    for name in ["dev", "production", "staging"] {
        let row = next().await;
        assert_eq!([&row[0], &row[2]], [name, "False"]);
    }
    desk.run("flux", &[&["suspend", "image", "update", "staging"], &place[..]].concat()).await;
    let row = next().await;
    assert_eq!([&row[0], &row[2]], ["staging", "True"]);
    watching.kill().await.expect("it runs");

    let ended = desk
        .run("flux", &[&["get", "image", "update", "-w", "--timeout", "1s"], &place[..]].concat())
        .await;
    assert_eq!((ended.exit, ended.stderr.as_str()), (1, "✗ timed out waiting for the condition\n"));
}
