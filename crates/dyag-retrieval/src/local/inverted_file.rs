//! An inverted file over the vectors of a generation (IVF; Jégou et al. 2011, without the codes): rows lie list by list, each list around a centroid, and a search looks into the lists
//! whose centroids are nearest.

use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::map::Bytes;
use dyag_kernels::{Device as _, Format, Precision, WeightMatrix};

/// Vectors from which on a collection has one, unless it is told otherwise: below, all of them are read.
pub(crate) const FROM: usize = 200_000;
/// Rows that centroids are found with, for each list.
const SAMPLES_A_LIST: usize = 48;
/// Rounds of k-means.
const ROUNDS: usize = 8;
/// Rows that are compared with all centroids at once.
const BLOCK: usize = 2_048;
/// Lists that a search looks into: at least this many,
const FEWEST_PROBES: usize = 16;
/// and this share of all. Of a hundred thousand invented passages a twenty-fifth holds 65 % of the ten nearest, a quarter some 90 % (docs/benchmarks.md): questions lie far from what answers them, between many lists.
const PROBED_SHARE: f64 = 0.25;

/// Lists of `n` vectors: about `2 √n`, so that comparing with centroids and with the rows of some lists take about as long.
fn n_lists(n: usize) -> usize {
    ((2.0 * (n as f64).sqrt()) as usize).clamp(1, n)
}

/// Which rows lie in which list.
pub(super) struct InvertedFile {
    /// `[lists, dimension]`, of length 1.
    centroids: WeightMatrix,
    /// Where each list begins among the rows of the file; then the end.
    starts: Vec<usize>,
    /// The passage of each row of the file.
    order: Vec<u32>,
    /// The row of each passage.
    rows: Vec<u32>,
}

impl InvertedFile {
    /// Makes lists of unit vectors of `dimension` numbers: spherical k-means on a sample, then each row to its nearest centroid. Depends on the rows alone.
    pub(super) fn build(rows: &[&[f32]], dimension: usize) -> Result<Self, String> {
        let options = CpuOptions { precision: Precision::F32, threads: None, level: None, int8_activations: false };
        let device = CpuDevice::new(options).map_err(|error| error.to_string())?;
        let n_lists = n_lists(rows.len());
        // Passages lie in the order of their ids, which has nothing to do with what they say.
        let n_samples = (SAMPLES_A_LIST * n_lists).min(rows.len());
        let sample: Vec<&[f32]> = (0..n_samples).map(|i| rows[i * rows.len() / n_samples]).collect();
        let mut centroids: Vec<f32> = (0..n_lists).flat_map(|list| sample[list * n_samples / n_lists].iter().copied()).collect();
        for _ in 0..ROUNDS {
            let nearest = assign(&device, &centroids, dimension, &sample);
            let mut sums = vec![0.0f64; centroids.len()];
            for (row, list) in sample.iter().zip(&nearest) {
                let sum = &mut sums[*list as usize * dimension..][..dimension];
                sum.iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            for (centroid, sum) in centroids.chunks_exact_mut(dimension).zip(sums.chunks_exact(dimension)) {
                let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
                // A list that nothing is near stays where it is.
                if norm > 0.0 {
                    centroid.iter_mut().zip(sum).for_each(|(value, sum)| *value = (sum / norm) as f32);
                }
            }
        }
        let lists = assign(&device, &centroids, dimension, rows);
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_by_key(|place| lists[*place as usize]);
        let mut starts = vec![0usize; n_lists + 1];
        for list in lists {
            starts[list as usize + 1] += 1;
        }
        for list in 0..n_lists {
            starts[list + 1] += starts[list];
        }
        let bytes = centroids.iter().flat_map(|value| value.to_le_bytes()).collect();
        let centroids = WeightMatrix::new(Bytes::from_vec(bytes), Format::F32, n_lists, dimension).ok_or("no matrix of centroids")?;
        Self::new(centroids, starts, order).ok_or_else(|| "lists without an order".to_owned())
    }

    fn new(centroids: WeightMatrix, starts: Vec<usize>, order: Vec<u32>) -> Option<Self> {
        let is_rising = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        if !is_rising || starts.first() != Some(&0) || starts.last() != Some(&order.len()) || starts.len() != centroids.rows() + 1 {
            return None;
        }
        let mut rows = vec![u32::MAX; order.len()];
        for (row, place) in order.iter().enumerate() {
            let slot = rows.get_mut(*place as usize)?;
            if *slot != u32::MAX {
                return None;
            }
            *slot = row as u32;
        }
        Some(Self { centroids, starts, order, rows })
    }

    /// As it lies in its file: numbers of lists, of rows, of a vector; where lists begin, as u64; passages of rows, as u32; centroids, as f32.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (n_lists, dimension) = (self.centroids.rows(), self.centroids.cols());
        let mut bytes = Vec::with_capacity(8 * (4 + n_lists) + 4 * (self.order.len() + n_lists * dimension));
        for number in [n_lists, self.order.len(), dimension].iter().chain(&self.starts) {
            bytes.extend_from_slice(&(*number as u64).to_le_bytes());
        }
        self.order.iter().for_each(|place| bytes.extend_from_slice(&place.to_le_bytes()));
        let mut row = vec![0.0; dimension];
        for list in 0..n_lists {
            self.centroids.widen_row(list, 0, &mut row);
            row.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        }
        bytes
    }

