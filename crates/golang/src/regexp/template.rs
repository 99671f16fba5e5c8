//! Templates such as `$ts` or `${1}-x` that are filled from the groups of a match.

use super::class;
use std::borrow::Cow;

/// A template in Go's `Expand` syntax, read once for one expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Groups by index; the first that took part in the match is written.
    Groups(Vec<usize>),
}

impl Template {
    /// Reads a template; `names` are the group names of the expression, the whole match first.
    ///
    /// Never fails: like Go, it copies a malformed `$` as it is, and writes nothing for a group
    /// that does not exist.
    pub fn new(template: &str, names: &[String]) -> Template {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                text.push('$');
                rest = after;
            } else if let Some((name, after)) = group_name(rest) {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Groups(groups(name, names)));
                rest = after;
            } else {
                text.push('$');
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Template { parts }
    }

    /// Returns the filled template, borrowed if it is nothing but one group.
    pub fn fill<'t>(&self, group: impl Fn(usize) -> Option<&'t str>) -> Cow<'t, str> {
        if let [Part::Groups(groups)] = &self.parts[..] {
            return Cow::Borrowed(first(groups, group).unwrap_or_default());
        }
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Groups(groups) => filled.push_str(first(groups, &group).unwrap_or_default()),
            }
        }
        Cow::Owned(filled)
    }

    /// Returns the group that is all there is to the template, if it is so.
    pub(super) fn only_group(&self) -> Option<usize> {
        match &self.parts[..] {
            [Part::Groups(groups)] => match groups[..] {
                [group] => Some(group),
                _ => None,
            },
            _ => None,
        }
    }

    /// Appends the filled template to `out`.
    pub(super) fn fill_bytes<'t>(
        &self,
        group: impl Fn(usize) -> Option<&'t [u8]>,
        out: &mut Vec<u8>,
    ) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Groups(groups) => {
                    out.extend_from_slice(first(groups, &group).unwrap_or_default());
                }
            }
        }
    }
}

fn first<T>(groups: &[usize], group: impl Fn(usize) -> Option<T>) -> Option<T> {
    groups.iter().find_map(|&index| group(index))
}

/// Splits the name off a text that follows `$`.
fn group_name(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let is_part = |c: char| c == '_' || class::is_letter_or_digit(c);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

/// Returns the groups that a name stands for: a number without leading zeros is an index.
fn groups(name: &str, names: &[String]) -> Vec<usize> {
    let leading_zero = name.len() > 1 && name.starts_with('0');
    if !leading_zero && name.len() <= 9 && name.bytes().all(|b| b.is_ascii_digit()) {
        return name.parse().into_iter().collect();
    }
    (0..names.len()).filter(|&index| names[index] == name).collect()
}
