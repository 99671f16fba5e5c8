//! The natural order of keys in which yaml.v2 writes a mapping: `a2` before `a10`, punctuation before letters.

use std::cmp::Ordering;

use golang::unicode::{is_digit, is_letter};

/// Returns the keys in their order.
///
/// Merged by hand: the order is not transitive for some mixes of digits and letters, which
/// the standard library's sort may answer with a panic.
pub(super) fn sorted<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    merge_sort(keys.map(String::as_str).collect())
}

fn merge_sort(mut keys: Vec<&str>) -> Vec<&str> {
    if keys.len() < 2 {
        return keys;
    }
    let right = merge_sort(keys.split_off(keys.len() / 2));
    let mut left = merge_sort(keys).into_iter().peekable();
    let mut right = right.into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(b, a) == Ordering::Less { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left.chain(right));
    merged
}

fn compare(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else {
        return a.len().cmp(&b.len());
    };
    match (is_letter(a[at]), is_letter(b[at])) {
        (true, true) => a[at].cmp(&b[at]),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => compare_numbers(&a, &b, at),
    }
}

/// Compares by the numbers that begin where the texts part; a zero there counts once a digit has gone before.
fn compare_numbers(a: &[char], b: &[char], at: usize) -> Ordering {
    let digits_before = a[..at].iter().rev().take_while(|c| is_digit(**c));
    let is_inner_zero =
        (a[at] == '0' || b[at] == '0') && digits_before.into_iter().any(|c| *c != '0');
    let start = i64::from(is_inner_zero);
    let (a_number, a_end) = number(a, at, start);
    let (b_number, b_end) = number(b, at, start);
    a_number.cmp(&b_number).then(a_end.cmp(&b_end)).then(a[at].cmp(&b[at]))
}

/// Returns the number that begins at `at`, wrapping as Go's does, and where it ends.
fn number(text: &[char], at: usize, start: i64) -> (i64, usize) {
    let digits = text[at..].iter().take_while(|c| is_digit(**c));
    digits.fold((start, at), |(number, end), digit| {
        let value = i64::from(u32::from(*digit)) - i64::from(u32::from('0'));
        (number.wrapping_mul(10).wrapping_add(value), end + 1)
    })
}
