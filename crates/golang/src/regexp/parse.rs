//! Reads Go's RE2 syntax into the intermediate form that the matching engine compiles.

use super::class::{self, Set};
use super::error::{Error, ErrorKind};
use regex_syntax::hir::{Capture, Class, ClassUnicode, Dot, Hir, Look, Repetition};

/// The largest count of a repetition, and of the product of nested ones, as in Go.
const REPEAT_MAX: u32 = 1000;

/// The deepest nesting of an expression, as in Go.
pub const HEIGHT_MAX: u32 = 1000;

/// The largest number of instructions of an expression: what Go fits into 128 MiB.
const SIZE_MAX: u64 = (128 << 20) / 40;

/// The largest number of range ends in all classes together: what Go fits into 128 MiB.
const RANGE_ENDS_MAX: usize = (128 << 20) / 4;

/// A pattern that was read.
pub(super) struct Parsed {
    pub(super) hir: Hir,
    /// Levels of nesting.
    pub(super) height: u32,
    /// The names of the groups, the whole match first; empty where a group has none.
    pub(super) names: Vec<String>,
}

/// Reads a pattern.
pub(super) fn parse(pattern: &[u8]) -> Result<Parsed, Error> {
    let mut parser = Parser::new(pattern);
    let mut rest = pattern;
    let mut last_repeat: Option<&[u8]> = None;
    while let Some(&first) = rest.first() {
        let before = rest;
        (rest, last_repeat) = match first {
            b'*' => (parser.repeat(0, None, before, &rest[1..], last_repeat)?, Some(before)),
            b'+' => (parser.repeat(1, None, before, &rest[1..], last_repeat)?, Some(before)),
            b'?' => (parser.repeat(0, Some(1), before, &rest[1..], last_repeat)?, Some(before)),
            b'{' => match counts(rest) {
                Some((counts, after)) => {
                    (parser.counted(counts, before, after, last_repeat)?, Some(before))
                }
                None => {
                    parser.literal('{')?;
                    (&rest[1..], None)
                }
            },
            _ => (parser.element(rest)?, None),
        };
    }
    parser.finish()
}

#[derive(Clone, Copy)]
struct Flags {
    fold: bool,
    multi_line: bool,
    dot_newline: bool,
    swap_greed: bool,
}

/// A part of the expression with what Go's limits are measured on.
struct Node {
    hir: Hir,
    kind: NodeKind,
    /// Levels of nesting, itself included.
    height: u32,
    /// Instructions it takes.
    size: u64,
    /// The product of the nested repeat counts.
    repeats: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeKind {
    Literal,
    Concat,
    Alternate,
    Other,
}

/// An open group, or the whole expression.
struct Frame {
    /// The flags to restore when the group closes.
    flags: Flags,
    capture: Option<u32>,
    branches: Vec<Node>,
    items: Vec<Node>,
}

struct Parser<'p> {
    pattern: &'p [u8],
    flags: Flags,
    frames: Vec<Frame>,
    top: Frame,
    names: Vec<String>,
    range_ends: usize,
}

