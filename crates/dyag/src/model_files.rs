//! Everything a command needs of a model, from the model's own files: shape and weights, tokenizer, chat template, the tokens that end a turn.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dyag_hub::Advice;
use dyag_kernels::{Device as _, cpu_device::CpuDevice};
use dyag_model::config::DecoderConfig;
use dyag_model::weights::{DecoderWeights, GgufTokenizer, Model};
use dyag_text::{Chat, SpecialTokens, TemplateSource, Tokenizer, TokenizerSpec};
use dyag_train::manifest::{BaseModel, HubModel};

use crate::cli::QuantizeChoice;
use crate::embedded;
use crate::model_name::{self, Resolved};

/// A model and the text side that belongs to it.
#[derive(Debug)]
pub(crate) struct ModelFiles {
    model: Model,
    chat: Chat,
    stop_ids: Vec<u32>,
    quantization: Option<QuantizeChoice>,
    /// Where it is on the model hub, when it came from there.
    hub: Option<HubModel>,
    /// What the registry advises for it, with its short name.
    advice: Option<(String, Advice)>,
    /// Whether it is the one that the program holds.
    is_embedded: bool,
}

impl ModelFiles {
    /// Opens a model by its path (a Hugging Face folder, a GGUF file, or a folder with one), its short name, or its name on the model hub, from
    /// which it is fetched when it is not here.
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        let Resolved { path, hub, advice, is_embedded } = model_name::resolve(name)?;
        let mut model = Model::load(&path)?;
        if let Some(hub) = &hub {
            // The folder of a snapshot is called after its commit.
            model.source.name.clone_from(&hub.name);
        }
        if is_embedded {
            embedded::NAME.clone_into(&mut model.source.name);
        }
        let chat = open_chat(&model)?;
        let (limit, rows) = (chat.tokenizer().id_limit(), model.config.vocab_size);
        if limit > rows {
            bail!(
                "{}: the tokenizer has ids up to {}, that is {limit} tokens, but the model's embedding has {rows} rows; \
                 expected no more tokens than rows. Use the tokenizer that was published with this model",
                chat.tokenizer().origin(),
                limit - 1
            );
        }
        let stop_ids = stop_ids(&model.config, &chat);
        if stop_ids.is_empty() {
            bail!(
                "{name}: no file names the token that ends a turn (eos_token_id in config.json or generation_config.json, eos_token in \
                 tokenizer_config.json, tokenizer.ggml.eos_token_id in GGUF), so answers would never end; add it"
            );
        }
        Ok(Self { model, chat, stop_ids, quantization: None, hub, advice, is_embedded })
    }

    /// Quantises the layers' matrices, when that is asked for.
    pub(crate) fn quantize(&mut self, choice: Option<QuantizeChoice>, device: &CpuDevice) -> anyhow::Result<()> {
        let Some(choice @ QuantizeChoice::Nf4) = choice else { return Ok(()) };
        if device.run(|| self.model.quantize()) == 0 {
            bail!(
                "--quantize {}: {} has no matrix to quantise (they are {}); expected F32, F16 or BF16 with rows of a multiple of 64. \
                 Leave --quantize out: a model that is quantised already is trained and run as it lies",
                choice.name(),
                self.path().display(),
                self.model.source.format_names()
            );
        }
        self.quantization = Some(choice);
        Ok(())
    }

    /// What the registry advises for it, with its short name.
    pub(crate) fn advice(&self) -> Option<(&str, &Advice)> {
        self.advice.as_ref().map(|(key, advice)| (key.as_str(), advice))
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.model.source.path
    }

    /// Whether it is the one that the program holds.
    pub(crate) fn is_embedded(&self) -> bool {
        self.is_embedded
    }

    /// Shape, weights and where they came from.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The model's shape.
    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.model.config
    }

    /// The model's weights, where they lie.
    pub(crate) fn weights(&self) -> &DecoderWeights {
        &self.model.weights
    }

    /// Tokenizer and chat template.
    pub(crate) fn chat(&self) -> &Chat {
        &self.chat
    }

    /// The tokenizer.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        self.chat.tokenizer()
    }

    /// Every token that ends an answer; at least one.
    pub(crate) fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// What an adapter's manifest keeps of its base, and is compared with later.
    pub(crate) fn base_model(&self) -> BaseModel {
        BaseModel {
            // The program's own model has the same name wherever the program is.
            path: if self.is_embedded { embedded::NAME.to_owned() } else { self.path().display().to_string() },
            family: self.config().family.clone(),
            shape: shape(self.config()),
            fingerprint: self.model.source.fingerprint(),
            vocabulary_hash: self.tokenizer().vocabulary_hash(),
            template_hash: self.chat.template().hash(),
            quantization: self.quantization.map(|choice| choice.name().to_owned()),
            hub: self.hub.clone(),
        }
    }

    /// Name, size and formats, in a few words.
    pub(crate) fn summary(&self) -> String {
        let source = &self.model.source;
        let parameters = source.n_parameters as f64;
        let size = if parameters < 1e7 { format!("{:.0} thousand", parameters / 1e3) } else { format!("{:.0} million", parameters / 1e6) };
        format!("{} {}, {size} parameters, {}", self.config().family, source.name, source.format_names())
    }
}

