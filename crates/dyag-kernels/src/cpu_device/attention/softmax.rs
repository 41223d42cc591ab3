//! Softmax down the lines of a panel of scores: with a running maximum forward (Dao et al. 2022, algorithm 1), from the kept log of the sum backward.
//!
//! Each pair's weights are summed in the order of its keys, one by one; [`running_rows`] does the same for scores that lie the other way round.

use crate::cpu_device::math::{self, for_each_level};
use crate::cpu_device::microkernel::{MAX_ROWS, PANEL};

/// Columns that a pass over the lines takes.
const LANES: usize = math::LANES;

/// The softmax of [`PANEL`] pairs over the keys so far.
#[derive(Clone, Copy)]
pub(super) struct Running {
    /// Largest score.
    pub(super) largest: [f32; PANEL],
    /// Sum of the weights `exp(score - largest)`.
    pub(super) total: [f32; PANEL],
    /// What sums made before the last block are multiplied with, now that the largest score may be another.
    pub(super) correction: [f32; PANEL],
}

impl Running {
    pub(super) const EMPTY: Self = Self { largest: [f32::NEG_INFINITY; PANEL], total: [0.0; PANEL], correction: [0.0; PANEL] };
}

/// What is subtracted from scores: the largest, unless all were masked so far.
#[inline(always)]
fn shift(largest: f32) -> f32 {
    if largest == f32::NEG_INFINITY { 0.0 } else { largest }
}

/// The part of line `i` that a pass takes.
#[inline(always)]
fn line(scores: &mut [f32], i: usize, first: usize) -> &mut [f32; LANES] {
    scores[i * PANEL + first..].first_chunk_mut().expect("a line has whole vectors")
}

for_each_level! {
    /// Scores `[keys][PANEL]` of the next block become weights; minus infinity becomes zero.
    pub(super) fn running(scores: &mut [f32], lanes: usize, state: &mut Running) {
        let n = scores.len() / PANEL;
        for first in (0..lanes).step_by(LANES) {
            let mut largest: [f32; LANES] = *state.largest[first..].first_chunk().expect("a panel has whole vectors");
            let before = largest;
            for i in 0..n {
                let scores = line(scores, i, first);
                for c in 0..LANES {
                    largest[c] = if scores[c] > largest[c] { scores[c] } else { largest[c] };
                }
            }
            let shifts = largest.map(shift);
            let mut totals = [0f32; LANES];
            for i in 0..n {
                let scores = line(scores, i, first);
                for c in 0..LANES {
                    scores[c] = math::exp(scores[c] - shifts[c]);
                    totals[c] += scores[c];
                }
            }
            for c in 0..LANES {
                let correction = math::exp(before[c] - shifts[c]);
                state.largest[first + c] = largest[c];
                state.correction[first + c] = correction;
                state.total[first + c] = state.total[first + c] * correction + totals[c];
            }
        }
    }
}

for_each_level! {
    /// As [`running`], for up to [`MAX_ROWS`] pairs whose scores of a block are rows, `step` apart, of `n` keys.
    pub(super) fn running_rows(scores: &mut [f32], step: usize, n: usize, state: &mut Running) {
        let mut totals = [0f32; MAX_ROWS];
        let pairs = scores.len().div_ceil(step);
        for (pair, row) in scores.chunks_mut(step).enumerate() {
            let row = &mut row[..n];
            let before = state.largest[pair];
            let largest = math::max(row);
            let largest = if largest > before { largest } else { before };
            for s in row.iter_mut() {
                *s = math::exp(*s - shift(largest));
            }
            state.largest[pair] = largest;
            state.correction[pair] = math::exp(before - shift(largest));
        }
        for key in 0..n {
            for pair in 0..pairs {
                totals[pair] += scores[pair * step + key];
            }
        }
        for ((total, correction), sum) in state.total[..pairs].iter_mut().zip(&state.correction).zip(totals) {
            *total = *total * correction + sum;
        }
    }
}

for_each_level! {
    /// `sums[i][c] *= factors[c]` for lines of [`PANEL`].
    pub(super) fn rescale(sums: &mut [f32], factors: &[f32; PANEL]) {
        let n = sums.len() / PANEL;
        for first in (0..PANEL).step_by(LANES) {
            let factors: [f32; LANES] = *factors[first..].first_chunk().expect("a panel has whole vectors");
            for i in 0..n {
                let sums = line(sums, i, first);
                for c in 0..LANES {
                    sums[c] *= factors[c];
                }
            }
        }
    }
}

for_each_level! {
    /// Scores become weights `p`, and gradients of the weights `d_p` become gradients of the scores, `p * (d_p - delta)`; lines of [`PANEL`].
    pub(super) fn backward(scores: &mut [f32], d_weights: &mut [f32], lanes: usize, log_sum_exp: &[f32; PANEL], delta: &[f32; PANEL]) {
        let n = scores.len() / PANEL;
        for first in (0..lanes).step_by(LANES) {
            let [log_sum_exp, delta]: [[f32; LANES]; 2] = [log_sum_exp, delta].map(|of| *of[first..].first_chunk().expect("whole vectors"));
            for i in 0..n {
                let (scores, d_weights) = (line(scores, i, first), line(d_weights, i, first));
                for c in 0..LANES {
                    scores[c] = math::exp(scores[c] - log_sum_exp[c]);
                    d_weights[c] = scores[c] * (d_weights[c] - delta[c]);
                }
            }
        }
    }
}

for_each_level! {
    /// Sum of products.
    pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
        let y = &y[..x.len()];
        math::sum(x.len(), |i| x[i] * y[i])
    }
}
