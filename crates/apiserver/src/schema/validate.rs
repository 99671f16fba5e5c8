//! Checking values against a schema, in the words of the API machinery.

use serde_json::{Number, Value};

use super::{Bounds, Format, List, Schema, Type};
use crate::status::{FieldError, Problem};

/// Errors that are told at most; whoever mends these will see the next.
const ERRORS_MAX: usize = 100;

/// The first whole number that is no longer an integer.
const INTEGER_END: f64 = 9_223_372_036_854_775_808.0;

impl Schema {
    /// Checks an object whose fields were pruned and defaulted.
    pub(crate) fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        self.check(object, "", &mut errors);
        errors.truncate(ERRORS_MAX);
        errors
    }

    fn check(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if errors.len() > ERRORS_MAX || (value.is_null() && self.takes_null()) {
            return;
        }
        let has_type = self.check_type(value, path, errors);
        self.check_alternatives(value, path, errors);
        if has_type {
            match value {
                Value::String(text) => self.check_string(text, path, errors),
                Value::Number(number) => self.check_number(number, path, errors),
                Value::Array(items) => self.check_items(value, items, path, errors),
                _ => {}
            }
        }
        self.check_enumeration(value, path, errors);
        if has_type && value.is_object() {
            self.check_fields(value, path, errors);
        }
    }

    fn check_type(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) -> bool {
        let actual = type_name(value);
        let (fits, wanted) = if self.is_int_or_string {
            (matches!(actual, "integer" | "string"), "integer,string")
        } else {
            match self.type_ {
                None => (true, ""),
                // A float without a fraction passes for an integer.
                Some(Type::Number) => (matches!(actual, "integer" | "number"), "number"),
                Some(Type::Integer) => {
                    let is_whole =
                        value.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < INTEGER_END);
                    (actual == "integer" || (actual == "number" && is_whole), "integer")
                }
                Some(type_) => (actual == type_.as_str(), type_.as_str()),
            }
        };
        if !fits {
            let detail = format!("{} must be of type {wanted}: {actual:?}", body(path));
            let problem = Problem::Type { value: format!("{actual:?}"), detail, wanted };
            errors.push(FieldError::new(field(path), problem));
        }
        fits
    }

    fn check_enumeration(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let Some(allowed) = &self.enumeration else {
            return;
        };
        if !allowed.iter().any(|allowed| equal(allowed, value)) {
            let supported = allowed.iter().map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            let problem =
                Problem::NotSupported { value: value.to_string(), supported: supported.collect() };
            errors.push(FieldError::new(field(path), problem));
        }
    }

    fn check_string(&self, text: &str, path: &str, errors: &mut Vec<FieldError>) {
        let mut wrong = |detail: String| {
            errors.push(FieldError::invalid(field(path), &Value::from(text), detail));
        };
        let n_characters = text.chars().count() as u64;
        if let Some(min) = self.bounds.min_length
            && n_characters < min
        {
            wrong(format!("{} should be at least {min} chars long", body(path)));
        }
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(text)
        {
            wrong(format!("{} should match '{pattern}'", body(path)));
        }
        if let Some(max) = self.bounds.max_length
            && n_characters > max
        {
            errors.push(FieldError::new(field(path), Problem::TooLong(max)));
        }
        if let Some(format) = self.format
            && !format.fits(text)
        {
            let value = Value::from(text).to_string();
            let detail = format!("{} must be of type {}: {value}", body(path), format.as_str());
            let wanted = format.as_str();
            errors.push(FieldError::new(field(path), Problem::Type { value, detail, wanted }));
        }
    }

    fn check_number(&self, number: &Number, path: &str, errors: &mut Vec<FieldError>) {
        let Bounds { minimum, maximum, exclusive_minimum, exclusive_maximum, multiple_of, .. } =
            &self.bounds;
        let value = number.as_f64().unwrap_or(f64::NAN);
        let mut wrong = |detail: String| {
            let value = Value::Number(number.clone());
            errors.push(FieldError::invalid(field(path), &value, detail));
        };
        let edge = |bound: &Number| bound.as_f64().unwrap_or(f64::NAN);
        if let Some(max) = maximum {
            let is_above = if *exclusive_maximum { value >= edge(max) } else { value > edge(max) };
            let or_equal = if *exclusive_maximum { "" } else { " or equal to" };
            if is_above {
                wrong(format!("{} should be less than{or_equal} {max}", body(path)));
            }
        }
        if let Some(min) = minimum {
            let is_below = if *exclusive_minimum { value <= edge(min) } else { value < edge(min) };
            let or_equal = if *exclusive_minimum { "" } else { " or equal to" };
            if is_below {
                wrong(format!("{} should be greater than{or_equal} {min}", body(path)));
            }
        }
        if let Some(factor) = multiple_of
            && (value / factor).fract() != 0.0
        {
            wrong(format!("{} should be a multiple of {factor}", body(path)));
        }
    }

    fn check_items(
        &self,
        value: &Value,
        items: &[Value],
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        let n_items = items.len() as u64;
        if let Some(min) = self.bounds.min_items
            && n_items < min
        {
            let detail = format!("{} should have at least {min} items", body(path));
            errors.push(FieldError::invalid(field(path), value, detail));
        }
        if let Some(max) = self.bounds.max_items
            && n_items > max
        {
            let problem = Problem::TooMany { actual: items.len(), max };
            errors.push(FieldError::new(field(path), problem));
            // Neither uniqueness nor the items of an oversized list are worth the time.
            return;
        }
        if self.bounds.unique_items && !duplicates(items.iter()).is_empty() {
            let detail = format!("{} shouldn't contain duplicates", body(path));
            errors.push(FieldError::invalid(field(path), value, detail));
        }
        self.check_list(items, path, errors);
        if let Some(schema) = &self.items {
            for (index, item) in items.iter().enumerate() {
                schema.check(item, &format!("{path}[{index}]"), errors);
            }
        }
    }

    fn check_list(&self, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
        let keys: Vec<Value> = match &self.list {
            List::Atomic => return,
            List::Set => items.to_vec(),
            List::Map(keys) => items.iter().map(|item| pick(item, keys)).collect(),
        };
        for index in duplicates(keys.iter()) {
            let problem = Problem::Duplicate(keys[index].to_string());
            errors.push(FieldError::new(format!("{}[{index}]", field(path)), problem));
        }
    }

    fn check_fields(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let Some(fields) = value.as_object() else {
            return;
        };
        let n_fields = fields.len();
        if let Some(min) = self.bounds.min_properties
            && (n_fields as u64) < min
        {
            let detail = format!("{} should have at least {min} properties", body(path));
            errors.push(FieldError::invalid(field(path), value, detail));
        }
        if let Some(max) = self.bounds.max_properties
            && n_fields as u64 > max
        {
            let problem = Problem::TooMany { actual: n_fields, max };
            errors.push(FieldError::new(field(path), problem));
        }
        for (name, value) in fields {
            if let Some(schema) = self.properties.get(name).or(self.additional.as_deref()) {
                schema.check(value, &child(path, name), errors);
            }
        }
        for name in self.required.iter().filter(|name| !fields.contains_key(*name)) {
            errors.push(FieldError::new(child(path, name), Problem::Required(String::new())));
        }
    }

    fn check_alternatives(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let count = |schemas: &[Schema]| {
            let fits = |schema: &&Schema| {
                let mut errors = Vec::new();
                schema.check(value, path, &mut errors);
                errors.is_empty()
            };
            schemas.iter().filter(fits).count()
        };
        let mut wrong = |detail: String| {
            errors.push(FieldError::invalid(field(path), value, detail));
        };
        if !self.any_of.is_empty() && count(&self.any_of) == 0 {
            wrong(format!("{} must validate at least one schema (anyOf)", body(path)));
        }
        if !self.one_of.is_empty() && count(&self.one_of) != 1 {
            wrong(format!("{} must validate one and only one schema (oneOf)", body(path)));
        }
        if count(&self.all_of) != self.all_of.len() {
            wrong(format!("{} must validate all the schemas (allOf)", body(path)));
        }
        if let Some(not) = &self.not
            && count(std::slice::from_ref(&**not)) == 1
        {
            wrong(format!("{} must not validate the schema (not)", body(path)));
        }
    }
}