impl<'p> Parser<'p> {
    fn new(pattern: &'p [u8]) -> Parser<'p> {
        let flags = Flags { fold: false, multi_line: false, dot_newline: false, swap_greed: false };
        let top = Frame { flags, capture: None, branches: Vec::new(), items: Vec::new() };
        let names = vec![String::new()];
        Parser { pattern, flags, frames: Vec::new(), top, names, range_ends: 0 }
    }

    /// Reads one element that is not a repetition and returns what follows it.
    fn element(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        match text[0] {
            b'(' if text.get(1) == Some(&b'?') => return self.special_group(text),
            b'(' => self.open(Some(String::new())),
            b'|' => self.branch()?,
            b')' => self.close()?,
            b'^' if self.flags.multi_line => self.look(Look::StartLF)?,
            b'^' => self.look(Look::Start)?,
            b'$' if self.flags.multi_line => self.look(Look::EndLF)?,
            b'$' => self.look(Look::End)?,
            b'.' => {
                let dot = match self.flags.dot_newline {
                    true => Dot::AnyChar,
                    false => Dot::AnyCharExceptLF,
                };
                self.push(Node::leaf(Hir::dot(dot)))?;
            }
            b'[' => return self.class(text),
            b'\\' => return self.escape(text),
            _ => {
                let (c, rest) = next_char(text)?;
                self.literal(c)?;
                return Ok(rest);
            }
        }
        Ok(&text[1..])
    }

    fn escape(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        let look = match text.get(1) {
            Some(b'A') => Look::Start,
            Some(b'z') => Look::End,
            Some(b'b') => Look::WordAscii,
            Some(b'B') => Look::WordAsciiNegate,
            Some(b'C') => return Err(Error::new(ErrorKind::InvalidEscape, &text[..2])),
            Some(b'Q') => return self.quoted(&text[2..]),
            _ => {
                if let Some((class, rest)) = self.class_escape(text)? {
                    self.push_class(class)?;
                    return Ok(rest);
                }
                let (code, rest) = escape(text)?;
                self.code_point(code)?;
                return Ok(rest);
            }
        };
        self.look(look)?;
        Ok(&text[2..])
    }

    /// Reads what stands between `\Q` and `\E`, or the end, as it is.
    fn quoted(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        let end = text.windows(2).position(|pair| pair == b"\\E");
        let mut literal = &text[..end.unwrap_or(text.len())];
        while !literal.is_empty() {
            let (c, rest) = next_char(literal)?;
            self.literal(c)?;
            literal = rest;
        }
        Ok(end.map_or(&[], |end| &text[end + 2..]))
    }

    /// Reads a group that begins with `(?`, or a change of flags.
    fn special_group(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        let named = text.starts_with(b"(?P<") && text.len() > 4;
        if named || text.starts_with(b"(?<") && text.len() > 3 {
            return self.named_group(text, if named { 4 } else { 3 });
        }
        let mut rest = &text[2..];
        let mut flags = self.flags;
        let (mut on, mut saw_flag) = (true, false);
        while !rest.is_empty() {
            let (c, after) = next_char(rest)?;
            rest = after;
            match c {
                'i' => flags.fold = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_newline = on,
                'U' => flags.swap_greed = on,
                '-' if on => on = false,
                ':' | ')' if on || saw_flag => {
                    if c == ':' {
                        self.open(None);
                    }
                    self.flags = flags;
                    return Ok(rest);
                }
                _ => break,
            }
            saw_flag = c != '-';
        }
        Err(Error::new(ErrorKind::InvalidPerlOp, &text[..text.len() - rest.len()]))
    }

    fn named_group(&mut self, text: &'p [u8], start: usize) -> Result<&'p [u8], Error> {
        let Some(end) = text.iter().position(|&b| b == b'>') else {
            check_utf8(text)?;
            return Err(Error::new(ErrorKind::InvalidNamedCapture, text));
        };
        let name = &text[start..end];
        check_utf8(name)?;
        if name.is_empty() || !name.iter().all(|&b| b == b'_' || b.is_ascii_alphanumeric()) {
            return Err(Error::new(ErrorKind::InvalidNamedCapture, &text[..=end]));
        }
        self.open(Some(name.iter().map(|&b| char::from(b)).collect()));
        Ok(&text[end + 1..])
    }

    /// Opens a group, with its name if it captures.
    fn open(&mut self, name: Option<String>) {
        let capture = name.map(|name| {
            self.names.push(name);
            // A group takes a byte of the pattern, and no pattern has 4 Gi of them.
            u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
        });
        let inner = Frame { flags: self.flags, capture, branches: Vec::new(), items: Vec::new() };
        self.frames.push(std::mem::replace(&mut self.top, inner));
    }

    fn branch(&mut self) -> Result<(), Error> {
        let items = std::mem::take(&mut self.top.items);
        let node = self.checked(Node::concat(items))?;
        self.top.branches.push(node);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.branch()?;
        let Some(outer) = self.frames.pop() else {
            return Err(Error::new(ErrorKind::UnexpectedParen, self.pattern));
        };
        let group = std::mem::replace(&mut self.top, outer);
        self.flags = group.flags;
        let node = self.checked(Node::alternate(group.branches))?;
        match group.capture {
            Some(index) => self.push(node.captured(index)),
            None => self.push(node),
        }
    }

    fn finish(mut self) -> Result<Parsed, Error> {
        self.branch()?;
        if !self.frames.is_empty() {
            return Err(Error::new(ErrorKind::MissingParen, self.pattern));
        }
        let branches = std::mem::take(&mut self.top.branches);
        let node = self.checked(Node::alternate(branches))?;
        Ok(Parsed { hir: node.hir, height: node.height, names: self.names })
    }

    fn push(&mut self, node: Node) -> Result<(), Error> {
        let node = self.checked(node)?;
        self.top.items.push(node);
        Ok(())
    }

    fn checked(&self, node: Node) -> Result<Node, Error> {
        if node.size > SIZE_MAX || self.range_ends > RANGE_ENDS_MAX {
            return Err(Error::new(ErrorKind::Large, self.pattern));
        }
        if node.height > HEIGHT_MAX {
            return Err(Error::new(ErrorKind::NestingDepth, self.pattern));
        }
        Ok(node)
    }

    fn look(&mut self, look: Look) -> Result<(), Error> {
        self.push(Node::leaf(Hir::look(look)))
    }

    fn literal(&mut self, c: char) -> Result<(), Error> {
        self.code_point(c.into())
    }

    /// Adds one code point. A surrogate is legal in a pattern and in no text.
    fn code_point(&mut self, code: u32) -> Result<(), Error> {
        let hir = match char::from_u32(code) {
            None => Hir::fail(),
            Some(_) if self.flags.fold => {
                let mut set = Set::default();
                set.add_folded(code, code);
                Hir::class(Class::Unicode(set.finish()))
            }
            Some(c) => Hir::literal(c.encode_utf8(&mut [0; 4]).as_bytes()),
        };
        self.push(Node { kind: NodeKind::Literal, ..Node::leaf(hir) })
    }

    fn push_class(&mut self, class: ClassUnicode) -> Result<(), Error> {
        self.range_ends += 2 * class.ranges().len();
        self.push(Node::leaf(Hir::class(Class::Unicode(class))))
    }

    /// Repeats the last item; `before` is the pattern from the operator on.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        before: &'p [u8],
        mut after: &'p [u8],
        last_repeat: Option<&[u8]>,
    ) -> Result<&'p [u8], Error> {
        let mut greedy = !self.flags.swap_greed;
        if after.first() == Some(&b'?') {
            after = &after[1..];
            greedy = !greedy;
        }
        if let Some(last) = last_repeat {
            let operators = &last[..last.len() - after.len()];
            return Err(Error::new(ErrorKind::InvalidRepeatOp, operators));
        }
        let operator = &before[..before.len() - after.len()];
        let Some(item) = self.top.items.pop() else {
            return Err(Error::new(ErrorKind::MissingRepeatArgument, operator));
        };
        let counted = operator[0] == b'{';
        let node = self.checked(item.repeated(min, max, greedy, counted))?;
        if node.repeats > REPEAT_MAX {
            return Err(Error::new(ErrorKind::InvalidRepeatSize, operator));
        }
        self.top.items.push(node);
        Ok(after)
    }

