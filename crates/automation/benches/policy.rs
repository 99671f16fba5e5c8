//! How long choosing takes: one policy over 100,000 tags (P3), and 100 policies that follow a few
//! new tags (P4).
//!
//! The figures are CPU milliseconds, the least of several runs. Flux's are CPU milliseconds of one
//! evaluation, measured elsewhere, for orientation.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use api::image::{AlphabeticalPolicy, ImagePolicyChoice, NumericalPolicy, SemVerPolicy, TagFilter};
use api::tag::TagList;
use automation::policy::{Policy, Selection};
use std::hint::black_box;
use std::time::Duration;
use trial::bench::{cpu_time, growth, least_cpu_time, machine};

const N_TAGS: usize = 100_000;
const N_POLICIES: usize = 100;
const N_ROUNDS: usize = 20;
const PATTERN: &str = "^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$";

/// A policy, and the tags that it chooses from.
struct Workload {
    name: &'static str,
    policy: Policy,
    tags: fn(usize) -> TagList,
    /// In milliseconds.
    target: f64,
    flux: &'static str,
}

fn main() {
    println!("{}", machine());
    let workloads = workloads();
    println!("P3: one policy over {N_TAGS} tags, CPU milliseconds");
    println!("{:<26} {:>8} {:>8} {:>8} {:>8}", "policy", "ours", "target", "Flux", "exponent");
    workloads.iter().for_each(one_policy);
    println!(
        "\nP4: {N_POLICIES} policies over {N_TAGS} tags, then 10 more tags {N_ROUNDS} times, CPU \
         milliseconds (targets 300 and 1; Flux 10,000-20,000 each time)"
    );
    println!("{:<26} {:>12} {:>12}", "policies", "first round", "later rounds");
    for workload in [&workloads[0], &workloads[5]] {
        let policies: Vec<&Policy> = (0..N_POLICIES).map(|_| &workload.policy).collect();
        fan_out(workload.name, &policies, workload.tags);
    }
    let policies: Vec<Policy> = (0..N_POLICIES).map(policy_of_branch).collect();
    fan_out("one for each of 100 branches", &policies.iter().collect::<Vec<_>>(), many_branches);
}

fn one_policy(workload: &Workload) {
    let time = |n_tags: usize| {
        let tags = (workload.tags)(n_tags);
        let run = || drop(black_box(workload.policy.latest(black_box(&tags)).expect("a winner")));
        (n_tags as f64, milliseconds(least_cpu_time(31, run)))
    };
    let times = [N_TAGS / 10, N_TAGS, N_TAGS * 10].map(time);
    let Workload { name, target, flux, .. } = workload;
    println!("{name:<26} {:>8.2} {target:>8} {flux:>8} {:>8.2}", times[1].1, growth(&times));
}

fn fan_out(name: &str, policies: &[&Policy], tags: fn(usize) -> TagList) {
    let sorted = |n_tags: usize| {
        let mut tags = tags(n_tags);
        tags.sort_descending();
        tags
    };
    let before = sorted(N_TAGS);
    let mut selections: Vec<Selection> = Vec::new();
    let first = least_cpu_time(5, || {
        let tags = black_box(&before);
        selections = policies.iter().map(|policy| Selection::new(policy, tags)).collect();
    });
    let mut later = Duration::ZERO;
    for round in 0..N_ROUNDS {
        let n_before = N_TAGS + 10 * round;
        let (all, now) = (tags(n_before + 10), sorted(n_before + 10));
        let added: Vec<&str> = all.iter().skip(n_before).collect();
        later += cpu_time(|| {
            for (selection, policy) in selections.iter_mut().zip(policies) {
                selection.update(policy, &now, added.iter().copied(), []);
            }
        });
        assert_eq!(selections[0].latest(), policies[0].latest(&now));
    }
    let later = milliseconds(later) / N_ROUNDS as f64;
    println!("{name:<26} {:>12.1} {later:>12.3}", milliseconds(first));
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

/// The tags of [`branches`], spread over as many branches as there are policies.
fn many_branches(n_tags: usize) -> TagList {
    tags(n_tags, |n| {
        let random = scramble(n);
        let (branch, time) = (n % N_POLICIES, 1_600_000_000 + random % 100_000_000);
        format!("branch-{branch:03}-{time}-{:07x}", random >> 36)
    })
}

fn policy_of_branch(branch: usize) -> Policy {
    let numerical = Some(NumericalPolicy::default());
    let pattern = Some(format!("^branch-{branch:03}-(?P<ts>[0-9]+)-[0-9a-f]+$"));
    let filter = TagFilter { pattern, extract: Some("$ts".to_owned()) };
    let choice = ImagePolicyChoice { numerical, ..ImagePolicyChoice::default() };
    Policy::new(&choice, Some(&filter)).expect("a valid policy")
}

fn tags(n_tags: usize, tag: impl Fn(usize) -> String) -> TagList {
    let mut list = TagList::new();
    (0..n_tags).for_each(|n| list.push(&tag(n)));
    list
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
