//! The highest or the lowest number, compared exactly.
//!
//! What is a number is decided by the grammar of Go's `strconv.ParseFloat`, which Flux uses:
//! signs, fractions, exponents, underscores and hexadecimal floats. Flux then compares rounded
//! values, so that 17-digit build numbers tie; here they are compared digit by digit. NaN and
//! infinities have no place in a total order and are no numbers.

use super::best::Best;
use super::{Choice, Offenders, Order, SelectError};
use std::borrow::Cow;
use std::cmp::Ordering;

/// The most digits of an exponent: more would overflow the arithmetic of places.
pub const EXPONENT_DIGITS_MAX: usize = 15;

/// The largest binary exponent of a hexadecimal float, either way: what a float64 can reach.
/// Turning one into decimals costs time in proportion to its square.
pub const HEX_EXPONENT_MAX: i64 = 1100;

/// The most significant digits of a hexadecimal float, four times what a float64 can hold.
pub const HEX_DIGITS_MAX: usize = 64;

/// A number of any size and precision.
///
/// It is ±0.HEAD TAIL × 10^`exponent`, without leading or trailing zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    exponent: i64,
    /// The first 19 digits as a number, filled up with zeros; 0 only for zero itself.
    head: u64,
    /// The digits behind them, almost always none.
    tail: Vec<u8>,
}

/// Why a text is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text does not have the shape of a number.
    #[error("it does not have the shape of a number")]
    Shape,
    /// The text is `NaN`, `Inf` or the like.
    #[error("neither NaN nor an infinity is a number")]
    NotFinite,
    /// The exponent is out of all proportion.
    #[error(
        "its exponent is over a limit ({EXPONENT_DIGITS_MAX} digits; ±{HEX_EXPONENT_MAX} and \
         {HEX_DIGITS_MAX} digits before it for hexadecimal floats)"
    )]
    Exponent,
}

/// The latest number; of equal numbers the first value by bytes, and of equal values the first tag
/// by bytes.
pub(super) struct Numbers<'t> {
    order: Order,
    best: Option<(Number, Choice<'t>)>,
    /// The best number, if it is of so few digits.
    best_whole: Option<u64>,
    offenders: Vec<Cow<'t, str>>,
}

impl Numbers<'_> {
    pub(super) fn new(order: Order) -> Self {
        Numbers { order, best: None, best_whole: None, offenders: Vec::new() }
    }
}

impl<'t> Best<'t> for Numbers<'t> {
    /// Most are worse than the best, and tell it as machine words.
    fn may_matter(&self, value: &str) -> bool {
        match (self.best_whole, whole(value.as_bytes())) {
            (Some(best), Some(whole)) => self.order.apply(whole.cmp(&best)).is_ge(),
            _ => true,
        }
    }

    fn offer(&mut self, choice: Choice<'t>) {
        let Ok(number) = Number::parse(&choice.value) else {
            self.offenders.push(choice.value);
            return;
        };
        let is_better = |(best_number, best): &(Number, Choice<'_>)| {
            let numbers = self.order.apply(number.cmp(best_number));
            numbers
                .then_with(|| best.value.cmp(&choice.value))
                .then_with(|| best.tag.cmp(choice.tag))
                .is_gt()
        };
        if self.best.as_ref().is_none_or(is_better) {
            self.best_whole = whole(choice.value.as_bytes());
            self.best = Some((number, choice));
        }
    }

    fn finish(self) -> Result<Choice<'t>, SelectError> {
        if !self.offenders.is_empty() {
            return Err(SelectError::NotNumbers(Offenders::new(self.offenders)));
        }
        self.best.map(|(_, choice)| choice).ok_or(SelectError::Empty)
    }
}

impl Number {
    /// Reads a number.
    ///
    /// # Errors
    /// When Go would not parse the text as a float, and for what is not finite. A number that is
    /// too large for a float64 (`1e400`) is one here. Exponents have limits.
    pub fn parse(text: &str) -> Result<Number, NumberError> {
        let text = text.as_bytes();
        if let Some(number) = Number::plain(text) {
            return Ok(number);
        }
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if is_not_finite(digits, text.len() > digits.len()) {
            return Err(NumberError::NotFinite);
        }
        match digits {
            [b'0', b'x' | b'X', rest @ ..] => hexadecimal(negative, rest),
            _ => decimal(negative, digits),
        }
    }

