//! A text as Go's matcher sees it: characters, with U+FFFD for each byte that is part of none.

use super::Submatches;
use std::borrow::Cow;
use std::ops::Range;

/// A searchable text and the way back to the places in the original.
#[derive(Debug)]
pub(super) struct Text<'t> {
    text: Cow<'t, str>,
    /// For each byte of `text` and for its end, the place in the original; empty if the same.
    places: Vec<usize>,
}

impl<'t> Text<'t> {
    pub(super) fn new(original: &'t [u8]) -> Text<'t> {
        match str::from_utf8(original) {
            Ok(text) => Text { text: Cow::Borrowed(text), places: Vec::new() },
            Err(_) => Text::replaced(original),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the place one character further, or one past the end at the end.
    pub(super) fn next_position(&self, position: usize) -> usize {
        let width = self.text[position..].chars().next().map_or(1, char::len_utf8);
        position + width
    }

    /// Returns the spans in the original text.
    pub(super) fn original_spans(&self, mut found: Submatches) -> Submatches {
        if !self.places.is_empty() {
            for span in found.spans.iter_mut().flatten() {
                *span = Range { start: self.places[span.start], end: self.places[span.end] };
            }
        }
        found
    }

    fn replaced(original: &[u8]) -> Text<'static> {
        let mut text = String::with_capacity(original.len() + 16);
        let mut places = Vec::with_capacity(original.len() + 17);
        let mut place = 0;
        for chunk in original.utf8_chunks() {
            text.push_str(chunk.valid());
            places.extend(place..place + chunk.valid().len());
            place += chunk.valid().len();
            for _ in chunk.invalid() {
                text.push(char::REPLACEMENT_CHARACTER);
                places.extend([place; char::REPLACEMENT_CHARACTER.len_utf8()]);
                place += 1;
            }
        }
        places.push(place);
        Text { text: Cow::Owned(text), places }
    }
}
