//! Versions and ranges.

use std::borrow::Cow;
use std::rc::Rc;

use version::{Constraint, Version};

use super::{Entry, fixed, lossy, text};
use crate::function::{Call, Fault, Param};
use crate::value::{Field, Method, Object, Value};

type Result = std::result::Result<Value, Fault>;

pub(super) fn functions() -> Vec<Entry> {
    use Param::String;
    vec![
        fixed("semver", &[String], semver),
        fixed("semverCompare", &[String, String], semver_compare),
    ]
}

fn semver_compare(call: &mut Call<'_>, args: &[Value]) -> Result {
    let (range, version) = (lossy(text(args, 0)), lossy(text(args, 1)));
    call.run.charge(range.len() as u64)?;
    let range = Constraint::parse(&range).map_err(|error| Fault::Message(error.to_string()))?;
    let version = Version::parse(&version).map_err(|error| Fault::Message(error.to_string()))?;
    Ok(range.check(&version).into())
}

fn semver(_: &mut Call<'_>, args: &[Value]) -> Result {
    Semver::parse(text(args, 0)).map(|version| Value::Object(Rc::new(version)))
}

/// A parsed version as templates see it: a pointer to a struct whose fields are private.
struct Semver {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    metadata: String,
    original: String,
    text: String,
}

impl Semver {
    fn parse(text: &[u8]) -> std::result::Result<Semver, Fault> {
        let text = lossy(text);
        let version = Version::parse(&text).map_err(|error| Fault::Message(error.to_string()))?;
        Ok(Semver {
            major: version.major(),
            minor: version.minor(),
            patch: version.patch(),
            prerelease: version.prerelease().to_owned(),
            metadata: version.metadata().to_owned(),
            original: version.original().to_owned(),
            text: version.to_string(),
        })
    }
}

impl Object for Semver {
    fn type_name(&self) -> Cow<'static, str> {
        "*semver.Version".into()
    }

    fn fields(&self) -> Vec<Field> {
        Vec::new()
    }

    fn method(&self, name: &str) -> Option<Method> {
        let value = match name {
            "Major" => Value::Uint64(self.major),
            "Minor" => Value::Uint64(self.minor),
            "Patch" => Value::Uint64(self.patch),
            "Prerelease" => self.prerelease.as_str().into(),
            "Metadata" => self.metadata.as_str().into(),
            "Original" => self.original.as_str().into(),
            "String" => self.text.as_str().into(),
            _ => return None,
        };
        Some(Method { params: &[], body: Rc::new(move |_, _| Ok(value.clone())) })
    }

    fn text(&self) -> Option<String> {
        Some(self.text.clone())
    }

    fn json(&self) -> Option<String> {
        self.text()
    }

    fn is_pointer(&self) -> bool {
        true
    }
}
