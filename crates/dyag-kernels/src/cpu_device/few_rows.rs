//! Products of a few rows with a matrix, read as it lies: each weight is widened once, in the first-level cache, and met by every row.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::dots::{COLUMNS, ROWS, dots};
use super::int8::{self, Activations};
use super::product::{Shared, round_to};
use crate::cpu::Level;
use crate::device::{Matmul, Precision};
use crate::quant;
use crate::rounding::round_to_bf16;
use crate::weight::{Format, WeightMatrix};

/// Weights of a column widened at a time, a multiple of every block: 16 KB for [`COLUMNS`] of them.
const SPAN: usize = 512;

/// Columns of the result a task takes.
const COLUMNS_A_TASK: usize = 32;

/// Bytes of weights a task takes at least: handing out less costs more than reading it.
const BYTES_A_TASK: usize = 32 << 10;

/// How products of few rows are made.
#[derive(Clone, Copy)]
pub(super) struct FewRows {
    pub(super) level: Level,
    pub(super) precision: Precision,
    /// What multiplies whole numbers, where activations become bytes.
    pub(super) int8: Option<int8::Kernel>,
}

/// One of several products that read the same rows.
pub(super) struct Part<'a> {
    pub(super) w: &'a WeightMatrix,
    pub(super) bias: Option<&'a [f32]>,
    /// `u` `[rows, R]`, B `[out, R]` and R of a pair beside the matrix.
    pub(super) pair: Option<(&'a [f32], &'a [f32], usize)>,
    /// What is added to the result, as large as that.
    pub(super) residual: Option<&'a [f32]>,
    pub(super) y: &'a mut [f32],
}

/// Rows as products read them.
struct Rows<'a> {
    n: usize,
    floats: &'a [f32],
    bytes: Option<Activations>,
}

/// Some columns of a part's result.
struct Task<'a> {
    part: &'a Part<'a>,
    y: Shared,
    columns: Range<usize>,
}

thread_local! {
    static SCRATCH: RefCell<int8::Scratch> = RefCell::default();
}

