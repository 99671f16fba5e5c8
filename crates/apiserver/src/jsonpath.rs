//! The paths by which the columns of a table find their values.
//!
//! What definitions use is read: fields, quoted fields, indexes, slices of one item, `*`,
//! recursive descent and filters with one comparison.

use serde_json::{Number, Value};

/// Bytes of the longest path; real ones stay below two hundred.
const PATH_MAX: usize = 4096;

/// Values that one step may yield: a row shows the first, and `..` could yield an object many times over.
const VALUES_MAX: usize = 10_000;

/// A path into an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Descent,
    Filter(Filter),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Vec<Step>,
    test: Option<(Comparison, Operand)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

/// Why a path cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PathError(String);

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub(crate) fn parse(text: &str) -> Result<JsonPath, PathError> {
        if text.len() > PATH_MAX {
            return Err(PathError("the path is too long".to_owned()));
        }
        let text = text.trim().trim_start_matches('$');
        Parser { rest: text, is_nested: false }.steps().map(JsonPath)
    }

    /// Returns the first value that the path leads to.
    pub(crate) fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        find(&self.0, object).into_iter().next()
    }
}

fn find<'a>(steps: &[Step], object: &'a Value) -> Vec<&'a Value> {
    let mut values = vec![object];
    for step in steps {
        let mut next = Vec::new();
        for value in values {
            follow(step, value, &mut next);
            next.truncate(VALUES_MAX);
        }
        values = next;
    }
    values
}

fn follow<'a>(step: &Step, value: &'a Value, found: &mut Vec<&'a Value>) {
    match step {
        Step::Field(name) => found.extend(value.get(name)),
        Step::Index(index) => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let from_end = items.len().checked_sub(index.unsigned_abs() as usize);
            let index = if *index < 0 { from_end } else { usize::try_from(*index).ok() };
            found.extend(index.and_then(|index| items.get(index)));
        }
        Step::All => match value {
            Value::Array(items) => found.extend(items),
            Value::Object(fields) => found.extend(fields.values()),
            _ => {}
        },
        Step::Descent => descend(value, found),
        Step::Filter(filter) => {
            let items = value.as_array().into_iter().flatten();
            found.extend(items.filter(|item| filter.holds(item)));
        }
    }
}

fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    if found.len() >= VALUES_MAX {
        return;
    }
    found.push(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| descend(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| descend(field, found)),
        _ => {}
    }
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let left = find(&self.left, item).into_iter().next();
        let Some((comparison, operand)) = &self.test else {
            return left.is_some();
        };
        let right = match operand {
            Operand::Literal(value) => Some(value),
            Operand::Path(steps) => find(steps, item).into_iter().next(),
        };
        let (Some(left), Some(right)) = (left, right) else {
            return false;
        };
        let order = match (left, right) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            _ => None,
        };
        match comparison {
            Comparison::Equal => left == right || order.is_some_and(|o| o.is_eq()),
            Comparison::Unequal => left != right && order.is_none_or(|o| o.is_ne()),
            Comparison::Less => order.is_some_and(|o| o.is_lt()),
            Comparison::LessOrEqual => order.is_some_and(|o| o.is_le()),
            Comparison::Greater => order.is_some_and(|o| o.is_gt()),
            Comparison::GreaterOrEqual => order.is_some_and(|o| o.is_ge()),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// Whether it reads inside a filter, where operators end a path.
    is_nested: bool,
}

