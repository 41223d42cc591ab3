//! A loaded model with its settings, that answers conversations.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail};
use dyag_model::decoder::{Generated, SamplingOptions, StopReason};
use dyag_text::Message;
use serde_json::{Map, Value, json};

use crate::cli::QuantizeChoice;
use crate::engine::EngineArgs;
use crate::language::say;
use crate::loaded_model::{LoadSettings, LoadedModel, SystemChoice};
use crate::retrieval::{AnsweredFrom, Choice, Written};

/// What a session is made of.
#[derive(Debug)]
pub(crate) struct SessionSettings {
    /// Folder of the adapter; none: the base model answers.
    pub(crate) adapter: Option<PathBuf>,
    /// The base model, when the adapter's manifest is not to say it.
    pub(crate) base_model: Option<String>,
    /// What the base model's matrices are quantised to.
    pub(crate) quantize: Option<QuantizeChoice>,
    pub(crate) sampling: SamplingOptions,
    /// Longest answer, in tokens.
    pub(crate) max_tokens: usize,
    pub(crate) system: SystemChoice,
    pub(crate) engine: EngineArgs,
}

/// How tokens are chosen.
pub(crate) fn sampling(temperature: f32, top_k: u32, top_p: f32, repetition_penalty: f32, seed: u64) -> SamplingOptions {
    SamplingOptions { temperature, top_k: top_k as usize, top_p, repetition_penalty, seed }
}

/// A model and how it is asked.
pub(crate) struct Session {
    model: LoadedModel,
    sampling: SamplingOptions,
    max_tokens: usize,
}

/// One answer, and what it took.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) n_prompt_tokens: usize,
    pub(crate) n_answer_tokens: usize,
    stopped: &'static str,
    timing: Option<AnswerTiming>,
}

/// How long an answer took that was generated alone.
#[derive(Clone, Copy, Debug)]
struct AnswerTiming {
    prefill_s: f64,
    decode_s: f64,
}

impl Session {
    /// Loads the base model and the adapter, and refuses a pair that does not belong together.
    pub(crate) fn open(settings: SessionSettings, verbose: bool) -> anyhow::Result<Self> {
        let SessionSettings { adapter, base_model, quantize, sampling, max_tokens, system, engine } = settings;
        let model = LoadedModel::open(LoadSettings { adapter, base_model, quantize, system, engine }, verbose)?;
        Ok(Self { model, sampling, max_tokens })
    }

    /// The adapter's folder as it was given.
    pub(crate) fn adapter_name(&self) -> Option<String> {
        self.model.adapter_name()
    }

    /// The base model's path.
    pub(crate) fn base_name(&self) -> String {
        self.model.base_name()
    }

    /// The kernels in use.
    pub(crate) fn kernel(&self) -> String {
        self.model.kernel()
    }

