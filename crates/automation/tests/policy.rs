//! Policies and scans against what Flux answered, and against themselves.

use api::image::{AlphabeticalPolicy, ImagePolicyChoice, NumericalPolicy, SemVerPolicy, TagFilter};
use api::tag::TagList;
use automation::policy::{Exclusions, Number, NumberError, Policy, SelectError, Selection};
use automation::verdict::Verdict;
use proptest::prelude::*;
use serde::Deserialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::OnceLock;

#[derive(Deserialize)]
struct Vector {
    policy: String,
    #[serde(default)]
    range: String,
    order: Option<String>,
    filter: Option<TagFilter>,
    tags: Vec<String>,
    winner: Option<String>,
    error: Option<String>,
    #[serde(default)]
    winner_any: Vec<String>,
    #[serde(default)]
    error_any: Vec<String>,
}

/// Why we answer differently, decided from the vector's input alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// A value that is no number to us is one to a float64, or the other way round.
    NotFinite,
    /// Two values that differ round to one float64.
    Rounding,
    /// Several values are no numbers: Flux names the first it meets, we name all.
    AllNamed,
    /// A tie in a list that is not in Flux's order.
    TieInAnyOrder,
}

#[test]
fn every_recorded_policy_chooses_as_in_flux() {
    let mut differences = BTreeMap::<_, usize>::new();
    let vectors: Vec<Vector> = golden(include_bytes!("golden/policy.jsonl.gz"));
    assert_eq!(vectors.len(), 3587);
    for vector in &vectors {
        let (latest, expected) = (evaluate(vector), expected(vector));
        if expected.contains(&latest) {
            continue;
        }
        let difference = difference(vector)
            .unwrap_or_else(|| panic!("{}\n{latest:?}\n{expected:?}", describe(vector)));
        check_difference(vector, difference, &latest, &expected);
        *differences.entry(difference).or_default() += 1;
    }
    // Few enough that the comparison above means something.
    let n_different: usize = differences.values().sum();
    assert!(n_different * 8 < vectors.len(), "{differences:?}");
}

/// A winner, or the text of an error.
type Answer = Result<String, String>;

fn evaluate(vector: &Vector) -> Answer {
    let policy = policy(vector)?;
    let tags: TagList = vector.tags.iter().map(String::as_str).collect();
    policy.latest(&tags).map(|choice| choice.tag.to_owned()).map_err(|error| error.to_string())
}

fn expected(vector: &Vector) -> Vec<Answer> {
    let winners = vector.winner.iter().chain(&vector.winner_any).cloned().map(Ok);
    let errors = vector.error.iter().chain(&vector.error_any).cloned().map(Err);
    winners.chain(errors).collect()
}

fn policy(vector: &Vector) -> Result<Policy, String> {
    let order = vector.order.clone();
    let mut choice = ImagePolicyChoice::default();
    match vector.policy.as_str() {
        "semver" => choice.semver = Some(SemVerPolicy { range: vector.range.clone() }),
        "alphabetical" => choice.alphabetical = Some(AlphabeticalPolicy { order }),
        "numerical" => choice.numerical = Some(NumericalPolicy { order }),
        _ => {}
    }
    Policy::new(&choice, vector.filter.as_ref()).map_err(|error| error.to_string())
}

/// Names the difference that the input of a vector calls for.
fn difference(vector: &Vector) -> Option<Difference> {
    let policy = policy(vector).ok()?;
    let tags: TagList = vector.tags.iter().map(String::as_str).collect();
    let exclusions = Exclusions::default();
    let judgement = policy.judge(&tags, &exclusions);
    let values: Vec<&str> =
        judgement.tags.iter().filter_map(|judged| judged.value.as_deref()).collect();
    if vector.policy == "numerical" {
        let is_ours = |value: &str| Number::parse(value).is_ok();
        // Underscores are checked by our grammar, which is held to Go's below.
        let float = |value: &str| match Number::parse(value) {
            Err(NumberError::Shape) => None,
            _ => golang::strconv::parse_float(&value.replace('_', "")).ok(),
        };
        if values.iter().any(|value| is_ours(value) != float(value).is_some()) {
            return Some(Difference::NotFinite);
        }
        if values.iter().filter(|value| !is_ours(value)).count() > 1 {
            return Some(Difference::AllNamed);
        }
        let rounds = |a: &str, b: &str| {
            float(a) == float(b) && Number::parse(a).ok() != Number::parse(b).ok()
        };
        if values.iter().any(|a| values.iter().any(|b| rounds(a, b))) {
            return Some(Difference::Rounding);
        }
    }
    let descending = vector.tags.windows(2).all(|pair| pair[0] >= pair[1]);
    let winner = judgement.winner?;
    let ties = |tag: &String| {
        *tag != winner.tag && policy.compare(tag, winner.tag) == Some(Ordering::Equal)
    };
    (!descending && vector.tags.iter().any(ties)).then_some(Difference::TieInAnyOrder)
}

