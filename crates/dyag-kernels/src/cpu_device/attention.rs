//! Causal softmax attention over packed sequences, in blocks of queries (never T x T), after FlashAttention (Dao et al. 2022) without its
//! running rescale: a block's scores against all its keys fit the second-level cache at the lengths trained here.

use std::ops::Range;

use rayon::prelude::*;

use super::CpuBuffer;
use super::math::{self, for_each_level};
use super::product::{self, Columns, Rows, Shared, Term};
use crate::cpu::Level;
use crate::device::{AttentionGradients, AttentionInputs, AttentionResult, AttentionShape, AttentionSpan, Precision};

/// Queries computed together.
const QUERY_BLOCK: usize = 56;

/// A block of queries of one span, and the keys it may see: `keys` counts along `prefix` then `own`.
struct Block<'a> {
    span: &'a AttentionSpan,
    shape: AttentionShape,
    /// Queries, counted from the span's first.
    queries: Range<usize>,
    keys: Range<usize>,
}

impl<'a> Block<'a> {
    /// The blocks of a span, in order.
    fn all(span: &'a AttentionSpan, shape: AttentionShape) -> impl Iterator<Item = Self> {
        let (n_queries, n_prefix) = (span.queries.len(), span.prefix.len());
        assert!(span.own.len() >= n_queries);
        (0..n_queries).step_by(QUERY_BLOCK).map(move |from| {
            let to = (from + QUERY_BLOCK).min(n_queries);
            let before = n_prefix + span.own.len() - n_queries;
            let first = shape.window.map_or(0, |w| (before + from + 1).saturating_sub(w));
            // Rounded down so that the order in which a query's keys are summed does not depend on the block.
            Self { span, shape, queries: from..to, keys: first / product::K_BLOCK * product::K_BLOCK..before + to }
        })
    }

    /// Keys the query sees, counted from `self.keys.start`.
    fn visible(&self, query: usize) -> Range<usize> {
        let position = self.span.prefix.len() + self.span.own.len() - self.span.queries.len() + query;
        let first = self.shape.window.map_or(0, |w| (position + 1).saturating_sub(w));
        first - self.keys.start.min(first)..position + 1 - self.keys.start
    }

    /// The keys as runs of rows of k and v, each with its column in the block of scores.
    fn key_runs(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let n_prefix = self.span.prefix.len();
        let (from, to) = (self.keys.start, self.keys.end);
        let prefix = self.span.prefix.start + from.min(n_prefix)..self.span.prefix.start + to.min(n_prefix);
        let own = self.span.own.start + from.max(n_prefix) - n_prefix..self.span.own.start + to.max(n_prefix) - n_prefix;
        let own_column = n_prefix.max(from) - from;
        [(0, prefix), (own_column, own)].into_iter().filter(|(_, rows)| !rows.is_empty())
    }

    /// First row of q and of the output.
    fn first_row(&self) -> usize {
        self.span.queries.start + self.queries.start
    }

    /// `out [queries, keys] += scale * x yᵀ` with rows of `x` for the queries and of `y` for the keys.
    fn scores(&self, level: Level, x: Head<'_>, y: Head<'_>, scale: f32, out: &mut [f32]) {
        let n_keys = self.keys.len();
        assert_eq!(out.len(), self.queries.len() * n_keys);
        for (column, rows) in self.key_runs() {
            let b = Columns::Plain { values: y.values_at(rows.start), row: 1, col: y.width, alpha: scale };
            let term = Term { k: self.shape.head_size, a: x.rows(self.first_row()), b, precision: Precision::F32 };
            // SAFETY: columns `column ..` of `out`, which this thread owns.
            unsafe { product::add_product_here(level, (self.queries.len(), rows.len()), &term, out.as_mut_ptr().add(column), n_keys) };
        }
    }

    /// `out [queries, D] += weights [queries, keys] y`, into rows `out_row` apart.
    ///
    /// # Safety
    /// The rows of `out` must be writable by this thread alone.
    unsafe fn mix(&self, level: Level, weights: &[f32], y: Head<'_>, out: *mut f32, out_row: usize) {
        for (column, rows) in self.key_runs() {
            let a = Rows { values: &weights[column..], row: self.keys.len(), col: 1 };
            let b = Columns::Plain { values: y.values_at(rows.start), row: y.width, col: 1, alpha: 1.0 };
            let term = Term { k: rows.len(), a, b, precision: Precision::F32 };
            // SAFETY: the caller's contract.
            unsafe { product::add_product_here(level, (self.queries.len(), self.shape.head_size), &term, out, out_row) };
        }
    }

    /// `out [rows of the keys, D] += weightsᵀ x`, `out` being the first element of the head in a buffer `out_row` wide.
    ///
    /// # Safety
    /// This head's columns of the keys' rows must be writable by this thread alone.
    unsafe fn spread(&self, level: Level, weights: &[f32], x: Head<'_>, out: *mut f32, out_row: usize) {
        for (column, rows) in self.key_runs() {
            let a = Rows { values: &weights[column..], row: 1, col: self.keys.len() };
            let b = Columns::Plain { values: x.values_at(self.first_row()), row: x.width, col: 1, alpha: 1.0 };
            let term = Term { k: self.queries.len(), a, b, precision: Precision::F32 };
            // SAFETY: the caller's contract.
            unsafe { product::add_product_here(level, (rows.len(), self.shape.head_size), &term, out.add(rows.start * out_row), out_row) };
        }
    }
}

