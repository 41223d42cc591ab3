//! A loaded model, with or without an adapter, that answers conversations.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use dyag_kernels::Device as _;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_model::adapter::Adapter;
use dyag_model::decoder::{Decoder, DeviceAdapter, GenerateLimits, Generated, SamplingOptions, StopReason};
use dyag_text::{Date, Message, Role};
use dyag_train::manifest::{BaseMatch, MANIFEST_FILE, Manifest};
use serde_json::{Map, Value, json};

use super::SystemChoice;
use crate::cli::QuantizeChoice;
use crate::engine::EngineArgs;
use crate::model_files::ModelFiles;
use crate::terminal;

/// What a session is made of.
#[derive(Debug)]
pub(super) struct SessionSettings {
    /// Folder of the adapter; none: the base model answers.
    pub(super) adapter: Option<PathBuf>,
    /// The base model, when the adapter's manifest is not to say it.
    pub(super) base_model: Option<String>,
    /// What the base model's matrices are quantised to.
    pub(super) quantize: Option<QuantizeChoice>,
    pub(super) sampling: SamplingOptions,
    /// Longest answer, in tokens.
    pub(super) max_tokens: usize,
    pub(super) system: SystemChoice,
    pub(super) engine: EngineArgs,
}

/// How tokens are chosen.
pub(super) fn sampling(temperature: f32, top_k: u32, top_p: f32, repetition_penalty: f32, seed: u64) -> SamplingOptions {
    SamplingOptions { temperature, top_k: top_k as usize, top_p, repetition_penalty, seed }
}

/// A loaded model.
pub(super) struct Session {
    files: ModelFiles,
    decoder: Decoder<CpuDevice>,
    adapter: Option<DeviceAdapter<CpuDevice>>,
    adapter_folder: Option<PathBuf>,
    /// The system message that prompts open with; `replaces`: also where a conversation has its own.
    system: Option<String>,
    replaces_system: bool,
    /// What a template that reads the clock is told.
    date: Option<Date>,
    sampling: SamplingOptions,
    max_tokens: usize,
}

