//! Constants, with all the types each can take.

use golang::strconv::{parse_float, parse_int, parse_uint, quote, unquote_char};

use crate::lex::Kind;
use crate::node::Number;

/// Returns the number that a token stands for, or Go's text of what is wrong with it.
pub(super) fn parse(text: &str, kind: Kind) -> Result<Number, String> {
    match kind {
        Kind::CharConstant => character(text),
        Kind::Complex => complex(text),
        _ => plain(text),
    }
}

fn character(text: &str) -> Result<Number, String> {
    let rune = unquote_char(&text.as_bytes()[1..], b'\'').map_err(|error| error.to_string())?;
    if rune.rest != b"'" {
        return Err(format!("malformed character constant: {text}"));
    }
    let value = rune.value;
    Ok(Number {
        text: text.into(),
        int: Some(value.into()),
        uint: Some(value.into()),
        float: Some(value.into()),
        complex: None,
    })
}

fn complex(text: &str) -> Result<Number, String> {
    let illegal = || "syntax error scanning complex number".to_owned();
    let body = text.strip_suffix('i').ok_or_else(illegal)?;
    // The sign between the parts is the last one that does not belong to an exponent.
    let split = body
        .char_indices()
        .rev()
        .find(|(at, sign)| {
            *at > 0 && matches!(sign, '+' | '-') && !body[..*at].ends_with(['e', 'E', 'p', 'P'])
        })
        .map(|(at, _)| at)
        .ok_or_else(illegal)?;
    let real = parse_float(&body[..split]).map_err(|_| illegal())?;
    let imaginary = parse_float(&body[split..]).map_err(|_| illegal())?;
    Ok(of_complex(text, real, imaginary))
}

fn of_complex(text: &str, real: f64, imaginary: f64) -> Number {
    let mut number =
        Number { text: text.into(), complex: Some((real, imaginary)), ..Number::default() };
    if imaginary == 0.0 {
        number.float = Some(real);
        number.int = Some(real as i64).filter(|int| *int as f64 == real);
        number.uint = Some(real as u64).filter(|uint| *uint as f64 == real);
    }
    number
}

fn plain(text: &str) -> Result<Number, String> {
    if let Some(imaginary) = text.strip_suffix('i').and_then(|text| parse_float(text).ok()) {
        return Ok(of_complex(text, 0.0, imaginary));
    }
    let mut number = Number { text: text.into(), ..Number::default() };
    number.uint = parse_uint(text, 0, 64).ok();
    number.int = parse_int(text, 0, 64).ok();
    if number.int == Some(0) {
        number.uint = Some(0);
    }
    match (number.int, number.uint) {
        (Some(int), _) => number.float = Some(int as f64),
        (None, Some(uint)) => number.float = Some(uint as f64),
        (None, None) => {
            let Ok(float) = parse_float(text) else {
                return Err(format!("illegal number syntax: {}", quote(text.as_bytes())));
            };
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(format!("integer overflow: {}", quote(text.as_bytes())));
            }
            number.float = Some(float);
            number.int = whole(float);
            number.uint = whole(float).and_then(|int| u64::try_from(int).ok());
        }
    }
    Ok(number)
}

/// Returns the integer that a float is, if it is one; 2^63 is not, though a saturating cast says so.
fn whole(float: f64) -> Option<i64> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    Some(float as i64).filter(|int| float < END && *int as f64 == float)
}
