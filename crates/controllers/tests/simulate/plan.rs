//! What happens in a life, all of it decided by the seed.

use std::time::Duration;

use super::random::Random;

/// For how long things go wrong.
pub(super) const TROUBLE: Duration = Duration::from_secs(4 * 60);

/// A life.
#[derive(Debug)]
pub(super) struct Plan {
    /// An image and a policy each.
    pub(super) policies: Vec<Scheme>,
    /// A folder with all markers and an automation each.
    pub(super) automations: Vec<Target>,
    /// In order of time, counted from the start.
    pub(super) actions: Vec<(Duration, Action)>,
    /// For how many intervals nothing may move in the end.
    pub(super) rest: u32,
}

/// How an image's tags are made and chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `dev-NUMBER-HASH`, the highest number.
    Numerical,
    /// `1.N.0`, the highest version.
    Semver,
    /// `rel-NNNN`, the last name.
    Alphabetical,
}

/// Where an automation pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The branch that it reads.
    Main,
    /// A branch of its own.
    Own,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// CI pushes the tag with this rank to an image.
    Push(usize, u64),
    /// Somebody deletes the newest tag of an image, or another one.
    Delete { image: usize, newest: bool },
    /// A person commits where an automation pushes.
    Human(usize, Edit),
    /// The next requests to the registry go wrong.
    Registry(Fault, usize),
    /// The next requests to the Git host go wrong.
    Git(Fault, usize),
    /// The next writes of a status fail.
    Api(usize),
    /// Somebody asks for all scans.
    Request,
    /// The process is killed at one of its next requests, and started again.
    Kill {
        /// Requests that still work.
        after: usize,
        /// Whether the last one is acted upon and only its answer is lost.
        acted: bool,
        /// Whether the kept tags survive.
        keeps: bool,
    },
}

/// What a person does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// Writes another file.
    Note,
    /// Changes another line of a marked file.
    Neighbour,
    /// Sets a marked value back to what it was in the beginning.
    Revert(usize),
    /// Commits a note at the moment at which the next push arrives.
    Race,
}

/// What a server does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Error,
    Refused,
    TooMany,
    Garbage,
    /// It never answers.
    Hang,
    /// It does what it is asked, and the answer is lost.
    LoseReply,
    /// It lists half of the tags, as a replica may that lags behind.
    Half,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Plan {
        let random = &mut Random::of(seed);
        let schemes = [Scheme::Numerical, Scheme::Semver, Scheme::Alphabetical];
        let policies: Vec<Scheme> =
            (0..=random.below(3)).map(|_| schemes[random.index(schemes.len())]).collect();
        let targets = [Target::Main, Target::Own];
        let automations: Vec<Target> =
            (0..=random.below(2)).map(|_| targets[random.index(targets.len())]).collect();
        let mut actions: Vec<(Duration, Action)> = (0..6 + random.below(14))
            .map(|_| {
                let at = Duration::from_millis(
                    random.below(u64::try_from(TROUBLE.as_millis()).expect("minutes are small")),
                );
                (at, action(random, policies.len(), automations.len()))
            })
            .collect();
        actions.sort_by_key(|(at, _)| *at);
        let rest = if random.chance(10) { 10 } else { 2 };
        Plan { policies, automations, actions, rest }
    }
}

fn action(random: &mut Random, n_images: usize, n_automations: usize) -> Action {
    let image = random.index(n_images);
    let automation = random.index(n_automations);
    let n_requests = 1 + random.index(5);
    match random.below(100) {
        0..30 => Action::Push(image, 1 + random.below(60)),
        30..40 => Action::Delete { image, newest: random.chance(60) },
        40..58 => Action::Human(automation, edit(random, n_images)),
        58..68 => Action::Registry(registry_fault(random), n_requests),
        68..80 => Action::Git(git_fault(random), n_requests),
        80..85 => Action::Api(n_requests),
        85..90 => Action::Request,
        _ => Action::Kill {
            after: random.index(30),
            acted: random.chance(50),
            keeps: random.chance(70),
        },
    }
}

fn edit(random: &mut Random, n_images: usize) -> Edit {
    match random.below(4) {
        0 => Edit::Note,
        1 => Edit::Neighbour,
        2 => Edit::Revert(random.index(n_images)),
        _ => Edit::Race,
    }
}

fn registry_fault(random: &mut Random) -> Fault {
    let faults =
        [Fault::Error, Fault::Refused, Fault::TooMany, Fault::Garbage, Fault::Hang, Fault::Half];
    faults[random.index(faults.len())]
}

fn git_fault(random: &mut Random) -> Fault {
    let faults = [
        Fault::Error,
        Fault::Refused,
        Fault::TooMany,
        Fault::Garbage,
        Fault::Hang,
        Fault::LoseReply,
    ];
    faults[random.index(faults.len())]
}

impl Scheme {
    /// Returns the tag with this rank.
    pub(super) fn tag(self, rank: u64) -> String {
        match self {
            Scheme::Numerical => {
                format!("dev-{rank}-{:07x}", rank.wrapping_mul(0x9e_3779) & 0xfff_ffff)
            }
            Scheme::Semver => format!("1.{rank}.0"),
            Scheme::Alphabetical => format!("rel-{rank:04}"),
        }
    }

    /// Returns the fields of the policy's spec besides its repository, in YAML's flow style.
    pub(super) fn spec(self) -> &'static str {
        match self {
            Scheme::Numerical => {
                "filterTags: {pattern: '^dev-(?P<n>[0-9]+)-[0-9a-f]+$', extract: $n}, \
                 policy: {numerical: {order: asc}}"
            }
            Scheme::Semver => "policy: {semver: {range: '1.x'}}",
            Scheme::Alphabetical => {
                "filterTags: {pattern: '^rel-'}, policy: {alphabetical: {order: asc}}"
            }
        }
    }
}
