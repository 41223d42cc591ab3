//! Operands of attention's products in the layouts that the inner loop reads, and those products.
//!
//! Columns of a product are `(query, head)` pairs, [`PANEL`] to a panel; its rows are keys or channels, [`MAX_ROWS`] to a tile. So the scores of a block of keys
//! come out with a key's line of pairs end to end: softmax runs down the lines, without sums across a vector, and the lines are the next product's panel.

use std::ops::Range;

use super::sight::{Head, Lines, Stack};
use crate::cpu::Level;
use crate::cpu_device::microkernel::{self, MAX_ROWS, PANEL, Tile};
use crate::cpu_device::transpose;
use crate::device::AttentionSpan;

/// Memory of a thread that is used again.
#[derive(Default)]
pub(super) struct Room(Vec<f32>);

impl Room {
    /// `len` elements, from the beginning of a cache line on; what they hold is not said.
    pub(super) fn of(&mut self, len: usize) -> &mut [f32] {
        const LINE: usize = 16;
        if self.0.len() < len + LINE {
            self.0 = vec![0.0; len + LINE];
        }
        let skip = self.0.as_ptr().align_offset(4 * LINE).min(LINE);
        &mut self.0[skip..skip + len]
    }
}

/// Rows of a left operand: `[tile][depth][MAX_ROWS]`.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    values: &'a [f32],
    depth: usize,
}

/// Lines as the rows of a left operand: what is summed over are the channels.
pub(super) fn rows_of_lines<'a>(level: Level, lines: Lines<'_>, size: usize, out: &'a mut [f32]) -> Tiles<'a> {
    for (tile, out) in out[..lines.n.div_ceil(MAX_ROWS) * size * MAX_ROWS].chunks_exact_mut(size * MAX_ROWS).enumerate() {
        let part = lines.part(tile * MAX_ROWS, MAX_ROWS);
        transpose::into_row_panel(level, part.values, part.step, part.n, size, out);
    }
    Tiles { values: out, depth: size }
}

/// Channels as the rows of a left operand: what is summed over are the lines.
pub(super) fn rows_of_channels<'a>(lines: Lines<'_>, size: usize, out: &'a mut [f32]) -> Tiles<'a> {
    let depth = lines.n;
    for (tile, out) in out[..size.div_ceil(MAX_ROWS) * depth * MAX_ROWS].chunks_exact_mut(depth * MAX_ROWS).enumerate() {
        let first = tile * MAX_ROWS;
        let n = MAX_ROWS.min(size - first);
        for (line, to) in out.as_chunks_mut::<MAX_ROWS>().0.iter_mut().enumerate() {
            let from = &lines.values[line * lines.step + first..];
            match from.first_chunk::<MAX_ROWS>() {
                Some(from) if n == MAX_ROWS => *to = *from,
                _ => to[..n].copy_from_slice(&from[..n]),
            }
        }
    }
    Tiles { values: out, depth }
}

/// Copies the channels of a stack's pairs, times `scale`, to lines end to end, with lines of zeros up to a whole panel.
pub(super) fn gather_pairs<'a>(
    head_of: impl Fn(usize) -> Head<'a>,
    span: &AttentionSpan,
    stack: Stack,
    size: usize,
    scale: f32,
    out: &mut [f32],
) {
    for (pair, to) in out[..stack.n * size].chunks_exact_mut(size).enumerate() {
        let (query, head) = stack.at(pair);
        let from = head_of(head).row(span.queries.start + query);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = scale * from);
    }
    out[stack.n * size..].fill(0.0);
}

/// Lines of pairs, in number a multiple of [`PANEL`], as right operands `[panel][channel][PANEL]`.
pub(super) fn columns_of_pairs(level: Level, lines: &[f32], size: usize, out: &mut [f32]) {
    for (from, to) in lines.chunks_exact(PANEL * size).zip(out.chunks_exact_mut(size * PANEL)) {
        for j in (0..PANEL).step_by(transpose::ROWS) {
            transpose::into_panel(level, &from[j * size..], size, transpose::ROWS, size, &mut to[j..]);
        }
    }
}

/// Lines of pairs as right operands `[panel of channels][pair][PANEL]`: what is summed over are the pairs.
pub(super) fn channels_of_pairs(lines: &[f32], size: usize, out: &mut [f32]) {
    let n = lines.len() / size;
    for (panel, out) in out[..size.div_ceil(PANEL) * n * PANEL].chunks_exact_mut(n * PANEL).enumerate() {
        for (from, to) in lines.chunks_exact(size).zip(out.as_chunks_mut::<PANEL>().0) {
            let from = &from[panel * PANEL..];
            match from.first_chunk::<PANEL>() {
                Some(from) => *to = *from,
                None => to[..from.len()].copy_from_slice(from),
            }
        }
    }
}

/// A result `[channel][PANEL]`, turned: the channels of pair `j` go to `write(j, first channel, values)` in pieces of up to [`PANEL`].
pub(super) fn each_pair(level: Level, channels: &[f32], size: usize, n: usize, mut write: impl FnMut(usize, usize, &[f32])) {
    let mut turned = [0.0; PANEL * PANEL];
    for first in (0..size).step_by(PANEL) {
        let width = PANEL.min(size - first);
        for j in (0..width).step_by(transpose::ROWS) {
            let rows = transpose::ROWS.min(width - j);
            transpose::into_panel(level, &channels[(first + j) * PANEL..], PANEL, rows, PANEL, &mut turned[j..]);
        }
        for (pair, line) in turned.as_chunks::<PANEL>().0.iter().take(n).enumerate() {
            write(pair, first, &line[..width]);
        }
    }
}

/// `c[i, :] = sum_k tiles[i, k] panel[k, :]` for rows `rows` (from a tile's beginning on) and `k` in `depth`; added to what `c` holds when `add`. Lines
/// of `panel` and `c` are [`PANEL`] long, of which the first `lanes` count.
pub(super) fn multiply(
    level: Level,
    tiles: Tiles<'_>,
    (rows, depth): (Range<usize>, Range<usize>),
    panel: &[f32],
    lanes: usize,
    c: &mut [f32],
    add: bool,
) {
    static ZEROS: [f32; PANEL] = [0.0; PANEL];
    let tile_len = tiles.depth * MAX_ROWS;
    assert!(rows.start.is_multiple_of(MAX_ROWS) && rows.end.div_ceil(MAX_ROWS) * tile_len <= tiles.values.len());
    assert!(depth.start <= depth.end && depth.end <= tiles.depth && depth.end * PANEL <= panel.len());
    assert!(rows.end * PANEL <= c.len() && (1..=PANEL).contains(&lanes));
    for row in rows.clone().step_by(MAX_ROWS) {
        // SAFETY: rows, depth and lanes lie inside the operands, as asserted, and `c` is borrowed for writing.
        unsafe {
            let tile = Tile {
                k: depth.len(),
                a: tiles.values.as_ptr().add(row / MAX_ROWS * tile_len + depth.start * MAX_ROWS),
                a_row: 1,
                a_col: MAX_ROWS,
                b: panel.as_ptr().add(depth.start * PANEL),
                b_row: PANEL,
                c: c.as_mut_ptr().add(row * PANEL),
                c_row: PANEL,
                start: if add { None } else { Some(ZEROS.as_ptr()) },
                rows: MAX_ROWS.min(rows.end - row),
                cols: lanes,
            };
            microkernel::accumulate(level, tile);
        }
    }
}

/// The lanes that `n` columns take: whole vectors, however short they are on the machine.
pub(super) fn lanes(n: usize) -> usize {
    n.next_multiple_of(16).min(PANEL)
}
