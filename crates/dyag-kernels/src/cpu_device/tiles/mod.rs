//! Products with frozen weights on the matrix unit: operands in bf16, sums in f32.
//!
//! The weights of 32 outputs, 512 deep, are rounded into a panel of 32 KB that stays in the first-level cache while the activations stream past it; those
//! are packed once a product. Sums stay in tiles for a panel's depth and rest in f32 between panels, so an element's chain of additions depends on
//! neither the rows beside it nor the number of threads.

#[cfg(all(test, target_os = "linux"))]
pub(super) mod emulator;
mod pack;
mod unit;

use std::cell::RefCell;
use std::sync::Arc;

use rayon::prelude::*;

use super::pool::{CpuBuffer, Pool};
use super::product::{self, Columns, Rows, Shared, Start, Term};
use super::transpose;
use crate::cpu::Level;
use crate::weight::WeightMatrix;

use pack::WeightScratch;
use unit::{DEPTH, RESULT, SIDE, TILE, Unit};

pub(crate) use unit::available;
pub(super) use unit::{A_ROUND_FLOPS, MANY_ROUNDS, exercise};

/// Outputs of a panel, and activations of a block: two tiles.
const PAIR: usize = 2 * SIDE;

/// Length of the sums a panel holds; a multiple of every block of weights.
const DEPTH_A_PANEL: usize = 512;

/// bf16 elements of a panel.
const PANEL_LEN: usize = DEPTH_A_PANEL / DEPTH * 2 * TILE;

/// Panels a task takes: as wide as a block of weights, so that the backward cuts none.
const PANELS_A_TASK: usize = 8;

/// Which product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `x Wᵀ`: outputs are the rows of W.
    Forward,
    /// `d_y W`: outputs are the columns of W.
    Backward,
}

/// A product `c [rows, n] = start + a [rows, k] op(W) + beside`.
pub(super) struct Product<'a> {
    pub(super) form: Form,
    pub(super) w: &'a WeightMatrix,
    /// Activations `[rows, k]`.
    pub(super) a: &'a [f32],
    pub(super) rows: usize,
    pub(super) start: Start<'a>,
    /// A term in f32.
    pub(super) beside: Option<Term<'a>>,
}

/// Memory of one task.
#[derive(Default)]
struct Scratch {
    weights: WeightScratch,
    panels: Vec<u16>,
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    static LINES: RefCell<Vec<f32>> = RefCell::default();
}