/// One head's columns of a `[rows, width]` buffer.
#[derive(Clone, Copy)]
struct Head<'a> {
    values: &'a [f32],
    width: usize,
    first: usize,
}

impl<'a> Head<'a> {
    fn new(values: &'a [f32], n_heads: usize, head_size: usize, head: usize) -> Self {
        Self { values, width: n_heads * head_size, first: head * head_size }
    }

    fn values_at(self, row: usize) -> &'a [f32] {
        &self.values[row * self.width + self.first..]
    }

    /// The buffer from `row` on.
    fn values_from(self, row: usize) -> &'a [f32] {
        &self.values[row * self.width..]
    }

    /// This head's columns of all keys of a span, end to end: summed in one order, however the span is divided.
    fn gather(self, span: &AttentionSpan, head_size: usize) -> Vec<f32> {
        let mut gathered = Vec::with_capacity((span.prefix.len() + span.own.len()) * head_size);
        for row in span.prefix.clone().chain(span.own.clone()) {
            gathered.extend_from_slice(&self.values_at(row)[..head_size]);
        }
        gathered
    }

    fn rows(self, row: usize) -> Rows<'a> {
        Rows { values: self.values_at(row), row: self.width, col: 1 }
    }
}

for_each_level! {
    /// Scores of one query become unnormalised weights, zero where it may not look; returns the largest score and the sum of the weights.
    fn softmax_row(scores: &mut [f32], visible: Range<usize>) -> (f32, f32) {
        let Range { start: from, end: to } = visible;
        let largest = math::max(&scores[from..to]);
        for s in &mut scores[..from] {
            *s = 0.0;
        }
        for s in &mut scores[to..] {
            *s = 0.0;
        }
        for s in &mut scores[from..to] {
            *s = math::exp(*s - largest);
        }
        let total = math::sum(scores.len(), |i| scores[i]);
        (largest, total)
    }
}

for_each_level! {
    /// From scores and their gradient's raw product to `p` (over `scores`) and `p * (d_p - delta) * scale` (over `d_p`).
    fn softmax_backward_row(scores: &mut [f32], d_p: &mut [f32], visible: Range<usize>, log_sum_exp: f32, delta: f32, scale: f32) {
        for (i, (s, d)) in scores.iter_mut().zip(d_p).enumerate() {
            let p = if visible.contains(&i) { math::exp(*s - log_sum_exp) } else { 0.0 };
            *s = p;
            *d = p * (*d - delta) * scale;
        }
    }
}

for_each_level! {
    fn dot(x: &[f32], y: &[f32]) -> f32 {
        let y = &y[..x.len()];
        math::sum(x.len(), |i| x[i] * y[i])
    }
}

/// Attention of every span and head.
pub(super) fn attention(level: Level, inputs: &AttentionInputs<'_, CpuBuffer>, out: &mut [f32], log_sum_exp: &mut [f32]) {
    let AttentionInputs { shape, spans, q, k, v } = *inputs;
    let AttentionShape { n_heads, n_kv_heads, head_size, .. } = shape;
    check(shape, spans, q, k, v);
    assert!(out.len() == q.len() && log_sum_exp.len() * head_size == q.len());
    let (out, lse) = (Shared(out.as_mut_ptr()), Shared(log_sum_exp.as_mut_ptr()));
    (0..spans.len() * n_heads).into_par_iter().for_each(|task| {
        let (span, head) = (&spans[task / n_heads], task % n_heads);
        let kv_head = head / (n_heads / n_kv_heads);
        let q = Head::new(q, n_heads, head_size, head);
        let (k, v) = (Head::new(k, n_kv_heads, head_size, kv_head), Head::new(v, n_kv_heads, head_size, kv_head));
        let (mut scores, mut mixed) = (Vec::new(), Vec::new());
        let gathered;
        let values = if span.prefix.is_empty() {
            Head { values: v.values_from(span.own.start), ..v }
        } else {
            gathered = v.gather(span, head_size);
            Head { values: &gathered, width: head_size, first: 0 }
        };
        for block in Block::all(span, shape) {
            let (n_queries, n_keys) = (block.queries.len(), block.keys.len());
            scores.clear();
            scores.resize(n_queries * n_keys, 0.0);
            mixed.clear();
            mixed.resize(n_queries * head_size, 0.0);
            block.scores(level, q, k, shape.scale, &mut scores);
            let mut totals = [(0.0, 0.0); QUERY_BLOCK];
            for (i, row) in scores.chunks_exact_mut(n_keys).enumerate() {
                let visible = block.visible(block.queries.start + i);
                totals[i] = softmax_row(level, row, visible);
            }
            let a = Rows { values: &scores, row: n_keys, col: 1 };
            let b = Columns::Plain { values: values.values_at(block.keys.start), row: values.width, col: 1, alpha: 1.0 };
            let term = Term { k: n_keys, a, b, precision: Precision::F32 };
            // SAFETY: `mixed` is this task's own.
            unsafe { product::add_product_here(level, (n_queries, head_size), &term, mixed.as_mut_ptr(), head_size) };
            for (i, mixed) in mixed.chunks_exact(head_size).enumerate() {
                let row = block.first_row() + i;
                let (largest, total) = totals[i];
                // SAFETY: this head of this span's rows belongs to this task; `check` keeps spans apart and rows inside.
                let (to, lse) = unsafe {
                    let to = out.get().add((row * n_heads + head) * head_size);
                    (std::slice::from_raw_parts_mut(to, head_size), &mut *lse.get().add(row * n_heads + head))
                };
                to.iter_mut().zip(mixed).for_each(|(to, from)| *to = from / total);
                *lse = largest + total.ln();
            }
        }
    });
}

