//! Reads times in layouts, as Go's `time.ParseInLocation` does where the local zone is UTC.

use super::instant::{Civil, Zone, days_in};
use super::layout::{Cut, Element, Fraction, ZoneShape, cut};
use super::{DAYS, MONTHS, Time, quote};

/// Why a text is not a time in a layout; prints Go's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parsing time {}{reason}", quote(.text))]
pub struct ParseError {
    text: Vec<u8>,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error(" as {}: cannot parse {} as {}", quote(.layout), quote(.rest), quote(.element))]
    Syntax { layout: Vec<u8>, rest: Vec<u8>, element: Vec<u8> },
    #[error(": {0} out of range")]
    Range(&'static str),
    #[error(": extra text: {}", quote(.0))]
    Extra(Vec<u8>),
    #[error(": day-of-year does not match {0}")]
    Mismatch(&'static str),
}

/// Why one element cannot be read.
enum Fault {
    Syntax,
    Range(&'static str),
}

/// What was read so far.
#[derive(Default)]
struct Fields {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: u32,
    /// Whether `PM`, or else `AM`, was read.
    afternoon: Option<bool>,
    utc: bool,
    offset: Option<i64>,
    zone_name: Vec<u8>,
}

impl Time {
    /// Returns the time that a text shows in a layout.
    ///
    /// # Errors
    /// With Go's text, when the text does not follow the layout, or is no date.
    pub fn parse(layout: &[u8], text: &[u8]) -> Result<Time, ParseError> {
        let fail = |reason| ParseError { text: text.to_vec(), reason };
        let syntax = |rest: &[u8], element: &[u8]| {
            let (layout, rest, element) = (layout.to_vec(), rest.to_vec(), element.to_vec());
            fail(Reason::Syntax { layout, rest, element })
        };
        let (mut fields, mut rest, mut layout) = (Fields::default(), text, layout);
        loop {
            let Cut { before, element, after } = cut(layout);
            rest = skip(rest, before).map_err(|at| syntax(at, before))?;
            let Some((element, name)) = element else { break };
            rest = fields.read(element, rest, after).map_err(|fault| match fault {
                Fault::Syntax => syntax(rest, name),
                Fault::Range(what) => fail(Reason::Range(what)),
            })?;
            layout = after;
        }
        if !rest.is_empty() {
            return Err(fail(Reason::Extra(rest.to_vec())));
        }
        fields.time().map_err(fail)
    }
}

impl Fields {
    /// Reads one element; `after` is the layout behind it. Returns the rest of the text.
    fn read<'t>(
        &mut self,
        element: Element,
        text: &'t [u8],
        after: &[u8],
    ) -> Result<&'t [u8], Fault> {
        match element {
            Element::Year | Element::LongYear => self.read_year(element, text),
            Element::Month => self.read_month(&MONTHS, 3, text),
            Element::LongMonth => self.read_month(&MONTHS, usize::MAX, text),
            Element::NumMonth | Element::ZeroMonth => {
                let (month, rest) = digits(text, element == Element::ZeroMonth)?;
                self.month = Some(in_range(month, 1..=12, "month")?);
                Ok(rest)
            }
            Element::Weekday => Ok(name(&DAYS, 3, text)?.1),
            Element::LongWeekday => Ok(name(&DAYS, usize::MAX, text)?.1),
            Element::Day | Element::UnderDay | Element::ZeroDay => {
                let text = unpadded(text, usize::from(element == Element::UnderDay));
                let (day, rest) = digits(text, element == Element::ZeroDay)?;
                self.day = Some(day);
                Ok(rest)
            }
            Element::UnderYearDay | Element::ZeroYearDay => {
                let is_padded = element == Element::UnderYearDay;
                let (day, rest) = three_digits(unpadded(text, if is_padded { 2 } else { 0 }))?;
                if !is_padded && text.len() - rest.len() != 3 {
                    return Err(Fault::Syntax);
                }
                self.year_day = Some(day);
                Ok(rest)
            }
            Element::Hour | Element::Hour12 | Element::ZeroHour12 => {
                let (hour, rest) = digits(text, element == Element::ZeroHour12)?;
                let last = if element == Element::Hour { 23 } else { 12 };
                self.hour = in_range(hour, 0..=last, "hour")?;
                Ok(rest)
            }
            Element::Minute | Element::ZeroMinute => {
                let (minute, rest) = digits(text, element == Element::ZeroMinute)?;
                self.minute = in_range(minute, 0..=59, "minute")?;
                Ok(rest)
            }
            Element::Second | Element::ZeroSecond => self.read_second(element, text, after),
            Element::UpperHalf => self.read_half([b"AM", b"PM"], text),
            Element::LowerHalf => self.read_half([b"am", b"pm"], text),
            Element::ZoneName => self.read_zone_name(text),
            Element::Zone(shape) => self.read_offset(shape, text),
            Element::Fraction(fraction) => self.read_fraction(fraction, text),
        }
    }

    fn read_year<'t>(&mut self, element: Element, text: &'t [u8]) -> Result<&'t [u8], Fault> {
        let is_long = element == Element::LongYear;
        let (year, rest) =
            text.split_at_checked(if is_long { 4 } else { 2 }).ok_or(Fault::Syntax)?;
        if is_long && !year[0].is_ascii_digit() {
            return Err(Fault::Syntax);
        }
        let year = signed(year)?;
        self.year = match is_long {
            true => year,
            // As on Unix: what was before 1969 cannot be meant.
            false if year >= 69 => 1900 + year,
            false => 2000 + year,
        };
        Ok(rest)
    }

    fn read_month<'t>(
        &mut self,
        names: &[&str],
        length: usize,
        text: &'t [u8],
    ) -> Result<&'t [u8], Fault> {
        let (at, rest) = name(names, length, text)?;
        self.month = Some(at as i64 + 1);
        Ok(rest)
    }

    /// Reads seconds, and a fraction of them that the layout need not name.
    fn read_second<'t>(
        &mut self,
        element: Element,
        text: &'t [u8],
        after: &[u8],
    ) -> Result<&'t [u8], Fault> {
        let (second, rest) = digits(text, element == Element::ZeroSecond)?;
        self.second = in_range(second, 0..=59, "second")?;
        let is_named = matches!(cut(after).element, Some((Element::Fraction(_), _)));
        match rest {
            [b'.' | b',', digit, ..] if digit.is_ascii_digit() && !is_named => {
                self.read_any_fraction(rest)
            }
            _ => Ok(rest),
        }
    }

    fn read_fraction<'t>(&mut self, fraction: Fraction, text: &'t [u8]) -> Result<&'t [u8], Fault> {
        match (fraction.trimmed, text) {
            (true, [b'.' | b',', digit, ..]) if digit.is_ascii_digit() => {
                self.read_any_fraction(text)
            }
            (true, _) => Ok(text),
            (false, _) => {
                let length = 1 + fraction.n_digits;
                let (fraction, rest) = text.split_at_checked(length).ok_or(Fault::Syntax)?;
                self.nanos = nanos(fraction)?;
                Ok(rest)
            }
        }
    }

    fn read_any_fraction<'t>(&mut self, text: &'t [u8]) -> Result<&'t [u8], Fault> {
        let n_digits = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, rest) = text.split_at(1 + n_digits);
        self.nanos = nanos(fraction)?;
        Ok(rest)
    }

    fn read_half<'t>(
        &mut self,
        [before, after]: [&[u8; 2]; 2],
        text: &'t [u8],
    ) -> Result<&'t [u8], Fault> {
        let (half, rest) = text.split_first_chunk::<2>().ok_or(Fault::Syntax)?;
        match half {
            _ if half == after => self.afternoon = Some(true),
            // `PM`, once read, stays.
            _ if half == before => self.afternoon = self.afternoon.or(Some(false)),
            _ => return Err(Fault::Syntax),
        }
        Ok(rest)
    }

    fn read_zone_name<'t>(&mut self, text: &'t [u8]) -> Result<&'t [u8], Fault> {
        if let Some(rest) = text.strip_prefix(b"UTC") {
            self.utc = true;
            return Ok(rest);
        }
        let length = zone_name_length(text).ok_or(Fault::Syntax)?;
        let (name, rest) = text.split_at(length);
        self.zone_name = name.to_vec();
        Ok(rest)
    }

    fn read_offset<'t>(&mut self, shape: ZoneShape, text: &'t [u8]) -> Result<&'t [u8], Fault> {
        if let Some(rest) = text.strip_prefix(b"Z").filter(|_| shape.z) {
            self.utc = true;
            return Ok(rest);
        }
        let width = if shape.colons { 3 } else { 2 };
        let length = 1 + 2 + width * (shape.n_parts - 1);
        let (offset, rest) = text.split_at_checked(length).ok_or(Fault::Syntax)?;
        let mut parts = [0; 3];
        let mut is_sound = true;
        for (at, part) in parts.iter_mut().enumerate().take(shape.n_parts) {
            if at > 0 && shape.colons && offset[width * at] != b':' {
                return Err(Fault::Syntax);
            }
            match digits(&offset[1 + width * at..][..2], true) {
                Ok((value, _)) if is_sound => *part = value,
                _ => is_sound = false,
            }
        }
        // A number out of range goes before what is no number.
        in_range(parts[0], 0..=24, "time zone offset hour")?;
        in_range(parts[1], 0..=60, "time zone offset minute")?;
        in_range(parts[2], 0..=60, "time zone offset second")?;
        let seconds = (parts[0] * 60 + parts[1]) * 60 + parts[2];
        self.offset = match offset[0] {
            b'+' if is_sound => Some(seconds),
            b'-' if is_sound => Some(-seconds),
            _ => return Err(Fault::Syntax),
        };
        Ok(rest)
    }

    /// Returns the time that all fields give.
    fn time(mut self) -> Result<Time, Reason> {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        let (month, day) = self.month_and_day()?;
        if day < 1 || day > days_in(self.year, month) {
            return Err(Reason::Range("day"));
        }
        let (hour, minute, second) = (self.hour, self.minute, self.second);
        let civil = Civil { year: self.year, month, day, hour, minute, second };
        let time = Time::utc(civil, self.nanos);
        let name = self.zone_name;
        // Go marks a missing offset by -1.
        match self.offset.filter(|offset| *offset != -1) {
            _ if self.utc => Ok(time),
            Some(0) if name.is_empty() => Ok(time),
            Some(offset) => Ok(time.shifted(-offset, Zone::Fixed { name, offset })),
            None if name.is_empty() => Ok(time),
            None => {
                let hours = name.strip_prefix(b"GMT").and_then(|hours| signed(hours).ok());
                let offset = hours.unwrap_or(0) * 3600;
                // An unknown abbreviation shifts nothing, but shows.
                Ok(time.shifted(0, Zone::Fixed { name, offset }))
            }
        }
    }

    fn month_and_day(&self) -> Result<(i64, i64), Reason> {
        let Some(year_day) = self.year_day else {
            return Ok((self.month.unwrap_or(1), self.day.unwrap_or(1)));
        };
        let days_in_year: i64 = (1..=12).map(|month| days_in(self.year, month)).sum();
        if year_day < 1 || year_day > days_in_year {
            return Err(Reason::Range("day-of-year"));
        }
        let (mut month, mut day) = (1, year_day);
        while day > days_in(self.year, month) {
            day -= days_in(self.year, month);
            month += 1;
        }
        if self.month.is_some_and(|given| given != month) {
            return Err(Reason::Mismatch("month"));
        }
        if self.day.is_some_and(|given| given != day) {
            return Err(Reason::Mismatch("day"));
        }
        Ok((month, day))
    }
}

