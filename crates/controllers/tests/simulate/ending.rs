//! What a life leaves behind, without what depends on its course: times, versions, the names of
//! commits, and what was chosen in between.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::history::{Evidence as _, Hosted};

use super::{
    judge::{get, objects, values},
    life::{BOT, FLEET, Life, text},
    objects::{image_name, path},
    plan::Target,
};

/// Fields of a status that tell of its course.
const COURSE: [&str; 6] = [
    "lastTransitionTime",
    "scanTime",
    "lastAutomationRunTime",
    "lastPushTime",
    "observedPreviousRef",
    "lastHandledReconcileAt",
];

/// The statuses, and what the branches hold.
#[derive(Debug)]
pub(super) struct Ending {
    of: BTreeMap<String, String>,
}

impl Ending {
    /// Returns what a life leaves; `knows_pushes` says whether statuses know of every push.
    pub(super) async fn of(life: &Life<'_>, knows_pushes: bool) -> Ending {
        let mut of = BTreeMap::new();
        for (kind, name) in objects(life) {
            let mut status = get(life, kind, &name).await["status"].take();
            if let Some(commit) = status.get_mut("lastPushCommit") {
                *commit = match commit.as_str() {
                    Some(_) if !knows_pushes => Value::Null,
                    Some(id) if Some(id) == last_push(life, &name).as_deref() => "the last".into(),
                    _ => commit.take(),
                };
            }
            let mut status = without_course(status).to_string();
            for (reference, tip) in life.references() {
                status = status.replace(&tip, &format!("the tip of {reference}"));
            }
            of.insert(format!("{kind} {name}"), status);
        }
        for (automation, target) in life.plan.automations.iter().enumerate() {
            for image in 0..life.plan.policies.len() {
                let (branch, path) = (life.branch(automation), path(automation, image));
                let file = text(&life.world.git_host, &branch, &path);
                let held = match target {
                    Target::Main => file,
                    // Whether a person meets a branch or what it is made of is a matter of time.
                    Target::Own => values(&file).join(" "),
                };
                of.insert(format!("{branch}:{path} ({})", image_name(image)), held);
            }
        }
        Ending { of }
    }

    /// Says what differs from a life in which nothing went wrong.
    pub(super) fn compare(&self, calm: &Ending) -> Result<(), String> {
        let keys = self.of.keys().chain(calm.of.keys());
        for key in keys {
            let (this, other) = (self.of.get(key), calm.of.get(key));
            if this != other {
                return Err(format!(
                    "{key} ends differently than without faults:\n  {}\n  {}",
                    this.map_or("-", String::as_str),
                    other.map_or("-", String::as_str)
                ));
            }
        }
        Ok(())
    }
}

/// Returns the last commit that an automation pushed.
fn last_push(life: &Life<'_>, automation: &str) -> Option<String> {
    let automation = automation.strip_prefix("auto")?.parse().ok()?;
    let repository = Hosted { host: &life.world.git_host, name: FLEET };
    let folder = format!("env{automation}/");
    let mut next = life.world.git_host.tip(FLEET, &life.branch(automation));
    while let Some(id) = next {
        let commit = repository.commit(&id);
        let parent = commit.parents.first().cloned()?;
        let changes = repository.changes(&parent, &id);
        if commit.author == BOT && changes.iter().any(|change| change.path.starts_with(&folder)) {
            return Some(id);
        }
        next = Some(parent);
    }
    None
}

fn without_course(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let left = fields.into_iter().filter(|(name, _)| !COURSE.contains(&name.as_str()));
            left.map(|(name, value)| (name, without_course(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_course).collect(),
        Value::String(text) => Value::String(choice_alone(&text).to_owned()),
        other => other,
    }
}

/// Returns a message without what was chosen before.
fn choice_alone(message: &str) -> &str {
    let Some(start) = message.find(" resolved to ") else { return message };
    let start = start + " resolved to ".len();
    let end = message[start..].find([' ', ':']).map_or(message.len(), |end| start + end);
    &message[..end]
}
