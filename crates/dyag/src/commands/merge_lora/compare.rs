//! What merging changed: the merged model beside its base with the adapter, on a text, both in f32.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use dyag_kernels::Precision;
use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::device::AttentionSpan;
use dyag_model::Model;
use dyag_model::adapter::Adapter;
use dyag_model::decoder::{Decoder, DeviceAdapter, Pack};
use dyag_text::ControlWords;
use serde::Serialize;

use crate::exported::Exported;
use crate::language::say;
use crate::progress::Progress;

/// Tokens of a piece of the text; each piece begins anew. Two lists of logits exist for it: 156 MB each for Qwen's 151,936 tokens.
const WINDOW: usize = 256;

/// How far two models are apart on a text.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    /// Predicted tokens.
    pub(super) tokens: usize,
    /// Mean of KL(unmerged || merged) over them.
    pub(super) mean_kl_nats: f64,
    pub(super) largest_kl_nats: f64,
    pub(super) perplexity_unmerged: f64,
    pub(super) perplexity_merged: f64,
    /// Share of places where both find the same token likeliest.
    pub(super) same_likeliest: f64,
}

/// The text of a file.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the text to compare on, {}", path.display()))?;
    if text.trim().is_empty() {
        bail!("{} is empty: expected a text to compare on", path.display());
    }
    Ok(text)
}

/// Compares the merged model in `folder` with its base and adapter.
pub(super) fn run(exported: &Exported, adapter: &Adapter, folder: &Path, text: &str) -> anyhow::Result<Comparison> {
    let merged = Model::load(folder).context("the merged model cannot be read back")?;
    let ids = exported.files.tokenizer().encode(text, ControlWords::AsText)?.ids;
    if ids.len() < 2 {
        bail!("the text to compare on has {} tokens: expected two at least", ids.len());
    }
    let options = CpuOptions { precision: Precision::F32, threads: None, level: None, int8_activations: false };
    let device = Arc::new(CpuDevice::new(options).context("cannot start the threads to compute with")?);
    let pair = DeviceAdapter::upload(&*device, adapter);
    let unmerged = Decoder::new(Arc::clone(&device), exported.files.config(), exported.files.weights());
    let merged = Decoder::new(Arc::clone(&device), &merged.config, &merged.weights);
    let window = WINDOW.min(exported.files.config().max_positions);
    let vocab_size = exported.files.config().vocab_size;
    let progress = Progress::new(ids.len(), say!("tokens compared", "jetons comparés"));
    let mut sums = Sums::default();
    for piece in ids.chunks(window).filter(|piece| piece.len() > 1) {
        let pack = Pack {
            ids: piece.to_vec(),
            positions: (0..piece.len() as u32).collect(),
            spans: vec![AttentionSpan { queries: 0..piece.len(), prefix: 0..0, own: 0..piece.len() }],
            ..Pack::default()
        };
        // The last token predicts what is in the next piece.
        let rows: Vec<usize> = (0..piece.len() - 1).collect();
        let both = [unmerged.logits(Some(&pair), &pack, &rows), merged.logits(None, &pack, &rows)];
        for (row, (p, q)) in both[0].chunks(vocab_size).zip(both[1].chunks(vocab_size)).enumerate() {
            sums.add(p, q, piece[row + 1] as usize);
        }
        progress.done(piece.len());
        progress.tell();
    }
    progress.end();
    Ok(sums.finish())
}

#[derive(Default)]
struct Sums {
    n: usize,
    kl: f64,
    largest_kl: f64,
    nats: [f64; 2],
    same: usize,
}

impl Sums {
    /// Adds a place with the logits of both models and the token that follows.
    fn add(&mut self, p: &[f32], q: &[f32], next: usize) {
        let (log_p, log_q) = (log_sum_exp(p), log_sum_exp(q));
        let difference = |(p, q): (&f32, &f32)| {
            let (p, q) = (f64::from(*p) - log_p, f64::from(*q) - log_q);
            p.exp() * (p - q)
        };
        // Rounding may bring a sum that is never negative below zero.
        let kl = p.iter().zip(q).map(difference).sum::<f64>().max(0.0);
        self.n += 1;
        self.kl += kl;
        self.largest_kl = self.largest_kl.max(kl);
        self.nats[0] += log_p - f64::from(p[next]);
        self.nats[1] += log_q - f64::from(q[next]);
        self.same += usize::from(likeliest(p) == likeliest(q));
    }

    fn finish(self) -> Comparison {
        let n = self.n as f64;
        Comparison {
            tokens: self.n,
            mean_kl_nats: self.kl / n,
            largest_kl_nats: self.largest_kl,
            perplexity_unmerged: (self.nats[0] / n).exp(),
            perplexity_merged: (self.nats[1] / n).exp(),
            same_likeliest: self.same as f64 / n,
        }
    }
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest + logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum::<f64>().ln()
}

fn likeliest(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    best
}
