//! Go's `time.Time`: an instant with a time zone, by the calendar and in layouts.

use super::layout::{Cut, Element, Fraction, ZoneShape, cut};
use super::{DAYS, Duration, MONTHS};

const SECONDS_PER_DAY: i64 = 86_400;

/// The first second of the year 1, Go's zero, from 1970.
const ZERO: i64 = -62_135_596_800;

/// An instant, to be shown in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds from 1970.
    unix: i64,
    nanos: u32,
    zone: Zone,
}

/// Where a time is shown. The local zone is UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    Utc,
    /// Seconds east of UTC, with a name that may be empty.
    Fixed {
        name: Vec<u8>,
        offset: i64,
    },
}

/// A date and a clock's time in some zone. What lies outside of its range counts on: October 32 is November 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Civil {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: i64,
    /// From 1.
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

impl Default for Time {
    /// Returns Go's zero: the first second of the year 1.
    fn default() -> Time {
        Time { unix: ZERO, nanos: 0, zone: Zone::Utc }
    }
}

impl Time {
    /// Returns the instant so many seconds from 1970.
    pub fn from_unix(seconds: i64) -> Time {
        Time { unix: seconds, nanos: 0, zone: Zone::Utc }
    }

    /// Returns the time of a date in UTC.
    pub(super) fn utc(civil: Civil, nanos: u32) -> Time {
        Time { unix: civil.unix(), nanos, zone: Zone::Utc }
    }

    /// Returns the time, so many seconds later, in a zone.
    pub(super) fn shifted(self, seconds: i64, zone: Zone) -> Time {
        Time { unix: self.unix.wrapping_add(seconds), zone, ..self }
    }

    /// Returns the seconds from 1970, rounded down.
    pub fn unix(&self) -> i64 {
        self.unix
    }

    /// Returns whether this is the first second of the year 1 in UTC.
    pub fn is_zero(&self) -> bool {
        (self.unix, self.nanos) == (ZERO, 0)
    }

    /// Returns the nanoseconds within the second.
    pub fn nanosecond(&self) -> u32 {
        self.nanos
    }

    /// Returns the time, so much later.
    #[must_use]
    pub fn add(&self, duration: Duration) -> Time {
        const NANOS: i64 = 1_000_000_000;
        let nanos = i64::from(self.nanos) + duration.as_nanos() % NANOS;
        let seconds = duration.as_nanos() / NANOS + nanos.div_euclid(NANOS);
        let unix = self.unix.wrapping_add(seconds);
        Time { unix, nanos: nanos.rem_euclid(NANOS) as u32, zone: self.zone.clone() }
    }

    /// Returns the time, so many years, months and days later; October 31 and a month is December 1.
    #[must_use]
    pub fn add_date(&self, years: i64, months: i64, days: i64) -> Time {
        let mut civil = self.civil();
        civil.year = civil.year.wrapping_add(years);
        civil.month = civil.month.wrapping_add(months);
        civil.day = civil.day.wrapping_add(days);
        let unix = civil.unix().wrapping_sub(self.zone.offset());
        Time { unix, nanos: self.nanos, zone: self.zone.clone() }
    }

    /// Returns year, month and day in the time's zone.
    pub fn date(&self) -> (i64, i64, i64) {
        let civil = self.civil();
        (civil.year, civil.month, civil.day)
    }

    /// Returns hour, minute and second in the time's zone.
    pub fn clock(&self) -> (i64, i64, i64) {
        let civil = self.civil();
        (civil.hour, civil.minute, civil.second)
    }

    /// Returns the day of the year, from 1.
    pub fn year_day(&self) -> i64 {
        let (year, month, day) = self.date();
        days_from_1970(year, month, day).wrapping_sub(days_from_1970(year, 1, 1)) + 1
    }

    /// Returns the time in a layout, Go's `Format`.
    pub fn format(&self, layout: &[u8]) -> Vec<u8> {
        let civil = self.civil();
        let mut out = Vec::with_capacity(layout.len() + 10);
        let mut rest = layout;
        loop {
            let Cut { before, element, after } = cut(rest);
            out.extend_from_slice(before);
            let Some((element, _)) = element else { return out };
            self.write(element, &civil, &mut out);
            rest = after;
        }
    }

