//! Label selectors: their grammar, and what is said of those that do not keep to it.

use super::{Requirement, Test};
use crate::write::{key_problems, label_problems};

/// A word of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    End,
    /// A key, a value, or the name of an operator.
    Word(&'a str),
    /// One of `( ) , ! = == != > <`.
    Sign(&'a str),
}

/// Reads a selector; the error is a sentence.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { rest: text };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Token::End if requirements.is_empty() => return Ok(requirements),
            Token::Word(_) | Token::Sign("!") => {
                let requirement = parser.requirement();
                requirements.push(
                    requirement.map_err(|why| format!("unable to parse requirement: {why}"))?,
                );
            }
            found => {
                let found = found.text();
                return Err(format!(
                    "found '{found}', expected: !, identifier, or 'end of string'"
                ));
            }
        }
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Sign(",") => {}
            found => {
                let found = found.text();
                return Err(format!("found '{found}', expected: ',' or 'end of string'"));
            }
        }
        if !matches!(parser.peek(), Token::Word(_) | Token::Sign("!")) {
            let found = parser.peek().text();
            return Err(format!("found '{found}', expected: identifier after ','"));
        }
    }
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::End => "",
            Token::Word(text) | Token::Sign(text) => text,
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        Parser { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'a> {
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let is_sign = |character: char| "=!(),><".contains(character);
        let is_blank = |character: char| " \t\r\n".contains(character);
        let signs = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
        let (token, length) = match signs.iter().find(|sign| text.starts_with(**sign)) {
            Some(sign) => (Token::Sign(&text[..sign.len()]), sign.len()),
            None => {
                let end = text.find(|c| is_sign(c) || is_blank(c)).unwrap_or(text.len());
                let word = &text[..end];
                (if word.is_empty() { Token::End } else { Token::Word(word) }, end)
            }
        };
        self.rest = &text[length..];
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let is_absent = self.peek() == Token::Sign("!");
        if is_absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            found => return Err(format!("found '{}', expected: identifier", found.text())),
        };
        if let Some(problem) = key_problems(key).into_iter().next() {
            return Err(format!("<nil>: Invalid value: {key:?}: {problem}"));
        }
        let requirement = |test| Ok(Requirement { key: key.to_owned(), test });
        if is_absent {
            return requirement(Test::Absent);
        }
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return requirement(Test::Exists);
        }
        match self.next().text() {
            "in" => requirement(Test::In(self.values(key)?)),
            "notin" => requirement(Test::NotIn(self.values(key)?)),
            "=" | "==" => requirement(Test::In(vec![self.value(key)?])),
            "!=" => requirement(Test::NotIn(vec![self.value(key)?])),
            ">" | "gt" => requirement(Test::Above(self.bound()?)),
            "<" | "lt" => requirement(Test::Below(self.bound()?)),
            found => Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    /// Returns one value, which may be nothing.
    fn word(&mut self) -> Result<&'a str, String> {
        match self.peek() {
            Token::End | Token::Sign(",") => Ok(""),
            Token::Word(word) => {
                self.next();
                Ok(word)
            }
            Token::Sign(found) => Err(format!("found '{found}', expected: identifier")),
        }
    }

    fn value(&mut self, key: &str) -> Result<String, String> {
        let value = self.word()?;
        check_value(key, 0, value)?;
        Ok(value.to_owned())
    }

    fn bound(&mut self) -> Result<i64, String> {
        let value = self.word()?;
        value.parse().map_err(|_| {
            format!(
                "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        })
    }

    /// Returns the values between parentheses.
    fn values(&mut self, key: &str) -> Result<Vec<String>, String> {
        let found = self.next();
        if found != Token::Sign("(") {
            return Err(format!("found '{}' expected: '('", found.text()));
        }
        let mut values = Vec::new();
        match self.peek() {
            Token::Word(_) | Token::Sign("," | ")") => {}
            found => {
                return Err(format!("found '{}', expected: ',', ')' or identifier", found.text()));
            }
        }
        loop {
            let value = match self.peek() {
                Token::Word(word) => {
                    self.next();
                    word
                }
                _ => "",
            };
            values.push(value.to_owned());
            match self.next() {
                Token::Sign(",") => {}
                Token::Sign(")") => break,
                found => return Err(format!("found '{}', expected: ',' or ')'", found.text())),
            }
        }
        // They are a set, in order.
        values.sort();
        values.dedup();
        for (index, value) in values.iter().enumerate() {
            check_value(key, index, value)?;
        }
        Ok(values)
    }
}

fn check_value(key: &str, index: usize, value: &str) -> Result<(), String> {
    match label_problems(value).into_iter().next() {
        None => Ok(()),
        Some(problem) => {
            Err(format!("values[{index}][{key}]: Invalid value: {value:?}: {problem}"))
        }
    }
}
