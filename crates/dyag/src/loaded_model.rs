//! A model in memory, with or without an adapter: loaded, checked to belong together, ready to be given conversations.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use dyag_eval::results::TrainingFile;
use dyag_kernels::Device as _;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_model::adapter::{Adapter, CONFIG_FILE};
use dyag_model::decoder::{Continuations, Decoder, DeviceAdapter, GenerateLimits, Generated, Likelihood, SamplingOptions, Sequence, Watch};
use dyag_text::{Conversation, Date, ExampleOptions, Message, Role, SourceLine};
use dyag_train::folder::hash_file;
use dyag_train::manifest::{BaseMatch, BaseModel, MANIFEST_FILE, Manifest};

use crate::cli::QuantizeChoice;
use crate::engine::EngineArgs;
use crate::language::say;
use crate::model_files::ModelFiles;
use crate::terminal;

/// The system message that prompts open with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SystemChoice {
    /// The conversation's own, else the one the adapter was trained with.
    AsTrained,
    /// This one.
    Text(String),
    /// None.
    None,
}

/// Which model, as typed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// Folder of the adapter, as `dyag finetune` (`OUT/final`) or PEFT wrote it, or of a model that was trained whole; without it the base model answers
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,

    /// Base model: a folder, a GGUF file, or a name that `dyag models` knows; when absent, the one that the adapter's manifest names
    #[arg(long, value_name = "PATH")]
    pub(crate) base_model: Option<String>,

    /// Quantise the matrices of the base model's layers when they are loaded: less memory, a little less exact. For models in F32, F16 or BF16
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) quantize: Option<QuantizeChoice>,
}

/// What is loaded.
#[derive(Debug)]
pub(crate) struct LoadSettings {
    /// Folder of the adapter; none: the base model answers.
    pub(crate) adapter: Option<PathBuf>,
    /// The base model, when the adapter's manifest is not to say it.
    pub(crate) base_model: Option<String>,
    /// What the base model's matrices are quantised to.
    pub(crate) quantize: Option<QuantizeChoice>,
    pub(crate) system: SystemChoice,
    pub(crate) engine: EngineArgs,
}

/// A loaded model.
pub(crate) struct LoadedModel {
    files: ModelFiles,
    decoder: Decoder<CpuDevice>,
    adapter: Option<DeviceAdapter<CpuDevice>>,
    adapter_folder: Option<PathBuf>,
    /// The system message that prompts open with; `replaces`: also where a conversation has its own.
    system: Option<String>,
    replaces_system: bool,
    /// What a template that reads the clock is told.
    date: Option<Date>,
    /// How long the adapter was trained, where its manifest says.
    training_seconds: Option<f64>,
    /// What the adapter was trained on, where its manifest says.
    training_set: Option<TrainingFile>,
}

