//! The process is killed at each durable step, and the next run leads to where it would have led.

use std::path::Path;

use crate::world::{APP, FLEET, Ran, SOURCE, World, app, automation, choice};

/// The branch that is written to.
const BRANCH: &str = "updates";

/// What a process exits with that a signal ended: nothing.
const KILLED: Option<i32> = None;

const CHOSEN: [(&str, &str); 2] = [("app", "1.1.0"), ("app", "1.2.0")];

#[test]
fn killed_in_its_first_run_it_leads_to_the_same_refs_with_state() {
    Killing::new(Memory::Kept).check();
}

#[test]
fn killed_in_its_first_run_it_leads_to_the_same_refs_without_state() {
    Killing::new(Memory::None).check();
}

#[test]
fn killed_in_a_later_run_it_leads_to_the_same_refs_with_state() {
    Killing::after_a_run(Memory::Kept).check();
}

#[test]
fn killed_in_a_later_run_it_leads_to_the_same_refs_without_state() {
    Killing::after_a_run(Memory::None).check();
}

#[derive(Clone, Copy, PartialEq)]
enum Memory {
    Kept,
    None,
}

/// A world and how it is before the run that is killed.
struct Killing {
    world: World,
    memory: Memory,
    tip: Option<String>,
    saved: tempfile::TempDir,
}

/// What a run leads to: the tree of the branch, and the number of commits that made it.
#[derive(Debug, PartialEq)]
struct End {
    tree: String,
    n_bot: usize,
}

impl Killing {
    /// Nothing has run yet.
    fn new(memory: Memory) -> Killing {
        let world = World::with_files(&[(APP, &app("app", "1.0.0"))]);
        world.push("app", &["1.1.0"]);
        world.manifest("source", SOURCE);
        world.manifest("app", &choice("app", "semver: {range: '>=1.0.0'}"));
        world.manifest("automation", &automation("app", &format!("{{branch: {BRANCH}}}")));
        let saved = tempfile::TempDir::new().expect("a temporary folder");
        Killing { world, memory, tip: None, saved }
    }

    /// One run has come to its end, and there is a newer tag since.
    fn after_a_run(memory: Memory) -> Killing {
        let mut killing = Killing::new(memory);
        killing.run(&[]).exited(0);
        killing.world.push("app", &["1.2.0"]);
        let tip = killing.world.git.git(FLEET, &["rev-parse", BRANCH]);
        killing.tip = Some(tip.trim_end().to_owned());
        if memory == Memory::Kept {
            copy(&killing.world.state(), &killing.saved.path().join("state"));
        }
        killing
    }

    /// Kills a run at each of its steps in turn, and compares where the next one leads.
    #[track_caller]
    fn check(&self) {
        let ran = self.run(&[("TAGTIDE_LOG_LEVEL", "off,durable=trace")]).exited(0);
        let n_steps = ran.stderr.lines().filter(|line| line.contains("Durable step")).count();
        assert!(n_steps >= 8, "{}", ran.stderr);
        let expected = self.end();
        for step in 1..=n_steps {
            self.reset();
            let killed = self.run(&[("TAGTIDE_ABORT_AT", &step.to_string())]);
            assert_eq!(killed.code, KILLED, "step {step}: {}", killed.stderr);
            let ran = self.run(&[]).exited(0);
            assert_eq!(ran.failed(), [""; 0]);
            assert_eq!(self.end(), expected, "step {step}");
            assert_eq!(leftovers(&self.world.state()), [""; 0], "step {step}");
        }
        // It looks at the objects of all steps, reachable or not.
        self.world.check(&CHOSEN);
    }

    fn run(&self, variables: &[(&str, &str)]) -> Ran {
        let state = self.world.state().display().to_string();
        let args: &[&str] = if self.memory == Memory::Kept { &["--state", &state] } else { &[] };
        self.world.run_with(args, variables)
    }

    /// Makes everything as it was before the first run that [`Killing::check`] makes.
    fn reset(&self) {
        let name = format!("refs/heads/{BRANCH}");
        self.world.git.git(FLEET, &["update-ref", "-d", &name]);
        if let Some(tip) = &self.tip {
            self.world.git.git(FLEET, &["update-ref", &name, tip]);
        }
        drop(std::fs::remove_dir_all(self.world.state()));
        let saved = self.saved.path().join("state");
        if saved.exists() {
            copy(&saved, &self.world.state());
        }
    }

    fn end(&self) -> End {
        let tree = self.world.git.git(FLEET, &["rev-parse", &format!("{BRANCH}^{{tree}}")]);
        End { tree: tree.trim_end().to_owned(), n_bot: self.world.n_bot(BRANCH) }
    }
}

/// Returns what a killed run left behind in a state folder and the next one did not take away:
/// files that were to replace others, spooled packs, and all but one generation of a mirror.
fn leftovers(folder: &Path) -> Vec<String> {
    let (mut leftovers, mut generations) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let is_spooled = folder.ends_with("tmp");
        if is_spooled || name.ends_with(".new") || name.ends_with(".next") {
            leftovers.push(name);
        } else if path.is_dir() {
            if path.join("packed-refs").exists() || path.join("HEAD").exists() {
                generations.push(name);
            }
            leftovers.extend(self::leftovers(&path));
        }
    }
    leftovers.extend(generations.into_iter().skip(1));
    leftovers
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the temporary folder can be written");
    for entry in std::fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the temporary folder can be written");
        }
    }
}
