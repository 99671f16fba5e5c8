//! Arithmetic on decimals of any precision, rounded to a float at the end.

use golang::strconv::format_float;
use num_bigint::{BigInt, Sign};

use super::convert::to_float;
use super::{Entry, spread};
use crate::function::{Call, Fault, Param};
use crate::value::Value;

type Result<T = Value> = std::result::Result<T, Fault>;
type Operation = fn(&Decimal, &Decimal) -> Result<Decimal>;

/// Digits behind the point of a quotient.
const QUOTIENT_PLACES: i64 = 16;

/// Bits of an operand that cost one step: products grow with every factor.
const BITS_PER_STEP: u64 = 8;

pub(super) fn functions() -> Vec<Entry> {
    use Param::Any;
    vec![
        super::fixed("add1f", &[Any], |call, args| {
            fold(call, &args[0], &[Value::Int(1)], Decimal::add)
        }),
        spread("addf", &[], Any, |call, args| fold(call, &Value::Int(0), args, Decimal::add)),
        spread("subf", &[Any], Any, |call, args| fold(call, &args[0], &args[1..], Decimal::sub)),
        spread("mulf", &[Any], Any, |call, args| fold(call, &args[0], &args[1..], Decimal::mul)),
        spread("divf", &[Any], Any, |call, args| fold(call, &args[0], &args[1..], Decimal::div)),
    ]
}

fn fold(call: &mut Call<'_>, first: &Value, more: &[Value], operate: Operation) -> Result {
    let mut result = Decimal::of(to_float(first))?;
    for value in more {
        call.run.charge(result.digits.bits() / BITS_PER_STEP)?;
        result = operate(&result, &Decimal::of(to_float(value))?)?;
    }
    Ok(Value::Float(result.to_float()))
}

/// `digits` times ten to the power of `exponent`.
struct Decimal {
    digits: BigInt,
    exponent: i64,
}

impl Decimal {
    /// Returns the shortest decimal that reads back as the float.
    fn of(value: f64) -> Result<Decimal> {
        if !value.is_finite() {
            let value = format_float(value, 'g', None);
            return Err(Fault::Message(format!("Cannot create a Decimal from {value}")));
        }
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}").parse().unwrap_or_default();
        let exponent = exponent.parse().unwrap_or(0_i64) - fraction.len() as i64;
        Ok(Decimal { digits, exponent })
    }

    /// Returns the nearest float.
    fn to_float(&self) -> f64 {
        // Both texts have the shape of a number, and what is too large is an infinity.
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or_default()
    }

    /// Returns the digits at a lower exponent.
    fn at(&self, exponent: i64) -> BigInt {
        &self.digits * power_of_ten(self.exponent - exponent)
    }

    fn add(&self, other: &Decimal) -> Result<Decimal> {
        let exponent = self.exponent.min(other.exponent);
        Ok(Decimal { digits: self.at(exponent) + other.at(exponent), exponent })
    }

    fn sub(&self, other: &Decimal) -> Result<Decimal> {
        let exponent = self.exponent.min(other.exponent);
        Ok(Decimal { digits: self.at(exponent) - other.at(exponent), exponent })
    }

    fn mul(&self, other: &Decimal) -> Result<Decimal> {
        let exponent = self.exponent + other.exponent;
        Ok(Decimal { digits: &self.digits * &other.digits, exponent })
    }

    /// Divides and rounds to so many places, half away from zero.
    fn div(&self, other: &Decimal) -> Result<Decimal> {
        if other.digits.sign() == Sign::NoSign {
            return Err(Fault::message("decimal division by 0"));
        }
        let shift = self.exponent - other.exponent + QUOTIENT_PLACES;
        let dividend = &self.digits * power_of_ten(shift);
        let divisor = &other.digits * power_of_ten(-shift);
        // The magnitudes, so that rounding goes away from zero: twice the dividend and the divisor, over twice the divisor.
        let doubled = (dividend.magnitude() << 1_u8) + divisor.magnitude();
        let quotient = doubled / (divisor.magnitude() << 1_u8);
        let sign = if dividend.sign() == divisor.sign() { Sign::Plus } else { Sign::Minus };
        Ok(Decimal { digits: BigInt::from_biguint(sign, quotient), exponent: -QUOTIENT_PLACES })
    }
}

/// Returns ten to the power, 1 for a negative one.
fn power_of_ten(exponent: i64) -> BigInt {
    BigInt::from(10_u8).pow(u32::try_from(exponent).unwrap_or(0))
}
