//! How a fine-tuned model and passages are put together.

use clap::ValueEnum;
use dyag_model::decoder::Likelihood;
use dyag_text::near_duplicates::fold;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// As typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HybridChoice {
    /// The model is asked with the passages and without them, and the answer that it finds likelier, token for token, is given; one from memory that no passage says gives way to one that a passage says, unless it is nearly certain
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

/// From which probability of a token on, on geometric average, a model is nearly certain of an answer. Of answers from memory that stood in no passage, right ones had 0.98 and more, wrong ones mostly less (docs/LOG.md).
pub(crate) const NEARLY_CERTAIN: f64 = 0.98;

/// An answer, and how likely the model finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    pub(crate) text: &'a str,
    pub(crate) likelihood: Likelihood,
}

/// What is known of one of two answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rival {
    /// How sure the model was of it: the geometric mean of the probabilities of its tokens, the end of the turn included.
    pub(crate) sureness: f64,
    /// Whether its words stand in the text of one of the passages that were shown.
    pub(crate) in_passages: bool,
}

/// Which of two answers was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) from: AnsweredFrom,
    pub(crate) passages: Rival,
    pub(crate) memory: Rival,
    /// The answer that was not given.
    pub(crate) other_answer: String,
}

impl Choice {
    /// The answer that the model finds likelier, token for token; the one from passages of equal ones, as it can be checked. What it says from memory and no passage says is given only where it is nearly certain, unless the other answer stands in no passage
    /// either: a model that was trained long is sure of what it invents, too.
    pub(crate) fn between(passages: Written<'_>, memory: Written<'_>, shown: &[&str]) -> Self {
        let shown: Vec<String> = shown.iter().map(|text| format!(" {} ", fold(text))).collect();
        let rival = |written: &Written<'_>| {
            let words = fold(written.text);
            let in_passages = !words.is_empty() && shown.iter().any(|text| text.contains(&format!(" {words} ")));
            Rival { sureness: written.likelihood.mean_probability(), in_passages }
        };
        let (of_passages, of_memory) = (rival(&passages), rival(&memory));
        let can_be_trusted = of_memory.in_passages || !of_passages.in_passages || of_memory.sureness >= NEARLY_CERTAIN;
        let (from, other) = match of_memory.sureness > of_passages.sureness && can_be_trusted {
            true => (AnsweredFrom::Memory, passages),
            false => (AnsweredFrom::Passages, memory),
        };
        Self { from, passages: of_passages, memory: of_memory, other_answer: other.text.to_owned() }
    }

    /// Keys of a result.
    pub(crate) fn to_json(&self) -> [(&'static str, Value); 4] {
        let Self { from, passages, memory, other_answer } = self;
        [
            ("answered_from", json!(from)),
            ("sureness", json!({ "passages": passages.sureness, "memory": memory.sureness })),
            ("in_passages", json!({ "passages": passages.in_passages, "memory": memory.in_passages })),
            ("other_answer", json!(other_answer)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, log_likelihood: f64, n_tokens: usize) -> Written<'_> {
        Written { text, likelihood: Likelihood { log_likelihood, n_tokens, is_greedy: true } }
    }

    #[test]
    fn the_likelier_answer_is_given_token_for_token() {
        // A long answer is not less sure for being long.
        let choice = Choice::between(written("a", -1.0, 10), written("b", -0.5, 2), &[]);
        assert_eq!((choice.from, choice.other_answer.as_str()), (AnsweredFrom::Passages, "b"));
        assert!((choice.passages.sureness - (-0.1_f64).exp()).abs() < 1e-12 && (choice.memory.sureness - (-0.25_f64).exp()).abs() < 1e-12);
        let from = |passages, memory| Choice::between(written("a", passages, 4), written("b", memory, 4), &[]).from;
        assert_eq!(
            [from(-1.0, -0.5), from(-0.5, -0.5), from(-0.5, -1.0)],
            [AnsweredFrom::Memory, AnsweredFrom::Passages, AnsweredFrom::Passages]
        );
    }

    #[test]
    fn what_no_passage_says_takes_near_certainty() {
        let shown = ["Le statut : **En production**, depuis 2019."];
        let from = |passages: (&str, f64), memory: (&str, f64)| {
            let of = |(text, sureness): (_, f64)| written(text, sureness.ln(), 1);
            let (passages, memory) = (of(passages), of(memory));
            Choice::between(passages, memory, &shown).from
        };
        let copied = ("En production", 0.7);
        assert_eq!(from(copied, ("Abandonnée", 0.97)), AnsweredFrom::Passages, "surer, and no passage says it");
        assert_eq!(from(copied, ("Abandonnée", 0.99)), AnsweredFrom::Memory, "nearly certain");
        assert_eq!(from(copied, ("depuis 2019", 0.8)), AnsweredFrom::Memory, "a passage says it");
        assert_eq!(from(("Je ne sais pas.", 0.7), ("Abandonnée", 0.8)), AnsweredFrom::Memory, "no passage says either");
        assert_eq!(from(copied, ("product", 0.8)), AnsweredFrom::Passages, "words are whole");
    }
}
