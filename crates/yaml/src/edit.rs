//! Replaces scalars by splicing bytes: style, comments, line ends and every other byte stay.

mod splice;
mod verify;

use std::ops::Range;

use crate::{Error, scan};

/// A scalar and the value it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit<'a> {
    /// The bytes of the scalar, as [`scan::Event::span`] gives them.
    pub span: Range<usize>,
    /// Its new value.
    pub value: &'a str,
}

/// Why a text cannot be edited. Nothing of it is changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text does not parse.
    #[error("the file does not parse")]
    Text(#[source] Error),
    /// There is no scalar at the place of an edit.
    #[error("there is no scalar at byte {0}")]
    NoScalar(usize),
    /// Two edits touch the same bytes.
    #[error("line {0}: two edits of one value")]
    Overlap(usize),
    /// The edited text does not parse.
    #[error("the edited file would not parse")]
    After(#[source] Error),
    /// The edited text would mean something else elsewhere.
    #[error("line {0}: the edit would change more than the value")]
    Changed(usize),
}

/// Returns the text with the scalars at these places replaced.
///
/// Edits may come in any order. A value keeps the style of the one it replaces, with three exceptions: a plain scalar is double-quoted
/// where some YAML reader would not take the new value for text, a scalar over several lines becomes one line, and the header of a
/// block scalar says `-` as the new value ends without a line break. An explicit tag that says the value is no text (`!!int`)
/// becomes `!!str`. The result is parsed again and compared with the original event by event.
pub fn replace(bytes: &[u8], edits: &[Edit<'_>]) -> Result<Vec<u8>, EditError> {
    let text = scan::text(bytes).map_err(EditError::Text)?;
    let before = scan::scan(text).map_err(EditError::Text)?;
    let mut targets = splice::targets(&before, edits)?;
    targets.sort_by_key(|target| target.event);
    let edited = apply(text, &splice::splices(&before, &targets))?;
    verify::verify(&before, &edited, &targets)?;
    Ok(edited.into_bytes())
}

fn apply(text: &str, splices: &[splice::Splice]) -> Result<String, EditError> {
    let mut edited = String::with_capacity(text.len() + 64 * splices.len());
    let mut at = 0;
    for splice in splices {
        if splice.range.start < at {
            return Err(EditError::Overlap(splice.line));
        }
        edited.push_str(&text[at..splice.range.start]);
        edited.push_str(&splice.text);
        at = splice.range.end;
    }
    edited.push_str(&text[at..]);
    Ok(edited)
}
