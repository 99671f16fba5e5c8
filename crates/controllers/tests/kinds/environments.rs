//! Three environments for ten minutes: everything that is done, told and asked for, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use controllers::Settings;
use expect_test::expect;
use tokio_util::sync::CancellationToken;

use super::{
    image_loop::{ENVIRONMENTS, three_environments},
    world::World,
};

/// What CI pushes just before a minute ends.
const PUSHED: [(usize, &[&str]); 4] = [
    (1, &["branch-dev-1715557000-f12a34b"]),
    // It was built earlier and took longer.
    (3, &["branch-dev-1715556500-0ddba11"]),
    (5, &["branch-staging-1715558000-c0ffee1"]),
    (7, &["branch-dev-1715559000-d00d1e5", "release-1.11.0", "release-1.12.0-rc.1"]),
];

/// Writes down what is new in a world since the last look.
struct Diary {
    text: String,
    n_moves: usize,
    n_registry: usize,
    n_git: usize,
    told: BTreeSet<String>,
}

impl Diary {
    fn new() -> Diary {
        Diary { text: String::new(), n_moves: 0, n_registry: 0, n_git: 0, told: BTreeSet::new() }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    async fn note(&mut self, world: &World, minute: usize) {
        self.line(&format!("minute {minute}"));
        let moves = world.git.moves("fleet").expect("it is there");
        let new = moves.iter().skip(std::mem::replace(&mut self.n_moves, moves.len()));
        let branches: BTreeSet<&str> =
            new.filter_map(|step| step.reference.strip_prefix("refs/heads/image-")).collect();
        for branch in branches.iter().map(|branch| format!("image-{branch}")) {
            let branch = branch.as_str();
            self.line(&format!("  {branch} {}", choice_on(world, branch)));
        }
        let events = world.events("envs").await;
        for event in events.lines().filter(|event| event.contains(" ×")) {
            if self.told.insert(event.to_owned()) {
                self.line(&format!("  {event}"));
            }
        }
        let writes = count(&world.take_writes(), "/status");
        let registry = world.registry.requests();
        let n_registry = registry.len() - std::mem::replace(&mut self.n_registry, registry.len());
        let git = world.git_requests.lock().expect("no test panics with it").clone();
        let new = &git[std::mem::replace(&mut self.n_git, git.len())..];
        let n_pushes = new.iter().filter(|line| *line == "POST git-receive-pack").count();
        // How many automations that run at a time share a request is a matter of threads.
        let git = match n_pushes {
            0 => format!("{} to the Git host", new.len()),
            n => format!("{n} pushes"),
        };
        self.line(&format!("  statuses {writes}"));
        self.line(&format!("  requests {n_registry} to the registry, {git}"));
    }
}

/// Returns the line that an environment's marker is on.
fn choice_on(world: &World, branch: &str) -> String {
    let environment = branch.trim_start_matches("image-update-");
    let file = world.file("fleet", branch, &format!("apps/{environment}/core.yaml"));
    let line = file.lines().find(|line| line.contains("$imagepolicy")).unwrap_or_default();
    line.trim().split(" #").next().unwrap_or_default().to_owned()
}

/// Counts writes by the object they are of.
fn count(writes: &[String], of: &str) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for write in writes.iter().filter(|write| write.ends_with(of)) {
        let object: Vec<&str> = write.trim_end_matches(of).rsplit('/').take(2).collect();
        *counts.entry(format!("{}/{}", object[1], object[0])).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(of, n)| format!("{of} ×{n}")).collect();
    counts.join(", ")
}

