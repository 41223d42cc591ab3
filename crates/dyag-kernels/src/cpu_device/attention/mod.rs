//! Softmax attention, causal or over whole spans, of packed sequences in blocks of queries and keys, after FlashAttention (Dao et al. 2022; Dao 2023): scores exist for one block
//! at a time, in the first caches, and scratch memory does not grow with the sequences.
//!
//! A block of keys begins at a multiple of [`KEY_BLOCK`] of the position in its sequence, whatever rows it lies in, and each sum runs over a block in one chain of multiply-adds
//! and then over the blocks in order. What is masked adds exact zeros. So the bits of a query's result depend on its own keys alone: not on threads, on
//! the spans and queries beside it, on where a shared prefix ends, or on its being computed with others or by itself.

mod backward;
mod drive_backward;
mod few;
mod forward;
mod pack;
mod sight;
mod softmax;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use rayon::prelude::*;

use super::CpuBuffer;
use super::product::Shared;
use crate::cpu::Level;
use crate::device::{AttentionInputs, AttentionShape, AttentionSpan};

use sight::Sight;

pub(super) use drive_backward::attention_backward;

/// Keys of a block: whole tiles of the inner loop, and scores of 16 KB a panel, half of a first-level cache.
const KEY_BLOCK: usize = 126;

/// Pairs of a query and a head computed together, about: what each packed block of keys is used for. Fewer where heads are large, so that all of a task's operands
/// stay in a second-level cache of a megabyte.
fn pairs_a_block(head_size: usize) -> usize {
    (16_384 / head_size).clamp(96, 192)
}

/// What a task of either direction works on.
#[derive(Clone, Copy)]
struct Kernel<'a> {
    level: Level,
    shape: AttentionShape,
    kv_head: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
}

/// The forward pass's results as the backward reads them.
#[derive(Clone, Copy)]
struct Results<'a> {
    out: &'a [f32],
    log_sum_exp: &'a [f32],
    d_out: &'a [f32],
}

/// Scratch of a thread; each part grows to what one block takes.
#[derive(Default)]
struct Scratch {
    forward: forward::Scratch,
    few: few::Scratch,
    backward: backward::Scratch,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    /// Blocks of queries: a span and its first query. Kept for its memory.
    static BLOCKS: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Queries of a block.
fn queries_a_block(shape: AttentionShape) -> usize {
    (pairs_a_block(shape.head_size) * shape.n_kv_heads / shape.n_heads).max(1)
}

/// Attention of every span and head.
pub(super) fn attention(level: Level, inputs: &AttentionInputs<'_, CpuBuffer>, out: &mut [f32], log_sum_exp: &mut [f32]) {
    let AttentionInputs { shape, spans, q, k, v } = *inputs;
    let AttentionShape { n_heads, n_kv_heads, head_size, .. } = shape;
    check(shape, spans, q, k, v);
    assert!(out.len() == q.len() && log_sum_exp.len() * head_size == q.len());
    let (out, lse) = (Shared(out.as_mut_ptr()), Shared(log_sum_exp.as_mut_ptr()));
    let (a_block, group) = (queries_a_block(shape), n_heads / n_kv_heads);
    let mut blocks = BLOCKS.take();
    blocks.clear();
    let mut n_scores = 0;
    for (i, span) in spans.iter().enumerate() {
        blocks.extend((0..span.queries.len()).step_by(a_block).map(|first| (i, first)));
        n_scores += span.queries.len() * (span.prefix.len() + span.own.len());
    }
    let task = |index: usize| {
        let (i, first) = blocks[index / n_kv_heads];
        let (span, kv_head) = (&spans[i], index % n_kv_heads);
        let (kernel, sight) = (Kernel { level, shape, kv_head, q, k, v }, Sight::new(span, shape));
        let write = |query: usize, head: usize, channel: usize, values: &[f32], (largest, total): (f32, f32)| {
            let at = (span.queries.start + query) * n_heads + kv_head * group + head;
            // SAFETY: these heads of these rows belong to this task; `check` keeps spans apart and rows inside.
            let (to, lse) = unsafe {
                let to = out.get().add(at * head_size + channel);
                (std::slice::from_raw_parts_mut(to, values.len()), &mut *lse.get().add(at))
            };
            to.iter_mut().zip(values).for_each(|(to, from)| *to = from / total);
            *lse = largest + total.ln();
        };
        SCRATCH.with_borrow_mut(|scratch| {
            if span.queries.len() == 1 && group <= few::MOST_HEADS {
                few::query(&kernel, sight, 0, &mut scratch.few, write);
            } else {
                let queries = first..(first + a_block).min(span.queries.len());
                forward::block(&kernel, sight, queries, &mut scratch.forward, write);
            }
        });
    };
    let n_tasks = blocks.len() * n_kv_heads;
    // Waking another thread takes as long as a small step.
    if n_scores * n_heads * head_size < SMALL || n_tasks == 1 {
        (0..n_tasks).for_each(task);
    } else {
        (0..n_tasks).into_par_iter().with_max_len(1).for_each(task);
    }
    BLOCKS.set(blocks);
}

/// Multiply-adds below which one thread computes all.
const SMALL: usize = 1 << 16;

/// Asserts that heads divide, that spans stay inside the buffers, and that no two spans share a query row. Says whether every row is some span's query.
fn check(shape: AttentionShape, spans: &[AttentionSpan], q: &[f32], k: &[f32], v: &[f32]) -> bool {
    let AttentionShape { n_heads, n_kv_heads, head_size, .. } = shape;
    assert!(n_kv_heads > 0 && n_heads.is_multiple_of(n_kv_heads) && k.len() == v.len() && shape.window != Some(0));
    assert!(shape.causal || shape.window.is_none(), "windows look back from a query's position");
    let (n_queries, n_keys) = (q.len() / (n_heads * head_size), k.len() / (n_kv_heads * head_size));
    for span in spans {
        assert!(span.prefix.end <= n_keys && span.own.end <= n_keys && span.own.len() >= span.queries.len());
        assert!(span.prefix.start <= span.prefix.end && span.queries.end <= n_queries);
    }
    if !spans.windows(2).all(|pair| pair[0].queries.end <= pair[1].queries.start) {
        let mut taken = vec![false; n_queries];
        for row in spans.iter().flat_map(|span| span.queries.clone()) {
            assert!(!std::mem::replace(&mut taken[row], true), "row {row} is a query of two spans");
        }
    }
    spans.iter().map(|span| span.queries.len()).sum::<usize>() == n_queries
}
