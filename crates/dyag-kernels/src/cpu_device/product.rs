//! Products in f32 over packed panels: frozen weights in either orientation, widened block by block as they are used, and plain buffers.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::microkernel::{self, HALF, MAX_ROWS, PANEL, Tile};
use super::pool::{CpuBuffer, Pool};
use super::{CpuDevice, few_rows, transpose};
use crate::cpu::Level;
use crate::device::{LowRank, Matmul, Precision};
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

impl<'a> Columns<'a> {
    /// Whether there is a `b` `[k, n]` in it.
    fn holds(&self, k: usize, n: usize) -> bool {
        match *self {
            Self::Transposed(w, _) => (w.cols(), w.rows()) == (k, n),
            Self::Direct(w, _) => (w.rows(), w.cols()) == (k, n),
            Self::Plain { values, row, col, .. } => (k - 1) * row + (n - 1) * col < values.len(),
        }
    }

    /// The matrix as it lies, when a kernel can read it so: its values from `(0, 0)`, and its rows' distance.
    fn direct(&self, level: Level) -> Option<(&'a [f32], usize)> {
        match *self {
            Self::Plain { values, row, col: 1, alpha: 1.0 } if level == Level::Avx512 => Some((values, row)),
            _ => None,
        }
    }

    /// Columns a task takes: blocks of the format must not be cut, and more columns share one reading of `a`.
    fn columns_a_task(&self) -> usize {
        match self {
            Self::Direct(w, _) => (2 * PANEL).max(w.format().block_len()),
            _ => 2 * PANEL,
        }
    }

