//! Products in f32 over packed panels: frozen weights in either orientation, widened block by block as they are used, and plain buffers.

use std::ops::Range;

use rayon::prelude::*;

use super::microkernel::{self, MAX_ROWS, PANEL, Tile};
use super::transpose;
use crate::cpu::Level;
use crate::device::{Matmul, Precision};
use crate::rounding::round_to_bf16;
use crate::weight::WeightMatrix;

/// Length of the sums a panel holds: panels of 32 KB, which stay in the first-level cache.
pub(super) const K_BLOCK: usize = 256;

/// The `b` of a product `[k, n]`, served in panels.
pub(super) enum Columns<'a> {
    /// `b = Wᵀ`: k runs along W's columns.
    Transposed(&'a WeightMatrix, Precision),
    /// `b = W`: k runs along W's rows.
    Direct(&'a WeightMatrix, Precision),
    /// `alpha * b` of a plain buffer; element `(k, n)` at `k * row + n * col`.
    Plain { values: &'a [f32], row: usize, col: usize, alpha: f32 },
}

impl Columns<'_> {
    /// Columns a task takes: blocks of the format must not be cut, and more columns share one reading of `a`.
    fn columns_a_task(&self) -> usize {
        match self {
            Self::Direct(w, _) => (2 * PANEL).max(w.format().block_len()),
            _ => 2 * PANEL,
        }
    }

    /// Writes `b[k_from .. k_from + k_len, n_from .. n_from + n_len]` as panels `[panel][k_len][PANEL]`, zeros past `n_len`.
    fn pack(&self, level: Level, k: Range<usize>, n: Range<usize>, row: &mut [f32], out: &mut [f32]) {
        let (k_from, k_len, n_from, n_len) = (k.start, k.len(), n.start, n.len());
        match *self {
            Self::Transposed(w, precision) => {
                for (p, panel) in out.chunks_exact_mut(k_len * PANEL).enumerate() {
                    for j in (0..PANEL).step_by(transpose::ROWS) {
                        let rows = &mut row[..transpose::ROWS * k_len];
                        for (i, row) in rows.chunks_exact_mut(k_len).enumerate() {
                            let n = p * PANEL + j + i;
                            if n < n_len {
                                w.widen_row(n_from + n, k_from, row);
                                round_to(precision, row);
                            } else {
                                row.fill(0.0);
                            }
                        }
                        transpose::into_panel(level, rows, k_len, &mut panel[j..]);
                    }
                }
            }
            Self::Direct(w, precision) => {
                for k in 0..k_len {
                    let row = &mut row[..n_len];
                    w.widen_row(k_from + k, n_from, row);
                    round_to(precision, row);
                    for (p, piece) in row.chunks(PANEL).enumerate() {
                        let line = &mut out[(p * k_len + k) * PANEL..][..PANEL];
                        line[..piece.len()].copy_from_slice(piece);
                        line[piece.len()..].fill(0.0);
                    }
                }
            }
            Self::Plain { values, row: row_step, col, alpha } => {
                for (p, panel) in out.chunks_exact_mut(k_len * PANEL).enumerate() {
                    let n = n_from + p * PANEL;
                    let width = (n_from + n_len - n).min(PANEL);
                    for (k, line) in panel.chunks_exact_mut(PANEL).enumerate() {
                        let first = (k_from + k) * row_step + n * col;
                        if col == 1 {
                            for (o, v) in line.iter_mut().zip(&values[first..first + width]) {
                                *o = alpha * v;
                            }
                        } else {
                            for (j, o) in line[..width].iter_mut().enumerate() {
                                *o = alpha * values[first + j * col];
                            }
                        }
                        line[width..].fill(0.0);
                    }
                }
            }
        }
    }
}

/// Rounds to bf16, nearest even, when the precision asks for it.
pub(super) fn round_to(precision: Precision, values: &mut [f32]) {
    if precision == Precision::Bf16 {
        for value in values {
            *value = round_to_bf16(*value);
        }
    }
}

/// Row-major or transposed view of `a`: element `(i, k)` at `i * row + k * col`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) row: usize,
    pub(super) col: usize,
}

/// `a` as the inner loop reads it.
#[derive(Clone, Copy)]
enum Left<'a> {
    /// Where it lies.
    Strided(Rows<'a>),
    /// Copied by [`pack_rows`]: rows a power of two apart would fight over the same cache lines.
    Packed(&'a [f32]),
}

impl Left<'_> {
    /// First element, row step and column step of the rows from `m` in the block of columns from `k`.
    fn at(&self, m: usize, k: usize, sizes: Sizes) -> (*const f32, usize, usize) {
        match self {
            Self::Strided(rows) => (rows.values[m * rows.row + k * rows.col..].as_ptr(), rows.row, rows.col),
            Self::Packed(values) => {
                let k_len = K_BLOCK.min(sizes.k - k);
                (values[k * sizes.m.next_multiple_of(MAX_ROWS) + m * k_len..].as_ptr(), 1, MAX_ROWS)
            }
        }
    }
}

