//! Go's regular expressions (RE2 syntax), matched in linear time.
//!
//! The syntax is read by our own parser, because the same text means other things to other
//! engines; matching is left to `regex-automata`. A text that is not UTF-8 matches as in Go:
//! every byte that is no part of a character counts as one U+FFFD.

mod class;
mod error;
mod linear;
mod parse;
mod prefix;
mod template;
mod text;

pub use error::{Error, ErrorKind};
pub use parse::HEIGHT_MAX;
pub use template::Template;

use linear::Linear;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Input, meta};
use std::borrow::Cow;
use std::ops::Range;
use text::Text;

/// The largest memory of one compiled automaton in bytes: Go's own limit counts another machine's
/// instructions, and `\pL{1000}` takes about 20 MiB here.
const AUTOMATON_BYTES_MAX: usize = 64 << 20;

/// Up to this depth an expression is compiled on the caller's stack, with a wide margin on 2 MiB.
const SHALLOW_MAX: u32 = 100;

/// The stack on which the deepest expression ([`HEIGHT_MAX`]) is compiled: about 2.5 KiB a level are
/// used without optimisation, and only touched pages count.
const DEEP_STACK_BYTES: usize = 32 << 20;

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub struct Regexp {
    pattern: String,
    regex: meta::Regex,
    /// The faster way, where there is one.
    linear: Option<Linear>,
    names: Vec<String>,
    prefix: String,
}

/// Where a match and its groups stand in the text, in bytes; index 0 is the whole match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submatches {
    spans: Vec<Option<Range<usize>>>,
}

/// The matches of an expression in a text, in order.
#[derive(Debug)]
pub struct Matches<'r, 't> {
    regexp: &'r Regexp,
    text: Text<'t>,
    position: usize,
    last_end: Option<usize>,
}

/// An expression with the scratch memory of a search: for many texts in a row.
#[derive(Debug)]
pub struct Matcher<'r> {
    regexp: &'r Regexp,
    cache: meta::Cache,
    slots: Vec<Option<NonMaxUsize>>,
}

impl Regexp {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Go's, with Go's text. An expression that Go would compile into more than its limit of
    /// instructions, or that takes more than 64 MiB here, is "too large".
    pub fn new(pattern: &str) -> Result<Regexp, Error> {
        Regexp::from_bytes(pattern.as_bytes())
    }

    /// Compiles a pattern that may not be UTF-8, which is an error with Go's text.
    ///
    /// # Errors
    /// As [`Regexp::new`].
    pub fn from_bytes(pattern: &[u8]) -> Result<Regexp, Error> {
        let parsed = parse::parse(pattern)?;
        let regex = build(&parsed).ok_or_else(|| Error::new(ErrorKind::Large, pattern))?;
        let pattern = String::from_utf8_lossy(pattern).into_owned();
        let linear = Linear::new(&parsed.hir);
        let prefix = prefix::of(&parsed.hir);
        Ok(Regexp { pattern, regex, linear, names: parsed.names, prefix })
    }

    /// Returns the pattern it was compiled from.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Returns a text with which every text that matches begins, empty if none is known.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the names of the groups, the whole match first; empty where a group has none.
    pub fn subexp_names(&self) -> &[String] {
        &self.names
    }

