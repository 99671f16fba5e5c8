//! The loop: a new tag becomes one commit that changes one value.

use expect_test::expect;
use testkit::History;

use super::world::{
    HELM_RELEASE, IMAGE, LOOP, NEWER, POLICY, RELEASE, SECRET, TAGS, World, entries,
};

#[test]
fn a_newer_tag_becomes_one_commit_that_changes_one_value() {
    let world = World::of_the_loop();
    let run = || world.tagtide(&["run", "--once", "manifests"]);

    run().exits(0).says(
        &expect![[r#"
            ✔ GitRepository flux-system/flux-system-write  resolved revision 'dev@sha1:COMMIT'
            ✔ ImagePolicy flux-system/testservice  Latest image tag for registry.example/testservice resolved to branch-dev-1715556000-b45d67e
            ✔ ImageRepository flux-system/testservice  successful scan: found 2 tags with checksum sha256:ff13c00e421eeb9c3294e9e3fc814d7136483ec580a2f899e7516f3673f00cbd
            ✔ ImageUpdateAutomation flux-system/dev  repository up-to-date
            apps/dev/testservice.yaml:13:12: branch-dev → branch-dev-1715556000-b45d67e  (flux-system/testservice)
            commit COMMIT on image-update-dev by flux-system/dev
        "#]],
        &expect![[r#""#]],
    );
    let log = world.git(&["log", "--format=%an <%ae>%n%cn <%ce>%n%B", "dev..image-update-dev"]);
    expect![[r#"
        FluxBot <flux@example.com>
        FluxBot <flux@example.com>
        Automated image update

        Automation name: flux-system/dev

        Files:
        - testservice.yaml

    "#]]
    .assert_eq(&log);
    let first = HELM_RELEASE.replace("tag: branch-dev ", &format!("tag: {} ", TAGS[1]));
    assert_eq!(world.file("image-update-dev", RELEASE), first.as_bytes());

    world.push(&[NEWER]);
    run().exits(0);
    assert_eq!(world.n_commits("dev..image-update-dev"), 2);
    let diff =
        world.git(&["diff", "--unified=0", "--no-color", "image-update-dev~", "image-update-dev"]);
    expect![[r#"
        diff --git a/apps/dev/testservice.yaml b/apps/dev/testservice.yaml
        index 7fcde1c..f82cf3a 100644
        --- a/apps/dev/testservice.yaml
        +++ b/apps/dev/testservice.yaml
        @@ -13 +13 @@ spec:
        -      tag: branch-dev-1715556000-b45d67e # {"$imagepolicy": "flux-system:testservice:tag"}
        +      tag: branch-dev-1715557000-f12a34b # {"$imagepolicy": "flux-system:testservice:tag"}
    "#]]
    .assert_eq(&diff);

    let tip = world.repositories().resolve(super::world::FLEET, "image-update-dev");
    run().exits(0);
    assert_eq!(world.repositories().resolve(super::world::FLEET, "image-update-dev"), tip);
    // The branch that was checked out is a person's.
    assert_eq!(world.n_commits("dev"), 1);
    world.fsck();
    let mut history = History::of_bot("FluxBot");
    for tag in [TAGS[1], NEWER] {
        history.record_choice(POLICY, IMAGE, tag);
    }
    history.check(world.repositories(), super::world::FLEET);
    assert_eq!(entries(&world.path("home")), [""; 0]);
}

#[test]
fn every_other_byte_of_a_file_stays() {
    let crlf = HELM_RELEASE.replace('\n', "\r\n");
    let bom = format!("\u{feff}{HELM_RELEASE}");
    let odd = "spec:\n   values:\n         image: {a: 1}\n         list:\n         -    x\n         \
               -    \"branch-dev\"   # {\"$imagepolicy\": \"flux-system:testservice:tag\"}   \n\n\n# end";
    let single = "a:   'branch-dev'# no comment\nb: 'branch-dev' # {\"$imagepolicy\": \"flux-system:testservice:tag\"}\n...\n";
    let mixed = "a: 1\r\nb: branch-dev # {\"$imagepolicy\": \"flux-system:testservice:tag\"}\nc: ü\u{2028}\r\n\r\n";
    let files: Vec<(&str, String)> = vec![
        ("apps/dev/crlf.yaml", crlf),
        ("apps/dev/bom.yaml", bom),
        ("apps/dev/odd.yml", odd.to_owned()),
        ("apps/dev/mixed.yaml", mixed.to_owned()),
        ("apps/dev/Kustomization", single.replace("'# no comment", "' # no comment")),
        ("apps/dev/other.txt", mixed.to_owned()),
        ("apps/prod/out-of-path.yaml", mixed.to_owned()),
    ];
    let world = World::with_files(&files);
    world.write("all.yaml", &format!("{LOOP}---\n{SECRET}"));
    world.tagtide(&["run", "--once", "all.yaml"]).exits(0);
    let marked = |path: &str| path.starts_with("apps/dev/") && !path.ends_with(".txt");
    for (path, old) in &files {
        // The first of two equal values of `Kustomization` has no marker.
        let at = old.rfind("branch-dev").expect("every file has the value");
        let mut new = old.clone();
        if marked(path) {
            new.replace_range(at..at + "branch-dev".len(), TAGS[1]);
        }
        assert_eq!(String::from_utf8_lossy(&world.file("image-update-dev", path)), new, "{path}");
    }
    assert_eq!(world.n_commits("dev..image-update-dev"), 1);
    world.fsck();
}
