//! Token sequences laid end to end for one pass.

use dyag_kernels::device::AttentionSpan;

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
