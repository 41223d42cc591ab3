//! The forward pass of a block of queries: FlashAttention's loop over blocks of keys (Dao 2023, algorithm 1), for all heads of a group at once.

use std::ops::Range;

use super::pack::{self, Room};
use super::sight::{self, Head, Sight, Stack};
use super::softmax::{self, Running};
use super::{KEY_BLOCK, Kernel};
use crate::cpu_device::microkernel::{MAX_ROWS, PANEL};

/// Scratch of a thread, all of it bounded by the block sizes.
#[derive(Default)]
pub(super) struct Scratch {
    lines: Room,
    columns: Room,
    key_lines: Room,
    keys: Room,
    values: Room,
    scores: Room,
    sums: Room,
    states: Vec<Running>,
}

/// Computes all heads of the group for `queries` of the span; gives each pair's output, largest score and sum of weights to `write`.
pub(super) fn block(
    kernel: &Kernel<'_>,
    sight: Sight<'_>,
    queries: Range<usize>,
    scratch: &mut Scratch,
    mut write: impl FnMut(usize, usize, usize, &[f32], (f32, f32)),
) {
    let Kernel { level, shape, .. } = *kernel;
    let (size, stack) = (shape.head_size, Stack::new(queries.clone(), kernel.group()));
    let n_panels = stack.n.div_ceil(PANEL);
    let lines = scratch.lines.of(n_panels * PANEL * size);
    pack::gather_pairs(|head| kernel.query_head(kernel.q, head), sight.span, stack, size, shape.scale, lines);
    let columns = scratch.columns.of(n_panels * size * PANEL);
    pack::columns_of_pairs(level, lines, size, columns);
    let sums = scratch.sums.of(n_panels * size * PANEL);
    sums.fill(0.0);
    scratch.states.clear();
    scratch.states.resize(n_panels, Running::EMPTY);
    let tiles = KEY_BLOCK.next_multiple_of(MAX_ROWS) * size;
    for keys in sight.blocks(queries) {
        let room = scratch.key_lines.of(KEY_BLOCK * size);
        let k = pack::rows_of_lines(level, sight.lines(kernel.key_head(kernel.k), keys.clone(), room), size, scratch.keys.of(tiles));
        let channels = size.next_multiple_of(MAX_ROWS) * KEY_BLOCK;
        let v = pack::rows_of_channels(sight.lines(kernel.key_head(kernel.v), keys.clone(), room), size, scratch.values.of(channels));
        let scores = scratch.scores.of(KEY_BLOCK * PANEL);
        for (panel, state) in scratch.states.iter_mut().enumerate() {
            let pairs = panel * PANEL..((panel + 1) * PANEL).min(stack.n);
            let Some(rows) = seen_rows(sight, stack, &keys, &pairs) else { continue };
            let (lanes, at) = (pack::lanes(pairs.len()), panel * size * PANEL..(panel + 1) * size * PANEL);
            pack::multiply(level, k, (rows.clone(), 0..size), &columns[at.clone()], lanes, scores, false);
            let seen = &mut scores[rows.start * PANEL..rows.end * PANEL];
            sight::mask(sight, stack, keys.start + rows.start..keys.start + rows.end, pairs, seen);
            softmax::running(level, seen, lanes, state);
            softmax::rescale(level, &mut sums[at.clone()], &state.correction);
            pack::multiply(level, v, (0..size, rows), scores, lanes, &mut sums[at], true);
        }
    }
    for (panel, state) in scratch.states.iter().enumerate() {
        let first = panel * PANEL;
        let sums = &sums[first * size..(first + PANEL) * size];
        pack::each_pair(level, sums, size, (stack.n - first).min(PANEL), |pair, channel, values| {
            let (query, head) = stack.at(first + pair);
            write(query, head, channel, values, (state.largest[pair], state.total[pair]));
        });
    }
}

/// Lines of a block of keys that a panel of pairs sees, from a tile's beginning on.
pub(super) fn seen_rows(sight: Sight<'_>, stack: Stack, keys: &Range<usize>, pairs: &Range<usize>) -> Option<Range<usize>> {
    let seen = sight.keys_of(stack.queries(pairs.clone()));
    let (from, to) = (seen.start.max(keys.start), seen.end.min(keys.end));
    (from < to).then(|| (from - keys.start) / MAX_ROWS * MAX_ROWS..to - keys.start)
}

impl<'a> Kernel<'a> {
    /// Query heads of a key/value head.
    pub(super) fn group(&self) -> usize {
        self.shape.n_heads / self.shape.n_kv_heads
    }

    /// A query head of this task's group, in a buffer of all query heads.
    pub(super) fn query_head<'b>(&self, values: &'b [f32], head: usize) -> Head<'b> {
        Head::new(values, self.shape.n_heads, self.shape.head_size, self.kv_head * self.group() + head)
    }

    /// This task's key/value head.
    pub(super) fn key_head<'b>(&self, values: &'b [f32]) -> Head<'b> {
        Head::new(values, self.shape.n_kv_heads, self.shape.head_size, self.kv_head)
    }
}