impl LoadedModel {
    /// Loads the base model and the adapter, and refuses a pair that does not belong together.
    pub(crate) fn open(settings: LoadSettings, verbose: bool) -> anyhow::Result<Self> {
        let LoadSettings { adapter: adapter_folder, base_model, quantize, system, engine } = settings;
        let device = Arc::new(engine.open()?);
        let manifest = adapter_folder.as_deref().map(read_manifest).transpose()?.flatten();
        // What `finetune --method full` leaves is a whole model, which needs no base.
        let whole = adapter_folder.as_deref().filter(|folder| folder.join("config.json").exists() && !folder.join(CONFIG_FILE).exists());
        if let (Some(folder), Some(base)) = (whole, &base_model) {
            bail!("{} is a whole model and no adapter: --base-model {base} has nothing to do; leave it out", folder.display());
        }
        let is_whole = whole.is_some();
        let from_manifest = base_model.is_none() && !is_whole;
        let base_path = match (base_model, &manifest, &adapter_folder) {
            (None, _, Some(folder)) if is_whole => folder.display().to_string(),
            (Some(path), _, _) => path,
            (None, Some(manifest), _) => base_of(manifest),
            (None, None, Some(folder)) if folder.join("final").join(MANIFEST_FILE).exists() => {
                bail!("{0} is the output of a training; its adapter is {0}/final", folder.display())
            }
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
        if let (Some(manifest), Some(folder), false) = (&manifest, &adapter_folder, is_whole) {
            check_base(manifest, folder, &files)?;
        }
        let adapter = adapter_folder.as_deref().filter(|_| !is_whole).map(|folder| Adapter::load(folder, files.config())).transpose()?;
        let adapter = adapter.map(|adapter| DeviceAdapter::upload(&*device, &adapter));
        let decoder = Decoder::new(Arc::clone(&device), files.config(), files.weights());
        if verbose {
            terminal::note(say!("base model: {base_path} ({})", "modèle de base : {base_path} ({})", files.summary()));
            if let Some(folder) = &adapter_folder {
                terminal::note(say!("adapter: {}", "adaptateur : {}", folder.display()));
            }
            terminal::note(say!("kernels: {}, {} threads", "noyaux : {}, {} fils", device.describe(), device.threads()));
        }
        let training_seconds = manifest.as_ref().and_then(|manifest| manifest.timing.get("elapsed_s")).and_then(serde_json::Value::as_f64);
        let training_set =
            manifest.as_ref().map(|manifest| TrainingFile { name: manifest.dataset.name.clone(), sha256: manifest.dataset.sha256.clone() });
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
        Ok(Self { files, decoder, adapter, adapter_folder, system, replaces_system, date, training_seconds, training_set })
    }

    /// The model's files: tokenizer, template, the tokens that end an answer.
    pub(crate) fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// The adapter's folder as it was given.
    pub(crate) fn adapter_name(&self) -> Option<String> {
        self.adapter_folder.as_deref().map(|folder| folder.display().to_string())
    }

    /// SHA-256 of the adapter's weights; none without an adapter.
    pub(crate) fn adapter_hash(&self) -> anyhow::Result<Option<String>> {
        let Some(folder) = &self.adapter_folder else { return Ok(None) };
        let name = if self.adapter.is_some() { "adapter_model.safetensors" } else { "model.safetensors" };
        let path = folder.join(name);
        Ok(Some(hash_file(&path).with_context(|| format!("cannot read {}", path.display()))?))
    }

    /// How long the adapter was trained, where its manifest says.
    pub(crate) fn training_seconds(&self) -> Option<f64> {
        self.training_seconds
    }

    /// What the adapter was trained on, where its manifest says.
    pub(crate) fn training_set(&self) -> Option<&TrainingFile> {
        self.training_set.as_ref()
    }

    /// The base model's path.
    pub(crate) fn base_name(&self) -> String {
        self.files.path().display().to_string()
    }

    /// The kernels in use.
    pub(crate) fn kernel(&self) -> String {
        self.decoder.device().describe()
    }

    /// A conversation as the model is shown it: opened by the system message that was chosen.
    fn messages(&self, turns: &[Message]) -> Vec<Message> {
        let own = turns.first().is_some_and(|turn| turn.role == Role::System);
        let mut messages = Vec::with_capacity(turns.len() + 2);
        let rest = if own && self.replaces_system { &turns[1..] } else { turns };
        if self.replaces_system || !own {
            messages.extend(self.system.clone().map(|text| Message::new(Role::System, text)));
        }
        messages.extend_from_slice(rest);
        messages
    }

    /// Tokens of the prompt that asks for the next turn of a conversation.
    pub(crate) fn prompt(&self, turns: &[Message]) -> anyhow::Result<Vec<u32>> {
        Ok(self.files.chat().prompt_ids(&self.messages(turns), self.date)?)
    }

    /// The prompt that asks for the next turn of a conversation, and the tokens of an answer to it as training would teach them, without the
    /// end of the turn.
    pub(crate) fn answered(&self, turns: &[Message], answer: &str, source: &SourceLine) -> anyhow::Result<Continuations> {
        let mut messages = self.messages(turns);
        messages.push(Message::new(Role::Assistant, answer));
        let conversation = Conversation { messages, source_chunk_ids: Vec::new(), source: source.clone() };
        let example = self.files.chat().example(&conversation, &ExampleOptions { date: self.date, ..ExampleOptions::default() })?;
        let (mut ids, mask) = (example.ids, example.loss_mask);
        let end = mask.iter().rposition(|learned| *learned).map_or(0, |last| last + 1);
        let start = mask[..end].iter().rposition(|learned| !learned).map_or(0, |before| before + 1);
        ids.truncate(end);
        let mut continuation = ids.split_off(start);
        continuation.pop_if(|id| self.files.stop_ids().contains(id));
        Ok(Continuations { context: ids, continuations: vec![continuation] })
    }

    /// How likely continuations are; `on_group` is told how many groups are done.
    pub(crate) fn log_likelihoods(
        &self,
        groups: &[Continuations],
        on_group: &mut dyn FnMut(usize),
    ) -> anyhow::Result<Vec<Vec<Likelihood>>> {
        Ok(self.decoder.log_likelihoods(self.adapter.as_ref(), groups, on_group)?)
    }

    /// Limits of answers: `batch` at a time, each of `max_new_tokens` at most, ended by the model's own tokens.
    fn limits(&self, max_new_tokens: usize, batch: usize) -> GenerateLimits {
        GenerateLimits { max_new_tokens, stop_ids: self.files.stop_ids().to_vec(), batch, numbers: Vec::new(), scored: false }
    }

    /// Answers prompts, `batch` at a time, each in `max_new_tokens` at most. `on_token` is told each token with its prompt's number.
    pub(crate) fn generate(
        &self,
        prompts: &[Vec<u32>],
        sampling: &SamplingOptions,
        max_new_tokens: usize,
        batch: usize,
        on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
    ) -> anyhow::Result<Vec<Generated>> {
        let limits = self.limits(max_new_tokens, batch);
        Ok(self.decoder.generate(self.adapter.as_ref(), prompts, sampling, &limits, on_token)?)
    }

    /// The text of an answer's tokens, without the white space that the template has before each answer.
    pub(crate) fn answer_text(&self, ids: &[u32]) -> String {
        let text = self.files.tokenizer().decode(ids);
        text.strip_prefix(self.files.chat().answer_lead()).map(str::to_owned).unwrap_or(text)
    }

    /// One answer to each of two prompts, with how likely the model finds it.
    pub(crate) fn generate_scored(
        &self,
        prompts: &[Vec<u32>; 2],
        sampling: &SamplingOptions,
        max_new_tokens: usize,
    ) -> anyhow::Result<Vec<Generated>> {
        let limits = GenerateLimits { scored: true, numbers: vec![0, 0], ..self.limits(max_new_tokens, prompts.len()) };
        Ok(self.decoder.generate(self.adapter.as_ref(), prompts, sampling, &limits, &mut |_, _| ControlFlow::Continue(()))?)
    }

    /// The same with a watcher that is told of each answer when it is whole, with how likely the model finds it if `scored`. `numbers` are those of the prompts, from which sampling draws.
    pub(crate) fn generate_watched(
        &self,
        prompts: &[Vec<u32>],
        (numbers, scored): (Vec<usize>, bool),
        sampling: &SamplingOptions,
        max_new_tokens: usize,
        batch: usize,
        watch: &mut dyn Watch,
    ) -> anyhow::Result<()> {
        let limits = GenerateLimits { numbers, scored, ..self.limits(max_new_tokens, batch) };
        self.decoder.generate_watched(self.adapter.as_ref(), prompts, sampling, &limits, watch)?;
        Ok(())
    }

    /// A prompt that is continued token by token.
    pub(crate) fn sequence(&self, prompt: &[u32], max_new_tokens: usize) -> anyhow::Result<Sequence<'_, CpuDevice>> {
        Ok(self.decoder.sequence(self.adapter.as_ref(), prompt, max_new_tokens)?)
    }
}