/// Gradients of every span and head. One task a key/value head: all that adds into its columns does so in order.
pub(super) fn attention_backward(
    level: Level,
    inputs: &AttentionInputs<'_, CpuBuffer>,
    result: &AttentionResult<'_, CpuBuffer>,
    gradients: AttentionGradients<'_, CpuBuffer>,
) {
    let AttentionInputs { shape, spans, q, k, v } = *inputs;
    let AttentionResult { out, log_sum_exp, d_out } = *result;
    let AttentionGradients { q: d_q, k: d_k, v: d_v } = gradients;
    let AttentionShape { n_heads, n_kv_heads, head_size, .. } = shape;
    check(shape, spans, q, k, v);
    assert!(d_q.len() == q.len() && d_out.len() == q.len() && out.len() == q.len());
    assert!(d_k.len() == k.len() && d_v.len() == v.len() && log_sum_exp.len() * head_size == q.len());
    d_q.fill(0.0);
    let (d_q, d_k, d_v) = (Shared(d_q.as_mut_ptr()), Shared(d_k.as_mut_ptr()), Shared(d_v.as_mut_ptr()));
    let group = n_heads / n_kv_heads;
    (0..n_kv_heads).into_par_iter().for_each(|kv_head| {
        let (k, v) = (Head::new(k, n_kv_heads, head_size, kv_head), Head::new(v, n_kv_heads, head_size, kv_head));
        let kv_width = n_kv_heads * head_size;
        let (mut scores, mut d_scores) = (Vec::new(), Vec::new());
        for span in spans {
            for head in kv_head * group..(kv_head + 1) * group {
                let (q, d_o) = (Head::new(q, n_heads, head_size, head), Head::new(d_out, n_heads, head_size, head));
                let out = Head::new(out, n_heads, head_size, head);
                for block in Block::all(span, shape) {
                    let n_keys = block.keys.len();
                    for buffer in [&mut scores, &mut d_scores] {
                        buffer.clear();
                        buffer.resize(block.queries.len() * n_keys, 0.0);
                    }
                    block.scores(level, q, k, shape.scale, &mut scores);
                    block.scores(level, d_o, v, 1.0, &mut d_scores);
                    for (i, (s, d)) in scores.chunks_exact_mut(n_keys).zip(d_scores.chunks_exact_mut(n_keys)).enumerate() {
                        let row = block.first_row() + i;
                        let delta = dot(level, &d_o.values_at(row)[..head_size], &out.values_at(row)[..head_size]);
                        let visible = block.visible(block.queries.start + i);
                        let lse = log_sum_exp[row * n_heads + head];
                        softmax_backward_row(level, s, d, visible, lse, delta, shape.scale);
                    }
                    // SAFETY: columns of this query head, or of this key/value head, which only this task writes.
                    unsafe {
                        let first = block.first_row() * q.width + q.first;
                        block.mix(level, &d_scores, k, d_q.get().add(first), q.width);
                        block.spread(level, &d_scores, q, d_k.get().add(k.first), kv_width);
                        block.spread(level, &scores, d_o, d_v.get().add(v.first), kv_width);
                    }
                }
            }
        }
    });
}

/// Asserts that heads divide, that spans stay inside the buffers, and that no two spans share a query row.
fn check(shape: AttentionShape, spans: &[AttentionSpan], q: &[f32], k: &[f32], v: &[f32]) {
    let AttentionShape { n_heads, n_kv_heads, head_size, .. } = shape;
    assert!(n_kv_heads > 0 && n_heads.is_multiple_of(n_kv_heads) && k.len() == v.len());
    let (n_queries, n_keys) = (q.len() / (n_heads * head_size), k.len() / (n_kv_heads * head_size));
    let mut taken = vec![false; n_queries];
    for span in spans {
        assert!(span.prefix.end <= n_keys && span.own.end <= n_keys && span.own.len() >= span.queries.len());
        for row in span.queries.clone() {
            assert!(!std::mem::replace(&mut taken[row], true), "row {row} is a query of two spans");
        }
    }
}
