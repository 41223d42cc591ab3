//! Token sequences laid end to end for one pass.

use std::ops::Range;

use dyag_kernels::device::AttentionSpan;
use dyag_kernels::random::bits;

/// Tokens of several examples laid end to end, without padding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pack {
    /// Token ids `[T]`.
    pub ids: Vec<u32>,
    /// Position of each token in its own sequence `[T]`.
    pub positions: Vec<u32>,
    /// Who attends to whom. Every row is a query of exactly one span.
    pub spans: Vec<AttentionSpan>,
    /// The length that decides between Phi-3's two lists of divisors, unless the pack holds a longer sequence: Transformers takes the longest of a batch. A training run has
    /// that of all its examples, so that packing does not show.
    pub rope_length: usize,
    /// What is learned, in any order; a row may occur several times (a shared prefix predicts each example's next token).
    pub targets: Vec<Target>,
    /// Noise on the embeddings, in training passes alone (NEFTune, Jain et al. 2023).
    pub noise: Vec<Noise>,
}

/// Noise on the embeddings of some rows: uniform in ±magnitude, a function of `seed` and of a row's place among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// The rows: those of one example.
    pub rows: Range<usize>,
    /// The largest value.
    pub magnitude: f32,
    /// Decides the values.
    pub seed: u64,
}

impl Noise {
    /// The noise `[rows, C]`.
    pub fn values(&self, channels: usize) -> impl Iterator<Item = f32> {
        let Self { rows, magnitude, seed } = self.clone();
        // The upper 24 bits, as a number from -1 to below 1.
        let number = move |i: usize| (bits(seed, i as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..rows.len() * channels).map(move |i| magnitude * number(i))
    }
}

/// One term of the loss: the logits of `row` should give `id`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Row of the pack whose logits predict.
    pub row: usize,
    /// The token that follows.
    pub id: u32,
    /// Weight of the term, 1 for a token that counts once.
    pub weight: f32,
}
