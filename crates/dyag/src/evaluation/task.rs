//! A question as it is put to a model.

use std::borrow::Cow;

use dyag_eval::results::Source;
use dyag_text::Message;
use dyag_text::dataset::Question;
use serde_json::{Map, Value};

/// A question of a set, and what stands between it and the model.
pub(crate) struct Task<'a> {
    pub(crate) question: &'a Question,
    /// The conversation that the model is shown.
    pub(crate) turns: Cow<'a, [Message]>,
    /// The conversation without passages, where the answer to it competes with the answer to `turns`.
    pub(crate) alone: Option<Cow<'a, [Message]>>,
    /// The passages that it is shown.
    pub(crate) sources: Option<Vec<Source>>,
    /// The answer, where no model needs to be asked.
    pub(crate) given: Option<String>,
    /// More keys of the row.
    pub(crate) other: Map<String, Value>,
}

impl<'a> Task<'a> {
    /// The question as it is.
    pub(crate) fn plain(question: &'a Question) -> Self {
        Self { question, turns: Cow::Borrowed(&question.turns), alone: None, sources: None, given: None, other: Map::new() }
    }

    /// What the model is shown of the passages.
    pub(crate) fn shown(&self) -> Vec<&str> {
        let is_shown = |source: &&Source| source.other.get("shown").is_some_and(|shown| shown == true);
        self.sources.iter().flatten().filter(is_shown).filter_map(|source| source.text.as_deref()).collect()
    }
}
