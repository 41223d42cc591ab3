//! NormalFloat-4 (Dettmers et al. 2023, QLoRA, appendix E): blocks of 64 elements, each a quantile of the normal distribution times the block's largest magnitude.
//!
//! No file holds it: matrices are quantised when they are loaded. The largest magnitude is kept as an f16, which is 4.25 bits an element; its rounding is a
//! two-thousandth of the step between two codes.

use super::f16_at;
use crate::cpu;
use crate::cpu_device::math::for_each_level;

/// Elements of a block.
pub(super) const LEN: usize = 64;

/// Bytes of a block: `d: f16, nibbles: [u8; 32]`.
pub(super) const BYTES: usize = 34;

/// The value of each code.
pub(super) const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Byte `i` of the nibbles holds element `i` low and element `i + 32` high; an element is `d * VALUES[code]`.
pub(super) fn nf4(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, 0);
    for i in 0..LEN / 2 {
        let byte = block[2 + i];
        out[i] = d * VALUES[usize::from(byte & 15)];
        out[i + LEN / 2] = d * VALUES[usize::from(byte >> 4)];
    }
}

/// Quantises values, in number a multiple of 64, to blocks: each element gets the code nearest to its share of the block's largest magnitude as it is kept, the lower of two equally near.
///
/// # Panics
/// If the lengths do not agree.
pub(crate) fn quantize(values: &[f32], out: &mut [u8]) {
    assert!(values.len().is_multiple_of(LEN) && out.len() == values.len() / LEN * BYTES);
    for (values, out) in values.as_chunks::<LEN>().0.iter().zip(out.as_chunks_mut::<BYTES>().0) {
        quantize_block(cpu::level().vector(), values, out);
    }
}

for_each_level! {
    fn quantize_block(values: &[f32; LEN], out: &mut [u8; BYTES]) {
        let largest = values.iter().fold(0f32, |largest, v| if v.abs() > largest { v.abs() } else { largest });
        let scale = half::f16::from_f32(largest.min(half::f16::MAX.to_f32()));
        let inverse = if scale.to_f32() == 0.0 { 0.0 } else { 1.0 / scale.to_f32() };
        // The number of middles between neighbours that lie below is the code.
        let mut codes = [0i32; LEN];
        for pair in VALUES.windows(2) {
            let middle = 0.5 * (pair[0] + pair[1]);
            for (code, value) in codes.iter_mut().zip(values) {
                *code += i32::from(value * inverse > middle);
            }
        }
        out[..2].copy_from_slice(&scale.to_le_bytes());
        for (i, byte) in out[2..].iter_mut().enumerate() {
            *byte = (codes[i] | codes[i + LEN / 2] << 4) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weight::WeightMatrix;

    fn widened(values: &[f32]) -> Vec<f32> {
        let mut blocks = vec![0xff; values.len() / LEN * BYTES];
        quantize(values, &mut blocks);
        let mut out = vec![f32::NAN; values.len()];
        super::super::widen_scalar(crate::weight::Format::Nf4, &blocks, &mut out);
        out
    }

    #[test]
    fn a_block_by_hand() {
        // The largest magnitude is 2; shares of it: 1, 0.5 (between 0.4407 and 0.5626, nearer the lower), -0.25, 0.01, -1, and zeros.
        let mut values = [0f32; LEN];
        (values[0], values[1], values[2], values[3], values[63]) = (2.0, 1.0, -0.5, 0.02, -2.0);
        let mut block = [0; BYTES];
        quantize(&values, &mut block);
        assert_eq!(block[..2], half::f16::from_f32(2.0).to_le_bytes());
        // Low nibbles are elements 0, 1, 2, 3; the high ones, elements 32 to 35, are zeros (code 7), and element 63 is the last high one.
        assert_eq!(block[2..6], [0x7f, 0x7c, 0x74, 0x77]);
        assert_eq!(block[33], 0x07);
        let mut out = [f32::NAN; LEN];
        nf4(&block, &mut out);
        assert_eq!((out[0], out[1], out[2], out[3], out[63]), (2.0, 2.0 * VALUES[12], 2.0 * VALUES[4], 0.0, -2.0));
    }

    #[test]
    fn codes_are_fixed_points_and_every_share_gets_the_nearest() {
        let mut exact = [0f32; LEN];
        exact.iter_mut().enumerate().for_each(|(i, v)| *v = 0.375 * VALUES[i % 16]);
        assert_eq!(widened(&exact), exact);
        let shares: Vec<f32> = (0..64 * 63).map(|i| i as f32 / 2016.0 - 1.0).collect();
        for block in shares.chunks_exact(63) {
            let mut values = block.to_vec();
            values.push(1.0);
            for (value, got) in values.iter().zip(widened(&values)) {
                let best = VALUES.iter().map(|v| (v - value).abs()).fold(f32::MAX, f32::min);
                assert!((got - value).abs() <= best + 1e-7, "{value} became {got}, {best} away from the nearest");
            }
        }
    }

    #[test]
    fn zeros_stay_and_scales_that_no_half_holds_do_not_become_infinite() {
        assert_eq!(widened(&[0.0; LEN]), [0.0; LEN]);
        assert!(widened(&[1e30; LEN]).iter().all(|v| v.is_finite()));
        assert!(widened(&[1e-30; LEN]).iter().all(|v| *v == 0.0));
    }

    #[test]
    fn matrices_are_quantised_by_rows_in_the_order_they_are_served() {
        let values: Vec<f32> = (0..8 * 128).map(|i| ((i * 7919) % 1009) as f32 * 0.001 - 0.5).collect();
        let plain = WeightMatrix::from_f32(&values, 8, 128);
        for matrix in [plain.clone(), plain.clone().with_interleaved_heads(4).unwrap()] {
            let quantised = matrix.quantized().unwrap();
            assert_eq!((quantised.rows(), quantised.cols(), quantised.bytes().len()), (8, 128, 8 * 2 * BYTES));
            assert!(quantised.quantized().is_none());
            for row in 0..8 {
                let [mut before, mut after] = [[0.0; 128], [f32::NAN; 128]];
                matrix.widen_row(row, 0, &mut before);
                quantised.widen_row(row, 0, &mut after);
                assert_eq!(after[..], widened(&before));
            }
        }
        assert!(WeightMatrix::from_f32(&values[..96], 1, 96).quantized().is_none());
    }

    #[test]
    fn every_level_quantises_alike() {
        let values: [f32; LEN] = std::array::from_fn(|i| ((i * 37 + 11) % 64) as f32 * 0.01 - 0.3);
        let mut expected = [0; BYTES];
        quantize_block(cpu::Level::Scalar, &values, &mut expected);
        for level in cpu::available() {
            let mut block = [0; BYTES];
            quantize_block(level.vector(), &values, &mut block);
            assert_eq!(block, expected, "{}", level.name());
        }
    }
}
