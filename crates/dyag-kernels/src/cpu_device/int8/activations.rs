//! Activations as bytes, a scale for 32 of them, with the sums that the formulas ask for.

use rayon::prelude::*;

use super::super::math::for_each_level;
use super::{ACTIVATIONS, Blocks, CHAINS, Kernel, LANES};
use crate::cpu::Level;

/// Largest magnitude below which a block counts as zeros: the inverse of its scale would not be a number.
const SMALLEST: f32 = 1e-35;

/// Rows are padded with zeros to whole groups of every kind of blocks.
const PADDED_TO: usize = CHAINS * ACTIVATIONS;

/// Adding it rounds to the nearest integer, ties to even, which then lies in the lowest bits.
const TO_INTEGER: f32 = 12_582_912.0; // 1.5 * 2^23

/// Rows of activations. Either row by row, or in groups of [`LANES`] rows with a row to a lane.
pub(in super::super) struct Activations {
    rows: usize,
    k: usize,
    padded: usize,
    transposed: bool,
    /// `[row][k]`, or `[group][k / 4][lane][4]`.
    bytes: Vec<i8>,
    /// By block of 32 and by block of 16: `[row][block]`, or `[group][block][lane]`.
    by_32: Scales,
    by_16: Scales,
}

/// What belongs to blocks of one length.
#[derive(Clone, Default)]
struct Scales {
    /// The scale.
    d: Vec<f32>,
    /// Sum of the bytes.
    sums: Vec<i32>,
    /// `d` times the sum of the bytes.
    scaled_sums: Vec<f32>,
}

/// A row from some element on, as the kernels for few rows read it.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) bytes: &'a [i8],
    /// By block.
    pub(super) d: &'a [f32],
    pub(super) sums: &'a [i32],
    pub(super) scaled_sums: &'a [f32],
}

for_each_level! {
    /// A row's bytes, and scale and sum of the two halves of each block.
    fn quantize_row(x: &[f32], bytes: &mut [i8], d: &mut [f32], sums: &mut [[i32; 2]]) {
        let blocks = x.as_chunks::<ACTIVATIONS>().0.iter().zip(bytes.as_chunks_mut::<ACTIVATIONS>().0);
        for ((x, bytes), (d, sums)) in blocks.zip(d.iter_mut().zip(sums)) {
            // Magnitudes order as their bits do, with infinity and NaN above all others.
            let largest = x.iter().fold(0, |largest: u32, value| largest.max(value.to_bits() & 0x7fff_ffff));
            let largest = f32::from_bits(largest);
            if !largest.is_finite() || largest < SMALLEST {
                bytes.fill(0);
                *sums = [0; 2];
                // What is no number must not come out as one.
                *d = if largest.is_finite() { 0.0 } else { f32::NAN };
                continue;
            }
            let inverse = 127.0 / largest;
            for (byte, value) in bytes.iter_mut().zip(x) {
                *byte = (value * inverse + TO_INTEGER).to_bits() as i8;
            }
            for (sum, half) in sums.iter_mut().zip(bytes.as_chunks::<16>().0) {
                *sum = half.iter().map(|byte| i32::from(*byte)).sum();
            }
            *d = largest / 127.0;
        }
    }
}

/// One row in the making.
struct Quantized {
    bytes: Vec<i8>,
    d: Vec<f32>,
    sums: Vec<[i32; 2]>,
}

impl Activations {
    /// Quantises `rows` rows of `x` `[rows, k]`, laid out for `kernel`.
    pub(in super::super) fn new(kernel: Kernel, level: Level, x: &[f32], rows: usize) -> Self {
        let k = x.len() / rows.max(1);
        assert!(x.len() == rows * k && k.is_multiple_of(ACTIVATIONS), "rows are whole blocks");
        let padded = k.next_multiple_of(PADDED_TO);
        let transposed = kernel.takes_many(rows);
        let mut new = Self {
            rows,
            k,
            padded,
            transposed,
            bytes: vec![0; if transposed { rows.next_multiple_of(LANES) } else { rows } * padded],
            by_32: Scales::default(),
            by_16: Scales::default(),
        };
        let quantize = |x: &[f32]| {
            let n_blocks = padded / ACTIVATIONS;
            let mut row = Quantized { bytes: vec![0; padded], d: vec![0.0; n_blocks], sums: vec![[0; 2]; n_blocks] };
            quantize_row(level, x, &mut row.bytes, &mut row.d, &mut row.sums);
            row
        };
        let quantized: Vec<Quantized> = x.par_chunks(k.max(1)).with_min_len(4).map(quantize).collect();
        if transposed {
            new.lay_by_lanes(&quantized)
        } else {
            new.lay_by_rows(quantized)
        }
        new
    }

