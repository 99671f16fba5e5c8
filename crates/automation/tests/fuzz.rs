//! Fuzz bodies: any text is a number or refused, and numbers are ordered.

use std::cmp::Ordering;

use automation::policy::Number;
use trial::fuzz::{Body, replay, run_if_asked};

const BODIES: [Body; 1] = [Body {
    name: "number",
    run: number,
    words: &[
        "\n",
        "0",
        "1",
        "9",
        "00",
        "12345678",
        "1234567890123456789",
        ".",
        "-",
        "+",
        "_",
        "e",
        "e-",
        "0x",
        "p1",
        "p-4",
        "a",
        "inf",
        "nan",
        "e99999",
        "9007199254740993",
    ],
    input_max: 256,
}];

/// The most lines that are compared: every three of them are.
const LINES_MAX: usize = 12;

/// Every line is a number or not.
fn number(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines = text.lines().take(LINES_MAX);
    let numbers: Vec<(&str, Number)> =
        lines.filter_map(|line| Some((line, Number::parse(line).ok()?))).collect();
    for (a_text, a) in &numbers {
        for (b_text, b) in &numbers {
            let ordering = a.cmp(b);
            assert_eq!(ordering, b.cmp(a).reverse(), "{a_text} {b_text}");
            assert_eq!(ordering.is_eq(), a == b, "{a_text} {b_text}");
            assert_eq!(opposite(a_text).cmp(&opposite(b_text)), ordering.reverse());
            // Rounding to a float may make numbers equal, but never turns them around.
            if let (Ok(a), Ok(b)) = (a_text.parse::<f64>(), b_text.parse::<f64>()) {
                let floats = a.partial_cmp(&b).expect("NaN is no number");
                let agree = floats == ordering || floats == Ordering::Equal;
                assert!(agree, "{a_text} {b_text} {floats:?} {ordering:?}");
            }
            if let (Ok(a), Ok(b)) = (a_text.parse::<u64>(), b_text.parse::<u64>()) {
                assert_eq!(a.cmp(&b), ordering, "{a_text} {b_text}");
            }
            for (c_text, c) in numbers.iter().filter(|(_, c)| a <= b && b <= c) {
                assert!(a <= c, "{a_text} {b_text} {c_text}");
            }
        }
    }
}

/// Returns the number with the other sign.
fn opposite(text: &str) -> Number {
    let text = match text.strip_prefix('-') {
        Some(text) => text.to_owned(),
        None => format!("-{}", text.strip_prefix('+').unwrap_or(text)),
    };
    Number::parse(&text).expect("a number has two signs")
}

#[test]
fn the_corpus_holds() {
    replay(env!("CARGO_MANIFEST_DIR"), &BODIES);
}

#[test]
fn fuzz() {
    run_if_asked(env!("CARGO_MANIFEST_DIR"), &BODIES);
}