    /// Reads what [`InvertedFile::to_bytes`] wrote about `n` vectors of `dimension` numbers; none where it is something else.
    pub(super) fn read(bytes: &Bytes, n: usize, dimension: usize) -> Option<Self> {
        let slice = bytes.as_slice();
        let numbers = slice.as_chunks::<8>().0;
        let number = |place: usize| usize::try_from(u64::from_le_bytes(*numbers.get(place)?)).ok();
        let n_lists = number(0)?;
        if n_lists == 0 || n_lists > n || number(1) != Some(n) || number(2) != Some(dimension) {
            return None;
        }
        let begin_order = 8 * (4 + n_lists);
        let begin_centroids = begin_order + 4 * n;
        let end = n_lists.checked_mul(dimension)?.checked_mul(4)?.checked_add(begin_centroids)?;
        if slice.len() != end {
            return None;
        }
        let starts = (3..4 + n_lists).map(number).collect::<Option<Vec<usize>>>()?;
        let order = slice[begin_order..begin_centroids].as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let centroids = WeightMatrix::new(bytes.slice(begin_centroids..end)?, Format::F32, n_lists, dimension)?;
        Self::new(centroids, starts, order)
    }

    /// Passages in the order of the rows.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// The row of a passage.
    pub(super) fn row_of(&self, place: usize) -> usize {
        self.rows[place] as usize
    }

    /// The rows of the lists that a search for `vector` looks into, nearest list first, until they hold `wanted` rows that pass.
    pub(super) fn probed(
        &self,
        device: &CpuDevice,
        vector: &[f32],
        wanted: usize,
        passing: Option<&[bool]>,
    ) -> Vec<std::ops::Range<usize>> {
        let n_lists = self.centroids.rows();
        let x = device.upload(vector);
        let mut y = device.scratch(n_lists);
        device.linear_few(&device.load_weight(&self.centroids), &x, 1, None, &mut y);
        let cosines = device.download(&y);
        let mut lists: Vec<usize> = (0..n_lists).collect();
        lists.sort_by(|a, b| cosines[*b].total_cmp(&cosines[*a]).then(a.cmp(b)));
        let fewest = FEWEST_PROBES.max((n_lists as f64 * PROBED_SHARE) as usize);
        let (mut n_rows, mut probed) = (0, Vec::new());
        for list in lists {
            if probed.len() >= fewest && n_rows >= wanted {
                break;
            }
            let rows = self.starts[list]..self.starts[list + 1];
            n_rows +=
                passing.map_or(rows.len(), |passing| self.order[rows.clone()].iter().filter(|place| passing[**place as usize]).count());
            probed.push(rows);
        }
        probed
    }
}

/// The nearest centroid of each row, the first of equally near ones.
fn assign(device: &CpuDevice, centroids: &[f32], dimension: usize, rows: &[&[f32]]) -> Vec<u32> {
    let n_lists = centroids.len() / dimension;
    let weight = device.freeze(&device.upload(centroids), n_lists, dimension);
    let mut nearest = Vec::with_capacity(rows.len());
    device.run(|| {
        for block in rows.chunks(BLOCK) {
            let x = device.upload(&block.concat());
            let mut y = device.scratch(block.len() * n_lists);
            device.linear(&weight, &x, block.len(), None, None, &mut y);
            nearest.extend(device.largest(&y, n_lists));
        }
    });
    nearest
}
