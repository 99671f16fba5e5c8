//! Reads JSON into values, with Go's texts of errors.

use crate::function::Fault;
use crate::run::{Limit, Run};
use crate::value::Value;

/// How deeply JSON may nest.
const NESTING_MAX: usize = 200;

/// Returns the value that a JSON text stands for; all numbers are floats.
pub(crate) fn decode(run: &mut Run, text: &[u8]) -> Result<Value, Fault> {
    let mut reader = Reader { run, text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    match reader.peek() {
        None => Ok(value),
        Some(byte) => Err(invalid(byte, "after top-level value")),
    }
}

struct Reader<'a> {
    run: &'a mut Run,
    text: &'a [u8],
    at: usize,
}

type Read<T> = Result<T, Fault>;

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Returns the next byte that is no blank, or the error that the text ends.
    fn next(&mut self) -> Read<u8> {
        self.space();
        let byte = self.peek().ok_or_else(end)?;
        self.at += 1;
        Ok(byte)
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        self.run.charge(1)?;
        if depth > NESTING_MAX {
            return Err(Limit::Nesting(NESTING_MAX).into());
        }
        match self.next()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => Ok(Value::string(self.string()?)),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'n' => self.literal("null", Value::Nil),
            first @ (b'-' | b'0'..=b'9') => self.number(first),
            byte => Err(invalid(byte, "looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Read<Value> {
        let mut entries = Vec::new();
        let mut byte = self.next()?;
        if byte == b'}' {
            return Ok(Value::dict::<&[u8]>([]));
        }
        loop {
            if byte != b'"' {
                return Err(invalid(byte, "looking for beginning of object key string"));
            }
            let key = self.string()?;
            match self.next()? {
                b':' => {}
                byte => return Err(invalid(byte, "after object key")),
            }
            entries.push((key, self.value(depth + 1)?));
            match self.next()? {
                b',' => byte = self.next()?,
                b'}' => return Ok(Value::dict(entries)),
                byte => return Err(invalid(byte, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Read<Value> {
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            match self.next()? {
                b',' => {}
                b']' => return Ok(Value::list(items)),
                byte => return Err(invalid(byte, "after array element")),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Read<Value> {
        for expected in word.bytes().skip(1) {
            let byte = self.peek().ok_or_else(end)?;
            if byte != expected {
                let context = format!("in literal {word} (expecting {})", quote(expected));
                return Err(invalid(byte, &context));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self, first: u8) -> Read<Value> {
        let start = self.at - 1;
        let mut leading = first;
        if first == b'-' {
            leading = self.peek().ok_or_else(end)?;
            if !leading.is_ascii_digit() {
                return Err(invalid(leading, "in numeric literal"));
            }
            self.at += 1;
        }
        if leading != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        golang::strconv::parse_float(&text).map(Value::Float).map_err(|_| {
            Fault::Message(format!(
                "json: cannot unmarshal number {text} into Go value of type float64"
            ))
        })
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Read<()> {
        match self.peek() {
            None => Err(end()),
            Some(byte) if !byte.is_ascii_digit() => Err(invalid(byte, context)),
            Some(_) => {
                self.digits();
                Ok(())
            }
        }
    }

    /// Reads a string after its opening quote.
    fn string(&mut self) -> Read<Vec<u8>> {
        let mut out = Vec::new();
        let start = self.at;
        loop {
            let byte = self.peek().ok_or_else(end)?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => self.escape(&mut out)?,
                0..=0x1f => return Err(invalid(byte, "in string literal")),
                _ => out.push(byte),
            }
        }
        self.run.charge_bytes(self.at - start)?;
        Ok(golang::unicode::runes(&out).collect::<String>().into_bytes())
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Read<()> {
        let byte = self.peek().ok_or_else(end)?;
        self.at += 1;
        out.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut unit = self.unit()?;
                if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with(b"\\u") {
                    let before = self.at;
                    self.at += 2;
                    let low = self.unit()?;
                    if (0xdc00..0xe000).contains(&low) {
                        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    } else {
                        self.at = before;
                    }
                }
                let rune = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend(rune.encode_utf8(&mut [0; 4]).bytes());
                return Ok(());
            }
            _ => return Err(invalid(byte, "in string escape code")),
        });
        Ok(())
    }

    fn unit(&mut self) -> Read<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let byte = self.peek().ok_or_else(end)?;
            let digit = char::from(byte).to_digit(16);
            unit = unit * 16
                + digit.ok_or_else(|| invalid(byte, "in \\u hexadecimal character escape"))?;
            self.at += 1;
        }
        Ok(unit)
    }
}

fn end() -> Fault {
    Fault::message("unexpected end of JSON input")
}

fn invalid(byte: u8, context: &str) -> Fault {
    Fault::Message(format!("invalid character {} {context}", quote(byte)))
}

fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".into(),
        b'"' => "'\"'".into(),
        _ => {
            let quoted = golang::strconv::quote(char::from(byte).to_string().as_bytes());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}
