//! Go's `time`: durations and times, their grammars, error texts and spellings.

mod instant;
mod layout;
mod parse;

pub use instant::Time;
pub use parse::ParseError;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A signed span of time in nanoseconds, as Go's `time.Duration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

/// Why a text is not a duration, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text does not follow the grammar, or its value does not fit.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number has no unit behind it.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit is not one of ns, us, ms, s, m, h.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// The whole text.
        text: String,
    },
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// One second, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// The first value above what a duration can hold; allowed only behind a minus sign.
const OVERFLOW: u64 = 1 << 63;

impl Duration {
    /// The duration of no length.
    pub const ZERO: Duration = Duration(0);

    /// Returns the duration of this many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Duration {
        Duration(nanos)
    }

    /// Returns the duration of this many seconds, at most what a duration can hold.
    pub const fn from_secs(secs: i64) -> Duration {
        Duration(secs.saturating_mul(SECOND as i64))
    }

    /// Returns the length in nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns the length for Rust's clocks; a negative one is zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<std::time::Duration> for Duration {
    /// Longer than a `Duration` can hold (292 years) becomes the longest one.
    fn from(duration: std::time::Duration) -> Duration {
        Duration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Duration, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Duration::ZERO);
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total = 0_u64;
        while !rest.is_empty() {
            let (length, after) = take_part(rest, text)?;
            total = total.checked_add(length).filter(|t| *t <= OVERFLOW).ok_or_else(invalid)?;
            rest = after;
        }
        if negative {
            return Ok(Duration((total as i64).wrapping_neg()));
        }
        i64::try_from(total).map(Duration).map_err(|_| invalid())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let length = self.0.unsigned_abs();
        match length {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{length}ns"),
            1_000..1_000_000 => write_decimal(f, length, 1_000, "µs"),
            1_000_000..SECOND => write_decimal(f, length, 1_000_000, "ms"),
            _ => {
                let minutes = length / (60 * SECOND);
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write_decimal(f, length % (60 * SECOND), SECOND, "s")
            }
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Takes one number with its unit; `text` is the whole, for errors.
fn take_part<'a>(rest: &'a str, text: &str) -> Result<(u64, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let n_digits = leading_digits(rest);
    let integer = integer(&rest[..n_digits]).ok_or_else(invalid)?;
    let mut after = &rest[n_digits..];
    let mut fraction = "";
    if let Some(behind) = after.strip_prefix('.') {
        let n_fraction = leading_digits(behind);
        fraction = &behind[..n_fraction];
        after = &behind[n_fraction..];
    }
    if n_digits == 0 && fraction.is_empty() {
        return Err(invalid());
    }
    let n_unit =
        after.bytes().position(|byte| byte == b'.' || byte.is_ascii_digit()).unwrap_or(after.len());
    let (unit, after) = after.split_at(n_unit);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(text.to_owned()));
    }
    let Some(unit) = unit_nanos(unit) else {
        return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
    };
    let length = integer.checked_mul(unit).filter(|l| *l <= OVERFLOW).ok_or_else(invalid)?;
    let length = length + fraction_nanos(fraction, unit);
    if length > OVERFLOW { Err(invalid()) } else { Ok((length, after)) }
}

fn leading_digits(text: &str) -> usize {
    text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}

/// Returns the value of the digits, or `None` above 2^63.
fn integer(digits: &str) -> Option<u64> {
    digits.bytes().try_fold(0_u64, |value, digit| {
        let value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        (value <= OVERFLOW).then_some(value)
    })
}

