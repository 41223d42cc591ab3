//! What full fine-tuning needs beside products: sums over rows, each column's in the order of its rows whatever the threads, and matrices of trained values.

use half::bf16;
use rayon::prelude::*;

use crate::device::Precision;
use crate::map::Bytes;
use crate::weight::{Format, WeightMatrix};

/// Columns that one thread sums at a time: a few cache lines of each row.
const COLUMNS: usize = 64;

/// Adds `sum over rows of term(row, column)` to each column of `out`. Sums are f64.
fn add_over_rows(rows: usize, out: &mut [f32], term: impl Fn(usize, usize) -> f64 + Sync) {
    out.par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, out)| {
        let mut sums = [0.0_f64; COLUMNS];
        for row in 0..rows {
            for (i, sum) in sums[..out.len()].iter_mut().enumerate() {
                *sum += term(row, chunk * COLUMNS + i);
            }
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (f64::from(*out) + sum) as f32);
    });
}

/// `d_b += sum of the rows of d_y`.
pub(super) fn add_sums(d_y: &[f32], d_b: &mut [f32]) {
    let n = d_b.len();
    assert!(d_y.len().is_multiple_of(n));
    add_over_rows(d_y.len() / n, d_b, |row, column| f64::from(d_y[row * n + column]));
}

/// `d_w += sum over rows of d_y * x * inv_rms`.
pub(super) fn add_gain_gradient(d_y: &[f32], x: &[f32], inv_rms: &[f32], d_w: &mut [f32]) {
    let c = d_w.len();
    assert!(d_y.len() == x.len() && d_y.len() == c * inv_rms.len());
    let term = |row: usize, column: usize| {
        let at = row * c + column;
        f64::from(d_y[at]) * f64::from(x[at]) * f64::from(inv_rms[row])
    };
    add_over_rows(inv_rms.len(), d_w, term);
}

/// A matrix in memory, in bf16 where products round to that.
pub(super) fn freeze(precision: Precision, values: &[f32], rows: usize, cols: usize) -> WeightMatrix {
    assert_eq!(values.len(), rows * cols);
    let (format, size) = match precision {
        Precision::F32 => (Format::F32, 4),
        Precision::Bf16 => (Format::Bf16, 2),
    };
    let mut bytes = vec![0; size * values.len()];
    let row_bytes = (size * cols).max(1);
    bytes.par_chunks_mut(row_bytes).zip(values.par_chunks(cols.max(1))).for_each(|(to, from)| match precision {
        Precision::F32 => to.chunks_exact_mut(4).zip(from).for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes())),
        Precision::Bf16 => {
            to.chunks_exact_mut(2).zip(from).for_each(|(to, value)| to.copy_from_slice(&bf16::from_f32(*value).to_le_bytes()))
        }
    });
    WeightMatrix::new(Bytes::from_vec(bytes), format, rows, cols).expect("sizes agree")
}
