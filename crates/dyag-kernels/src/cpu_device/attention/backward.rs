//! The backward pass of a block of queries over some blocks of keys: scores made again once, and all three gradients from them.

use std::ops::Range;

use super::forward::seen_rows;
use super::pack::{self, Room};
use super::sight::{self, Sight, Stack};
use super::{KEY_BLOCK, Kernel, Results, softmax};
use crate::cpu::Level;
use crate::cpu_device::microkernel::{self, MAX_ROWS, PANEL, Tile};
use crate::cpu_device::product::Shared;

/// Where gradients of a span's keys (or values) are added: first element of this head in the rows of its prefix, and of its own.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) prefix: Shared,
    pub(super) own: Shared,
    /// Elements from one row to the next.
    pub(super) width: usize,
}

/// Scratch of a thread, all of it bounded by the block sizes.
#[derive(Default)]
pub(super) struct Scratch {
    lines: Room,
    /// Queries and gradients of the output, in both layouts.
    query_columns: Room,
    d_out_columns: Room,
    query_channels: Room,
    d_out_channels: Room,
    key_lines: Room,
    keys: Room,
    values: Room,
    key_channels: Room,
    /// `[panel][key][PANEL]`.
    weights: Room,
    d_scores: Room,
    sums: Room,
    /// Log of the sum of exponentials and delta of each pair of a panel.
    rows: Vec<[[f32; PANEL]; 2]>,
    seen: Vec<Range<usize>>,
}

/// Adds the gradients of keys and values to `[d_k, d_v]`, over the blocks of keys that `blocks` names, and gives the sum over them of the gradient of each
/// pair's query to `write`.
///
/// # Safety
/// This head's columns of all rows of the targets that the blocks name must be writable by this thread alone.
pub(super) unsafe fn block(
    kernel: &Kernel<'_>,
    results: Results<'_>,
    sight: Sight<'_>,
    (queries, blocks): (Range<usize>, Range<usize>),
    [d_k, d_v]: [Target; 2],
    scratch: &mut Scratch,
    mut write: impl FnMut(usize, usize, usize, &[f32]),
) {
    let Kernel { level, shape, .. } = *kernel;
    let (size, stack) = (shape.head_size, Stack::new(queries.clone(), kernel.group()));
    let n_panels = stack.n.div_ceil(PANEL);
    prepare(kernel, results, sight, stack, scratch);
    let panel_len = size * PANEL;
    let (query_columns, d_out_columns) = (scratch.query_columns.of(n_panels * panel_len), scratch.d_out_columns.of(n_panels * panel_len));
    let channels_len = n_panels * PANEL * size.next_multiple_of(PANEL);
    let (query_channels, d_out_channels) = (scratch.query_channels.of(channels_len), scratch.d_out_channels.of(channels_len));
    let sums = scratch.sums.of(n_panels * panel_len);
    sums.fill(0.0);
    let tiles = KEY_BLOCK.next_multiple_of(MAX_ROWS) * size;
    for keys in sight.blocks(queries).skip(blocks.start).take(blocks.len()) {
        let room = scratch.key_lines.of(KEY_BLOCK * size);
        let v = pack::rows_of_lines(level, sight.lines(kernel.key_head(kernel.v), keys.clone(), room), size, scratch.values.of(tiles));
        let lines = sight.lines(kernel.key_head(kernel.k), keys.clone(), room);
        let k = pack::rows_of_lines(level, lines, size, scratch.keys.of(tiles));
        let k_channels = pack::rows_of_channels(lines, size, scratch.key_channels.of(size.next_multiple_of(MAX_ROWS) * KEY_BLOCK));
        let (weights, d_scores) = (scratch.weights.of(n_panels * BLOCK_LEN), scratch.d_scores.of(n_panels * BLOCK_LEN));
        scratch.seen.clear();
        for (panel, [log_sum_exp, delta]) in scratch.rows.iter().enumerate() {
            let pairs = panel * PANEL..((panel + 1) * PANEL).min(stack.n);
            let rows = seen_rows(sight, stack, &keys, &pairs).unwrap_or(0..0);
            scratch.seen.push(rows.clone());
            if rows.is_empty() {
                continue;
            }
            let (lanes, at) = (pack::lanes(pairs.len()), panel * panel_len..(panel + 1) * panel_len);
            let (weights, d_scores) = (&mut weights[panel * BLOCK_LEN..][..BLOCK_LEN], &mut d_scores[panel * BLOCK_LEN..][..BLOCK_LEN]);
            pack::multiply(level, k, (rows.clone(), 0..size), &query_columns[at.clone()], lanes, weights, false);
            pack::multiply(level, v, (rows.clone(), 0..size), &d_out_columns[at.clone()], lanes, d_scores, false);
            let lines = rows.start * PANEL..rows.end * PANEL;
            sight::mask(sight, stack, keys.start + rows.start..keys.start + rows.end, pairs, &mut weights[lines.clone()]);
            softmax::backward(level, &mut weights[lines.clone()], &mut d_scores[lines], lanes, log_sum_exp, delta);
            pack::multiply(level, k_channels, (0..size, rows), d_scores, lanes, &mut sums[at], true);
        }
        for (weights, channels, target) in [(&*weights, &*d_out_channels, d_v), (&*d_scores, &*query_channels, d_k)] {
            let spread = Spread { level, size, stack, weights, channels, seen: &scratch.seen };
            // SAFETY: the caller's contract.
            unsafe { spread.add_to(sight, keys.clone(), target) };
        }
    }
    for panel in 0..n_panels {
        let n = (stack.n - panel * PANEL).min(PANEL);
        let sums = &mut sums[panel * panel_len..(panel + 1) * panel_len];
        sums.iter_mut().for_each(|sum| *sum *= shape.scale);
        pack::each_pair(level, sums, size, n, |pair, channel, values| {
            let (query, head) = stack.at(panel * PANEL + pair);
            write(query, head, channel, values);
        });
    }
}