/// Returns the nanoseconds of a fraction of `unit`, with Go's rounding: digits that do not fit are dropped.
fn fraction_nanos(digits: &str, unit: u64) -> u64 {
    let mut value = 0_u64;
    let mut scale = 1_f64;
    for digit in digits.bytes() {
        let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')))
        else {
            break;
        };
        if value > (OVERFLOW - 1) / 10 || next > OVERFLOW {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // Both the micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

/// Writes `value / scale` with the decimals it needs and no more.
fn write_decimal(f: &mut fmt::Formatter<'_>, value: u64, scale: u64, unit: &str) -> fmt::Result {
    write!(f, "{}", value / scale)?;
    let mut fraction = value % scale;
    if fraction > 0 {
        let mut width = scale.ilog10() as usize;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        write!(f, ".{fraction:0width$}")?;
    }
    f.write_str(unit)
}

/// Quotes as Go's package time does: bytes of control and non-ASCII characters in hexadecimal.
fn quote(text: impl AsRef<[u8]>) -> String {
    use fmt::Write as _;

    let text = text.as_ref();
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=0x7f => quoted.push(char::from(byte)),
            _ => write!(quoted, "\\x{byte:02x}").expect("writing to a String cannot fail"),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Duration;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        check(
            "0 +0 1m 60s 5m30s 1.5h .5s 1.s -1.5m 1h1ms 100us 1µs 1μs 999ns 1.000000001s 0.100s \
             720h 2562047h47m16.854775807s -2562047h47m16.854775808s 0.3333333333333333333333s \
             9007199254.740993ms 0.9223372036854775807999h",
            expect![[r#"
                0 0s
                +0 0s
                1m 1m0s
                60s 1m0s
                5m30s 5m30s
                1.5h 1h30m0s
                .5s 500ms
                1.s 1s
                -1.5m -1m30s
                1h1ms 1h0m0.001s
                100us 100µs
                1µs 1µs
                1μs 1µs
                999ns 999ns
                1.000000001s 1.000000001s
                0.100s 100ms
                720h 720h0m0s
                2562047h47m16.854775807s 2562047h47m16.854775807s
                -2562047h47m16.854775808s -2562047h47m16.854775808s
                0.3333333333333333333333s 333.333333ms
                9007199254.740993ms 2501h59m59.254740993s
                0.9223372036854775807999h 55m20.413933267s
            "#]],
        );
    }

    #[test]
    fn what_is_not_a_duration_is_refused_in_gos_words() {
        check(
            "3 - . 1 5d -.s +.s 1m5 1.2.3s \"1s\" 1é 3000000h 9223372036854775808ns \
             9223372036854775809ns 99999999999999999999s 1\\s",
            expect![[r#"
                3 time: missing unit in duration "3"
                - time: invalid duration "-"
                . time: invalid duration "."
                1 time: missing unit in duration "1"
                5d time: unknown unit "d" in duration "5d"
                -.s time: invalid duration "-.s"
                +.s time: invalid duration "+.s"
                1m5 time: missing unit in duration "1m5"
                1.2.3s time: missing unit in duration "1.2.3s"
                "1s" time: invalid duration "\"1s\""
                1é time: unknown unit "\xc3\xa9" in duration "1\xc3\xa9"
                3000000h time: invalid duration "3000000h"
                9223372036854775808ns time: invalid duration "9223372036854775808ns"
                9223372036854775809ns time: invalid duration "9223372036854775809ns"
                99999999999999999999s time: invalid duration "99999999999999999999s"
                1\s time: unknown unit "\\s" in duration "1\\s"
            "#]],
        );
    }

    #[test]
    fn control_characters_are_quoted_in_errors() {
        let error = "1s\u{1}".parse::<Duration>().expect_err("the unit is unknown");
        assert_eq!(error.to_string(), r#"time: unknown unit "s\x01" in duration "1s\x01""#);
    }

    #[test]
    fn json_holds_the_canonical_text() {
        let duration: Duration = serde_json::from_str(r#""90s""#).expect("a duration");
        assert_eq!(serde_json::to_string(&duration).expect("a string"), r#""1m30s""#);
        assert!(serde_json::from_str::<Duration>(r#""90""#).is_err());
    }

    #[track_caller]
    fn check(texts: &str, expected: Expect) {
        let mut result = String::new();
        for text in texts.split(' ') {
            let line = match text.parse::<Duration>() {
                Ok(duration) => format!("{text} {duration}\n"),
                Err(error) => format!("{text} {error}\n"),
            };
            result.push_str(&line);
        }
        expected.assert_eq(&result);
    }
}
