//! Edits: every style, and that nothing outside the edited value changes.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use yaml::{
    edit::{Edit, replace},
    scan::scan,
};

/// Gives the scalar that reads as `OLD` (or begins with it) the new value.
fn edited(text: &str, value: &str) -> String {
    let stream = scan(text).expect("YAML");
    let edits: Vec<Edit<'_>> = stream
        .events
        .iter()
        .filter(|event| {
            event.scalar().is_some_and(|scalar| scalar.value.trim_start().starts_with("OLD"))
        })
        .map(|event| Edit { span: event.span.clone(), value })
        .collect();
    match replace(text.as_bytes(), &edits) {
        Ok(bytes) => String::from_utf8(bytes).expect("UTF-8"),
        Err(error) => format!("{error}\n"),
    }
}

#[track_caller]
fn check(text: &str, value: &str, want: Expect) {
    want.assert_eq(&edited(text, value));
}

#[test]
fn every_style_is_kept() {
    let text = "a: OLD # c\nb: 'OLD'\nc: \"OLD\"   # c\nd: |- # c\n    OLD\n    more\n\ne: >-\n  OLD\nf: {x: OLD, y: [OLD, \"OLD\"]}\n";
    check(
        text,
        "v2",
        expect![[r#"
        a: v2 # c
        b: 'v2'
        c: "v2"   # c
        d: |- # c
            v2

        e: >-
          v2
        f: {x: v2, y: [v2, "v2"]}
    "#]],
    );
}

#[test]
fn properties_line_ends_and_the_byte_order_mark_stay() {
    let text = "\u{feff}a: &x !!str OLD\r\nb:   \"OLD\"\t# c\r\nc: *x";
    assert_eq!(edited(text, "v2"), text.replace("OLD", "v2"));
}

#[test]
fn several_lines_become_one() {
    check(
        "a: OLD\n  and more\nb: \"OLD\n\n  more\" # c\n",
        "v2",
        expect![[r#"
        a: v2
        b: "v2" # c
    "#]],
    );
}

#[test]
fn a_block_keeps_its_indentation_and_ends_without_a_break() {
    check(
        "a: |2 # c\n  OLD\n\nb: >+\n      OLD\n\n\nc: |\n OLD",
        "v2",
        expect![[r#"
        a: |2- # c
          v2

        b: >-
              v2


        c: |-
         v2"#]],
    );
}

#[test]
fn a_value_that_is_no_text_to_some_reader_is_quoted() {
    for value in [
        "1.10",
        "0755",
        "yes",
        "12e4567",
        "20:10",
        "2021-01-01",
        "",
        "~",
        "=",
        "0o17",
        "- x",
        "a: b",
        "a #b",
    ] {
        assert_eq!(edited("a: OLD\n", value), format!("a: \"{value}\"\n"));
    }
    assert_eq!(edited("a: OLD\n", "repo/x:v2@sha256:ab"), "a: repo/x:v2@sha256:ab\n");
}

#[test]
fn a_tag_that_says_number_says_text_afterwards() {
    check(
        "a: !!binary OLD\nb: ! OLD\nc: !own OLD\n",
        "v2",
        expect![[r#"
        a: !!str v2
        b: ! v2
        c: !own v2
    "#]],
    );
}

#[test]
fn an_empty_value_takes_quotes() {
    check(
        "a: |- # c\n  OLD\nb: 'OLD'\n",
        "",
        expect![[r#"
        a: "" # c
        b: ''
    "#]],
    );
}

#[test]
fn faults_are_named() {
    let fault = |text: &str, spans: &[(usize, usize)]| {
        let edits: Vec<Edit<'_>> =
            spans.iter().map(|&(start, end)| Edit { span: start..end, value: "v" }).collect();
        replace(text.as_bytes(), &edits).expect_err("a fault").to_string()
    };
    assert_eq!(fault("a: [OLD\n", &[]), "the file does not parse");
    assert_eq!(fault("a: OLD\n", &[(3, 5)]), "there is no scalar at byte 3");
    assert_eq!(fault("a: OLD\n", &[(3, 6), (3, 6)]), "line 1: two edits of one value");
}

/// A scalar in some style at some place: what precedes it, what follows, and its indentation.
fn place() -> impl Strategy<Value = String> {
    let style = prop::sample::select(vec![
        "OLD",
        "'OLD'",
        "\"OLD\"",
        "&a OLD",
        "!!str OLD",
        "|-\n        OLD",
        "> # c\n         OLD\n\n",
        "{a: OLD, b: [x, 'OLD']}",
        "[OLD,\n      \"OLD\" ]",
        "OLD\n       more",
        "\n       OLD",
    ]);
    let comment =
        prop::sample::select(vec!["", " # c", "   #  c é", "\t# {\"$imagepolicy\": \"ns:p\"}"]);
    let noise = prop::sample::select(vec![
        "",
        "\n",
        "# own\n",
        "   # own\n\n",
        "x:   y  \n",
        "'k' : [ a,b ]\n",
        "l: |\n   t  \n   u\n",
    ]);
    (style, comment, noise, 0usize..1000).prop_map(|(style, comment, noise, n)| {
        let comment = if style.contains('\n') { "" } else { comment };
        format!("{noise}k{n}:  {style}{comment}\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Cutting the edited spans out of both texts leaves the same bytes, whatever stands around them.
    #[test]
    fn bytes_outside_the_spans_stay(
        places in prop::collection::vec(place(), 1..8),
        crlf: bool, bom: bool, open: bool,
        value in "[a-z0-9][a-z0-9./:-]{0,12}[a-z0-9]",
    ) {
        let mut text: String = places.concat();
        // Where the value stands elsewhere too, cutting it out would cut more than the edits.
        prop_assume!(!text.contains(&value));
        if open { text.truncate(text.trim_end().len()); }
        if crlf { text = text.replace('\n', "\r\n"); }
        if bom { text.insert(0, '\u{feff}'); }
        let Ok(stream) = scan(&text) else { return Ok(()) };
        let targets: Vec<_> = stream.events.iter()
            .filter(|event| event.scalar().is_some_and(|scalar| scalar.value.trim_start().starts_with("OLD")))
            .collect();
        let edits: Vec<Edit<'_>> = targets.iter().map(|event| Edit { span: event.span.clone(), value: &value }).collect();
        let new = String::from_utf8(replace(text.as_bytes(), &edits).expect("editable")).expect("UTF-8");
        // What is left without the old values, and without the new ones in any style, headers included.
        let left = |text: &str, value: &str| {
            let mut left = text.replace(&format!("\"{value}\""), "@").replace(&format!("'{value}'"), "@").replace(value, "@");
            for (from, to) in [("\r", ""), ("\n       more", ""), ("> #", ">- #")] { left = left.replace(from, to); }
            left
        };
        prop_assert_eq!(left(&text, "OLD"), left(&new, &value));
        prop_assert_eq!(text.matches('\r').count() - if crlf { text.matches("\n       more").count() } else { 0 }, new.matches('\r').count());
        prop_assert_eq!(&replace(new.as_bytes(), &[]).expect("no edit"), new.as_bytes());
    }
}