/// The base model that a manifest names: at its path, or where that is another machine's, on the model hub.
pub(crate) fn base_of(manifest: &Manifest) -> String {
    let BaseModel { path, hub, .. } = &manifest.base_model;
    match hub {
        Some(hub) if !Path::new(path).exists() => hub.to_string(),
        _ => path.clone(),
    }
}

/// The manifest of an adapter's folder; none where another program wrote the adapter.
pub(crate) fn read_manifest(folder: &Path) -> anyhow::Result<Option<Manifest>> {
    if !folder.is_dir() && (folder.is_file() || crate::model_name::is_known(&folder.to_string_lossy())) {
        bail!("--model {0}: expected the folder of an adapter, found a model; give it with --base-model {0}", folder.display());
    }
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
pub(crate) fn check_base(manifest: &Manifest, folder: &Path, files: &ModelFiles) -> anyhow::Result<()> {
    match manifest.check_base(folder, &files.base_model())? {
        BaseMatch::Same => {}
        BaseMatch::OtherQuantization { expected, found } => {
            let told = |quantization: &Option<String>| {
                quantization.as_ref().map_or_else(
                    || say!("as its files have it", "telle que dans ses fichiers"),
                    |q| say!("quantised to {q}", "quantifiée en {q}"),
                )
            };
            let advice = expected.as_ref().map_or_else(
                || say!("leave --quantize out", "retirer --quantize"),
                |expected| say!("add --quantize {expected}", "ajouter --quantize {expected}"),
            );
            terminal::note(say!(
                "note: {} was trained on its base {}, which is used here {}: answers may differ a little; {advice} for the base of the training",
                "note : {} a été entraîné sur sa base {}, employée ici {} : les réponses peuvent différer un peu ; {advice} pour avoir la base de l'entraînement",
                folder.display(),
                told(&expected),
                told(&found),
            ));
        }
        BaseMatch::OtherWeights { expected, found } => terminal::note(say!(
            "note: {} was trained on other weights of this shape ({} {expected}; these are {found}): \
             another quantisation is fine, another model is not",
            "note : {} a été entraîné sur d'autres poids de même forme ({} {expected} ; ceux-ci : {found}) : \
             une autre quantification convient, un autre modèle non",
            folder.display(),
            manifest.base_model.path,
        )),
    }
    Ok(())
}
