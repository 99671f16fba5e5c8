//! How long choosing takes: one policy over 100,000 tags (P3), and 100 policies that follow a few
//! new tags (P4). Flux's figures are CPU milliseconds of one evaluation, measured elsewhere, for
//! orientation.

#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use api::image::{AlphabeticalPolicy, ImagePolicyChoice, NumericalPolicy, SemVerPolicy, TagFilter};
use api::tag::TagList;
use automation::policy::{Policy, Selection};
use std::hint::black_box;
use std::time::{Duration, Instant};

const N_TAGS: usize = 100_000;
const PATTERN: &str = "^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$";

struct Workload {
    name: &'static str,
    policy: Policy,
    tags: fn(usize) -> TagList,
    target: f64,
    flux: &'static str,
}

fn main() {
    println!("P3: one policy over {N_TAGS} tags, milliseconds");
    println!("{:<26} {:>8} {:>8} {:>8} {:>8}", "policy", "ours", "target", "Flux", "exponent");
    let workloads = workloads();
    for workload in &workloads {
        let small = time(workload, N_TAGS / 10);
        let ours = time(workload, N_TAGS);
        let large = time(workload, N_TAGS * 10);
        let exponent = (large.as_secs_f64() / small.as_secs_f64()).log10() / 2.0;
        println!(
            "{:<26} {:>8.2} {:>8} {:>8} {:>8.2}",
            workload.name,
            milliseconds(ours),
            workload.target,
            workload.flux,
            exponent
        );
    }
    fan_out(&workloads);
}

/// Returns the best of several runs: the others are the machine's noise.
fn time(workload: &Workload, n_tags: usize) -> Duration {
    let tags = (workload.tags)(n_tags);
    let run = || {
        let start = Instant::now();
        black_box(workload.policy.latest(black_box(&tags))).expect("a winner");
        start.elapsed()
    };
    (0..31).map(|_| run()).min().expect("many runs")
}

fn fan_out(workloads: &[Workload]) {
    println!("\nP4: 100 policies over {N_TAGS} tags, then 10 more tags, 20 rounds, milliseconds");
    for (name, pick) in [("semver", &workloads[..1]), ("regex+extract+numerical", &workloads[5..6])]
    {
        let mut tags = (pick[0].tags)(N_TAGS);
        tags.sort_descending();
        let policies: Vec<&Policy> = (0..100).map(|i| &pick[i % pick.len()].policy).collect();
        let start = Instant::now();
        let mut selections: Vec<Selection> =
            policies.iter().map(|policy| Selection::new(policy, &tags)).collect();
        let first = start.elapsed();
        let mut later = Duration::ZERO;
        for round in 0..20 {
            let more = (pick[0].tags)(N_TAGS + 10 * (round + 1));
            let added: Vec<&str> = more.iter().skip(N_TAGS + 10 * round).collect();
            let start = Instant::now();
            for (selection, policy) in selections.iter_mut().zip(&policies) {
                selection.update(policy, &more, added.iter().copied(), []);
            }
            later += start.elapsed();
            for (selection, policy) in selections.iter().zip(&policies).take(1) {
                assert_eq!(selection.latest(), policy.latest(&more));
            }
        }
        println!(
            "{name:<26} first round {:>8.1} (target 300), later {:>6.3} (target 1); Flux 10,000-20,000 each",
            milliseconds(first),
            milliseconds(later / 20)
        );
    }
}

fn workloads() -> Vec<Workload> {
    let semver = |range: &str| ImagePolicyChoice {
        semver: Some(SemVerPolicy { range: range.to_owned() }),
        ..ImagePolicyChoice::default()
    };
    let alphabetical = ImagePolicyChoice {
        alphabetical: Some(AlphabeticalPolicy::default()),
        ..ImagePolicyChoice::default()
    };
    let numerical = ImagePolicyChoice {
        numerical: Some(NumericalPolicy::default()),
        ..ImagePolicyChoice::default()
    };
    let filter = |pattern: &str, extract: Option<&str>| TagFilter {
        pattern: Some(pattern.to_owned()),
        extract: extract.map(str::to_owned),
    };
    let workload =
        |name, choice: &ImagePolicyChoice, filter: Option<TagFilter>, tags, target, flux| {
            let policy = Policy::new(choice, filter.as_ref()).expect("a valid policy");
            Workload { name, policy, tags, target, flux }
        };
    let release = filter(r"^v(?P<v>[0-9]+\.[0-9]+\.[0-9]+)$", Some("$v"));
    vec![
        workload("semver", &semver(">=1.0.0 <90.0.0"), None, versions, 2.0, "132"),
        workload("alphabetical", &alphabetical, None, branches, 2.0, "55"),
        workload("numerical", &numerical, None, numbers, 2.0, "46"),
        workload("regex filter", &alphabetical, Some(filter(PATTERN, None)), branches, 6.0, "-"),
        workload("regex+extract+semver", &semver(">=1.0.0"), Some(release), versions, 16.0, "258"),
        workload(
            "regex+extract+numerical",
            &numerical,
            Some(filter(PATTERN, Some("$ts"))),
            branches,
            16.0,
            "142",
        ),
    ]
}

/// A fixed scramble: neighbours in the list have nothing in common.
fn scramble(n: usize) -> u64 {
    (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
}

fn versions(n_tags: usize) -> TagList {
    tags(n_tags, |n| {
        let random = scramble(n);
        format!("v{}.{}.{}", random % 100, (random >> 8) % 100, (random >> 16) % 1000)
    })
}

fn numbers(n_tags: usize) -> TagList {
    tags(n_tags, |n| format!("{}", 1_600_000_000 + scramble(n) % 100_000_000))
}

fn branches(n_tags: usize) -> TagList {
    tags(n_tags, |n| {
        let random = scramble(n);
        let time = 1_600_000_000 + random % 100_000_000;
        format!("branch-dev-{time}-{:07x}", random >> 36)
    })
}

fn tags(n_tags: usize, tag: impl Fn(usize) -> String) -> TagList {
    let mut list = TagList::new();
    (0..n_tags).for_each(|n| list.push(&tag(n)));
    list
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
