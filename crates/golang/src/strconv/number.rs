//! Numbers and booleans.

use super::{NumError, Reason};

/// Digits after which every `f64` has only zeros: its exact decimal value has no more.
const EXACT_DIGITS: usize = 1100;

/// Returns the number in Go's format `verb` (`e`, `E`, `f`, `g`, `G`, `b`, `x`, `X`).
///
/// `precision` counts digits as Go does; `None` asks for the shortest text that reads back as the same number.
pub fn format_float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{}Inf", if sign.is_empty() { "+" } else { sign });
    }
    let magnitude = value.abs();
    let body = match verb {
        'b' => binary(magnitude),
        'x' | 'X' => hexadecimal(magnitude, precision, verb),
        'e' | 'E' => scientific(&Decimal::of(magnitude, precision.map(|p| p + 1)), precision, verb),
        'g' | 'G' => general(magnitude, precision, verb),
        _ => fixed(magnitude, precision),
    };
    format!("{sign}{body}")
}

/// Returns the value of `true`, `T`, `1`, … as Go's `ParseBool` reads them.
pub fn parse_bool(text: &str) -> Result<bool, NumError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(error("ParseBool", text, Reason::Syntax)),
    }
}

/// Returns the signed number of at most `bits` bits; base 0 reads Go's prefixes and underscores.
pub fn parse_int(text: &str, base: u32, bits: u32) -> Result<i64, NumError> {
    let fail = |reason| error("ParseInt", text, reason);
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = magnitude(digits, base, bits).map_err(fail)?;
    let cutoff = 1u64 << (bits - 1);
    match negative {
        false if magnitude >= cutoff => Err(fail(Reason::Range)),
        true if magnitude > cutoff => Err(fail(Reason::Range)),
        false => Ok(magnitude as i64),
        true => Ok((magnitude as i64).wrapping_neg()),
    }
}

/// Returns the unsigned number of at most `bits` bits; base 0 reads Go's prefixes and underscores.
pub fn parse_uint(text: &str, base: u32, bits: u32) -> Result<u64, NumError> {
    magnitude(text, base, bits).map_err(|reason| error("ParseUint", text, reason))
}

/// Returns the number that the text stands for: decimal, hexadecimal (`0x1p-2`), `inf`, `nan`.
pub fn parse_float(text: &str) -> Result<f64, NumError> {
    let fail = |reason| error("ParseFloat", text, reason);
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if body.contains('_') && !underscores_are_sound(body) {
        return Err(fail(Reason::Syntax));
    }
    let lower = body.to_ascii_lowercase();
    let value = match lower.replace('_', "").as_str() {
        _ if lower.starts_with("0x") => hexadecimal_value(&lower).ok_or(fail(Reason::Syntax))?,
        "inf" | "infinity" => return Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        "nan" if body.len() == text.len() => return Ok(f64::NAN),
        digits if !is_decimal(digits) => return Err(fail(Reason::Syntax)),
        digits => digits.parse().map_err(|_| fail(Reason::Syntax))?,
    };
    if value.is_infinite() {
        return Err(fail(Reason::Range));
    }
    Ok(if negative { -value } else { value })
}

/// A positive number as digits `d.ddd` times a power of ten.
struct Decimal {
    digits: Vec<u8>,
    exponent: i32,
}

