//! What stands in a document where somebody still has to write something: it is never taught.

use super::rules::Rules;
use super::wording::without_accents;

impl Rules {
    /// Adds texts that are never taught.
    pub fn add_placeholders<'a>(&mut self, placeholders: impl Iterator<Item = &'a str>) {
        self.placeholders.extend(placeholders.map(str::trim).filter(|text| !text.is_empty()).map(folded_placeholder));
    }

    /// Whether a value stands where somebody still has to write something: one of the placeholders, stars around words, or nothing but notes to oneself.
    pub fn is_placeholder(&self, value: &str) -> bool {
        let folded = folded_placeholder(self.without_notes(value));
        folded.is_empty() || has_starred_words(value) || self.placeholders.contains(&folded)
    }

    /// Whether a text holds a placeholder anywhere: starred words, or a line that is one or a note to oneself.
    pub fn has_placeholder(&self, text: &str) -> bool {
        has_starred_words(text) || text.lines().any(|line| !line.trim().is_empty() && self.is_placeholder(line))
    }

    /// The first part of a text that no note to oneself (`TODO: ask the team`, up to a blank line or an item) interrupts; empty where there are notes alone.
    pub(crate) fn without_notes<'a>(&self, text: &'a str) -> &'a str {
        let (mut start, mut end, mut in_note) = (0, 0, false);
        for line in text.split_inclusive('\n') {
            let begins = line.trim().is_empty() || line.trim_start().starts_with(['-', '*', '+', '•', '#', '|']);
            in_note = is_note_to_self(line) || (in_note && !begins);
            if in_note && !text[start..end].trim().is_empty() {
                break;
            }
            end += line.len();
            if in_note {
                start = end;
            }
        }
        &text[start..end]
    }
}

/// `TODO: ask the team`, as authors mark what they still have to write.
fn is_note_to_self(value: &str) -> bool {
    let value = value.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '*' | '_' | '[' | '(' | '<' | '!' | '#' | '/'));
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.'));
    ["TODO", "TBD", "FIXME", "XXX"].iter().any(|mark| value.strip_prefix(mark).is_some_and(ends))
}

/// `***WORDS***`, as catalogues mark what is still to come.
fn has_starred_words(text: &str) -> bool {
    text.split("***")
        .skip(1)
        .step_by(2)
        .zip(text.split("***").skip(2).step_by(2))
        .any(|(inside, _)| !inside.trim().is_empty() && !inside.contains('\n'))
}

/// A value as placeholders are compared: lower case, no accents, spaces as one, stars and brackets around it dropped.
pub(super) fn folded_placeholder(value: &str) -> String {
    let bare =
        value.trim().trim_matches(|c: char| matches!(c, '*' | '_' | '<' | '>' | '[' | ']' | '(' | ')' | '{' | '}' | '«' | '»' | '"'));
    let lower: String = without_accents(bare);
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}
