//! Factors and sums of columns, and norms of adapted rows: what weight-decomposed adapters (DoRA, Liu et al. 2024) add to projections.

use rayon::prelude::*;

use super::CpuDevice;
use super::elementwise::Element;
use super::math::for_each_level;
use crate::cpu::Level;
use crate::device::{LowRankPair, Matmul};
use crate::weight::WeightMatrix;

/// Columns a task sums. Sums of a column have one order, whatever this is.
const COLUMNS: usize = 128;

/// A row's squared norm by its three terms loses digits where they cancel: below this share of the frozen row's own it is summed element by element.
const CANCELLED: f64 = 0.01;

#[inline(always)]
fn scale_row<X: Element, Y: Element>(x: &[X], factors: &[f32], bias: &[f32], residual: &[f32], y: &mut [Y]) {
    let each = y.iter_mut().zip(x).zip(factors);
    match (bias.is_empty(), residual.is_empty()) {
        (true, true) => each.for_each(|((y, x), f)| *y = Y::narrow(f * x.widen())),
        (false, true) => each.zip(bias).for_each(|(((y, x), f), b)| *y = Y::narrow(f * x.widen() + b)),
        (true, false) => each.zip(residual).for_each(|(((y, x), f), r)| *y = Y::narrow(f * x.widen() + r)),
        (false, false) => each.zip(bias).zip(residual).for_each(|((((y, x), f), b), r)| *y = Y::narrow(f * x.widen() + b + r)),
    }
}

/// Sums of products of a block of columns from `from` on, row after row.
#[inline(always)]
fn sum_block<X: Element, Y: Element>(x: &[X], y: &[Y], width: usize, from: usize, sums: &mut [f64]) {
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(width)) {
        let (x, y) = (&x[from..from + sums.len()], &y[from..from + sums.len()]);
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += f64::from(x.widen()) * f64::from(y.widen());
        }
    }
}

/// Defines both operations for two kinds of elements.
macro_rules! columns {
    ($x:ty, $y:ty, $scale:ident, $scale_part:ident, $sum:ident, $sum_part:ident) => {
        for_each_level! {
            fn $scale_part(x: &[$x], factors: &[f32], bias: &[f32], residual: &[f32], y: &mut [$y]) {
                scale_row(x, factors, bias, residual, y);
            }
        }

        /// `y = factors * x (+ bias) (+ residual)`, rows of `factors.len()` columns.
        pub(super) fn $scale(level: Level, x: &[$x], factors: &[f32], (bias, residual): (Option<&[f32]>, Option<&[f32]>), y: &mut [$y]) {
            let width = factors.len();
            assert!(x.len() == y.len() && x.len().is_multiple_of(width));
            assert!(bias.is_none_or(|bias| bias.len() == width) && residual.is_none_or(|residual| residual.len() == x.len()));
            y.par_chunks_mut(width).zip(x.par_chunks(width)).enumerate().with_min_len(16).for_each(|(i, (y, x))| {
                let residual = residual.map_or(&[][..], |residual| &residual[i * width..(i + 1) * width]);
                $scale_part(level, x, factors, bias.unwrap_or(&[]), residual, y);
            });
        }

        for_each_level! {
            fn $sum_part(x: &[$x], y: &[$y], width: usize, from: usize, sums: &mut [f64]) {
                sum_block(x, y, width, from, sums);
            }
        }

        /// `sums += factors * column sums of x * y`, in f64 within a call.
        pub(super) fn $sum(level: Level, x: &[$x], y: &[$y], factors: &[f32], sums: &mut [f32]) {
            let width = factors.len();
            assert!(x.len() == y.len() && x.len().is_multiple_of(width) && sums.len() == width);
            sums.par_chunks_mut(COLUMNS).zip(factors.par_chunks(COLUMNS)).enumerate().for_each(|(block, (sums, factors))| {
                let mut wide = [0f64; COLUMNS];
                let wide = &mut wide[..sums.len()];
                $sum_part(level, x, y, width, block * COLUMNS, wide);
                for ((sum, factor), wide) in sums.iter_mut().zip(factors).zip(wide) {
                    *sum = (f64::from(*sum) + f64::from(*factor) * *wide) as f32;
                }
            });
        }
    };
}

