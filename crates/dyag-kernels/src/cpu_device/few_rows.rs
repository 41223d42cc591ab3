//! Products of a few rows with a matrix, read as it lies: each weight is widened once, in the first-level cache, and met by every row.

use rayon::prelude::*;

use super::dots::{COLUMNS, ROWS, dots};
use super::product::{Shared, round_to};
use crate::cpu::Level;
use crate::device::{Matmul, Precision};
use crate::rounding::round_to_bf16;
use crate::weight::WeightMatrix;

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
    (0..n.div_ceil(COLUMNS_A_TASK)).into_par_iter().for_each(|task| {
        let mut widened = vec![0.0; COLUMNS * SPAN.min(k)];
        let mut sums = vec![[0.0; COLUMNS]; rows];
        let end = ((task + 1) * COLUMNS_A_TASK).min(n);
        for j in (task * COLUMNS_A_TASK..end).step_by(COLUMNS) {
            let columns = COLUMNS.min(end - j);
            let start: [f32; COLUMNS] = std::array::from_fn(|c| bias.map_or(0.0, |bias| bias[j + c.min(columns - 1)]));
            sums.fill(start);
            for from in (0..k).step_by(SPAN) {
                let len = SPAN.min(k - from);
                let widened = &mut widened[..columns * len];
                for (c, part) in widened.chunks_exact_mut(len).enumerate() {
                    w.widen_row(j + c, from, part);
                    round_to(precision, part);
                }
                let of_x = |i: usize| &x[i * k + from..][..len];
                add_dots(level, rows, of_x, columns, |c| &widened[c * len..][..len], |i, c, dot| sums[i][c] += dot);
            }
            for (i, sums) in sums.iter().enumerate() {
                for (c, sum) in sums.iter().enumerate().take(columns) {
                    // SAFETY: column j + c of every row belongs to this task.
                    unsafe { *y.get().add(i * n + j + c) = *sum };
                }
            }
        }
    });
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
                add_dots(level, rows, of_x, COLUMNS.min(columns - j), of_w, |i, c, dot| sums[i][j + c] += dot);
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

/// Gives `add` the dot product of every row with every one of at most [`COLUMNS`] columns: row, column, product.
fn add_dots<'a>(
    level: Level,
    rows: usize,
    of_x: impl Fn(usize) -> &'a [f32],
    columns: usize,
    of_w: impl Fn(usize) -> &'a [f32],
    mut add: impl FnMut(usize, usize, f32),
) {
    let w: [&[f32]; COLUMNS] = std::array::from_fn(|c| of_w(c.min(columns - 1)));
    for i in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - i);
        let x: [&[f32]; ROWS] = std::array::from_fn(|r| of_x(i + r.min(count - 1)));
        for (r, products) in dots(level, &x[..count], &w[..columns]).iter().enumerate().take(count) {
            for (c, dot) in products.iter().enumerate().take(columns) {
                add(i + r, c, *dot);
            }
        }
    }
}
