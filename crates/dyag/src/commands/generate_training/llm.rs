//! Facts found by a language model: the flags, the work and its progress.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::bail;
use dyag_text::generate::{Document, ModelAnswers, ModelFacts, ModelOptions, ModelWork, Rules, facts_by_model};
use dyag_text::language_model::LanguageModel as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::engine::EngineArgs;
use crate::interruption;
use crate::language::say;
use crate::language_models::{LanguageModelArgs, OpenModel};
use crate::terminal;

/// Settings of the work with a model, as typed.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Language model")]
pub(super) struct FactArgs {
    /// Facts asked for in each passage
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    facts_per_chunk: u8,

    /// Where answers come from; copied for a local model, written for others, when absent
    #[arg(long, value_enum, value_name = "HOW")]
    llm_answers: Option<AnswersChoice>,

    /// Longest reply of the model to one passage, in tokens
    #[arg(long, value_name = "N", default_value_t = 1500, value_parser = clap::value_parser!(u32).range(50..))]
    llm_max_tokens: u32,

    /// Spread of the model's sampling; 0 takes the likeliest token each time
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    llm_temperature: f32,
}

/// Where a model's answers come from, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum AnswersChoice {
    /// Values and sentences are taken from the passage, and the model words questions for them
    Copied,
    /// The model finds the facts of a passage
    Written,
}

/// What a model found and what that took.
pub(super) struct Found {
    pub(super) facts: ModelFacts,
    model: OpenModel,
}

/// Opens the model. Its answers are kept beside the output unless another folder is named, so that a run that stops can go on.
pub(super) fn open(mut args: LanguageModelArgs, engine: EngineArgs, output: &Path) -> anyhow::Result<OpenModel> {
    if args.llm_provider.is_none() {
        bail!("--method llm-based needs --llm-provider openai, anthropic, ollama or local, and --llm-model NAME");
    }
    if args.llm_cache.is_none() {
        args.llm_cache = Some(output.with_extension("llm-cache"));
    }
    args.open(engine)
}

/// Shows the documents' passages to the model.
pub(super) fn find(
    model: OpenModel,
    documents: &[Document<'_>],
    rules: &Rules,
    args: FactArgs,
    count: usize,
    seed: u64,
    max_answer_chars: usize,
) -> anyhow::Result<Found> {
    let FactArgs { facts_per_chunk, llm_answers, llm_max_tokens, llm_temperature } = args;
    if !(0.0..=10.0).contains(&llm_temperature) {
        bail!("--llm-temperature: expected a number from 0 to 10, found {llm_temperature}");
    }
    let is_local = model.name().starts_with("local/");
    let answers = match llm_answers {
        Some(AnswersChoice::Copied) => ModelAnswers::Copied,
        Some(AnswersChoice::Written) => ModelAnswers::Written,
        None if is_local => ModelAnswers::Copied,
        None => ModelAnswers::Written,
    };
    let options = ModelOptions {
        count,
        answers,
        facts_per_chunk: facts_per_chunk.into(),
        max_tokens: llm_max_tokens as usize,
        temperature: llm_temperature,
        seed,
        max_answer_chars,
    };
    let interrupted = interruption::flag();
    let mut progress = Progress::new(count);
    let facts = facts_by_model(documents, &model, rules, &options, &mut |work| {
        progress.show(work);
        !interrupted.load(Ordering::Relaxed)
    });
    progress.end();
    if interrupted.load(Ordering::Relaxed) {
        bail!("interrupted after {} passages; the answers so far are kept: the same command goes on from there", facts.work.shown);
    }
    if let (Some(failure), true) = (&facts.failure, facts.facts.is_empty()) {
        bail!("{failure}");
    }
    Ok(Found { facts, model })
}

impl Found {
    /// The failure that ended the work early, for the report.
    pub(super) fn shortfall(&self) -> Option<String> {
        self.facts.failure.as_ref().map(|failure| format!("the language model stopped: {failure}"))
    }

    /// What was used, for people.
    pub(super) fn line(&self) -> String {
        let ModelWork { shown, passages, facts, wordings, failures } = self.facts.work;
        let failed = if failures > 0 { say!(", {failures} without an answer", ", {failures} sans réponse") } else { String::new() };
        say!(
            "{}: {shown} of {passages} passages shown{failed}, {facts} facts in {wordings} wordings; {}",
            "{} : {shown} passages montrés sur {passages}{failed}, {facts} faits en {wordings} formulations ; {}",
            self.model.name(),
            self.model.usage().sentence()
        )
    }

    /// What was used, for machines.
    pub(super) fn to_json(&self) -> Value {
        let ModelWork { shown, passages, facts, wordings, failures } = self.facts.work;
        json!({
            "model": self.model.name(), "shown": shown, "passages": passages, "facts": facts, "wordings": wordings, "failures": failures,
            "usage": self.model.usage(), "failure": self.facts.failure.as_ref().map(ToString::to_string),
        })
    }
}

/// A bar on a terminal, a line every ten seconds elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    count: usize,
    start: Instant,
    told: Instant,
}

impl Progress {
    fn new(count: usize) -> Self {
        let bar = terminal::draws_bars().then(|| {
            let bar = ProgressBar::new(count as u64);
            let style = ProgressStyle::with_template(&say!(
                "{{bar:24}} {{pos}}/{{len}} wordings, {{msg}}, {{eta}} left",
                "{{bar:24}} {{pos}}/{{len}} formulations, {{msg}}, encore {{eta}}"
            ));
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, count, start: Instant::now(), told: Instant::now() }
    }

    fn show(&mut self, work: ModelWork) {
        let told = say!("{} passages, {} facts", "{} passages, {} faits", work.shown, work.facts);
        match &self.bar {
            Some(bar) => {
                bar.set_message(told);
                bar.set_position(work.wordings.min(self.count) as u64);
            }
            None if self.told.elapsed().as_secs() >= 10 => {
                self.told = Instant::now();
                terminal::note(say!(
                    "{} of {} wordings, {told}, {:.0} s",
                    "{} formulations sur {}, {told}, {:.0} s",
                    work.wordings,
                    self.count,
                    self.start.elapsed().as_secs_f64()
                ));
            }
            None => {}
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
