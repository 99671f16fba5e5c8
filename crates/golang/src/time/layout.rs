//! The elements of Go's time layouts, such as `2006-01-02T15:04:05Z07:00`.

/// An element that stands for a part of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperHalf,
    LowerHalf,
    ZoneName,
    Zone(ZoneShape),
    Fraction(Fraction),
}

/// How an offset from UTC is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ZoneShape {
    /// Whether `Z` stands for UTC.
    pub(super) z: bool,
    pub(super) colons: bool,
    /// Which of hours, minutes and seconds are written: one to three.
    pub(super) n_parts: usize,
}

/// How a fraction of a second is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction {
    pub(super) separator: u8,
    pub(super) n_digits: usize,
    /// Whether zeros at the end are left out.
    pub(super) trimmed: bool,
}

/// The texts of the elements; of those that begin alike, the one that goes first comes first.
const ELEMENTS: &[(&str, Element)] = &[
    ("January", Element::LongMonth),
    ("Jan", Element::Month),
    ("Monday", Element::LongWeekday),
    ("Mon", Element::Weekday),
    ("MST", Element::ZoneName),
    ("01", Element::ZeroMonth),
    ("02", Element::ZeroDay),
    ("03", Element::ZeroHour12),
    ("04", Element::ZeroMinute),
    ("05", Element::ZeroSecond),
    ("06", Element::Year),
    ("002", Element::ZeroYearDay),
    ("15", Element::Hour),
    ("1", Element::NumMonth),
    ("2006", Element::LongYear),
    ("2", Element::Day),
    ("_2", Element::UnderDay),
    ("__2", Element::UnderYearDay),
    ("3", Element::Hour12),
    ("4", Element::Minute),
    ("5", Element::Second),
    ("PM", Element::UpperHalf),
    ("pm", Element::LowerHalf),
    ("-070000", zone(false, false, 3)),
    ("-07:00:00", zone(false, true, 3)),
    ("-0700", zone(false, false, 2)),
    ("-07:00", zone(false, true, 2)),
    ("-07", zone(false, false, 1)),
    ("Z070000", zone(true, false, 3)),
    ("Z07:00:00", zone(true, true, 3)),
    ("Z0700", zone(true, false, 2)),
    ("Z07:00", zone(true, true, 2)),
    ("Z07", zone(true, false, 1)),
];

const fn zone(z: bool, colons: bool, n_parts: usize) -> Element {
    Element::Zone(ZoneShape { z, colons, n_parts })
}

/// A layout, cut at its first element.
pub(super) struct Cut<'l> {
    /// The literal text before it.
    pub(super) before: &'l [u8],
    /// The element with its text, if there is one.
    pub(super) element: Option<(Element, &'l [u8])>,
    pub(super) after: &'l [u8],
}

/// Finds the first element of a layout.
pub(super) fn cut(layout: &[u8]) -> Cut<'_> {
    for at in 0..layout.len() {
        let (before, rest) = layout.split_at(at);
        if let Some((element, length)) = element(rest) {
            let (text, after) = rest.split_at(length);
            return Cut { before, element: Some((element, text)), after };
        }
    }
    Cut { before: layout, element: None, after: b"" }
}

/// Returns the element that the text begins with, and its length.
fn element(text: &[u8]) -> Option<(Element, usize)> {
    let first = *text.first()?;
    if matches!(first, b'.' | b',') {
        return fraction(text);
    }
    // Here the underscore is a literal before the year.
    if text.starts_with(b"_2006") {
        return None;
    }
    let fits = |(name, element): &&(&str, Element)| {
        // `Janet` and `Month` are words.
        let is_short_name = matches!(element, Element::Month | Element::Weekday);
        text.starts_with(name.as_bytes())
            && !(is_short_name && text.get(name.len()).is_some_and(u8::is_ascii_lowercase))
    };
    ELEMENTS.iter().find(fits).map(|(name, element)| (*element, name.len()))
}

/// Reads `.000` or `,999`: one digit, repeated, and no other digit behind it.
fn fraction(text: &[u8]) -> Option<(Element, usize)> {
    let digit = *text.get(1).filter(|digit| matches!(digit, b'0' | b'9'))?;
    let n_digits = text[1..].iter().take_while(|byte| **byte == digit).count();
    if text.get(1 + n_digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let fraction = Fraction { separator: text[0], n_digits, trimmed: digit == b'9' };
    Some((Element::Fraction(fraction), 1 + n_digits))
}
