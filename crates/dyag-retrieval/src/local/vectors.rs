//! Vectors of a generation: a file of `n` rows of f32 as they lie in memory, each of length 1, mapped and multiplied.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::path::Path;

use dyag_kernels::cpu_device::CpuDevice;
use dyag_kernels::device::Projection;
use dyag_kernels::map::Bytes;
use dyag_kernels::{Device as _, Format, WeightMatrix};

use crate::error::RetrievalError;

/// Rows of a product: what is read between two looks at the best so far.
const BLOCK: usize = 65_536;

/// A matrix `[n, dimension]` of unit vectors in its file.
pub(super) struct Vectors {
    matrix: WeightMatrix,
    /// The same, in blocks of rows.
    blocks: Vec<WeightMatrix>,
}

impl Vectors {
    /// Maps the file of `n` vectors.
    pub(super) fn open(path: &Path, n: usize, dimension: usize) -> Result<Self, RetrievalError> {
        let bytes = Bytes::map_file(path).map_err(|error| RetrievalError::read(path, error))?;
        let found = bytes.len();
        let damaged =
            || RetrievalError::damaged(path, format!("{n} vectors of {dimension} numbers, 4 bytes each"), format!("{found} bytes"));
        let expected = n.checked_mul(dimension).and_then(|count| count.checked_mul(4)).ok_or_else(damaged)?;
        if found != expected || dimension == 0 {
            return Err(damaged());
        }
        let rows = |from: usize, to: usize| {
            let part = bytes.slice(from * dimension * 4..to * dimension * 4)?;
            WeightMatrix::new(part, Format::F32, to - from, dimension)
        };
        let blocks = (0..n).step_by(BLOCK).map(|from| rows(from, (from + BLOCK).min(n))).collect::<Option<Vec<_>>>();
        match (rows(0, n), blocks) {
            (Some(matrix), Some(blocks)) => Ok(Self { matrix, blocks }),
            _ => Err(damaged()),
        }
    }

    /// Numbers of a vector.
    pub(super) fn dimension(&self) -> usize {
        self.matrix.cols()
    }

    /// A row.
    pub(super) fn row(&self, place: usize) -> Vec<f32> {
        let mut row = vec![0.0; self.dimension()];
        self.matrix.widen_row(place, 0, &mut row);
        row
    }

    /// Places and cosines of the `k` rows nearest to `vector` among those that pass: the largest first, equal ones by place.
    pub(super) fn nearest(&self, device: &CpuDevice, vector: &[f32], k: usize, passing: Option<&[bool]>) -> Vec<(usize, f32)> {
        let x = device.upload(vector);
        let mut best = Best { heap: BinaryHeap::with_capacity(k + 1), k };
        let mut from = 0;
        for block in &self.blocks {
            let weight = device.load_weight(block);
            let mut y = device.scratch(block.rows());
            device.project_few(&x, 1, None, vec![Projection { weight: &weight, bias: None, pair: None, y: &mut y }]);
            for (place, score) in device.download(&y).into_iter().enumerate() {
                if passing.is_none_or(|passing| passing[from + place]) {
                    best.offer(from + place, score);
                }
            }
            from += block.rows();
        }
        best.into_sorted()
    }
}

/// A candidate: better is larger.
#[derive(Clone, Copy, PartialEq)]
struct Candidate {
    score: f32,
    place: usize,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap's top is the worst that is kept.
        other.score.total_cmp(&self.score).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k` best of what is offered.
struct Best {
    heap: BinaryHeap<Candidate>,
    k: usize,
}

impl Best {
    fn offer(&mut self, place: usize, score: f32) {
        let candidate = Candidate { score, place };
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if self.heap.peek().is_some_and(|worst| candidate < *worst) {
            self.heap.pop();
            self.heap.push(candidate);
        }
    }

    fn into_sorted(self) -> Vec<(usize, f32)> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Candidate { score, place }| (place, score)).collect()
    }
}

/// A vector of length 1 in the same direction.
///
/// # Errors
/// What is wrong with it: a number that is not finite, or nothing but zeros.
pub(crate) fn unit(vector: &[f32]) -> Result<Vec<f32>, &'static str> {
    let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if !norm.is_finite() {
        return Err("a vector with numbers that are not finite");
    }
    if norm == 0.0 {
        return Err("a vector of zeros");
    }
    Ok(vector.iter().map(|v| (f64::from(*v) / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use dyag_kernels::Precision;
    use dyag_kernels::cpu_device::CpuOptions;

    use super::*;

    fn device() -> CpuDevice {
        CpuDevice::new(CpuOptions { precision: Precision::F32, threads: Some(2), level: None, int8_activations: false }).expect("threads")
    }

    fn file(values: &[f32]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(file.path(), bytes).expect("written");
        file
    }

    #[test]
    fn the_nearest_are_those_of_a_full_sort_ties_by_place() {
        let (n, dimension) = (500, 24);
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut values: Vec<f32> = (0..n * dimension).map(|_| random()).collect();
        // Some rows twice: ties.
        for copy in 0..20 {
            let row = values[copy * dimension..(copy + 1) * dimension].to_vec();
            values[(400 + copy) * dimension..(401 + copy) * dimension].copy_from_slice(&row);
        }
        let query: Vec<f32> = (0..dimension).map(|_| random()).collect();
        let file = file(&values);
        let vectors = Vectors::open(file.path(), n, dimension).expect("vectors");
        let device = device();
        let found = vectors.nearest(&device, &query, 450, None);
        for pair in found.windows(2) {
            assert!(pair[0].1 > pair[1].1 || (pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0), "{pair:?}");
        }
        let dot = |place: usize| (0..dimension).map(|c| f64::from(values[place * dimension + c]) * f64::from(query[c])).sum::<f64>();
        let mut exact: Vec<(usize, f64)> = (0..n).map(|place| (place, dot(place))).collect();
        exact.sort_by(|a, b| b.1.total_cmp(&a.1));
        for ((_, score), (_, wanted)) in found.iter().zip(&exact) {
            assert!((f64::from(*score) - wanted).abs() < 1e-5, "{score} {wanted}");
        }
        let even: Vec<bool> = (0..n).map(|place| place % 2 == 0).collect();
        let filtered = vectors.nearest(&device, &query, 10, Some(&even));
        assert_eq!(filtered.len(), 10);
        assert!(filtered.iter().all(|(place, _)| place % 2 == 0));
        let expected: Vec<(usize, f32)> =
            vectors.nearest(&device, &query, n, None).into_iter().filter(|(place, _)| place % 2 == 0).take(10).collect();
        assert_eq!(filtered, expected);
    }

    #[test]
    fn a_file_of_another_size_is_refused() {
        let file = file(&[1.0; 12]);
        assert!(Vectors::open(file.path(), 3, 4).is_ok());
        for (n, dimension) in [(3, 3), (4, 4), (usize::MAX, 4), (3, 0), (0, 0)] {
            assert!(Vectors::open(file.path(), n, dimension).is_err(), "{n} {dimension}");
        }
    }

    #[test]
    fn vectors_without_direction_are_refused() {
        assert!(unit(&[0.0, 0.0]).is_err());
        assert!(unit(&[f32::NAN, 1.0]).is_err());
        assert!(unit(&[f32::INFINITY]).is_err());
        assert_eq!(unit(&[3.0, 4.0]), Ok(vec![0.6, 0.8]));
        assert!(unit(&[f32::MAX, f32::MAX]).is_ok());
    }
}
