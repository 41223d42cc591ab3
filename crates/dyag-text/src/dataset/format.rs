//! The formats of datasets, and how they are told apart.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{SourceLine, TextError, excerpt};
use crate::json_lines::line_error;

/// How the rows of a dataset say what is asked and what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `messages`: a list of `role` and `content`.
    Messages,
    /// `conversations`: a list of `from` and `value`.
    ShareGpt,
    /// `instruction` and `output`, perhaps `input`, `system`, `history`.
    Alpaca,
    /// `prompt` and `completion`: texts, or lists of `role` and `content`.
    PromptCompletion,
    /// `question`, and `expected_answer` or `answer`.
    Question,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Messages, Self::ShareGpt, Self::Alpaca, Self::PromptCompletion, Self::Question];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ShareGpt => "ShareGPT",
            Self::Alpaca => "Alpaca",
            Self::PromptCompletion => "prompt/completion",
            Self::Question => "question/expected_answer",
        }
    }

    /// The key by which it is known.
    fn key(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ShareGpt => "conversations",
            Self::Alpaca => "instruction",
            Self::PromptCompletion => "prompt",
            Self::Question => "question",
        }
    }

    /// The format of a row, which holds the key of one and no other's. A key whose value is null is taken as absent: columns that a row
    /// does not use are often written so.
    ///
    /// # Errors
    /// A row with the keys of no format, or of several.
    pub fn of(object: &Map<String, Value>, at: &SourceLine) -> Result<Self, TextError> {
        let mut found = Self::ALL.into_iter().filter(|format| object.get(format.key()).is_some_and(|value| !value.is_null()));
        let wrong = |found: String| line_error(at, at.unit.name(), EXPECTED, found);
        let Some(format) = found.next() else {
            let key = |(key, value): (&String, &Value)| if value.is_null() { format!("{key} (null)") } else { key.clone() };
            let keys: Vec<String> = object.iter().map(key).take(8).collect();
            let keys = if keys.is_empty() { "an object without keys".to_owned() } else { format!("only the keys {}", keys.join(", ")) };
            return Err(wrong(excerpt(&keys, 200)));
        };
        match found.next() {
            None => Ok(format),
            Some(other) => Err(wrong(format!("both {} ({}) and {} ({})", format.key(), format.name(), other.key(), other.name()))),
        }
    }
}

/// What every row needs.
const EXPECTED: &str = "the keys of one format: messages; conversations (ShareGPT); instruction, output (Alpaca); prompt, completion; \
                        or question, expected_answer";