    fn counted(
        &mut self,
        (min, max): Counts,
        before: &'p [u8],
        after: &'p [u8],
        last_repeat: Option<&[u8]>,
    ) -> Result<&'p [u8], Error> {
        let too_big = || {
            let operator = &before[..before.len() - after.len()];
            Error::new(ErrorKind::InvalidRepeatSize, operator)
        };
        let min = min.ok_or_else(too_big)?;
        let max = max.map(|max| max.ok_or_else(too_big)).transpose()?;
        if max.is_some_and(|max| min > max) {
            return Err(too_big());
        }
        self.repeat(min, max, before, after, last_repeat)
    }

    /// Reads `[…]`.
    fn class(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        let mut rest = &text[1..];
        let negated = rest.first() == Some(&b'^');
        if negated {
            rest = &rest[1..];
        }
        let mut set = Set::default();
        let mut first = true;
        while first || rest.first() != Some(&b']') {
            first = false;
            rest = self.class_item(text, rest, &mut set)?;
            if 2 * set.len() > RANGE_ENDS_MAX {
                return Err(Error::new(ErrorKind::Large, self.pattern));
            }
        }
        let mut class = set.finish();
        if negated {
            class.negate();
        }
        self.push_class(class)?;
        Ok(&rest[1..])
    }

    /// Reads one item of the class `whole` into the set and returns what follows it.
    fn class_item(&self, whole: &[u8], text: &'p [u8], set: &mut Set) -> Result<&'p [u8], Error> {
        if text.starts_with(b"[:")
            && let Some(end) = text[2..].windows(2).position(|pair| pair == b":]")
        {
            let (name, rest) = text.split_at(end + 4);
            let class = class::posix(name, self.flags.fold)
                .ok_or_else(|| Error::new(ErrorKind::InvalidCharRange, name))?;
            set.extend(&class);
            return Ok(rest);
        }
        if let Some((class, rest)) = self.class_escape(text)? {
            set.extend(&class);
            return Ok(rest);
        }
        let (low, mut rest) = class_char(text, whole)?;
        let mut high = low;
        if rest.len() >= 2 && rest[0] == b'-' && rest[1] != b']' {
            (high, rest) = class_char(&rest[1..], whole)?;
            if high < low {
                let range = &text[..text.len() - rest.len()];
                return Err(Error::new(ErrorKind::InvalidCharRange, range));
            }
        }
        match self.flags.fold {
            true => set.add_folded(low, high),
            false => set.add(low, high),
        }
        Ok(rest)
    }

    /// Reads `\d`, `\pL`, `\p{Greek}` and the like.
    fn class_escape(&self, text: &'p [u8]) -> Result<Option<(ClassUnicode, &'p [u8])>, Error> {
        match *text {
            [b'\\', b'p' | b'P', ..] => self.unicode_class(text).map(Some),
            [b'\\', letter, ..] => {
                let class = class::perl(letter, self.flags.fold);
                Ok(class.map(|class| (class, &text[2..])))
            }
            _ => Ok(None),
        }
    }

    fn unicode_class(&self, text: &'p [u8]) -> Result<(ClassUnicode, &'p [u8]), Error> {
        let mut negated = text[1] == b'P';
        let (sequence, mut name);
        if text.get(2) == Some(&b'{') {
            let Some(end) = text.iter().position(|&b| b == b'}') else {
                check_utf8(text)?;
                return Err(Error::new(ErrorKind::InvalidCharRange, text));
            };
            sequence = &text[..=end];
            name = &text[3..end];
            check_utf8(name)?;
        } else if text.len() == 2 {
            (sequence, name) = (text, &text[2..]);
        } else {
            let (_, rest) = next_char(&text[2..])?;
            sequence = &text[..text.len() - rest.len()];
            name = &sequence[2..];
        }
        if let Some(positive) = name.strip_prefix(b"^") {
            negated = !negated;
            name = positive;
        }
        let class = str::from_utf8(name)
            .ok()
            .and_then(|name| class::unicode(name, negated, self.flags.fold))
            .ok_or_else(|| Error::new(ErrorKind::InvalidCharRange, sequence))?;
        Ok((class, &text[sequence.len()..]))
    }
}

