//! Regular expressions against what Go's own package answered.

use base64::Engine;
use golang::regexp::{Regexp, Submatches, quote_meta};
use serde::Deserialize;
use std::io::Read;

#[derive(Deserialize)]
struct Vector {
    pattern: Option<String>,
    pattern_b64: Option<String>,
    err: Option<String>,
    err_b64: Option<String>,
    groups: Option<Vec<String>>,
    #[serde(default)]
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    r#in: Option<String>,
    in_b64: Option<String>,
    r#match: Option<Vec<i64>>,
    #[serde(default)]
    expand: Vec<Filled>,
    all: Option<Vec<[i64; 2]>>,
    replace_all: Option<Filled>,
    split: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Filled {
    /// Absent when the template is not UTF-8: ours come from manifests and always are.
    #[serde(default)]
    t: Option<String>,
    r: Option<String>,
    r_b64: Option<String>,
}

#[test]
fn every_recorded_expression_behaves_as_in_go() {
    let vectors = golden();
    assert_eq!(vectors.len(), 2306);
    let n_cases: usize = vectors.iter().map(check).sum();
    assert!(n_cases > 10_000, "{n_cases}");
}

#[test]
fn limits_are_errors() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Regexp::new(&nested(999)).is_ok());
    for (pattern, error) in [
        (nested(1001), "expression nests too deeply"),
        ("a{1001}".to_owned(), "invalid repeat count: `{1001}`"),
        ("((a{10}){10}){11}".to_owned(), "invalid repeat count: `{11}`"),
        (format!("({}){{1000}}", "ab".repeat(2000)), "expression too large"),
        (r"(\pL{2}){500}".repeat(6), "expression too large"),
    ] {
        let text = Regexp::new(&pattern).expect_err("over a limit").to_string();
        assert!(text.contains(error), "{error}: {text}");
    }
}

#[test]
fn a_quoted_text_matches_itself_only() {
    let text = r"a.b*[c]\{1}日$";
    let regexp = Regexp::new(&format!("^{}$", quote_meta(text))).expect("a quoted text");
    assert!(regexp.is_match(text.as_bytes()));
    assert!(!regexp.is_match(b"aXb*[c]"));
}

/// Checks one expression with all its texts and returns their number.
#[track_caller]
fn check(vector: &Vector) -> usize {
    let pattern = bytes(&vector.pattern, &vector.pattern_b64).expect("a pattern");
    let name = String::from_utf8_lossy(&pattern).into_owned();
    let regexp = Regexp::from_bytes(&pattern);
    if let Some(expected) = bytes(&vector.err, &vector.err_b64) {
        let error = regexp.expect_err(&name);
        let (found, expected) = (error.message(), expected);
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
        assert_eq!(found, expected);
        return 0;
    }
    let regexp = regexp.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(regexp.subexp_names()[1..], vector.groups.clone().expect("groups")[..], "{name}");
    for case in &vector.cases {
        check_case(&regexp, case);
    }
    vector.cases.len()
}

#[track_caller]
fn check_case(regexp: &Regexp, case: &Case) {
    let text = bytes(&case.r#in, &case.in_b64).expect("a text");
    let name = format!("{} on {}", regexp.as_str(), String::from_utf8_lossy(&text));
    let found = regexp.find_submatch(&text);
    assert_eq!(found.as_ref().map(offsets), case.r#match, "{name}");
    assert_eq!(regexp.is_match(&text), case.r#match.is_some(), "{name}");
    for expand in &case.expand {
        let Some(template) = &expand.t else { continue };
        let found = found.as_ref().expect("a match to expand");
        let mut out = Vec::new();
        regexp.expand(template, &text, found, &mut out);
        assert_eq!(Some(&out), bytes(&expand.r, &expand.r_b64).as_ref(), "{name}: {template}");
        if let Ok(text) = str::from_utf8(&text) {
            let filled =
                regexp.matcher().expand(&regexp.template(template), text).map(String::from);
            assert_eq!(filled, expand.r, "{name}: {template}");
        }
    }
    if case.r#match.is_some() {
        let all: Vec<_> =
            regexp.find_all(&text).iter().map(|all| offsets(all)[..2].to_vec()).collect();
        let recorded = case.all.as_ref().map(|all| all.iter().map(|pair| pair.to_vec()).collect());
        assert_eq!(
            all,
            recorded.unwrap_or_else(|| vec![offsets(&found.expect("a match"))[..2].to_vec()]),
            "{name}"
        );
    }
    if let Some(replace) = &case.replace_all
        && let Some(template) = &replace.t
    {
        let out = regexp.replace_all(&text, template);
        assert_eq!(Some(&out), bytes(&replace.r, &replace.r_b64).as_ref(), "{name}: {template}");
    }
    if let Some(split) = &case.split {
        let parts: Vec<_> = regexp.split(&text).into_iter().map(String::from_utf8_lossy).collect();
        assert_eq!(&parts, split, "{name}");
    }
}

fn offsets(found: &Submatches) -> Vec<i64> {
    let offset = |place: usize| i64::try_from(place).expect("a small text");
    (0..found.len())
        .flat_map(|group| match found.get(group) {
            Some(span) => [offset(span.start), offset(span.end)],
            None => [-1, -1],
        })
        .collect()
}

fn bytes(text: &Option<String>, base64: &Option<String>) -> Option<Vec<u8>> {
    let decode =
        |text: &String| base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    text.as_ref().map(|text| text.clone().into_bytes()).or_else(|| base64.as_ref().map(decode))
}

fn golden() -> Vec<Vector> {
    let file = include_bytes!("golden/re2.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&file[..]).read_to_string(&mut text).expect("gzip of text");
    text.lines().map(|line| serde_json::from_str(line).expect("a vector")).collect()
}
