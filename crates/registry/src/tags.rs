//! Reads `{"name": …, "tags": […]}` as it comes, straight into a compact list.
//!
//! Stricter than Go's decoder where leniency could make a broken answer look
//! like a short list: `tags` must be there exactly once, every tag must be a
//! string of valid UTF-8, and nothing may follow the object.

use api::tag::TagList;

/// Deepest nesting in fields that are passed over.
const DEPTH_MAX: usize = 32;

/// Longest number or name (`true`, `null`) in fields that are passed over.
const WORD_MAX: usize = 64;

/// An answer that is not a tag list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a tag list: {reason} at byte {at}")]
pub struct Malformed {
    /// What is wrong.
    pub reason: &'static str,
    /// Where, from 0.
    pub at: u64,
}

/// Reads one answer, piece by piece.
pub struct TagsParser {
    tags: TagList,
    place: Place,
    lex: Lex,
    /// Open brackets: `{` or `[`.
    open: Vec<u8>,
    /// The string or word that is being read.
    text: Vec<u8>,
    role: Role,
    /// The name of the top-level field is `tags`.
    at_tags: bool,
    seen_tags: bool,
    at: u64,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    KeyOrEnd,
    Key,
    Colon,
    Value,
    ValueOrEnd,
    CommaOrEnd,
    Done,
}

/// Where in a token we are.
#[derive(Clone, Copy)]
enum Lex {
    Between,
    Text,
    Escape,
    Unicode {
        digits: u8,
        value: u16,
        high: Option<u16>,
    },
    /// After a high surrogate: `\` and then `u` must follow.
    Low {
        high: u16,
        backslash: bool,
    },
    Word,
}

/// What a string is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Key,
    Tag,
    Other,
}

type Step = Result<(), &'static str>;

impl Default for TagsParser {
    fn default() -> TagsParser {
        TagsParser::new()
    }
}

impl TagsParser {
    /// Returns a parser at the beginning of an answer.
    pub fn new() -> TagsParser {
        TagsParser {
            tags: TagList::new(),
            place: Place::Start,
            lex: Lex::Between,
            open: Vec::new(),
            text: Vec::new(),
            role: Role::Other,
            at_tags: false,
            seen_tags: false,
            at: 0,
        }
    }

    /// Returns how many tags were read so far.
    pub fn n_tags(&self) -> usize {
        self.tags.len()
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// When the answer cannot be a tag list any more.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        let mut at = 0;
        while at < piece.len() {
            let step = match self.lex {
                Lex::Text => self.text_run(&piece[at..]),
                _ => self.byte(piece[at]).map_err(|reason| (reason, 0)),
            };
            match step {
                Ok(read) => at += read,
                Err((reason, offset)) => {
                    return Err(Malformed { reason, at: self.at + (at + offset) as u64 });
                }
            }
        }
        self.at += piece.len() as u64;
        Ok(())
    }

    /// Ends the answer; returns its tags in their order, duplicates kept.
    ///
    /// # Errors
    /// When the answer is not complete.
    pub fn finish(self) -> Result<TagList, Malformed> {
        let reason = match self.place {
            Place::Done if self.seen_tags => return Ok(self.tags),
            Place::Done => "it has no `tags`",
            Place::Start if self.at == 0 => "it is empty",
            _ => "it ends early",
        };
        Err(Malformed { reason, at: self.at })
    }

    /// Reads as much of a string as is plain; returns how much that was, or
    /// what is wrong and where.
    fn text_run(&mut self, rest: &[u8]) -> Result<usize, (&'static str, usize)> {
        let end = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
        let Some(end) = end else {
            self.text.extend_from_slice(rest);
            return Ok(rest.len());
        };
        self.text.extend_from_slice(&rest[..end]);
        match rest[end] {
            b'"' => self.end_text().map_err(|reason| (reason, end))?,
            b'\\' => self.lex = Lex::Escape,
            _ => return Err(("a control character in a string", end)),
        }
        Ok(end + 1)
    }

