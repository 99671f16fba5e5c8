//! What happens in a life, all of it decided by the seed.

use std::time::Duration;

use super::random::Random;

/// For how long things go wrong.
const TROUBLE: Duration = Duration::from_secs(4 * 60);
/// For how long a server is away in a long life.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A life.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where the objects are.
    pub(super) home: Home,
    /// For how long things go wrong.
    pub(super) trouble: Duration,
    /// An image and a policy each.
    pub(super) policies: Vec<Scheme>,
    /// A folder with all markers and an automation each.
    pub(super) automations: Vec<Target>,
    /// In order of time, counted from the start.
    pub(super) actions: Vec<(Duration, Action)>,
    /// For how many intervals nothing may move in the end.
    pub(super) rest: u32,
}

/// Where the objects of a life are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// In a cluster, whose API lives on when the process is killed.
    Cluster,
    /// In a file of the process itself, as in the service: what was not synced dies with it.
    File,
}

/// Whom the process speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Server {
    Registry,
    Git,
    Api,
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
    /// The next writes to the API go wrong.
    Api(ApiFault, usize),
    /// All watches go wrong.
    Watch(WatchFault),
    /// A server is away for a while: it answers that, or nothing.
    Away { server: Server, time: Duration, hangs: bool },
    /// Somebody asks for all scans.
    Request,
    /// The process is killed at one of its next requests, and started again.
    Kill {
        /// Requests that still work.
        after: usize,
        /// Whether the last one is acted upon and only its answer is lost.
        acted: bool,
        /// Whether the kept tags and the journal survive.
        keeps: bool,
    },
    /// The power of the machine goes away while a file is synced.
    PowerCut {
        /// Syncs that are still well.
        after: usize,
        /// Which writes of the last one reach the disk.
        torn: u64,
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

/// What the API does instead of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiFault {
    Error,
    Conflict,
    TooMany,
    /// It writes, and the answer is lost.
    LoseReply,
}

/// What befalls the watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchFault {
    /// They end.
    Break,
    /// They end, since what they would have to tell is forgotten.
    Expire,
    /// They tell late for a minute.
    Slow(Duration),
    /// They end, and the lists after them show what once was.
    Stale,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Plan {
        let random = &mut Random::of(seed);
        let home = if random.chance(25) { Home::File } else { Home::Cluster };
        let is_long = random.chance(4);
        let trouble = if is_long { HOUR + TROUBLE } else { TROUBLE };
        let schemes = [Scheme::Numerical, Scheme::Semver, Scheme::Alphabetical];
        let policies: Vec<Scheme> =
            (0..=random.below(3)).map(|_| schemes[random.index(schemes.len())]).collect();
        let targets = [Target::Main, Target::Own];
        let automations: Vec<Target> =
            (0..=random.below(2)).map(|_| targets[random.index(targets.len())]).collect();
        let mut actions: Vec<(Duration, Action)> = (0..6 + random.below(14))
            .map(|_| {
                let at = moment(random, TROUBLE);
                (at, action(random, home, policies.len(), automations.len()))
            })
            .collect();
        if is_long {
            // Half of what happens, happens while it is away.
            let server = [Server::Registry, Server::Git][random.index(2)];
            for (at, _) in actions.iter_mut().step_by(2) {
                *at += moment(random, HOUR);
            }
            let away = Action::Away { server, time: HOUR, hangs: random.chance(50) };
            actions.push((moment(random, TROUBLE), away));
        }
        actions.sort_by_key(|(at, _)| *at);
        let rest = if random.chance(10) { 10 } else { 2 };
        Plan { home, trouble, policies, automations, actions, rest }
    }

    /// Returns the same life without anything that goes wrong.
    pub(super) fn calm(&self) -> Plan {
        let happens = |action: &Action| {
            use Action::{
                Api, Away, Delete, Git, Human, Kill, PowerCut, Push, Registry, Request, Watch,
            };
            match action {
                Push(..) | Delete { .. } | Human(..) | Request => true,
                Registry(..) | Git(..) | Api(..) | Watch(_) | Away { .. } => false,
                Kill { .. } | PowerCut { .. } => false,
            }
        };
        let mut calm = self.clone();
        calm.actions.retain(|(_, action)| happens(action));
        calm
    }

    /// Returns whether the process dies at some time.
    pub(super) fn has_deaths(&self) -> bool {
        let is_death =
            |action: &Action| matches!(action, Action::Kill { .. } | Action::PowerCut { .. });
        self.actions.iter().any(|(_, action)| is_death(action))
    }

    /// Returns whether all that the process keeps survives its deaths.
    pub(super) fn keeps_all(&self) -> bool {
        !self.actions.iter().any(|(_, action)| matches!(action, Action::Kill { keeps: false, .. }))
    }
}

fn moment(random: &mut Random, within: Duration) -> Duration {
    let within = u64::try_from(within.as_millis()).expect("hours are small");
    Duration::from_millis(random.below(within))
}

fn action(random: &mut Random, home: Home, n_images: usize, n_automations: usize) -> Action {
    let image = random.index(n_images);
    let automation = random.index(n_automations);
    let n_requests = 1 + random.index(5);
    match random.below(100) {
        0..28 => Action::Push(image, 1 + random.below(60)),
        28..36 => Action::Delete { image, newest: random.chance(60) },
        36..52 => Action::Human(automation, edit(random, n_images)),
        52..60 => Action::Registry(registry_fault(random), n_requests),
        60..69 => Action::Git(git_fault(random), n_requests),
        69..74 => Action::Api(api_fault(random), n_requests),
        74..79 => Action::Watch(watch_fault(random)),
        79..83 => away(random),
        83..87 => Action::Request,
        87..91 if home == Home::File => {
            Action::PowerCut { after: random.index(40), torn: random.bits() }
        }
        _ => Action::Kill {
            after: random.index(30),
            acted: random.chance(50),
            keeps: random.chance(70),
        },
    }
}

fn away(random: &mut Random) -> Action {
    let server = [Server::Registry, Server::Git, Server::Api][random.index(3)];
    let time = Duration::from_secs(2 + random.below(178));
    // Nobody waits for a deadline of the API: in a cluster a connection ends with its server.
    let hangs = server != Server::Api && random.chance(50);
    Action::Away { server, time, hangs }
}

fn api_fault(random: &mut Random) -> ApiFault {
    let faults = [ApiFault::Error, ApiFault::Conflict, ApiFault::TooMany, ApiFault::LoseReply];
    faults[random.index(faults.len())]
}

fn watch_fault(random: &mut Random) -> WatchFault {
    match random.below(4) {
        0 => WatchFault::Break,
        1 => WatchFault::Expire,
        2 => WatchFault::Slow(Duration::from_millis(10 + random.below(20_000))),
        _ => WatchFault::Stale,
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
