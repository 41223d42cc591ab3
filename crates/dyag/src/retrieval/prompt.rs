//! From a question to a prompt with passages that fits the model.

use dyag_retrieval::{Found, Verdict};
use dyag_text::passages::{Language, Passage, prompt_with_passages};
use dyag_text::{Message, Role};

use super::Searching;
use crate::answerer::Answerer;

/// How much of what was found is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassageLimits {
    /// Longest passage, in characters.
    pub(crate) max_passage_chars: usize,
    /// Most tokens of the prompt.
    pub(crate) max_prompt_tokens: Option<usize>,
}

/// A question with what was found for it.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The conversation that the model is shown: the question with passages in its last turn.
    pub(crate) turns: Vec<Message>,
    /// What was found.
    pub(crate) found: Found,
    /// What is shown of the first hits.
    pub(crate) shown: Vec<Passage>,
    /// What to say where something was found, and the prompt has no room for any of it.
    pub(crate) without_room: Option<String>,
}

impl Prepared {
    /// Whether there is something to answer from.
    pub(crate) fn is_answerable(&self) -> bool {
        self.found.confidence.verdict != Verdict::Nothing && !self.shown.is_empty()
    }
}

/// The passages that were found, each at its longest.
pub(crate) fn shown_passages(searching: &Searching, found: &Found) -> anyhow::Result<Vec<Passage>> {
    let retriever = searching.retriever()?;
    Ok(found.hits.iter().map(|hit| retriever.passage(found, hit, searching.limits.max_passage_chars)).collect())
}

/// Room that a prompt leaves beside the answer, for templates that add a token or two.
const SPARE: usize = 8;
/// Shortest part of a passage that is worth its place, in characters.
const SHORTEST_PART: usize = 200;

/// Makes the prompt that asks the last of `turns` with as many of the passages that were found as fit, best first; the last of them may be cut.
pub(crate) fn prepare(
    searching: &Searching,
    found: Found,
    turns: &[Message],
    language: Language,
    answerer: &Answerer,
    max_tokens: usize,
) -> anyhow::Result<Prepared> {
    let room = answerer.context().saturating_sub(max_tokens.min(answerer.context() / 2) + SPARE);
    let limit = searching.limits.max_prompt_tokens.map_or(room, |n| n.min(room));
    let retriever = searching.retriever()?;
    let whole = shown_passages(searching, &found)?;
    let question = turns.last().map(|turn| turn.content.as_str()).unwrap_or_default();
    let with = |passages: &[Passage]| {
        let mut asked = turns.to_vec();
        asked.pop();
        asked.push(Message::new(Role::User, prompt_with_passages(language, question, passages)));
        asked
    };
    let mut passages: Vec<Passage> = Vec::new();
    for (hit, passage) in found.hits.iter().zip(whole) {
        passages.push(passage);
        if answerer.prompt_len(&with(&passages))? <= limit {
            continue;
        }
        // The part of it that fits, halved until it does; then there is no room for more.
        let passage = passages.pop().unwrap_or_else(|| Passage::new("", ""));
        let mut chars = passage.content.chars().count() / 2;
        while chars >= SHORTEST_PART {
            passages.push(retriever.passage(&found, hit, chars));
            if answerer.prompt_len(&with(&passages))? <= limit {
                break;
            }
            passages.pop();
            chars /= 2;
        }
        break;
    }
    let relevant = found.confidence.verdict != Verdict::Nothing && !found.hits.is_empty();
    let without_room = if passages.is_empty() && relevant {
        // What is said about passages has its tokens even where none is shown.
        let needed = answerer.prompt_len(&with(&[Passage::new("", "")]))?;
        Some(format!(
            "expected room for a passage in a prompt of at most {limit} tokens, found none: the question and what is said about passages have {needed} \
             (--max-prompt-tokens, --max-tokens, or a shorter question)"
        ))
    } else {
        None
    };
    Ok(Prepared { turns: with(&passages), shown: passages, found, without_room })
}