/// Passes over literal text; a space stands for any number of them. An error is where it stopped.
fn skip<'t>(mut text: &'t [u8], mut literal: &[u8]) -> Result<&'t [u8], &'t [u8]> {
    while let [first, rest @ ..] = literal {
        if *first == b' ' {
            if text.first().is_some_and(|byte| *byte != b' ') {
                return Err(text);
            }
            literal = trim_spaces(literal);
            text = trim_spaces(text);
            continue;
        }
        text = text.strip_prefix(&[*first][..]).ok_or(text)?;
        literal = rest;
    }
    Ok(text)
}

fn trim_spaces(text: &[u8]) -> &[u8] {
    let n_spaces = text.iter().take_while(|byte| **byte == b' ').count();
    &text[n_spaces..]
}

/// Drops up to so many spaces.
fn unpadded(text: &[u8], n_max: usize) -> &[u8] {
    let n_spaces = text.iter().take(n_max).take_while(|byte| **byte == b' ').count();
    &text[n_spaces..]
}

/// Finds one of the names, of which `length` letters count, in any case.
fn name<'t>(names: &[&str], length: usize, text: &'t [u8]) -> Result<(usize, &'t [u8]), Fault> {
    let begins = |name: &&str| {
        let length = name.len().min(length);
        let found = text.get(..length)?;
        found.eq_ignore_ascii_case(&name.as_bytes()[..length]).then_some(length)
    };
    let found = names.iter().enumerate().find_map(|(at, name)| Some((at, begins(name)?)));
    found.map(|(at, length)| (at, &text[length..])).ok_or(Fault::Syntax)
}

