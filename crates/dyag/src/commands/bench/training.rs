//! Optimiser steps as `dyag finetune` makes them by default, with shared beginnings and without.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail};
use dyag_kernels::Device;
use dyag_model::adapter::{Adapter, AdapterConfig, Projection};
use dyag_model::decoder::{Decoder, DeviceAdapter, Pack};
use dyag_text::{Dataset, ExampleOptions, LossTokens, Truncation};
use dyag_train::config::CheckpointingChoice;
use dyag_train::memory::{self, AvailableMemory};
use dyag_train::optimizer::{AdamW, AdamWSettings};
use dyag_train::packing::{PackOptions, Sequence, pack};
use dyag_train::plan::{MemoryNeeds, plan_memory};
use dyag_train::step::{GradientOptions, norm_and_scale, summed_gradients};
use serde::Serialize;

use super::{median, seconds};
use crate::model_files::ModelFiles;

/// Conversations of a step: four at a time, four times.
const EXAMPLES_A_STEP: usize = 16;
/// Longest example, in tokens.
const MAX_TOKENS: usize = 512;
const RANK: usize = 16;

/// One way to train.
#[derive(Debug, Serialize)]
pub(super) struct Training {
    /// Whether beginnings that examples share are computed once a pack.
    pub(super) shared_prefixes: bool,
    /// Median over the steps of the data set's tokens a second.
    pub(super) tokens_a_second: f64,
    /// Of the tokens that went through the decoder.
    pub(super) computed_tokens_a_second: f64,
    /// In products with frozen weights, four operations a weight and token, recomputation not counted: 10^9 a second.
    pub(super) gflops: f64,
    /// Whether layers were computed a second time.
    pub(super) recompute: bool,
    pub(super) steps: usize,
}

/// Times `runs` steps of each kind, alternately.
pub(super) fn measure<D: Device>(
    decoder: &Decoder<D>,
    files: &ModelFiles,
    dataset: &Path,
    loss: LossTokens,
    runs: usize,
) -> anyhow::Result<Vec<Training>> {
    let options = ExampleOptions { loss, max_tokens: Some(MAX_TOKENS), truncation: Truncation::Truncate, date: None };
    let examples = files.chat().examples(&Dataset::read(dataset)?.conversations, &options)?;
    if examples.is_empty() {
        bail!("{}: expected conversations to train on, found none", dataset.display());
    }
    let sequences: Vec<Sequence> = examples.iter().map(Sequence::from).collect();
    // The steps take the examples in order, from the first again when they are through.
    let step_of = |step: usize| -> Vec<&Sequence> {
        (0..EXAMPLES_A_STEP.min(sequences.len())).map(|i| &sequences[(step * EXAMPLES_A_STEP + i) % sequences.len()]).collect()
    };
    let adapter_config = AdapterConfig::new(Projection::all(files.config()), RANK, 2.0 * RANK as f64);
    let initial = Adapter::init(files.config(), &adapter_config, 42)?;
    let needs = MemoryNeeds {
        model: files.config(),
        weights_bytes: files.model().source.n_bytes,
        n_parameters: initial.n_parameters(),
        rank: RANK,
        weight_decomposed: false,
        longest_rows: sequences.iter().map(Sequence::n_rows).max().unwrap_or(0),
        rows_of_a_step: (0..runs).map(|step| step_of(step).iter().map(|s| s.n_rows()).sum()).max().unwrap_or(0),
        activation_bytes: decoder.device().activation_bytes(),
        checkpointing: CheckpointingChoice::Auto,
        resumed_pack_tokens: None,
    };
    let unknown = || AvailableMemory { bytes: u64::MAX, source: "this system does not say how much memory it has".to_owned() };
    let plan = plan_memory(needs, &memory::available().unwrap_or_else(unknown), false).context("training does not fit")?;

    let device = &**decoder.device();
    let mut adapter = DeviceAdapter::upload(device, &initial);
    let mut gradients = DeviceAdapter::zeros_like(device, &adapter);
    let mut optimizer = AdamW::new(device, &adapter, AdamWSettings { weight_decay: 0.0, b_ratio: 1.0 });
    let mut take_step = |packs: &[Pack]| {
        let options = GradientOptions { checkpointing: plan.checkpointing(), dropout: 0.0, seed: 42, step: 0 };
        let sum = summed_gradients(decoder, &adapter, packs, options, &mut gradients, &AtomicBool::new(false)).expect("nobody stops it");
        let (_, scale) = norm_and_scale(gradients.sum_of_squares(device), sum.n_tokens, 0.3);
        optimizer.step(device, &mut adapter, &gradients, 2e-4, scale as f32);
    };
    let mut measured: [Vec<[f64; 3]>; 2] = Default::default();
    for step in 0..=runs {
        for (share_prefixes, measured) in [true, false].into_iter().zip(&mut measured) {
            let step_sequences = step_of(step);
            let packs = pack(&step_sequences, PackOptions { max_tokens: plan.max_pack_tokens, share_prefixes, rope_length: 0 });
            let seconds = seconds(|| take_step(&packs));
            // The first warms up.
            if step > 0 {
                let tokens: usize = step_sequences.iter().map(|sequence| sequence.n_tokens()).sum();
                let (rows, head_rows) = packs.iter().fold((0, 0), |(rows, head), pack| (rows + pack.ids.len(), head + pack.targets.len()));
                measured.push([tokens as f64 / seconds, rows as f64 / seconds, flops(files, rows, head_rows) / seconds / 1e9]);
            }
        }
    }
    let medians = [true, false].into_iter().zip(&measured).map(|(shared_prefixes, measured)| {
        let middle = |which: usize| median(measured.iter().map(|rates| rates[which]).collect());
        let [tokens_a_second, computed_tokens_a_second, gflops] = [0, 1, 2].map(middle);
        Training { shared_prefixes, tokens_a_second, computed_tokens_a_second, gflops, recompute: plan.recompute, steps: runs }
    });
    Ok(medians.collect())
}

/// Operations of a step in products with frozen weights: two forward and two backward for each weight that a row meets.
fn flops(files: &ModelFiles, rows: usize, head_rows: usize) -> f64 {
    let config = files.config();
    let layer: usize = Projection::all(config).iter().map(|projection| projection.sizes(config)).map(|(n_in, n_out)| n_in * n_out).sum();
    4.0 * ((layer * config.n_layers) as f64 * rows as f64 + (config.hidden_size * config.vocab_size) as f64 * head_rows as f64)
}