    /// Writes `b[k_from .. k_from + k_len, n_from .. n_from + n_len]` as panels `[panel][k_len][PANEL]`. What lies past `n_len` is never part of a result.
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
                        transpose::into_panel(level, rows, k_len, transpose::ROWS, k_len, &mut panel[j..]);
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
            Self::Plain { values, row: 1, col, alpha } => {
                for (p, panel) in out.chunks_exact_mut(k_len * PANEL).enumerate() {
                    for j in (0..PANEL).step_by(transpose::ROWS) {
                        let n = p * PANEL + j;
                        if n < n_len {
                            let rows = transpose::ROWS.min(n_len - n);
                            transpose::into_panel(level, &values[(n_from + n) * col + k_from..], col, rows, k_len, &mut panel[j..]);
                        }
                    }
                    if alpha != 1.0 {
                        panel.iter_mut().for_each(|v| *v *= alpha);
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

/// A summand of a product: `a [m, k] b [k, n]`.
pub(super) struct Term<'a> {
    /// Length of the sums.
    pub(super) k: usize,
    pub(super) a: Rows<'a>,
    pub(super) b: Columns<'a>,
    /// What `a` is rounded to.
    pub(super) precision: Precision,
}

impl Term<'_> {
    /// Whether both operands hold what a product `[m, n]` reads.
    fn fits(&self, m: usize, n: usize) -> bool {
        (m - 1) * self.a.row + (self.k - 1) * self.a.col < self.a.values.len() && self.b.holds(self.k, n)
    }
}

/// `a` as the inner loop reads it.
pub(super) enum Left<'a> {
    /// Where it lies.
    Strided(Rows<'a>),
    /// Copied by [`pack_rows`]: rows a power of two apart would fight over the same cache lines.
    Packed(CpuBuffer),
}

impl Left<'_> {
    /// First element, row step and column step of the rows from `m` in the block of columns from `k_from`, of `rows` rows and `k` columns in all.
    fn at(&self, m: usize, k_from: usize, rows: usize, k: usize) -> (*const f32, usize, usize) {
        match self {
            Self::Strided(rows) => (rows.values[m * rows.row + k_from * rows.col..].as_ptr(), rows.row, rows.col),
            Self::Packed(values) => {
                let k_len = K_BLOCK.min(k - k_from);
                (values[k_from * rows.next_multiple_of(MAX_ROWS) + m * k_len..].as_ptr(), 1, MAX_ROWS)
            }
        }
    }
}

/// Copies `a` `[m, k]`, rounded, to `[block of k][panel of rows][k][MAX_ROWS]`. What lies past the last row is not looked at.
fn pack_rows(level: Level, memory: &Arc<Pool>, m: usize, term: &Term<'_>) -> CpuBuffer {
    let Term { k, a, precision, .. } = *term;
    let padded = m.next_multiple_of(MAX_ROWS);
    let mut packed = memory.take(padded * k);
    packed.par_chunks_mut(padded * K_BLOCK).enumerate().for_each(|(block, out)| {
        let (k_from, k_len) = (block * K_BLOCK, out.len() / padded);
        out.par_chunks_mut(k_len * MAX_ROWS).enumerate().with_min_len(4).for_each(|(panel, out)| {
            let (m_from, rows) = (panel * MAX_ROWS, MAX_ROWS.min(m - panel * MAX_ROWS));
            let values = &a.values[m_from * a.row + k_from * a.col..];
            if a.col == 1 {
                transpose::into_row_panel(level, values, a.row, rows, k_len, out);
            } else {
                for (kk, line) in out.chunks_exact_mut(MAX_ROWS).enumerate() {
                    for (i, to) in line[..rows].iter_mut().enumerate() {
                        *to = values[i * a.row + kk * a.col];
                    }
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

/// Scratch of one task: a widened row, packed panels, and their halves.
#[derive(Default)]
struct Scratch {
    row: Vec<f32>,
    panels: Vec<f32>,
    halves: Vec<f32>,
}

/// Rows of `a` that pass by all of a task's columns before the next ones: whole tiles, 256 KB of a block of long sums, half of a second-level cache.
const ROWS_AT_A_TIME: usize = 18 * MAX_ROWS;

thread_local! {
    static SCRATCH: std::cell::RefCell<Scratch> = std::cell::RefCell::default();
}

/// Columns from which on copying `a` pays.
const MANY_COLUMNS: usize = 3 * PANEL;

/// One of several products of as many rows: `c = start + sum of terms`, `c` being `[m, n]` row-major.
pub(super) struct Job<'a> {
    pub(super) n: usize,
    pub(super) terms: Vec<Term<'a>>,
    /// The left operand of each term.
    pub(super) lefts: Vec<&'a Left<'a>>,
    pub(super) start: Start<'a>,
    pub(super) c: Shared,
}

impl Job<'_> {
    /// Columns a task takes.
    fn width(&self) -> usize {
        self.terms.iter().map(|term| term.b.columns_a_task()).max().expect("a product has a term")
    }
}

/// `a` as the inner loop best reads it for a product of `n` columns.
pub(super) fn left<'a>(level: Level, memory: &Arc<Pool>, (m, n): (usize, usize), term: &Term<'a>) -> Left<'a> {
    let copy = n >= MANY_COLUMNS && m > 2 * MAX_ROWS || term.precision != Precision::F32;
    if copy { Left::Packed(pack_rows(level, memory, m, term)) } else { Left::Strided(term.a) }
}

/// `c = start + sum of terms`, on the current rayon pool. `c` is `[m, n]` row-major.
fn product(level: Level, memory: &Arc<Pool>, (m, n): (usize, usize), terms: Vec<Term<'_>>, start: Start<'_>, c: &mut [f32]) {
    assert_eq!(c.len(), m * n);
    if m == 0 || n == 0 {
        return;
    }
    let lefts: Vec<Left<'_>> = terms.iter().map(|term| left(level, memory, (m, n), term)).collect();
    products(level, m, &[Job { n, terms, lefts: lefts.iter().collect(), start, c: Shared(c.as_mut_ptr()) }]);
}

/// Computes all jobs, each of which writes an `[m, n]` of its own.
pub(super) fn products(level: Level, m: usize, jobs: &[Job<'_>]) {
    for Job { n, terms, start, .. } in jobs {
        if let Start::Row(row) = start {
            assert_eq!(row.len(), *n);
        }
        for term in terms {
            assert!(term.k > 0 && term.fits(m, *n), "operands have the sizes of the product");
        }
    }
    // Each task: its job and its first column.
    let strips: Vec<(usize, usize)> =
        jobs.iter().enumerate().flat_map(|(i, job)| (0..job.n).step_by(job.width()).map(move |n_from| (i, n_from))).collect();
    // Few columns: split the rows too, so that every thread has work. Splitting changes no bits.
    let threads = rayon::current_num_threads();
    let row_tasks = if strips.len() >= 4 * threads { 1 } else { (4 * threads).div_ceil(strips.len()).min(m.div_ceil(4 * MAX_ROWS)) };
    let rows_a_task = m.div_ceil(row_tasks).next_multiple_of(MAX_ROWS);
    let task = |index: usize| {
        let ((i, n_from), m_from) = (strips[index % strips.len()], index / strips.len() * rows_a_task);
        let Job { n, ref terms, ref lefts, start, c } = jobs[i];
        let block = Block { m, m_from, m_to: (m_from + rows_a_task).min(m), n_from, n_len: jobs[i].width().min(n - n_from) };
        let out = Output { start, c: c.get(), row: n };
        // SAFETY: blocks of different tasks are disjoint parts of their jobs' `c`, which outlive the call; `a` was checked above.
        SCRATCH.with_borrow_mut(|scratch| unsafe { compute_block(level, terms, lefts, out, block, scratch) });
    };
    let n_tasks = strips.len() * m.div_ceil(rows_a_task);
    if threads == 1 || n_tasks == 1 {
        (0..n_tasks).for_each(task);
    } else {
        (0..n_tasks).into_par_iter().with_max_len(1).for_each(task);
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
    /// Rows of all of `c`.
    m: usize,
    m_from: usize,
    m_to: usize,
    n_from: usize,
    n_len: usize,
}

/// # Safety
/// The block of `c` must be writable by this thread alone, and every `a` must hold `block.m` rows.
unsafe fn compute_block(level: Level, terms: &[Term<'_>], lefts: &[&Left<'_>], out: Output<'_>, block: Block, scratch: &mut Scratch) {
    let n_panels = block.n_len.div_ceil(PANEL);
    scratch.panels.resize(scratch.panels.len().max(n_panels * PANEL * K_BLOCK), 0.0);
    scratch.row.resize(scratch.row.len().max((transpose::ROWS * K_BLOCK).max(block.n_len)), 0.0);
    // Rows as even as can be: a rest of one or two rows would wait for its own sums.
    let n_rows = block.m_to - block.m_from;
    let rows_a_tile = n_rows.div_ceil(n_rows.div_ceil(MAX_ROWS));
    let mut start = out.start;
    for (term, left) in terms.iter().zip(lefts) {
        let rows_a_tile = if matches!(left, Left::Packed(_)) { MAX_ROWS } else { rows_a_tile };
        for k_from in (0..term.k).step_by(K_BLOCK) {
            let k_len = K_BLOCK.min(term.k - k_from);
            let direct = term.b.direct(level);
            if direct.is_none() {
                let panels = &mut scratch.panels[..n_panels * PANEL * k_len];
                term.b.pack(level, k_from..k_from + k_len, block.n_from..block.n_from + block.n_len, &mut scratch.row, panels);
            }
            // On AVX2 a kernel takes half a panel: halves that lie by themselves stay in the first cache while rows pass by.
            let halved = level == Level::Avx2 && n_rows > 2 * MAX_ROWS;
            let step = if halved { HALF } else { PANEL };
            if halved {
                scratch.halves.resize(scratch.halves.len().max(scratch.panels.len()), 0.0);
                transpose::halve(&scratch.panels[..n_panels * PANEL * k_len], k_len, &mut scratch.halves);
            }
            for m_from in (block.m_from..block.m_to).step_by(ROWS_AT_A_TIME) {
                let m_to = (m_from + ROWS_AT_A_TIME).min(block.m_to);
                for n_at in (0..block.n_len).step_by(step) {
                    let n = block.n_from + n_at;
                    let (b, b_row) = match direct {
                        Some((values, row)) => (values[k_from * row + n..].as_ptr(), row),
                        None if halved => (scratch.halves[n_at * k_len..].as_ptr(), HALF),
                        None => (scratch.panels[n_at * k_len..].as_ptr(), PANEL),
                    };
                    for m in (m_from..m_to).step_by(rows_a_tile) {
                        let (a, a_row, a_col) = left.at(m, k_from, block.m, term.k);
                        // SAFETY: row m and column n lie inside `a` and the block of `c`.
                        unsafe {
                            let tile = Tile {
                                k: k_len,
                                a,
                                a_row,
                                a_col,
                                b,
                                b_row,
                                c: out.c.add(m * out.row + n),
                                c_row: out.row,
                                start: start.at(n),
                                rows: rows_a_tile.min(m_to - m),
                                cols: step.min(block.n_len - n_at),
                            };
                            microkernel::accumulate(level, tile);
                        }
                    }
                }
            }
            start = Start::Held;
        }
    }
}

impl CpuDevice {
    /// `y = x Wᵀ (+ bias) (+ u vᵀ)`.
    pub(super) fn forward_product(
        &self,
        w: &WeightMatrix,
        (x, rows): (&[f32], usize),
        bias: Option<&[f32]>,
        low_rank: Option<LowRank<'_, CpuBuffer>>,
        y: &mut [f32],
    ) {
        let terms = self.forward_terms(w, (x, rows), low_rank);
        let start = bias.map_or(Start::Zero, Start::Row);
        product(self.level, &self.memory, (rows, w.rows()), terms, start, y);
    }

    /// The terms of `x Wᵀ (+ u vᵀ)`.
    pub(super) fn forward_terms<'a>(
        &self,
        w: &'a WeightMatrix,
        (x, rows): (&'a [f32], usize),
        low_rank: Option<LowRank<'a, CpuBuffer>>,
    ) -> Vec<Term<'a>> {
        assert_eq!(x.len(), rows * w.cols());
        let a = Rows { values: x, row: w.cols(), col: 1 };
        let frozen = Term { k: w.cols(), a, b: Columns::Transposed(w, self.precision), precision: self.precision };
        let beside = low_rank.map(|LowRank { u, v, rank }| Term {
            k: rank,
            a: Rows { values: u, row: rank, col: 1 },
            b: Columns::Plain { values: v, row: 1, col: rank, alpha: 1.0 },
            precision: Precision::F32,
        });
        [frozen].into_iter().chain(beside).collect()
    }

    /// `y = x Wᵀ` of operands that are not rounded, whatever the device's precision.
    pub(super) fn exact_product(&self, w: &WeightMatrix, (x, rows): (&[f32], usize), y: &mut [f32]) {
        assert_eq!((x.len(), y.len()), (rows * w.cols(), rows * w.rows()));
        let a = Rows { values: x, row: w.cols(), col: 1 };
        let term = Term { k: w.cols(), a, b: Columns::Transposed(w, Precision::F32), precision: Precision::F32 };
        product(self.level, &self.memory, (rows, w.rows()), vec![term], Start::Zero, y);
    }

    /// `d_x (+)= d_y W (+ u v)`.
    pub(super) fn backward_product(
        &self,
        w: &WeightMatrix,
        (d_y, rows): (&[f32], usize),
        low_rank: Option<LowRank<'_, CpuBuffer>>,
        d_x: &mut [f32],
        add: bool,
    ) {
        assert_eq!((d_y.len(), d_x.len()), (rows * w.rows(), rows * w.cols()));
        let a = Rows { values: d_y, row: w.rows(), col: 1 };
        let frozen = Term { k: w.rows(), a, b: Columns::Direct(w, self.precision), precision: self.precision };
        let beside = low_rank.map(|LowRank { u, v, rank }| Term {
            k: rank,
            a: Rows { values: u, row: rank, col: 1 },
            b: Columns::Plain { values: v, row: w.cols(), col: 1, alpha: 1.0 },
            precision: Precision::F32,
        });
        let start = if add { Start::Held } else { Start::Zero };
        let terms: Vec<Term<'_>> = [frozen].into_iter().chain(beside).collect();
        product(self.level, &self.memory, (rows, w.cols()), terms, start, d_x);
    }

    /// `c = alpha * op(a) op(b) + beta * c` over plain buffers.
    pub(super) fn plain_product(&self, s: Matmul, a: &[f32], b: &[f32], c: &mut [f32]) {
        let Matmul { m, n, k, transpose_a, transpose_b, alpha, beta } = s;
        assert!(a.len() >= m * k && b.len() >= k * n);
        let (a, b, c) = (&a[..m * k], &b[..k * n], &mut c[..m * n]);
        if !transpose_a && transpose_b && n <= FEW_COLUMNS {
            return few_rows::matmul_few(self.level, s, a, b, c);
        }
        let start = if beta == 0.0 { Start::Zero } else { Start::Held };
        if beta != 0.0 && beta != 1.0 {
            c.par_chunks_mut(1 << 14).for_each(|part| part.iter_mut().for_each(|v| *v *= beta));
        }
        // A factor of the whole result is cheaper on the result than on `b`, which could then be read where it lies.
        let late = beta == 0.0 && n <= FEW_COLUMNS && !transpose_b;
        let (a_row, a_col) = if transpose_a { (1, m) } else { (k, 1) };
        let (row, col) = if transpose_b { (1, k) } else { (n, 1) };
        let b = Columns::Plain { values: b, row, col, alpha: if late { 1.0 } else { alpha } };
        let term = Term { k, a: Rows { values: a, row: a_row, col: a_col }, b, precision: Precision::F32 };
        product(self.level, &self.memory, (m, n), vec![term], start, c);
        if late && alpha != 1.0 {
            c.iter_mut().for_each(|v| *v *= alpha);
        }
    }
}

/// Columns up to which a product of plain buffers is made of dot products, without panels.
const FEW_COLUMNS: usize = 64;
