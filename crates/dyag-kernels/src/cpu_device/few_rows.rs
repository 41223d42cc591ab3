//! Products of a few rows with a matrix, read as it lies: each weight is widened once, in the first-level cache, and met by every row.

use std::ops::Range;

use rayon::prelude::*;

use super::dots::{COLUMNS, ROWS, dots};
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

/// `y = x Wᵀ (+ bias)`, each element a sum of dot products of [`SPAN`] elements.
pub(super) fn linear_few(
    level: Level,
    precision: Precision,
    w: &WeightMatrix,
    x: &[f32],
    rows: usize,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let (n, k) = (w.rows(), w.cols());
    assert_eq!((x.len(), y.len()), (rows * k, rows * n));
    let rounded: Vec<f32>;
    let x = match precision {
        Precision::F32 => x,
        Precision::Bf16 => {
            rounded = x.iter().map(|v| round_to_bf16(*v)).collect();
            &rounded
        }
    };
    let y = Shared(y.as_mut_ptr());
    // Few rows meet the weights in registers; for more it pays to write them down once.
    let exact = precision == Precision::F32 || w.format() == Format::Bf16;
    let in_registers = rows <= ROWS && exact && level == Level::Avx512 && k.is_multiple_of(quant::dots_len(w.format()));
    let n_tasks = n.div_ceil(COLUMNS_A_TASK);
    // One row makes a task of microseconds: a few together, so that handing them out does not cost as much.
    let together = (n_tasks / (4 * rayon::current_num_threads())).max(1);
    (0..n_tasks).into_par_iter().with_min_len(together).for_each(|task| {
        let columns = task * COLUMNS_A_TASK..((task + 1) * COLUMNS_A_TASK).min(n);
        let mut sums = vec![[0.0; COLUMNS_A_TASK]; rows];
        for sums in &mut sums {
            if let Some(bias) = bias {
                sums[..columns.len()].copy_from_slice(&bias[columns.clone()]);
            }
        }
        if in_registers {
            add_in_registers(level, w, columns.clone(), x, &mut sums);
        } else {
            add_widened(level, precision, w, columns.clone(), x, &mut sums);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (sum, j) in sums.iter().zip(columns.clone()) {
                // SAFETY: this column of every row belongs to this task.
                unsafe { *y.get().add(i * n + j) = *sum };
            }
        }
    });
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