impl FewRows {
    /// `y = x Wᵀ (+ bias) (+ u Bᵀ) (+ residual)` of all parts, each weight read once. Without bytes an element is a sum of dot products of [`SPAN`] elements.
    pub(super) fn project(self, x: &[f32], rows: usize, parts: &mut [Part<'_>]) {
        for part in &*parts {
            assert_eq!((x.len(), part.y.len()), (rows * part.w.cols(), rows * part.w.rows()));
            assert!(part.bias.is_none_or(|bias| bias.len() == part.w.rows()));
            assert!(part.residual.is_none_or(|residual| residual.len() == part.y.len()));
            assert!(part.pair.is_none_or(|(u, b, rank)| u.len() == rows * rank && b.len() == part.w.rows() * rank));
        }
        if rows == 0 {
            return;
        }
        let in_bytes = |part: &Part<'_>| self.int8.filter(|_| int8::has(part.w.format()));
        let bytes = parts.iter().find_map(in_bytes).map(|kernel| Activations::new(kernel, self.level, x, rows));
        let rounded: Vec<f32>;
        let floats = match self.precision {
            Precision::Bf16 if parts.iter().any(|part| in_bytes(part).is_none()) => {
                rounded = x.iter().map(|v| round_to_bf16(*v)).collect();
                &rounded
            }
            _ => x,
        };
        let x = Rows { n: rows, floats, bytes };
        let tasks = tasks(parts);
        tasks.par_iter().with_max_len(1).for_each(|task| self.compute(&x, task));
    }

    fn compute(self, x: &Rows<'_>, task: &Task<'_>) {
        let Task { part: Part { w, bias, pair, residual, .. }, y, columns } = task;
        let n = w.rows();
        let mut sums = vec![[0.0; COLUMNS_A_TASK]; x.n];
        for first in columns.clone().step_by(COLUMNS_A_TASK) {
            let columns = first..(first + COLUMNS_A_TASK).min(columns.end);
            for sums in &mut sums {
                match bias {
                    Some(bias) => sums[..columns.len()].copy_from_slice(&bias[columns.clone()]),
                    None => sums.fill(0.0),
                }
            }
            self.add_products(w, columns.clone(), x, &mut sums);
            if let Some((u, b, rank)) = pair {
                add_pair(self.level, u, &b[first * rank..columns.end * rank], *rank, &mut sums);
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let at = i * n + first;
                if let Some(residual) = residual {
                    sums.iter_mut().zip(&residual[at..at + columns.len()]).for_each(|(sum, value)| *sum += value);
                }
                // SAFETY: these columns of every row belong to this task.
                let y = unsafe { std::slice::from_raw_parts_mut(y.get().add(at), columns.len()) };
                y.copy_from_slice(&sums[..columns.len()]);
            }
        }
    }

    /// Adds the products of all rows of `x` with the given rows of `w`.
    fn add_products(self, w: &WeightMatrix, columns: Range<usize>, x: &Rows<'_>, sums: &mut [[f32; COLUMNS_A_TASK]]) {
        if let (Some(kernel), Some(bytes), true) = (self.int8, &x.bytes, int8::has(w.format())) {
            return SCRATCH.with_borrow_mut(|scratch| {
                int8::multiply(kernel, w, columns.clone(), bytes, scratch, |row, column, sum| sums[row][column - columns.start] += sum);
            });
        }
        // Few rows meet the weights in registers; for more it pays to write them down once.
        let exact = self.precision == Precision::F32 || w.format() == Format::Bf16;
        if x.n <= ROWS && exact && self.level == Level::Avx512 && w.cols().is_multiple_of(quant::dots_len(w.format())) {
            add_in_registers(self.level, w, columns, x.floats, sums);
        } else {
            add_widened(self.level, self.precision, w, columns, x.floats, sums);
        }
    }
}

/// Parts cut along their columns into tasks of about as many bytes of weights: a few for each thread.
fn tasks<'a>(parts: &'a mut [Part<'_>]) -> Vec<Task<'a>> {
    let total: usize = parts.iter().map(|part| part.w.bytes().len()).sum();
    let bytes_a_task = (total / (4 * rayon::current_num_threads())).max(BYTES_A_TASK);
    let mut tasks = Vec::new();
    for part in parts {
        // The tasks alone write there from here on.
        let (y, n) = (Shared(std::mem::take(&mut part.y).as_mut_ptr()), part.w.rows());
        let part: &'a Part<'a> = part;
        let columns = (n * bytes_a_task).div_ceil(part.w.bytes().len().max(1)).next_multiple_of(COLUMNS).max(COLUMNS);
        tasks.extend((0..n).step_by(columns).map(|from| Task { part, y, columns: from..(from + columns).min(n) }));
    }
    tasks
}

/// Adds `u bᵀ` of a few columns, summed by itself first.
fn add_pair(level: Level, u: &[f32], b: &[f32], rank: usize, sums: &mut [[f32; COLUMNS_A_TASK]]) {
    let mut beside = vec![[0.0; COLUMNS_A_TASK]; sums.len()];
    let n = b.len() / rank;
    for from in (0..rank).step_by(SPAN) {
        let len = SPAN.min(rank - from);
        for j in (0..n).step_by(COLUMNS) {
            let of_u = |i: usize| &u[i * rank + from..][..len];
            let of_b = |c: usize| &b[(j + c) * rank + from..][..len];
            add_dots(level, (sums.len(), of_u), (COLUMNS.min(n - j), of_b), &mut beside, j);
        }
    }
    for (sums, beside) in sums.iter_mut().zip(&beside) {
        sums.iter_mut().zip(beside).for_each(|(sum, beside)| *sum += beside);
    }
}

/// Adds the products of all rows of `x` with the given rows of `w`, widened in registers.
fn add_in_registers(level: Level, w: &WeightMatrix, columns: Range<usize>, x: &[f32], sums: &mut [[f32; COLUMNS_A_TASK]]) {
    let (k, format) = (w.cols(), w.format());
    for j in columns.clone().step_by(quant::COLUMNS) {
        let bytes: [&[u8]; quant::COLUMNS] = std::array::from_fn(|c| w.row_bytes((j + c).min(columns.end - 1)));
        for from in (0..k).step_by(SPAN) {
            let len = SPAN.min(k - from);
            let at = |element: usize| element / format.block_len() * format.block_bytes();
            let bytes = bytes.map(|bytes| &bytes[at(from)..at(from + len)]);
            for ahead in j + quant::COLUMNS..(j + 2 * quant::COLUMNS).min(w.rows()) {
                prefetch(&w.row_bytes(ahead)[at(from)..at(from + len)]);
            }
            let of_x: [&[f32]; ROWS] = std::array::from_fn(|i| &x[i.min(sums.len() - 1) * k + from..][..len]);
            let products = quant::dots(level, format, bytes, &of_x[..sums.len()]).expect("the level has a kernel");
            for (sums, products) in sums.iter_mut().zip(products) {
                sums[j - columns.start..].iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
            }
        }
    }
}

/// Asks for bytes that will be read soon: rows are too short for the processor to see where it is led.
fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        // SAFETY: a hint, for memory that is there.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// Adds the products of all rows of `x` with the given rows of `w`, widened into the first-level cache.
fn add_widened(level: Level, precision: Precision, w: &WeightMatrix, columns: Range<usize>, x: &[f32], sums: &mut [[f32; COLUMNS_A_TASK]]) {
    let k = w.cols();
    let mut widened = vec![0.0; COLUMNS * SPAN.min(k)];
    for j in columns.clone().step_by(COLUMNS) {
        let count = COLUMNS.min(columns.end - j);
        for from in (0..k).step_by(SPAN) {
            let len = SPAN.min(k - from);
            let widened = &mut widened[..count * len];
            for (c, part) in widened.chunks_exact_mut(len).enumerate() {
                w.widen_row(j + c, from, part);
                round_to(precision, part);
            }
            let of_x = |i: usize| &x[i * k + from..][..len];
            let of_w = |c: usize| &widened[c * len..][..len];
            add_dots(level, (sums.len(), of_x), (count, of_w), sums, j - columns.start);
        }
    }
}

/// Rows of the result a task takes.
const ROWS_A_TASK: usize = 24;

/// `y = beta * y + alpha * x wᵀ` of plain buffers, each element a sum of dot products of [`SPAN`] elements.
pub(super) fn matmul_few(level: Level, s: Matmul, x: &[f32], w: &[f32], y: &mut [f32]) {
    let Matmul { m, n, k, transpose_a, transpose_b, alpha, beta } = s;
    assert!(!transpose_a && transpose_b && x.len() == m * k && w.len() == n * k && y.len() == m * n);
    let y = Shared(y.as_mut_ptr());
    let column_tasks = n.div_ceil(COLUMNS_A_TASK);
    // A decoding step has tasks of one row: enough of them to a thread that its waking pays.
    let least = (1 << 16) / (m.min(ROWS_A_TASK) * COLUMNS_A_TASK * k).max(1);
    (0..column_tasks * m.div_ceil(ROWS_A_TASK)).into_par_iter().with_min_len(least.max(1)).for_each(|task| {
        let (i_from, j_from) = (task / column_tasks * ROWS_A_TASK, task % column_tasks * COLUMNS_A_TASK);
        let (rows, columns) = (ROWS_A_TASK.min(m - i_from), COLUMNS_A_TASK.min(n - j_from));
        let mut sums = [[0.0; COLUMNS_A_TASK]; ROWS_A_TASK];
        for from in (0..k).step_by(SPAN) {
            let len = SPAN.min(k - from);
            for j in (0..columns).step_by(COLUMNS) {
                let of_x = |i: usize| &x[(i_from + i) * k + from..][..len];
                let of_w = |c: usize| &w[(j_from + j + c) * k + from..][..len];
                add_dots(level, (rows, of_x), (COLUMNS.min(columns - j), of_w), &mut sums, j);
            }
        }
        for (i, sums) in sums.iter().enumerate().take(rows) {
            for (j, sum) in sums.iter().enumerate().take(columns) {
                // SAFETY: this row and column belong to this task.
                let y = unsafe { &mut *y.get().add((i_from + i) * n + j_from + j) };
                let old = if beta == 0.0 { 0.0 } else { beta * *y };
                *y = old + alpha * sum;
            }
        }
    });
}

/// Adds the dot product of every row with every one of at most [`COLUMNS`] columns to `sums[row][first + column]`.
fn add_dots<'a>(
    level: Level,
    (rows, of_x): (usize, impl Fn(usize) -> &'a [f32]),
    (columns, of_w): (usize, impl Fn(usize) -> &'a [f32]),
    sums: &mut [[f32; COLUMNS_A_TASK]],
    first: usize,
) {
    let w: [&[f32]; COLUMNS] = std::array::from_fn(|c| of_w(c.min(columns - 1)));
    for (group, sums) in sums[..rows].chunks_mut(ROWS).enumerate() {
        let x: [&[f32]; ROWS] = std::array::from_fn(|r| of_x(group * ROWS + r.min(sums.len() - 1)));
        let products = dots(level, &x[..sums.len()], &w[..columns]);
        for (sums, products) in sums.iter_mut().zip(&products) {
            sums[first..].iter_mut().zip(&products[..columns]).for_each(|(sum, product)| *sum += product);
        }
    }
}