    fn civil(&self) -> Civil {
        let local = self.unix.wrapping_add(self.zone.offset());
        let (days, second) = (local.div_euclid(SECONDS_PER_DAY), local.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = date_of(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Civil { year, month, day, hour, minute, second }
    }

    fn write(&self, element: Element, civil: &Civil, out: &mut Vec<u8>) {
        let hour12 = (civil.hour + 11) % 12 + 1;
        let half = if civil.hour >= 12 { "PM" } else { "AM" };
        let month = MONTHS[(civil.month - 1) as usize];
        let weekday = || DAYS[self.weekday()];
        match element {
            Element::LongMonth => out.extend_from_slice(month.as_bytes()),
            Element::Month => out.extend_from_slice(&month.as_bytes()[..3]),
            Element::NumMonth => number(out, civil.month, 0),
            Element::ZeroMonth => number(out, civil.month, 2),
            Element::LongWeekday => out.extend_from_slice(weekday().as_bytes()),
            Element::Weekday => out.extend_from_slice(&weekday().as_bytes()[..3]),
            Element::Day => number(out, civil.day, 0),
            Element::UnderDay => padded(out, civil.day, 2),
            Element::ZeroDay => number(out, civil.day, 2),
            Element::UnderYearDay => padded(out, self.year_day(), 3),
            Element::ZeroYearDay => number(out, self.year_day(), 3),
            Element::Hour => number(out, civil.hour, 2),
            Element::Hour12 => number(out, hour12, 0),
            Element::ZeroHour12 => number(out, hour12, 2),
            Element::Minute => number(out, civil.minute, 0),
            Element::ZeroMinute => number(out, civil.minute, 2),
            Element::Second => number(out, civil.second, 0),
            Element::ZeroSecond => number(out, civil.second, 2),
            Element::LongYear => number(out, civil.year, 4),
            Element::Year => number(out, (civil.year % 100).abs(), 2),
            Element::UpperHalf => out.extend_from_slice(half.as_bytes()),
            Element::LowerHalf => out.extend_from_slice(half.to_ascii_lowercase().as_bytes()),
            Element::ZoneName => self.zone.write_name(out),
            Element::Zone(shape) => self.zone.write_offset(shape, out),
            Element::Fraction(fraction) => self.write_fraction(fraction, out),
        }
    }

    /// Returns the day of the week, Sunday being 0.
    fn weekday(&self) -> usize {
        let days = self.unix.wrapping_add(self.zone.offset()).div_euclid(SECONDS_PER_DAY);
        (days + 4).rem_euclid(7) as usize
    }

    fn write_fraction(&self, fraction: Fraction, out: &mut Vec<u8>) {
        let digits = format!("{:09}", self.nanos);
        let mut digits = &digits[..fraction.n_digits.min(9)];
        if fraction.trimmed {
            digits = digits.trim_end_matches('0');
            if digits.is_empty() {
                return;
            }
        }
        out.push(fraction.separator);
        out.extend_from_slice(digits.as_bytes());
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.format(b"2006-01-02 15:04:05.999999999 -0700 MST");
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Zone {
    fn offset(&self) -> i64 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed { offset, .. } => *offset,
        }
    }

    fn write_name(&self, out: &mut Vec<u8>) {
        match self {
            Zone::Utc => out.extend_from_slice(b"UTC"),
            Zone::Fixed { name, .. } if name.is_empty() => {
                self.write_offset(ZoneShape { z: false, colons: false, n_parts: 2 }, out);
            }
            Zone::Fixed { name, .. } => out.extend_from_slice(name),
        }
    }

    fn write_offset(&self, shape: ZoneShape, out: &mut Vec<u8>) {
        let offset = self.offset();
        if shape.z && offset == 0 {
            out.push(b'Z');
            return;
        }
        // The sign is that of the whole minutes.
        out.push(if offset / 60 < 0 { b'-' } else { b'+' });
        let parts = [offset.abs() / 3600, offset.abs() / 60 % 60, offset.abs() % 60];
        for (at, part) in parts.into_iter().take(shape.n_parts).enumerate() {
            if at > 0 && shape.colons {
                out.push(b':');
            }
            number(out, part, 2);
        }
    }
}

impl Civil {
    /// Returns the seconds from 1970, the date being one in UTC. What does not fit wraps around.
    fn unix(&self) -> i64 {
        let days = days_from_1970(self.year, self.month, self.day);
        days.wrapping_mul(SECONDS_PER_DAY)
            .wrapping_add(self.hour * 3600 + self.minute * 60 + self.second)
    }
}

/// Returns the number of days in a month, from 1, of a year.
pub(super) fn days_in(year: i64, month: i64) -> i64 {
    days_from_1970(year, month + 1, 1).wrapping_sub(days_from_1970(year, month, 1))
}

/// Returns the days from 1970 to a date of the Gregorian calendar; months count on over the years.
fn days_from_1970(year: i64, month: i64, day: i64) -> i64 {
    let (month, day) = (i128::from(month) - 1, i128::from(day));
    let year = i128::from(year) + month.div_euclid(12);
    // March comes first, so that the leap day ends the year.
    let month = (month.rem_euclid(12) + 10) % 12;
    let year = year - i128::from(month >= 10);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (days - 719_468) as i64
}

/// Returns year, month and day of the Gregorian calendar, so many days from 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = i128::from(days) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + i128::from(month >= 10);
    (year as i64, ((month + 2) % 12 + 1) as i64, day as i64)
}

/// Writes a number with zeros before it; the sign does not count.
fn number(out: &mut Vec<u8>, value: i64, width: usize) {
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(format!("{:0width$}", value.unsigned_abs()).as_bytes());
}

fn padded(out: &mut Vec<u8>, value: i64, width: usize) {
    out.extend_from_slice(format!("{value:width$}").as_bytes());
}
