//! Operands as the matrix unit takes them: rounded to bf16, in whole tiles, zeros past the edges.

use std::ops::Range;

use super::halves_mut;
use super::unit::{DEPTH, RESULT, SIDE, TILE};
use crate::cpu::Level;
use crate::cpu_device::transpose;
use crate::rounding::round_to_bf16;
use crate::weight::{Format, WeightMatrix};

/// Bits of the bf16 nearest to `value`.
fn bf16(value: f32) -> u16 {
    (round_to_bf16(value).to_bits() >> 16) as u16
}

/// Rows of an operand that tiles hold along their sums: `[step][2][16 rows][32]`, for up to 32 rows of `row_of(i)[..len]`.
///
/// `out` gets `len.div_ceil(DEPTH)` steps.
pub(super) fn rows_along<'a>(rows: usize, len: usize, row_of: impl Fn(usize) -> &'a [f32], out: &mut [u16]) {
    for i in 0..2 * SIDE {
        let row = if i < rows { &row_of(i)[..len] } else { &[] };
        for (step, tiles) in out.chunks_exact_mut(2 * TILE).take(len.div_ceil(DEPTH)).enumerate() {
            let line = &mut tiles[i * DEPTH..][..DEPTH];
            let piece = row.get(step * DEPTH..).map_or(&[][..], |rest| &rest[..DEPTH.min(rest.len())]);
            for (to, from) in line.iter_mut().zip(piece) {
                *to = bf16(*from);
            }
            line[piece.len()..].fill(0);
        }
    }
}

/// The same rows as the columns of the other operand: `[step][2][16 pairs][16 rows][2]`.
///
/// Two bf16 lie in the place of an f32 of `out`; `lines` is scratch.
pub(super) fn rows_across<'a>(
    level: Level,
    rows: usize,
    len: usize,
    row_of: impl Fn(usize) -> &'a [f32],
    lines: &mut Vec<f32>,
    out: &mut [f32],
) {
    let tiles = len.div_ceil(DEPTH) * 2;
    lines.resize(lines.len().max(tiles * RESULT), 0.0);
    let lines = &mut lines[..tiles * RESULT];
    rows_along(rows, len, row_of, halves_mut(lines));
    for (from, to) in lines.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        transpose::square(level, from, to);
    }
}

/// Widened or copied parts of a frozen matrix.
#[derive(Default)]
pub(super) struct WeightScratch {
    wide: Vec<f32>,
    halves: Vec<u16>,
}

impl WeightScratch {
    /// Elements `cols` of row `row`, rounded to bf16.
    fn row<'a>(&'a mut self, w: &WeightMatrix, row: usize, cols: Range<usize>) -> &'a [u16] {
        self.halves.resize(self.halves.len().max(cols.len()), 0);
        let halves = &mut self.halves[..cols.len()];
        if w.format() == Format::Bf16 {
            for (half, bytes) in halves.iter_mut().zip(w.row_bytes(row)[2 * cols.start..2 * cols.end].as_chunks::<2>().0) {
                *half = u16::from_le_bytes(*bytes);
            }
        } else {
            self.wide.resize(self.wide.len().max(cols.len()), 0.0);
            let wide = &mut self.wide[..cols.len()];
            w.widen_row(row, cols.start, wide);
            for (half, wide) in halves.iter_mut().zip(wide) {
                *half = bf16(*wide);
            }
        }
        halves
    }

    /// Up to 32 rows of `w` from `first`, elements `cols`, along the sums: `[step][2][16 rows][32]`.
    pub(super) fn rows_along(&mut self, w: &WeightMatrix, first: usize, cols: Range<usize>, out: &mut [u16]) {
        let out = &mut out[..cols.len().div_ceil(DEPTH) * 2 * TILE];
        for i in 0..2 * SIDE {
            let row = if first + i < w.rows() { self.row(w, first + i, cols.clone()) } else { &[] };
            for (step, tiles) in out.chunks_exact_mut(2 * TILE).enumerate() {
                let line = &mut tiles[i * DEPTH..][..DEPTH];
                let piece = row.get(step * DEPTH..).map_or(&[][..], |rest| &rest[..DEPTH.min(rest.len())]);
                line[..piece.len()].copy_from_slice(piece);
                line[piece.len()..].fill(0);
            }
        }
    }

    /// Rows `rows` of `w`, elements `cols`, with the sums running over the rows: panels of 32 columns `[panel][step][2][16 pairs of rows][16 columns][2]`.
    /// A panel takes `panel_len` elements of `out`.
    pub(super) fn pairs_of_rows(&mut self, w: &WeightMatrix, rows: Range<usize>, cols: Range<usize>, panel_len: usize, out: &mut [u16]) {
        let n_cols = cols.len();
        let mut pair = vec![0u16; 2 * n_cols.next_multiple_of(2 * SIDE)];
        let (even, odd) = pair.split_at_mut(n_cols.next_multiple_of(2 * SIDE));
        for i in 0..rows.len().div_ceil(DEPTH) * SIDE {
            for (half, line) in [&mut *even, &mut *odd].into_iter().enumerate() {
                match rows.start + 2 * i + half {
                    row if row < rows.end => line[..n_cols].copy_from_slice(self.row(w, row, cols.clone())),
                    _ => line.fill(0),
                }
            }
            let (step, line) = (i / SIDE, i % SIDE);
            for (piece, (even, odd)) in even.chunks_exact(SIDE).zip(odd.chunks_exact(SIDE)).enumerate() {
                let (panel, side) = (piece / 2, piece % 2);
                let at = panel * panel_len + step * 2 * TILE + side * TILE + line * 2 * SIDE;
                for (to, (even, odd)) in out[at..at + 2 * SIDE].as_chunks_mut::<2>().0.iter_mut().zip(even.iter().zip(odd)) {
                    *to = [*even, *odd];
                }
            }
        }
    }
}
