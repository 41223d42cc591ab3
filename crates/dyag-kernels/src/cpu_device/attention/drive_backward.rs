//! How the backward pass is divided among threads, so that every sum has a fixed order and nobody waits for long.
//!
//! Gradients of keys gather from all queries that see them, and gradients of queries from all their keys, so tasks that make both at once must not
//! meet. Many short spans are dealt to a few lanes that share only prefixes, and for those each lane has sums of its own, added up in the end. A long span is
//! walked block of queries by block, each block's keys divided among tasks that share only the queries, whose sums are added up after each block.
//! What is divided how depends on the spans alone.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::backward::{self, Target};
use super::sight::Sight;
use super::{KEY_BLOCK, Kernel, Results, SCRATCH, check, queries_a_block};
use crate::cpu::Level;
use crate::cpu_device::CpuBuffer;
use crate::cpu_device::pool::Pool;
use crate::cpu_device::product::Shared;
use crate::device::{AttentionGradients, AttentionInputs, AttentionResult, AttentionSpan};

/// Lanes that short spans are dealt to.
const LANES: usize = 8;

/// Tasks below which short spans leave threads idle.
const FEW_TASKS: usize = 8;

/// Parts that a block of queries' keys are divided into at most, and blocks of keys of a part where there are many.
const PARTS: usize = 16;
const BLOCKS_A_PART: usize = 3;

/// Keys from which on a span is long: always, and where there are few tasks.
const LONG: usize = 8 * KEY_BLOCK;
const LONG_AMONG_FEW: usize = 2 * KEY_BLOCK;

/// What all tasks share.
struct Work<'a> {
    level: Level,
    inputs: &'a AttentionInputs<'a, CpuBuffer>,
    results: Results<'a>,
    d_q: Shared,
    d_k: Shared,
    d_v: Shared,
}

/// Gradients of every span and head.
pub(in crate::cpu_device) fn attention_backward(
    level: Level,
    memory: &Arc<Pool>,
    inputs: &AttentionInputs<'_, CpuBuffer>,
    result: &AttentionResult<'_, CpuBuffer>,
    gradients: AttentionGradients<'_, CpuBuffer>,
) {
    let AttentionInputs { shape, spans, q, k, v } = *inputs;
    let results = Results { out: result.out, log_sum_exp: result.log_sum_exp, d_out: result.d_out };
    let AttentionGradients { q: d_q, k: d_k, v: d_v } = gradients;
    let all = check(shape, spans, q, k, v);
    assert!(d_q.len() == q.len() && results.d_out.len() == q.len() && results.out.len() == q.len());
    assert!(d_k.len() == k.len() && d_v.len() == v.len() && results.log_sum_exp.len() * shape.head_size == q.len());
    if !all {
        d_q.fill(0.0);
    }
    let [d_q, d_k, d_v] = [d_q, d_k, d_v].map(|gradient| Shared(gradient.as_mut_ptr()));
    let work = Work { level, inputs, results, d_q, d_k, d_v };
    let n_short = spans.iter().filter(|span| n_keys(span) < LONG).count();
    let long = if n_short.min(LANES) * shape.n_kv_heads < FEW_TASKS { LONG_AMONG_FEW } else { LONG };
    spans.iter().filter(|span| n_keys(span) >= long).for_each(|span| work.walk(memory, span));
    work.deal(memory, |span| n_keys(span) < long);
}

fn n_keys(span: &AttentionSpan) -> usize {
    span.prefix.len() + span.own.len()
}

