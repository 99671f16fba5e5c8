//! Finds the markers that tie a YAML scalar to a policy.
//!
//! A marker is a comment such as `# {"$imagepolicy": "apps:web:tag"}` that belongs to a scalar value: behind it on its line, on the
//! header line of a block scalar, or on a line of its own above a sequence item or between a key and its value.

mod objects;
mod text;

use std::{fmt, ops::Range};

use memchr::memmem;
use serde::{Deserialize, Serialize};
use yaml::{
    comment::{Attached, Place, attach},
    scan::{Comment, Event, Stream},
};

use self::{
    objects::{Node, Objects},
    text::{Text, read},
};

/// The version of [`find`] and of [`Found`]: whoever keeps results forgets those of another version.
pub const FOUND_VERSION: u32 = 1;

/// A file without these bytes is not looked at: its key may be written with escapes, but the token must occur somewhere.
const TOKEN: &[u8] = b"\"$imagepolicy\"";

/// What a file holds. A pure function of its bytes, so it can be kept by blob id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The markers, in the order of their values in the file.
    pub markers: Vec<Marker>,
    /// What looks like a marker and has no effect, and why; or why the file is left alone.
    pub problems: Vec<Problem>,
}

/// A scalar value and the policy that sets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The policy.
    pub policy: PolicyName,
    /// Which part of the policy's choice is written.
    pub part: Part,
    /// The marker's text, such as `apps:web:tag`, with URL escapes resolved.
    pub setter: String,
    /// The bytes of the value, as [`yaml::edit::Edit::span`] wants them.
    pub span: Range<usize>,
    /// The line on which the value begins, with its tag, anchor or block header, counted from 1.
    pub line: usize,
    /// The column where it begins, in characters, counted from 1.
    pub column: usize,
    /// The value, quotes, escapes and folding resolved.
    pub old: String,
    /// The object in which the value stands.
    pub object: ObjectIdentifier,
}

/// Names a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PolicyName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The part of a choice that a marker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {
    /// `namespace:policy`: `name:tag`, and `@digest` if there is one.
    Whole,
    /// `namespace:policy:tag`
    Tag,
    /// `namespace:policy:name`
    Name,
    /// `namespace:policy:digest`: empty if there is none.
    Digest,
}

/// Names the object of a manifest; what the manifest does not say is empty.
///
/// The order of the fields is the order in which commit messages range over objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectIdentifier {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
}

/// A marker without effect, or a file that cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// Which kind of problem.
    pub reason: ProblemReason,
    /// What is wrong and what to do, in one sentence.
    pub message: String,
}

/// The kinds of problems of a marked file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProblemReason {
    /// The file is no YAML that can be read.
    Unreadable,
    /// The comment is not one JSON object with string values.
    Malformed,
    /// The marker does not say `namespace:policy[:tag|:name|:digest]`.
    Setter,
    /// The marker stands where it has no effect.
    Misplaced,
    /// No namespace has the policy.
    UnknownPolicy,
    /// The policy's choice is not a valid image reference.
    InvalidChoice,
    /// The edit was refused.
    Refused,
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ProblemReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProblemReason::Unreadable => "Unreadable",
            ProblemReason::Malformed => "Malformed",
            ProblemReason::Setter => "Setter",
            ProblemReason::Misplaced => "Misplaced",
            ProblemReason::UnknownPolicy => "UnknownPolicy",
            ProblemReason::InvalidChoice => "InvalidChoice",
            ProblemReason::Refused => "Refused",
        })
    }
}

/// Returns the markers of a file and the problems with them.
///
/// A file without the token `"$imagepolicy"` costs one search for it; the others are parsed.
pub fn find(bytes: &[u8]) -> Found {
    if !mentions_markers(bytes) {
        return Found::default();
    }
    let scanned = yaml::scan::text(bytes).and_then(yaml::scan::scan);
    let stream = match scanned {
        Ok(stream) => stream,
        Err(error) => return Found { markers: Vec::new(), problems: vec![unreadable(&error)] },
    };
    let mut finder =
        Finder { stream: &stream, objects: Objects::new(&stream), found: Found::default() };
    finder.look_at_comments();
    let mut found = finder.found;
    found.markers.sort_by_key(|marker| marker.span.start);
    found.problems.sort();
    found
}

/// Returns whether the token of markers occurs, in UTF-8 or in UTF-16.
pub fn mentions_markers(bytes: &[u8]) -> bool {
    if memmem::find(bytes, TOKEN).is_some() {
        return true;
    }
    // Every second byte is zero; the zero may come first or last.
    let wide =
        || TOKEN.iter().flat_map(|byte| [*byte, 0]).take(2 * TOKEN.len() - 1).collect::<Vec<_>>();
    yaml::scan::is_wide(bytes) && memmem::find(bytes, &wide()).is_some()
}