#[tokio::test(start_paused = true)]
#[expect(clippy::too_many_lines, reason = "it is the diary of ten minutes")]
async fn ten_minutes_of_three_environments() {
    let world = three_environments();
    world.apply(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: envs}
spec: {image: registry.example/app, interval: 1m}
",
    );
    world.take_writes();
    let driver = Arc::new(world.driver(Settings::default()));
    let stop = CancellationToken::new();
    let (token, running) = (stop.clone(), Arc::clone(&driver));
    let run = tokio::spawn(async move { running.run(token).await });
    let mut diary = Diary::new();
    // A look is never at the instant of a run.
    tokio::time::sleep(Duration::from_secs(50)).await;
    for minute in 0..10 {
        diary.note(&world, minute).await;
        let pushed = PUSHED.iter().find(|(at, _)| *at == minute).map_or(&[][..], |(_, tags)| tags);
        for tag in pushed {
            world.registry.push("app", tag);
            diary.line(&format!("  CI pushes {tag}"));
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    stop.cancel();
    run.await.expect("the driver ends");
    expect![[r#"
        minute 0
          image-update-dev tag: branch-dev-1715556000-b45d67e
          image-update-production tag: release-1.10.0
          image-update-staging tag: branch-staging-1715555000-a12b34c
          Normal GitRepository/fleet Succeeded ×1: resolved revision 'main@sha1:8bc0443d8763ce8af9acb993acccddf8dec95846'
          Normal ImagePolicy/dev Succeeded ×1: Latest image tag for registry.example/app resolved to branch-dev-1715556000-b45d67e
          Normal ImagePolicy/production Succeeded ×1: Latest image tag for registry.example/app resolved to release-1.10.0
          Normal ImagePolicy/staging Succeeded ×1: Latest image tag for registry.example/app resolved to branch-staging-1715555000-a12b34c
          Normal ImageRepository/app Succeeded ×1: successful scan: found 7 tags with checksum sha256:783f5e65a3fcca24376641ec30bd3f319efaa3ddd7cf83dbee208d6ad8b8950c
          Normal ImageUpdateAutomation/dev Succeeded ×1: pushed commit '9c87e24' to branch 'image-update-dev'
          Normal ImageUpdateAutomation/production Succeeded ×1: pushed commit '6a7b14e' to branch 'image-update-production'
          Normal ImageUpdateAutomation/staging Succeeded ×1: pushed commit '79793dd' to branch 'image-update-staging'
          Warning ImagePolicy/dev DependencyNotReady ×1: retrying in 30s error: no tags in database
          Warning ImagePolicy/production DependencyNotReady ×1: retrying in 30s error: no tags in database
          Warning ImagePolicy/staging DependencyNotReady ×1: retrying in 30s error: no tags in database
          statuses gitrepositories/fleet ×3, imagepolicies/dev ×3, imagepolicies/production ×3, imagepolicies/staging ×3, imagerepositories/app ×3, imageupdateautomations/dev ×2, imageupdateautomations/production ×2, imageupdateautomations/staging ×2
          requests 2 to the registry, 3 pushes
        minute 1
          statuses imagerepositories/app ×1
          requests 1 to the registry, 1 to the Git host
          CI pushes branch-dev-1715557000-f12a34b
        minute 2
          image-update-dev tag: branch-dev-1715557000-f12a34b
          Normal ImagePolicy/dev Succeeded ×1: Latest image tag for registry.example/app resolved to branch-dev-1715557000-f12a34b (previously registry.example/app:branch-dev-1715556000-b45d67e)
          Normal ImageRepository/app Succeeded ×1: successful scan: found 8 tags with checksum sha256:4dc3b59d05d4913535538ea0cd37cfe33b35aad04d2633c5802ce9cd089af1f1
          Normal ImageUpdateAutomation/dev Succeeded ×1: pushed commit 'a76c3a7' to branch 'image-update-dev'
          statuses imagepolicies/dev ×1, imagerepositories/app ×1, imageupdateautomations/dev ×1, imageupdateautomations/production ×1, imageupdateautomations/staging ×1
          requests 1 to the registry, 1 pushes
        minute 3
          statuses imagerepositories/app ×1
          requests 1 to the registry, 1 to the Git host
          CI pushes branch-dev-1715556500-0ddba11
        minute 4
          Normal ImageRepository/app Succeeded ×1: successful scan: found 9 tags with checksum sha256:e107c0ddc1dd6d49e4e7f2caed2ff6819dbc8d715d363ff96518925ba276a98f
          statuses imagerepositories/app ×1
          requests 1 to the registry, 1 to the Git host
        minute 5
          statuses imagerepositories/app ×1
          requests 1 to the registry, 1 to the Git host
          CI pushes branch-staging-1715558000-c0ffee1
        minute 6
          image-update-staging tag: branch-staging-1715558000-c0ffee1
          Normal ImagePolicy/staging Succeeded ×1: Latest image tag for registry.example/app resolved to branch-staging-1715558000-c0ffee1 (previously registry.example/app:branch-staging-1715555000-a12b34c)
          Normal ImageRepository/app Succeeded ×1: successful scan: found 10 tags with checksum sha256:5cf0e49dc4dab16bf0df3c936d1b3e73ff1afa9ac9adad0dff9aee8dcc210e63
          Normal ImageUpdateAutomation/staging Succeeded ×1: pushed commit 'bf798b1' to branch 'image-update-staging'
          statuses imagepolicies/staging ×1, imagerepositories/app ×1, imageupdateautomations/dev ×1, imageupdateautomations/production ×1, imageupdateautomations/staging ×1
          requests 1 to the registry, 1 pushes
        minute 7
          statuses imagerepositories/app ×1
          requests 1 to the registry, 1 to the Git host
          CI pushes branch-dev-1715559000-d00d1e5
          CI pushes release-1.11.0
          CI pushes release-1.12.0-rc.1
        minute 8
          image-update-dev tag: branch-dev-1715559000-d00d1e5
          image-update-production tag: release-1.11.0
          Normal ImagePolicy/dev Succeeded ×1: Latest image tag for registry.example/app resolved to branch-dev-1715559000-d00d1e5 (previously registry.example/app:branch-dev-1715557000-f12a34b)
          Normal ImagePolicy/production Succeeded ×1: Latest image tag for registry.example/app resolved to release-1.11.0 (previously registry.example/app:release-1.10.0)
          Normal ImageRepository/app Succeeded ×1: successful scan: found 13 tags with checksum sha256:91e2c24b638c4e95aadcd28406fef76795aea6982166cafc179a43b5ba280790
          Normal ImageUpdateAutomation/dev Succeeded ×1: pushed commit '7670cf3' to branch 'image-update-dev'
          Normal ImageUpdateAutomation/production Succeeded ×1: pushed commit '76385f2' to branch 'image-update-production'
          statuses imagepolicies/dev ×1, imagepolicies/production ×1, imagerepositories/app ×1, imageupdateautomations/dev ×1, imageupdateautomations/production ×1, imageupdateautomations/staging ×1
          requests 1 to the registry, 2 pushes
        minute 9
          statuses imagerepositories/app ×1
          requests 1 to the registry, 1 to the Git host
    "#]].assert_eq(&diary.text);
    let mut standing = String::new();
    for (kind, name) in objects() {
        standing += &format!("{kind}/{name} {}", world.conditions(kind, "envs", name).await);
    }
    expect![[r#"
        GitRepository/fleet Ready True Succeeded resolved revision 'main@sha1:8bc0443d8763ce8af9acb993acccddf8dec95846'
        ImageRepository/app Ready True Succeeded successful scan: found 13 tags with checksum sha256:91e2c24b638c4e95aadcd28406fef76795aea6982166cafc179a43b5ba280790
        ImagePolicy/dev Ready True Succeeded Latest image tag for registry.example/app resolved to branch-dev-1715559000-d00d1e5 (previously registry.example/app:branch-dev-1715557000-f12a34b)
        ImageUpdateAutomation/dev Ready True Succeeded repository up-to-date
        ImagePolicy/staging Ready True Succeeded Latest image tag for registry.example/app resolved to branch-staging-1715558000-c0ffee1 (previously registry.example/app:branch-staging-1715555000-a12b34c)
        ImageUpdateAutomation/staging Ready True Succeeded repository up-to-date
        ImagePolicy/production Ready True Succeeded Latest image tag for registry.example/app resolved to release-1.11.0 (previously registry.example/app:release-1.10.0)
        ImageUpdateAutomation/production Ready True Succeeded repository up-to-date
    "#]].assert_eq(&standing);
}

fn objects() -> Vec<(&'static str, &'static str)> {
    let mut objects = vec![("GitRepository", "fleet"), ("ImageRepository", "app")];
    for (name, ..) in ENVIRONMENTS {
        objects.extend([("ImagePolicy", name), ("ImageUpdateAutomation", name)]);
    }
    objects
}
