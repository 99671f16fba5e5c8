//! The history checker finds each thing a bot must not do, and nothing else.

use testkit::{GitServer, History, Violation};

const FILE: &str = "apps/app.yaml";

#[test]
fn a_bot_that_behaves_is_left_alone() {
    let world = World::start();
    world.bot_pushes("branch-dev", "1.0.0");
    world.server.commit_as_human("repo", "main", &[("README.md", "a human was here\n")]);
    world.bot_pushes("1.0.0", "1.1.0");
    let mut history = world.history();
    history.record_choice("ns:app", "registry.test/app", "1.1.0");
    history.check(world.server.repositories(), "repo");
}

#[test]
fn a_value_that_nobody_chose_is_found() {
    let world = World::start();
    let commit = world.bot_pushes("branch-dev", "0.9.0");
    let violation = Violation::NotChosen {
        commit,
        path: FILE.to_owned(),
        policy: "ns:app:tag".to_owned(),
        value: "0.9.0".to_owned(),
    };
    assert_eq!(world.violations(), [violation]);
}

#[test]
fn other_bytes_are_found() {
    for (from, to) in [("name: x\n", "name: y\n"), ("\r\n", "\n"), (" #", "  #"), ("'", "")] {
        let world = World::start();
        let commit = world.bot_pushes(from, to);
        let violation = Violation::MoreThanMarkedValues { commit, path: FILE.to_owned() };
        assert_eq!(world.violations(), [violation], "{from:?} to {to:?}");
    }
}

#[test]
fn an_empty_commit_is_found() {
    let world = World::start();
    let commit = world.bot_pushes("", "");
    assert_eq!(world.violations(), [Violation::EmptyCommit { commit }]);
}

#[test]
fn a_lost_human_commit_is_found() {
    let world = World::start();
    let base = world.tip();
    let human = world.server.commit_as_human("repo", "main", &[("README.md", "precious\n")]);
    world.server.git("repo", &["update-ref", "refs/heads/main", &base]);
    let new = world.bot_commits("branch-dev", "1.0.0");
    world.server.git("repo", &["update-ref", "refs/heads/main", &human]);
    world.server.git("repo", &["update-ref", "refs/heads/main", &new]);
    let reference = "refs/heads/main".to_owned();
    assert_eq!(
        world.violations(),
        [
            Violation::HumanCommitLost { commit: human.clone() },
            Violation::NotOnTop { reference, old: human, new },
        ]
    );
}

struct World {
    server: GitServer,
}

impl World {
    fn start() -> World {
        let server = GitServer::start();
        let file = "name: x\ntag: 'branch-dev' # {\"$imagepolicy\": \"ns:app:tag\"}\r\n";
        server.create_repository("repo", &[(FILE, file)]);
        World { server }
    }

    fn tip(&self) -> String {
        self.server.repositories().resolve("repo", "main").expect("the branch is there")
    }

    /// Commits an edit as the bot on top of the branch and returns the commit.
    fn bot_commits(&self, from: &str, to: &str) -> String {
        let repositories = self.server.repositories();
        let parent = self.tip();
        let file = repositories.file("repo", "main", FILE).expect("the file is there");
        let file = String::from_utf8(file).expect("the file is text").replacen(from, to, 1);
        let path = self.server.path("repo").join("edited");
        std::fs::write(&path, file).expect("the folder can be written");
        let index = self.server.path("repo").join("index");
        let git = |args: &[&str]| {
            let mut command = repositories.command();
            command.current_dir(self.server.path("repo")).env("GIT_INDEX_FILE", &index);
            let output = command.env("GIT_AUTHOR_NAME", "Bot").args(args).output().expect("git");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let blob = git(&["hash-object", "-w", "--no-filters", "edited"]);
        git(&["read-tree", &parent]);
        git(&["update-index", "--cacheinfo", &format!("100644,{blob},{FILE}")]);
        let tree = git(&["write-tree"]);
        git(&["commit-tree", "-p", &parent, "-m", "bot", &tree])
    }

    fn bot_pushes(&self, from: &str, to: &str) -> String {
        let commit = self.bot_commits(from, to);
        self.server.git("repo", &["update-ref", "refs/heads/main", &commit]);
        commit
    }

    fn history(&self) -> History {
        let mut history = History::of_bot("Bot");
        history.record_choice("ns:app", "registry.test/app", "1.0.0");
        history
    }

    fn violations(&self) -> Vec<Violation> {
        self.history().violations(self.server.repositories(), "repo")
    }
}