fn unreadable(error: &yaml::Error) -> Problem {
    Problem {
        line: error.line,
        column: error.column,
        reason: ProblemReason::Unreadable,
        message: format!("the file holds markers but does not parse: {}", error.reason),
    }
}

struct Finder<'s, 't> {
    stream: &'s Stream<'t>,
    objects: Objects,
    found: Found,
}

impl Finder<'_, '_> {
    fn look_at_comments(&mut self) {
        let texts: Vec<Option<Text>> = self
            .stream
            .comments
            .iter()
            .map(|comment| read(&self.stream.text[comment.span.clone()]))
            .collect();
        if texts.iter().all(Option::is_none) {
            return;
        }
        let attached = attach(self.stream);
        let places = attached.places.iter().copied();
        for ((comment, text), place) in self.stream.comments.iter().zip(texts).zip(places) {
            match text {
                None => {}
                Some(Text::Setter(setter)) => self.setter(comment, &setter, place, &attached),
                Some(Text::Malformed(message)) => {
                    self.problem(comment, ProblemReason::Malformed, message.to_owned());
                }
                Some(Text::Behind) => self.behind_text(comment),
            }
        }
    }

    fn setter(&mut self, comment: &Comment, setter: &str, place: Place, attached: &Attached) {
        let misplaced = |reason: &str| Err(format!("marker `{setter}` has no effect: {reason}"));
        let event = match place {
            Place::Line { event, alone: true } | Place::Head { event, alone: true } => {
                match self.objects.node(event) {
                    Node::Value => Ok(event),
                    Node::Key if matches!(place, Place::Head { .. }) => misplaced(
                        "it stands above a key; put it behind the value, on the same line",
                    ),
                    Node::Key => misplaced(
                        "it stands on a key without a scalar value on its line; put it behind a scalar value",
                    ),
                }
            }
            Place::Line { .. } | Place::Head { .. } => misplaced(
                "the value has another comment as well; put the marker alone behind the value",
            ),
            Place::Foot => {
                misplaced("it stands below the value; put it behind the value, on the same line")
            }
            Place::Elsewhere => misplaced(
                "it belongs to a collection, an alias or nothing; put it behind a scalar value, on the same line",
            ),
        };
        match event {
            Ok(event) => self.value(comment, setter, event, attached),
            Err(message) => self.problem(comment, ProblemReason::Misplaced, message),
        }
    }

    fn value(&mut self, comment: &Comment, setter: &str, at: usize, attached: &Attached) {
        let (policy, part) = match parse_setter(setter) {
            Ok(parsed) => parsed,
            Err(message) => return self.problem(comment, ProblemReason::Setter, message),
        };
        let event = &self.stream.events[at];
        let Some(scalar) = event.scalar() else { return };
        let (line, column) = position(self.stream.text, attached.start(self.stream, at), event);
        self.found.markers.push(Marker {
            policy,
            part,
            setter: setter.to_owned(),
            span: event.span.clone(),
            line,
            column,
            old: scalar.value.to_string(),
            object: self.objects.object(at),
        });
    }

    /// A marker with words before it: prose on a line of its own, a mistake behind a value.
    fn behind_text(&mut self, comment: &Comment) {
        let before = &self.stream.text[..comment.span.start];
        let line = &before[before.rfind(['\n', '\r']).map_or(0, |at| at + 1)..];
        if !line.trim_matches([' ', '\t', '\u{feff}']).is_empty() {
            let message =
                "marker has no effect: only `#` may stand before the JSON object in its comment";
            self.problem(comment, ProblemReason::Malformed, message.to_owned());
        }
    }

    fn problem(&mut self, comment: &Comment, reason: ProblemReason, message: String) {
        self.found.problems.push(Problem {
            line: comment.line,
            column: comment.column,
            reason,
            message,
        });
    }
}

/// Returns the line and the column of a byte before a node.
fn position(text: &str, start: usize, event: &Event<'_>) -> (usize, usize) {
    if start == event.span.start {
        return (event.line, event.column);
    }
    let n_lines = text[start..event.span.start].matches('\n').count();
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    (
        event.line - n_lines,
        text[line_start..start].trim_start_matches('\u{feff}').chars().count() + 1,
    )
}

fn parse_setter(setter: &str) -> Result<(PolicyName, Part), String> {
    let wrong = |reason: &str| Err(format!("marker `{setter}` has no effect: {reason}"));
    let mut parts = setter.splitn(3, ':');
    let (namespace, name, part) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let Some(name) = name.filter(|name| !name.is_empty() && !namespace.is_empty()) else {
        return wrong("write it as `namespace:policy`, `:tag`, `:name` or `:digest` may follow");
    };
    let part = match part {
        None => Part::Whole,
        Some("tag") => Part::Tag,
        Some("name") => Part::Name,
        Some("digest") => Part::Digest,
        Some(_) => return wrong("after the policy only `:tag`, `:name` or `:digest` may follow"),
    };
    Ok((PolicyName { namespace: namespace.to_owned(), name: name.to_owned() }, part))
}
