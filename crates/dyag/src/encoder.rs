//! An encoder of this machine behind the traits that judges and searches know, and the flags that choose one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use dyag_eval::metrics::{Encoders, layer_of, metric};
use dyag_eval::results::{Results, SetMetrics};
use dyag_kernels::Device as _;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_model::encoder::{EmbeddingRecipe, Encoder, TokenizedText, model_max_length, pool};
use dyag_model::weights::EncoderModel;
use dyag_text::dataset::Questions;
use dyag_text::language_model::ModelFailure;
use dyag_text::{EachText, Embedder, EncoderTokenizer, EncoderTokens, TextRole, TokenEncoder, TokenVectors};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::PrecisionChoice;
use crate::engine::EngineArgs;
use crate::terminal;

/// Which encoder judges, as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct EncoderArgs {
    /// Score answers with an encoder as well: the folder of a BERT, RoBERTa or XLM-R model (BERTScore and embedding similarity)
    #[arg(long, value_name = "DIR")]
    encoder: Option<PathBuf>,

    /// Layer whose vectors BERTScore compares; bert-score's choice for models it knows, else three quarters of the way up
    #[arg(long, value_name = "N", requires = "encoder")]
    encoder_layer: Option<usize>,
}

impl EncoderArgs {
    /// The encoder these ask for. It computes in f32 whatever the engine is told, so that scores are the same on every machine to rounding.
    pub(crate) fn open(&self, engine: EngineArgs) -> anyhow::Result<Option<LocalEncoder>> {
        let Self { encoder, encoder_layer } = self;
        let Some(folder) = encoder else { return Ok(None) };
        let device = EngineArgs { precision: PrecisionChoice::F32, ..engine }.open()?;
        let encoder = crate::model_name::resolve(&folder.to_string_lossy())
            .and_then(|found| LocalEncoder::open(&found.path, *encoder_layer, device))
            .with_context(|| format!("--encoder {}", folder.display()))?;
        terminal::note(format!("encoder: {}", encoder.summary()));
        Ok(Some(encoder))
    }
}

/// An encoder with its tokenizer, and how its vectors are made.
pub(crate) struct LocalEncoder {
    name: String,
    /// The beginning of the hash of all weights.
    hash: String,
    tokenizer: EncoderTokenizer,
    encoder: Encoder<CpuDevice>,
    recipe: EmbeddingRecipe,
    /// Layer that BERTScore looks at.
    layer: usize,
    /// Longest text of BERTScore, in tokens.
    longest: usize,
}

impl LocalEncoder {
    /// Loads the model in `folder`.
    pub(crate) fn open(folder: &Path, layer: Option<usize>, device: CpuDevice) -> anyhow::Result<Self> {
        let model = EncoderModel::load(folder)?;
        let recipe = EmbeddingRecipe::read(folder, &model.config)?;
        let tokenizer = EncoderTokenizer::from_file(&folder.join("tokenizer.json"))?;
        let (n_layers, vocab_size) = (model.config.n_layers, model.config.vocab_size);
        if tokenizer.id_limit() > vocab_size {
            bail!(
                "{}: expected ids below {vocab_size}, the rows of the model's embedding, found {}: tokenizer and model do not belong together",
                tokenizer.origin(),
                tokenizer.id_limit() - 1
            );
        }
        let name = model.source.name.clone();
        let layer = layer.unwrap_or_else(|| layer_of(&name, n_layers));
        if layer > n_layers {
            bail!("--encoder-layer: expected at most {n_layers}, the layers of {name}, found {layer}");
        }
        let longest = model_max_length(folder)?.unwrap_or(usize::MAX).min(model.config.max_tokens());
        let hash = model.source.content_hash()[..12].to_owned();
        let encoder = Encoder::new(Arc::new(device), &model.config, &model.weights);
        Ok(Self { name, hash, tokenizer, encoder, recipe, layer, longest })
    }

    /// What it is and what was chosen for it, for people.
    fn summary(&self) -> String {
        let config = self.encoder.config();
        let pooling: Vec<&str> = self.recipe.pooling.iter().map(|kind| kind.name()).collect();
        format!(
            "{} ({}, {} layers of {}), BERTScore after layer {}, vectors by {} ({})",
            self.name,
            config.family,
            config.n_layers,
            config.hidden_size,
            self.layer,
            pooling.join(" and "),
            self.recipe.origin
        )
    }

    /// Adds BERTScore and similarity to rows and figures.
    pub(crate) fn score(&self, results: &mut Results, questions: &Questions) -> anyhow::Result<()> {
        let expected: Vec<&str> = questions.questions.iter().filter_map(|question| question.expected_answer.as_deref()).collect();
        let progress = Progress::new();
        Encoders { tokens: self, texts: self }.score(results, &expected, &mut |done, all| progress.show(done, all))?;
        progress.end();
        Ok(())
    }

    fn failure(&self, problem: String) -> ModelFailure {
        ModelFailure { model: self.name.clone(), problem, fatal: true }
    }

