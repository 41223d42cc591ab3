//! Vectors of a generation: a file of `n` rows of f32 as they lie in memory, each of length 1, mapped and multiplied. Rows are in the order of passages, or of an inverted file's lists.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;

use dyag_kernels::cpu_device::CpuDevice;
use dyag_kernels::device::Projection;
use dyag_kernels::map::Bytes;
use dyag_kernels::{Device as _, Format, WeightMatrix};

use super::inverted_file::InvertedFile;
use crate::error::RetrievalError;

/// Rows of a product: what is read between two looks at the best so far.
const BLOCK: usize = 65_536;

/// A matrix `[n, dimension]` of unit vectors in its file.
pub(super) struct Vectors {
    matrix: WeightMatrix,
    bytes: Bytes,
    /// Which rows lie near each other, where the file is in that order.
    lists: Option<InvertedFile>,
}

impl Vectors {
    /// Maps the file of `n` vectors in the order of `lists`, where there are some.
    pub(super) fn open(path: &Path, n: usize, dimension: usize, lists: Option<InvertedFile>) -> Result<Self, RetrievalError> {
        let bytes = Bytes::map_file(path).map_err(|error| RetrievalError::read(path, error))?;
        let found = bytes.len();
        let damaged =
            || RetrievalError::damaged(path, format!("{n} vectors of {dimension} numbers, 4 bytes each"), format!("{found} bytes"));
        let expected = n.checked_mul(dimension).and_then(|count| count.checked_mul(4)).ok_or_else(damaged)?;
        if found != expected || dimension == 0 {
            return Err(damaged());
        }
        let matrix = WeightMatrix::new(bytes.clone(), Format::F32, n, dimension).ok_or_else(damaged)?;
        Ok(Self { matrix, bytes, lists })
    }

    /// Numbers of a vector.
    pub(super) fn dimension(&self) -> usize {
        self.matrix.cols()
    }

    /// The vector of a passage.
    pub(super) fn row(&self, place: usize) -> Vec<f32> {
        let mut row = vec![0.0; self.dimension()];
        self.matrix.widen_row(self.lists.as_ref().map_or(place, |lists| lists.row_of(place)), 0, &mut row);
        row
    }

    /// Places and cosines of the `k` passages nearest to `vector` among those that pass: the largest first, equal ones by place. With an inverted file, among those of the nearest lists.
    pub(super) fn nearest(&self, device: &CpuDevice, vector: &[f32], k: usize, passing: Option<&[bool]>) -> Vec<(usize, f32)> {
        let n = self.matrix.rows();
        let parts = match &self.lists {
            Some(lists) => lists.probed(device, vector, k, passing),
            None => std::iter::once(0..n).collect(),
        };
        let x = device.upload(vector);
        let mut best = Best { heap: BinaryHeap::with_capacity(k + 1), k };
        for from in parts.into_iter().flat_map(blocks) {
            let Some(block) = self.rows(from.clone()) else { continue };
            let weight = device.load_weight(&block);
            let mut y = device.scratch(block.rows());
            device.project_few(&x, 1, None, vec![Projection { weight: &weight, bias: None, pair: None, y: &mut y }]);
            for (row, score) in from.zip(device.download(&y)) {
                let place = self.lists.as_ref().map_or(row, |lists| lists.order()[row] as usize);
                if passing.is_none_or(|passing| passing[place]) {
                    best.offer(place, score);
                }
            }
        }
        best.into_sorted()
    }

    /// Some rows of the file.
    fn rows(&self, rows: Range<usize>) -> Option<WeightMatrix> {
        let width = 4 * self.dimension();
        WeightMatrix::new(self.bytes.slice(rows.start * width..rows.end * width)?, Format::F32, rows.len(), self.dimension())
    }
}

/// Rows in parts of at most [`BLOCK`].
fn blocks(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(BLOCK).map(move |from| from..(from + BLOCK).min(end))
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
        let vectors = Vectors::open(file.path(), n, dimension, None).expect("vectors");
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

    /// Unit vectors around some directions.
    fn clustered(n: usize, dimension: usize, spread: f32) -> Vec<Vec<f32>> {
        let mut state = 11u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let middles: Vec<Vec<f32>> = (0..40).map(|_| (0..dimension).map(|_| random()).collect()).collect();
        (0..n).map(|i| unit(&middles[i % 40].iter().map(|m| m + spread * random()).collect::<Vec<f32>>()).expect("a direction")).collect()
    }

    #[test]
    fn an_inverted_file_finds_nearly_what_is_nearest_and_all_of_it_where_it_looks_everywhere() {
        let (n, dimension) = (6_000, 32);
        let rows = clustered(n, dimension, 0.8);
        let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let lists = InvertedFile::build(&slices, dimension).expect("lists");
        let bytes = lists.to_bytes();
        assert_eq!(InvertedFile::build(&slices, dimension).expect("lists").to_bytes(), bytes, "the same rows, the same lists");
        let in_order: Vec<f32> = lists.order().iter().flat_map(|place| rows[*place as usize].iter().copied()).collect();
        let (plain, listed) = (file(&rows.concat()), file(&in_order));
        let exact = Vectors::open(plain.path(), n, dimension, None).expect("vectors");
        let read = InvertedFile::read(&Bytes::from_vec(bytes.clone()), n, dimension).expect("as written");
        let near = Vectors::open(listed.path(), n, dimension, Some(read)).expect("vectors");
        assert!((0..n).all(|place| near.row(place) == exact.row(place)));
        let device = device();
        let (mut found, mut wanted) = (0, 0);
        for query in clustered(80, dimension, 1.2).iter().skip(40) {
            let of_all = exact.nearest(&device, query, 10, None);
            let of_some = near.nearest(&device, query, 10, None);
            assert_eq!(of_some.len(), 10);
            found += of_some.iter().filter(|(place, _)| of_all.iter().any(|(other, _)| other == place)).count();
            wanted += 10;
            // What everything must be looked at for is exact.
            let every_500th: Vec<bool> = (0..n).map(|place| place % 500 == 3).collect();
            let rare =
                |vectors: &Vectors| vectors.nearest(&device, query, 12, Some(&every_500th)).iter().map(|hit| hit.0).collect::<Vec<_>>();
            assert_eq!(rare(&near), rare(&exact));
            let all = |vectors: &Vectors| {
                vectors.nearest(&device, query, n, None).iter().map(|hit| hit.0).collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(all(&near), all(&exact));
        }
        assert!(found * 100 >= wanted * 90, "{found} of {wanted}");
        for (n, dimension) in [(n - 1, dimension), (n, dimension + 1), (1, dimension)] {
            assert!(InvertedFile::read(&Bytes::from_vec(bytes.clone()), n, dimension).is_none());
        }
        // Any damage is refused, or does not lead astray.
        for at in (0..64).chain((64..bytes.len()).step_by(997)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            if let Some(lists) = InvertedFile::read(&Bytes::from_vec(damaged), n, dimension) {
                let vectors = Vectors::open(listed.path(), n, dimension, Some(lists)).expect("vectors");
                vectors.nearest(&device, &rows[5], 3, None);
            }
        }
        assert!(InvertedFile::read(&Bytes::from_vec(Vec::new()), n, dimension).is_none());
    }

    #[test]
    fn a_file_of_another_size_is_refused() {
        let file = file(&[1.0; 12]);
        assert!(Vectors::open(file.path(), 3, 4, None).is_ok());
        for (n, dimension) in [(3, 3), (4, 4), (usize::MAX, 4), (3, 0), (0, 0)] {
            assert!(Vectors::open(file.path(), n, dimension, None).is_err(), "{n} {dimension}");
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
