//! No template can use more than its limits: each of these ends at once, in an error that says why.

#![expect(clippy::disallowed_methods, reason = "a test looks at the clock")]

use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use gotmpl::{Functions, Limits, Run, Template, Value};

/// Every template here takes milliseconds; the margin is for loaded machines without optimisation.
const AT_ONCE: Duration = Duration::from_secs(120);

const STEPS: &str =
    "the template needs more than 1000000 steps: make loops, repetitions and long strings smaller";

#[test]
fn costly_functions_end_before_they_cost() {
    for template in [
        r#"{{repeat 2000000000 "x"}}"#,
        r#"{{repeat 9223372036854775807 "xyz"}}"#,
        "{{until 1000000000}}",
        "{{untilStep 0 9223372036854775807 1}}",
        "{{seq 1 1000000000}}",
        r#"{{indent 1000000000 "x"}}"#,
        "{{range 1000000000000}}{{end}}",
        r#"{{range until 999}}{{range until 999}}{{range until 999}}{{end}}{{end}}{{end}}"#,
        r#"{{$s := "x"}}{{range until 60}}{{$s = printf "%s%s" $s $s}}{{end}}"#,
        r#"{{$s := "x"}}{{range until 60}}{{$s = cat $s $s}}{{end}}"#,
        r#"{{$s := "x"}}{{range until 60}}{{$s = replace "x" "xx" $s}}{{end}}"#,
        r#"{{$s := "\""}}{{range until 60}}{{$s = quote $s $s}}{{end}}"#,
        r#"{{$l := list 1}}{{range until 60}}{{$l = concat $l $l}}{{end}}"#,
        r#"{{$l := list 1}}{{range until 60}}{{$l = list $l $l}}{{end}}{{toJson $l}}"#,
        r#"{{$l := list 1}}{{range until 60}}{{$l = list $l $l}}{{end}}{{$l | toString}}"#,
        r#"{{$l := list 1}}{{range until 60}}{{$l = list $l $l}}{{end}}{{deepCopy $l}}"#,
        r#"{{$a := list 1}}{{$b := list 1}}{{range until 60}}{{$a = list $a $a}}{{$b = list $b $b}}{{end}}{{deepEqual $a $b}}"#,
        r#"{{$s := repeat 1000000 "a"}}{{range until 1000}}{{regexMatch "a+b" $s}}{{end}}"#,
        r#"{{$s := repeat 20000 "a"}}{{regexFindAll "a*b|a" $s -1}}"#,
        r#"{{$s := repeat 20000 "a"}}{{regexReplaceAll "a*b|a" $s ""}}"#,
        r#"{{regexMatch "(\\pL{500})*x" (repeat 100000 "a")}}"#,
        r#"{{range $i, $_ := until 1000}}{{regexMatch (printf "%d\\pL{900}" $i) "a"}}{{end}}"#,
        r#"{{$p := repeat 6 "(\\pL{2}){500}"}}{{range until 3}}{{regexMatch $p "a" | not}}{{end}}"#,
        r#"{{range until 10}}{{derivePassword 1 "pin" "p" "u" "s" | trunc 0}}{{end}}"#,
        r#"{{$f := 1e300}}{{range until 1000}}{{range until 1000}}{{mulf $f $f $f $f | quote | trunc 0}}{{end}}{{end}}"#,
        r#"{{range until 1000}}{{printf "%1000000d" 1 | trunc 0}}{{end}}"#,
    ] {
        check(template, STEPS);
    }
}

