//! A matcher for the expressions that filters mostly are: anchored, and readable in one way only.
//!
//! `^v(?P<v>[0-9]+\.[0-9]+)$` is a row of literals and repeated classes in which no class can take
//! what follows it. Such an expression matches in at most one way, so that a single pass over the
//! text, without states and without a way back, finds what every other engine finds. All else is
//! left to `regex-automata`.

use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// The most steps: more would be slower than an automaton is.
const STEPS_MAX: usize = 64;

/// An expression that matches in at most one way.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    steps: Vec<Step>,
    /// Whether the match must reach the end of the text.
    to_end: bool,
    head: Option<Head>,
}

/// A class that is a group of its own behind a literal, with which the expression begins: what
/// filters mostly extract, such as the time in `^main-(?P<ts>[0-9]+)-`.
#[derive(Debug, Clone)]
struct Head {
    literal: Box<[u8]>,
    group: usize,
    repeat: Repeat,
    /// How many steps these are.
    n_steps: usize,
}

#[derive(Debug, Clone)]
enum Step {
    Byte(u8),
    Literal(Box<[u8]>),
    Repeat(Repeat),
    /// Notes the place in a slot: a group begins or ends.
    Save(usize),
}

/// A class of bytes, as often as it goes.
#[derive(Debug, Clone)]
struct Repeat {
    class: Box<Set>,
    /// The class once more, if it is one range of ASCII characters.
    range: Option<AsciiRange>,
    min: usize,
    max: usize,
}

/// Which bytes belong to a class.
type Set = [bool; 256];

impl Linear {
    /// Returns the matcher, if the expression is so simple.
    pub(super) fn new(hir: &Hir) -> Option<Linear> {
        let HirKind::Concat(parts) = hir.kind() else { return None };
        let (first, mut parts) = parts.split_first()?;
        if *first.kind() != HirKind::Look(Look::Start) {
            return None;
        }
        let mut to_end = false;
        if let Some((last, before)) = parts.split_last()
            && *last.kind() == HirKind::Look(Look::End)
        {
            (parts, to_end) = (before, true);
        }
        let mut steps = Vec::new();
        parts.iter().try_for_each(|part| collect(part, &mut steps))?;
        let head = Head::of(&steps);
        is_unique(&steps).then_some(Linear { steps, to_end, head })
    }

    /// Reports whether the text matches, and fills the slots of all groups if it does.
    pub(super) fn search(&self, text: &str, slots: &mut [Option<NonMaxUsize>]) -> bool {
        let save = |slot, rest| set(slots, slot, text.len() - rest);
        let Some(rest) = self.run(0, text.as_bytes(), save) else { return false };
        set(slots, 0, 0);
        set(slots, 1, text.len() - rest);
        true
    }

    /// Returns the text of a group, empty if there is no such group; nothing if the whole text does
    /// not match or that of the group is not wanted, which is asked before what follows is read.
    pub(super) fn group_if<'t>(
        &self,
        text: &'t str,
        group: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<&'t str> {
        if let Some(head) = self.head.as_ref().filter(|head| head.group == group) {
            let after = head.repeat.skip(text.as_bytes().strip_prefix(&head.literal[..])?)?;
            let value = &text[head.literal.len()..text.len() - after.len()];
            let matches = wanted(value) && self.run(head.n_steps, after, |_, _| ()).is_some();
            return matches.then_some(value);
        }
        let (mut start, mut end) = (0, 0);
        let whole = self.run(0, text.as_bytes(), |slot, rest| {
            if slot == 2 * group {
                start = text.len() - rest;
            } else if slot == 2 * group + 1 {
                end = text.len() - rest;
            }
        })?;
        let value = if group == 0 { &text[..text.len() - whole] } else { &text[start..end] };
        wanted(value).then_some(value)
    }

    /// Reports whether the text matches.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.run(0, text.as_bytes(), |_, _| ()).is_some()
    }

    /// Takes the steps from the given one on; returns how many bytes are left behind the match.
    /// Slots are saved with how many are left there.
    fn run(&self, step: usize, text: &[u8], mut save: impl FnMut(usize, usize)) -> Option<usize> {
        let mut rest = text;
        for step in &self.steps[step..] {
            match step {
                Step::Byte(byte) => match rest.split_first() {
                    Some((first, after)) if first == byte => rest = after,
                    _ => return None,
                },
                Step::Literal(literal) => rest = rest.strip_prefix(&literal[..])?,
                Step::Repeat(repeat) => rest = repeat.skip(rest)?,
                Step::Save(slot) => save(*slot, rest.len()),
            }
        }
        (rest.is_empty() || !self.to_end).then_some(rest.len())
    }
}

