//! From a conversation to what a trainer takes in: token ids, and which of them are learned.

use serde::{Deserialize, Serialize};

use crate::chat::Chat;
use crate::conversation::{Conversation, Role};
use crate::error::{SourceLine, TextError};
use crate::template::Date;

/// Which tokens are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossTokens {
    /// Each answer through its end-of-turn token, and nothing after that.
    #[default]
    Assistant,
    /// All of them.
    All,
}

/// What happens to an example that is longer than the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Truncation {
    /// It is an error.
    #[default]
    Refuse,
    /// Its end is cut off.
    Truncate,
}

/// How conversations become examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExampleOptions {
    /// Which tokens are learned.
    pub loss: LossTokens,
    /// The longest example, in tokens; none for no limit.
    pub max_tokens: Option<usize>,
    /// What happens to longer ones.
    pub truncation: Truncation,
    /// The date that a template finds when it reads the clock.
    pub date: Option<Date>,
}

/// A conversation as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Token ids `[T]`.
    pub ids: Vec<u32>,
    /// Whether each token is learned, that is predicted from those before it `[T]`. Never the first: nothing is before it.
    pub loss_mask: Vec<bool>,
    /// Whether learned tokens were cut off its end.
    pub truncated: bool,
    /// Where the conversation was read.
    pub source: SourceLine,
}

impl Example {
    /// Tokens that are learned.
    pub fn n_trained(&self) -> usize {
        self.loss_mask.iter().filter(|trained| **trained).count()
    }
}

impl Chat {
    /// Tokens of a conversation and which of them are learned.
    ///
    /// Each answer is learned from the end of the prompt that asks for it through its end-of-turn token. When the template ends the
    /// conversation without one, the token is added after the last answer.
    ///
    /// # Errors
    /// A template that refuses the conversation or renders it otherwise than the prompts of its answers; an example that is too long.
    /// All name the line.
    pub fn example(&self, conversation: &Conversation, options: &ExampleOptions) -> Result<Example, TextError> {
        self.build_example(conversation, options).map_err(|error| error.at(&conversation.source))
    }

    /// All of `conversations` as examples, in order.
    ///
    /// # Errors
    /// The first error of [`Chat::example`].
    pub fn examples(&self, conversations: &[Conversation], options: &ExampleOptions) -> Result<Vec<Example>, TextError> {
        conversations.iter().map(|conversation| self.example(conversation, options)).collect()
    }

    fn build_example(&self, conversation: &Conversation, options: &ExampleOptions) -> Result<Example, TextError> {
        let ExampleOptions { loss, max_tokens, truncation, date } = *options;
        let messages = &conversation.messages;
        let rendered = self.render(messages, false, date)?;
        let encoding = self.encode(&rendered)?;
        let mut spans = Vec::new();
        let mut last_is_open = false;
        for index in (0..messages.len()).filter(|index| messages[*index].role == Role::Assistant) {
            let (mut span, ended) = self.answer_span(&rendered, messages, index, date)?;
            last_is_open = !ended && index + 1 == messages.len();
            if last_is_open {
                span.end = rendered.text.len();
            }
            spans.push(span);
        }
        let mut ids = encoding.ids;
        let in_answer = |bytes: &std::ops::Range<usize>| spans.iter().any(|span| bytes.start < span.end && span.start < bytes.end);
        let mut loss_mask: Vec<bool> = encoding.bytes.iter().map(|bytes| loss == LossTokens::All || in_answer(bytes)).collect();
        if let Some(end_of_turn) = self.end_of_turn().filter(|_| last_is_open) {
            ids.push(end_of_turn);
            loss_mask.push(true);
        }
        if let Some(first) = loss_mask.first_mut() {
            *first = false;
        }
        let n_tokens = ids.len();
        let mut truncated = false;
        if let Some(max_tokens) = max_tokens.filter(|max| n_tokens > *max) {
            if truncation == Truncation::Refuse {
                return Err(TextError::TooLong { at: conversation.source.clone(), n_tokens, max_tokens });
            }
            truncated = loss_mask[max_tokens..].contains(&true);
            ids.truncate(max_tokens);
            loss_mask.truncate(max_tokens);
        }
        Ok(Example { ids, loss_mask, truncated, source: conversation.source.clone() })
    }
}

/// How many tokens all of `sequences` begin with in common.
pub fn common_prefix_len(sequences: &[&[u32]]) -> usize {
    let Some((first, rest)) = sequences.split_first() else { return 0 };
    rest.iter().fold(first.len(), |length, sequence| first[..length].iter().zip(sequence.iter()).take_while(|(a, b)| a == b).count())
}

#[cfg(test)]
mod tests {
    use super::common_prefix_len;

    #[test]
    fn the_common_prefix_is_that_of_all() {
        assert_eq!(common_prefix_len(&[]), 0);
        assert_eq!(common_prefix_len(&[&[1, 2, 3]]), 3);
        assert_eq!(common_prefix_len(&[&[1, 2, 3], &[1, 2], &[1, 2, 4]]), 2);
        assert_eq!(common_prefix_len(&[&[1, 2], &[2, 2]]), 0);
        assert_eq!(common_prefix_len(&[&[1, 2], &[]]), 0);
    }
}
