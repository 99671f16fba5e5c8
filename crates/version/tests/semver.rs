//! Versions and ranges against what Masterminds/semver answered.

use serde::Deserialize;
use std::cmp::Ordering;
use std::io::Read;
use version::{Constraint, Version};

#[derive(Deserialize)]
struct Vector {
    t: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    constraint: String,
    err: Option<String>,
    string: Option<String>,
    major: Option<String>,
    minor: Option<String>,
    patch: Option<String>,
    pre: Option<String>,
    meta: Option<String>,
    strict_ok: Option<bool>,
    flux_ok: Option<bool>,
    #[serde(default)]
    yes: Vec<String>,
    #[serde(default)]
    no: Vec<String>,
    a: Option<String>,
    b: Option<String>,
    cmp: Option<i8>,
    equal: Option<bool>,
    sorted: Option<Vec<String>>,
    #[serde(default)]
    range: String,
    #[serde(default)]
    tags: Vec<String>,
    winner: Option<String>,
    error: Option<String>,
}

#[test]
fn every_recorded_vector_holds() {
    let file = include_bytes!("golden/semver.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&file[..]).read_to_string(&mut text).expect("gzip of text");
    assert_eq!(text.lines().count(), 4064);
    let mut n_not_text = 0;
    for line in text.lines() {
        // What is not UTF-8 is recorded under another key; ours is always text.
        if line.contains("_b64\":") {
            n_not_text += 1;
            continue;
        }
        let vector: Vector = serde_json::from_str(line).expect("a vector");
        match vector.t.as_str() {
            "version" => check_version(&vector),
            "compare" => check_compare(&vector),
            "sort" => check_sort(&vector),
            "constraint" => check_constraint(&vector),
            "policy" => check_policy(&vector),
            other => panic!("an unknown kind of vector: {other}"),
        }
    }
    assert!(n_not_text < 20, "{n_not_text}");
}

#[track_caller]
fn check_version(vector: &Vector) {
    let text = &vector.version;
    assert_eq!(Some(Version::parse_strict(text).is_ok()), vector.strict_ok, "{text}");
    assert_eq!(Some(Version::parse_tag(text).is_ok()), vector.flux_ok, "{text}");
    match Version::parse(text) {
        Err(error) => assert_eq!(Some(error.to_string()), vector.err, "{text}"),
        Ok(version) => {
            assert_eq!(None, vector.err, "{text}");
            assert_eq!(Some(version.to_string()), vector.string, "{text}");
            assert_eq!(Some(version.major().to_string()), vector.major, "{text}");
            assert_eq!(Some(version.minor().to_string()), vector.minor, "{text}");
            assert_eq!(Some(version.patch().to_string()), vector.patch, "{text}");
            assert_eq!(Some(version.prerelease()), vector.pre.as_deref(), "{text}");
            assert_eq!(Some(version.metadata()), vector.meta.as_deref(), "{text}");
            assert_eq!(version.original(), text);
        }
    }
}

#[track_caller]
fn check_compare(vector: &Vector) {
    let (a, b) = (vector.a.as_ref().expect("a"), vector.b.as_ref().expect("b"));
    let (first, second) = (parse(a), parse(b));
    assert_eq!(Some(first.cmp(&second) as i8), vector.cmp, "{a} {b}");
    assert_eq!(Some(first == second), vector.equal, "{a} {b}");
}

#[track_caller]
fn check_sort(vector: &Vector) {
    let sorted = vector.sorted.as_ref().expect("a sorted list");
    for pair in sorted.windows(2) {
        assert_eq!(parse(&pair[0]).cmp(&parse(&pair[1])), Ordering::Less, "{pair:?}");
    }
}

#[track_caller]
fn check_constraint(vector: &Vector) {
    let text = &vector.constraint;
    match Constraint::parse(text) {
        Err(error) => assert_eq!(Some(error.to_string()), vector.err, "{text}"),
        Ok(range) => {
            assert_eq!(None, vector.err, "{text}");
            assert_eq!(Some(range.to_string()), vector.string, "{text}");
            for (versions, inside) in [(&vector.yes, true), (&vector.no, false)] {
                for version in versions {
                    assert_eq!(range.check(&parse(version)), inside, "{text} {version}");
                }
            }
        }
    }
}

/// The first of equal versions wins, as the recorded lists have a fixed order.
#[track_caller]
fn check_policy(vector: &Vector) {
    let range = match Constraint::parse(&vector.range) {
        Ok(range) => range,
        Err(error) => {
            return assert_eq!(Some(format!("invalid policy: {error}")), vector.error);
        }
    };
    let latest = vector
        .tags
        .iter()
        .filter_map(|tag| Version::parse_tag(tag).ok())
        .filter(|version| range.check(version))
        .reduce(|best, version| if version > best { version } else { best });
    assert_eq!(latest.map(|version| version.original()), vector.winner.as_deref());
    assert_eq!(latest.is_none(), vector.error.is_some());
}

#[track_caller]
fn parse(text: &str) -> Version<'_> {
    Version::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn nothing_above_the_ceiling_lies_in_a_range() {
    let numbers = ["0", "1", "2"];
    let parts = ["0", "1", "x"];
    let mut versions = Vec::new();
    let mut ranges = Vec::new();
    for operator in ["", "=", "!=", ">", "<", ">=", "<=", "~", "^"] {
        for major in parts {
            ranges.push(format!("{operator}{major}"));
            for minor in parts {
                ranges.push(format!("{operator}{major}.{minor}"));
                for patch in parts {
                    ranges.push(format!("{operator}{major}.{minor}.{patch}"));
                    ranges.push(format!("{operator}{major}.{minor}.{patch}-0"));
                }
            }
        }
    }
    for major in numbers {
        for minor in numbers {
            for patch in numbers {
                versions.push(format!("{major}.{minor}.{patch}"));
                versions.push(format!("{major}.{minor}.{patch}-rc.1"));
            }
        }
    }
    let mut n_admitted = 0;
    for range in &ranges {
        let range = Constraint::parse(range).expect("a range");
        for version in &versions {
            let version = parse(version);
            let core = [version.major(), version.minor(), version.patch()];
            if range.check(&version) {
                n_admitted += 1;
                assert!(core <= range.ceiling(), "{range} {version}");
            }
        }
    }
    assert!(n_admitted > 5_000, "{n_admitted}");
}

#[test]
fn a_ceiling_is_as_low_as_the_range_allows() {
    const MAX: u64 = u64::MAX;
    for (range, ceiling) in [
        ("*", [MAX; 3]),
        (">=1.0.0", [MAX; 3]),
        ("1.2.3", [1, 2, 3]),
        ("1.2.x", [1, 2, MAX]),
        ("~1.2.3", [1, 2, MAX]),
        ("^1.2.3", [1, MAX, MAX]),
        ("<=1.2", [1, 2, MAX]),
        (">=1.0.0 <90.0.0", [90, 0, 0]),
        ("~1.2 || ^3.1 || 2.x", [3, MAX, MAX]),
        ("1.0.0 - 2", [2, MAX, MAX]),
    ] {
        assert_eq!(Constraint::parse(range).expect("a range").ceiling(), ceiling, "{range}");
    }
}