impl Decimal {
    /// Returns the shortest digits that read back as `value`, or `count` correctly rounded ones.
    fn of(value: f64, count: Option<usize>) -> Decimal {
        let text = match count {
            None => format!("{value:e}"),
            Some(n) => format!("{value:.*e}", n.saturating_sub(1).min(EXACT_DIGITS)),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa.bytes().filter(|byte| *byte != b'.').collect();
        Decimal { digits, exponent: exponent.parse().unwrap_or(0) }
    }

    fn digit(&self, at: usize) -> char {
        self.digits.get(at).map_or('0', |digit| char::from(*digit))
    }
}

fn scientific(decimal: &Decimal, precision: Option<usize>, verb: char) -> String {
    let after = precision.unwrap_or(decimal.digits.len() - 1);
    let mut out = String::with_capacity(after + 8);
    out.push(decimal.digit(0));
    if after > 0 {
        out.push('.');
        out.extend((1..=after).map(|at| decimal.digit(at)));
    }
    let sign = if decimal.exponent < 0 { '-' } else { '+' };
    out.extend([verb, sign]);
    out.push_str(&format!("{:02}", decimal.exponent.unsigned_abs()));
    out
}

fn fixed(value: f64, precision: Option<usize>) -> String {
    match precision {
        None => format!("{value}"),
        Some(count) => {
            let mut out = format!("{value:.*}", count.min(EXACT_DIGITS));
            out.extend(std::iter::repeat_n('0', count.saturating_sub(EXACT_DIGITS)));
            out
        }
    }
}

fn general(value: f64, precision: Option<usize>, verb: char) -> String {
    let count = precision.map(|count| count.max(1));
    let mut decimal = Decimal::of(value, count);
    while decimal.digits.len() > 1 && decimal.digits.last() == Some(&b'0') {
        decimal.digits.pop();
    }
    let n_digits = decimal.digits.len() as i64;
    let exponent = i64::from(decimal.exponent);
    let limit = match count.map(|count| count as i64) {
        None => 6,
        Some(count) if count > n_digits && n_digits > exponent => n_digits,
        Some(count) => count,
    };
    if exponent < -4 || exponent >= limit {
        let exponent_verb = if verb == 'G' { 'E' } else { 'e' };
        return scientific(&decimal, None, exponent_verb);
    }
    plain(&decimal)
}

/// Writes digits without an exponent.
fn plain(decimal: &Decimal) -> String {
    let mut out = String::new();
    let point = decimal.exponent + 1;
    if point <= 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
        out.extend(decimal.digits.iter().map(|digit| char::from(*digit)));
        return if decimal.digits == [b'0'] { "0".into() } else { out };
    }
    let point = point as usize;
    out.extend((0..point).map(|at| decimal.digit(at)));
    if decimal.digits.len() > point {
        out.push('.');
        out.extend(decimal.digits[point..].iter().map(|digit| char::from(*digit)));
    }
    out
}

/// Returns mantissa and exponent of base 2 with `value == mantissa * 2^exponent`.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let (fraction, exponent) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i32);
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

fn binary(value: f64) -> String {
    let (mantissa, exponent) = parts(value);
    format!("{mantissa}p{exponent:+}")
}

fn hexadecimal(value: f64, precision: Option<usize>, verb: char) -> String {
    let (mut mantissa, mut exponent) = parts(value);
    if mantissa == 0 {
        exponent = 0;
    } else {
        // One bit before the point, sixty after it.
        let shift = mantissa.leading_zeros() - 3;
        mantissa <<= shift;
        exponent += 60 - shift as i32;
        if let Some(digits) = precision.filter(|digits| *digits < 15) {
            let shift = 60 - digits as u32 * 4;
            let (extra, half) = (mantissa & ((1 << shift) - 1), 1u64 << (shift - 1));
            mantissa >>= shift;
            if extra > half || extra == half && mantissa & 1 == 1 {
                mantissa += 1;
            }
            mantissa <<= shift;
            if mantissa & 1 << 61 != 0 {
                mantissa >>= 1;
                exponent += 1;
            }
        }
    }
    let digits = format!("{:015x}", mantissa & ((1 << 60) - 1));
    let digits = match precision {
        None => digits.trim_end_matches('0').to_owned(),
        Some(count) => format!("{digits:0<count$}", count = count.min(EXACT_DIGITS))
            [..count.min(EXACT_DIGITS)]
            .to_owned(),
    };
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let out = format!("0x{}{point}{digits}p{sign}{:02}", mantissa >> 60, exponent.unsigned_abs());
    if verb == 'X' { out.to_uppercase() } else { out }
}

fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let dots = mantissa.bytes().filter(|byte| *byte == b'.').count();
    let exponent_is_sound = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    digits > 0 && dots <= 1 && digits + dots == mantissa.len() && exponent_is_sound
}

