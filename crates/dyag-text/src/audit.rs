//! A look at the examples before the first step: what will be learned, and what is wrong with them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::chat::Chat;
use crate::error::TextError;
use crate::example::Example;

/// What a set of examples holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Examples.
    pub n_examples: usize,
    /// Tokens of all examples.
    pub n_tokens: usize,
    /// Tokens that are learned.
    pub n_trained_tokens: usize,
    /// `n_trained_tokens / n_tokens`.
    pub trained_share: f64,
    /// The longest example, in tokens.
    pub longest_tokens: usize,
    /// Examples that lost learned tokens at the limit of length.
    pub n_truncated: usize,
    /// Examples whose last learned token ends the turn, so that the model learns to stop.
    pub n_end_of_turn_trained: usize,
    /// Examples that begin with two BOS tokens.
    pub n_double_bos: usize,
    /// Examples that repeat an earlier one, token for token.
    pub n_duplicates: usize,
}

impl Audit {
    /// Sentences about what deserves attention; empty when nothing does.
    pub fn warnings(&self) -> Vec<String> {
        let Self { n_examples, n_truncated, n_end_of_turn_trained, n_double_bos, n_duplicates, .. } = *self;
        let mut warnings = Vec::new();
        let mut warn = |n: usize, what: &str| {
            if n > 0 {
                warnings.push(format!("{n} of {n_examples} examples {what}"));
            }
        };
        warn(n_truncated, "are cut off at the limit of length: their answers are learned without their end");
        warn(n_examples - n_end_of_turn_trained, "do not teach the end of the turn: the model may not stop there");
        warn(n_double_bos, "begin with two BOS tokens: the template writes one, and something else another");
        warn(n_duplicates, "repeat an earlier one");
        warnings
    }
}

/// Looks at `examples`, made by `chat`.
///
/// # Errors
/// An example of which nothing would be learned, with its line.
pub fn audit(examples: &[Example], chat: &Chat) -> Result<Audit, TextError> {
    let bos = chat.bos();
    let stops = chat.stop_ids();
    let mut seen = HashSet::new();
    let mut audit = Audit {
        n_examples: examples.len(),
        n_tokens: 0,
        n_trained_tokens: 0,
        trained_share: 0.0,
        longest_tokens: 0,
        n_truncated: 0,
        n_end_of_turn_trained: 0,
        n_double_bos: 0,
        n_duplicates: 0,
    };
    for example in examples {
        let n_tokens = example.ids.len();
        if example.n_trained() == 0 {
            let reason = if example.truncated { "its answers lie beyond the limit of length" } else { "it holds no answer" };
            return Err(TextError::NothingTrained { at: example.source.clone(), n_tokens, reason });
        }
        audit.n_tokens += n_tokens;
        audit.n_trained_tokens += example.n_trained();
        audit.longest_tokens = audit.longest_tokens.max(n_tokens);
        audit.n_truncated += usize::from(example.truncated);
        audit.n_end_of_turn_trained += usize::from(ends_turn(example, chat, &stops));
        audit.n_double_bos += usize::from(bos.is_some_and(|bos| example.ids.starts_with(&[bos, bos])));
        audit.n_duplicates += usize::from(!seen.insert((&example.ids, &example.loss_mask)));
    }
    if audit.n_tokens > 0 {
        audit.trained_share = audit.n_trained_tokens as f64 / audit.n_tokens as f64;
    }
    Ok(audit)
}

/// Whether the last of the learned tokens ends the turn; white space after it does not count (when every token is learned, the template's
/// own newline follows).
fn ends_turn(example: &Example, chat: &Chat, stops: &[u32]) -> bool {
    let mut trained = example.ids.iter().zip(&example.loss_mask).rev().filter(|(_, trained)| **trained).map(|(id, _)| *id);
    let is_space = |id: &u32| !stops.contains(id) && chat.tokenizer().decode(&[*id]).trim().is_empty();
    !example.truncated && trained.find(|id| !is_space(id)).is_some_and(|id| stops.contains(&id))
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