impl Product<'_> {
    fn k(&self) -> usize {
        if self.form == Form::Forward { self.w.cols() } else { self.w.rows() }
    }

    fn n(&self) -> usize {
        if self.form == Form::Forward { self.w.rows() } else { self.w.cols() }
    }

    /// Computes it into `c`, on the current rayon pool.
    ///
    /// # Safety
    /// The matrix unit must be [`available`], or something must stand in for it.
    pub(super) unsafe fn compute(&self, level: Level, memory: &Arc<Pool>, c: &mut [f32]) {
        let (n, k, rows) = (self.n(), self.k(), self.rows);
        assert_eq!((self.a.len(), c.len()), (rows * k, rows * n));
        if rows == 0 || n == 0 {
            return;
        }
        let activations = self.pack_activations(level, memory);
        let c = Shared(c.as_mut_ptr());
        let width = PANELS_A_TASK * PAIR;
        (0..n.div_ceil(width)).into_par_iter().with_max_len(1).for_each(|task| {
            let columns = task * width..((task + 1) * width).min(n);
            SCRATCH.with_borrow_mut(|scratch| {
                // SAFETY: the caller's contract.
                let unit = unsafe { Unit::configure() };
                self.sum_up(&unit, &activations, columns.clone(), scratch);
                drop(unit);
                // SAFETY: these columns of `c` belong to this task.
                unsafe { self.write(level, columns, &scratch.sums, c.get()) };
            });
        });
    }

    /// Elements of a block of packed activations: 32 rows, a panel deep.
    fn block_len(&self, panel: usize) -> usize {
        DEPTH_A_PANEL.min(self.k() - panel * DEPTH_A_PANEL).div_ceil(DEPTH) * 2 * TILE
    }

    /// The activations as `[panel of k][block of 32 rows][step][2][TILE]`.
    fn pack_activations(&self, level: Level, memory: &Arc<Pool>) -> CpuBuffer {
        let (k, blocks) = (self.k(), self.rows.div_ceil(PAIR));
        let panels = k.div_ceil(DEPTH_A_PANEL);
        let whole = blocks * PANEL_LEN;
        // Two bf16 in the place of an f32.
        let mut packed = memory.take(panels * whole / 2);
        packed.par_chunks_mut(PANEL_LEN / 2).enumerate().for_each(|(index, out)| {
            let (panel, block) = (index / blocks, index % blocks);
            let (from, len) = (panel * DEPTH_A_PANEL, DEPTH_A_PANEL.min(k - panel * DEPTH_A_PANEL));
            let row_of = |i: usize| &self.a[(block * PAIR + i) * k + from..][..len];
            let rows = PAIR.min(self.rows - block * PAIR);
            match self.form {
                Form::Forward => LINES.with_borrow_mut(|lines| pack::rows_across(level, rows, len, row_of, lines, out)),
                Form::Backward => pack::rows_along(rows, len, row_of, halves_mut(out)),
            }
        });
        packed
    }

    /// Sums of the outputs `columns` and all rows, as `scratch.sums` `[panel][block of rows][2][2][16][16]`.
    fn sum_up(&self, unit: &Unit, activations: &CpuBuffer, columns: std::ops::Range<usize>, scratch: &mut Scratch) {
        let (k, blocks, panels) = (self.k(), self.rows.div_ceil(PAIR), columns.len().div_ceil(PAIR));
        let activations = halves(activations);
        scratch.panels.resize(PANELS_A_TASK * PANEL_LEN, 0);
        scratch.sums.resize(scratch.sums.len().max(panels * blocks * 4 * RESULT), 0.0);
        for deep in 0..k.div_ceil(DEPTH_A_PANEL) {
            let depth = deep * DEPTH_A_PANEL..((deep + 1) * DEPTH_A_PANEL).min(k);
            let steps = self.block_len(deep) / (2 * TILE);
            if self.form == Form::Backward {
                scratch.weights.pairs_of_rows(self.w, depth.clone(), columns.clone(), PANEL_LEN, &mut scratch.panels);
            }
            for panel in 0..panels {
                let weights = &mut scratch.panels[panel * PANEL_LEN..][..PANEL_LEN];
                if self.form == Form::Forward {
                    scratch.weights.rows_along(self.w, columns.start + panel * PAIR, depth.clone(), weights);
                }
                for block in 0..blocks {
                    let activations = &activations[(deep * blocks + block) * PANEL_LEN..][..PANEL_LEN];
                    let sums = &mut scratch.sums[(panel * blocks + block) * 4 * RESULT..][..4 * RESULT];
                    match self.form {
                        Form::Forward => unit.multiply(steps, weights, activations, sums, deep == 0),
                        Form::Backward => unit.multiply(steps, activations, weights, sums, deep == 0),
                    }
                }
            }
        }
    }

    /// Writes `start + sums + beside` to the columns of `c`.
    ///
    /// # Safety
    /// These columns of all rows of `c` must be writable by this thread alone.
    unsafe fn write(&self, level: Level, columns: std::ops::Range<usize>, sums: &[f32], c: *mut f32) {
        let (n, blocks) = (self.n(), self.rows.div_ceil(PAIR));
        let mut turned = [0.0; RESULT];
        for panel in 0..columns.len().div_ceil(PAIR) {
            for block in 0..blocks {
                for part in 0..4 {
                    let tile = &sums[((panel * blocks + block) * 4 + part) * RESULT..][..RESULT];
                    // Forward results lie `[output][row]`.
                    let (tile, row_side, column_side) = match self.form {
                        Form::Forward => {
                            transpose::square(level, tile.try_into().expect("a result"), &mut turned);
                            (&turned[..], part % 2, part / 2)
                        }
                        Form::Backward => (tile, part / 2, part % 2),
                    };
                    let column = columns.start + panel * PAIR + column_side * SIDE;
                    if column >= columns.end {
                        continue;
                    }
                    let width = SIDE.min(columns.end - column);
                    for (i, line) in tile.as_chunks::<SIDE>().0.iter().enumerate() {
                        let row = block * PAIR + row_side * SIDE + i;
                        if row < self.rows {
                            // SAFETY: the caller's contract.
                            let to = unsafe { std::slice::from_raw_parts_mut(c.add(row * n + column), width) };
                            match self.start {
                                Start::Held => to.iter_mut().zip(line).for_each(|(to, sum)| *to += sum),
                                Start::Zero => to.copy_from_slice(&line[..width]),
                                Start::Row(start) => {
                                    to.iter_mut().zip(line).zip(&start[column..]).for_each(|((to, sum), start)| *to = start + sum);
                                }
                            }
                        }
                    }
                }
            }
        }
        if let Some(Term { k, a, b: Columns::Plain { values, row, col, alpha }, precision }) = self.beside {
            let b = Columns::Plain { values: &values[columns.start * col..], row, col, alpha };
            let term = Term { k, a: Rows { ..a }, b, precision };
            // SAFETY: the caller's contract.
            unsafe { product::add_product_here(level, (self.rows, columns.len()), &term, c.add(columns.start), n) };
        }
    }
}

/// The memory of `buffer` as bf16.
fn halves(buffer: &[f32]) -> &[u16] {
    // SAFETY: any bytes are numbers of either kind, and an f32 is aligned for an u16.
    unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), 2 * buffer.len()) }
}

/// The memory of `buffer` as bf16.
fn halves_mut(buffer: &mut [f32]) -> &mut [u16] {
    // SAFETY: as in `halves`.
    unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), 2 * buffer.len()) }
}
