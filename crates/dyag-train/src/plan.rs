//! What a run will take, computed before its first step: memory, steps, arithmetic.

use std::fmt::Write as _;

use dyag_model::adapter::Projection;
use dyag_model::config::DecoderConfig;
use dyag_model::decoder::{Checkpointing, LOGITS_BYTES};
use serde::Serialize;

use crate::config::{CheckpointingChoice, TrainConfig};
use crate::error::{TrainError, gigabytes};
use crate::memory::AvailableMemory;
use crate::order::epoch_order;
use crate::packing::{PackOptions, Sequence, pack};

/// Pack sizes that are tried, in tokens. Larger ones gain nothing: the weights' share of the work is small already.
const PACK_TOKENS: [usize; 8] = [2048, 1536, 1024, 768, 512, 384, 256, 128];
/// Without recomputation, packs of at least this many tokens are wanted.
const ENOUGH_WITHOUT_RECOMPUTATION: usize = 384;
/// The program, its tokenizer, scratch of the products.
const BASE_BYTES: u64 = 64 << 20;
/// Without a limit from the user, a run is content with this much beside the weights, or with this share of them where that is more.
const MODEST_BYTES: u64 = 1_060_000_000;
const MODEST_PERCENT: u64 = 30;
/// Memory of a chunk of logits, where there is room and where there is less.
const CHUNKS_OF_LOGITS: [usize; 2] = [LOGITS_BYTES, LOGITS_BYTES / 3];

/// What the memory plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct MemoryNeeds<'a> {
    /// The model's shape.
    pub model: &'a DecoderConfig,
    /// Bytes of its file, which are mapped and all touched.
    pub weights_bytes: u64,
    /// Trained numbers.
    pub n_parameters: usize,
    /// The adapter's largest rank; 0 where all weights are trained and there is no adapter.
    pub rank: usize,
    /// Whether the adapter has magnitudes.
    pub weight_decomposed: bool,
    /// Tokens of the longest example that go through the decoder.
    pub longest_rows: usize,
    /// Tokens of an optimiser step that go through it, at most.
    pub rows_of_a_step: usize,
    /// Bytes of an activation that products read.
    pub activation_bytes: usize,
    /// What the user asked to keep.
    pub checkpointing: CheckpointingChoice,
    /// Pack size of the run that is resumed: it decides the order of sums, so it stays.
    pub resumed_pack_tokens: Option<usize>,
}

/// Where a run's memory goes, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// The model's file, mapped, and what was quantised of it.
    pub weights_bytes: u64,
    /// Adapter, gradients and two moments.
    pub adapter_bytes: u64,
    /// What a pack's forward and backward hold.
    pub activation_bytes: u64,
    /// Logits of a chunk, scratch, the program itself.
    pub other_bytes: u64,
    /// Bytes of a chunk of logits, at most.
    pub logits_bytes: usize,
    /// Most tokens of a pack.
    pub max_pack_tokens: usize,
    /// Whether layers are computed a second time in the backward.
    pub recompute: bool,
    /// Bytes that may be used.
    pub available_bytes: u64,
    /// Where that was read.
    pub available_source: String,
}

