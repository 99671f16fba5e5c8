//! `lint`: every marker below a folder, and what is wrong with it.

use expect_test::expect;

use super::world::{Desk, HELM_RELEASE, LOOP};

/// A folder with a sound marker and one of each fault.
fn fleet() -> Desk {
    let desk = Desk::new();
    desk.write("fleet/sound.yaml", HELM_RELEASE);
    desk.write("fleet/unmarked.yaml", "a: [\n");
    desk.write("fleet/notes.txt", "a: [ # {\"$imagepolicy\": \"x\"}\n");
    desk.write(
        "fleet/broken.yml",
        "ok: 1\ntag: [ # {\"$imagepolicy\": \"flux-system:testservice\"}\n",
    );
    desk.write(
        "fleet/Kustomization",
        "images:\n- name: x\n  newTag: 1.0 # {\"$imagepolicy\": \"flux-system:testservice:version\"}\n\
         \x20 newName: y # {\"$imagepolicy\": \"testservice\"}\n",
    );
    desk.write(
        "fleet/sub/places.yaml",
        "a: # {\"$imagepolicy\": \"flux-system:testservice\"}\n  b: 1\nc: 2\n\
         d: 1.0 # {\"$imagepolicy\": \"flux-system:nobody:tag\"}\n",
    );
    desk
}

#[test]
fn every_broken_marker_is_named_with_its_place() {
    let desk = fleet();
    desk.tagtide(&["lint", "fleet"]).exits(1).says(&expect![[r#"
        Kustomization:3:15: Setter: marker `flux-system:testservice:version` has no effect: after the policy only `:tag`, `:name` or `:digest` may follow
        Kustomization:4:14: Setter: marker `testservice` has no effect: write it as `namespace:policy`, `:tag`, `:name` or `:digest` may follow
        broken.yml:2:6: Unreadable: the file holds markers but does not parse: unclosed bracket '['
        sub/places.yaml:1:4: Misplaced: marker `flux-system:testservice` has no effect: it stands on a key without a scalar value on its line; put it behind a scalar value
    "#]], &expect![[r#"
        2 sound markers in 4 files, 4 problems
    "#]]);
}

#[test]
fn a_policy_is_unknown_only_where_policies_are_defined() {
    let desk = fleet();
    desk.write("fleet/policies.yaml", LOOP);
    let ran = desk.tagtide(&["lint", "fleet", "-o", "json"]).exits(1);
    expect![[r#"
        {
          "objects": [],
          "changes": [],
          "commits": [],
          "problems": [
            {
              "file": "Kustomization",
              "line": 3,
              "column": 15,
              "reason": "Setter",
              "message": "marker `flux-system:testservice:version` has no effect: after the policy only `:tag`, `:name` or `:digest` may follow"
            },
            {
              "file": "Kustomization",
              "line": 4,
              "column": 14,
              "reason": "Setter",
              "message": "marker `testservice` has no effect: write it as `namespace:policy`, `:tag`, `:name` or `:digest` may follow"
            },
            {
              "file": "broken.yml",
              "line": 2,
              "column": 6,
              "reason": "Unreadable",
              "message": "the file holds markers but does not parse: unclosed bracket '['"
            },
            {
              "file": "sub/places.yaml",
              "line": 1,
              "column": 4,
              "reason": "Misplaced",
              "message": "marker `flux-system:testservice` has no effect: it stands on a key without a scalar value on its line; put it behind a scalar value"
            },
            {
              "file": "sub/places.yaml",
              "line": 4,
              "column": 4,
              "reason": "UnknownPolicy",
              "message": "marker `flux-system:nobody:tag` has no effect: no namespace has the policy flux-system/nobody"
            }
          ]
        }
    "#]].assert_eq(&ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_sound_folder_passes() {
    let desk = Desk::new();
    desk.write("fleet/a.yaml", HELM_RELEASE);
    desk.write("fleet/policies.yaml", LOOP);
    desk.tagtide(&["lint", "fleet"]).exits(0).says(
        &expect![[r#""#]],
        &expect![[r#"
            1 sound marker in 1 file, 0 problems
        "#]],
    );
    let ran = desk.tagtide(&["lint", "fleet", "-o", "json"]).exits(0);
    expect![[r#"
        {
          "objects": [],
          "changes": [],
          "commits": [],
          "problems": []
        }
    "#]]
    .assert_eq(&ran.stdout);
    let ran = desk.tagtide(&["lint", "nowhere"]).exits(1);
    expect![[r#"
        error: cannot read folder nowhere: No such file or directory (os error 2)
    "#]]
    .assert_eq(&ran.stderr);
    desk.tagtide(&["lint"]).exits(2);
}

/// A file that nobody can read, whatever they may: it is larger than any manifest.
pub(crate) fn write_unreadable(path: &std::path::Path) {
    let file = std::fs::File::create(path).expect("the folder can be written");
    file.set_len(65 << 20).expect("the file system takes sparse files");
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_of_its_own() {
    let desk = Desk::new();
    desk.write("fleet/a.yaml", HELM_RELEASE);
    desk.write("fleet/policies.yaml", LOOP);
    write_unreadable(&desk.path("fleet/huge.yaml"));
    desk.tagtide(&["lint", "fleet"]).exits(1).says(
        &expect![[r#"
            huge.yaml:1:1: Unreadable: fleet/huge.yaml is over 67108864 bytes
        "#]],
        &expect![[r#"
            1 sound marker in 1 file, 1 problem
        "#]],
    );
}
