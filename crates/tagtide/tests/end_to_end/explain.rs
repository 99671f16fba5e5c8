//! `explain image policy`: a verdict on every tag, offline.

use expect_test::expect;

use super::world::{Desk, LOOP};

const EXPLAIN: &[&str] = &["explain", "image", "policy", "--policy", "policy.yaml"];
const NUMBERS: &str = "latest\nbranch-dev-9-aa\nbranch-dev-10-bb\nbranch-dev-8-cc\n";

fn explain(desk: &Desk, args: &[&str], tags: &str) -> super::world::Ran {
    desk.tagtide_reading(&[EXPLAIN, args].concat(), tags)
}

#[test]
fn every_tag_gets_a_verdict() {
    let desk = Desk::new();
    desk.write("policy.yaml", LOOP);
    explain(&desk, &["--tags", "-"], NUMBERS)
        .exits(0)
        .says(&expect![[r#"
            latest            filtered       does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`
            branch-dev-9-aa   runner-up      `9` is next after the winner
            branch-dev-10-bb  winner         `10` is the highest number
            branch-dev-8-cc   eligible       `10` goes before `8`
        "#]], &expect![[r#"
            winner: branch-dev-10-bb
        "#]]);
}

#[test]
fn the_json_document_has_winner_runner_up_error_and_tags() {
    let desk = Desk::new();
    desk.write("policy.yaml", LOOP);
    let ran = explain(&desk, &["--tags", "-", "-o", "json"], NUMBERS).exits(0);
    expect![[r#"
        {
          "winner": {
            "tag": "branch-dev-10-bb",
            "value": "10"
          },
          "runnerUp": {
            "tag": "branch-dev-9-aa",
            "value": "9"
          },
          "error": null,
          "tags": [
            {
              "tag": "latest",
              "value": null,
              "verdict": "filtered",
              "reason": "does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`"
            },
            {
              "tag": "branch-dev-9-aa",
              "value": "9",
              "verdict": "runner-up",
              "reason": "`9` is next after the winner"
            },
            {
              "tag": "branch-dev-10-bb",
              "value": "10",
              "verdict": "winner",
              "reason": "`10` is the highest number"
            },
            {
              "tag": "branch-dev-8-cc",
              "value": "8",
              "verdict": "eligible",
              "reason": "`10` goes before `8`"
            }
          ]
        }
    "#]]
    .assert_eq(&ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn without_a_winner_the_json_document_holds_the_error() {
    let desk = Desk::new();
    desk.write("policy.yaml", LOOP);
    let ran = explain(&desk, &["--tags", "-", "-o", "json"], "latest\n").exits(1);
    expect![[r#"
        {
          "winner": null,
          "runnerUp": null,
          "error": "version list argument cannot be empty",
          "tags": [
            {
              "tag": "latest",
              "value": null,
              "verdict": "filtered",
              "reason": "does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`"
            }
          ]
        }
    "#]]
    .assert_eq(&ran.stdout);
    assert_eq!(ran.stderr, "");
    let ran = explain(&desk, &["--tags", "-", "-o", "json"], "").exits(1);
    expect![[r#"
        {
          "winner": null,
          "runnerUp": null,
          "error": "version list argument cannot be empty",
          "tags": []
        }
    "#]]
    .assert_eq(&ran.stdout);
}

#[test]
fn tags_are_verbatim_lines_or_json() {
    let desk = Desk::new();
    desk.write(
        "policy.yaml",
        &LOOP.replace("numerical: {order: asc}", "alphabetical: {order: asc}"),
    );
    let verbatim = "a\r\n b \nbranch-dev-1-a\u{7}\n\nlast";
    explain(&desk, &["--tags", "-"], verbatim).exits(1).says(
        &expect![[r#"
            a\r                  filtered       does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`
             b                   filtered       does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`
            branch-dev-1-a\u{7}  filtered       does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`
                                 filtered       does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`
            last                 filtered       does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`
        "#]],
        &expect![[r#"
            no winner: version list argument cannot be empty
        "#]],
    );
    desk.write("tags.txt", "branch-dev-1-a\n");
    desk.write("array.json", r#"["branch-dev-1-a", "x"]"#);
    desk.write("listing.json", r#"{"name": "a", "tags": ["branch-dev-1-a"]}"#);
    for args in
        [["--tags", "tags.txt"], ["--tags-json", "array.json"], ["--tags-json", "listing.json"]]
    {
        let ran = explain(&desk, &args, "").exits(0);
        assert_eq!(ran.stderr, "winner: branch-dev-1-a\n");
    }
    let ran = explain(&desk, &["--tags-json", "-"], r#"{"tags": [1]}"#).exits(1);
    expect![[r#"
        error: standard input is neither an array of strings nor an object with `tags`
    "#]]
    .assert_eq(&ran.stderr);
    let ran = explain(&desk, &["--tags-json", "-"], "nonsense").exits(1);
    expect![[r#"
        error: standard input is not JSON: expected ident at line 1 column 2
    "#]]
    .assert_eq(&ran.stderr);
}

#[test]
fn exclusions_of_the_repository_apply() {
    let desk = Desk::new();
    let spec = "interval: 5m}\n---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy";
    desk.write(
        "policy.yaml",
        &LOOP.replace(spec, &spec.replacen("5m", "5m, exclusionList: ['-10-']", 1)),
    );
    let ran = explain(&desk, &["--tags", "-"], NUMBERS).exits(0);
    expect![[r#"
        latest            filtered       does not match the pattern `^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$`
        branch-dev-9-aa   winner         `9` is the highest number
        branch-dev-10-bb  excluded       matches the exclusion `-10-` of the repository
        branch-dev-8-cc   runner-up      `8` is next after the winner
    "#]].assert_eq(&ran.stdout);
    assert_eq!(ran.stderr, "winner: branch-dev-9-aa\n");
}

#[test]
fn several_policies_need_a_name() {
    let desk = Desk::new();
    let other = LOOP.replace("{name: testservice,", "{name: other,");
    desk.write("policy.yaml", &format!("{LOOP}---\n{other}"));
    let says = |args: &[&str], code: i32| {
        explain(&desk, &[&["--tags", "-"], args].concat(), NUMBERS).exits(code).stderr
    };
    expect![[r#"
        error: policy.yaml holds several ImagePolicies; name one of them
    "#]]
    .assert_eq(&says(&[], 2));
    expect![[r#"
        winner: branch-dev-10-bb
    "#]]
    .assert_eq(&says(&["other"], 0));
    expect![[r#"
        error: policy.yaml holds no ImagePolicy `nobody`
    "#]]
    .assert_eq(&says(&["nobody"], 1));
}

#[test]
fn a_policy_that_is_wrong_is_an_error() {
    let desk = Desk::new();
    for (from, to) in [("[0-9]+)", "[0-9]+"), ("numerical: {order: asc}", "semver: {range: 'a b'}")]
    {
        desk.write("policy.yaml", &LOOP.replace(from, to));
        let ran = explain(&desk, &["--tags", "-", "-o", "json"], NUMBERS).exits(1);
        let json = ran.json();
        assert_eq!(json["winner"], serde_json::Value::Null);
        assert!(json["error"].as_str().is_some_and(|error| !error.is_empty()), "{json}");
    }
    let ran = explain(&desk, &["--tags", "a", "--tags-json", "b"], "").exits(2);
    assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
    explain(&desk, &[], "").exits(2);
}