/// Holds our answer to what the difference promises.
#[track_caller]
fn check_difference(vector: &Vector, difference: Difference, ours: &Answer, flux: &[Answer]) {
    let name = describe(vector);
    match difference {
        Difference::AllNamed => {
            let Err(ours) = ours else { panic!("{name}") };
            let first = |text: &Answer| {
                text.as_ref().is_err_and(|text| {
                    let value = text.trim_start_matches("failed to parse invalid numeric value ");
                    ours.contains(value)
                })
            };
            assert!(flux.iter().any(first), "{name}: {ours}");
        }
        Difference::TieInAnyOrder => {
            let ours = ours.as_ref().expect("a winner");
            let policy = policy(vector).expect("a policy");
            let tie = |theirs: &Answer| {
                let theirs = theirs.as_ref().expect("a winner");
                policy.compare(ours, theirs) == Some(Ordering::Equal)
            };
            assert!(flux.iter().any(tie), "{name}: {ours}");
        }
        Difference::NotFinite | Difference::Rounding => {}
    }
}

fn describe(vector: &Vector) -> String {
    let Vector { policy, range, order, filter, tags, .. } = vector;
    format!("{policy} {range} {order:?} {filter:?} {tags:?}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scan {
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    exclusion_list: Vec<String>,
    err: Option<String>,
    stored: Option<Vec<String>>,
    #[serde(default)]
    tag_count: usize,
    latest_tags: Option<Vec<String>>,
    #[serde(rename = "revision_fluxstorage", default)]
    revision: String,
}

#[test]
fn every_recorded_scan_keeps_what_flux_keeps() {
    let scans: Vec<Scan> = golden(include_bytes!("golden/scan.jsonl.gz"));
    assert_eq!(scans.len(), 375);
    for scan in &scans {
        let exclusions = match Exclusions::new(&scan.exclusion_list) {
            Ok(exclusions) => exclusions,
            Err(error) => {
                assert_eq!(Some(error.to_string()), scan.err);
                continue;
            }
        };
        assert_eq!(scan.err, None);
        let tags: TagList = scan.tags.iter().map(String::as_str).collect();
        let mut kept = exclusions.retain(&tags);
        kept.sort_descending();
        assert_eq!(kept.latest(usize::MAX), scan.stored.clone().unwrap_or_default());
        assert_eq!(kept.len(), scan.tag_count);
        assert_eq!(kept.latest(10), scan.latest_tags.clone().unwrap_or_default());
        assert_eq!(kept.revision(), scan.revision);
        assert!(tags.iter().all(|tag| exclusions.excludes(tag) != kept.iter().any(|k| k == tag)));
    }
}

/// Tags that collide, tie and fail in every way that a policy knows.
fn tag() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "v?[0-2]\\.[0-2]\\.[0-1](-(rc|a)(\\.[0-2])?|\\+[ab])?",
        2 => "0?[0-9]{1,2}(\\.[05]{1,2})?",
        2 => "(dev|main)-[0-9]{1,2}-[ab]",
        1 => "[-+]?0?[0-9](e[0-9]|p1)?|0x[0-9a]p-?[0-3]|nan|Inf|1_0|9007199254740[0-9]{3}",
        1 => "latest|[a-c]{1,2}|sha256-[ab]\\.sig|日本|",
    ]
}

