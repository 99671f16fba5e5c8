//! Cuts a template's text into tokens.

use golang::unicode::{is_digit, is_letter, is_print};

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
const LEFT_COMMENT: &str = "/*";
const RIGHT_COMMENT: &str = "*/";
/// The marker and the space beside it.
const TRIM_MARKER_LEN: usize = 2;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

/// A token: where it starts, on which line, and its text (an error's is the message).
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: usize,
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    /// Returns the token as error texts show it.
    pub(crate) fn show(&self) -> String {
        let quote = |text: &str| golang::strconv::quote(text.as_bytes());
        match self.kind {
            Kind::Eof => "EOF".into(),
            Kind::Error => self.text.clone(),
            kind if kind.is_keyword() => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let cut: String = self.text.chars().take(10).collect();
                format!("{}...", quote(&cut))
            }
            _ => quote(&self.text),
        }
    }
}

impl Kind {
    fn is_keyword(self) -> bool {
        keyword_kinds().any(|(_, kind)| kind == self)
    }
}

fn keyword_kinds() -> impl Iterator<Item = (&'static str, Kind)> {
    [
        (".", Kind::Dot),
        ("block", Kind::Block),
        ("break", Kind::Break),
        ("continue", Kind::Continue),
        ("define", Kind::Define),
        ("else", Kind::Else),
        ("end", Kind::End),
        ("if", Kind::If),
        ("nil", Kind::Nil),
        ("range", Kind::Range),
        ("template", Kind::Template),
        ("with", Kind::With),
    ]
    .into_iter()
}