/// One answer, and what it took.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    n_prompt_tokens: usize,
    n_answer_tokens: usize,
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
    pub(super) fn open(settings: SessionSettings, verbose: bool) -> anyhow::Result<Self> {
        let SessionSettings { adapter: adapter_folder, base_model, quantize, sampling, max_tokens, system, engine } = settings;
        let device = Arc::new(engine.open()?);
        let manifest = adapter_folder.as_deref().map(read_manifest).transpose()?.flatten();
        let from_manifest = base_model.is_none();
        let base_path = match (base_model, &manifest, &adapter_folder) {
            (Some(path), _, _) => path,
            (None, Some(manifest), _) => manifest.base_model.path.clone(),
            (None, None, Some(folder)) => {
                bail!("{} holds no {MANIFEST_FILE} that names the base model; give it with --base-model PATH", folder.display())
            }
            (None, None, None) => bail!("expected --model DIR or --base-model PATH"),
        };
        let mut opened = ModelFiles::open(&base_path);
        if let (true, Some(folder)) = (from_manifest, &adapter_folder) {
            let manifest = folder.join(MANIFEST_FILE);
            opened = opened.with_context(|| {
                format!("cannot open the base model that {} names; say where it is with --base-model", manifest.display())
            });
        }
        let mut files = opened?;
        files.quantize(quantize, &device)?;
        if let (Some(manifest), Some(folder)) = (&manifest, &adapter_folder) {
            check_base(manifest, folder, &files)?;
        }
        let adapter = adapter_folder.as_deref().map(|folder| Adapter::load(folder, files.config())).transpose()?;
        let adapter = adapter.map(|adapter| DeviceAdapter::upload(&*device, &adapter));
        let decoder = Decoder::new(Arc::clone(&device), files.config(), files.weights());
        if verbose {
            terminal::note(format!("base model: {base_path} ({})", files.summary()));
            if let Some(folder) = &adapter_folder {
                terminal::note(format!("adapter: {}", folder.display()));
            }
            terminal::note(format!("kernels: {}, {} threads", device.describe(), device.threads()));
        }
        let trained_system = manifest.as_ref().and_then(|manifest| manifest.system_message.clone());
        let (system, replaces_system) = match system {
            SystemChoice::AsTrained => (trained_system, false),
            SystemChoice::Text(text) => (Some(text), true),
            SystemChoice::None => (None, true),
        };
        let date = manifest
            .and_then(|manifest| manifest.date)
            .map(|date| date.parse::<Date>())
            .transpose()
            .map_err(|problem| anyhow::anyhow!("{MANIFEST_FILE} of the adapter: date: {problem}"))?;
        Ok(Self { files, decoder, adapter, adapter_folder, system, replaces_system, date, sampling, max_tokens })
    }

    /// The adapter's folder as it was given.
    pub(super) fn adapter_name(&self) -> Option<String> {
        self.adapter_folder.as_deref().map(|folder| folder.display().to_string())
    }

    /// The base model's path.
    pub(super) fn base_name(&self) -> String {
        self.files.path().display().to_string()
    }

    /// The kernels in use.
    pub(super) fn kernel(&self) -> String {
        self.decoder.device().describe()
    }

    /// Tokens of the prompt that asks for the next turn of a conversation.
    fn prompt(&self, turns: &[Message]) -> anyhow::Result<Vec<u32>> {
        let own = turns.first().is_some_and(|turn| turn.role == Role::System);
        let mut messages = Vec::with_capacity(turns.len() + 1);
        let rest = if own && self.replaces_system { &turns[1..] } else { turns };
        if self.replaces_system || !own {
            messages.extend(self.system.clone().map(|text| Message::new(Role::System, text)));
        }
        messages.extend_from_slice(rest);
        Ok(self.files.chat().prompt_ids(&messages, self.date)?)
    }

    /// Answers the last turn. `on_text` is given the answer piece by piece as it comes; its error ends the generation.
    pub(super) fn answer(&self, turns: &[Message], on_text: &mut dyn FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<Answer> {
        let prompt = self.prompt(turns)?;
        let n_prompt_tokens = prompt.len();
        let mut stream = self.files.tokenizer().stream();
        let mut outcome = Ok(());
        let start = Instant::now();
        let mut first = None;
        let generated = self.generate(&[prompt], 1, &mut |_, id| {
            first.get_or_insert_with(Instant::now);
            let text = stream.push(id);
            if text.is_empty() {
                return ControlFlow::Continue(());
            }
            outcome = on_text(&text);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let end = Instant::now();
        outcome?;
        let rest = stream.finish();
        if !rest.is_empty() {
            on_text(&rest)?;
        }
        let first = first.unwrap_or(end);
        let timing = AnswerTiming { prefill_s: (first - start).as_secs_f64(), decode_s: (end - first).as_secs_f64() };
        let generated = generated.into_iter().next().context("the engine gave no answer")?;
        Ok(self.to_answer(n_prompt_tokens, &generated, Some(timing)))
    }

    /// Answers the last turn of each conversation, so many at a time. `on_token` is told of each token, for those who watch.
    pub(super) fn answer_all(&self, conversations: &[&[Message]], batch: usize, on_token: &mut dyn FnMut()) -> anyhow::Result<Vec<Answer>> {
        let prompts = conversations.iter().map(|turns| self.prompt(turns)).collect::<anyhow::Result<Vec<_>>>()?;
        let generated = self.generate(&prompts, batch, &mut |_, _| {
            on_token();
            ControlFlow::Continue(())
        })?;
        Ok(prompts.iter().zip(&generated).map(|(prompt, generated)| self.to_answer(prompt.len(), generated, None)).collect())
    }

    fn generate(
        &self,
        prompts: &[Vec<u32>],
        batch: usize,
        on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
    ) -> anyhow::Result<Vec<Generated>> {
        let limits = GenerateLimits { max_new_tokens: self.max_tokens, stop_ids: self.files.stop_ids().to_vec(), batch };
        Ok(self.decoder.generate(self.adapter.as_ref(), prompts, &self.sampling, &limits, on_token)?)
    }

    fn to_answer(&self, n_prompt_tokens: usize, generated: &Generated, timing: Option<AnswerTiming>) -> Answer {
        let stopped = match generated.stop {
            StopReason::StopToken(_) => "end of turn",
            StopReason::Length => "max tokens",
            StopReason::Context => "model's context is full",
            StopReason::Cancelled => "cancelled",
        };
        let text = self.files.tokenizer().decode(&generated.ids);
        Answer { text, n_prompt_tokens, n_answer_tokens: generated.ids.len(), stopped, timing }
    }
}

impl Answer {
    /// Keys of a JSON result.
    pub(super) fn to_json(&self) -> Map<String, Value> {
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
    pub(super) fn rates(&self) -> String {
        let mut line = format!("prompt: {} tokens; answer: {} tokens ({})", self.n_prompt_tokens, self.n_answer_tokens, self.stopped);
        if let Some(AnswerTiming { prefill_s, decode_s }) = self.timing {
            // The pass over the prompt gives the first token; the rest comes one by one.
            let rate = |n: usize, seconds: f64| if n > 0 && seconds > 0.0 { format!("{:.1}", n as f64 / seconds) } else { "-".to_owned() };
            let (prefill, decode) = (rate(self.n_prompt_tokens, prefill_s), rate(self.n_answer_tokens.saturating_sub(1), decode_s));
            line.push_str(&format!("; prefill {prefill} tokens/s, decode {decode} tokens/s"));
        }
        line
    }
}

/// The manifest of an adapter's folder; none where another program wrote the adapter.
fn read_manifest(folder: &Path) -> anyhow::Result<Option<Manifest>> {
    if !folder.is_dir() {
        bail!(
            "no adapter in {}: expected a folder with adapter_config.json and adapter_model.safetensors, found no such folder",
            folder.display()
        );
    }
    if !folder.join(MANIFEST_FILE).exists() {
        return Ok(None);
    }
    Ok(Some(Manifest::load(folder)?))
}

/// Refuses a base of another family, shape, vocabulary or template; tells the person when only the weights differ.
fn check_base(manifest: &Manifest, folder: &Path, files: &ModelFiles) -> anyhow::Result<()> {
    match manifest.check_base(folder, &files.base_model())? {
        BaseMatch::Same => {}
        BaseMatch::OtherQuantization { expected, found } => {
            let told = |quantization: &Option<String>| {
                quantization.as_ref().map_or("as its files have it".to_owned(), |q| format!("quantised to {q}"))
            };
            let advice = expected.as_ref().map_or("leave --quantize out".to_owned(), |expected| format!("add --quantize {expected}"));
            terminal::note(format!(
                "note: {} was trained on its base {}, which is used here {}: answers may differ a little; {advice} for the base of the training",
                folder.display(),
                told(&expected),
                told(&found),
            ));
        }
        BaseMatch::OtherWeights { expected, found } => terminal::note(format!(
            "note: {} was trained on other weights of this shape ({} {expected}; these are {found}): \
             another quantisation is fine, another model is not",
            folder.display(),
            manifest.base_model.path,
        )),
    }
    Ok(())
}