/// Every rule with every filter, compiled once.
fn policies() -> &'static [Policy] {
    static POLICIES: OnceLock<Vec<Policy>> = OnceLock::new();
    POLICIES.get_or_init(|| {
        let filters = [
            None,
            Some((r"^(?P<e>dev|main)-(?P<ts>[0-9]+)-", "$ts")),
            Some((r"^dev-(?P<ts>[0-9]+)-a$", "$ts")),
            Some((r"^v(\d\.\d\.\d)(-rc)?", "$1")),
            Some((r"^v[0-2]", "")),
            Some((r"^v?(.*)$", "$1")),
            Some((r"[0-9]", "")),
            Some((r"(\d)\.?(\d)?", "$1.${2}.0")),
        ];
        let filters = filters.map(|filter| {
            filter.map(|(pattern, extract)| TagFilter {
                pattern: Some(pattern.to_owned()),
                extract: Some(extract.to_owned()),
            })
        });
        let mut choices = Vec::new();
        for range in ["*", ">=1.0.0", "^1.x-0", ">=0.0.0-0", "~0.1 || 2.x"] {
            let semver = Some(SemVerPolicy { range: range.to_owned() });
            choices.push(ImagePolicyChoice { semver, ..ImagePolicyChoice::default() });
        }
        for order in [None, Some("desc".to_owned())] {
            let alphabetical = Some(AlphabeticalPolicy { order: order.clone() });
            choices.push(ImagePolicyChoice { alphabetical, ..ImagePolicyChoice::default() });
            let numerical = Some(NumericalPolicy { order });
            choices.push(ImagePolicyChoice { numerical, ..ImagePolicyChoice::default() });
        }
        let policy = |choice, filter: &Option<TagFilter>| Policy::new(choice, filter.as_ref());
        let policies = choices.iter().flat_map(|c| filters.iter().map(move |f| policy(c, f)));
        policies.collect::<Result<_, _>>().expect("valid policies")
    })
}

fn any_policy() -> impl Strategy<Value = &'static Policy> {
    (0..policies().len()).prop_map(|index| &policies()[index])
}

fn list(tags: &[String]) -> TagList {
    tags.iter().map(String::as_str).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_the_tags_gives_one_answer(
        policy in any_policy(),
        (tags, shuffled) in proptest::collection::vec(tag(), 0..12)
            .prop_flat_map(|tags| (Just(tags.clone()), Just(tags).prop_shuffle())),
    ) {
        let (tags, shuffled) = (list(&tags), list(&shuffled));
        let mut sorted = tags.clone();
        sorted.sort_descending();
        prop_assert_eq!(policy.latest(&tags), policy.latest(&shuffled));
        prop_assert_eq!(policy.latest(&tags), policy.latest(&sorted));
    }

    #[test]
    fn the_judgement_is_what_was_chosen(
        policy in any_policy(),
        tags in proptest::collection::vec(tag(), 0..12),
        exclude in prop_oneof![Just(""), Just("^v"), Just("[0-9]$"), Just("sig")],
    ) {
        let patterns = if exclude.is_empty() { vec![] } else { vec![exclude.to_owned()] };
        let exclusions = Exclusions::new(&patterns).expect("patterns");
        let tags = list(&tags);
        let remaining = exclusions.retain(&tags);
        let judgement = policy.judge(&tags, &exclusions);
        match policy.latest(&remaining) {
            Ok(choice) => {
                prop_assert_eq!(judgement.winner.as_ref(), Some(&choice));
                prop_assert_eq!(&judgement.error, &None);
                // Without the winner, the runner-up is chosen.
                let others = remaining.retain(|tag| tag != choice.tag);
                let next = policy.latest(&others).ok();
                prop_assert_eq!(judgement.runner_up.as_ref(), next.as_ref());
            }
            Err(error) => {
                prop_assert_eq!(judgement.error.as_ref(), Some(&error));
                prop_assert_eq!((&judgement.winner, &judgement.runner_up), (&None, &None));
            }
        }
        prop_assert_eq!(judgement.tags.len(), tags.len());
        for (judged, tag) in judgement.tags.iter().zip(tags.iter()) {
            prop_assert_eq!(judged.tag, tag);
            prop_assert_eq!(judged.verdict == Verdict::Excluded, exclusions.excludes(tag));
            let won = judgement.winner.as_ref().is_some_and(|winner| winner.tag == tag);
            prop_assert_eq!(judged.verdict == Verdict::Winner, won);
            prop_assert!(!judgement.reason(judged).is_empty());
        }
    }

    #[test]
    fn a_kept_selection_follows_every_change(
        policy in any_policy(),
        first in proptest::collection::vec(tag(), 0..10),
        rounds in proptest::collection::vec(
            (proptest::collection::vec(tag(), 0..4), proptest::collection::vec(any::<prop::sample::Index>(), 0..3)),
            0..5,
        ),
    ) {
        let mut tags = first;
        let all = list(&tags);
        let mut selection = Selection::new(policy, &all);
        prop_assert_eq!(selection.latest(), policy.latest(&all));
        for (added, indices) in rounds {
            let mut removed = Vec::new();
            for index in indices {
                if !tags.is_empty() {
                    removed.push(tags.swap_remove(index.index(tags.len())));
                }
            }
            tags.extend(added.iter().cloned());
            let now = list(&tags);
            selection.update(
                policy, &now, added.iter().map(String::as_str), removed.iter().map(String::as_str),
            );
            prop_assert_eq!(selection.latest(), policy.latest(&now));
        }
    }

    #[test]
    fn numbers_are_ordered_as_floats_where_floats_are_exact(a in -4096i32..4096, b in -4096i32..4096) {
        let texts = |n: i32| {
            let value = f64::from(n) / 16.0;
            [format!("{value}"), format!("{value:e}"), format!("{}0x{:x}p-4", if n < 0 { "-" } else { "" }, n.unsigned_abs())]
        };
        for (a_text, b_text) in texts(a).iter().zip(texts(b).iter().rev()) {
            let number = |text: &str| Number::parse(text).expect("a number");
            prop_assert_eq!(number(a_text).cmp(&number(b_text)), a.cmp(&b), "{} {}", a_text, b_text);
        }
    }
}

