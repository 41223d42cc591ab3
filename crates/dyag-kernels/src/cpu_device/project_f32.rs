//! Several projections of one input in f32: the input is copied once, and the strips of all products are divided among the threads together.

use super::product::{Job, Left, Shared, Start, left, products};
use super::{CpuDevice, elementwise};
use crate::device::{LowRank, LowRankPair, Matmul, Projection};

impl CpuDevice {
    /// [`crate::Device::project`] in f32: the products of all parts together, their input copied once. The bits are those of one part after the other.
    pub(super) fn project_f32(&self, x: &[f32], rows: usize, residual: Option<&[f32]>, mut parts: Vec<Projection<'_, Self>>) {
        for Projection { weight, pair, .. } in &mut parts {
            if let Some((LowRankPair { a, rank, scale, .. }, u)) = pair {
                self.plain_product(Matmul::squeeze(rows, weight.cols(), *rank, *scale), x, a, u);
            }
        }
        if rows == 0 {
            return;
        }
        let mut outputs = Vec::with_capacity(parts.len());
        let mut jobs = Vec::with_capacity(parts.len());
        for Projection { weight: w, bias, pair, y } in parts {
            assert_eq!(y.len(), rows * w.rows());
            let low_rank = pair.map(|(LowRankPair { b, rank, .. }, u)| LowRank { u: &*u, v: b, rank });
            let terms = self.forward_terms(w, (x, rows), low_rank);
            jobs.push((w.rows(), terms, bias.map_or(Start::Zero, |bias| Start::Row(bias))));
            outputs.push(y);
        }
        // The input, copied for the widest of the products, and what only one of them reads.
        let widest = jobs.iter().map(|(n, ..)| *n).max().unwrap_or(0);
        let Some((_, first, _)) = jobs.first() else { return };
        let shared = left(self.level, &self.memory, (rows, widest), &first[0]);
        let of_pairs: Vec<Option<Left<'_>>> =
            jobs.iter().map(|(n, terms, _)| terms.get(1).map(|term| left(self.level, &self.memory, (rows, *n), term))).collect();
        let with_lefts = jobs.into_iter().zip(&of_pairs).zip(&mut outputs).map(|(((n, terms, start), of_pair), y)| Job {
            n,
            terms,
            lefts: [&shared].into_iter().chain(of_pair).collect(),
            start,
            c: Shared(y.as_mut_ptr()),
        });
        products(self.level, rows, &with_lefts.collect::<Vec<_>>());
        for y in outputs {
            if let Some(residual) = residual {
                elementwise::add(y, residual);
            }
        }
    }
}
