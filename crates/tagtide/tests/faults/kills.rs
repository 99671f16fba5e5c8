//! The process is killed at each durable step, and the next run leads to where it would have led.

use std::{collections::BTreeSet, path::Path};

use api::Kind;
use apiserver::{OnDamage, Server};
use clock::Clock;
use controllers::state::State;
use serde_json::Value;

use crate::world::{APP, FLEET, Ran, SOURCE, World, app, automation, choice};

/// The branch that is written to.
const BRANCH: &str = "updates";

/// The branch that a refspec copies it to.
const MIRRORED: &str = "mirrored";

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

/// What a run leads to.
#[derive(Debug, PartialEq)]
struct End {
    /// The tree of the branch, and the number of commits that made it.
    tree: String,
    n_bot: usize,
    /// What the refspec names besides, if a run that keeps something pushes it.
    mirrored: Option<String>,
    /// The kept statuses, without times, and with `TIP` for the commit at the tip.
    statuses: Vec<String>,
}

impl Killing {
    /// Nothing has run yet.
    fn new(memory: Memory) -> Killing {
        let world = World::with_files(&[(APP, &app("app", "1.0.0"))]);
        world.push("app", &["1.1.0"]);
        world.manifest("source", SOURCE);
        world.manifest("app", &choice("app", "semver: {range: '>=1.0.0'}"));
        // Who keeps nothing cannot know that the second push is still to be made.
        let refspec = match memory {
            Memory::Kept => format!(", refspec: 'refs/heads/{BRANCH}:refs/heads/{MIRRORED}'"),
            Memory::None => String::new(),
        };
        world.manifest("automation", &automation("app", &format!("{{branch: {BRANCH}{refspec}}}")));
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
            assert_eq!(self.world.temporary(), [""; 0], "step {step}");
            if self.memory == Memory::Kept {
                // Every commit is told of, by the run that made it or by the next.
                let told: BTreeSet<_> = [&killed, &ran].into_iter().flat_map(commits).collect();
                assert_eq!(told, BTreeSet::from([self.tip_of(BRANCH)]), "step {step}");
            }
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
        let mirrored = format!("refs/heads/{MIRRORED}");
        for name in [&name, &mirrored] {
            self.world.git.git(FLEET, &["update-ref", "-d", name]);
        }
        if let Some(tip) = &self.tip {
            self.world.git.git(FLEET, &["update-ref", &name, tip]);
            if self.memory == Memory::Kept {
                self.world.git.git(FLEET, &["update-ref", &mirrored, tip]);
            }
        }
        drop(std::fs::remove_dir_all(self.world.state()));
        let saved = self.saved.path().join("state");
        if saved.exists() {
            copy(&saved, &self.world.state());
        }
    }

    fn end(&self) -> End {
        let tree = self.world.git.git(FLEET, &["rev-parse", &format!("{BRANCH}^{{tree}}")]);
        let mirrored = self.world.git.repositories().resolve(FLEET, MIRRORED);
        let tip = self.tip_of(BRANCH);
        let mirrored = mirrored.map(|id| if id == tip { "TIP".to_owned() } else { id });
        let statuses = match self.memory {
            Memory::Kept => statuses(&self.world.state(), &tip),
            Memory::None => Vec::new(),
        };
        let tree = tree.trim_end().to_owned();
        End { tree, n_bot: self.world.n_bot(BRANCH), mirrored, statuses }
    }

    fn tip_of(&self, branch: &str) -> String {
        self.world.git.git(FLEET, &["rev-parse", branch]).trim_end().to_owned()
    }
}

/// Returns the commits that a run told of.
fn commits(ran: &Ran) -> Vec<String> {
    let commits = ran.report["commits"].as_array().into_iter().flatten();
    commits.map(|commit| commit["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Returns what a state folder has as last statuses, in a form that two runs can have in common.
fn statuses(folder: &Path, tip: &str) -> Vec<String> {
    let state = State::open(folder).expect("no process uses it");
    assert_eq!(state.notices(), [""; 0]);
    let objects = Server::open(&state.objects(), Clock::real(), OnDamage::Refuse);
    let (objects, _) = objects.expect("it is sound");
    let status = |kind: Kind, name: &str| {
        let names = kind.names();
        let stored_as = format!("{}.{}", names.plural, names.group);
        let status = objects.kept_status(&stored_as, kind.as_str(), "flux-system", name);
        let mut status = status.expect("it was kept");
        drop_times(&mut status);
        format!("{kind} {}", status.to_string().replace(tip, "TIP"))
    };
    let names = ["fleet", "app", "app", "app"];
    Kind::ALL.into_iter().zip(names).map(|(kind, name)| status(kind, name)).collect()
}

/// Takes away when something was done, and leaves whether it was.
fn drop_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name.ends_with("Time") && value.is_string() {
                    *value = "TIME".into();
                }
                drop_times(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(drop_times),
        _ => {}
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