    /// Reads one byte outside plain text; returns how many were used.
    fn byte(&mut self, byte: u8) -> Result<usize, &'static str> {
        match self.lex {
            Lex::Between => self.between(byte)?,
            Lex::Escape => self.escape(byte)?,
            Lex::Unicode { digits, value, high } => self.unicode(byte, digits, value, high)?,
            Lex::Low { high, backslash: false } if byte == b'\\' => {
                self.lex = Lex::Low { high, backslash: true };
            }
            Lex::Low { high, backslash: true } if byte == b'u' => {
                self.lex = Lex::Unicode { digits: 0, value: 0, high: Some(high) };
            }
            Lex::Low { .. } => return Err("half a surrogate pair"),
            Lex::Word => {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
                    self.text.push(byte);
                    let fits = self.text.len() <= WORD_MAX;
                    return if fits { Ok(1) } else { Err("a number that is too long") };
                }
                self.end_word()?;
                return Ok(0);
            }
            // Plain text is read in runs, never byte by byte.
            Lex::Text => return Err("a string in an unexpected place"),
        }
        Ok(1)
    }

    fn between(&mut self, byte: u8) -> Step {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Ok(());
        }
        match (self.place, byte) {
            (Place::Start, b'{') => self.enter(b'{'),
            (Place::Start, _) => Err("it is no object"),
            (Place::KeyOrEnd | Place::Key, b'"') => self.begin_text(Role::Key),
            (Place::KeyOrEnd, b'}') => self.leave(b'{'),
            (Place::Colon, b':') => {
                self.place = Place::Value;
                Ok(())
            }
            (Place::ValueOrEnd, b']') => self.leave(b'['),
            (Place::Value | Place::ValueOrEnd, _) => self.begin_value(byte),
            (Place::CommaOrEnd, b',') => {
                let in_object = self.open.last() == Some(&b'{');
                self.place = if in_object { Place::Key } else { Place::Value };
                Ok(())
            }
            (Place::CommaOrEnd, b'}') => self.leave(b'{'),
            (Place::CommaOrEnd, b']') => self.leave(b'['),
            (Place::Done, _) => Err("something follows the object"),
            _ => Err("an unexpected character"),
        }
    }

    fn begin_value(&mut self, byte: u8) -> Step {
        let is_tags = self.at_tags && self.open.len() == 1;
        let in_tags = self.in_tags();
        match byte {
            b'"' if is_tags => Err("`tags` is no array"),
            b'"' => self.begin_text(if in_tags { Role::Tag } else { Role::Other }),
            _ if in_tags => Err("a tag is no string"),
            b'[' => self.enter(b'['),
            b'{' if is_tags => Err("`tags` is no array"),
            b'{' => self.enter(b'{'),
            b't' | b'f' | b'n' | b'-' | b'0'..=b'9' => {
                self.text.clear();
                self.text.push(byte);
                self.lex = Lex::Word;
                Ok(())
            }
            _ => Err("an unexpected character"),
        }
    }

    /// Says whether the innermost bracket is that of `tags`.
    fn in_tags(&self) -> bool {
        self.at_tags && self.open.len() == 2 && self.open[1] == b'['
    }

    fn enter(&mut self, bracket: u8) -> Step {
        if self.open.len() == DEPTH_MAX {
            return Err("nested too deeply");
        }
        self.open.push(bracket);
        self.place = if bracket == b'{' { Place::KeyOrEnd } else { Place::ValueOrEnd };
        Ok(())
    }

    fn leave(&mut self, bracket: u8) -> Step {
        if self.open.pop() != Some(bracket) {
            return Err("brackets that do not match");
        }
        self.place = if self.open.is_empty() { Place::Done } else { Place::CommaOrEnd };
        Ok(())
    }

    fn begin_text(&mut self, role: Role) -> Step {
        self.text.clear();
        self.role = role;
        self.lex = Lex::Text;
        Ok(())
    }

    fn end_text(&mut self) -> Step {
        let text = std::str::from_utf8(&self.text).map_err(|_| "invalid UTF-8")?;
        match self.role {
            Role::Tag => self.tags.push(text),
            Role::Key if self.open.len() == 1 => {
                self.at_tags = text == "tags";
                if self.at_tags && std::mem::replace(&mut self.seen_tags, true) {
                    return Err("`tags` stands in it twice");
                }
            }
            Role::Key | Role::Other => {}
        }
        self.place = if self.role == Role::Key { Place::Colon } else { Place::CommaOrEnd };
        self.lex = Lex::Between;
        Ok(())
    }

    fn end_word(&mut self) -> Step {
        let is_null = self.text == b"null";
        if self.at_tags && self.open.len() == 1 && !is_null {
            return Err("`tags` is no array");
        }
        if !is_null && self.text != b"true" && self.text != b"false" && !is_number(&self.text) {
            return Err("an unexpected word");
        }
        self.place = Place::CommaOrEnd;
        self.lex = Lex::Between;
        Ok(())
    }

    fn escape(&mut self, byte: u8) -> Step {
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.lex = Lex::Unicode { digits: 0, value: 0, high: None };
                return Ok(());
            }
            _ => return Err("an unknown escape"),
        };
        self.text.push(plain);
        self.lex = Lex::Text;
        Ok(())
    }

    fn unicode(&mut self, byte: u8, digits: u8, value: u16, high: Option<u16>) -> Step {
        let digit = char::from(byte).to_digit(16).ok_or("an escape that is not hexadecimal")?;
        // Four digits fit 16 bits, and a digit 4.
        let value = (value << 4) | u16::try_from(digit).unwrap_or_default();
        if digits < 3 {
            self.lex = Lex::Unicode { digits: digits + 1, value, high };
            return Ok(());
        }
        let units = match (high, value) {
            (None, 0xd800..=0xdbff) => {
                self.lex = Lex::Low { high: value, backslash: false };
                return Ok(());
            }
            (None, unit) => vec![unit],
            (Some(high), unit) => vec![high, unit],
        };
        let letters = String::from_utf16(&units).map_err(|_| "half a surrogate pair")?;
        self.text.extend_from_slice(letters.as_bytes());
        self.lex = Lex::Text;
        Ok(())
    }
}

