//! The objects and files of a life.

use super::{
    life::BOT,
    plan::{Plan, Scheme, Target},
};

/// What every marker holds in the beginning.
const INITIAL: &str = "init";

pub(super) fn image_name(image: usize) -> String {
    format!("app{image}")
}

pub(super) fn path(automation: usize, image: usize) -> String {
    format!("env{automation}/app{image}.yaml")
}

pub(super) fn own_branch(automation: usize) -> String {
    format!("auto{automation}")
}

pub(super) fn file(image: usize) -> String {
    format!(
        "kind: App\r\nreplicas: 1\r\ntag: '{INITIAL}'  # {{\"$imagepolicy\": \"sim:app{image}:tag\"}}\r\n\
         image: registry.test/app{image}:{INITIAL} # {{\"$imagepolicy\": \"sim:app{image}\"}}"
    )
}

pub(super) fn rank_of(scheme: Scheme, tag: &str) -> u64 {
    (0..100).find(|rank| scheme.tag(*rank) == tag).expect("the tag was made by this scheme")
}

pub(super) fn manifests(plan: &Plan) -> String {
    let mut manifests = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: sim}
spec: {interval: 1m, timeout: 20s, ref: {branch: main}, url: 'https://git.test/fleet.git'}
"
    .to_owned();
    for (image, scheme) in plan.policies.iter().enumerate() {
        manifests += &format!(
            "---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: app{image}, namespace: sim}}
spec: {{image: registry.test/app{image}, interval: 1m, timeout: 20s}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {{name: app{image}, namespace: sim}}
spec: {{imageRepositoryRef: {{name: app{image}}}, {}}}
",
            scheme.spec()
        );
    }
    for (automation, target) in plan.automations.iter().enumerate() {
        let push = match target {
            Target::Main => String::new(),
            Target::Own => format!(", push: {{branch: {}}}", own_branch(automation)),
        };
        manifests += &format!(
            "---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {{name: auto{automation}, namespace: sim}}
spec:
  interval: 1m
  sourceRef: {{kind: GitRepository, name: fleet}}
  git: {{checkout: {{ref: {{branch: main}}}}, commit: {{author: {{name: {BOT}, email: bot@example.com}}}}{push}}}
  update: {{path: ./env{automation}}}
"
        );
    }
    manifests
}