    fn tokens(&self, texts: &[String], longest: usize) -> Result<Vec<EncoderTokens>, ModelFailure> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokens = self.encoder.device().run(|| self.tokenizer.encode(&texts, longest));
        tokens.map_err(|error| self.failure(error.to_string()))
    }

    /// Gives the states of each text's tokens after `layer` layers to `each`.
    fn visit(&self, tokens: &[EncoderTokens], layer: usize, each: &mut dyn FnMut(usize, &[f32])) -> Result<(), ModelFailure> {
        let n_types = self.encoder.config().n_token_types;
        let texts: Vec<TokenizedText<'_>> = tokens
            .iter()
            .map(|EncoderTokens { ids, types, .. }| {
                // Models of one type have tokenizers that count two.
                let types = if types.iter().all(|kind| (*kind as usize) < n_types) { &types[..] } else { &[] };
                TokenizedText { ids, types }
            })
            .collect();
        let mut bad = None;
        self.encoder.visit(&texts, layer, &mut |text, states| {
            if states.iter().all(|value| value.is_finite()) {
                each(text, states);
                return ControlFlow::Continue(());
            }
            bad = Some(text);
            ControlFlow::Break(())
        });
        match bad {
            None => Ok(()),
            Some(text) => Err(self.failure(format!(
                "expected finite numbers after layer {layer}, found others, for a text of {} tokens: the weights are damaged",
                texts[text].ids.len()
            ))),
        }
    }
}

impl TokenEncoder for LocalEncoder {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn signature(&self) -> String {
        format!("model:{}@{}|layer:{}|longest:{}", self.name, self.hash, self.layer, self.longest)
    }

    fn encode_tokens(&self, texts: &[&str], each: &mut EachText<'_>) -> Result<(), ModelFailure> {
        let special = self.tokenizer.special_ids();
        let texts: Vec<String> = texts.iter().map(|text| self.for_bertscore(text)).collect();
        let tokens = self.tokens(&texts, self.longest)?;
        let width = self.encoder.config().hidden_size;
        self.visit(&tokens, self.layer, &mut |text, states| {
            let counts = tokens[text].ids.iter().map(|id| !special.contains(id)).collect();
            each(text, TokenVectors { width, values: states.to_vec(), counts });
        })
    }
}

impl LocalEncoder {
    /// A text as bert-score gives it to the tokenizer: without the white space around it (Python's, which has four separators more than Unicode's), and where words carry the space before them,
    /// with one before the first.
    fn for_bertscore(&self, text: &str) -> String {
        let text = text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c));
        let space = if self.tokenizer.is_byte_level() && !text.is_empty() { " " } else { "" };
        format!("{space}{text}")
    }
}

impl Embedder for LocalEncoder {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn signature(&self) -> String {
        let EmbeddingRecipe { pooling, normalize, max_tokens, lower_case, plain_prompt, origin: _, query_prompt: _, document_prompt: _ } =
            &self.recipe;
        let pooling: Vec<&str> = pooling.iter().map(|kind| kind.name()).collect();
        let case = if *lower_case { "|case:lower" } else { "" };
        let norm = if *normalize { "l2" } else { "none" };
        format!(
            "model:{}@{}|pool:{}|norm:{norm}|longest:{max_tokens}|prompt:{plain_prompt:?}{case}",
            self.name,
            self.hash,
            pooling.join("+")
        )
    }

    fn dimension(&self) -> usize {
        self.recipe.pooling.len() * self.encoder.config().hidden_size
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let EmbeddingRecipe { pooling, normalize, max_tokens, lower_case, .. } = &self.recipe;
        let prompt = match role {
            TextRole::Query => &self.recipe.query_prompt,
            TextRole::Document => &self.recipe.document_prompt,
            TextRole::Plain => &self.recipe.plain_prompt,
        };
        let prepared = |text: &&str| {
            let text = format!("{prompt}{text}");
            if *lower_case { text.to_lowercase() } else { text }
        };
        let tokens = self.tokens(&texts.iter().map(prepared).collect::<Vec<String>>(), *max_tokens)?;
        let config = self.encoder.config();
        let mut vectors = vec![Vec::new(); texts.len()];
        self.visit(&tokens, config.n_layers, &mut |text, states| vectors[text] = pool(states, config.hidden_size, pooling, *normalize))?;
        Ok(vectors)
    }
}

/// Prints the encoder's figures over a set, those worth a line.
pub(crate) fn print_headlines(metrics: &SetMetrics) -> anyhow::Result<()> {
    let labels = BTreeMap::from([
        ("bertscore_MODEL_f1", "BERTScore F1"),
        ("bertscore_MODEL_f1_rescaled", "BERTScore F1, rescaled"),
        ("similarity_MODEL", "embedding similarity"),
        ("similarity_MODEL_rescaled", "similarity, rescaled"),
    ]);
    for (name, value) in &metrics.values {
        if let Some(label) = metric(name).and_then(|known| labels.get(known.name)) {
            terminal::print_line(format!("  {label:<28} {:>6.1} %", 100.0 * value))?;
        }
    }
    Ok(())
}

/// A bar on a terminal, a line every ten seconds elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    told: std::cell::Cell<Instant>,
}

impl Progress {
    fn new() -> Self {
        let bar = terminal::stderr_is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} texts scored by the encoder, {eta} left");
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, told: Instant::now().into() }
    }

    fn show(&self, done: usize, all: usize) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(all as u64);
                bar.set_position(done as u64);
            }
            None if self.told.get().elapsed().as_secs() >= 10 => {
                self.told.set(Instant::now());
                terminal::note(format!("{done} of {all} texts scored by the encoder"));
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

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
