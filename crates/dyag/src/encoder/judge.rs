//! A language model as a reranker: asked whether a passage answers a query, it says yes or no, and the score is how much likelier its yes is.
//!
//! The prompt is the one that Qwen3-Reranker was trained with (its model card); other chat models understand it untrained, each in its own template.

use std::path::Path;

use dyag_text::language_model::ModelFailure;
use dyag_text::{Message, Reranker, Role, SourceLine, Unit};

use crate::engine::EngineArgs;
use crate::loaded_model::{LoadSettings, LoadedModel, SystemChoice};

const SYSTEM: &str = "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be \"yes\" or \"no\".";
const INSTRUCTION: &str = "Given a web search query, retrieve relevant passages that answer the query";
const ANSWERS: [&str; 2] = ["yes", "no"];
/// Longest prompt, in tokens; longer passages are cut at their end.
const MAX_TOKENS: usize = 8192;

/// A decoder with its tokenizer and template.
pub(super) struct JudgingModel {
    name: String,
    /// The beginning of the hash of all weights.
    hash: String,
    model: LoadedModel,
    max_tokens: usize,
}

impl JudgingModel {
    /// Loads the model: a folder or a GGUF file.
    pub(super) fn open(path: &Path, engine: EngineArgs) -> anyhow::Result<Self> {
        let settings = LoadSettings {
            adapter: None,
            base_model: Some(path.display().to_string()),
            quantize: None,
            system: SystemChoice::AsTrained,
            engine,
        };
        let model = LoadedModel::open(settings, false)?;
        let files = model.files();
        let max_tokens = files.config().max_positions.min(MAX_TOKENS);
        let source = &files.model().source;
        let (name, hash) = (source.name.clone(), source.content_hash()[..12].to_owned());
        let judge = Self { name, hash, model, max_tokens };
        // A template that refuses such a conversation does so before a search.
        judge.prompt("a", "b", 0)?;
        Ok(judge)
    }

    fn failure(&self, problem: String) -> ModelFailure {
        ModelFailure { model: self.name.clone(), problem, fatal: true }
    }

    /// The prompt for a passage with both answers.
    fn prompt(&self, query: &str, passage: &str, place: usize) -> anyhow::Result<dyag_model::decoder::Continuations> {
        let turns = [
            Message::new(Role::System, SYSTEM),
            Message::new(Role::User, format!("<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {passage}")),
        ];
        let source = SourceLine { path: Path::new("passages").into(), line: place + 1, unit: Unit::Item };
        let [yes, no] = ANSWERS.map(|answer| self.model.answered(&turns, answer, &source));
        let (mut both, no) = (yes?, no?);
        anyhow::ensure!(
            both.context == no.context,
            "expected one prompt before both answers, found two: the model's template looks at the answer"
        );
        both.continuations.extend(no.continuations);
        Ok(both)
    }

    /// The same, with as much of the passage as fits.
    fn fitting(&self, query: &str, passage: &str, place: usize) -> anyhow::Result<dyag_model::decoder::Continuations> {
        let mut chars = passage.chars().count();
        loop {
            let part: String = passage.chars().take(chars).collect();
            let prompt = self.prompt(query, &part, place)?;
            let n_tokens = prompt.context.len() + prompt.continuations.iter().map(Vec::len).max().unwrap_or(0);
            if n_tokens <= self.max_tokens || chars == 0 {
                return Ok(prompt);
            }
            // As many characters less as tokens too many, by the tokens a character has; at least one.
            chars -= (chars * (n_tokens - self.max_tokens)).div_ceil(n_tokens).clamp(1, chars);
        }
    }
}

impl Reranker for JudgingModel {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn signature(&self) -> String {
        format!("model:{}@{}|score:yes-no|longest:{}", self.name, self.hash, self.max_tokens)
    }

    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, ModelFailure> {
        let prompts = passages.iter().enumerate().map(|(place, passage)| self.fitting(query, passage, place));
        let prompts = prompts.collect::<anyhow::Result<Vec<_>>>().map_err(|error| self.failure(format!("{error:#}")))?;
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let likelihoods = self.model.log_likelihoods(&prompts, &mut |_| {}).map_err(|error| self.failure(format!("{error:#}")))?;
        likelihoods
            .iter()
            .enumerate()
            .map(|(place, both)| {
                let score = 1.0 / (1.0 + (both[1].log_likelihood - both[0].log_likelihood).exp());
                if score.is_nan() {
                    return Err(self.failure(format!("expected a finite score, found none, for passage {place}: the weights are damaged")));
                }
                Ok(score as f32)
            })
            .collect()
    }
}
