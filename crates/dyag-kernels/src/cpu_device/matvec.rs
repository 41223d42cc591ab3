//! Products of a few rows with a frozen matrix: each weight is widened once, in the first-level cache, and met by every row.

use rayon::prelude::*;

use super::product::{Shared, round_to};
use crate::cpu::Level;
use crate::device::{Matmul, Precision};
use crate::rounding::round_to_bf16;
use crate::weight::WeightMatrix;

/// Weights widened at a time: 16 KB, a multiple of every block.
const SPAN: usize = 4096;

/// Rows of the matrix a task takes.
const ROWS_A_TASK: usize = 32;

/// `y = x Wᵀ (+ bias)`, a dot product for each element in a fixed order that no other row changes.
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
    (0..n.div_ceil(ROWS_A_TASK)).into_par_iter().for_each(|task| {
        let mut widened = vec![0.0; SPAN.min(k)];
        let mut sums = vec![0.0; rows];
        for j in task * ROWS_A_TASK..((task + 1) * ROWS_A_TASK).min(n) {
            sums.fill(bias.map_or(0.0, |bias| bias[j]));
            for from in (0..k).step_by(SPAN) {
                let part = &mut widened[..SPAN.min(k - from)];
                w.widen_row(j, from, part);
                round_to(precision, part);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum += dot(level, part, &x[i * k + from..][..part.len()]);
                }
            }
            for (i, sum) in sums.iter().enumerate() {
                // SAFETY: column j of every row belongs to this task.
                unsafe { *y.get().add(i * n + j) = *sum };
            }
        }
    });
}

/// `y = beta * y + alpha * x wᵀ` of plain buffers.
pub(super) fn matmul_few(level: Level, s: Matmul, x: &[f32], w: &[f32], y: &mut [f32]) {
    let Matmul { m, n, k, transpose_a, transpose_b, alpha, beta } = s;
    assert!(!transpose_a && transpose_b && x.len() == m * k && w.len() == n * k && y.len() == m * n);
    let y = Shared(y.as_mut_ptr());
    w.par_chunks(ROWS_A_TASK * k).enumerate().for_each(|(task, weights)| {
        for (j, weights) in weights.chunks_exact(k).enumerate() {
            for i in 0..m {
                // SAFETY: column `task * ROWS_A_TASK + j` of every row belongs to this task.
                let y = unsafe { &mut *y.get().add(i * n + task * ROWS_A_TASK + j) };
                let old = if beta == 0.0 { 0.0 } else { beta * *y };
                *y = old + alpha * dot(level, weights, &x[i * k..(i + 1) * k]);
            }
        }
    });
}

/// Lanes of a dot product: four registers of sixteen.
const LANES: usize = 64;

/// Dot product in [`LANES`] partial sums, folded by halves.
fn dot(level: Level, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let whole = a.len() / LANES * LANES;
    let mut lanes = [0f32; LANES];
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was found on this machine, and the slices are equally long.
        Level::Avx512 => unsafe { x86::lanes_avx512(&a[..whole], &b[..whole], &mut lanes) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::lanes_avx2(&a[..whole], &b[..whole], &mut lanes) },
        _ => {
            for (a, b) in a[..whole].chunks_exact(LANES).zip(b[..whole].chunks_exact(LANES)) {
                for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                    *lane += a * b;
                }
            }
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a[whole..].iter().zip(&b[whole..])) {
        *lane += a * b;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::LANES;

    /// # Safety
    /// AVX-512; `a` and `b` equally long, a multiple of [`LANES`].
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn lanes_avx512(a: &[f32], b: &[f32], lanes: &mut [f32; LANES]) {
        let mut sums = [_mm512_setzero_ps(); 4];
        for from in (0..a.len()).step_by(LANES) {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 64 elements from `from` lie inside both.
                let (x, y) = unsafe { (_mm512_loadu_ps(a.as_ptr().add(from + v * 16)), _mm512_loadu_ps(b.as_ptr().add(from + v * 16))) };
                *sum = _mm512_fmadd_ps(x, y, *sum);
            }
        }
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: 16 of 64 lanes.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr().add(v * 16), *sum) };
        }
    }

    /// # Safety
    /// AVX2 and FMA; `a` and `b` equally long, a multiple of [`LANES`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn lanes_avx2(a: &[f32], b: &[f32], lanes: &mut [f32; LANES]) {
        let mut sums = [_mm256_setzero_ps(); 8];
        for from in (0..a.len()).step_by(LANES) {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 64 elements from `from` lie inside both.
                let (x, y) = unsafe { (_mm256_loadu_ps(a.as_ptr().add(from + v * 8)), _mm256_loadu_ps(b.as_ptr().add(from + v * 8))) };
                *sum = _mm256_fmadd_ps(x, y, *sum);
            }
        }
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: 8 of 64 lanes.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr().add(v * 8), *sum) };
        }
    }
}