impl MemoryPlan {
    /// All of it.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.adapter_bytes + self.activation_bytes + self.other_bytes
    }

    /// For the decoder.
    pub fn checkpointing(&self) -> Checkpointing {
        if self.recompute { Checkpointing::Layer } else { Checkpointing::None }
    }

    /// The parts, a line each.
    pub fn breakdown(&self) -> String {
        let Self { weights_bytes, adapter_bytes, activation_bytes, other_bytes, max_pack_tokens, recompute, .. } = self;
        let kept = if *recompute { "each layer's input, the rest computed twice" } else { "all that the backward needs" };
        let mut text = String::new();
        for (what, bytes) in [
            ("model weights".to_owned(), weights_bytes),
            ("adapter, gradients, moments".to_owned(), adapter_bytes),
            (format!("activations of {max_pack_tokens} tokens ({kept})"), activation_bytes),
            ("logits, scratch, the program".to_owned(), other_bytes),
        ] {
            writeln!(text, "  {:>9}  {what}", gigabytes(*bytes)).expect("a String takes everything");
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Bytes of activations a token takes, from what `dyag_model`'s layers keep and make.
///
/// `bytes` is what an activation takes that products read; `weight_decomposed` says that adapted matrices have magnitudes.
pub fn activation_bytes_per_token(model: &DecoderConfig, rank: usize, weight_decomposed: bool, bytes: usize, recompute: bool) -> u64 {
    let DecoderConfig { hidden_size: c, intermediate_size: f, n_layers, n_heads, n_kv_heads, head_size, .. } = *model;
    let (queries, keys) = (n_heads * head_size, n_kv_heads * head_size);
    // The layer's input and what attention adds to it, attention's output, gate and up; queries, keys and values; small vectors; narrow products.
    let layer_kept = bytes * (2 * c + queries + 2 * f) + 4 * (queries + 2 * keys + n_heads + 2 + 7 * rank);
    // In the backward of a layer: h and its gradient and an operand's copy, the norms' outputs and gradients, the attention's gradients.
    let layer_work = bytes * 3 * f + 4 * (6 * c + 2 * queries + 2 * keys + 4 * rank);
    // What went into the norms that some families have beside the two.
    let of_outputs = if model.output_norms { bytes * c + 4 } else { 0 };
    let of_heads = if model.head_norms { bytes * (queries + keys) + 4 * (n_heads + n_kv_heads) } else { 0 };
    // Products before their magnitudes: kept, but for the last one of a layer computed again; with them one in f32 and its gradient.
    let (stretched, stretched_last, stretching) = if weight_decomposed {
        (bytes * (queries + 2 * keys + c + 2 * f), bytes * c, 4 * (queries + 2 * keys) + bytes * 2 * f)
    } else {
        (0, 0, 0)
    };
    let (layer_kept, layer_work) = (layer_kept + stretched + 2 * of_outputs + of_heads, layer_work + stretching);
    let kept = if recompute {
        n_layers * (4 * (c + rank) + of_outputs + stretched_last) + layer_kept
    } else {
        n_layers * (layer_kept + stretched_last)
    };
    // The gathered rows of the head and their gradients, at most one a token.
    let head = 4 * 5 * c;
    (kept + layer_work + head) as u64
}

/// Chooses pack size and recomputation so that the run fits: the largest pack without recomputation, unless that makes packs too small.
pub fn plan_memory(needs: MemoryNeeds<'_>, available: &AvailableMemory, user_limit: bool) -> Result<MemoryPlan, TrainError> {
    let modest = if user_limit { u64::MAX } else { needs.weights_bytes + MODEST_BYTES.max(needs.weights_bytes / 100 * MODEST_PERCENT) };
    // What others take meanwhile is not known: a fifth of what the system has is left to them.
    let ceiling = if user_limit { available.bytes } else { available.bytes / 5 * 4 };
    let candidate = |recompute, tokens, logits| candidate(&needs, available, recompute, tokens, logits);
    let best_first = modes(needs.checkpointing);
    // What does not fit the modest limit is long: computed twice, it takes little more than the inputs of its layers.
    let least_first: Vec<bool> = best_first.iter().rev().copied().collect();
    for (limit, modes) in [(ceiling.min(modest), best_first), (ceiling, &least_first)] {
        for recompute in modes.iter().copied() {
            let optional = !recompute && needs.checkpointing == CheckpointingChoice::Auto && needs.resumed_pack_tokens.is_none();
            let least = if optional { ENOUGH_WITHOUT_RECOMPUTATION.min(needs.rows_of_a_step) } else { 0 };
            let mut plans =
                pack_sizes(&needs).into_iter().flat_map(|tokens| CHUNKS_OF_LOGITS.map(|logits| candidate(recompute, tokens, logits)));
            if let Some(plan) = plans.find(|plan| plan.total_bytes() <= limit).filter(|plan| plan.max_pack_tokens >= least) {
                return Ok(plan);
            }
        }
    }
    let recompute = needs.checkpointing != CheckpointingChoice::None;
    let smallest = candidate(recompute, pack_sizes(&needs).pop().unwrap_or(needs.longest_rows), CHUNKS_OF_LOGITS[1]);
    let advice = advice(&needs, recompute);
    Err(TrainError::Memory {
        needed: smallest.total_bytes(),
        available: ceiling,
        source_of_limit: available.source.clone(),
        breakdown: smallest.breakdown(),
        advice,
    })
}

/// What takes less memory, as a part of a sentence that begins with "Reduce".
fn advice(needs: &MemoryNeeds<'_>, recompute: bool) -> String {
    let kept = if recompute { "" } else { "what is kept (--checkpointing layer), " };
    match needs.rank {
        0 => format!(
            "{kept}--max-seq-length (and split long examples), or take an adapter (--method lora), which has fewer numbers to train, or a smaller model"
        ),
        _ => format!("{kept}--max-seq-length (and split long examples), --lora-rank, or take a smaller or more quantised model"),
    }
}

/// Whether to recompute, best first.
fn modes(choice: CheckpointingChoice) -> &'static [bool] {
    match choice {
        CheckpointingChoice::Layer => &[true],
        CheckpointingChoice::None => &[false],
        CheckpointingChoice::Auto => &[false, true],
    }
}

/// Pack sizes to try, largest first: none smaller than the longest example, none larger than a step needs but one.
fn pack_sizes(needs: &MemoryNeeds<'_>) -> Vec<usize> {
    if let Some(tokens) = needs.resumed_pack_tokens {
        return vec![tokens];
    }
    let smallest = needs.longest_rows.max(1);
    let largest = PACK_TOKENS.iter().copied().filter(|tokens| *tokens >= needs.rows_of_a_step).min().unwrap_or(PACK_TOKENS[0]);
    let mut sizes: Vec<usize> = PACK_TOKENS.into_iter().filter(|tokens| (smallest..=largest).contains(tokens)).collect();
    sizes.push(smallest);
    sizes
}

fn candidate(
    needs: &MemoryNeeds<'_>,
    available: &AvailableMemory,
    recompute: bool,
    max_pack_tokens: usize,
    logits_bytes: usize,
) -> MemoryPlan {
    let tokens = max_pack_tokens.max(needs.longest_rows) as u64;
    let activation_bytes =
        tokens * activation_bytes_per_token(needs.model, needs.rank, needs.weight_decomposed, needs.activation_bytes, recompute);
    let logits = (4 * tokens * needs.model.vocab_size as u64).min(logits_bytes as u64);
    // While a checkpoint is written, the parameters' copy and its file's bytes stand where activations and logits were.
    let saving = (8 * needs.n_parameters as u64).saturating_sub(activation_bytes + logits);
    MemoryPlan {
        weights_bytes: needs.weights_bytes,
        adapter_bytes: 16 * needs.n_parameters as u64,
        activation_bytes,
        other_bytes: BASE_BYTES + logits + saving,
        logits_bytes,
        max_pack_tokens,
        recompute,
        available_bytes: available.bytes,
        available_source: available.source.clone(),
    }
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WorkPlan {
    /// Optimiser steps of an epoch.
    pub steps_per_epoch: u64,
    /// Optimiser steps in all.
    pub total_steps: u64,
    /// Of them, warming up.
    pub warmup_steps: u64,
    /// Tokens of the data set.
    pub n_tokens: u64,
    /// Of them, learned.
    pub n_trained_tokens: u64,
    /// Tokens that go through the decoder in an epoch.
    pub n_computed_tokens: u64,
    /// Floating-point operations of an epoch, in products with weights.
    pub flops_per_epoch: f64,
}

/// Steps of an epoch and in all.
pub fn count_steps(n_examples: usize, config: &TrainConfig) -> (u64, u64) {
    let per_epoch = n_examples.div_ceil(config.examples_per_step()) as u64;
    (per_epoch, config.max_steps.unwrap_or(per_epoch * u64::from(config.epochs)))
}

/// Counts what an epoch over `sequences` computes, packed as its first one will be.
pub fn plan_work(sequences: &[Sequence], config: &TrainConfig, model: &DecoderConfig, memory: &MemoryPlan) -> WorkPlan {
    let (steps_per_epoch, total_steps) = count_steps(sequences.len(), config);
    let schedule = crate::schedule::Schedule::new(config.schedule, config.learning_rate, config.warmup_ratio, total_steps);
    let options = pack_options(config, sequences, memory.max_pack_tokens);
    let (mut n_computed_tokens, mut n_head_rows) = (0, 0);
    for indices in epoch_order(sequences.len(), config.seed, 0, config.shuffle).chunks(config.examples_per_step()) {
        let step: Vec<&Sequence> = indices.iter().map(|i| &sequences[*i]).collect();
        for pack in pack(&step, options) {
            n_computed_tokens += pack.ids.len() as u64;
            n_head_rows += pack.targets.len() as u64;
        }
    }
    let layer_weights: usize = Projection::all(model)
        .iter()
        .map(|projection| {
            let (n_in, n_out) = projection.sizes(model);
            n_in * n_out
        })
        .sum();
    // Two operations a weight forward, two for the gradient of the input, two more for computing it again.
    let passes = if memory.recompute { 6.0 } else { 4.0 };
    let layers = passes * (layer_weights * model.n_layers) as f64 * n_computed_tokens as f64;
    let head = 4.0 * (model.hidden_size * model.vocab_size) as f64 * n_head_rows as f64;
    WorkPlan {
        steps_per_epoch,
        total_steps,
        warmup_steps: schedule.warmup_steps().min(total_steps),
        n_tokens: sequences.iter().map(|s| s.n_tokens() as u64).sum(),
        n_trained_tokens: sequences.iter().map(|s| s.n_trained() as u64).sum(),
        n_computed_tokens,
        flops_per_epoch: layers + head,
    }
}

/// Most tokens of an optimiser step over `sequences`, before beginnings are shared.
pub fn largest_step_rows(sequences: &[Sequence], config: &TrainConfig) -> usize {
    let mut rows: Vec<usize> = sequences.iter().map(Sequence::n_rows).collect();
    rows.sort_unstable_by(|a, b| b.cmp(a));
    rows.iter().take(config.examples_per_step()).sum()
}

/// How the packs of a run over `sequences` are made. With dropout, and with noise on the embeddings, each example draws its own, so nothing is shared.
pub fn pack_options(config: &TrainConfig, sequences: &[Sequence], max_tokens: usize) -> PackOptions {
    let rope_length = sequences.iter().map(Sequence::n_tokens).max().unwrap_or(0);
    let share_prefixes = config.share_prefixes && config.dropout == 0.0 && config.neftune_alpha.is_none();
    PackOptions { max_tokens, share_prefixes, rope_length }
}

#[cfg(test)]
mod tests {
    use dyag_kernels::device::Activation;
    use dyag_model::config::{Rope, RopeScaling};

    use super::*;
    use crate::config::tests::example;

    /// Qwen2.5 0.5B.
    fn half_billion() -> DecoderConfig {
        DecoderConfig {
            family: "qwen2".to_owned(),
            hidden_size: 896,
            intermediate_size: 4864,
            n_layers: 24,
            n_heads: 14,
            n_kv_heads: 2,
            head_size: 64,
            vocab_size: 151_936,
            max_positions: 32_768,
            rms_norm_eps: 1e-6,
            rope: Rope { theta: 1e6, rotary_size: 64, scaling: RopeScaling::None },
            window_rope: None,
            windows: vec![None; 24],
            fused: false,
            qkv_bias: true,
            o_bias: false,
            head_norms: false,
            output_norms: false,
            attention_scale: 0.125,
            embedding_scale: 1.0,
            activation: Activation::Silu,
            tied_head: true,
            bos_token_id: None,
            eos_token_ids: vec![],
        }
    }

    fn needs(model: &DecoderConfig) -> MemoryNeeds<'_> {
        MemoryNeeds {
            model,
            weights_bytes: 491_000_000,
            n_parameters: 8_800_000,
            rank: 16,
            weight_decomposed: false,
            longest_rows: 200,
            rows_of_a_step: 3200,
            activation_bytes: 4,
            checkpointing: CheckpointingChoice::Auto,
            resumed_pack_tokens: None,
        }
    }

    fn memory(bytes: u64) -> AvailableMemory {
        AvailableMemory { bytes, source: "a test".to_owned() }
    }

    #[test]
    fn with_room_nothing_is_recomputed_and_the_plan_stays_modest() {
        let model = half_billion();
        let plan = plan_memory(needs(&model), &memory(64_000_000_000), false).expect("fits");
        assert!(!plan.recompute && plan.max_pack_tokens >= ENOUGH_WITHOUT_RECOMPUTATION, "{plan:?}");
        assert!(plan.total_bytes() < 2_500_000_000, "{plan:?}");
        // The user's own limit is used to the full.
        let generous = plan_memory(needs(&model), &memory(64_000_000_000), true).expect("fits");
        assert_eq!((generous.max_pack_tokens, generous.recompute), (2048, false));
    }

    #[test]
    fn long_examples_take_little_more_than_the_inputs_of_their_layers() {
        let model = half_billion();
        let plan = |longest_rows| {
            let needs = MemoryNeeds { longest_rows, rows_of_a_step: longest_rows, ..needs(&model) };
            plan_memory(needs, &memory(64_000_000_000), false).expect("fits")
        };
        let (long, longer) = (plan(8192), plan(16_384));
        assert!(long.recompute && longer.recompute, "{long:?} {longer:?}");
        // The inputs of 24 layers, and what one layer needs while it is gone through.
        assert!(longer.total_bytes() - long.total_bytes() < 8192 * (24 * 4 * 896) * 3, "{long:?} {longer:?}");
    }

    #[test]
    fn with_less_room_layers_are_recomputed_then_packs_shrink() {
        let model = half_billion();
        let plan = plan_memory(needs(&model), &memory(1_050_000_000), true).expect("fits");
        assert!(plan.recompute && plan.total_bytes() <= 1_050_000_000, "{plan:?}");
        let smaller = plan_memory(needs(&model), &memory(860_000_000), true).expect("fits");
        assert!(smaller.recompute && smaller.max_pack_tokens < plan.max_pack_tokens, "{smaller:?}");
    }

    #[test]
    fn what_cannot_fit_is_refused_with_numbers_and_advice() {
        let model = half_billion();
        let error = plan_memory(needs(&model), &memory(600_000_000), true).expect_err("refused").to_string();
        for fragment in ["0.60 GB", "0.49 GB", "a test", "--max-seq-length", "--memory-limit"] {
            assert!(error.contains(fragment), "no {fragment:?} in: {error}");
        }
        let all = plan_memory(MemoryNeeds { rank: 0, ..needs(&model) }, &memory(600_000_000), true).expect_err("refused").to_string();
        assert!(all.contains("--method lora") && !all.contains("--lora-rank"), "{all}");
        let kept = MemoryNeeds { checkpointing: CheckpointingChoice::None, ..needs(&model) };
        assert!(plan_memory(kept, &memory(900_000_000), true).expect_err("refused").to_string().contains("--checkpointing layer"));
    }

    #[test]
    fn magnitudes_take_memory() {
        let model = half_billion();
        let with = MemoryNeeds { weight_decomposed: true, checkpointing: CheckpointingChoice::None, ..needs(&model) };
        let without = MemoryNeeds { weight_decomposed: false, ..with };
        let [with, without] = [with, without].map(|needs| plan_memory(needs, &memory(64_000_000_000), true).expect("fits"));
        // In each layer, q, k, v, o and down of 896 channels or fewer, gate and up, once more.
        let per_token = (with.activation_bytes - without.activation_bytes) / with.max_pack_tokens as u64;
        assert!(per_token > 24 * 4 * (2 * 4864 + 896) && with.max_pack_tokens == without.max_pack_tokens, "{with:?} {without:?}");
    }

    #[test]
    fn a_resumed_run_keeps_its_packs() {
        let model = half_billion();
        let resumed = MemoryNeeds { resumed_pack_tokens: Some(768), ..needs(&model) };
        for available in [1_400_000_000, 64_000_000_000] {
            assert_eq!(plan_memory(resumed, &memory(available), true).expect("fits").max_pack_tokens, 768);
        }
    }

    #[test]
    fn steps_are_counted_as_batches_fall() {
        let config = example();
        assert_eq!(count_steps(120, &config), (8, 24));
        assert_eq!(count_steps(128, &config), (8, 24));
        assert_eq!(count_steps(1, &config), (1, 3));
        assert_eq!(count_steps(120, &TrainConfig { max_steps: Some(10), ..config }), (8, 10));
    }
}