pub(crate) struct Lexer<'a> {
    input: &'a str,
    left: &'a str,
    right: &'a str,
    at: usize,
    start: usize,
    line: usize,
    inside_action: bool,
    paren_depth: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str, left: &'a str, right: &'a str) -> Self {
        Lexer { input, left, right, at: 0, start: 0, line: 1, inside_action: false, paren_depth: 0 }
    }

    pub(crate) fn next_token(&mut self) -> Token {
        if self.inside_action { self.inside_action() } else { self.text() }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Returns what lies between the token's start and here as a token.
    fn emit(&mut self, kind: Kind) -> Token {
        let text = &self.input[self.start..self.at];
        let token = Token { kind, at: self.start, text: text.to_owned(), line: self.line };
        self.ignore();
        token
    }

    fn ignore(&mut self) {
        let skipped = &self.input.as_bytes()[self.start..self.at];
        self.line += memchr_count(skipped);
        self.start = self.at;
    }

    fn error(&mut self, message: impl Into<String>) -> Token {
        let (at, line) = (self.start, self.line);
        self.input = "";
        self.at = 0;
        self.start = 0;
        Token { kind: Kind::Error, at, text: message.into(), line }
    }

    fn text(&mut self) -> Token {
        loop {
            let Some(length) = self.rest().find(self.left) else {
                self.at = self.input.len();
                return self.emit(if self.at > self.start { Kind::Text } else { Kind::Eof });
            };
            if length > 0 {
                let end = self.at + length;
                let text = &self.input[self.at..end];
                let kept = match has_left_trim_marker(&self.input[end + self.left.len()..]) {
                    true => text.trim_end_matches(SPACES).len(),
                    false => length,
                };
                self.at += kept;
                let token = (kept > 0).then(|| self.emit(Kind::Text));
                self.at = end;
                self.ignore();
                if let Some(token) = token {
                    return token;
                }
            }
            match self.left_delim() {
                Some(token) => return token,
                None => continue,
            }
        }
    }

    /// Reads an opening delimiter; `None` after a comment, which leaves no token.
    fn left_delim(&mut self) -> Option<Token> {
        self.at += self.left.len();
        let marker = if has_left_trim_marker(self.rest()) { TRIM_MARKER_LEN } else { 0 };
        if self.rest()[marker..].starts_with(LEFT_COMMENT) {
            self.at += marker;
            self.ignore();
            return self.comment();
        }
        let token = self.emit(Kind::LeftDelim);
        self.inside_action = true;
        self.at += marker;
        self.ignore();
        self.paren_depth = 0;
        Some(token)
    }

    fn comment(&mut self) -> Option<Token> {
        self.at += LEFT_COMMENT.len();
        let Some(length) = self.rest().find(RIGHT_COMMENT) else {
            return Some(self.error("unclosed comment"));
        };
        self.at += length + RIGHT_COMMENT.len();
        let Some(trims) = self.right_delim_here() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.skip_right_delim(trims);
        self.ignore();
        None
    }

    /// Returns whether a closing delimiter is here, and then whether it trims.
    fn right_delim_here(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest) && rest[TRIM_MARKER_LEN..].starts_with(self.right) {
            return Some(true);
        }
        rest.starts_with(self.right).then_some(false)
    }

    fn skip_right_delim(&mut self, trims: bool) {
        if trims {
            self.at += TRIM_MARKER_LEN;
        }
        self.at += self.right.len();
        if trims {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(SPACES).len();
        }
    }

    fn right_delim(&mut self, trims: bool) -> Token {
        if trims {
            self.at += TRIM_MARKER_LEN;
            self.ignore();
        }
        self.at += self.right.len();
        let token = self.emit(Kind::RightDelim);
        if trims {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(SPACES).len();
            self.ignore();
        }
        self.inside_action = false;
        token
    }

    fn inside_action(&mut self) -> Token {
        if let Some(trims) = self.right_delim_here() {
            if self.paren_depth == 0 {
                return self.right_delim(trims);
            }
            return self.error("unclosed left paren");
        }
        let Some(next) = self.bump() else { return self.error("unclosed action") };
        match next {
            _ if SPACES.contains(&next) => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' if self.bump() == Some('=') => self.emit(Kind::Declare),
            ':' => self.error("expected :="),
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '`' => self.raw_quoted(),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '$' => self.field_or_variable(Kind::Variable),
            '.' if self.peek().is_some_and(|next| !next.is_ascii_digit()) => {
                self.field_or_variable(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.at -= 1;
                self.number()
            }
            _ if is_alphanumeric(next) => self.identifier(),
            '(' => {
                self.paren_depth += 1;
                self.emit(Kind::LeftParen)
            }
            ')' if self.paren_depth == 0 => self.error("unexpected right paren"),
            ')' => {
                self.paren_depth -= 1;
                self.emit(Kind::RightParen)
            }
            ' '..='~' => self.emit(Kind::Char),
            _ => {
                let message = format!("unrecognized character in action: {}", unicode(next));
                self.error(message)
            }
        }
    }

    fn space(&mut self) -> Token {
        while self.peek().is_some_and(|next| SPACES.contains(&next)) {
            self.at += 1;
        }
        // A space before `-}}` belongs to the delimiter.
        let last = &self.input[self.at - 1..];
        if has_right_trim_marker(last) && last[TRIM_MARKER_LEN..].starts_with(self.right) {
            self.at -= 1;
            if self.at == self.start {
                return self.right_delim(true);
            }
        }
        self.emit(Kind::Space)
    }

    fn identifier(&mut self) -> Token {
        self.skip_alphanumeric();
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = &self.input[self.start..self.at];
        let keyword = keyword_kinds().find(|(text, _)| *text == word);
        match (keyword, word) {
            (Some((_, kind)), _) => self.emit(kind),
            (None, "true" | "false") => self.emit(Kind::Bool),
            (None, _) => self.emit(Kind::Identifier),
        }
    }

    fn field_or_variable(&mut self, kind: Kind) -> Token {
        if self.at_terminator() {
            return self.emit(if kind == Kind::Field { Kind::Dot } else { kind });
        }
        self.skip_alphanumeric();
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.emit(kind)
    }

    fn skip_alphanumeric(&mut self) {
        while let Some(next) = self.peek().filter(|next| is_alphanumeric(*next)) {
            self.at += next.len_utf8();
        }
    }

    fn bad_character(&mut self) -> Token {
        let message = format!("bad character {}", self.peek().map_or_else(String::new, unicode));
        self.error(message)
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(next) if SPACES.contains(&next) => true,
            Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(self.right),
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Token {
        loop {
            match self.bump() {
                Some('\\') => match self.bump() {
                    None | Some('\n') => return self.error(unterminated),
                    Some(_) => {}
                },
                None | Some('\n') => return self.error(unterminated),
                Some(next) if next == quote => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_quoted(&mut self) -> Token {
        match self.rest().find('`') {
            Some(length) => {
                self.at += length + 1;
                self.emit(Kind::RawString)
            }
            None => self.error("unterminated raw quoted string"),
        }
    }

    fn number(&mut self) -> Token {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            // A complex number: 1+2i.
            if !self.scan_number() || !self.input[..self.at].ends_with('i') {
                return self.bad_number();
            }
            return self.emit(Kind::Complex);
        }
        self.emit(Kind::Number)
    }

    fn bad_number(&mut self) -> Token {
        let text = golang::strconv::quote(&self.input.as_bytes()[self.start..self.at]);
        self.error(format!("bad number syntax: {text}"))
    }

    fn accept(&mut self, valid: &str) -> bool {
        let accepted = self.peek().is_some_and(|next| valid.contains(next));
        self.at += usize::from(accepted);
        accepted
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        match self.peek() {
            Some(next) if is_alphanumeric(next) => {
                self.at += next.len_utf8();
                false
            }
            _ => true,
        }
    }
}

fn memchr_count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn is_alphanumeric(rune: char) -> bool {
    rune == '_' || is_letter(rune) || is_digit(rune)
}

fn has_left_trim_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-', b' ' | b'\t' | b'\r' | b'\n', ..])
}

fn has_right_trim_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b' ' | b'\t' | b'\r' | b'\n', b'-', ..])
}

/// Returns `U+00AB '«'`, as `%#U` prints it.
fn unicode(rune: char) -> String {
    match is_print(rune) {
        true => format!("U+{:04X} '{rune}'", u32::from(rune)),
        false => format!("U+{:04X}", u32::from(rune)),
    }
}