#[test]
fn a_number_is_what_go_parses() {
    let texts: Vec<(String, String)> = golden(include_bytes!("golden/parsefloat.jsonl.gz"));
    assert!(texts.len() > 4000);
    for (text, go) in texts {
        match (Number::parse(&text), go.as_str()) {
            (Ok(_), "ok" | "range") => {}
            // What a float64 rounds to zero or infinity has a limit of its own here.
            (Err(NumberError::Exponent), "ok" | "range") => {
                let n_digits = text.bytes().filter(u8::is_ascii_digit).count();
                assert!(n_digits > 4, "{text}");
            }
            (Err(NumberError::NotFinite), "ok") => {
                assert!(text.to_ascii_lowercase().contains('n'), "{text}");
            }
            (Err(NumberError::Shape), "syntax") => {}
            (ours, go) => panic!("{text}: {ours:?} {go}"),
        }
    }
}

#[test]
fn numbers_are_compared_exactly() {
    let ascending = [
        "-1e400",
        "-0x1p900",
        "-9007199254740993",
        "-9007199254740992",
        "-1",
        "-1e-400",
        "0",
        "1e-400",
        "4.9e-324",
        "0x1p-1074",
        "0.1",
        "0x1.999999999999ap-4",
        "0.2",
        "1",
        "1.00000000000000000000001",
        "9007199254740992",
        "9007199254740993",
        "20260827000000012",
        "20260827000000013",
        "123456789012345678901234567890",
        "123456789012345678901234567891",
        "0x1p1000",
        "1e400",
        "1e999999999",
        "1e999999999999999",
    ];
    let numbers: Vec<Number> =
        ascending.iter().map(|text| Number::parse(text).expect("a number")).collect();
    for (i, a) in numbers.iter().enumerate() {
        for (j, b) in numbers.iter().enumerate() {
            assert_eq!(a.cmp(b), i.cmp(&j), "{} {}", ascending[i], ascending[j]);
        }
    }
    for equal in [
        ["1", "1.0"],
        ["010", "1e1"],
        ["-0", "0"],
        ["1_000", "1000"],
        ["0x10p0", "16"],
        ["5.", "0_5"],
        [".5", "0x1p-1"],
    ] {
        let [a, b] = equal.map(|text| Number::parse(text).expect("a number"));
        assert_eq!(a, b, "{equal:?}");
    }
    for bomb in ["1e1000000000000000", "0x1p9999999", "0x1p-9999999", "-0x1p1101"] {
        assert!(Number::parse(bomb).is_err(), "{bomb}");
    }
}

#[test]
fn all_offenders_are_named_up_to_a_cap() {
    let choice = ImagePolicyChoice {
        numerical: Some(NumericalPolicy::default()),
        ..ImagePolicyChoice::default()
    };
    let policy = Policy::new(&choice, None).expect("a valid policy");
    let error = |tags: &str| {
        policy.latest(&tags.split(' ').collect()).expect_err("not numbers").to_string()
    };
    assert_eq!(error("1 v2 3"), "failed to parse invalid numeric value 'v2'");
    assert_eq!(error("a 1 c b a"), "failed to parse invalid numeric value 'c', 'b', 'a'");
    let many: Vec<String> = (10..50).map(|n| format!("t{n}")).collect();
    let text = error(&many.join(" "));
    assert!(text.starts_with("failed to parse invalid numeric value 't49', 't48'"), "{text}");
    assert!(text.ends_with("'t30' and 20 more"), "{text}");
    assert_eq!(policy.latest(&TagList::new()), Err(SelectError::Empty));
}

fn golden<T: serde::de::DeserializeOwned>(file: &[u8]) -> Vec<T> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip of text");
    text.lines().map(|line| serde_json::from_str(line).expect("a vector")).collect()
}