impl Format {
    const fn as_str(self) -> &'static str {
        match self {
            Format::DateTime => "date-time",
            Format::Date => "date",
            Format::Byte => "byte",
            Format::Int32 => "int32",
            Format::Int64 => "int64",
            Format::Uuid => "uuid",
            Format::Ipv4 => "ipv4",
            Format::Ipv6 => "ipv6",
        }
    }

    fn fits(self, text: &str) -> bool {
        match self {
            Format::DateTime => text.parse::<jiff::Timestamp>().is_ok(),
            Format::Date => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
            Format::Byte => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.decode(text).is_ok()
            }
            Format::Int32 | Format::Int64 => true,
            Format::Uuid => is_uuid(text),
            Format::Ipv4 => text.parse::<std::net::Ipv4Addr>().is_ok(),
            Format::Ipv6 => text.parse::<std::net::Ipv6Addr>().is_ok(),
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(|byte| *byte != b'-');
    digits.clone().count() == 32 && digits.clone().all(|byte| byte.is_ascii_hexdigit())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns how messages begin: the field, then where it was found.
fn body(path: &str) -> String {
    format!("{path} in body")
}

/// Returns the field of an error; the object itself is written as nothing.
fn field(path: &str) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Numbers are equal by value, not by spelling.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn pick(item: &Value, keys: &[String]) -> Value {
    let picked = keys.iter().map(|key| (key.clone(), item.get(key).cloned().unwrap_or_default()));
    Value::Object(picked.collect())
}

/// Returns the indexes of values that stood there before.
fn duplicates<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    let values = values.map(Value::to_string).enumerate();
    values.filter_map(|(index, text)| (!seen.insert(text)).then_some(index)).collect()
}