    /// Reports whether the text holds a match.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(Text::new(text).as_str())
    }

    /// Reports whether the text holds a match.
    pub fn is_match_str(&self, text: &str) -> bool {
        match &self.linear {
            Some(linear) => linear.is_match(text),
            None => self.regex.is_match(text),
        }
    }

    /// Returns the template filled from the leftmost match, or nothing without a match.
    ///
    /// For a few texts; a [`Matcher`] is for many.
    pub fn expand_str<'t>(&self, template: &Template, text: &'t str) -> Option<Cow<'t, str>> {
        let mut slots = vec![None; 2 * self.names.len()];
        let found = match &self.linear {
            Some(linear) => linear.search(text, &mut slots),
            None => self.regex.search_slots(&Input::new(text), &mut slots).is_some(),
        };
        found.then(|| fill(template, &slots, text))
    }

    /// Returns the leftmost match, or nothing.
    pub fn find_submatch(&self, text: &[u8]) -> Option<Submatches> {
        let text = Text::new(text);
        self.find_at(&text, 0).map(|found| text.original_spans(found))
    }

    /// Returns all matches that do not overlap; an empty one directly after another is left out.
    pub fn find_all(&self, text: &[u8]) -> Vec<Submatches> {
        self.matches(text).collect()
    }

    /// Returns the matches of [`Regexp::find_all`] one by one: each may search to the end of the text.
    pub fn matches<'t>(&self, text: &'t [u8]) -> Matches<'_, 't> {
        Matches { regexp: self, text: Text::new(text), position: 0, last_end: None }
    }

    /// Returns the bytes that the compiled expression takes, by which both compiling and searching cost.
    pub fn memory(&self) -> usize {
        self.regex.memory_usage()
    }

    /// Returns the text with every match replaced by the filled template.
    pub fn replace_all(&self, text: &[u8], template: &str) -> Vec<u8> {
        let template = Template::new(template, &self.names);
        let mapped = Text::new(text);
        let mut out = Vec::with_capacity(text.len());
        let (mut copied, mut last_end, mut position) = (0, 0, 0);
        while position <= mapped.as_str().len() {
            let Some(found) = self.find_at(&mapped, position) else { break };
            let whole = found.whole();
            let found = mapped.original_spans(found);
            out.extend_from_slice(&text[copied..found.whole().start]);
            if whole.end > last_end || whole.start == 0 {
                template.fill_bytes(|group| found.text(group, text), &mut out);
            }
            copied = found.whole().end;
            last_end = whole.end;
            let next = mapped.next_position(position);
            position = if next > whole.end { next } else { whole.end };
        }
        out.extend_from_slice(&text[copied..]);
        out
    }

    /// Returns the parts of the text between the matches, as Go's `Split` with no limit.
    pub fn split<'t>(&self, text: &'t [u8]) -> Vec<&'t [u8]> {
        if !self.pattern.is_empty() && text.is_empty() {
            return vec![b""];
        }
        let (mut parts, mut start, mut end) = (Vec::new(), 0, 0);
        for found in self.find_all(text) {
            let whole = found.whole();
            end = whole.start;
            if whole.end != 0 {
                parts.push(&text[start..end]);
            }
            start = whole.end;
        }
        if end != text.len() {
            parts.push(&text[start..]);
        }
        parts
    }

    /// Reads a template for this expression.
    pub fn template(&self, template: &str) -> Template {
        Template::new(template, &self.names)
    }

    /// Appends the template, filled from a match in `text`, to `out`.
    pub fn expand(&self, template: &str, text: &[u8], found: &Submatches, out: &mut Vec<u8>) {
        self.template(template).fill_bytes(|group| found.text(group, text), out);
    }

    /// Returns a matcher with its own scratch memory.
    pub fn matcher(&self) -> Matcher<'_> {
        let slots = vec![None; 2 * self.names.len()];
        Matcher { regexp: self, cache: self.regex.create_cache(), slots }
    }

    fn find_at(&self, text: &Text<'_>, start: usize) -> Option<Submatches> {
        let mut slots = vec![None; 2 * self.names.len()];
        let input = Input::new(text.as_str()).range(start..);
        self.regex.search_slots(&input, &mut slots)?;
        let span = |pair: &[Option<NonMaxUsize>]| Some(pair[0]?.get()..pair[1]?.get());
        Some(Submatches { spans: slots.chunks_exact(2).map(span).collect() })
    }
}

impl Submatches {
    /// Returns where a group stands, or nothing if it took no part in the match.
    pub fn get(&self, group: usize) -> Option<Range<usize>> {
        self.spans.get(group)?.clone()
    }

