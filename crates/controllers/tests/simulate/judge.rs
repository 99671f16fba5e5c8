//! What must be true of a life.

use std::{cmp::Ordering, collections::BTreeMap};

use api::TagList;
use automation::policy::Policy;
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;
use testkit::history::{Evidence, History, Hosted};

use super::{
    life::{BOT, FLEET, Life, text},
    objects::{image_name, path},
    plan::Scheme,
};

pub(super) struct Judge {
    policies: Vec<Policy>,
}

impl Judge {
    pub(super) fn of(life: &Life<'_>) -> Judge {
        Judge { policies: life.plan.policies.iter().map(|&scheme| policy(scheme)).collect() }
    }

    /// Liveness: everything is ready, and every branch carries what its policies choose.
    pub(super) async fn choices(&self, life: &Life<'_>) -> Result<(), String> {
        for (kind, name) in objects(life) {
            let object = get(life, kind, &name).await;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_ready =
                |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
            if !conditions.iter().any(is_ready) || conditions.len() != 1 {
                return Err(format!("{kind} {name} is not simply ready: {conditions:?}"));
            }
        }
        for image in 0..self.policies.len() {
            let expected = self.winner(image, life.world.registry.tags(&image_name(image)));
            let status = get(life, api::Kind::ImagePolicy, &image_name(image)).await;
            let latest = &status["status"]["latestRef"]["tag"];
            if *latest != *expected {
                return Err(format!("app{image} has chosen {latest} and not {expected}"));
            }
            for automation in 0..life.plan.automations.len() {
                let branch = life.branch(automation);
                let file = text(&life.world.git_host, &branch, &path(automation, image));
                for value in values(&file) {
                    if value != expected {
                        return Err(format!(
                            "{branch} holds {value} for app{image}, not {expected}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Stability: no reference moves, no event is told, and a run costs one write of a status.
    pub(super) fn rest(
        &self,
        life: &Life<'_>,
        before: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let after = life.references();
        if after != *before {
            return Err(format!("references moved without a reason: {before:?} to {after:?}"));
        }
        let trouble = life.wire.trouble();
        if let Some(event) = trouble.events.first() {
            return Err(format!("an event without news, of {}: {event}", trouble.events.len()));
        }
        // The first run may come at once.
        let n_each = life.plan.rest as usize + 1;
        let n_runs = (life.plan.policies.len() + life.plan.automations.len()) * n_each;
        if trouble.n_statuses > n_runs {
            return Err(format!("{} writes of a status in {n_runs} runs", trouble.n_statuses));
        }
        Ok(())
    }

    /// Safety: nothing but choices was written, on top of what was there, and never backwards.
    pub(super) fn history(&self, life: &Life<'_>) -> Result<(), String> {
        let repository = Hosted { host: &life.world.git_host, name: FLEET };
        let violations = self.chosen(life).violations_in(&repository);
        if let Some(violation) = violations.first() {
            return Err(format!("{violation} (and {} more)", violations.len() - 1));
        }
        for step in repository.moves() {
            let Some(new) = &step.new else { continue };
            for commit in repository.between(step.old.as_deref(), new) {
                if commit.author == BOT {
                    self.forwards(life, &repository, &commit.parents[0], &commit.id)?;
                }
            }
        }
        Ok(())
    }

    /// What was done is told once at least: every choice that stands, and every push by a process
    /// that keeps what it had in hand.
    pub(super) async fn told(&self, life: &Life<'_>) -> Result<(), String> {
        let events = events(life).await;
        for image in 0..self.policies.len() {
            let tag = self.winner(image, life.world.registry.tags(&image_name(image)));
            let name = image_name(image);
            let sentence = format!("Latest image tag for registry.test/{name} resolved to {tag}");
            let is_it = |(about, text): &(String, String)| {
                *about == format!("ImagePolicy/{name}")
                    && text.strip_prefix(&sentence).is_some_and(|rest| !rest.starts_with(is_word))
            };
            if !events.iter().any(is_it) {
                return Err(format!("nobody was told that {name} chose {tag}"));
            }
        }
        let repository = Hosted { host: &life.world.git_host, name: FLEET };
        for commit in pushed(&repository).iter().filter(|_| life.plan.keeps_all()) {
            let sentence = format!("pushed commit '{}'", &commit[..7]);
            if !events.iter().any(|(_, text)| text.starts_with(&sentence)) {
                return Err(format!("nobody was told of the commit {commit}"));
            }
        }
        Ok(())
    }

    /// Returns everything that a policy may have chosen from some listing.
    fn chosen(&self, life: &Life<'_>) -> History {
        let mut history = History::of_bot(BOT);
        let mut record = |image: usize, tags: Vec<String>| {
            let name = image_name(image);
            let choice = self.choice(image, tags);
            if let Some(tag) = choice {
                history.record_choice(
                    &format!("sim:{name}"),
                    &format!("registry.test/{name}"),
                    &tag,
                );
            }
        };
        for (image, tags) in &life.states {
            record(*image, tags.iter().cloned().collect());
        }
        for (name, tags) in &life.wire.trouble().halves {
            let image = (0..self.policies.len()).find(|&image| image_name(image) == *name);
            record(image.expect("only our images are listed"), tags.clone());
        }
        history
    }

    fn forwards(
        &self,
        life: &Life<'_>,
        repository: &Hosted<'_>,
        parent: &str,
        commit: &str,
    ) -> Result<(), String> {
        for change in repository.changes(parent, commit) {
            let (Some((old, new)), Some(image)) = (change.edited, image_of(&change.path)) else {
                continue;
            };
            let (old, new) = (String::from_utf8_lossy(&old), String::from_utf8_lossy(&new));
            for (old, new) in values(&old).into_iter().zip(values(&new)) {
                let falls = self.policies[image].compare(new, old) == Some(Ordering::Less);
                if falls && !life.deleted.contains(&(image, old.to_owned())) {
                    return Err(format!("{commit} goes back from {old} to {new} for app{image}"));
                }
            }
        }
        Ok(())
    }

    fn winner(&self, image: usize, tags: Vec<String>) -> String {
        self.choice(image, tags).expect("one tag that can be chosen is always left")
    }

    fn choice(&self, image: usize, tags: Vec<String>) -> Option<String> {
        let mut list = TagList::new();
        tags.iter().for_each(|tag| list.push(tag));
        list.sort_descending();
        self.policies[image].latest(&list).ok().map(|choice| choice.tag.to_owned())
    }
}

/// Returns the tips that the process gave to branches.
fn pushed(repository: &Hosted<'_>) -> Vec<String> {
    let tips = repository.moves().into_iter().filter_map(|step| step.new);
    tips.filter(|tip| repository.commit(tip).author == BOT).collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Returns what was told, and of whom.
async fn events(life: &Life<'_>) -> Vec<(String, String)> {
    use k8s_openapi::api::core::v1::Event;
    let events: kube::Api<Event> = kube::Api::namespaced(life.world.kube(), "sim");
    let events = events.list(&kube::api::ListParams::default()).await.expect("the API is there");
    let line = |event: Event| {
        let about = event.involved_object;
        let about =
            format!("{}/{}", about.kind.unwrap_or_default(), about.name.unwrap_or_default());
        (about, event.message.unwrap_or_default())
    };
    let taken = life.wire.trouble().told.clone();
    events.items.into_iter().chain(taken).map(line).collect()
}

fn policy(scheme: Scheme) -> Policy {
    let spec = format!("{{imageRepositoryRef: {{name: x}}, {}}}", scheme.spec());
    let document = yaml::documents(spec.as_bytes()).remove(0);
    let value = document.expect("it parses").value;
    let spec: api::image::ImagePolicySpec =
        serde_json::from_value(value).expect("it is a policy's spec");
    Policy::new(&spec.policy, spec.filter_tags.as_ref()).expect("it is valid")
}

pub(super) fn objects(life: &Life<'_>) -> Vec<(api::Kind, String)> {
    let mut objects = vec![(api::Kind::GitRepository, FLEET.to_owned())];
    for image in 0..life.plan.policies.len() {
        objects.push((api::Kind::ImageRepository, image_name(image)));
        objects.push((api::Kind::ImagePolicy, image_name(image)));
    }
    let automations = 0..life.plan.automations.len();
    objects.extend(automations.map(|n| (api::Kind::ImageUpdateAutomation, format!("auto{n}"))));
    objects
}

pub(super) async fn get(life: &Life<'_>, kind: api::Kind, name: &str) -> Value {
    let names = kind.names();
    let resource = ApiResource {
        group: names.group.to_owned(),
        version: names.version.to_owned(),
        api_version: kind.api_version(),
        kind: names.kind.to_owned(),
        plural: names.plural.to_owned(),
    };
    let objects: kube::Api<DynamicObject> =
        kube::Api::namespaced_with(life.world.kube(), "sim", &resource);
    let object = objects.get(name).await.expect("the object is there");
    serde_json::to_value(object).expect("an object is JSON")
}

/// Returns the tags that the two markers of a file hold.
pub(super) fn values(file: &str) -> Vec<&str> {
    let marked = file.lines().filter(|line| line.contains("$imagepolicy"));
    marked
        .filter_map(|line| line.split(" #").next())
        .filter_map(|value| value.trim().rsplit([':', ' ']).next())
        .map(|value| value.trim_matches('\''))
        .collect()
}

fn image_of(path: &str) -> Option<usize> {
    path.split_once("/app")?.1.strip_suffix(".yaml")?.parse().ok()
}