/// The sizes that an adapter depends on, by name.
pub(crate) fn shape(config: &DecoderConfig) -> String {
    let DecoderConfig { hidden_size, intermediate_size, n_layers, n_heads, n_kv_heads, head_size, .. } = config;
    format!(
        "layers={n_layers} hidden={hidden_size} feed_forward={intermediate_size} heads={n_heads} kv_heads={n_kv_heads} head_size={head_size}"
    )
}

fn open_chat(model: &Model) -> anyhow::Result<Chat> {
    let path = &model.source.path;
    let Some(tokenizer) = &model.source.tokenizer else {
        let file = path.join("tokenizer.json");
        if !file.exists() {
            bail!(
                "{} has no tokenizer.json: expected the tokenizer's files beside the weights, as published. \
                 Fetch tokenizer.json and tokenizer_config.json of the same model into that folder",
                path.display()
            );
        }
        return Ok(Chat::new(Tokenizer::from_file(&file)?, TemplateSource::from_folder(path)?.parse()?));
    };
    let origin = path.display().to_string();
    let template = gguf_template(tokenizer, path)?;
    Ok(Chat::new(Tokenizer::from_spec(&gguf_tokenizer(tokenizer, &model.config.family), &origin)?, template.parse()?))
}

/// A GGUF file's tokenizer as the plain data that the text side takes.
fn gguf_tokenizer(tokenizer: &GgufTokenizer, family: &str) -> TokenizerSpec {
    TokenizerSpec {
        model: tokenizer.model.clone(),
        pre: tokenizer.pre.clone(),
        tokens: tokenizer.tokens.clone(),
        token_types: tokenizer.token_types.clone(),
        scores: tokenizer.scores.clone(),
        merges: tokenizer.merges.clone(),
        bos: tokenizer.bos_token_id,
        eos: tokenizer.eos_token_id,
        unk: tokenizer.unk_token_id,
        pad: tokenizer.pad_token_id,
        add_bos: tokenizer.add_bos_token,
        add_space_prefix: tokenizer.add_space_prefix,
        strip_after_control: family == "phi3" && tokenizer.model == "llama",
    }
}

/// The template in a GGUF file's metadata, or else a chat_template.jinja beside the file.
fn gguf_template(tokenizer: &GgufTokenizer, path: &Path) -> anyhow::Result<TemplateSource> {
    let word = |id: Option<u32>| id.and_then(|id| tokenizer.tokens.get(id as usize)).cloned();
    let special = SpecialTokens {
        bos: word(tokenizer.bos_token_id),
        eos: word(tokenizer.eos_token_id),
        unk: word(tokenizer.unk_token_id),
        pad: word(tokenizer.pad_token_id),
    };
    if let Some(text) = &tokenizer.chat_template {
        return Ok(TemplateSource { text: text.clone(), special, origin: path.display().to_string() });
    }
    let beside: PathBuf = if path.is_dir() { path.join("chat_template.jinja") } else { path.with_file_name("chat_template.jinja") };
    if !beside.exists() {
        return Err(dyag_text::TextError::NoTemplate { origin: path.display().to_string() }.into());
    }
    let text = fs::read_to_string(&beside).with_context(|| format!("cannot read {}", beside.display()))?;
    Ok(TemplateSource { text, special, origin: beside.display().to_string() })
}

/// The tokens that end a turn: those the model's configuration names, the one the template ends answers with, and
/// the tokenizer's `eos_token`.
fn stop_ids(config: &DecoderConfig, chat: &Chat) -> Vec<u32> {
    let mut ids: Vec<u32> = Vec::new();
    for id in config.eos_token_ids.iter().copied().chain(chat.stop_ids()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}
