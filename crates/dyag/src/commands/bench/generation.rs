//! Reading a prompt, writing one answer, writing many at a time.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::bail;
use dyag_kernels::{Device, WeightMatrix};
use dyag_model::decoder::{Decoder, GenerateLimits, SamplingOptions};
use dyag_model::weights::{GateUpWeights, QkvWeights};
use dyag_text::{ControlWords, Dataset};
use serde::Serialize;

use super::median;
use crate::model_files::ModelFiles;

/// Tokens of the prompt, and tokens that are written after it.
const PROMPT: usize = 481;
const NEW: usize = 64;
/// Answers at a time.
const STREAMS: usize = 32;

/// Medians over the runs.
#[derive(Debug, Serialize)]
pub(super) struct Generation {
    pub(super) prompt_tokens: usize,
    /// Tokens of the prompt a second.
    pub(super) prefill_tokens_a_second: f64,
    /// New tokens a second of one answer.
    pub(super) decode_tokens_a_second: f64,
    /// Bytes of weights that a new token reads, a second, as a share of what memory gives.
    pub(super) decode_share_of_memory: f64,
    /// Answers at a time, and their new tokens a second together.
    pub(super) streams: usize,
    pub(super) streams_tokens_a_second: f64,
}

/// Times generation after a prompt made of the dataset's text, or of the ids from 0 on.
pub(super) fn measure<D: Device>(
    decoder: &Decoder<D>,
    files: &ModelFiles,
    dataset: Option<&Path>,
    runs: usize,
    memory_gigabytes_a_second: f64,
) -> anyhow::Result<Generation> {
    let prompt = prompt(files, dataset)?;
    let alone = [prompt.clone()];
    // Streams differ in their last token, so that they share all but that.
    let many: Vec<Vec<u32>> = (0..STREAMS as u32)
        .map(|i| {
            let mut prompt = prompt.clone();
            prompt.push(i);
            prompt
        })
        .collect();
    if prompt.len() + NEW >= files.config().max_positions {
        bail!(
            "{}: expected a model of at least {} positions to write {NEW} tokens after a prompt, found {}",
            files.path().display(),
            NEW + 3,
            files.config().max_positions
        );
    }
    let (mut prefill, mut decode, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..=runs {
        let one = time(decoder, &alone, 1)?;
        let all = time(decoder, &many, STREAMS)?;
        // The first warms up.
        if run > 0 {
            prefill.push(prompt.len() as f64 / one.to_first);
            decode.push((NEW - 1) as f64 / one.after_first);
            streams.push((STREAMS * (NEW - 1)) as f64 / all.after_first);
        }
    }
    let decode = median(decode);
    Ok(Generation {
        prompt_tokens: prompt.len(),
        prefill_tokens_a_second: median(prefill),
        decode_tokens_a_second: decode,
        decode_share_of_memory: decode * weight_bytes(files) / (memory_gigabytes_a_second * 1e9),
        streams: STREAMS,
        streams_tokens_a_second: median(streams),
    })
}

/// Seconds until every sequence has its first token, and from then to the end.
struct Times {
    to_first: f64,
    after_first: f64,
}

fn time<D: Device>(decoder: &Decoder<D>, prompts: &[Vec<u32>], batch: usize) -> anyhow::Result<Times> {
    let limits = GenerateLimits { max_new_tokens: NEW, stop_ids: Vec::new(), batch, numbers: Vec::new(), scored: false };
    let start = Instant::now();
    let (mut n_first, mut to_first) = (0, 0.0);
    let mut started = vec![false; prompts.len()];
    decoder.generate(None, prompts, &SamplingOptions::GREEDY, &limits, &mut |sequence, _| {
        if !std::mem::replace(&mut started[sequence], true) {
            n_first += 1;
            if n_first == prompts.len() {
                to_first = start.elapsed().as_secs_f64();
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(Times { to_first, after_first: start.elapsed().as_secs_f64() - to_first })
}

fn prompt(files: &ModelFiles, dataset: Option<&Path>) -> anyhow::Result<Vec<u32>> {
    let mut ids: Vec<u32> = Vec::new();
    if let Some(dataset) = dataset {
        for conversation in Dataset::read(dataset)?.conversations {
            for message in conversation.messages {
                ids.extend(files.tokenizer().encode(&message.content, ControlWords::AsText)?.ids);
            }
            if ids.len() >= PROMPT {
                break;
            }
        }
    }
    let vocab_size = files.config().vocab_size as u32;
    ids.extend((0..PROMPT as u32).map(|i| i % vocab_size));
    // A model of few positions gets a shorter prompt.
    ids.truncate(PROMPT.min(files.config().max_positions.saturating_sub(NEW + 2)).max(1));
    Ok(ids)
}

/// Bytes of all matrices that a token meets.
fn weight_bytes(files: &ModelFiles) -> f64 {
    let weights = files.weights();
    let bytes = |matrices: &[&WeightMatrix]| matrices.iter().map(|matrix| matrix.bytes().len()).sum::<usize>();
    let layers: usize = weights
        .layers
        .iter()
        .map(|layer| {
            let qkv = match &layer.qkv {
                QkvWeights::Separate { q, k, v, .. } => bytes(&[q, k, v]),
                QkvWeights::Fused(qkv) => bytes(&[qkv]),
            };
            let gate_up = match &layer.gate_up {
                GateUpWeights::Separate { gate, up } => bytes(&[gate, up]),
                GateUpWeights::Fused(gate_up) => bytes(&[gate_up]),
            };
            qkv + gate_up + bytes(&[&layer.o, &layer.down])
        })
        .sum();
    (layers + bytes(&[&weights.head])) as f64
}