/// Copies `a`, rounded, to `[block of k][panel of rows][k][MAX_ROWS]`, zeros past the last row.
fn pack_rows(sizes: Sizes, a: Rows<'_>, precision: Precision) -> Vec<f32> {
    let Sizes { m, k, .. } = sizes;
    let padded = m.next_multiple_of(MAX_ROWS);
    let mut packed = vec![0.0; padded * k];
    packed.par_chunks_mut(padded * K_BLOCK).enumerate().for_each(|(block, out)| {
        let (k_from, k_len) = (block * K_BLOCK, out.len() / padded);
        out.par_chunks_mut(k_len * MAX_ROWS).enumerate().with_min_len(4).for_each(|(panel, out)| {
            let m_from = panel * MAX_ROWS;
            for i in 0..MAX_ROWS.min(m - m_from) {
                let first = (m_from + i) * a.row + k_from * a.col;
                for (kk, line) in out.chunks_exact_mut(MAX_ROWS).enumerate() {
                    line[i] = a.values[first + kk * a.col];
                }
            }
            round_to(precision, out);
        });
    });
    packed
}

/// What the elements of a product start from.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    /// What the result holds.
    Held,
    /// Zero.
    Zero,
    /// The same row for all rows.
    Row(&'a [f32]),
}

impl Start<'_> {
    /// Where a tile finds its first `PANEL` values from column `n`, or fewer at the end; `None`: in the result.
    fn at(self, n: usize) -> Option<*const f32> {
        static ZEROS: [f32; PANEL] = [0.0; PANEL];
        match self {
            Self::Held => None,
            Self::Zero => Some(ZEROS.as_ptr()),
            Self::Row(row) => Some(row[n..].as_ptr()),
        }
    }
}

/// Sizes of a product `c [m, n] += a [m, k] b [k, n]`.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

/// A pointer that tasks writing disjoint parts may share.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub(super) *mut f32);
// SAFETY: every task that gets one writes elements no other task touches; each use says why.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer, taken through a method so that closures capture the whole wrapper.
    pub(super) fn get(self) -> *mut f32 {
        self.0
    }
}

/// Scratch of one task: a widened row and packed panels.
#[derive(Default)]
struct Scratch {
    row: Vec<f32>,
    panels: Vec<f32>,
}

thread_local! {
    static SCRATCH: std::cell::RefCell<Scratch> = std::cell::RefCell::default();
}

/// Columns from which on copying `a` pays.
const MANY_COLUMNS: usize = 3 * PANEL;

/// `c = start + a b`, on the current rayon pool, with `a` rounded to `precision`. `c` is `[m, n]` row-major.
fn product(level: Level, precision: Precision, sizes: Sizes, a: Rows<'_>, b: &Columns<'_>, start: Start<'_>, c: &mut [f32]) {
    let Sizes { m, n, k } = sizes;
    assert_eq!(c.len(), m * n);
    assert!(k > 0, "a product sums something");
    if let Start::Row(row) = start {
        assert_eq!(row.len(), n);
    }
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * a.row + (k - 1) * a.col < a.values.len());
    let width = b.columns_a_task();
    let n_tasks = n.div_ceil(width);
    // Few columns: split the rows too, so that every thread has work. Splitting changes no bits.
    let threads = rayon::current_num_threads();
    let row_tasks = if n_tasks >= 4 * threads { 1 } else { (4 * threads).div_ceil(n_tasks).min(m.div_ceil(4 * MAX_ROWS)) };
    let rows_a_task = m.div_ceil(row_tasks).next_multiple_of(MAX_ROWS);
    let packed: Vec<f32>;
    let a = if n >= MANY_COLUMNS || precision != Precision::F32 {
        packed = pack_rows(sizes, a, precision);
        Left::Packed(&packed)
    } else {
        Left::Strided(a)
    };
    let c = Shared(c.as_mut_ptr());
    let task = |index: usize| {
        let (n_from, m_from) = (index % n_tasks * width, index / n_tasks * rows_a_task);
        let block = Block { m_from, m_to: (m_from + rows_a_task).min(m), n_from, n_len: width.min(n - n_from) };
        // SAFETY: blocks of different tasks are disjoint parts of `c`, which outlives the call; `a` was checked above.
        SCRATCH.with_borrow_mut(|scratch| unsafe { accumulate_block(level, sizes, a, b, Output { start, c: c.get(), row: n }, block, scratch) });
    };
    let n_row_tasks = m.div_ceil(rows_a_task);
    if threads == 1 || n_tasks * n_row_tasks == 1 {
        (0..n_tasks * n_row_tasks).for_each(task);
    } else {
        (0..n_tasks * n_row_tasks).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// `c += a b` by this thread alone, into rows of `c` that are `row` elements apart.
///
/// # Safety
/// Row `i`, column `j` of `c` must be writable by this thread alone at `c + i * row + j`.
pub(super) unsafe fn accumulate_here(level: Level, sizes: Sizes, a: Rows<'_>, b: &Columns<'_>, c: *mut f32, row: usize) {
    let Sizes { m, n, k } = sizes;
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!((m - 1) * a.row + (k - 1) * a.col < a.values.len());
    let width = b.columns_a_task();
    for n_from in (0..n).step_by(width) {
        let block = Block { m_from: 0, m_to: m, n_from, n_len: width.min(n - n_from) };
        // SAFETY: the caller's contract; `a` was checked above.
        SCRATCH
            .with_borrow_mut(|scratch| unsafe { accumulate_block(level, sizes, Left::Strided(a), b, Output { start: Start::Held, c, row }, block, scratch) });
    }
}

/// Where a result lies: rows `row` elements apart.
#[derive(Clone, Copy)]
struct Output<'a> {
    start: Start<'a>,
    c: *mut f32,
    row: usize,
}