    /// Returns the number of groups, the whole match included.
    #[expect(clippy::len_without_is_empty, reason = "there is always the whole match")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns what a group matched, or nothing if it took no part in the match.
    pub fn text<'t>(&self, group: usize, text: &'t [u8]) -> Option<&'t [u8]> {
        text.get(self.get(group)?)
    }

    fn whole(&self) -> Range<usize> {
        self.spans[0].clone().expect("a match has a place: its slots are filled")
    }
}

impl Iterator for Matches<'_, '_> {
    type Item = Submatches;

    fn next(&mut self) -> Option<Submatches> {
        while self.position <= self.text.as_str().len() {
            let found = self.regexp.find_at(&self.text, self.position)?;
            let whole = found.whole();
            let is_empty = whole.end == self.position;
            let repeated = is_empty && self.last_end == Some(whole.start);
            self.position = match is_empty {
                true => self.text.next_position(self.position),
                false => whole.end,
            };
            self.last_end = Some(whole.end);
            if !repeated {
                return Some(self.text.original_spans(found));
            }
        }
        None
    }
}

impl Matcher<'_> {
    /// Reports whether the text holds a match.
    pub fn is_match(&mut self, text: &str) -> bool {
        if let Some(linear) = &self.regexp.linear {
            return linear.is_match(text);
        }
        let input = Input::new(text).earliest(true);
        self.regexp.regex.search_half_with(&mut self.cache, &input).is_some()
    }

    /// Returns the template filled from the leftmost match, or nothing without a match.
    pub fn expand<'t>(&mut self, template: &Template, text: &'t str) -> Option<Cow<'t, str>> {
        self.expand_if(template, text, |_| true)
    }

    /// Returns the template filled from the leftmost match, or nothing without a match or if the
    /// result is not `wanted`.
    ///
    /// What is not wanted may be told before the whole text is looked at, so `wanted` must give the
    /// same answer every time, and may be asked about a text that does not match in the end.
    pub fn expand_if<'t>(
        &mut self,
        template: &Template,
        text: &'t str,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<Cow<'t, str>> {
        match &self.regexp.linear {
            Some(linear) => match template.only_group() {
                Some(group) => linear.group_if(text, group, wanted).map(Cow::Borrowed),
                None => linear
                    .search(text, &mut self.slots)
                    .then(|| fill(template, &self.slots, text))
                    .filter(|value| wanted(value)),
            },
            None => {
                let (regex, input) = (&self.regexp.regex, Input::new(text));
                regex.search_slots_with(&mut self.cache, &input, &mut self.slots)?;
                Some(fill(template, &self.slots, text)).filter(|value| wanted(value))
            }
        }
    }
}

fn fill<'t>(template: &Template, slots: &[Option<NonMaxUsize>], text: &'t str) -> Cow<'t, str> {
    template.fill(|group| {
        let start = slots.get(2 * group).copied()??;
        let end = slots.get(2 * group + 1).copied()??;
        text.get(start.get()..end.get())
    })
}

/// Compiles what was read, or returns nothing if it becomes too large.
///
/// The compiler recurses into groups: for a deep expression it gets a stack of its own, so that
/// the depth that Go allows is safe on any thread.
fn build(parsed: &parse::Parsed) -> Option<meta::Regex> {
    let build = || {
        let config = meta::Config::new().nfa_size_limit(Some(AUTOMATON_BYTES_MAX)).utf8_empty(true);
        meta::Builder::new().configure(config).build_from_hir(&parsed.hir).ok()
    };
    if parsed.height <= SHALLOW_MAX {
        return build();
    }
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(DEEP_STACK_BYTES);
        builder.spawn_scoped(scope, build).ok()?.join().ok()?
    })
}

/// Returns a pattern that matches exactly this text.
pub fn quote_meta(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}
