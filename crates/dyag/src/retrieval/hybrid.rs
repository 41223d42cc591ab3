//! How a fine-tuned model and passages are put together.

use clap::ValueEnum;
use dyag_model::decoder::Likelihood;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// As typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HybridChoice {
    /// The model is asked with the passages and without them, and the answer that it finds likelier, token for token, is given
    Surer,
    /// The model is asked with the passages
    Passages,
}

impl HybridChoice {
    /// As it is typed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Surer => "surer",
            Self::Passages => "passages",
        }
    }
}

/// What an answer was drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AnsweredFrom {
    /// The passages, by a model that was shown them.
    Passages,
    /// What the model was taught.
    Memory,
}

/// Which of two answers was given, and how sure the model was of each: the geometric mean of the probabilities of its tokens, the end of the turn included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) from: AnsweredFrom,
    pub(crate) passages: f64,
    pub(crate) memory: f64,
}

impl Choice {
    /// The answer that the model finds likelier, token for token; the one from passages of equal ones, as it can be checked.
    pub(crate) fn between(passages: &Likelihood, memory: &Likelihood) -> Self {
        let (passages, memory) = (passages.mean_probability(), memory.mean_probability());
        let from = if memory > passages { AnsweredFrom::Memory } else { AnsweredFrom::Passages };
        Self { from, passages, memory }
    }

    /// Keys of a result.
    pub(crate) fn to_json(self) -> [(&'static str, Value); 2] {
        let Self { from, passages, memory } = self;
        [("answered_from", json!(from)), ("sureness", json!({ "passages": passages, "memory": memory }))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likelier_answer_is_given_token_for_token() {
        let of = |log_likelihood, n_tokens| Likelihood { log_likelihood, n_tokens, is_greedy: true };
        // A long answer is not less sure for being long.
        let choice = Choice::between(&of(-1.0, 10), &of(-0.5, 2));
        assert_eq!(choice.from, AnsweredFrom::Passages);
        assert!((choice.passages - (-0.1_f64).exp()).abs() < 1e-12 && (choice.memory - (-0.25_f64).exp()).abs() < 1e-12);
        assert_eq!(Choice::between(&of(-1.0, 4), &of(-0.5, 4)).from, AnsweredFrom::Memory);
        assert_eq!(Choice::between(&of(-0.5, 4), &of(-0.5, 4)).from, AnsweredFrom::Passages);
    }
}