/// Says whether a word is a number by JSON's grammar.
fn is_number(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"-").unwrap_or(word);
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(word);
    if whole == 0 || (whole > 1 && word[0] == b'0') {
        return false;
    }
    let mut rest = &word[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let n = digits(fraction);
        if n == 0 {
            return false;
        }
        rest = &fraction[n..];
    }
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else {
        return rest.is_empty();
    };
    let exponent =
        exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
    let n = digits(exponent);
    n > 0 && n == exponent.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, String> {
        let mut parser = TagsParser::new();
        for piece in pieces {
            parser.feed(piece).map_err(|error| error.to_string())?;
        }
        let tags = parser.finish().map_err(|error| error.to_string())?;
        Ok(tags.iter().map(str::to_owned).collect())
    }

    /// Reads whole, byte by byte and split everywhere: all must agree.
    #[track_caller]
    fn check(text: &[u8], expected: Result<&[&str], &str>) {
        let expected = expected
            .map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())
            .map_err(|reason| format!("the answer is not a tag list: {reason}"));
        let shown = String::from_utf8_lossy(text).into_owned();
        assert_eq!(read(&[text]), expected, "{shown}");
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(read(&bytes), expected, "{shown} byte by byte");
        for at in 0..text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(read(&[a, b]), expected, "{shown} split at {at}");
        }
    }

    #[test]
    fn tags_come_in_their_order() {
        check(br#"{"name":"a","tags":["v1","v2","v1"]}"#, Ok(&["v1", "v2", "v1"]));
        check(b" {\n\"tags\" : [ \"b\" , \"a\" ] , \"name\" : \"x\" }\r\n", Ok(&["b", "a"]));
        check(br#"{"tags":[]}"#, Ok(&[]));
        check(br#"{"name":"a","tags":null}"#, Ok(&[]));
        check(br#"{"tags":[""]}"#, Ok(&[""]));
    }

    #[test]
    fn escapes_are_what_they_stand_for() {
        check(br#"{"tags":["a\"b\\c\/d\n\u0041\u00e9\ud83d\ude00"]}"#, Ok(&["a\"b\\c/d\nAé😀"]));
        check(br#"{"t\u0061gs":["x"]}"#, Ok(&["x"]));
        check("{\"tags\":[\"é😀\"]}".as_bytes(), Ok(&["é😀"]));
    }

    #[test]
    fn other_fields_are_passed_over() {
        check(
            br#"{"a":{"tags":["no"],"b":[1,-2.5e+3,true,false,null,{"c":[]}]},"tags":["x"],"z":"\"]}"}"#,
            Ok(&["x"]),
        );
        check(
            br#"{"next":"/v2/","manifest":{"sha256:1":{"tag":["no"]}},"tags":["x"]}"#,
            Ok(&["x"]),
        );
    }

    #[test]
    fn what_is_not_a_tag_list_is_an_error() {
        check(b"", Err("it is empty at byte 0"));
        check(b"{}", Err("it has no `tags` at byte 2"));
        check(br#"{"errors":[{"code":"X"}]}"#, Err("it has no `tags` at byte 25"));
        check(b"[]", Err("it is no object at byte 0"));
        check(b"<html>", Err("it is no object at byte 0"));
        check(br#"{"tags":["a","#, Err("it ends early at byte 13"));
        check(br#"{"tags":["a"]"#, Err("it ends early at byte 13"));
        check(br#"{"tags":["a"]}{"#, Err("something follows the object at byte 14"));
        check(br#"{"tags":["a"],"tags":["b"]}"#, Err("`tags` stands in it twice at byte 19"));
        check(br#"{"tags":[1]}"#, Err("a tag is no string at byte 9"));
        check(br#"{"tags":[null]}"#, Err("a tag is no string at byte 9"));
        check(br#"{"tags":[["a"]]}"#, Err("a tag is no string at byte 9"));
        check(br#"{"tags":{"a":1}}"#, Err("`tags` is no array at byte 8"));
        check(br#"{"tags":"a"}"#, Err("`tags` is no array at byte 8"));
        check(br#"{"tags":7}"#, Err("`tags` is no array at byte 9"));
        check(br#"{"tags":["a" "b"]}"#, Err("an unexpected character at byte 13"));
        check(br#"{"tags":["a"],}"#, Err("an unexpected character at byte 14"));
        check(br#"{"tags":["a",]}"#, Err("a tag is no string at byte 13"));
        check(br#"{"tags":["a"}"#, Err("brackets that do not match at byte 12"));
        check(br#"{"n":01,"tags":[]}"#, Err("an unexpected word at byte 7"));
        check(br#"{"n":nul,"tags":[]}"#, Err("an unexpected word at byte 8"));
    }

    #[test]
    fn broken_text_is_an_error() {
        let reason = |text: &[u8]| read(&[text]).expect_err("broken");
        assert!(reason(b"{\"tags\":[\"\xff\"]}").contains("invalid UTF-8"));
        assert!(reason(b"{\"tags\":[\"\xed\xa0\x80\"]}").contains("invalid UTF-8"));
        assert!(reason(b"{\"tags\":[\"a\x00b\"]}").contains("a control character"));
        assert!(reason(br#"{"tags":["\ud800"]}"#).contains("half a surrogate pair"));
        assert!(reason(br#"{"tags":["\udc00"]}"#).contains("half a surrogate pair"));
        assert!(reason(br#"{"tags":["\ud800\u0041"]}"#).contains("half a surrogate pair"));
        assert!(reason(br#"{"tags":["\x"]}"#).contains("an unknown escape"));
        assert!(reason(br#"{"tags":["\u00g0"]}"#).contains("not hexadecimal"));
        let deep = format!("{{\"x\":{}", "[".repeat(100));
        assert!(reason(deep.as_bytes()).contains("nested too deeply"));
        let long = format!("{{\"x\":{}", "1".repeat(100));
        assert!(reason(long.as_bytes()).contains("too long"));
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "1.5", "1e5", "1E-5", "-1.25e+10"] {
            assert!(is_number(good.as_bytes()), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "1e+", "1x", "--1", "1.5.5", "truee"] {
            assert!(!is_number(bad.as_bytes()), "{bad}");
        }
    }
}
