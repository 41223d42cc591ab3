//! Four columns of weights as plain bytes with their blocks' scales, in the first-level cache: what all kernels read.

use super::{Blocks, CHAINS, Kernel};
use crate::quant;
use crate::weight::{Format, WeightMatrix};

/// Columns of a panel.
pub(super) const COLUMNS: usize = 4;

/// Elements of a column that a panel holds, a multiple of every block: 8 KB.
pub(super) const SPAN: usize = 2048;

/// Elements of a column that lie together.
pub(super) const RUN: usize = 16;

/// Unpacked weights. Aligned to a line of the cache.
#[repr(align(64))]
pub(super) struct Panel {
    /// `[run of 16 elements][column][16]`: the integers of the format, with their offset.
    pub(super) bytes: [u8; COLUMNS * SPAN],
    /// `[group of 4 blocks][column][block]`.
    pub(super) scales: [f32; COLUMNS * SPAN / 16],
    /// As the scales, for formats that have minimums: what is added to each element.
    pub(super) minimums: [f32; COLUMNS * SPAN / 32],
}

impl Default for Panel {
    fn default() -> Self {
        Self { bytes: [0; _], scales: [0.0; _], minimums: [0.0; _] }
    }
}

/// Where run `run` of `column` begins in the bytes.
pub(super) fn run_at(run: usize, column: usize) -> usize {
    (run * COLUMNS + column) * RUN
}

/// Where block `block` of `column` lies in the scales.
pub(super) fn block_at(block: usize, column: usize) -> usize {
    (block / CHAINS * COLUMNS + column) * CHAINS + block % CHAINS
}

impl Panel {
    /// Unpacks elements `from .. from + len` of a row of `w`: `(row, column of the panel)`. Blocks up to a whole group become zeros.
    pub(super) fn fill(&mut self, kernel: Kernel, w: &WeightMatrix, (row, column): (usize, usize), from: usize, len: usize) {
        let format = w.format();
        let (block_len, block_bytes) = (format.block_len(), format.block_bytes());
        assert!(from.is_multiple_of(block_len) && len.is_multiple_of(block_len) && len <= SPAN && column < COLUMNS);
        let bytes = &w.row_bytes(row)[from / block_len * block_bytes..][..len / block_len * block_bytes];
        match kernel {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the kernel was found on this machine.
            Kernel::Avx2 | Kernel::Vnni => unsafe { super::unpack::column(format, bytes, column, self) },
            _ => self.fill_scalar(format, bytes, column),
        }
        let blocks = Blocks::of(format).expect("the format is made of integers");
        for block in len / blocks.len..len.next_multiple_of(blocks.group()) / blocks.len {
            for run in block * blocks.len / RUN..(block + 1) * blocks.len / RUN {
                self.bytes[run_at(run, column)..][..RUN].fill(0);
            }
            self.scales[block_at(block, column)] = 0.0;
            if blocks.offset_bits.is_none() {
                self.minimums[block_at(block, column)] = 0.0;
            }
        }
    }

    /// The specification of unpacking.
    pub(super) fn fill_scalar(&mut self, format: Format, bytes: &[u8], column: usize) {
        let blocks = Blocks::of(format).expect("the format is made of integers");
        let (mut integers, mut scales, mut minimums) = ([0; 256], [0.0; 16], [0.0; 16]);
        let n = format.block_len();
        for (i, block) in bytes.chunks_exact(format.block_bytes()).enumerate() {
            quant::integers(format, block, &mut integers[..n], &mut scales, &mut minimums);
            for (run, integers) in integers[..n].chunks_exact(RUN).enumerate() {
                self.bytes[run_at(i * n / RUN + run, column)..][..RUN].copy_from_slice(integers);
            }
            for b in 0..n / blocks.len {
                let at = block_at(i * n / blocks.len + b, column);
                self.scales[at] = scales[b];
                if blocks.offset_bits.is_none() {
                    self.minimums[at] = minimums[b];
                }
            }
        }
    }
}