    /// Answers the last turn. `on_text` is given the answer piece by piece as it comes; its error ends the generation.
    pub(crate) fn answer(&self, turns: &[Message], on_text: &mut dyn FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<Answer> {
        Self::answer_with(&self.model, &self.sampling, self.max_tokens, turns, on_text)
    }

    /// The same with a model and settings of the caller's.
    pub(crate) fn answer_with(
        model: &LoadedModel,
        sampling: &SamplingOptions,
        max_tokens: usize,
        turns: &[Message],
        on_text: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Answer> {
        let prompt = model.prompt(turns)?;
        let n_prompt_tokens = prompt.len();
        let mut stream = model.files().tokenizer().stream();
        let mut outcome = Ok(());
        let start = Instant::now();
        let mut first = None;
        // As in [`LoadedModel::answer_text`]: the beginning waits until it is longer than what the template has before answers.
        let lead = model.files().chat().answer_lead();
        let mut beginning = Some(String::new());
        let mut give = |text: &str, is_last: bool| {
            let Some(held) = &mut beginning else { return if text.is_empty() { Ok(()) } else { on_text(text) } };
            held.push_str(text);
            if held.len() <= lead.len() && !is_last {
                return Ok(());
            }
            let held = beginning.take().unwrap_or_default();
            let text = held.strip_prefix(lead).unwrap_or(&held);
            if text.is_empty() { Ok(()) } else { on_text(text) }
        };
        let generated = model.generate(&[prompt], sampling, max_tokens, 1, &mut |_, id| {
            first.get_or_insert_with(Instant::now);
            outcome = give(&stream.push(id), false);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let end = Instant::now();
        outcome?;
        give(&stream.finish(), true)?;
        let first = first.unwrap_or(end);
        let timing = AnswerTiming { prefill_s: (first - start).as_secs_f64(), decode_s: (end - first).as_secs_f64() };
        let generated = generated.into_iter().next().context("the engine gave no answer")?;
        Ok(to_answer(model, n_prompt_tokens, &generated, Some(timing)))
    }

    /// Answers the last turn of two conversations, which ask the same with passages (those `shown`) and without, and gives the surer answer ([`Choice::between`]).
    pub(crate) fn surer_answer(
        model: &LoadedModel,
        sampling: &SamplingOptions,
        max_tokens: usize,
        [with_passages, alone]: [&[Message]; 2],
        shown: &[&str],
    ) -> anyhow::Result<(Answer, Choice)> {
        let prompts = [model.prompt(with_passages)?, model.prompt(alone)?];
        let generated = model.generate_scored(&prompts, sampling, max_tokens)?;
        let [from_passages, from_memory] = generated.as_slice() else { bail!("the engine gave {} answers of 2", generated.len()) };
        let likelihood = |generated: &Generated| generated.likelihood.context("the engine scored no answer");
        let texts = [from_passages, from_memory].map(|generated| model.answer_text(&generated.ids));
        let of_passages = Written { text: &texts[0], likelihood: likelihood(from_passages)? };
        let of_memory = Written { text: &texts[1], likelihood: likelihood(from_memory)? };
        let choice = Choice::between(of_passages, of_memory, shown);
        let given = match choice.from {
            AnsweredFrom::Passages => from_passages,
            AnsweredFrom::Memory => from_memory,
        };
        // What both took is what the answer took.
        let answer = to_answer(model, prompts.iter().map(Vec::len).sum(), given, None);
        Ok((Answer { n_answer_tokens: generated.iter().map(|one| one.ids.len()).sum(), ..answer }, choice))
    }

    /// Answers the last turn of each conversation, so many at a time. `on_token` is told of each token, for those who watch.
    pub(crate) fn answer_all(&self, conversations: &[&[Message]], batch: usize, on_token: &mut dyn FnMut()) -> anyhow::Result<Vec<Answer>> {
        let prompts = conversations.iter().map(|turns| self.model.prompt(turns)).collect::<anyhow::Result<Vec<_>>>()?;
        let generated = self.model.generate(&prompts, &self.sampling, self.max_tokens, batch, &mut |_, _| {
            on_token();
            ControlFlow::Continue(())
        })?;
        Ok(prompts.iter().zip(&generated).map(|(prompt, generated)| to_answer(&self.model, prompt.len(), generated, None)).collect())
    }
}

fn to_answer(model: &LoadedModel, n_prompt_tokens: usize, generated: &Generated, timing: Option<AnswerTiming>) -> Answer {
    let stopped = match generated.stop {
        StopReason::StopToken(_) => "end of turn",
        StopReason::Length => "max tokens",
        StopReason::Context => "model's context is full",
        StopReason::Cancelled => "cancelled",
    };
    let text = model.answer_text(&generated.ids);
    Answer { text, n_prompt_tokens, n_answer_tokens: generated.ids.len(), stopped, timing }
}

impl Answer {
    /// Keys of a JSON result.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let Self { text, n_prompt_tokens, n_answer_tokens, stopped, timing } = self;
        let mut keys = Map::new();
        keys.insert("answer".to_owned(), text.as_str().into());
        keys.insert("n_prompt_tokens".to_owned(), (*n_prompt_tokens).into());
        keys.insert("n_answer_tokens".to_owned(), (*n_answer_tokens).into());
        keys.insert("stopped".to_owned(), (*stopped).into());
        if let Some(AnswerTiming { prefill_s, decode_s }) = timing {
            keys.insert("timing".to_owned(), json!({ "prefill_s": prefill_s, "decode_s": decode_s }));
        }
        keys
    }

    /// How fast the prompt was read and the answer written, in a line.
    pub(crate) fn rates(&self) -> String {
        let Self { n_prompt_tokens, n_answer_tokens, stopped, .. } = self;
        let mut line = say!(
            "prompt: {n_prompt_tokens} tokens; answer: {n_answer_tokens} tokens ({stopped})",
            "invite : {n_prompt_tokens} jetons ; réponse : {n_answer_tokens} jetons ({stopped})"
        );
        if let Some(AnswerTiming { prefill_s, decode_s }) = self.timing {
            // The pass over the prompt gives the first token; the rest comes one by one.
            let rate = |n: usize, seconds: f64| if n > 0 && seconds > 0.0 { format!("{:.1}", n as f64 / seconds) } else { "-".to_owned() };
            let (prefill, decode) = (rate(self.n_prompt_tokens, prefill_s), rate(self.n_answer_tokens.saturating_sub(1), decode_s));
            line.push_str(&say!(
                "; prefill {prefill} tokens/s, decode {decode} tokens/s",
                " ; lecture {prefill} jetons/s, écriture {decode} jetons/s"
            ));
        }
        line
    }
}
