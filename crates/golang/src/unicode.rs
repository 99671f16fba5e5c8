//! Go's views of characters: classes as of Unicode 15 and strings that need not be UTF-8.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, ClassUnicode, HirKind};

/// What stands for a byte that is not part of a valid UTF-8 sequence.
pub const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Returns the characters of `text` as Go's `range` yields them: every byte that is not valid UTF-8 is one U+FFFD.
pub fn runes(text: &[u8]) -> impl Iterator<Item = char> {
    rune_indices(text).map(|(_, rune, _)| rune)
}

/// Returns offset, character and width in bytes of every character of `text`; a bad byte is U+FFFD of width 1.
pub fn rune_indices(text: &[u8]) -> impl Iterator<Item = (usize, char, usize)> {
    let mut offset = 0;
    text.utf8_chunks()
        .flat_map(|chunk| {
            let valid = chunk.valid().chars().map(|rune| (rune, rune.len_utf8()));
            valid.chain(chunk.invalid().iter().map(|_| (REPLACEMENT, 1)))
        })
        .map(move |(rune, width)| {
            let start = offset;
            offset += width;
            (start, rune, width)
        })
}

/// Returns whether Go's `unicode.IsPrint` holds: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub fn is_print(rune: char) -> bool {
    static PRINT: LazyLock<ClassUnicode> =
        LazyLock::new(|| class(r"[[\p{L}\p{M}\p{N}\p{P}\p{S}]&&\p{Age=15.0}]"));
    match rune {
        ' '..='~' => true,
        '\0'..='\u{a0}' => false,
        _ => contains(&PRINT, rune),
    }
}

/// Returns whether Go's `unicode.IsLetter` holds (category L).
pub fn is_letter(rune: char) -> bool {
    static LETTER: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"[\p{L}&&\p{Age=15.0}]"));
    rune.is_ascii_alphabetic() || !rune.is_ascii() && contains(&LETTER, rune)
}

/// Returns whether Go's `unicode.IsDigit` holds (category Nd).
pub fn is_digit(rune: char) -> bool {
    static DIGIT: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"[\p{Nd}&&\p{Age=15.0}]"));
    rune.is_ascii_digit() || !rune.is_ascii() && contains(&DIGIT, rune)
}

/// Returns whether Go's `unicode.IsNumber` holds (category N).
pub fn is_number(rune: char) -> bool {
    static NUMBER: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"[\p{N}&&\p{Age=15.0}]"));
    rune.is_ascii_digit() || !rune.is_ascii() && contains(&NUMBER, rune)
}

/// Returns whether Go's `unicode.IsPunct` holds (category P).
pub fn is_punctuation(rune: char) -> bool {
    static PUNCTUATION: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"[\p{P}&&\p{Age=15.0}]"));
    contains(&PUNCTUATION, rune)
}

/// Returns whether Go's `unicode.IsUpper` holds (category Lu).
pub fn is_upper(rune: char) -> bool {
    static UPPER: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"[\p{Lu}&&\p{Age=15.0}]"));
    rune.is_ascii_uppercase() || !rune.is_ascii() && contains(&UPPER, rune)
}

/// Returns whether Go's `unicode.IsLower` holds (category Ll).
pub fn is_lower(rune: char) -> bool {
    static LOWER: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"[\p{Ll}&&\p{Age=15.0}]"));
    rune.is_ascii_lowercase() || !rune.is_ascii() && contains(&LOWER, rune)
}

/// Returns whether Go's `unicode.IsTitle` holds (category Lt).
pub fn is_title(rune: char) -> bool {
    static TITLE: LazyLock<ClassUnicode> = LazyLock::new(|| class(r"[\p{Lt}&&\p{Age=15.0}]"));
    contains(&TITLE, rune)
}

/// Returns whether Go's `unicode.IsSpace` holds (the White_Space property).
pub fn is_space(rune: char) -> bool {
    rune.is_whitespace()
}

/// Returns the single-character upper case, as Go's `unicode.ToUpper`; characters that would become several stay.
pub fn to_upper(rune: char) -> char {
    if rune == 'ı' {
        return 'I';
    }
    single(rune, rune.to_uppercase())
}

/// Returns the single-character lower case, as Go's `unicode.ToLower`.
pub fn to_lower(rune: char) -> char {
    match rune {
        // Its full lower case is two characters, its simple one is a plain i.
        'İ' => 'i',
        _ => single(rune, rune.to_lowercase()),
    }
}

/// Returns the title case of a character, as Go's `unicode.ToTitle`.
pub fn to_title(rune: char) -> char {
    match rune {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        // Georgian letters have capitals, but are their own title case.
        'ა'..='ჺ' | 'ჽ'..='ჿ' => rune,
        _ => to_upper(rune),
    }
}

fn single(rune: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => rune,
    }
}

fn class(pattern: &str) -> ClassUnicode {
    let hir = regex_syntax::parse(pattern).expect("a class of ours is valid");
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => class,
        _ => ClassUnicode::empty(),
    }
}

fn contains(class: &ClassUnicode, rune: char) -> bool {
    let ranges = class.ranges();
    let at = ranges.partition_point(|range| range.end() < rune);
    ranges.get(at).is_some_and(|range| range.start() <= rune)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_bytes_are_one_replacement_each() {
        let got: Vec<_> = rune_indices(b"a\xe2\x82\xc3\xa9").collect();
        assert_eq!(got, [(0, 'a', 1), (1, REPLACEMENT, 1), (2, REPLACEMENT, 1), (3, 'é', 2)]);
    }

    #[test]
    fn printable_is_what_go_prints() {
        for (rune, print) in
            [(' ', true), ('\u{7f}', false), ('\u{a0}', false), ('\u{ad}', false), ('é', true)]
        {
            assert_eq!(is_print(rune), print, "{rune:?}");
        }
        assert!(is_print('\u{301}'), "marks are printed");
        assert!(!is_print('\u{2028}'), "separators are not");
    }
}