impl<'a> Parser<'a> {
    fn steps(&mut self) -> Result<Vec<Step>, PathError> {
        let mut steps = Vec::new();
        loop {
            if self.is_nested && self.at_operator() || self.rest.is_empty() {
                return Ok(steps);
            }
            if let Some(rest) = self.rest.strip_prefix("..") {
                self.rest = rest;
                steps.push(Step::Descent);
                if !rest.starts_with('[') {
                    steps.push(self.field()?);
                }
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                // A dot before a bracket, and one alone, name what is already there.
                if !rest.is_empty() && !rest.starts_with('[') {
                    steps.push(self.field()?);
                }
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.bracket()?);
            } else if steps.is_empty() && !self.is_nested {
                steps.push(self.field()?);
            } else {
                return Err(self.unexpected());
            }
        }
    }

    fn unexpected(&self) -> PathError {
        PathError(format!("unexpected {:?}", self.rest.chars().next().unwrap_or_default()))
    }

    fn at_operator(&self) -> bool {
        self.rest.trim_start().starts_with(['=', '!', '<', '>', ')'])
    }

    fn field(&mut self) -> Result<Step, PathError> {
        let mut name = String::new();
        let mut characters = self.rest.char_indices();
        let end = loop {
            match characters.next() {
                None => break self.rest.len(),
                Some((_, '\\')) => match characters.next() {
                    Some((_, escaped)) => name.push(escaped),
                    None => return Err(PathError("a backslash at the end".to_owned())),
                },
                Some((at, character)) if ends_field(character) => break at,
                Some((_, character)) => name.push(character),
            }
        };
        self.rest = &self.rest[end..];
        match name.as_str() {
            "" => Err(PathError("a field without a name".to_owned())),
            "*" => Ok(Step::All),
            _ => Ok(Step::Field(name)),
        }
    }

    fn bracket(&mut self) -> Result<Step, PathError> {
        if let Some(rest) = self.rest.strip_prefix("?(") {
            if self.is_nested {
                return Err(PathError("a filter inside a filter".to_owned()));
            }
            self.rest = rest;
            let filter = self.filter()?;
            self.expect(")]")?;
            return Ok(Step::Filter(filter));
        }
        if let Some(name) = self.quoted()? {
            self.expect("]")?;
            return Ok(Step::Field(name));
        }
        let (inner, rest) = self
            .rest
            .split_once(']')
            .ok_or_else(|| PathError("a bracket is not closed".to_owned()))?;
        self.rest = rest;
        if inner == "*" {
            return Ok(Step::All);
        }
        // A table shows one value: of a slice, the first.
        let (inner, is_slice) = match inner.split_once(':') {
            Some((start, _)) => (start, true),
            None => (inner, false),
        };
        match inner.trim() {
            "" if is_slice => Ok(Step::Index(0)),
            index => index
                .parse()
                .map(Step::Index)
                .map_err(|_| PathError(format!("invalid array index {index}"))),
        }
    }

    fn filter(&mut self) -> Result<Filter, PathError> {
        let left = self.filter_path()?;
        self.rest = self.rest.trim_start();
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = comparisons.iter().find(|(text, _)| self.rest.starts_with(text));
        let Some((text, comparison)) = found else {
            return Ok(Filter { left, test: None });
        };
        self.rest = self.rest[text.len()..].trim_start();
        let operand = if self.rest.starts_with('@') {
            Operand::Path(self.filter_path()?)
        } else {
            Operand::Literal(self.literal()?)
        };
        self.rest = self.rest.trim_start();
        Ok(Filter { left, test: Some((*comparison, operand)) })
    }

    fn filter_path(&mut self) -> Result<Vec<Step>, PathError> {
        self.rest = self.rest.trim_start();
        self.expect("@")?;
        let mut inner = Parser { rest: self.rest, is_nested: true };
        let steps = inner.steps()?;
        self.rest = inner.rest;
        Ok(steps)
    }

    fn literal(&mut self) -> Result<Value, PathError> {
        if let Some(text) = self.quoted()? {
            return Ok(Value::String(text));
        }
        let end = self.rest.find([')', ' ']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            number => number
                .parse::<Number>()
                .map(Value::Number)
                .map_err(|_| PathError(format!("cannot read {number:?}"))),
        }
    }

    /// Reads a text in single or double quotes, if there is one.
    fn quoted(&mut self) -> Result<Option<String>, PathError> {
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            return Ok(None);
        };
        let mut text = String::new();
        let mut is_escaped = false;
        for (at, character) in self.rest.char_indices().skip(1) {
            if is_escaped {
                text.push(character);
                is_escaped = false;
            } else if character == '\\' {
                is_escaped = true;
            } else if character == quote {
                self.rest = &self.rest[at + 1..];
                return Ok(Some(text));
            } else {
                text.push(character);
            }
        }
        Err(PathError("unterminated quoted string".to_owned()))
    }

    fn expect(&mut self, text: &str) -> Result<(), PathError> {
        self.rest = self.rest.strip_prefix(text).ok_or_else(|| self.unexpected())?;
        Ok(())
    }
}

fn ends_field(character: char) -> bool {
    matches!(character, '.' | '[' | ']' | ')' | '=' | '!' | '<' | '>' | ' ')
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::JsonPath;

    #[test]
    fn paths_lead_to_values() {
        check(".spec.size", expect!["3"]);
        check(".metadata.labels.example\\.com/team", expect![r#""a""#]);
        check(".metadata.labels['example.com/team']", expect![r#""a""#]);
        check(".status.conditions[?(@.type==\"Ready\")].status", expect![r#""True""#]);
        check(".status.conditions[?(@.type == 'Stalled')].status", expect!["nothing"]);
        check(".status.conditions[?(@.n>1)].type", expect![r#""Ready""#]);
        check(".status.conditions[?(@.odd)].type", expect![r#""Old""#]);
        check(".status.conditions[0].type", expect![r#""Old""#]);
        check(".status.conditions[-1:].type", expect![r#""Ready""#]);
        check(".status.conditions[*].n", expect!["1"]);
        check(
            "..status",
            expect![[
                r#"{"conditions":[{"n":1,"odd":true,"type":"Old"},{"n":2,"status":"True","type":"Ready"}]}"#
            ]],
        );
        check(".", expect!["everything"]);
        check(".spec.missing.deeper", expect!["nothing"]);
    }

    #[test]
    fn nonsense_is_refused() {
        check(".spec[", expect!["error: a bracket is not closed"]);
        check(".spec['a", expect!["error: unterminated quoted string"]);
        check(".a[?(@.b==x)]", expect![[r#"error: cannot read "x""#]]);
        check(".a[?(b)]", expect!["error: unexpected 'b'"]);
        check(".a[x]", expect!["error: invalid array index x"]);
    }

    #[track_caller]
    fn check(path: &str, expected: Expect) {
        let object = json!({
            "metadata": {"labels": {"example.com/team": "a"}},
            "spec": {"size": 3},
            "status": {"conditions": [
                {"type": "Old", "n": 1, "odd": true},
                {"type": "Ready", "status": "True", "n": 2},
            ]},
        });
        let shown = match JsonPath::parse(path) {
            Err(error) => format!("error: {error}"),
            Ok(path) => match path.first(&object) {
                Some(value) if *value == object => "everything".to_owned(),
                value => value.map_or("nothing".to_owned(), ToString::to_string),
            },
        };
        expected.assert_eq(&shown);
    }
}