impl Work<'_> {
    fn kernel(&self, kv_head: usize) -> Kernel<'_> {
        let AttentionInputs { shape, q, k, v, .. } = *self.inputs;
        Kernel { level: self.level, shape, kv_head, q, k, v }
    }

    /// Elements of a row of keys.
    fn width(&self) -> usize {
        self.inputs.shape.n_kv_heads * self.inputs.shape.head_size
    }

    /// Where gradients of a span go, with `prefix` for the first row of its prefix.
    fn target(&self, gradient: Shared, prefix: *mut f32, kv_head: usize, span: &AttentionSpan) -> Target {
        let (width, first) = (self.width(), kv_head * self.inputs.shape.head_size);
        let own = Shared(gradient.get().wrapping_add(span.own.start * width + first));
        Target { prefix: Shared(prefix.wrapping_add(first)), own, width }
    }

    /// Computes short spans, each lane's in order.
    fn deal(&self, memory: &Arc<Pool>, is_short: impl Fn(&AttentionSpan) -> bool + Sync) {
        let AttentionInputs { shape, spans, .. } = *self.inputs;
        let short = || spans.iter().filter(|span| is_short(span) && !span.queries.is_empty());
        let scores = |span: &AttentionSpan| span.queries.len() * (n_keys(span) - span.queries.len() / 2);
        let (total, mut before) = (short().map(scores).sum::<usize>().max(1), 0);
        // Spans with rows in common would meet in two lanes.
        let apart = spans.windows(2).all(|pair| pair[0].own.end <= pair[1].own.start);
        let n_lanes = if apart { LANES.min(short().count()) } else { 1 };
        let lanes: Vec<(usize, &AttentionSpan)> = short()
            .map(|span| {
                let lane = before * n_lanes / total;
                before += scores(span);
                (lane, span)
            })
            .collect();
        let with_prefix = || short().map(|span| &span.prefix).filter(|prefix| !prefix.is_empty());
        let first = with_prefix().map(|prefix| prefix.start).min().unwrap_or(0);
        let rows = first..with_prefix().map(|prefix| prefix.end).max().unwrap_or(0);
        let len = rows.len() * self.width();
        let mut sums = memory.take(2 * n_lanes * len);
        let shared_sums = Shared(sums.as_mut_ptr());
        (0..n_lanes * shape.n_kv_heads).into_par_iter().with_max_len(1).for_each(|task| {
            let (lane, kv_head) = (task / shape.n_kv_heads, task % shape.n_kv_heads);
            let own_sums = [0, 1].map(|i| shared_sums.get().wrapping_add((2 * lane + i) * len));
            // SAFETY: this head's columns of this lane's sums are this task's, as are all rows that its spans have for themselves.
            unsafe {
                self.clear(own_sums, rows.len(), kv_head);
                for (_, span) in lanes.iter().filter(|(of, _)| *of == lane) {
                    let at = span.prefix.start.max(first) - first;
                    self.whole_span(kv_head, span, own_sums.map(|sums| sums.wrapping_add(at * self.width())));
                }
            }
        });
        self.add_lanes(rows, &sums);
    }

    /// # Safety
    /// This head's columns of `rows` rows must be writable by this thread alone.
    unsafe fn clear(&self, sums: [*mut f32; 2], rows: usize, kv_head: usize) {
        let size = self.inputs.shape.head_size;
        for (sums, row) in sums.into_iter().flat_map(|sums| (0..rows).map(move |row| (sums, row))) {
            // SAFETY: the caller's contract.
            unsafe { sums.add(row * self.width() + kv_head * size).write_bytes(0, size) };
        }
    }

    /// # Safety
    /// This head's columns of the span's own rows and of the prefix's sums must be writable by this thread alone.
    unsafe fn whole_span(&self, kv_head: usize, span: &AttentionSpan, prefix: [*mut f32; 2]) {
        let shape = self.inputs.shape;
        let (kernel, sight) = (self.kernel(kv_head), Sight::new(span, shape));
        let (n, a_block) = (span.queries.len(), queries_a_block(shape));
        let [d_k, d_v] = [(self.d_k, prefix[0]), (self.d_v, prefix[1])].map(|(all, prefix)| self.target(all, prefix, kv_head, span));
        for first in (0..n).step_by(a_block) {
            let queries = first..(first + a_block).min(n);
            let write = |query: usize, head: usize, channel: usize, values: &[f32]| {
                let at = ((span.queries.start + query) * shape.n_heads + kv_head * kernel.group() + head) * shape.head_size + channel;
                // SAFETY: these heads of this span's rows are this task's; `check` keeps spans apart and rows inside.
                unsafe { self.d_q.get().add(at).copy_from_nonoverlapping(values.as_ptr(), values.len()) };
            };
            SCRATCH.with_borrow_mut(|scratch| {
                let scratch = &mut scratch.backward;
                // SAFETY: the caller's contract.
                unsafe { backward::block(&kernel, self.results, sight, (queries, 0..usize::MAX), [d_k, d_v], scratch, write) };
            });
        }
    }

    /// Adds the lanes' sums to the gradients of the rows `rows` of keys and values.
    fn add_lanes(&self, rows: Range<usize>, sums: &[f32]) {
        let (width, len) = (self.width(), rows.len() * self.width());
        if len == 0 {
            return;
        }
        rows.clone().into_par_iter().with_min_len(16).for_each(|row| {
            for lane in sums.chunks_exact(2 * len) {
                for (i, gradient) in [self.d_k, self.d_v].into_iter().enumerate() {
                    let from = &lane[i * len + (row - rows.start) * width..][..width];
                    // SAFETY: each row is one task's, and lies inside the gradient as `check` says of prefixes.
                    let to = unsafe { std::slice::from_raw_parts_mut(gradient.get().add(row * width), width) };
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        });
    }

    /// Computes a long span.
    fn walk(&self, memory: &Arc<Pool>, span: &AttentionSpan) {
        let shape = self.inputs.shape;
        let (sight, a_block) = (Sight::new(span, shape), queries_a_block(shape));
        let (n, group) = (span.queries.len(), shape.n_heads / shape.n_kv_heads);
        let len = a_block.min(n) * group * shape.head_size;
        let mut sums = memory.take(PARTS * shape.n_kv_heads * len);
        for first in (0..n).step_by(a_block) {
            let queries = first..(first + a_block).min(n);
            let n_blocks = sight.blocks(queries.clone()).count();
            let n_parts = (n_blocks / BLOCKS_A_PART).max(n_blocks.min(FEW_TASKS.div_ceil(shape.n_kv_heads))).min(PARTS);
            let a_part = n_blocks.div_ceil(n_parts);
            let n_parts = n_blocks.div_ceil(a_part);
            sums.par_chunks_mut(len).take(n_parts * shape.n_kv_heads).enumerate().with_max_len(1).for_each(|(task, sums)| {
                let (part, kv_head) = (task / shape.n_kv_heads, task % shape.n_kv_heads);
                let blocks = part * a_part..(part + 1) * a_part;
                // SAFETY: of this head's columns, the rows of these blocks are this task's.
                unsafe { self.part(kv_head, span, (queries.clone(), blocks), sums) };
            });
            self.add_parts(span, queries, &sums[..n_parts * shape.n_kv_heads * len], len);
        }
    }

    /// # Safety
    /// This head's columns of the rows of the blocks must be writable by this thread alone.
    unsafe fn part(&self, kv_head: usize, span: &AttentionSpan, (queries, blocks): (Range<usize>, Range<usize>), sums: &mut [f32]) {
        let shape = self.inputs.shape;
        let (kernel, sight, first) = (self.kernel(kv_head), Sight::new(span, shape), queries.start);
        let [d_k, d_v] =
            [self.d_k, self.d_v].map(|all| self.target(all, all.get().wrapping_add(span.prefix.start * self.width()), kv_head, span));
        let write = |query: usize, head: usize, channel: usize, values: &[f32]| {
            let at = ((query - first) * kernel.group() + head) * shape.head_size + channel;
            sums[at..at + values.len()].copy_from_slice(values);
        };
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: the caller's contract.
            unsafe { backward::block(&kernel, self.results, sight, (queries, blocks), [d_k, d_v], &mut scratch.backward, write) };
        });
    }

    /// Writes the gradients of a block of queries from the sums of its parts.
    fn add_parts(&self, span: &AttentionSpan, queries: Range<usize>, sums: &[f32], len: usize) {
        let shape = self.inputs.shape;
        let group_len = shape.n_heads / shape.n_kv_heads * shape.head_size;
        for (query, kv_head) in queries.clone().flat_map(|query| (0..shape.n_kv_heads).map(move |kv_head| (query, kv_head))) {
            let at = ((span.queries.start + query) * shape.n_kv_heads + kv_head) * group_len;
            // SAFETY: the span's rows of queries lie inside, and no task runs now.
            let to = unsafe { std::slice::from_raw_parts_mut(self.d_q.get().add(at), group_len) };
            for (part, sums) in sums.chunks_exact(len).skip(kv_head).step_by(shape.n_kv_heads).enumerate() {
                let from = &sums[(query - queries.start) * group_len..][..group_len];
                if part == 0 {
                    to.copy_from_slice(from);
                } else {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        }
    }
}
