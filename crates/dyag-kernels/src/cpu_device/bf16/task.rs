//! What the tasks of all bf16 products share: their scratch, and the writing of results.

use std::cell::RefCell;
use std::ops::Range;

use super::pack::Widened;
use super::{BLOCK, BLOCKS_A_CHUNK, PANEL, PANELS_A_TASK, RESULT, SIDE, Target};
use crate::cpu::Level;
use crate::cpu_device::product::Shared;
use crate::cpu_device::transpose;

/// Memory of one task.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) widened: Widened,
    pub(super) panels: Vec<u16>,
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Results of 32 lines and 32 columns, `[half of the lines][half of the columns][16][16]`.
pub(super) type Sums = [f32; 4 * RESULT];

/// Calls `work` with this thread's scratch, which has room for the panels of a task and for `blocks` blocks of results. What they hold is not said.
pub(super) fn with_scratch<R>(blocks: usize, work: impl FnOnce(&mut Widened, &mut [u16], &mut [Sums]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.panels.resize(PANELS_A_TASK * PANEL, 0);
        scratch.sums.resize(scratch.sums.len().max(blocks * 4 * RESULT), 0.0);
        let Scratch { widened, panels, sums } = scratch;
        work(widened, panels, sums.as_chunks_mut().0)
    })
}

/// Blocks of rows as chunks of nearly the same size.
pub(super) fn chunks(blocks: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let size = blocks.div_ceil(blocks.div_ceil(BLOCKS_A_CHUNK).max(1)).max(1);
    (0..blocks).step_by(size).map(move |first| first..(first + size).min(blocks))
}

/// How much of block `block` lies before `len`.
pub(super) fn extent(block: usize, len: usize) -> usize {
    BLOCK.min(len - block * BLOCK)
}

/// The results as 32 rows of 32, multiplied by `scale`; zeros outside of `lines` and `columns`.
pub(super) fn square(sums: &Sums, (lines, columns): (usize, usize), scale: f32) -> [[f32; BLOCK]; BLOCK] {
    let mut square = [[0.0; BLOCK]; BLOCK];
    for (i, row) in square.iter_mut().enumerate().take(lines) {
        for half in 0..columns.div_ceil(SIDE) {
            let from = &sums[(i / SIDE * 2 + half) * RESULT + i % SIDE * SIDE..][..SIDE];
            row[half * SIDE..][..SIDE].iter_mut().zip(from).for_each(|(to, from)| *to = scale * from);
        }
        row[columns..].fill(0.0);
    }
    square
}

/// The square with rows and columns exchanged.
pub(super) fn turned(level: Level, square: &[[f32; BLOCK]; BLOCK]) -> [[f32; BLOCK]; BLOCK] {
    let mut out = [[0.0; BLOCK]; BLOCK];
    let (mut from, mut to) = ([0.0; RESULT], [0.0; RESULT]);
    for (down, across) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for (i, line) in from.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
            line.copy_from_slice(&square[down * SIDE + i][across * SIDE..][..SIDE]);
        }
        transpose::square(level, &from, &mut to);
        for (i, line) in to.as_chunks::<SIDE>().0.iter().enumerate() {
            out[across * SIDE + i][down * SIDE..][..SIDE].copy_from_slice(line);
        }
    }
    out
}

/// A row-major matrix that tasks write disjoint parts of.
#[derive(Clone, Copy)]
pub(super) struct Destination {
    memory: Shared,
    narrow: bool,
    rows: usize,
    width: usize,
}

impl Destination {
    /// `[rows, width]` in `target`.
    pub(super) fn new(target: &mut Target<'_>, rows: usize, width: usize) -> Self {
        let (memory, len, narrow) = match target {
            Target::F32(values) => (Shared(values.as_mut_ptr()), values.len(), false),
            Target::Bf16(values) => (Shared(values.as_mut_ptr().cast()), values.len(), true),
        };
        assert_eq!(len, rows * width, "results have the sizes of the product");
        Self { memory, narrow, rows, width }
    }
}

/// What results are added to.
#[derive(Clone, Copy, Default)]
pub(super) struct Base<'a> {
    /// The same row for all.
    pub(super) row: Option<&'a [f32]>,
    /// A matrix of the results' size.
    pub(super) matrix: Option<&'a [f32]>,
    /// What the destination holds.
    pub(super) held: bool,
}

/// Which way a block's lines and columns lie in the destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Lines are its rows.
    Along,
    /// Lines are its columns.
    Across,
}

/// Writes a block of results: its first line and column stand at `line` and `column` of the destination (or its column and row, where they lie across).
///
/// # Safety
/// No other task may write these rows and columns of the destination, whose memory must still be there.
pub(super) unsafe fn write(level: Level, to: Destination, base: Base<'_>, sums: &Sums, (line, column): (usize, usize), lie: Lie) {
    let mut across = [0.0; RESULT];
    for (part, tile) in sums.as_chunks::<RESULT>().0.iter().enumerate() {
        let (line, column) = (line + part / 2 * SIDE, column + part % 2 * SIDE);
        let (tile, row, column) = match lie {
            Lie::Along => (tile, line, column),
            Lie::Across => {
                if column >= to.rows || line >= to.width {
                    continue;
                }
                transpose::square(level, tile, &mut across);
                (&across, column, line)
            }
        };
        if row < to.rows && column < to.width {
            // SAFETY: the caller's contract; the instructions are there as for all of bf16.
            unsafe { x86::write_tile(to, base, tile, row, column) };
        }
    }
}

mod x86 {
    use std::arch::x86_64::*;

    use super::{Base, Destination, RESULT, SIDE};

    /// Writes what of a tile lies inside the destination.
    ///
    /// # Safety
    /// The instructions, and as [`super::write`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn write_tile(to: Destination, base: Base<'_>, tile: &[f32; RESULT], row: usize, column: usize) {
        let columns = SIDE.min(to.width - column);
        let mask = ((1u32 << columns) - 1) as u16;
        let of_row = |values: &[f32], from: usize| {
            let part = &values[from..from + columns];
            // SAFETY: the mask ends with `part`.
            unsafe { _mm512_maskz_loadu_ps(mask, part.as_ptr()) }
        };
        let start = base.row.map_or(_mm512_setzero_ps(), |values| of_row(values, column));
        for (i, line) in tile.as_chunks::<SIDE>().0.iter().enumerate().take(to.rows - row) {
            let at = (row + i) * to.width + column;
            // SAFETY: sixteen elements.
            let mut sum = _mm512_add_ps(start, unsafe { _mm512_loadu_ps(line.as_ptr()) });
            if let Some(matrix) = base.matrix {
                sum = _mm512_add_ps(of_row(matrix, at), sum);
            }
            // SAFETY: inside the destination, as its sizes say and the mask keeps to.
            unsafe {
                if to.narrow {
                    debug_assert!(!base.held, "nothing is added to in bf16");
                    let halves = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(sum));
                    _mm256_mask_storeu_epi16(to.memory.get().cast::<i16>().add(at), mask, halves);
                } else {
                    let place = to.memory.get().add(at);
                    if base.held {
                        sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, place), sum);
                    }
                    _mm512_mask_storeu_ps(place, mask, sum);
                }
            }
        }
    }
}