impl Head {
    fn of(steps: &[Step]) -> Option<Head> {
        let mut literal = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Byte(byte) => literal.push(*byte),
                Step::Literal(bytes) => literal.extend_from_slice(bytes),
                Step::Repeat(_) => return None,
                Step::Save(_) => {
                    let [Step::Save(slot), Step::Repeat(repeat), Step::Save(close), ..] =
                        &steps[at..]
                    else {
                        return None;
                    };
                    return (*close == slot + 1).then(|| Head {
                        literal: literal.into(),
                        group: slot / 2,
                        repeat: repeat.clone(),
                        n_steps: at + 3,
                    });
                }
            }
        }
        None
    }
}

impl Repeat {
    fn new(class: Box<Set>, min: usize, max: usize) -> Repeat {
        let range = AsciiRange::of(&class);
        Repeat { class, range, min, max }
    }

    /// Passes over what belongs to the class.
    #[inline]
    fn skip<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let count = self.count(text).min(self.max);
        if count < self.min { None } else { Some(&text[count..]) }
    }

    /// Returns how many bytes at the beginning belong to the class.
    #[inline]
    fn count(&self, text: &[u8]) -> usize {
        let mut rest = text;
        if let Some(range) = self.range {
            while let Some((bytes, after)) = rest.split_first_chunk::<8>() {
                let n_inside = range.n_leading(u64::from_le_bytes(*bytes));
                if n_inside < 8 {
                    return text.len() - rest.len() + n_inside;
                }
                rest = after;
            }
        }
        let other = rest.iter().position(|byte| !self.class[usize::from(*byte)]);
        text.len() - rest.len() + other.unwrap_or(rest.len())
    }
}

/// A range of ASCII characters, in every byte of a word.
#[derive(Debug, Clone, Copy)]
struct AsciiRange {
    first: u64,
    /// What takes the last character to 0x7f.
    to_last: u64,
}

impl AsciiRange {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;

    fn of(class: &Set) -> Option<AsciiRange> {
        let first = (0..0x80_u8).find(|byte| class[usize::from(*byte)])?;
        let last = (0..0x80_u8).rfind(|byte| class[usize::from(*byte)])?;
        let is_range =
            (0..=255_u8).all(|byte| class[usize::from(byte)] == (first..=last).contains(&byte));
        is_range.then(|| AsciiRange {
            first: Self::ONES * u64::from(first),
            to_last: Self::ONES * u64::from(0x7f - last),
        })
    }

    /// Returns how many of eight bytes lie in the range until one does not; the first is the lowest.
    #[inline]
    fn n_leading(self, bytes: u64) -> usize {
        // The top bits tell: it is gone where a byte is below the range, and comes where one is above.
        let below = !((bytes | Self::TOPS) - self.first);
        let above = (bytes & !Self::TOPS) + self.to_last;
        let outside = (below | above | bytes) & Self::TOPS;
        outside.trailing_zeros() as usize / 8
    }
}

fn set(slots: &mut [Option<NonMaxUsize>], slot: usize, at: usize) {
    if let Some(slot) = slots.get_mut(slot) {
        *slot = NonMaxUsize::new(at);
    }
}

