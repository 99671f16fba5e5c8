//! What a plain scalar means: YAML 1.1 as Go's yaml.v2 reads it, and the cautious union of what readers make of it.

/// The meaning of a plain scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved {
    /// Null.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer that fits `i64`.
    Int(i64),
    /// An integer that only fits `u64`.
    Uint(u64),
    /// A floating-point number.
    Float(f64),
    /// A date or a date with a time.
    Timestamp,
    /// The merge key `<<`.
    Merge,
    /// Text.
    String,
}

/// Returns what yaml.v2 makes of a plain scalar.
pub fn resolve(text: &str) -> Resolved {
    let Some(&first) = text.as_bytes().first() else { return Resolved::Null };
    match first {
        b'0'..=b'9' | b'+' | b'-' => match keyword(text) {
            Some(resolved) => resolved,
            None if is_timestamp(text) => Resolved::Timestamp,
            None => number(text).unwrap_or(Resolved::String),
        },
        b'.' => keyword(text).or_else(|| point_float(text)).unwrap_or(Resolved::String),
        _ => keyword(text).unwrap_or(Resolved::String),
    }
}

/// Returns whether every common reader, of YAML 1.1 or 1.2, takes the plain scalar for text.
///
/// Stricter than [`resolve`]: `12e4567` and `20:10` are numbers to some readers, and `=` is a type of its own.
pub fn is_text_everywhere(text: &str) -> bool {
    resolve(text) == Resolved::String
        && text != "="
        && !is_decimal_float(text)
        && !is_sexagesimal(text)
        && !is_timestamp_start(text)
        && core_integer(text).is_none()
}

fn keyword(text: &str) -> Option<Resolved> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Resolved::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Resolved::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Resolved::Null,
        ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
        "<<" => Resolved::Merge,
        _ => return None,
    })
}

/// A number whose first character is a digit or a sign: Go's `ParseInt(text, 0, 64)` without underscores, then floats.
fn number(text: &str) -> Option<Resolved> {
    let plain = text.replace('_', "");
    if let Some(integer) = go_integer(&plain) {
        return Some(integer);
    }
    if !is_decimal_float(&plain) {
        return None;
    }
    finite(&plain)
}

/// A number that begins with a point: Go's `ParseFloat`, in which an underscore stands between two digits.
fn point_float(text: &str) -> Option<Resolved> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let separated = |at: usize| at > 0 && digit(at - 1) && digit(at + 1);
    if memchr::memchr_iter(b'_', bytes).any(|at| !separated(at)) {
        return None;
    }
    let plain = text.replace('_', "");
    if is_decimal_float(&plain) { finite(&plain) } else { None }
}

fn finite(text: &str) -> Option<Resolved> {
    text.parse::<f64>().ok().filter(|float| float.is_finite()).map(Resolved::Float)
}

fn go_integer(text: &str) -> Option<Resolved> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = radix(digits);
    let signed = digits.starts_with(['+', '-']);
    let magnitude = u64::from_str_radix(digits, radix).ok().filter(|_| !signed)?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Resolved::Int);
    }
    match i64::try_from(magnitude) {
        Ok(int) => Some(Resolved::Int(int)),
        // Go's ParseUint takes no sign.
        Err(_) => (!text.starts_with('+')).then_some(Resolved::Uint(magnitude)),
    }
}

fn radix(digits: &str) -> (u32, &str) {
    let bytes = digits.as_bytes();
    if bytes.len() < 2 || bytes[0] != b'0' {
        return (10, digits);
    }
    match bytes[1].to_ascii_lowercase() {
        b'x' => (16, &digits[2..]),
        b'o' => (8, &digits[2..]),
        b'b' => (2, &digits[2..]),
        _ => (8, &digits[1..]),
    }
}

/// An integer to some reader although it exceeds 64 bits.
fn core_integer(text: &str) -> Option<()> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (radix, digits) = radix(digits);
    let mut digits = digits.bytes().filter(|byte| *byte != b'_').peekable();
    digits.peek()?;
    digits.all(|byte| char::from(byte).is_digit(radix.max(10))).then_some(())
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_decimal_float(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let whole = text.len() - rest.len();
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if whole == 0 && after.len() == fraction.len() {
                return false;
            }
            after
        }
        None if whole == 0 => return false,
        None => rest,
    };
    match rest.strip_prefix(['e', 'E']) {
        Some(exponent) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        }
        None => rest.is_empty(),
    }
}

/// `20:10`, `190:20:30`, `-1:2.5`: base 60 in YAML 1.1.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = text.split(':');
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'_' | b'.'))
    };
    parts.next().is_some_and(number) && text.contains(':') && parts.all(number)
}

fn is_timestamp_start(text: &str) -> bool {
    text.split(['T', 't', ' ']).next().is_some_and(|date| split_date(date).is_some())
}

/// Returns whether Go's yaml reads the text as a timestamp.
pub fn is_timestamp(text: &str) -> bool {
    let Some(at) = text.find(['T', 't', ' ']) else { return split_date(text).is_some() };
    let (date, time) = (&text[..at], &text[at + 1..]);
    split_date(date).is_some() && is_clock(time, !text[at..].starts_with(' '))
}

fn split_date(text: &str) -> Option<()> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let year = digits(year, 4)?;
    let month = digits(month, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (1..=length).contains(&digits(day, 2)?).then_some(())
}

fn digits(text: &str, max: usize) -> Option<u32> {
    let fits = (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

fn is_clock(text: &str, with_zone: bool) -> bool {
    let clock = if with_zone {
        match text.strip_suffix('Z') {
            Some(clock) => clock,
            None => match text.rfind(['+', '-']) {
                Some(at) if is_zone(&text[at + 1..]) => &text[..at],
                _ => return false,
            },
        }
    } else {
        text
    };
    let parts: Vec<&str> = clock.splitn(3, ':').collect();
    let [hour, minute, second] = parts[..] else { return false };
    let (second, fraction) = match second.find(['.', ',']) {
        Some(at) => (&second[..at], Some(&second[at + 1..])),
        None => (second, None),
    };
    let below = |text: &str, limit: u32| digits(text, 2).is_some_and(|value| value < limit);
    let fraction_holds =
        fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|byte| byte.is_ascii_digit()));
    hour.len() == 2 && below(hour, 24) && below(minute, 60) && below(second, 60) && fraction_holds
}

fn is_zone(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 5
        && bytes[2] == b':'
        && digits(&text[..2], 2).is_some_and(|hour| hour <= 24)
        && digits(&text[3..], 2).is_some_and(|minute| minute < 60)
}
