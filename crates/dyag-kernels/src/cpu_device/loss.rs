//! Softmax cross-entropy over rows of logits, with its gradient in place.

use rayon::prelude::*;

use super::math::{self, for_each_level};
use crate::cpu::Level;
use crate::device::LossSum;

for_each_level! {
    /// One row: returns its loss in nats and whether the target has the largest logit; the row becomes `weight * (softmax - one_hot)`.
    fn cross_entropy_row(logits: &mut [f32], target: usize, weight: f32) -> (f64, bool) {
        let largest = math::max(logits);
        let target_logit = logits[target];
        // Ties go to the first index, as a greedy choice does.
        let correct = target_logit == largest && !logits[..target].contains(&largest);
        let mut lanes = [0f64; math::LANES];
        let mut chunks = logits.chunks_exact_mut(math::LANES);
        for chunk in &mut chunks {
            for (lane, v) in lanes.iter_mut().zip(chunk) {
                *v = math::exp(*v - largest);
                *lane += f64::from(*v);
            }
        }
        for (lane, v) in lanes.iter_mut().zip(chunks.into_remainder()) {
            *v = math::exp(*v - largest);
            *lane += f64::from(*v);
        }
        let total: f64 = lanes.iter().sum();
        let scale = (f64::from(weight) / total) as f32;
        for v in logits.iter_mut() {
            *v *= scale;
        }
        logits[target] -= weight;
        (total.ln() - f64::from(target_logit - largest), correct)
    }
}

/// Loss, added to `sum` row by row, and gradient of `[rows, V]` logits.
pub(super) fn cross_entropy(level: Level, logits: &mut [f32], targets: &[u32], weights: &[f32], sum: &mut LossSum) {
    assert!(targets.len() == weights.len() && (targets.is_empty() || logits.len().is_multiple_of(targets.len())));
    if targets.is_empty() {
        return;
    }
    let vocab = logits.len() / targets.len();
    let rows: Vec<(f64, bool)> = logits
        .par_chunks_mut(vocab)
        .zip(targets)
        .zip(weights)
        .map(|((row, target), weight)| cross_entropy_row(level, row, *target as usize, *weight))
        .collect();
    for ((loss, correct), weight) in rows.into_iter().zip(weights) {
        let weight = f64::from(*weight);
        *sum += LossSum { loss_sum_nats: weight * loss, n_tokens: weight, n_correct: if correct { weight } else { 0.0 } };
    }
}
