//! `WWW-Authenticate`: how a registry asks who we are.

use std::collections::BTreeMap;

/// Most challenges and parameters that are read; more are ignored.
const CHALLENGES_MAX: usize = 16;
const PARAMETERS_MAX: usize = 32;

/// Longest header value that is read.
const VALUE_MAX: usize = 16 << 10;

/// One challenge: a scheme and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub scheme: String,
    /// Parameter names in lower case; of a repeated name the first value counts.
    pub parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// Returns a parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// Returns the challenges of one header value; several may stand in it. What
/// is not a challenge is passed over.
pub fn parse_challenges(value: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let Some(mut rest) = value.get(..value.len().min(VALUE_MAX)) else { return challenges };
    while challenges.len() <= CHALLENGES_MAX {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            break;
        }
        match parameter_value(after) {
            // `name=value` belongs to the challenge before it.
            Some((text, after)) => {
                if let Some(challenge) = challenges.last_mut() {
                    add(challenge, word, text);
                }
                rest = after;
            }
            None => {
                let scheme = word.to_ascii_lowercase();
                challenges.push(Challenge { scheme, parameters: BTreeMap::new() });
                rest = after;
            }
        }
    }
    challenges.truncate(CHALLENGES_MAX);
    challenges
}

/// Returns the first challenge we can answer.
pub(crate) fn answerable(challenges: Vec<Challenge>) -> Option<Challenge> {
    challenges.into_iter().find(|c| ["basic", "bearer"].contains(&c.scheme.as_str()))
}

fn add(challenge: &mut Challenge, name: &str, value: String) {
    if challenge.parameters.len() < PARAMETERS_MAX {
        challenge.parameters.entry(name.to_ascii_lowercase()).or_insert(value);
    }
}

fn token(text: &str) -> (&str, &str) {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let end = text.bytes().position(|b| !is_token(b)).unwrap_or(text.len());
    text.split_at(end)
}

/// Returns the value after `=` and what follows it, `None` if there is no `=`.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let rest = text.trim_start_matches([' ', '\t']).strip_prefix('=')?;
    let rest = rest.trim_start_matches([' ', '\t']);
    if let Some(quoted) = rest.strip_prefix('"') {
        return Some(quoted_value(quoted));
    }
    let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
    Some((rest[..end].to_owned(), &rest[end..]))
}

fn quoted_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            _ => value.push(letter),
        }
    }
    // Unterminated: what is there counts.
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &str) {
        let found: Vec<String> = parse_challenges(value)
            .into_iter()
            .map(|c| {
                let parameters = c.parameters.iter().map(|(k, v)| format!(" {k}={v:?}"));
                c.scheme.clone() + &parameters.collect::<String>()
            })
            .collect();
        assert_eq!(found.join(" | "), expected, "{value}");
    }

    #[test]
    fn challenges_are_read() {
        check(
            r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push""#,
            r#"bearer realm="https://auth.example/token" scope="repository:a/b:pull,push" service="registry""#,
        );
        check("Basic realm=Registry", r#"basic realm="Registry""#);
        check("Basic", "basic");
        check("Negotiate, Basic realm=\"x\"", r#"negotiate | basic realm="x""#);
        check("Negotiate abc==, Bearer realm=\"y\"", r#"negotiate abc="=" | bearer realm="y""#);
        check(r#"BEARER Realm = "a\"b" , SERVICE=c"#, r#"bearer realm="a\"b" service="c""#);
        check(r#"Bearer realm="one",realm="two""#, r#"bearer realm="one""#);
        check(r#"Bearer realm="unterminated"#, r#"bearer realm="unterminated""#);
        check("", "");
        check(",,, =x", "");
        check("é", "");
    }
}
