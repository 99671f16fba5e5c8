//! What is wrong with one object, policy, file or marker hurts nothing else.

use expect_test::expect;

use super::world::{HELM_RELEASE, LOOP, RELEASE, SECRET, TAGS, World};

const UNKNOWN: &str = "tag: 1.0 # {\"$imagepolicy\": \"flux-system:nobody:tag\"}\n";
const WRONG_PART: &str = "tag: 1.0 # {\"$imagepolicy\": \"flux-system:testservice:version\"}\n";
const BROKEN: &str = "tag: [ # {\"$imagepolicy\": \"flux-system:testservice:tag\"}\n";
const RUN: &[&str] = &["run", "--once", "manifests"];

/// Objects that are wrong, each in its own way, and one of an older version that is not.
const OTHERS: &str = r#"
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: undecodable, namespace: flux-system}
spec: {image: [registry.example/testservice], interval: 5m}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: odd, namespace: flux-system}
spec: {image: registry.example/odd, interval: 5m}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: illegal-tag, namespace: flux-system}
spec:
  imageRepositoryRef: {name: odd}
  policy: {semver: {range: ">=1.0.0"}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: bad-pattern, namespace: flux-system}
spec:
  imageRepositoryRef: {name: testservice}
  filterTags: {pattern: "(", extract: "$1"}
  policy: {alphabetical: {order: asc}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: two-ways, namespace: flux-system}
spec:
  imageRepositoryRef: {name: testservice}
  policy: {alphabetical: {order: asc}, numerical: {order: asc}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: orphan, namespace: flux-system}
spec:
  imageRepositoryRef: {name: nobody}
  policy: {alphabetical: {order: asc}}
---
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImagePolicy
metadata: {name: older-version, namespace: flux-system}
spec:
  imageRepositoryRef: {name: testservice}
  policy: {alphabetical: {order: desc}}
"#;