#[test]
fn output_is_bounded() {
    let text = "the template writes more than 65536 bytes";
    check(r#"{{range until 1000}}{{repeat 1000 "x"}}{{end}}"#, text);
    check(r#"{{$l := list 1}}{{range until 60}}{{$l = list $l $l}}{{end}}{{$l}}"#, text);
    check(&"x".repeat(65_537), text);
}

#[test]
fn recursion_is_bounded() {
    let text = "the template nests or calls itself more than 250 levels deep";
    check(r#"{{define "self"}}{{template "self" .}}{{end}}{{template "self" .}}"#, text);
    check(
        r#"{{define "self"}}{{if true}}{{with 1}}{{template "self" .}}{{end}}{{end}}{{end}}{{template "self" .}}"#,
        text,
    );
}

#[test]
fn values_that_hold_themselves_are_no_danger() {
    let text = "a value nests more than 200 levels deep (does it hold itself?)";
    check(r#"{{$d := dict}}{{$_ := set $d "d" $d}}{{$d}}"#, text);
    check(r#"{{$d := dict}}{{$_ := set $d "d" $d}}{{toJson $d}}"#, text);
    check(r#"{{$d := dict}}{{$_ := set $d "d" $d}}{{deepCopy $d}}"#, text);
    check(
        r#"{{$d := dict}}{{$_ := set $d "d" $d}}{{$e := dict}}{{$_ := set $e "d" $e}}{{deepEqual $d $e}}"#,
        text,
    );
    check(
        r#"{{$d := dict}}{{$_ := set $d "d" $d}}{{$e := dict}}{{$_ := set $e "d" $e}}{{merge $d $e}}"#,
        text,
    );
}

#[test]
fn deep_values_are_freed_without_recursion() {
    let template = r#"{{$l := list}}{{range until 100000}}{{$l = list $l}}{{end}}done"#;
    assert_eq!(render(template), Ok("done".into()));
    let template = r#"{{$d := dict}}{{range until 100000}}{{$d = dict "d" $d}}{{end}}done"#;
    assert_eq!(render(template), Ok("done".into()));
}

#[test]
fn deep_templates_are_refused() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(5000), close.repeat(5000));
    check_expected(
        &format!("{{{{{}}}}}", deep("(", ")")),
        expect![[r#"template: t:1: blocks and parentheses nest more than 200 levels deep"#]],
    );
    check_expected(
        &deep("{{if true}}", "{{end}}"),
        expect![[r#"template: t:1: blocks and parentheses nest more than 200 levels deep"#]],
    );
    let chain = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(5000));
    check_expected(
        &chain,
        expect![[r#"template: t:1: blocks and parentheses nest more than 200 levels deep"#]],
    );
}

#[test]
fn a_run_is_shared_by_executions() {
    let template = Template::parse("t", "{{range 600000}}{{end}}", &Functions::hermetic());
    let template = template.expect("the template is sound");
    let mut run = Run::new(Limits::default());
    assert!(template.execute(&Value::Nil, &mut run).is_ok());
    assert!(template.execute(&Value::Nil, &mut run).is_err(), "two loops exceed the steps of one");
}

#[test]
fn an_expression_is_compiled_once_a_run() {
    // Compiled every time, it would cost more than there is.
    let template =
        r#"{{range until 1000}}{{if not (regexMatch "^\\pL{20}|a$" "a")}}x{{end}}{{end}}"#;
    assert_eq!(render(template), Ok(String::new()));
}

fn render(template: &str) -> Result<String, String> {
    let started = Instant::now();
    let template =
        Template::parse("t", template, &Functions::hermetic()).map_err(|e| e.to_string())?;
    let out = template.execute(&Value::Nil, &mut Run::new(Limits::default()));
    assert!(started.elapsed() < AT_ONCE, "it took {:?}", started.elapsed());
    out.map(|out| String::from_utf8_lossy(&out).into_owned()).map_err(|e| e.to_string())
}

#[track_caller]
fn check(template: &str, error: &str) {
    let shown: String = template.chars().take(100).collect();
    assert_eq!(render(template), Err(error.to_owned()), "{shown}");
}

#[track_caller]
fn check_expected(template: &str, error: Expect) {
    error.assert_eq(&render(template).expect_err("the template is refused"));
}
