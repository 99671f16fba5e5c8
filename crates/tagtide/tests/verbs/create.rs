//! `create … --export`: what needs no API.

use serde_json::Value;

use super::world::{Desk, Said, golden};

/// Every recorded invocation prints what flux printed, byte for byte, its quirks included.
#[tokio::test]
async fn every_invocation_prints_what_flux_printed() {
    let (desk, records) = desk();
    let mut differing = Vec::new();
    for record in &records {
        let args = args(record);
        let said = desk.run("flux", &args).await;
        let recorded = Said::recorded(record);
        if said != recorded {
            differing.push(format!("{}\n{recorded:#?}\n{said:#?}", args.join(" ")));
        }
    }
    assert!(differing.is_empty(), "{} differ, first {}", differing.len(), differing[0]);
}

/// By our own name, what Flux would write although it cannot work is refused with its reason.
#[tokio::test]
async fn what_cannot_work_is_refused_by_our_own_name() {
    let (desk, _) = desk();
    let check = async |line: &str, expected: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        let said = desk.run("tagtide", &args).await;
        assert_eq!((said.exit, said.stdout.as_str()), (1, ""), "{line}");
        assert_eq!(said.stderr, format!("✗ {expected}\n"), "{line}");
    };
    check(
        "create image policy pol --image-ref=web --select-semver=1.x --select-alpha=asc --export",
        "only one of --select-semver, --select-alpha or --select-numeric can be specified",
    )
    .await;
    check(
        "create image policy pol --image-ref=web --select-semver=x.y.z --export",
        "invalid policy: improper constraint: \"x.y.z\"",
    )
    .await;
    check(
        "create image repository web --image=https://ghcr.io/x --export",
        "--image: image 'https://ghcr.io/x' should not include URL scheme; remove 'https://'",
    )
    .await;
    check(
        "create secret helm hh --export",
        "there is nothing to put into the Secret; give it credentials or certificates",
    )
    .await;
    let always = "create image policy pol --image-ref=web --select-semver=1.x --reflect-digest=Always --export";
    let said = desk.run("tagtide", &always.split(' ').collect::<Vec<_>>()).await;
    assert_eq!((said.exit, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains("spec.interval"), "{}", said.stderr);
}

/// What works is the same by both names.
#[tokio::test]
async fn what_works_is_the_same_by_both_names() {
    let (desk, _) = desk();
    for line in [
        "create image repository web --image=ghcr.io/acme/web --scan-timeout=30s --label=a=b --export",
        "create image policy pol --image-ref=web --select-numeric=desc --filter-regex=^v(?P<n>[0-9]+) --filter-extract=$n --export",
        "create image update upd --git-repo-ref=fleet --checkout-branch=main --author-name=B --author-email=b@x.io --export",
        "create source git src --url=https://github.com/acme/fleet --branch=main --export",
        "create secret git gg --url=https://x/y --bearer-token=t --export",
        "create secret tls tt --tls-crt-file=tls.crt --tls-key-file=tls.key --ca-crt-file=tls.crt --export",
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let by_link = desk.run("flux", &args).await;
        assert_eq!((by_link.exit, by_link.stderr.as_str()), (0, ""), "{line}");
        assert_eq!(desk.run("tagtide", &args).await, by_link, "{line}");
    }
}

/// A key that belongs to another certificate is told before a server would.
#[tokio::test]
async fn a_key_must_match_its_certificate() {
    let (desk, _) = desk();
    let line = "create secret tls tt --tls-crt-file=tls.crt --tls-key-file=app.pem --export";
    let said = desk.run("flux", &line.split(' ').collect::<Vec<_>>()).await;
    let expected =
        "✗ invalid TLS certificate and key pair: tls: private key does not match public key\n";
    assert_eq!((said.exit, said.stderr.as_str()), (1, expected));
    let line = "create secret tls tt --tls-crt-file=msg.txt --tls-key-file=tls.key --export";
    let said = desk.run("flux", &line.split(' ').collect::<Vec<_>>()).await;
    let expected = "✗ invalid TLS certificate and key pair: tls: failed to find any PEM data in certificate input\n";
    assert_eq!((said.exit, said.stderr.as_str()), (1, expected));
}

fn desk() -> (Desk, Vec<Value>) {
    let desk = Desk::new();
    let mut records = golden("create.jsonl.gz");
    let files = records.remove(0);
    for (name, text) in files["files"].as_object().expect("the first line holds the files") {
        desk.write(name, text.as_str().expect("a text"));
    }
    (desk, records)
}

fn args(record: &Value) -> Vec<&str> {
    let args = record["args"].as_array().expect("arguments");
    args.iter().map(|arg| arg.as_str().expect("a text")).collect()
}
