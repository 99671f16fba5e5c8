//! Patterns of Go's `path/filepath.Match`, for names without a slash.

/// A pattern, ready to match names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

/// A pattern that Go refuses with `syntax error in pattern`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Any number of characters.
    Star,
    /// One character.
    Any,
    Byte(u8),
    Class {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before anything else.
    pub fn new(text: &[u8]) -> Result<Pattern, BadPattern> {
        let (mut tokens, mut rest) = (Vec::new(), text);
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            tokens.push(match first {
                b'*' => Token::Star,
                b'?' => Token::Any,
                b'[' => class(&mut rest)?,
                b'\\' => {
                    let (&escaped, after) = rest.split_first().ok_or(BadPattern)?;
                    rest = after;
                    Token::Byte(escaped)
                }
                byte => Token::Byte(byte),
            });
        }
        Ok(Pattern { tokens })
    }

    /// Returns whether the whole of `name`, which has no slash, fits.
    ///
    /// It takes at most as many steps as name and pattern multiplied.
    pub fn is_match(&self, name: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where to go on when what follows the last star does not fit.
        let mut star: Option<(usize, usize)> = None;
        loop {
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    token += 1;
                    star = Some((token, at));
                    continue;
                }
                None if at == name.len() => return true,
                Some(one) => {
                    if let Some(n) = one.fits(&name[at..]) {
                        (token, at) = (token + 1, at + n);
                        continue;
                    }
                }
                None => {}
            }
            let Some((after, from)) = star.filter(|(_, from)| *from < name.len()) else {
                return false;
            };
            (token, at) = (after, from + 1);
            star = Some((after, from + 1));
        }
    }
}

impl Token {
    /// Returns how many bytes of `name` this takes, if it fits.
    fn fits(&self, name: &[u8]) -> Option<usize> {
        let (first, n) = first_char(name)?;
        match self {
            Token::Star => None,
            Token::Any => Some(n),
            Token::Byte(byte) => (name.first() == Some(byte)).then_some(1),
            Token::Class { is_negated, ranges } => {
                let is_in = ranges.iter().any(|(low, high)| (*low..=*high).contains(&first));
                (is_in != *is_negated).then_some(n)
            }
        }
    }
}

/// Reads what follows a `[`.
fn class(rest: &mut &[u8]) -> Result<Token, BadPattern> {
    let is_negated = rest.first() == Some(&b'^');
    if is_negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            *rest = &rest[1..];
            return Ok(Token::Class { is_negated, ranges });
        }
        let low = class_char(rest)?;
        let high = if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            class_char(rest)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// Reads one character of a class, behind which something must follow.
fn class_char(rest: &mut &[u8]) -> Result<char, BadPattern> {
    if matches!(rest.first(), None | Some(b'-' | b']')) {
        return Err(BadPattern);
    }
    if rest.first() == Some(&b'\\') {
        *rest = &rest[1..];
    }
    let (char, n) = first_char(rest).ok_or(BadPattern)?;
    *rest = &rest[n..];
    if (char == char::REPLACEMENT_CHARACTER && n == 1) || rest.is_empty() {
        return Err(BadPattern);
    }
    Ok(char)
}

/// Returns the first character and its length; a byte that begins none counts as U+FFFD.
fn first_char(bytes: &[u8]) -> Option<(char, usize)> {
    let head = &bytes[..bytes.len().min(4)];
    if head.is_empty() {
        return None;
    }
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    Some(valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results of Go 1.26's `filepath.Match`.
    #[test]
    fn patterns_match_as_in_go() {
        let cases: &[(&str, &str, Option<bool>)] = &[
            ("*.tar.gz", "a.tar.gz", Some(true)),
            ("*.tar.gz", "a.tar.gz.tar.gz", Some(true)),
            ("*.tar.gz", "a.tar", Some(false)),
            ("a*b*c", "aXbXbc", Some(true)),
            ("a*b*c", "abcb", Some(false)),
            ("*", "", Some(true)),
            ("?", "é", Some(true)),
            ("??", "é", Some(false)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[a", "a", None),
            ("\\*", "*", Some(true)),
            ("a\\", "a", None),
            ("[é-ü]", "ö", Some(true)),
            ("", "", Some(true)),
        ];
        for (pattern, name, expected) in cases {
            let pattern_read = Pattern::new(pattern.as_bytes());
            let result = pattern_read.map(|pattern| pattern.is_match(name.as_bytes()));
            assert_eq!(result.ok(), *expected, "{pattern:?} {name:?}");
        }
    }
}