/// Adds the steps of a part, or returns nothing if it is not simple.
fn collect(hir: &Hir, steps: &mut Vec<Step>) -> Option<()> {
    if steps.len() >= STEPS_MAX {
        return None;
    }
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => steps.push(match literal.0[..] {
            [byte] => Step::Byte(byte),
            _ => Step::Literal(literal.0.clone()),
        }),
        HirKind::Class(class) => {
            let class = ascii(class)?;
            steps.push(Step::Repeat(Repeat::new(class, 1, 1)));
        }
        HirKind::Repetition(repetition) => steps.push(Step::Repeat(repeat(repetition)?)),
        HirKind::Capture(capture) => {
            let slot = 2 * usize::try_from(capture.index).ok()?;
            steps.push(Step::Save(slot));
            collect(&capture.sub, steps)?;
            steps.push(Step::Save(slot + 1));
        }
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| collect(part, steps))?,
        HirKind::Look(_) | HirKind::Alternation(_) => return None,
    }
    Some(())
}

/// Reads a greedy repetition of one byte.
fn repeat(repetition: &Repetition) -> Option<Repeat> {
    if !repetition.greedy {
        return None;
    }
    let min = usize::try_from(repetition.min).ok()?;
    let max = repetition.max.map_or(Some(usize::MAX), |max| usize::try_from(max).ok())?;
    let class = match repetition.sub.kind() {
        HirKind::Literal(literal) => match literal.0[..] {
            [byte] => set_of(|other| other == byte),
            _ => return None,
        },
        // Where all that is not ASCII belongs to the class, characters need not be told apart from
        // their bytes, as long as they are not counted.
        HirKind::Class(class) => match ascii(class) {
            Some(class) => class,
            None if min <= 1 && max == usize::MAX => wide(class)?,
            None => return None,
        },
        _ => return None,
    };
    Some(Repeat::new(class, min, max))
}

/// Returns the class if it holds ASCII characters only.
fn ascii(class: &Class) -> Option<Box<Set>> {
    let Class::Unicode(class) = class else { return None };
    let is_ascii = class.ranges().iter().all(|range| range.end().is_ascii());
    is_ascii.then(|| members(class))
}

/// Returns the class if it holds all characters that are not ASCII.
fn wide(class: &Class) -> Option<Box<Set>> {
    let Class::Unicode(class) = class else { return None };
    let is_wide =
        class.ranges().iter().any(|range| range.start() <= '\u{80}' && range.end() == char::MAX);
    is_wide.then(|| {
        let mut set = members(class);
        set[0x80..].fill(true);
        set
    })
}

fn members(class: &regex_syntax::hir::ClassUnicode) -> Box<Set> {
    set_of(|byte| {
        let c = char::from(byte);
        byte.is_ascii() && class.ranges().iter().any(|range| range.start() <= c && c <= range.end())
    })
}

fn set_of(belongs: impl Fn(u8) -> bool) -> Box<Set> {
    let mut set = [false; 256];
    (0..=255).for_each(|byte| set[usize::from(byte)] = belongs(byte));
    Box::new(set)
}

/// Returns whether no repetition that may stop early can take what may follow it.
fn is_unique(steps: &[Step]) -> bool {
    steps.iter().enumerate().all(|(at, step)| match step {
        Step::Repeat(repeat) if repeat.min < repeat.max => {
            is_apart(&repeat.class, &steps[at + 1..])
        }
        _ => true,
    })
}