/// Reads `0x…p…` in lower case; the exponent is obligatory, underscores do not count.
fn hexadecimal_value(text: &str) -> Option<f64> {
    let text = text.replace('_', "");
    let (mantissa, exponent) = text.strip_prefix("0x")?.split_once('p')?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut exponent: i64 =
        exponent.parse().unwrap_or(if exponent.starts_with('-') { -100_000 } else { 100_000 });
    let (mut value, mut n_digits, mut seen_point) = (0u64, 0, false);
    for byte in mantissa.bytes() {
        if byte == b'.' && !seen_point {
            seen_point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        n_digits += 1;
        if value >> 58 == 0 {
            value = value << 4 | u64::from(digit);
            exponent -= if seen_point { 4 } else { 0 };
        } else {
            // Beyond 58 bits only "something follows" matters for rounding.
            value |= u64::from(digit != 0);
            exponent += if seen_point { 0 } else { 4 };
        }
    }
    (n_digits > 0).then(|| scale(value, exponent.clamp(-200_000, 200_000) as i32))
}

/// Returns `value * 2^exponent`, rounded once, half to even.
fn scale(mut value: u64, mut exponent: i32) -> f64 {
    if value == 0 {
        return 0.0;
    }
    let zeros = value.leading_zeros();
    value <<= zeros;
    exponent -= zeros as i32;
    // `value` has its top bit set: the number is in [2^(exponent+63), 2^(exponent+64)).
    let top = exponent + 63;
    if top > 1023 {
        return f64::INFINITY;
    }
    let drop = 11 + (-1022 - top).max(0);
    if drop > 64 {
        return 0.0;
    }
    let (kept, lost, half) = if drop == 64 {
        (0, value, 1u64 << 63)
    } else {
        (value >> drop, value & ((1 << drop) - 1), 1u64 << (drop - 1))
    };
    let rounded = kept + u64::from(lost > half || lost == half && kept & 1 == 1);
    let unit = exponent + drop;
    // `rounded` has at most 53 bits and `unit` is at least -1074, so both products are exact.
    let first = unit.clamp(-1022, 1023);
    let power = |e: i32| f64::from_bits(((e + 1023) as u64) << 52);
    rounded as f64 * power(first) * power((unit - first).clamp(-1022, 1023))
}

fn magnitude(text: &str, base: u32, bits: u32) -> Result<u64, Reason> {
    let lower = text.as_bytes().get(1).map(u8::to_ascii_lowercase);
    let prefixed = base == 0 && text.starts_with('0') && text.len() > 2;
    let (radix, digits) = match lower {
        _ if base != 0 => (base, text),
        Some(b'x') if prefixed => (16, &text[2..]),
        Some(b'b') if prefixed => (2, &text[2..]),
        Some(b'o') if prefixed => (8, &text[2..]),
        Some(_) if text.starts_with('0') => (8, &text[1..]),
        _ => (10, text),
    };
    if digits.is_empty() {
        return Err(Reason::Syntax);
    }
    let limit = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let mut value = 0u64;
    for byte in digits.bytes().filter(|byte| base != 0 || *byte != b'_') {
        let digit = char::from(byte).to_digit(radix).ok_or(Reason::Syntax)?;
        let next =
            value.checked_mul(u64::from(radix)).and_then(|v| v.checked_add(u64::from(digit)));
        // What follows a number that is too large is not looked at.
        value = next.filter(|next| *next <= limit).ok_or(Reason::Range)?;
    }
    if base == 0 && text.contains('_') && !underscores_are_sound(text) {
        return Err(Reason::Syntax);
    }
    Ok(value)
}

/// Returns whether every underscore stands between digits, or between a base prefix and a digit.
fn underscores_are_sound(text: &str) -> bool {
    let bytes = text.as_bytes();
    let prefix = match bytes {
        [b'0', b'x' | b'X' | b'b' | b'B' | b'o' | b'O', ..] => 2,
        _ => 0,
    };
    let is_hex = matches!(bytes, [b'0', b'x' | b'X', ..]);
    let is_digit = |byte: u8| byte.is_ascii_digit() || is_hex && byte.is_ascii_hexdigit();
    (prefix..bytes.len()).filter(|at| bytes[*at] == b'_').all(|at| {
        let before = at == prefix && prefix > 0 || at > prefix && is_digit(bytes[at - 1]);
        before && bytes.get(at + 1).is_some_and(|next| is_digit(*next))
    })
}

fn error(function: &'static str, text: &str, reason: Reason) -> NumError {
    NumError { function, text: text.to_owned(), reason }
}