// === impl Node ===

impl Node {
    fn leaf(hir: Hir) -> Node {
        Node { hir, kind: NodeKind::Other, height: 1, size: 1, repeats: 1 }
    }

    fn concat(items: Vec<Node>) -> Node {
        // A run of literals is one literal.
        let literals = items.iter().all(|item| item.kind == NodeKind::Literal);
        let kind = if literals { NodeKind::Other } else { NodeKind::Concat };
        Node::joined(items, kind, Hir::concat, 0)
    }

    fn alternate(branches: Vec<Node>) -> Node {
        let forks = branches.len().saturating_sub(1) as u64;
        Node::joined(branches, NodeKind::Alternate, Hir::alternation, forks)
    }

    fn joined(nodes: Vec<Node>, kind: NodeKind, hir: fn(Vec<Hir>) -> Hir, extra: u64) -> Node {
        if nodes.len() == 1 {
            let mut nodes = nodes;
            return nodes.remove(0);
        }
        // Go flattens a concatenation in a concatenation, so it is not a level of its own.
        let level = |node: &Node| match kind {
            NodeKind::Other => 0,
            _ => node.height - u32::from(node.kind == kind),
        };
        let height = 1 + nodes.iter().map(level).max().unwrap_or(0);
        let size = nodes.iter().map(|node| node.size).sum::<u64>().max(1) + extra;
        let repeats = nodes.iter().map(|node| node.repeats).max().unwrap_or(1);
        let hir = hir(nodes.into_iter().map(|node| node.hir).collect());
        Node { hir, kind, height, size, repeats }
    }

    fn captured(self, index: u32) -> Node {
        let capture = Capture { index, name: None, sub: Box::new(self.hir) };
        Node {
            hir: Hir::capture(capture),
            kind: NodeKind::Other,
            height: self.height + 1,
            size: self.size + 2,
            repeats: self.repeats,
        }
    }

    fn repeated(self, min: u32, max: Option<u32>, greedy: bool, counted: bool) -> Node {
        let size = match max {
            None if min == 0 => 2 + self.size,
            None => 1 + u64::from(min) * self.size,
            Some(max) => u64::from(max) * self.size + u64::from(max - min),
        };
        let repeats = match max.unwrap_or(min) {
            _ if !counted => self.repeats,
            0 if max.is_some() => 1,
            count => self.repeats.saturating_mul(count.max(1)),
        };
        let hir = Hir::repetition(Repetition { min, max, greedy, sub: Box::new(self.hir) });
        let size = size.max(1);
        Node { hir, kind: NodeKind::Other, height: self.height + 1, size, repeats }
    }
}

// === Text ===

/// A repeat count, `None` when it is over [`REPEAT_MAX`].
type Count = Option<u32>;

/// The least and the greatest count; without a greatest there is no end.
type Counts = (Count, Option<Count>);

