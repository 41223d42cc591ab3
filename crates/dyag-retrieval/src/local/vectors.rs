//! Vectors of a generation: a file of `n` rows of f32 in the order of passages, each of length 1, mapped and multiplied; where there are many, with eight-bit copies that are looked through first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;

use dyag_kernels::cpu_device::CpuDevice;
use dyag_kernels::device::Projection;
use dyag_kernels::map::Bytes;
use dyag_kernels::{Device as _, Format, WeightMatrix};

use super::codes;
use crate::error::RetrievalError;
use crate::indexing::dot;

/// Rows of a product: what is read between two looks at the best so far.
const BLOCK: usize = 65_536;

/// A matrix `[n, dimension]` of unit vectors in its file.
pub(super) struct Vectors {
    exact: Rows,
    /// Copies of all rows, where the collection has some.
    codes: Option<Rows>,
}

impl Vectors {
    /// Maps the file of `n` vectors. `codes` is the file of their copies.
    pub(super) fn open(path: &Path, n: usize, dimension: usize, codes: Option<(&Path, Bytes)>) -> Result<Self, RetrievalError> {
        let bytes = Bytes::map_file(path).map_err(|error| RetrievalError::read(path, error))?;
        let found = bytes.len();
        let damaged = |path: &Path, width: usize, found: usize| {
            RetrievalError::damaged(path, format!("{n} vectors of {width} bytes"), format!("{found} bytes"))
        };
        let of_vectors = || damaged(path, dimension.saturating_mul(4), found);
        let expected = n.checked_mul(dimension).and_then(|count| count.checked_mul(4)).ok_or_else(of_vectors)?;
        if found != expected || dimension == 0 {
            return Err(of_vectors());
        }
        let exact = Rows::new(bytes, Format::F32, n, dimension).ok_or_else(of_vectors)?;
        let codes = codes.map(|(path, bytes)| {
            let (width, found) = (codes::padded(dimension), bytes.len());
            let wrong = || damaged(path, codes::FORMAT.row_bytes(width).unwrap_or(0), found);
            Rows::new(bytes, codes::FORMAT, n, width).ok_or_else(wrong)
        });
        Ok(Self { exact, codes: codes.transpose()? })
    }

    /// Numbers of a vector.
    pub(super) fn dimension(&self) -> usize {
        self.exact.matrix.cols()
    }

    /// The vector of a passage.
    pub(super) fn row(&self, place: usize) -> Vec<f32> {
        let mut row = vec![0.0; self.dimension()];
        self.exact.matrix.widen_row(place, 0, &mut row);
        row
    }

    /// Places and cosines of the `k` passages nearest to `vector` among those that pass: the largest first, equal ones by place. Of a collection with copies, among those whose copies are nearest.
    pub(super) fn nearest(&self, device: &CpuDevice, vector: &[f32], k: usize, passing: Option<&[bool]>) -> Vec<(usize, f32)> {
        let Some(copies) = &self.codes else { return self.exact.nearest(device, vector, k, passing).into_sorted() };
        let mut padded = vector.to_vec();
        padded.resize(copies.matrix.cols(), 0.0);
        let mut best = Best::of(k);
        for candidate in copies.nearest(device, &padded, codes::candidates(k), passing).heap {
            best.offer(candidate.place, dot(&self.row(candidate.place), vector) as f32);
        }
        best.into_sorted()
    }
}

/// Rows of one format in their file.
struct Rows {
    matrix: WeightMatrix,
    bytes: Bytes,
    /// Of a row.
    width: usize,
}

impl Rows {
    /// None where the file is of another length.
    fn new(bytes: Bytes, format: Format, n: usize, cols: usize) -> Option<Self> {
        let width = format.row_bytes(cols)?;
        let matrix = WeightMatrix::new(bytes.clone(), format, n, cols)?;
        Some(Self { matrix, bytes, width })
    }

    /// The rows with the largest products among those that pass.
    fn nearest(&self, device: &CpuDevice, vector: &[f32], k: usize, passing: Option<&[bool]>) -> Best {
        let x = device.upload(vector);
        let mut best = Best::of(k);
        for from in blocks(0..self.matrix.rows()) {
            let Some(block) = self.part(from.clone()) else { continue };
            let weight = device.load_weight(&block);
            let mut y = device.scratch(block.rows());
            device.project_few(&x, 1, None, vec![Projection { weight: &weight, bias: None, pair: None, y: &mut y }]);
            for (place, score) in from.zip(device.download(&y)) {
                if passing.is_none_or(|passing| passing[place]) {
                    best.offer(place, score);
                }
            }
        }
        best
    }

    fn part(&self, rows: Range<usize>) -> Option<WeightMatrix> {
        let bytes = self.bytes.slice(rows.start * self.width..rows.end * self.width)?;
        WeightMatrix::new(bytes, self.matrix.format(), rows.len(), self.matrix.cols())
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
    fn of(k: usize) -> Self {
        Self { heap: BinaryHeap::new(), k }
    }

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
    fn with_copies_the_nearest_are_the_same() {
        // No whole blocks of copies, and one.
        for dimension in [24, 32] {
            let n = 6_000;
            let rows = clustered(n, dimension, 0.8);
            let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let passing: [Vec<bool>; 2] = [500, 7].map(|step| (0..n).map(|place| place % step == 3).collect());
            let mut bytes = Vec::new();
            codes::write(&slices, dimension, &mut bytes).expect("copies");
            let plain = file(&rows.concat());
            let open = |codes: Option<Vec<u8>>| {
                let codes = codes.map(|bytes| (Path::new("vectors.q8_0"), Bytes::from_vec(bytes)));
                Vectors::open(plain.path(), n, dimension, codes)
            };
            let (exact, near) = (open(None).expect("vectors"), open(Some(bytes.clone())).expect("vectors"));
            // Whether the device multiplies whole numbers or not.
            for int8_activations in [true, false] {
                let options = CpuOptions { precision: Precision::F32, threads: Some(2), level: None, int8_activations };
                let device = CpuDevice::new(options).expect("threads");
                for query in clustered(80, dimension, 1.2).iter().skip(40) {
                    let places = |found: Vec<(usize, f32)>| found.into_iter().map(|(place, _)| place).collect::<Vec<_>>();
                    let nearest = |vectors: &Vectors, k: usize, passing| places(vectors.nearest(&device, query, k, passing));
                    assert_eq!(nearest(&near, 10, None), nearest(&exact, 10, None));
                    for some in &passing {
                        assert_eq!(nearest(&near, 12, Some(some)), nearest(&exact, 12, Some(some)));
                    }
                    assert_eq!(nearest(&near, n, None).len(), n);
                }
            }
            for (n, dimension) in [(n - 1, dimension), (n, dimension + 32)] {
                let codes = Some((Path::new("vectors.q8_0"), Bytes::from_vec(bytes.clone())));
                let file = file(&vec![0.5; n * dimension]);
                assert!(Vectors::open(file.path(), n, dimension, codes).is_err());
            }
            // Damaged copies lead astray at most.
            for at in (0..64).chain((64..bytes.len()).step_by(9_973)) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0xff;
                assert_eq!(open(Some(damaged)).expect("vectors").nearest(&device(), &rows[5], 3, None).len(), 3);
            }
        }
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