/// Returns whether a class shares no byte with what may come next.
fn is_apart(class: &Set, following: &[Step]) -> bool {
    for step in following {
        match step {
            Step::Save(_) => {}
            Step::Byte(byte) => return !class[usize::from(*byte)],
            Step::Literal(literal) => return !class[usize::from(literal[0])],
            Step::Repeat(repeat) => {
                if class.iter().zip(repeat.class.iter()).any(|(a, b)| *a && *b) {
                    return false;
                }
                if repeat.min > 0 {
                    return true;
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::Linear;
    use crate::regexp::{Regexp, fill, parse};

    #[test]
    fn filters_are_mostly_simple() {
        check(
            r"^v(?P<v>[0-9]+\.[0-9]+\.[0-9]+)$ ^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$ ^main-.*$
              ^(?:dev)(\d{4})[a-w]?x*$ ^1\.2\.[^-]+$ ^a[0-9]{3}[0-9]+ ^v?[0-9]+-?rc",
            expect![[r#"
                simple   ^v(?P<v>[0-9]+\.[0-9]+\.[0-9]+)$
                simple   ^branch-dev-(?P<ts>[0-9]+)-[0-9a-f]+$
                simple   ^main-.*$
                simple   ^(?:dev)(\d{4})[a-w]?x*$
                simple   ^1\.2\.[^-]+$
                simple   ^a[0-9]{3}[0-9]+
                simple   ^v?[0-9]+-?rc
            "#]],
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_simple() {
        check(
            r"[0-9]+$ ^(ab|cd)$ ^.*-x$ ^[0-9]+?a ^[a-z]+b ^(ab)*$ ^a*b?a$ ^[é-ü]+$ ^.{3}$ (?m)^a$ ^a\b",
            expect![[r#"
                other    [0-9]+$
                other    ^(ab|cd)$
                other    ^.*-x$
                other    ^[0-9]+?a
                other    ^[a-z]+b
                other    ^(ab)*$
                other    ^a*b?a$
                other    ^[é-ü]+$
                other    ^.{3}$
                other    (?m)^a$
                other    ^a\b
            "#]],
        );
    }

    #[track_caller]
    fn check(patterns: &str, expected: Expect) {
        let mut result = String::new();
        for pattern in patterns.split_whitespace() {
            let parsed = parse::parse(pattern.as_bytes()).expect("a sound pattern");
            let kind = if Linear::new(&parsed.hir).is_some() { "simple  " } else { "other   " };
            result.push_str(&format!("{kind} {pattern}\n"));
        }
        expected.assert_eq(&result);
    }

    fn pattern() -> impl Strategy<Value = String> {
        let atoms = [
            "a", "b", "ab", "é", "[ab]", "[bc]", "[0-9]", "[^b]", ".", "(a)", "([ab]+)", "(b?c)",
            "\\d",
        ];
        let counts = ["", "", "+", "*", "?", "{2}", "{1,2}"];
        let atom = proptest::sample::select(atoms.to_vec());
        let counted = (atom, proptest::sample::select(counts.to_vec()))
            .prop_map(|(atom, count)| format!("{atom}{count}"));
        (proptest::collection::vec(counted, 0..6), any::<bool>())
            .prop_map(|(parts, end)| format!("^{}{}", parts.concat(), if end { "$" } else { "" }))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_simple_expression_matches_as_the_automaton_does(
            pattern in pattern(),
            texts in proptest::collection::vec("[abcé1\n]{0,8}|[ab]{0,20}[`c1]?|b{0,20}é?c?|[0-9]{0,20}[/:é]?", 8),
        ) {
            let parsed = parse::parse(pattern.as_bytes()).expect("a sound pattern");
            let Some(linear) = Linear::new(&parsed.hir) else { return Ok(()) };
            let regexp = Regexp::new(&pattern).expect("a sound pattern");
            let templates = ["$0", "$1", "$2", "$1-$2"].map(|text| regexp.template(text));
            let mut matcher = regexp.matcher();
            for text in &texts {
                let mut slots = vec![None; 2 * regexp.names.len()];
                let matches = linear.search(text, &mut slots);
                prop_assert_eq!(linear.is_match(text), matches);
                let mut expected = vec![None; 2 * regexp.names.len()];
                let input = regex_automata::Input::new(text);
                prop_assert_eq!(
                    regexp.regex.search_slots(&input, &mut expected).is_some(), matches,
                    "{} {:?}", pattern, text
                );
                if matches {
                    prop_assert_eq!(&slots, &expected, "{} {:?}", pattern, text);
                }
                for template in &templates {
                    let value = matches.then(|| fill(template, &expected, text));
                    prop_assert_eq!(&matcher.expand(template, text), &value, "{} {:?}", pattern, text);
                    let wanted = |value: &str| value.len() < 2;
                    let found = matcher.expand_if(template, text, wanted);
                    prop_assert_eq!(found, value.filter(|value| wanted(value)), "{} {:?}", pattern, text);
                }
            }
        }
    }
}