/// The part of `c` a task computes.
#[derive(Clone, Copy)]
struct Block {
    m_from: usize,
    m_to: usize,
    n_from: usize,
    n_len: usize,
}

/// # Safety
/// The block of `c` must be writable by this thread alone, and `a` must hold `m` rows.
unsafe fn accumulate_block(level: Level, sizes: Sizes, a: Left<'_>, b: &Columns<'_>, out: Output<'_>, block: Block, scratch: &mut Scratch) {
    let n_panels = block.n_len.div_ceil(PANEL);
    scratch.panels.resize(scratch.panels.len().max(n_panels * PANEL * K_BLOCK), 0.0);
    scratch.row.resize(scratch.row.len().max((transpose::ROWS * K_BLOCK).max(block.n_len)), 0.0);
    for k_from in (0..sizes.k).step_by(K_BLOCK) {
        let k_len = K_BLOCK.min(sizes.k - k_from);
        let panels = &mut scratch.panels[..n_panels * PANEL * k_len];
        b.pack(level, k_from..k_from + k_len, block.n_from..block.n_from + block.n_len, &mut scratch.row, panels);
        for (p, panel) in panels.chunks_exact(PANEL * k_len).enumerate() {
            let n = block.n_from + p * PANEL;
            for m in (block.m_from..block.m_to).step_by(MAX_ROWS) {
                let (a, a_row, a_col) = a.at(m, k_from, sizes);
                // SAFETY: row m and column n lie inside `a` and the block of `c`.
                unsafe {
                    let tile = Tile {
                        k: k_len,
                        a,
                        a_row,
                        a_col,
                        b: panel.as_ptr(),
                        c: out.c.add(m * out.row + n),
                        c_row: out.row,
                        start: if k_from == 0 { out.start.at(n) } else { None },
                        rows: MAX_ROWS.min(block.m_to - m),
                        cols: PANEL.min(block.n_from + block.n_len - n),
                    };
                    microkernel::accumulate(level, tile);
                }
            }
        }
    }
}

/// `y = x Wᵀ (+ bias)`.
pub(super) fn linear(level: Level, precision: Precision, w: &WeightMatrix, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
    assert_eq!((x.len(), y.len()), (rows * w.cols(), rows * w.rows()));
    let start = bias.map_or(Start::Zero, Start::Row);
    let sizes = Sizes { m: rows, n: w.rows(), k: w.cols() };
    product(level, precision, sizes, Rows { values: x, row: w.cols(), col: 1 }, &Columns::Transposed(w, precision), start, y);
}

/// `d_x (+)= d_y W`.
pub(super) fn linear_backward(level: Level, precision: Precision, w: &WeightMatrix, d_y: &[f32], rows: usize, d_x: &mut [f32], add: bool) {
    assert_eq!((d_y.len(), d_x.len()), (rows * w.rows(), rows * w.cols()));
    let start = if add { Start::Held } else { Start::Zero };
    let sizes = Sizes { m: rows, n: w.cols(), k: w.rows() };
    product(level, precision, sizes, Rows { values: d_y, row: w.rows(), col: 1 }, &Columns::Direct(w, precision), start, d_x);
}

/// `c = alpha * op(a) op(b) + beta * c` over plain buffers.
pub(super) fn matmul(level: Level, s: Matmul, a: &[f32], b: &[f32], c: &mut [f32]) {
    assert!(a.len() >= s.m * s.k && b.len() >= s.k * s.n);
    let c = &mut c[..s.m * s.n];
    let start = if s.beta == 0.0 { Start::Zero } else { Start::Held };
    if s.beta != 0.0 && s.beta != 1.0 {
        c.par_chunks_mut(1 << 14).for_each(|part| part.iter_mut().for_each(|v| *v *= s.beta));
    }
    let (a_row, a_col) = if s.transpose_a { (1, s.m) } else { (s.k, 1) };
    let (row, col) = if s.transpose_b { (1, s.k) } else { (s.n, 1) };
    let sizes = Sizes { m: s.m, n: s.n, k: s.k };
    product(
        level,
        Precision::F32,
        sizes,
        Rows { values: a, row: a_row, col: a_col },
        &Columns::Plain { values: b, row, col, alpha: s.alpha },
        start,
        c,
    );
}