/// Reads one or two digits, exactly two if so wanted.
fn digits(text: &[u8], exactly_two: bool) -> Result<(i64, &[u8]), Fault> {
    let value = |digit: u8| i64::from(digit - b'0');
    match text {
        [a, b, rest @ ..] if a.is_ascii_digit() && b.is_ascii_digit() => {
            Ok((value(*a) * 10 + value(*b), rest))
        }
        [a, rest @ ..] if a.is_ascii_digit() && !exactly_two => Ok((value(*a), rest)),
        _ => Err(Fault::Syntax),
    }
}

/// Reads up to three digits.
fn three_digits(text: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let n_digits = text.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    if n_digits == 0 {
        return Err(Fault::Syntax);
    }
    let (digits, rest) = text.split_at(n_digits);
    Ok((signed(digits)?, rest))
}

/// Reads a short number that may have a sign; nothing is 0, as in Go.
fn signed(text: &[u8]) -> Result<i64, Fault> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    let value = digits.iter().try_fold(0_i64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    });
    let value = value.ok_or(Fault::Syntax)?;
    Ok(if negative { -value } else { value })
}

/// Reads a fraction of a second with its separator; what is below a nanosecond is dropped.
fn nanos(text: &[u8]) -> Result<u32, Fault> {
    let [b'.' | b',', digits @ ..] = text else { return Err(Fault::Syntax) };
    let digits = &digits[..digits.len().min(9)];
    let value = signed(digits)?;
    if value < 0 {
        return Err(Fault::Range("fractional second"));
    }
    let scale = 10_i64.pow(9 - digits.len() as u32);
    u32::try_from(value * scale).map_err(|_| Fault::Range("fractional second"))
}

fn in_range(
    value: i64,
    range: std::ops::RangeInclusive<i64>,
    what: &'static str,
) -> Result<i64, Fault> {
    if range.contains(&value) { Ok(value) } else { Err(Fault::Range(what)) }
}

/// Returns how long the abbreviation of a zone is that the text begins with.
fn zone_name_length(text: &[u8]) -> Option<usize> {
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(offset) = text.strip_prefix(b"GMT") {
        return Some(3 + signed_hours_length(offset).unwrap_or(0));
    }
    if matches!(text[0], b'+' | b'-') {
        return signed_hours_length(text);
    }
    match text.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count() {
        3 => Some(3),
        4 => (text[3] == b'T' || text.starts_with(b"WITA")).then_some(4),
        5 => (text[4] == b'T').then_some(5),
        _ => None,
    }
}

/// Returns how long the signed hours are that the text begins with; at most 23 hours are.
fn signed_hours_length(text: &[u8]) -> Option<usize> {
    let [b'+' | b'-', digits @ ..] = text else { return None };
    let n_digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let hours = signed(&digits[..n_digits]).ok()?;
    (n_digits > 0 && hours <= 23).then_some(1 + n_digits)
}
