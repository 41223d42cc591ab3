//! Encoders, embedders and rerankers of this machine behind the traits that judges and searches know, and the flags that choose one.

mod decoder;
mod judge;
mod local;
mod reranker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use dyag_eval::metrics::{Encoders, metric};
use dyag_eval::results::{Results, SetMetrics};
use dyag_kernels::cpu_device::CpuDevice;
use dyag_model::config::{FolderKind, folder_kind};
use dyag_text::dataset::Questions;
use dyag_text::{Embedder, EncoderTokenizer, Reranker};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::PrecisionChoice;
use crate::engine::EngineArgs;
use crate::language::say;
use crate::terminal;

pub(crate) use local::LocalEncoder;

/// Opens the embedder in `folder`, whichever kind of model it is: an encoder, or a decoder whose folder says how its states become a vector.
///
/// # Errors
/// When the folder's files cannot be read, do not belong together, or ask for what is not done here.
pub(crate) fn open_embedder(folder: &Path, device: CpuDevice) -> anyhow::Result<Box<dyn Embedder + Send + Sync>> {
    if folder.is_file() {
        bail!(
            "expected the folder of an embedding model (config.json, tokenizer.json and weights), found a file; a language model in a GGUF file makes no vectors"
        );
    }
    Ok(match folder_kind(folder)? {
        FolderKind::Encoder => Box::new(LocalEncoder::open(folder, None, device)?),
        FolderKind::Decoder => Box::new(decoder::DecoderEmbedder::open(folder, device)?),
    })
}

/// Opens the reranker at `path`: the folder of a cross-encoder with one label, or a language model (a folder or a GGUF file; see `judge.rs`). A cross-encoder computes in f32.
///
/// # Errors
/// As [`open_embedder`]; a language model without a chat template.
pub(crate) fn open_reranker(path: &Path, engine: EngineArgs) -> anyhow::Result<Box<dyn Reranker + Send + Sync>> {
    Ok(match path.is_dir().then(|| folder_kind(path)).transpose()? {
        Some(FolderKind::Encoder) => {
            let engine = EngineArgs { precision: PrecisionChoice::F32, ..engine };
            Box::new(reranker::LocalReranker::open(path, engine.open()?)?)
        }
        Some(FolderKind::Decoder) | None => Box::new(judge::JudgingModel::open(path, engine)?),
    })
}

/// The tokenizer of the model in `folder`, none of whose ids is beyond the rows of the model's embedding.
fn open_tokenizer(folder: &Path, vocab_size: usize) -> anyhow::Result<EncoderTokenizer> {
    let tokenizer = EncoderTokenizer::from_file(&folder.join("tokenizer.json"))?;
    if tokenizer.id_limit() > vocab_size {
        bail!(
            "{}: expected ids below {vocab_size}, the rows of the model's embedding, found {}: tokenizer and model do not belong together",
            tokenizer.origin(),
            tokenizer.id_limit() - 1
        );
    }
    Ok(tokenizer)
}

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
    /// Whether answers are scored with an encoder.
    pub(crate) fn is_named(&self) -> bool {
        self.encoder.is_some()
    }

    /// The encoder these ask for. It computes in f32 whatever the engine is told, so that scores are the same on every machine to rounding.
    pub(crate) fn open(&self, engine: EngineArgs) -> anyhow::Result<Option<LocalEncoder>> {
        let Self { encoder, encoder_layer } = self;
        let Some(folder) = encoder else { return Ok(None) };
        let device = EngineArgs { precision: PrecisionChoice::F32, ..engine }.open()?;
        let encoder = crate::model_name::resolve(&folder.to_string_lossy())
            .and_then(|found| LocalEncoder::open(&found.path, *encoder_layer, device))
            .with_context(|| format!("--encoder {}", folder.display()))?;
        terminal::note(say!("encoder: {}", "encodeur : {}", encoder.summary()));
        Ok(Some(encoder))
    }
}

impl LocalEncoder {
    /// Adds BERTScore and similarity to rows and figures.
    pub(crate) fn score(&self, results: &mut Results, questions: &Questions) -> anyhow::Result<()> {
        let expected: Vec<&str> = questions.questions.iter().filter_map(|question| question.expected_answer.as_deref()).collect();
        let progress = Progress::new();
        Encoders { tokens: self, texts: self }.score(results, &expected, &mut |done, all| progress.show(done, all))?;
        progress.end();
        Ok(())
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
        let bar = terminal::draws_bars().then(|| {
            let style = ProgressStyle::with_template(&say!(
                "{{bar:24}} {{pos}}/{{len}} texts scored by the encoder, {{eta}} left",
                "{{bar:24}} {{pos}}/{{len}} textes notés par l'encodeur, encore {{eta}}"
            ));
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
                terminal::note(say!("{done} of {all} texts scored by the encoder", "{done} textes sur {all} notés par l'encodeur"));
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
mod retrieval_tests;
