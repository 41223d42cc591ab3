//! The length of a text: in characters, or in a model's tokens.

use crate::tokenizer::{ControlWords, Tokenizer};

/// Measures texts.
pub trait Ruler {
    /// The unit, in the plural, for messages.
    fn unit(&self) -> &'static str;

    /// The length of a text.
    fn length(&self, text: &str) -> usize;

    /// The lengths of the parts of a text that end at `ends`: byte offsets in rising order, the last of them the end of the text.
    fn lengths(&self, text: &str, ends: &[usize]) -> Vec<usize> {
        let mut start = 0;
        ends.iter().map(|end| self.length(&text[std::mem::replace(&mut start, *end)..*end])).collect()
    }
}

/// Counts characters (Unicode scalar values).
#[derive(Clone, Copy, Debug, Default)]
pub struct Characters;

impl Ruler for Characters {
    fn unit(&self) -> &'static str {
        "characters"
    }

    fn length(&self, text: &str) -> usize {
        text.chars().count()
    }
}

/// Counts a model's tokens, without those that begin or end a text.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a>(pub &'a Tokenizer);

impl Ruler for Tokens<'_> {
    fn unit(&self) -> &'static str {
        "tokens"
    }

    fn length(&self, text: &str) -> usize {
        // A text that the tokenizer gives up on has no more tokens than bytes.
        self.0.encode(text, ControlWords::AsText).map_or(text.len(), |encoding| encoding.ids.len())
    }

    /// The text is encoded once; a token belongs to the part in which it begins.
    fn lengths(&self, text: &str, ends: &[usize]) -> Vec<usize> {
        let mut lengths = vec![0; ends.len()];
        let Ok(encoding) = self.0.encode(text, ControlWords::AsText) else {
            let mut start = 0;
            return ends.iter().map(|end| end - std::mem::replace(&mut start, *end)).collect();
        };
        let mut part = 0;
        for bytes in &encoding.bytes {
            while part + 1 < ends.len() && ends[part] <= bytes.start {
                part += 1;
            }
            if let Some(length) = lengths.get_mut(part) {
                *length += 1;
            }
        }
        lengths
    }
}