/// Reads `{2}`, `{2,}` or `{2,3}`; anything else is literal text.
fn counts(text: &[u8]) -> Option<(Counts, &[u8])> {
    let (min, rest) = integer(&text[1..])?;
    let (max, rest) = match rest.first()? {
        b',' if rest.get(1) == Some(&b'}') => (None, &rest[1..]),
        b',' => {
            let (max, rest) = integer(&rest[1..])?;
            (Some(max), rest)
        }
        _ => (Some(min), rest),
    };
    Some(((min, max), rest.strip_prefix(b"}")?))
}

fn integer(text: &[u8]) -> Option<(Count, &[u8])> {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    if len == 0 || len > 1 && digits[0] == b'0' {
        return None;
    }
    let value =
        digits.iter().fold(0u32, |n, &b| n.saturating_mul(10).saturating_add((b - b'0').into()));
    Some(((value <= REPEAT_MAX).then_some(value), rest))
}

fn class_char<'p>(text: &'p [u8], whole: &[u8]) -> Result<(u32, &'p [u8]), Error> {
    match text.first() {
        None => Err(Error::new(ErrorKind::MissingBracket, whole)),
        Some(b'\\') => escape(text),
        Some(_) => next_char(text).map(|(c, rest)| (c.into(), rest)),
    }
}

/// Reads an escape of one code point.
fn escape(text: &[u8]) -> Result<(u32, &[u8]), Error> {
    let after = &text[1..];
    if after.is_empty() {
        return Err(Error::new(ErrorKind::TrailingBackslash, b""));
    }
    let (c, rest) = next_char(after)?;
    let code = match c {
        '1'..='7' if !matches!(rest.first(), Some(b'0'..=b'7')) => None,
        '0'..='7' => return Ok(octal(after)),
        'x' => return hexadecimal(text, rest),
        'a' => Some(0x07),
        'f' => Some(0x0C),
        'n' => Some(0x0A),
        'r' => Some(0x0D),
        't' => Some(0x09),
        'v' => Some(0x0B),
        c => (c.is_ascii() && !c.is_ascii_alphanumeric()).then_some(c.into()),
    };
    match code {
        Some(code) => Ok((code, rest)),
        None => Err(Error::new(ErrorKind::InvalidEscape, &text[..text.len() - rest.len()])),
    }
}

/// Reads up to three octal digits.
fn octal(text: &[u8]) -> (u32, &[u8]) {
    let len = text.iter().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
    let (digits, rest) = text.split_at(len);
    (digits.iter().fold(0, |n, &b| n * 8 + u32::from(b - b'0')), rest)
}

/// Reads what follows `\x`: two digits, or any number of them in braces.
fn hexadecimal<'p>(text: &'p [u8], mut rest: &'p [u8]) -> Result<(u32, &'p [u8]), Error> {
    let invalid =
        |rest: &[u8]| Error::new(ErrorKind::InvalidEscape, &text[..text.len() - rest.len()]);
    let next = |rest: &mut &'p [u8]| {
        if rest.is_empty() {
            return Err(invalid(rest));
        }
        let (c, after) = next_char(rest)?;
        *rest = after;
        Ok(c)
    };
    let first = next(&mut rest)?;
    if first != '{' {
        let second = next(&mut rest)?;
        return match (first.to_digit(16), second.to_digit(16)) {
            (Some(high), Some(low)) => Ok((high * 16 + low, rest)),
            _ => Err(invalid(rest)),
        };
    }
    let (mut code, mut n_digits) = (0, 0);
    loop {
        let c = next(&mut rest)?;
        if c == '}' && n_digits > 0 {
            return Ok((code, rest));
        }
        code = code * 16 + c.to_digit(16).ok_or_else(|| invalid(rest))?;
        if code > char::MAX.into() {
            return Err(invalid(rest));
        }
        n_digits += 1;
    }
}

/// Splits the first character off.
fn next_char(text: &[u8]) -> Result<(char, &[u8]), Error> {
    let len = match text.first() {
        Some(0..0x80) => 1,
        Some(0xC2..0xE0) => 2,
        Some(0xE0..0xF0) => 3,
        _ => 4,
    };
    let c = text.get(..len).and_then(|c| str::from_utf8(c).ok()).and_then(|c| c.chars().next());
    match c {
        Some(c) => Ok((c, &text[len..])),
        None => Err(Error::new(ErrorKind::InvalidUtf8, text)),
    }
}

fn check_utf8(text: &[u8]) -> Result<(), Error> {
    let Err(error) = str::from_utf8(text) else { return Ok(()) };
    Err(Error::new(ErrorKind::InvalidUtf8, &text[error.valid_up_to()..]))
}
