//! Finding added tokens (control words and user-defined tokens) in a text.

use aho_corasick::{AhoCorasick, MatchKind};

use super::file::{AddedToken, refuse};
use crate::error::TextError;

/// One occurrence of an added token in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordSpan {
    /// Byte where it begins.
    pub start: usize,
    /// Byte where it ends.
    pub end: usize,
    /// Its token id.
    pub id: u32,
}

/// Finds occurrences of a set of added tokens: the leftmost first, of those the longest.
#[derive(Debug)]
pub(super) struct WordFinder {
    automaton: AhoCorasick,
    tokens: Vec<AddedToken>,
}

impl WordFinder {
    /// Looks for `tokens` under their `patterns` (their contents, normalised where the text will be).
    pub(super) fn new(tokens: Vec<AddedToken>, patterns: &[String], origin: &str) -> Result<Self, TextError> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns)
            .map_err(|error| refuse(origin, "added_tokens", "words that can be searched for", error.to_string()))?;
        Ok(Self { automaton, tokens })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Occurrences in `text`, from left to right, without the white space some of them swallow.
    pub(super) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (WordSpan, &'a AddedToken)> + 'a {
        self.automaton.find_iter(text).filter_map(move |found| {
            let token = &self.tokens[found.pattern().as_usize()];
            let inside_word =
                text[..found.start()].chars().next_back().is_some_and(is_word) || text[found.end()..].chars().next().is_some_and(is_word);
            let span = WordSpan { start: found.start(), end: found.end(), id: token.id };
            (!(token.single_word && inside_word)).then_some((span, token))
        })
    }
}

/// Part of a word, as regular expressions have it.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The parts of `text` (`start`, `end`, id of the token or none), covering it, when `spans` are taken out with the white space that they
/// swallow. `strips` says for a token whether it swallows before and after.
pub(super) fn cut(
    text: &str,
    spans: impl Iterator<Item = WordSpan>,
    strips: impl Fn(u32) -> (bool, bool),
) -> Vec<(usize, usize, Option<u32>)> {
    let mut parts = Vec::new();
    let mut done = 0;
    for span in spans {
        let (before, after) = strips(span.id);
        // The previous token may have swallowed all white space up to this one.
        let start = if before { text[..span.start].trim_end().len() } else { span.start }.max(done);
        let end = if after { text.len() - text[span.end..].trim_start().len() } else { span.end };
        if done < start {
            parts.push((done, start, None));
        }
        parts.push((start, end, Some(span.id)));
        done = end;
    }
    if done < text.len() {
        parts.push((done, text.len(), None));
    }
    parts
}