/// Elements of a panel's scores.
const BLOCK_LEN: usize = KEY_BLOCK * PANEL;

/// Packs the queries, times the scale, and the gradients of the output, and looks up or computes what belongs to each pair.
fn prepare(kernel: &Kernel<'_>, results: Results<'_>, sight: Sight<'_>, stack: Stack, scratch: &mut Scratch) {
    let Kernel { level, shape, .. } = *kernel;
    let size = shape.head_size;
    let n_panels = stack.n.div_ceil(PANEL);
    let lines = scratch.lines.of(n_panels * PANEL * size);
    let channels_len = n_panels * PANEL * size.next_multiple_of(PANEL);
    pack::gather_pairs(|head| kernel.query_head(kernel.q, head), sight.span, stack, size, shape.scale, lines);
    pack::columns_of_pairs(level, lines, size, scratch.query_columns.of(n_panels * PANEL * size));
    pack::channels_of_pairs(lines, size, scratch.query_channels.of(channels_len));
    pack::gather_pairs(|head| kernel.query_head(results.d_out, head), sight.span, stack, size, 1.0, lines);
    pack::columns_of_pairs(level, lines, size, scratch.d_out_columns.of(n_panels * PANEL * size));
    pack::channels_of_pairs(lines, size, scratch.d_out_channels.of(channels_len));
    scratch.rows.clear();
    scratch.rows.resize(n_panels, [[0.0; PANEL]; 2]);
    for (pair, d_out) in lines.chunks_exact(size).take(stack.n).enumerate() {
        let (query, head) = stack.at(pair);
        let row = sight.span.queries.start + query;
        let delta = softmax::dot(level, d_out, kernel.query_head(results.out, head).row(row));
        let log_sum_exp = results.log_sum_exp[row * shape.n_heads + kernel.kv_head * kernel.group() + head];
        let [log_sums, deltas] = &mut scratch.rows[pair / PANEL];
        (log_sums[pair % PANEL], deltas[pair % PANEL]) = (log_sum_exp, delta);
    }
}

/// `weights [keys, pairs] · channels [pairs, size]`.
struct Spread<'a> {
    level: Level,
    size: usize,
    stack: Stack,
    /// `[panel][key][PANEL]`.
    weights: &'a [f32],
    /// `[panel of channels][pair][PANEL]`.
    channels: &'a [f32],
    /// Lines of each panel of weights that hold something.
    seen: &'a [Range<usize>],
}

impl Spread<'_> {
    /// Adds to the target's rows of the keys.
    ///
    /// # Safety
    /// As [`block`].
    unsafe fn add_to(&self, sight: Sight<'_>, keys: Range<usize>, target: Target) {
        let n_prefix = sight.span.prefix.len();
        let in_prefix = keys.end.min(n_prefix).saturating_sub(keys.start);
        for first in (0..self.size).step_by(PANEL) {
            for tile in (0..keys.len()).step_by(MAX_ROWS) {
                let end = (tile + MAX_ROWS).min(keys.len());
                let middle = in_prefix.clamp(tile, end);
                if tile < middle {
                    // SAFETY: rows of the prefix, which the caller lets this thread write.
                    unsafe {
                        let c = target.prefix.get().add((keys.start + tile) * target.width + first);
                        self.add_rows(first, tile..middle, c, target.width);
                    }
                }
                if middle < end {
                    // SAFETY: rows of the span's own, as above.
                    unsafe {
                        let c = target.own.get().add((keys.start + middle - n_prefix) * target.width + first);
                        self.add_rows(first, middle..end, c, target.width);
                    }
                }
            }
        }
    }

    /// Adds up to [`MAX_ROWS`] rows of the result, channels from `first` on, at `c`.
    ///
    /// # Safety
    /// The rows of `c`, `width` apart, must be writable by this thread alone.
    unsafe fn add_rows(&self, first: usize, rows: Range<usize>, c: *mut f32, width: usize) {
        let padded = self.seen.len() * PANEL;
        assert!(self.weights.len() >= self.seen.len() * BLOCK_LEN && rows.end <= KEY_BLOCK);
        assert!(self.channels.len() >= self.size.div_ceil(PANEL) * padded * PANEL);
        for (panel, seen) in self.seen.iter().enumerate() {
            let (from, to) = (rows.start.max(seen.start), rows.end.min(seen.end));
            if from >= to {
                continue;
            }
            // SAFETY: lines from .. to of the panel's weights and its pairs' channels, inside both as asserted; `c` as the caller says.
            unsafe {
                let tile = Tile {
                    k: PANEL.min(self.stack.n - panel * PANEL),
                    a: self.weights.as_ptr().add(panel * BLOCK_LEN + from * PANEL),
                    a_row: PANEL,
                    a_col: 1,
                    b: self.channels.as_ptr().add((first / PANEL * padded + panel * PANEL) * PANEL),
                    b_row: PANEL,
                    c: c.add((from - rows.start) * width),
                    c_row: width,
                    start: None,
                    rows: to - from,
                    cols: PANEL.min(self.size - first),
                };
                microkernel::accumulate(self.level, tile);
            }
        }
    }
}
