//! What is a marker, and what is said of one that has no effect.

use automation::marker::find;
use expect_test::{Expect, expect};

#[track_caller]
fn check(text: &str, want: Expect) {
    let found = find(text.as_bytes());
    let markers = found.markers.iter().map(|marker| {
        format!("{}:{} {} = {:?}\n", marker.line, marker.column, marker.setter, marker.old)
    });
    let problems = found.problems.iter().map(|problem| {
        format!("{}:{} {}: {}\n", problem.line, problem.column, problem.reason, problem.message)
    });
    want.assert_eq(&markers.chain(problems).collect::<String>());
}

#[test]
fn markers_are_found_wherever_they_have_an_effect() {
    check(
        "a: x # {\"$imagepolicy\": \"ns:p\"}\nb:\n# {\"$imagepolicy\": \"ns:p:tag\"}\n- y\n- &k 'z'  ## {\"$imagepolicy\":\"ns%3Ap:name\"}\nc: |- # {\"$imagepolicy\": \"ns:p:digest\"}\n  w\nd:\n  # {\"$ref\": \"#/definitions/io.k8s.cli.setters.ns:p\"}\n  v\n",
        expect![[r#"
            1:4 ns:p = "x"
            4:3 ns:p:tag = "y"
            5:3 ns:p:name = "z"
            6:4 ns:p:digest = "w"
            10:3 ns:p = "v"
        "#]],
    );
}

#[test]
fn a_marker_without_effect_is_a_problem() {
    check(
        "k: # {\"$imagepolicy\": \"ns:p\"}\n  a: x # {\"$imagepolicy\": \"ns:p:tags\"}\n# {\"$imagepolicy\": \"ns:p\"}\nb: x # {\"$imagepolicy\": \"ns:p\"} more\nc: [x] # {\"$imagepolicy\": \"ns:p\"}\nd: x # {'$imagepolicy': 'ns:p'}\ne: x # {\"$imagepolicy\": 1}\nf: x # set {\"$imagepolicy\": \"ns:p\"}\n# prose about {\"$imagepolicy\": \"ns:p\"}\ng: x # {\"$ImagePolicy\": \"ns:p\"}\n",
        expect![[r#"
            1:4 Misplaced: marker `ns:p` has no effect: it stands on a key without a scalar value on its line; put it behind a scalar value
            2:8 Setter: marker `ns:p:tags` has no effect: after the policy only `:tag`, `:name` or `:digest` may follow
            3:1 Misplaced: marker `ns:p` has no effect: it stands above a key; put it behind the value, on the same line
            4:6 Malformed: marker has no effect: nothing may follow the JSON object in its comment
            5:8 Misplaced: marker `ns:p` has no effect: it belongs to a collection, an alias or nothing; put it behind a scalar value, on the same line
            6:6 Malformed: marker has no effect: it is no JSON object; its strings take double quotes
            7:6 Malformed: marker has no effect: all values of its JSON object must be strings, and not empty
            8:6 Malformed: marker has no effect: only `#` may stand before the JSON object in its comment
            10:6 Malformed: marker has no effect: its key is `$imagepolicy`, in lower case
        "#]],
    );
}

#[test]
fn a_file_that_does_not_parse_is_a_problem_with_its_line() {
    check(
        "a: x # {\"$imagepolicy\": \"ns:p\"}\n{{- if .Values.x }}\nb: c\n",
        expect![[r#"
        2:3 Unreadable: the file holds markers but does not parse: "-" is only valid inside a block
    "#]],
    );
    let wide: Vec<u8> =
        "a: x # {\"$imagepolicy\": \"ns:p\"}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    expect!["the file holds markers but does not parse: the file is not UTF-8 but UTF-16 or UTF-32: save it as UTF-8"].assert_eq(&find(&wide).problems[0].message);
}

#[test]
fn a_file_without_the_token_is_not_judged() {
    check("a: [ # {'$imagepolicy': 'ns:p'}\n", expect![[""]]);
}
