//! A model of this machine, run by this program's own engine.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use dyag_model::decoder::{SamplingOptions, StopReason};
use dyag_text::language_model::{LanguageModel, ModelFailure, Reply, Request};
use dyag_text::{Message, sha256_hex};
use serde_json::{Value, json};

use super::budget::{Meter, TokenCounts};
use super::clock::Clock;
use super::constrained::{self, TokenTable};
use super::schema::Shape;
use super::structured::with_schema_in_words;
use crate::engine::EngineArgs;
use crate::loaded_model::{LoadSettings, LoadedModel, SystemChoice};

/// The files of an adapter that its answers depend on.
const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// A loaded model that is asked as one behind a server is.
pub(crate) struct Local {
    model: LoadedModel,
    path: String,
    identity: Value,
    /// What the vocabulary's tokens mean to JSON; made when it is first needed.
    table: OnceLock<TokenTable>,
    meter: Meter,
    clock: Arc<dyn Clock>,
}

impl Local {
    /// Loads the model at a path: a folder or a GGUF file, or the folder of an adapter, whose manifest names its base model.
    pub(super) fn open(path: &str, engine: EngineArgs, meter: Meter, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let is_adapter = Path::new(path).join(ADAPTER_FILES[0]).exists();
        let (adapter, base_model) = if is_adapter { (Some(path.into()), None) } else { (None, Some(path.to_owned())) };
        let settings = LoadSettings { adapter, base_model, quantize: None, system: SystemChoice::AsTrained, engine };
        let model = LoadedModel::open(settings, false).with_context(|| format!("--llm-model {path}: the model cannot be loaded"))?;
        let base = model.files().base_model();
        let mut identity = json!({ "base": base.fingerprint, "vocabulary": base.vocabulary_hash, "template": base.template_hash, "kernel": model.kernel() });
        if is_adapter {
            let hashes = ADAPTER_FILES.map(|name| {
                let file = Path::new(path).join(name);
                std::fs::read(&file).map(|bytes| sha256_hex(&bytes)).with_context(|| format!("cannot read {}", file.display()))
            });
            identity["adapter"] = json!(hashes.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
        }
        Ok(Self { model, path: path.to_owned(), identity, table: OnceLock::new(), meter, clock })
    }

    /// What answers depend on: hashes of the files, and the kernels.
    pub(super) fn identity(&self) -> &Value {
        &self.identity
    }

    fn failure(&self, problem: String, fatal: bool) -> ModelFailure {
        ModelFailure { model: self.name(), problem, fatal }
    }

    fn write(&self, request: &Request) -> anyhow::Result<Reply> {
        let Request { messages, max_tokens, temperature, seed, schema } = request;
        let sampling = SamplingOptions { temperature: *temperature, seed: *seed, ..SamplingOptions::GREEDY };
        match schema {
            Some(schema) => {
                let shape =
                    Shape::parse(schema).map_err(|problem| anyhow::anyhow!("{problem}; a local model is held to simpler schemas only"))?;
                self.write_json(&with_schema(messages, schema), &shape, sampling, *max_tokens)
            }
            None => self.write_text(messages, sampling, *max_tokens),
        }
    }

    fn write_text(&self, messages: &[Message], sampling: SamplingOptions, max_tokens: usize) -> anyhow::Result<Reply> {
        let prompt = self.model.prompt(messages)?;
        let n_prompt = prompt.len();
        let generated = self.model.generate(&[prompt], &sampling, max_tokens, 1, &mut |_, _| ControlFlow::Continue(()))?;
        let generated = generated.first().context("the engine gave no answer")?;
        Ok(Reply {
            text: self.model.answer_text(&generated.ids),
            n_prompt_tokens: Some(n_prompt),
            n_answer_tokens: Some(generated.ids.len()),
            cut: matches!(generated.stop, StopReason::Length | StopReason::Context),
        })
    }

    fn write_json(&self, messages: &[Message], shape: &Shape, sampling: SamplingOptions, max_tokens: usize) -> anyhow::Result<Reply> {
        let prompt = self.model.prompt(messages)?;
        let tokenizer = self.model.files().tokenizer();
        let table = self.table.get_or_init(|| TokenTable::new(tokenizer, self.model.files().stop_ids()));
        let sequence = self.model.sequence(&prompt, max_tokens)?;
        let written = constrained::write(shape, sequence, tokenizer, table, sampling)?;
        Ok(Reply {
            text: written.value.to_string(),
            n_prompt_tokens: Some(prompt.len()),
            n_answer_tokens: Some(written.n_tokens),
            cut: written.cut,
        })
    }
}

/// The messages with the schema asked for in the last one: its descriptions say what the form alone does not.
fn with_schema(messages: &[Message], schema: &Value) -> Vec<Message> {
    let mut messages = messages.to_vec();
    if let Some(last) = messages.last_mut() {
        last.content = with_schema_in_words(&last.content, schema);
    }
    messages
}

impl LanguageModel for Local {
    fn name(&self) -> String {
        format!("local/{}", self.path)
    }

    fn answer(&self, request: &Request) -> Result<Reply, ModelFailure> {
        self.meter.admit(&*self.clock, false).map_err(|problem| self.failure(problem, true))?;
        let reply = self.write(request).map_err(|error| self.failure(format!("{error:#}"), false))?;
        self.meter.record(TokenCounts::of(reply.n_prompt_tokens, reply.n_answer_tokens, 0, 0));
        Ok(reply)
    }
}