columns!(f32, f32, scale, scale_part, sum, sum_part);
columns!(u16, u16, scale_narrow, scale_narrow_part, sum_narrow, sum_narrow_part);
columns!(f32, u16, scale_to_narrow, scale_to_narrow_part, sum_with_narrow, sum_with_narrow_part);

for_each_level! {
    /// Sum of squares, in f64.
    fn squares_of_row(row: &[f32]) -> f64 {
        let mut lanes = [0f64; 16];
        let (whole, rest) = row.as_chunks::<16>();
        for values in whole {
            for (lane, value) in lanes.iter_mut().zip(values) {
                *lane += f64::from(*value) * f64::from(*value);
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(*value) * f64::from(*value);
        }
        lanes.iter().sum()
    }
}

/// The sum of squares of every row of `w`, as it lies.
pub(crate) fn row_squares(level: Level, w: &WeightMatrix, out: &mut [f32]) {
    assert_eq!(out.len(), w.rows());
    out.par_iter_mut().enumerate().with_min_len(16).for_each_init(
        || vec![0.0; w.cols()],
        |values, (row, out)| {
            w.widen_row(row, 0, values);
            *out = squares_of_row(level, values) as f32;
        },
    );
}

impl CpuDevice {
    /// `norms[j] = ‖w[j] + scale b[j] A‖`, by `‖w + s b A‖² = ‖w‖² + 2 s b (w Aᵀ)ᵀ + s² b (A Aᵀ) bᵀ` for each row: one product of R columns, in f32.
    pub(super) fn norms_of_adapted(&self, w: &WeightMatrix, squares: &[f32], pair: LowRankPair<'_, super::CpuBuffer>, norms: &mut [f32]) {
        let LowRankPair { a, b, rank, scale } = pair;
        let (n_out, n_in) = (w.rows(), w.cols());
        assert!(a.len() == rank * n_in && b.len() == n_out * rank && squares.len() == n_out && norms.len() == n_out);
        let mut through = self.memory.take(rank * n_out);
        self.exact_product(w, (a, rank), &mut through);
        let [mut inner, mut turned] = [rank * rank, n_out * rank].map(|len| self.memory.take(len));
        let matmul = |m, k, transpose_b| Matmul { m, n: rank, k, transpose_a: false, transpose_b, alpha: 1.0, beta: 0.0 };
        self.plain_product(matmul(rank, n_in, true), a, a, &mut inner);
        self.plain_product(matmul(n_out, rank, false), b, &inner, &mut turned);
        let scale = f64::from(scale);
        let of_row = |j: usize, values: &mut Vec<f32>| {
            let (b, turned, frozen) = (&b[j * rank..(j + 1) * rank], &turned[j * rank..(j + 1) * rank], f64::from(squares[j]));
            let mixed: f64 = b.iter().enumerate().map(|(r, b)| f64::from(*b) * f64::from(through[r * n_out + j])).sum();
            let own: f64 = b.iter().zip(turned).map(|(b, t)| f64::from(*b) * f64::from(*t)).sum();
            let sum = frozen + scale * (2.0 * mixed + scale * own);
            if sum > CANCELLED * frozen || frozen == 0.0 && sum > 0.0 {
                return sum.sqrt() as f32;
            }
            values.resize(n_in, 0.0);
            w.widen_row(j, 0, values);
            let element = |i: usize| -> f64 {
                f64::from(values[i]) + scale * b.iter().enumerate().map(|(r, b)| f64::from(*b) * f64::from(a[r * n_in + i])).sum::<f64>()
            };
            (0..n_in).map(|i| element(i).powi(2)).sum::<f64>().sqrt() as f32
        };
        norms.par_iter_mut().enumerate().with_min_len(64).for_each_init(Vec::new, |values, (j, norm)| *norm = of_row(j, values));
    }
}
