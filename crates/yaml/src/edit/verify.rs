//! Proves that an edited text differs from the original in the edited values only.

use super::{
    EditError,
    splice::{Target, is_no_text},
};
use crate::scan::{self, Event, Kind, Stream, Style};

/// Parses the edited text and compares it with the original event by event and comment by comment.
pub(super) fn verify(
    before: &Stream<'_>,
    edited: &str,
    targets: &[Target<'_>],
) -> Result<(), EditError> {
    let after = scan::scan(edited).map_err(EditError::After)?;
    let mut targets = targets.iter().peekable();
    if before.events.len() != after.events.len() {
        let line = targets.peek().map_or(1, |target| target.line);
        return Err(EditError::Changed(line));
    }
    for (at, (old, new)) in before.events.iter().zip(&after.events).enumerate() {
        let same = match targets.next_if(|target| target.event == at) {
            Some(target) => is_edited(old, new, target.value),
            None => old.kind == new.kind,
        };
        if !same {
            return Err(EditError::Changed(old.line));
        }
    }
    verify_comments(before, &after)
}

fn is_edited(old: &Event<'_>, new: &Event<'_>, value: &str) -> bool {
    let (Kind::Scalar(old), Kind::Scalar(new)) = (&old.kind, &new.kind) else { return false };
    let style = new.style == old.style || new.style == Style::Double;
    let tag = if is_no_text(old.tag.as_deref()) {
        new.tag.as_deref() == Some("tag:yaml.org,2002:str")
    } else {
        new.tag == old.tag
    };
    new.value == value && style && tag && new.anchor == old.anchor
}

fn verify_comments(before: &Stream<'_>, after: &Stream<'_>) -> Result<(), EditError> {
    if before.comments.len() != after.comments.len() {
        return Err(EditError::Changed(1));
    }
    for (old, new) in before.comments.iter().zip(&after.comments) {
        if before.text[old.span.clone()] != after.text[new.span.clone()] {
            return Err(EditError::Changed(old.line));
        }
    }
    Ok(())
}
