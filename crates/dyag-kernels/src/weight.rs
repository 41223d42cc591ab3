//! A frozen weight matrix as it lies in its file.

use rayon::prelude::*;

use crate::map::Bytes;

/// How the elements of a row are stored. The quantised ones are GGUF's blocks, but for `Nf4`, which no file holds ([`WeightMatrix::quantized`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Format {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
    Nf4,
}

impl Format {
    /// Elements a block holds (1 for the plain formats).
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Nf4 => 64,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes a block takes.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Nf4 => 34,
        }
    }

    /// Bytes of a row of `cols` elements, or `None` when blocks do not fit it evenly or the size overflows.
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Name as users know it (`Q4_K`, `BF16`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Nf4 => "NF4",
        }
    }
}

/// A matrix `[rows, cols]` of frozen weights, row-major, in the bytes of its file. `y = x Wᵀ` maps `cols` channels to `rows` channels.
#[derive(Clone, Debug)]
pub struct WeightMatrix {
    bytes: Bytes,
    format: Format,
    rows: usize,
    cols: usize,
    /// Rows of each head when the file interleaves the two halves of every head (Llama in GGUF).
    interleaved_head_size: Option<usize>,
}

impl WeightMatrix {
    /// Views `bytes` as `[rows, cols]`; `None` when the number of bytes is not what that takes.
    pub fn new(bytes: Bytes, format: Format, rows: usize, cols: usize) -> Option<Self> {
        let expected = format.row_bytes(cols)?.checked_mul(rows)?;
        (bytes.len() == expected).then_some(Self { bytes, format, rows, cols, interleaved_head_size: None })
    }

    /// Owned f32 values, for tests and small tensors.
    pub fn from_f32(values: &[f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols);
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(Bytes::from_vec(bytes), Format::F32, rows, cols).expect("sizes agree")
    }

    /// The matrix in NormalFloat-4, made row by row and for as long as it lives in memory; `None` where it is quantised already, or has rows that are no
    /// whole blocks. What was read of the file need not stay in memory.
    pub fn quantized(&self) -> Option<Self> {
        let row_bytes = Format::Nf4.row_bytes(self.cols)?;
        if self.format.block_len() != 1 {
            return None;
        }
        let mut bytes = vec![0; row_bytes * self.rows];
        let quantize = |widened: &mut Vec<f32>, (row, out): (usize, &mut [u8])| {
            widened.resize(self.cols, 0.0);
            self.widen_row(row, 0, widened);
            crate::quant::nf4::quantize(widened, out);
        };
        bytes.par_chunks_mut(row_bytes).enumerate().with_min_len(16).for_each_init(Vec::new, quantize);
        self.bytes.release();
        Self::new(Bytes::from_vec(bytes), Format::Nf4, self.rows, self.cols)
    }

    /// The Euclidean norm of every row, summed in f64.
    pub fn row_norms(&self) -> Vec<f32> {
        let mut norms = vec![0.0; self.rows];
        crate::cpu_device::row_squares(crate::cpu::level().vector(), self, &mut norms);
        norms.iter_mut().for_each(|square| *square = square.sqrt());
        norms
    }

    /// Declares that within each head of `head_size` rows, the file holds row `i` of the first half at `2i` and of the second half
    /// at `2i + 1` (llama.cpp stores the q and k matrices of Llama so). Rows are then served in the order of the original model.
    /// `None` when `rows` is no multiple of `head_size` or that is odd.
    pub fn with_interleaved_heads(mut self, head_size: usize) -> Option<Self> {
        if head_size == 0 || !head_size.is_multiple_of(2) || !self.rows.is_multiple_of(head_size) {
            return None;
        }
        self.interleaved_head_size = Some(head_size);
        Some(self)
    }

    /// How elements are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Output channels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input channels.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All bytes, in the file's own order of rows.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The stored bytes of logical row `row`.
    ///
    /// # Panics
    /// If `row` is not below `rows`.
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        assert!(row < self.rows);
        let stored = match self.interleaved_head_size {
            None => row,
            Some(size) => {
                let (head, within) = (row / size, row % size);
                let half = size / 2;
                head * size + if within < half { 2 * within } else { 2 * (within - half) + 1 }
            }
        };
        let len = self.bytes.len() / self.rows;
        &self.bytes.as_slice()[stored * len..(stored + 1) * len]
    }

    /// As [`WeightMatrix::widen_row`], rounded to bf16; `false`, with `out` untouched, where there is no kernel for it.
    pub(crate) fn row_in_bf16(&self, row: usize, cols_from: usize, out: &mut [u16]) -> bool {
        let (block_len, block_bytes) = (self.format.block_len(), self.format.block_bytes());
        assert!(cols_from.is_multiple_of(block_len) && out.len().is_multiple_of(block_len) && cols_from + out.len() <= self.cols);
        let from = cols_from / block_len * block_bytes;
        crate::quant::halves(self.format, &self.row_bytes(row)[from..from + out.len() / block_len * block_bytes], out)
    }

    /// Writes the elements `cols_from .. cols_from + out.len()` of row `row`, widened to f32. `cols_from` must be the start of a block
    /// and `out` must end at the end of one.
    pub fn widen_row(&self, row: usize, cols_from: usize, out: &mut [f32]) {
        let (block_len, block_bytes) = (self.format.block_len(), self.format.block_bytes());
        assert!(cols_from.is_multiple_of(block_len) && out.len().is_multiple_of(block_len) && cols_from + out.len() <= self.cols);
        let from = cols_from / block_len * block_bytes;
        let to = from + out.len() / block_len * block_bytes;
        crate::quant::widen(self.format, &self.row_bytes(row)[from..to], out);
    }
}
