//! Whatever the template, parsing and executing it ends within its fuel and never panics.

use gotmpl::{Functions, Limits, Run, Template, Value};
use trial::fuzz::{Body, replay, run_if_asked};

const BODIES: [Body; 1] = [Body {
    name: "template",
    run: template,
    // With these a mutated template is more likely to parse.
    words: &[
        "{{",
        "}}",
        "{{-",
        "-}}",
        "(",
        ")",
        "|",
        " ",
        ".",
        "$",
        ":=",
        "=",
        ",",
        "{{end}}",
        "{{else}}",
        "{{range .l}}",
        "{{if .n}}",
        "{{with .m}}",
        "\"%v\"",
        "printf ",
        "index .l ",
        "toJson ",
        "list ",
        "99999999999",
    ],
    input_max: 4_096,
}];

/// One input: a template's text, which is executed on data of every kind.
fn template(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(template) = Template::parse("fuzz", &text, &Functions::hermetic()) else { return };
    let limits = Limits { steps: 20_000, output: 4096, depth: 100 };
    let mut run = Run::new(limits);
    if let Ok(out) = template.execute(&data(), &mut run) {
        assert!(out.len() <= limits.output, "the output is bounded");
        assert!(run.steps() <= limits.steps, "the steps are bounded");
    }
}

fn data() -> Value {
    let list = || Value::list(["a".into(), Value::Int(2), Value::Nil, Value::Float(1.5)]);
    Value::dict([
        ("n", Value::Float(3.0)),
        ("s", "hello wörld".into()),
        ("b", Value::string(b"\xff\xc3")),
        ("l", list()),
        ("m", Value::dict([("a", list()), ("b", true.into())])),
    ])
}

#[test]
fn the_corpus_holds() {
    replay(env!("CARGO_MANIFEST_DIR"), &BODIES);
}

#[test]
fn fuzz() {
    run_if_asked(env!("CARGO_MANIFEST_DIR"), &BODIES);
}
