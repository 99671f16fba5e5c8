//! Several environments in one repository and one process, and where their commits go.

use expect_test::expect;
use testkit::RequestKind;

use super::world::{FLEET, HELM_RELEASE, LOOP, NEWER, RELEASE, SECRET, TAGS, World};

struct Environment {
    name: &'static str,
    pattern: &'static str,
    policy: &'static str,
    before: &'static str,
    first: &'static str,
    second: &'static str,
}

const ENVIRONMENTS: [Environment; 3] = [
    Environment {
        name: "dev",
        pattern: "^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$",
        policy: "numerical: {order: asc}",
        before: "branch-dev",
        first: TAGS[1],
        second: NEWER,
    },
    Environment {
        name: "staging",
        pattern: "^branch-staging-(?P<ts>[0-9]+)-[0-9a-f]+$",
        policy: "numerical: {order: asc}",
        before: "branch-staging",
        first: "branch-staging-999-c0ffee1",
        second: "branch-staging-1000-d00d1e5",
    },
    Environment {
        name: "production",
        pattern: "^release-(?P<ts>.+)$",
        policy: "semver: {range: '>=1.0.0'}",
        before: "release-1.9.0",
        first: "release-1.9.1",
        second: "release-1.10.0",
    },
];

impl Environment {
    fn path(&self) -> String {
        format!("apps/{}/testservice.yaml", self.name)
    }

    fn branch(&self) -> String {
        format!("image-update-{}", self.name)
    }

    fn release(&self, tag: &str) -> String {
        let marker = format!("flux-system:testservice-{}:tag", self.name);
        HELM_RELEASE
            .replace("flux-system:testservice:tag", &marker)
            .replace("tag: branch-dev ", &format!("tag: {tag} "))
    }

    /// The three objects, beside the one GitRepository.
    fn manifests(&self) -> String {
        let (_, objects) = LOOP.split_once("---\n").expect("a source comes first");
        objects
            .replace("{name: testservice", &format!("{{name: testservice-{}", self.name))
            .replace("^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$", self.pattern)
            .replace("numerical: {order: asc}", self.policy)
            .replace("{name: dev,", &format!("{{name: {},", self.name))
            .replace("image-update-dev", &self.branch())
            .replace("./apps/dev", &format!("./apps/{}", self.name))
    }
}

#[test]
fn three_environments_work_side_by_side() {
    let files = ENVIRONMENTS.map(|environment| {
        (environment.path(), environment.release(environment.before).into_bytes())
    });
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes)).collect();
    let world = World::with_files(&files);
    let (source, _) = LOOP.split_once("---\n").expect("a source comes first");
    world.write("manifests/source.yaml", &format!("{source}---\n{SECRET}"));
    for environment in &ENVIRONMENTS {
        world.write(&format!("manifests/{}.yaml", environment.name), &environment.manifests());
        world.push(&[environment.before, environment.first]);
    }
    let check = |pick: fn(&Environment) -> &str, n_commits: usize| {
        for environment in &ENVIRONMENTS {
            let branch = environment.branch();
            let file = world.file(&branch, &environment.path());
            let expected = environment.release(pick(environment));
            assert_eq!(String::from_utf8_lossy(&file), expected, "{branch}");
            assert_eq!(world.n_commits(&format!("dev..{branch}")), n_commits, "{branch}");
            let paths = world.git(&["diff", "--name-only", "dev", &branch]);
            assert_eq!(paths.trim(), environment.path());
        }
    };

    let ran = world.tagtide(&["run", "--once", "manifests", "-o", "json"]).exits(0);
    check(|environment| environment.first, 1);
    let commits = &ran.json()["commits"];
    expect![[r#"
        [
          {
            "automation": "flux-system/dev",
            "branch": "image-update-dev",
            "id": "COMMIT"
          },
          {
            "automation": "flux-system/production",
            "branch": "image-update-production",
            "id": "COMMIT"
          },
          {
            "automation": "flux-system/staging",
            "branch": "image-update-staging",
            "id": "COMMIT"
          }
        ]"#]]
    .assert_eq(&format!("{commits:#}"));

    world.push(&ENVIRONMENTS.map(|environment| environment.second));
    world.git.reset_traffic();
    world.tagtide(&["run", "--once", "manifests"]).exits(0);
    check(|environment| environment.second, 2);
    // One mirror serves all three, and what is listed once is not listed again for each.
    assert!(world.git.traffic(RequestKind::Push).n_requests <= 3);
    world.fsck();
}

#[test]
fn without_a_push_branch_commits_go_to_the_branch_that_was_checked_out() {
    for push in ["", "    push: {branch: dev}\n"] {
        let world = World::of_the_loop();
        world.write(
            "manifests/loop.yaml",
            &LOOP.replace("    push: {branch: image-update-dev}\n", push),
        );
        for (tag, n_commits) in [(TAGS[1], 2), (NEWER, 3), (NEWER, 3)] {
            world.push(&[tag]);
            world.tagtide(&["run", "--once", "manifests"]).exits(0);
            assert_eq!(world.n_commits("dev"), n_commits);
            let file = String::from_utf8(world.file("dev", RELEASE)).expect("text");
            assert!(file.contains(&format!("tag: {tag} #")), "{file}");
        }
        assert_eq!(world.git(&["for-each-ref", "--format=%(refname)"]).trim(), "refs/heads/dev");
        world.fsck();
    }
}

#[test]
fn a_persons_commit_on_the_push_branch_is_built_upon() {
    let world = World::of_the_loop();
    world.tagtide(&["run", "--once", "manifests"]).exits(0);
    let branch = "image-update-dev";
    let human = world.git.commit_as_human(FLEET, branch, &[("notes.txt", "kept\n")]);
    world.push(&[NEWER]);
    world.tagtide(&["run", "--once", "manifests"]).exits(0);
    let parent = world.repositories().resolve(FLEET, "image-update-dev~");
    assert_eq!(parent, Some(human));
    assert_eq!(world.file(branch, "notes.txt"), b"kept\n");
    assert_eq!(world.n_commits("dev..image-update-dev"), 3);
    world.fsck();
}
