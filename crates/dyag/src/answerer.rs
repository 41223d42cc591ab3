//! Whoever answers: a model of this machine, or one behind a server.

use std::time::Instant;

use anyhow::anyhow;
use dyag_text::language_model::{LanguageModel as _, Reply, Request};
use dyag_text::{Message, Role};

use crate::language_models::OpenModel;
use crate::loaded_model::{LoadSettings, LoadedModel, SystemChoice};
use crate::retrieval::Choice;
use crate::session::{Answer, Session};

/// Characters of a token of a model whose tokenizer is not here: fewer than any tokenizer's mean, so that prompts fit.
const CHARS_A_TOKEN: usize = 3;
/// Tokens of prompt and answer that a model behind a server is taken to hold.
const REMOTE_CONTEXT: usize = 8_192;

/// A model that can be asked.
pub(crate) enum Answerer {
    /// In this process.
    Local(Box<LoadedModel>),
    /// Behind a server.
    Remote(OpenModel),
}

impl Answerer {
    /// Loads a model of this machine.
    pub(crate) fn local(settings: LoadSettings, verbose: bool) -> anyhow::Result<Self> {
        Ok(Self::Local(Box::new(LoadedModel::open(settings, verbose)?)))
    }

    /// What results call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Local(model) => model.adapter_name().unwrap_or_else(|| model.base_name()),
            Self::Remote(model) => model.name(),
        }
    }

    /// Whether it was taught something of its own here: a local model with an adapter, or trained whole.
    pub(crate) fn is_finetuned(&self) -> bool {
        matches!(self, Self::Local(model) if model.adapter_name().is_some())
    }

    /// Tokens of prompt and answer that it holds.
    pub(crate) fn context(&self) -> usize {
        match self {
            Self::Local(model) => model.files().config().max_positions,
            Self::Remote(_) => REMOTE_CONTEXT,
        }
    }

    /// Tokens of the prompt that asks for the next turn; for a model behind a server an estimate, rather too many.
    pub(crate) fn prompt_len(&self, turns: &[Message]) -> anyhow::Result<usize> {
        match self {
            Self::Local(model) => Ok(model.prompt(turns)?.len()),
            Self::Remote(_) => Ok(turns.iter().map(|turn| turn.content.chars().count().div_ceil(CHARS_A_TOKEN) + 8).sum()),
        }
    }
}

/// How answers are written.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    pub(crate) temperature: f32,
    pub(crate) seed: u64,
    pub(crate) max_tokens: usize,
    /// The system message of a model behind a server; a local one has its own ([`LoadSettings`]).
    pub(crate) system: SystemChoice,
}

/// An answer, whoever gave it.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) tokens_in: Option<usize>,
    pub(crate) tokens_out: Option<usize>,
    pub(crate) seconds: f64,
    /// Which of two answers it is, where two were given.
    pub(crate) choice: Option<Choice>,
}

impl Given {
    /// The answer of a local model that was asked at `start`.
    fn by_local(answer: Answer, start: Instant, choice: Option<Choice>) -> Self {
        let Answer { text, n_prompt_tokens, n_answer_tokens, .. } = answer;
        let (tokens_in, tokens_out) = (Some(n_prompt_tokens), Some(n_answer_tokens));
        Self { text, tokens_in, tokens_out, seconds: start.elapsed().as_secs_f64(), choice }
    }
}

impl Answerer {
    /// Answers with passages (those `shown`) and without, and gives the surer answer; a model behind a server, which does not say how sure it is, answers with them.
    pub(crate) fn surer_answer(
        &self,
        with_passages: &[Message],
        alone: &[Message],
        shown: &[&str],
        writing: &Writing,
    ) -> anyhow::Result<Given> {
        let Self::Local(model) = self else { return self.answer(with_passages, writing, &mut |_| Ok(())) };
        let start = Instant::now();
        let sampling = crate::session::sampling(writing.temperature, 0, 1.0, 1.0, writing.seed);
        let (answer, choice) = Session::surer_answer(model, &sampling, writing.max_tokens, [with_passages, alone], shown)?;
        Ok(Given::by_local(answer, start, Some(choice)))
    }

    /// Answers the last turn. `on_text` is given the answer as it comes.
    pub(crate) fn answer(
        &self,
        turns: &[Message],
        writing: &Writing,
        on_text: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Given> {
        let start = Instant::now();
        match self {
            Self::Local(model) => {
                let sampling = crate::session::sampling(writing.temperature, 0, 1.0, 1.0, writing.seed);
                let answer = Session::answer_with(model, &sampling, writing.max_tokens, turns, on_text)?;
                Ok(Given::by_local(answer, start, None))
            }
            Self::Remote(model) => {
                let mut messages = Vec::with_capacity(turns.len() + 1);
                if let SystemChoice::Text(text) = &writing.system
                    && turns.first().is_none_or(|turn| turn.role != Role::System)
                {
                    messages.push(Message::new(Role::System, text.as_str()));
                }
                messages.extend_from_slice(turns);
                let request = Request {
                    messages,
                    max_tokens: writing.max_tokens,
                    temperature: writing.temperature,
                    seed: writing.seed,
                    schema: None,
                };
                let mut outcome = Ok(());
                let reply = model.answer_in_pieces(&request, &mut |text| {
                    if outcome.is_ok() {
                        outcome = on_text(text);
                    }
                });
                outcome?;
                let Reply { text, n_prompt_tokens, n_answer_tokens, cut: _ } = reply.map_err(|failure| anyhow!("{failure}"))?;
                Ok(Given {
                    text,
                    tokens_in: n_prompt_tokens,
                    tokens_out: n_answer_tokens,
                    seconds: start.elapsed().as_secs_f64(),
                    choice: None,
                })
            }
        }
    }
}