    fn lay_by_rows(&mut self, mut rows: Vec<Quantized>) {
        if let [row] = &mut rows[..] {
            self.bytes = std::mem::take(&mut row.bytes);
        } else {
            for (to, row) in self.bytes.chunks_exact_mut(self.padded).zip(&rows) {
                to.copy_from_slice(&row.bytes);
            }
        }
        for row in &rows {
            for (d, sums) in row.d.iter().zip(&row.sums) {
                self.by_32.push(*d, sums[0] + sums[1]);
                sums.iter().for_each(|sum| self.by_16.push(*d, *sum));
            }
        }
    }

    fn lay_by_lanes(&mut self, rows: &[Quantized]) {
        let padded = self.padded;
        self.bytes.par_chunks_exact_mut(padded * LANES).zip(rows.par_chunks(LANES)).for_each(|(to, rows)| {
            for (lane, row) in rows.iter().enumerate() {
                for (to, four) in to.as_chunks_mut::<{ 4 * LANES }>().0.iter_mut().zip(row.bytes.as_chunks::<4>().0) {
                    to[4 * lane..4 * lane + 4].copy_from_slice(four);
                }
            }
        });
        for group in rows.chunks(LANES) {
            for block in 0..padded / ACTIVATIONS {
                let of = |lane: usize| group.get(lane).map_or((0.0, [0; 2]), |row| (row.d[block], row.sums[block]));
                (0..LANES).map(of).for_each(|(d, sums)| self.by_32.push(d, sums[0] + sums[1]));
                for half in 0..2 {
                    (0..LANES).map(of).for_each(|(d, sums)| self.by_16.push(d, sums[half]));
                }
            }
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn k(&self) -> usize {
        self.k
    }

    /// Whether a row is a lane.
    pub(super) fn transposed(&self) -> bool {
        self.transposed
    }

    /// Rows that are computed.
    pub(super) fn padded_rows(&self) -> usize {
        if self.transposed { self.rows.next_multiple_of(LANES) } else { self.rows }
    }

    /// Row `row` from element `from` on.
    pub(super) fn row(&self, row: usize, from: usize, blocks: Blocks) -> Row<'_> {
        assert!(!self.transposed);
        let at = row * self.padded + from;
        let to = (row + 1) * self.padded;
        self.view(at..to, at / blocks.len..to / blocks.len, blocks)
    }

    /// The group of rows from element `from` on.
    pub(super) fn group(&self, group: usize, from: usize, blocks: Blocks) -> Row<'_> {
        assert!(self.transposed);
        let (at, to) = ((group * self.padded + from) * LANES, (group + 1) * self.padded * LANES);
        self.view(at..to, at / blocks.len..to / blocks.len, blocks)
    }

    fn view(&self, bytes: std::ops::Range<usize>, by_block: std::ops::Range<usize>, blocks: Blocks) -> Row<'_> {
        let Scales { d, sums, scaled_sums } = if blocks.len == ACTIVATIONS { &self.by_32 } else { &self.by_16 };
        Row { bytes: &self.bytes[bytes], d: &d[by_block.clone()], sums: &sums[by_block.clone()], scaled_sums: &scaled_sums[by_block] }
    }
}

impl Scales {
    fn push(&mut self, d: f32, sum: i32) {
        self.d.push(d);
        self.sums.push(sum);
        self.scaled_sums.push(d * sum as f32);
    }
}