#[test]
fn one_bad_object_policy_file_or_marker_hurts_nothing_else() {
    let illegal = "tag: 0.9 # {\"$imagepolicy\": \"flux-system:illegal-tag:tag\"}\n";
    let older = "tag: x # {\"$imagepolicy\": \"flux-system:older-version:tag\"}\n";
    let world = World::with_files(&[
        ("apps/dev/broken.yaml", BROKEN),
        ("apps/dev/illegal.yaml", illegal),
        ("apps/dev/older.yaml", older),
        (RELEASE, HELM_RELEASE),
        ("apps/dev/unknown.yaml", UNKNOWN),
    ]);
    world.registry.push_tag("odd", "1.0.0+build.5");
    world.write("manifests/loop.yaml", &format!("{LOOP}---\n{SECRET}"));
    world.write("manifests/others.yaml", OTHERS);

    world.tagtide(RUN).exits(1).says(&expect![[r#"
        ✔ GitRepository flux-system/flux-system-write  resolved revision 'dev@sha1:COMMIT'
        ✗ ImagePolicy flux-system/bad-pattern  InvalidPolicy: failed to filter tags: invalid regular expression pattern '(': error parsing regexp: missing closing ): `(`
        ✗ ImagePolicy flux-system/illegal-tag  Failure: `1.0.0+build.5` is not a tag: expected up to 128 of A-Z a-z 0-9 _ . - and neither . nor - first
        ✔ ImagePolicy flux-system/older-version  Latest image tag for registry.example/testservice resolved to branch-dev-1715555000-a12b34c
        ✗ ImagePolicy flux-system/orphan  DependencyNotReady: failed to get the referred ImageRepository: referenced ImageRepository does not exist: ImageRepository.image.toolkit.fluxcd.io "nobody" not found
        ✔ ImagePolicy flux-system/testservice  Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e
        ✔ ImagePolicy flux-system/two-ways  Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e
        ✔ ImageRepository flux-system/odd  successful scan: found 1 tags with checksum sha256:b8cbb5643637fef2fb5687024467a7d75ca94974a5ed3754a0f2d9fb936b8d4d
        ✔ ImageRepository flux-system/testservice  successful scan: found 2 tags with checksum sha256:ff13c00e421eeb9c3294e9e3fc814d7136483ec580a2f899e7516f3673f00cbd
        ✗ ImageRepository flux-system/undecodable  Invalid: manifests/others.yaml:2: ImageRepository.image.toolkit.fluxcd.io "undecodable" is invalid: spec.image: Invalid value: "array": spec.image in body must be of type string: "array"
        ✔ ImageUpdateAutomation flux-system/dev  repository up-to-date
        apps/dev/older.yaml:1:6: x → branch-dev-1715555000-a12b34c  (flux-system/older-version)
        apps/dev/testservice.yaml:13:12: branch-dev → branch-dev-1715556000-b45d67e  (flux-system/testservice)
        commit COMMIT on image-update-dev by flux-system/dev
        apps/dev/broken.yaml:1:6: Unreadable: the file holds markers but does not parse: unclosed bracket '['
        apps/dev/unknown.yaml:1:6: UnknownPolicy: marker `flux-system:nobody:tag` has no effect: no namespace has the policy flux-system/nobody
    "#]], &expect![[r#"
        notice: manifests/others.yaml:41: ImagePolicy flux-system/older-version: `image.toolkit.fluxcd.io/v1beta2` is read as `image.toolkit.fluxcd.io/v1`
        notice: ImageUpdateAutomation flux-system/dev: MarkersIgnored: apps/dev/broken.yaml:1:6: Unreadable: the file holds markers but does not parse: unclosed bracket '['
        apps/dev/unknown.yaml:1:6: UnknownPolicy: marker `flux-system:nobody:tag` has no effect: no namespace has the policy flux-system/nobody
    "#]]);
    let changed = world.git(&["diff", "--name-only", "dev", "image-update-dev"]);
    assert_eq!(changed, format!("apps/dev/older.yaml\n{RELEASE}\n"));
    // The others fail again, and nothing is written again.
    world.tagtide(RUN).exits(1);
    assert_eq!(world.n_commits("dev..image-update-dev"), 1);
    world.fsck();
}

#[test]
fn ignored_markers_are_a_notice_and_no_failure() {
    let world = World::with_files(&[
        ("apps/dev/broken.yaml", BROKEN),
        (RELEASE, HELM_RELEASE),
        ("apps/dev/unknown.yaml", UNKNOWN),
        ("apps/dev/wrong.yaml", WRONG_PART),
    ]);
    world.write("manifests/loop.yaml", &format!("{LOOP}---\n{SECRET}"));
    let ran = world.tagtide(&[RUN, &["-o", "json"]].concat()).exits(0);
    expect![[r#"
        notice: ImageUpdateAutomation flux-system/dev: MarkersIgnored: apps/dev/broken.yaml:1:6: Unreadable: the file holds markers but does not parse: unclosed bracket '['
        apps/dev/unknown.yaml:1:6: UnknownPolicy: marker `flux-system:nobody:tag` has no effect: no namespace has the policy flux-system/nobody
        apps/dev/wrong.yaml:1:10: Setter: marker `flux-system:testservice:version` has no effect: after the policy only `:tag`, `:name` or `:digest` may follow
    "#]].assert_eq(&ran.stderr);
    expect![[r#"
        [
          {
            "column": 6,
            "file": "apps/dev/broken.yaml",
            "line": 1,
            "message": "the file holds markers but does not parse: unclosed bracket '['",
            "reason": "Unreadable"
          },
          {
            "column": 6,
            "file": "apps/dev/unknown.yaml",
            "line": 1,
            "message": "marker `flux-system:nobody:tag` has no effect: no namespace has the policy flux-system/nobody",
            "reason": "UnknownPolicy"
          },
          {
            "column": 10,
            "file": "apps/dev/wrong.yaml",
            "line": 1,
            "message": "marker `flux-system:testservice:version` has no effect: after the policy only `:tag`, `:name` or `:digest` may follow",
            "reason": "Setter"
          }
        ]"#]].assert_eq(&format!("{:#}", ran.json()["problems"]));
    let objects = ran.json()["objects"].to_string();
    // Ready's text stays Flux's.
    assert!(objects.contains("repository up-to-date"), "{objects}");
    assert_eq!(world.n_commits("dev..image-update-dev"), 1);
}

#[test]
fn a_template_that_fails_writes_nothing_and_hurts_no_other_automation() {
    let world = World::of_the_loop();
    let (_, objects) = LOOP.rsplit_once("---\n").expect("the automation comes last");
    let bad = |name: &str, field: &str| {
        objects
            .replace("{name: dev,", &format!("{{name: {name},"))
            .replace("image-update-dev", name)
            .replace("{{ .AutomationObject }}", field)
    };
    world.write(
        "manifests/bad.yaml",
        &[bad("removed-field", "{{ .Updated.Files }}"), bad("no-function", "{{ nosuch . }}")]
            .join("---\n"),
    );
    let ran = world.tagtide(RUN).exits(1);
    let lines = ran.stdout.lines().filter(|line| line.contains("ImageUpdateAutomation"));
    expect![[r#"
        ✔ ImageUpdateAutomation flux-system/dev  repository up-to-date
        ✗ ImageUpdateAutomation flux-system/no-function  GitOperationFailed: failed to update source: unable to create commit message template from spec: template: commit message:3: function "nosuch" not defined
        ✗ ImageUpdateAutomation flux-system/removed-field  RemovedTemplateField: template uses removed '.Updated' field. Please use '.Changed' instead. See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template"#]].assert_eq(&lines.collect::<Vec<_>>().join("\n"));
    let branches = world.git(&["for-each-ref", "--format=%(refname:short)"]);
    assert_eq!(branches, "dev\nimage-update-dev\n");
}

#[test]
fn what_cannot_be_done_yet_is_refused_with_a_clear_condition() {
    let world = World::of_the_loop();
    let commit = "    commit:\n";
    let signed = LOOP.replace(commit, "    commit:\n      signingKey: {secretRef: {name: key}}\n");
    world.write("manifests/loop.yaml", &signed);
    let ran = world.tagtide(RUN).exits(1);
    let line = ran.stdout.lines().find(|line| line.contains("ImageUpdateAutomation"));
    expect!["✗ ImageUpdateAutomation flux-system/dev  NotSupported: spec.git.commit.signingKey is not supported yet, and nothing is pushed unsigned"].assert_eq(line.unwrap_or_default());

    let ssh = LOOP.replace("https://git.example/org", "ssh://git@git.invalid/org");
    world.write("manifests/loop.yaml", &ssh);
    let ran = world.tagtide(RUN).exits(1);
    let lines = ran.stdout.lines().filter(|line| line.starts_with('✗'));
    expect![[r#"
        ✗ GitRepository flux-system/flux-system-write  NotSupported: spec.url with ssh is not supported yet; use an https URL
        ✗ ImageUpdateAutomation flux-system/dev  NotSupported: the GitRepository's spec.url with ssh is not supported yet; use an https URL"#]].assert_eq(&lines.collect::<Vec<_>>().join("\n"));
    assert_eq!(world.git(&["for-each-ref", "--format=%(refname:short)"]), "dev\n");
}

#[test]
fn a_whole_gitops_repository_may_be_given() {
    let world = World::of_the_loop();
    world.write("manifests/apps/release.yaml", HELM_RELEASE);
    world.write(
        "manifests/apps/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [release.yaml]\n",
    );
    world.write("manifests/apps/deployment.yaml", "kind: Deployment\n---\nkind: Deployment\n");
    world.write("manifests/chart/templates/x.yaml", "{{ if .Values.x }}\na: {{ .Values.y }\n");
    world.write("manifests/chart/values.yaml", "image: {tag: 1.0}\n");
    world.write("manifests/.git/config", "[core]\n");
    world.write("manifests/README.md", "# Fleet\n");
    world.write(
        "manifests/encrypted.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: elsewhere}\nstringData: {a: 'ENC[x]'}\nsops: {mac: x}\n",
    );
    let ran = world.tagtide(RUN).exits(0);
    expect![[r#"
        notice: manifests/chart/templates/x.yaml: skipped, it is not YAML (line 1, column 2: this mapping key cannot be a JSON key)
        notice: skipped 5 objects of other kinds: 2 Deployment, 1 HelmRelease, 1 Kustomization, 1 encrypted Secret
    "#]].assert_eq(&ran.stderr);
    assert_eq!(world.n_commits("dev..image-update-dev"), 1);
}

#[test]
fn suspended_objects_are_left_alone_with_a_notice() {
    let world = World::of_the_loop();
    let spec = "spec:\n  interval: 5m\n  sourceRef";
    world.write(
        "manifests/loop.yaml",
        &LOOP.replace(spec, &spec.replacen("5m", "5m\n  suspend: true", 1)),
    );
    let ran = world.tagtide(RUN).exits(0);
    expect![[r#"
        notice: ImageUpdateAutomation flux-system/dev: Suspended: reconciliation is suspended for this object
    "#]].assert_eq(&ran.stderr);
    assert_eq!(world.git(&["for-each-ref", "--format=%(refname:short)"]), "dev\n");
}

#[test]
fn the_same_object_in_two_files_is_settled_or_refused() {
    let world = World::of_the_loop();
    world.write("manifests/copy/loop.yaml", LOOP);
    world.tagtide(RUN).exits(0);
    let (before, _) = LOOP.rsplit_once("---\n").expect("the automation comes last");
    world.write("manifests/copy/loop.yaml", &before.replace("order: asc", "order: desc"));
    let ran = world.tagtide(RUN).exits(1);
    let line = ran.stdout.lines().find(|line| line.contains("Ambiguous"));
    expect!["manifests/copy/loop.yaml:11:1: Ambiguous: ImagePolicy flux-system/testservice stands differently in manifests/copy/loop.yaml:11, manifests/loop.yaml:11; give only the paths whose version is meant"].assert_eq(line.unwrap_or_default());
    assert_eq!(world.n_commits("dev..image-update-dev"), 1);
    assert!(
        world
            .file("image-update-dev", RELEASE)
            .windows(30)
            .any(|w| w.starts_with(TAGS[1].as_bytes()))
    );
}
