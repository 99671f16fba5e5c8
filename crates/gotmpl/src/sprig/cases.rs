//! Upper and lower case, and the cases of names.

use golang::unicode::{
    is_letter, is_lower, is_number, is_punctuation, is_title, is_upper, runes, to_lower, to_title,
    to_upper,
};

use super::strings::map_runes;
use super::{Entry, fixed, text};
use crate::function::Param;

pub(super) fn functions() -> Vec<Entry> {
    use Param::String;
    vec![
        fixed("upper", &[String], |_, args| Ok(map_runes(text(args, 0), to_upper))),
        fixed("lower", &[String], |_, args| Ok(map_runes(text(args, 0), to_lower))),
        fixed("title", &[String], |_, args| Ok(title(text(args, 0)).into())),
        fixed("untitle", &[String], |_, args| Ok(untitle(text(args, 0)).into())),
        fixed("swapcase", &[String], |_, args| Ok(swap_case(text(args, 0)).into())),
        fixed("camelcase", &[String], |_, args| Ok(pascal_case(text(args, 0)).into())),
        fixed("snakecase", &[String], |_, args| Ok(words(text(args, 0), '_').into())),
        fixed("kebabcase", &[String], |_, args| Ok(words(text(args, 0), '-').into())),
    ]
}

/// Begins every word with a title character; letters, digits and underscores do not separate words.
fn title(whole: &[u8]) -> String {
    let mut before = ' ';
    let map = |rune| {
        let begins = is_separator(std::mem::replace(&mut before, rune));
        if begins { to_title(rune) } else { rune }
    };
    runes(whole).map(map).collect()
}

fn is_separator(rune: char) -> bool {
    match rune {
        '_' => false,
        _ if rune.is_ascii() => !rune.is_ascii_alphanumeric(),
        _ => !is_letter(rune) && !golang::unicode::is_digit(rune) && rune.is_whitespace(),
    }
}

fn untitle(whole: &[u8]) -> String {
    let mut begins = true;
    let map = |rune: char| match rune.is_whitespace() {
        true => {
            begins = true;
            rune
        }
        false if std::mem::take(&mut begins) => to_lower(rune),
        false => rune,
    };
    runes(whole).map(map).collect()
}

fn swap_case(whole: &[u8]) -> String {
    let mut after_space = true;
    let map = |rune: char| {
        if is_upper(rune) || is_title(rune) {
            after_space = false;
            to_lower(rune)
        } else if is_lower(rune) {
            if std::mem::take(&mut after_space) { to_title(rune) } else { to_upper(rune) }
        } else {
            after_space = rune.is_whitespace();
            rune
        }
    };
    runes(whole).map(map).collect()
}

fn is_connector(rune: char) -> bool {
    rune == '-' || rune == '_' || rune.is_whitespace()
}

fn pascal_case(whole: &[u8]) -> String {
    let runes: Vec<char> = runes(whole).collect();
    let mut out = String::with_capacity(whole.len());
    let first = runes.iter().position(|rune| !is_connector(*rune));
    let Some(first) = first else {
        return runes.into_iter().collect();
    };
    out.extend(&runes[..first]);
    // A run of capitals at the start of a word becomes lower case but for its first.
    let mut in_capitals = is_upper(runes[first]);
    let mut current = to_upper(runes[first]);
    for &next in &runes[first + 1..] {
        let (before, mut rune) = (current, next);
        if is_connector(rune) && is_connector(before) {
            out.push(before);
            current = rune;
            continue;
        }
        if is_connector(before) {
            in_capitals = is_upper(rune);
            rune = to_upper(rune);
        } else {
            if in_capitals {
                if is_upper(rune) {
                    rune = to_lower(rune);
                } else {
                    in_capitals = false;
                }
            }
            out.push(before);
        }
        current = rune;
    }
    out.push(current);
    out
}

/// What a stretch of characters is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    End,
    Number,
    /// Begins with a capital.
    Upper,
    Letters,
    Connector,
    Punctuation,
    Other,
}

/// Cuts a name into words and joins them with a connector, in lower case.
fn words(whole: &[u8], connector: char) -> String {
    let runes: Vec<char> = runes(whole).collect();
    let mut rest = &runes[..];
    let mut out = String::with_capacity(whole.len() + 8);
    let (mut kind, mut word) = next_word(&mut rest);
    while !rest.is_empty() {
        if kind != Word::Connector {
            push_lower(&mut out, kind, word, connector);
        }
        let (before, last) = (kind, word);
        (kind, word) = next_word(&mut rest);
        match before {
            Word::Number => {
                while matches!(kind, Word::Letters | Word::Number) {
                    push_lower(&mut out, kind, word, connector);
                    (kind, word) = next_word(&mut rest);
                }
                if separates(kind) {
                    out.push(connector);
                }
            }
            Word::Connector => push_lower(&mut out, before, last, connector),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word) = next_word(&mut rest);
                if kind != Word::Letters {
                    push_lower(&mut out, Word::Number, number, connector);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                push_lower(&mut out, Word::Number, number, connector);
                while matches!(kind, Word::Letters | Word::Number) {
                    push_lower(&mut out, kind, word, connector);
                    (kind, word) = next_word(&mut rest);
                }
                if separates(kind) {
                    out.push(connector);
                }
            }
        }
    }
    push_lower(&mut out, kind, word, connector);
    out
}

fn separates(kind: Word) -> bool {
    !matches!(kind, Word::End | Word::Connector | Word::Punctuation)
}

fn push_lower(out: &mut String, kind: Word, word: &[char], connector: char) {
    match kind {
        Word::Upper | Word::Connector => out.extend(word.iter().map(|rune| match *rune {
            rune if is_connector(rune) => connector,
            rune if is_upper(rune) => to_lower(rune),
            rune => rune,
        })),
        _ => out.extend(word),
    }
}

fn next_word<'r>(rest: &mut &'r [char]) -> (Word, &'r [char]) {
    let runes = *rest;
    let Some(&first) = runes.first() else { return (Word::End, &[]) };
    let run = |from: usize, holds: &dyn Fn(char) -> bool| {
        from + runes[from..].iter().take_while(|rune| holds(**rune)).count()
    };
    let is_small = |rune: char| is_letter(rune) && !is_upper(rune);
    let (kind, len) = if is_connector(first) {
        (Word::Connector, run(1, &is_connector))
    } else if is_punctuation(first) {
        (Word::Punctuation, run(1, &is_punctuation))
    } else if is_upper(first) {
        let capitals = run(1, &is_upper);
        let len = match runes.get(capitals) {
            // "HTTPServer": the last capital begins the next word.
            Some(next) if capitals > 1 && is_letter(*next) => capitals - 1,
            _ if capitals > 1 => capitals,
            _ => run(1, &is_small),
        };
        (Word::Upper, len)
    } else if is_letter(first) {
        (Word::Letters, run(1, &is_small))
    } else if is_number(first) {
        (Word::Number, run(1, &is_number))
    } else {
        let is_other = |rune: char| {
            !is_connector(rune) && !is_letter(rune) && !is_number(rune) && !is_punctuation(rune)
        };
        (Word::Other, run(1, &is_other))
    };
    *rest = &runes[len..];
    (kind, &runes[..len])
}
