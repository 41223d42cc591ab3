//! An adapter's share of a frozen matrix: the one place that knows what a merged row is.

use super::LoraPair;

impl LoraPair {
    /// Turns row `row` of the frozen matrix, in `weights`, into that of the merged one: `W + scale * B A`, summed in f32. `scratch` is overwritten.
    ///
    /// # Panics
    /// If `weights` has another length than the pair's input, or there is no such row.
    pub fn merge_row(&self, row: usize, weights: &mut [f32], scratch: &mut Vec<f32>) {
        let Self { rank, scale, a, b } = self;
        let n_in = weights.len();
        assert_eq!(a.len(), rank * n_in, "a row of the matrix that the pair adapts");
        scratch.clear();
        scratch.resize(n_in, 0.0);
        for (share, a) in b[row * rank..(row + 1) * rank].iter().zip(a.chunks_exact(n_in)) {
            for (sum, a) in scratch.iter_mut().zip(a) {
                *sum += share * a;
            }
        }
        for (weight, sum) in weights.iter_mut().zip(&*scratch) {
            *weight += scale * sum;
        }
    }
}