    /// Reads one to nineteen digits: what almost every number is.
    fn plain(text: &[u8]) -> Option<Number> {
        let value = whole(text)?;
        if value == 0 {
            return Some(Number::zero());
        }
        let n_digits = value.ilog10() + 1;
        let head = value * POWERS_OF_TEN[HEAD_DIGITS - n_digits as usize];
        Some(Number { negative: false, exponent: n_digits.into(), head, tail: Vec::new() })
    }

    fn zero() -> Number {
        Number { negative: false, exponent: 0, head: 0, tail: Vec::new() }
    }

    /// Returns 0.`digits` × 10^`exponent`.
    fn new(negative: bool, digits: &[u8], mut exponent: i64) -> Number {
        let n_leading = digits.iter().take_while(|&&digit| digit == 0).count();
        let n_trailing = digits.iter().rev().take_while(|&&digit| digit == 0).count();
        if n_leading == digits.len() {
            return Number::zero();
        }
        let digits = &digits[n_leading..digits.len() - n_trailing];
        // A text in memory has fewer digits than an i64 counts.
        exponent -= n_leading as i64;
        let (head, tail) = digits.split_at(digits.len().min(HEAD_DIGITS));
        let value = head.iter().fold(0, |value, &digit| value * 10 + u64::from(digit));
        let head = value * POWERS_OF_TEN[HEAD_DIGITS - head.len()];
        Number { negative, exponent, head, tail: tail.to_vec() }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Number| match (number.head, number.negative) {
            (0, _) => 0,
            (_, false) => 1,
            (_, true) => -1,
        };
        let magnitudes = || {
            (self.exponent.cmp(&other.exponent))
                .then_with(|| self.head.cmp(&other.head))
                .then_with(|| self.tail.cmp(&other.tail))
        };
        sign(self).cmp(&sign(other)).then_with(|| match self.negative {
            false => magnitudes(),
            true => magnitudes().reverse(),
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How many digits every number of 64 bits can hold.
const HEAD_DIGITS: usize = 19;

const POWERS_OF_TEN: [u64; HEAD_DIGITS] = {
    let mut powers = [1; HEAD_DIGITS];
    let mut i = 1;
    while i < HEAD_DIGITS {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Reads one to nineteen digits and nothing else.
fn whole(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > HEAD_DIGITS {
        return None;
    }
    let (mut value, mut rest) = (0, text);
    while let Some((digits, after)) = rest.split_first_chunk::<8>() {
        value = value * 100_000_000 + eight_digits(u64::from_le_bytes(*digits))?;
        rest = after;
    }
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

/// Reads eight digits at once, the first in the lowest byte.
fn eight_digits(bytes: u64) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Of a digit neither `0` can be taken away with a borrow nor 0x46 added without staying below 0x80.
    let outside = bytes.wrapping_sub(ONES * 0x30) | bytes.wrapping_add(ONES * 0x46);
    if (outside | bytes) & (ONES * 0x80) != 0 {
        return None;
    }
    // Neighbours are joined to numbers of two, then four, then eight digits.
    let pairs = (bytes & (ONES * 0x0F)).wrapping_mul(10 << 8 | 1) >> 8 & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_FFFF_0000_FFFF;
    Some(fours.wrapping_mul(10_000 << 32 | 1) >> 32)
}

/// Reports whether the text after the sign is NaN or an infinity; NaN takes no sign.
fn is_not_finite(text: &[u8], signed: bool) -> bool {
    text.eq_ignore_ascii_case(b"inf")
        || text.eq_ignore_ascii_case(b"infinity")
        || !signed && text.eq_ignore_ascii_case(b"nan")
}

/// The digits of a number and what follows them.
struct Mantissa<'t> {
    digits: Vec<u8>,
    /// Where the point stands, counted in digits.
    point: i64,
    rest: &'t [u8],
}

fn decimal(negative: bool, text: &[u8]) -> Result<Number, NumberError> {
    let mantissa = mantissa(text, 10, false)?;
    let exponent = match mantissa.rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent(rest)?,
        _ => return Err(NumberError::Shape),
    };
    Ok(Number::new(negative, &mantissa.digits, mantissa.point + exponent))
}

/// Reads what follows `0x`: a hexadecimal fraction and a power of two, which Go requires.
fn hexadecimal(negative: bool, text: &[u8]) -> Result<Number, NumberError> {
    let mantissa = mantissa(text, 16, true)?;
    let [b'p' | b'P', rest @ ..] = mantissa.rest else { return Err(NumberError::Shape) };
    let exponent = exponent(rest)?;
    let n_leading = mantissa.digits.iter().take_while(|&&digit| digit == 0).count();
    let digits = &mantissa.digits[n_leading..];
    if digits.is_empty() {
        return Ok(Number::zero());
    }
    // The value is `digits` as a whole number, times two to this power.
    let power = exponent + 4 * (mantissa.point - mantissa.digits.len() as i64);
    if digits.len() > HEX_DIGITS_MAX || power.abs() > HEX_EXPONENT_MAX {
        return Err(NumberError::Exponent);
    }
    let mut whole = Whole::default();
    for &digit in digits {
        whole.multiply_add(16, digit.into());
    }
    // Halving is multiplying by five and moving the point.
    let factor = if power < 0 { 5 } else { 2 };
    for _ in 0..power.abs() {
        whole.multiply_add(factor, 0);
    }
    let digits = whole.digits();
    let point = digits.len() as i64 + power.min(0);
    Ok(Number::new(negative, &digits, point))
}

/// Reads digits with at most one point; an underscore may stand between digits only, or between
/// a prefix and a digit.
fn mantissa(text: &[u8], base: u32, prefixed: bool) -> Result<Mantissa<'_>, NumberError> {
    let mut digits = Vec::with_capacity(text.len());
    let (mut point, mut previous, mut len) = (None, if prefixed { b'0' } else { b'^' }, 0);
    for (i, &b) in text.iter().enumerate() {
        let after_underscore = previous == b'_';
        match (b, char::from(b).to_digit(base)) {
            (_, Some(digit)) => digits.push(digit as u8),
            (b'_', _) if previous == b'0' => {}
            (b'.', _) if point.is_none() && !after_underscore => point = Some(digits.len()),
            _ if after_underscore => return Err(NumberError::Shape),
            _ => break,
        }
        previous = if matches!(b, b'_' | b'.') { b } else { b'0' };
        len = i + 1;
    }
    if digits.is_empty() || previous == b'_' {
        return Err(NumberError::Shape);
    }
    let point = point.unwrap_or(digits.len()) as i64;
    Ok(Mantissa { digits, point, rest: &text[len..] })
}

/// Reads a decimal exponent to the end of the text.
fn exponent(text: &[u8]) -> Result<i64, NumberError> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let separated = text.windows(2).all(|pair| pair != b"__");
    let well_formed = text.iter().all(|b| b.is_ascii_digit() || *b == b'_');
    if !well_formed || !separated || text.first().is_none_or(|&b| b == b'_') || text.ends_with(b"_")
    {
        return Err(NumberError::Shape);
    }
    let digits = text.iter().filter(|&&b| b != b'_').skip_while(|&&b| b == b'0');
    let mut value = 0;
    for (n, &b) in digits.enumerate() {
        if n == EXPONENT_DIGITS_MAX {
            return Err(NumberError::Exponent);
        }
        value = value * 10 + i64::from(b - b'0');
    }
    Ok(if negative { -value } else { value })
}

/// A whole number of any size, in parts of nine digits, the lowest first.
#[derive(Default)]
struct Whole {
    parts: Vec<u32>,
}

impl Whole {
    const PART: u64 = 1_000_000_000;

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for part in &mut self.parts {
            let value = u64::from(*part) * u64::from(factor) + carry;
            *part = (value % Self::PART) as u32;
            carry = value / Self::PART;
        }
        if carry > 0 {
            // The carry of such a product is below the factor, or the summand.
            self.parts.push(carry as u32);
        }
    }

    fn digits(&self) -> Vec<u8> {
        let text: String = self.parts.iter().rev().map(|part| format!("{part:09}")).collect();
        text.bytes().map(|b| b - b'0').collect()
    }
}
