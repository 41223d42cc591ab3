//! The integers of a block and what they are multiplied with, for products in whole numbers: `w = scale * (p - offset) + minimum`.
//!
//! The offset (8, 16, 128 and 32 for Q4_0, Q5_0, Q8_0 and Q6_K) makes every `p` a byte without sign; formats that store a minimum have none.

use super::{f16_at, k, legacy};
use crate::weight::Format;

/// Writes the `p` of one block, and scale and minimum of each of its sub-blocks (16 elements in Q6_K, 32 in all others).
///
/// # Panics
/// If the format is not made of integers, or a slice is too short.
pub(crate) fn integers(format: Format, block: &[u8], p: &mut [u8], scales: &mut [f32], minimums: &mut [f32]) {
    match format {
        Format::F32 | Format::F16 | Format::Bf16 | Format::Nf4 => panic!("{} is not made of integers", format.name()),
        Format::Q4_0 => halves(&block[2..], 0, p),
        Format::Q4_1 => halves(&block[4..], 0, p),
        Format::Q5_0 => halves(&block[6..], word_at(block, 2), p),
        Format::Q5_1 => halves(&block[8..], word_at(block, 4), p),
        Format::Q8_0 => p.iter_mut().zip(&block[2..]).for_each(|(p, byte)| *p = byte ^ 0x80),
        Format::Q4K => pairs(&block[16..], &[0; 32], p),
        Format::Q5K => pairs(&block[48..], &block[16..48], p),
        Format::Q6K => k::six_bits(block, p),
    }
    match format {
        Format::Q4K | Format::Q5K => {
            let packed = block[4..16].try_into().expect("twelve bytes");
            let (of_sub_blocks, taken_off) = k::products(f16_at(block, 0), f16_at(block, 2), packed);
            scales[..8].copy_from_slice(&of_sub_blocks);
            minimums.iter_mut().zip(taken_off).for_each(|(minimum, taken_off)| *minimum = -taken_off);
        }
        Format::Q6K => {
            let d = f16_at(block, 208);
            scales.iter_mut().zip(&block[192..208]).for_each(|(scale, integer)| *scale = d * f32::from(*integer as i8));
        }
        Format::Q4_1 | Format::Q5_1 => (scales[0], minimums[0]) = (f16_at(block, 0), f16_at(block, 2)),
        _ => scales[0] = f16_at(block, 0),
    }
}

fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Blocks of 32: low nibbles, then high ones, below their fifth bits.
fn halves(nibbles: &[u8], fifth: u32, p: &mut [u8]) {
    for i in 0..16 {
        (p[i], p[i + 16]) = legacy::five_bits(nibbles[i], fifth, i);
    }
}

/// Super-blocks of Q4_K and Q5_K: each 32 bytes have a sub-block low and one high; fifth bits by sub-block.
fn pairs(nibbles: &[u8], fifth: &[u8], p: &mut [u8]) {
    for (s, p) in p.chunks_exact_mut(32).enumerate() {
        for i in 0..32 {
            let byte = nibbles[32 * (s / 2) + i];
            let nibble = if s % 2 == 0 { byte & 15 } else { byte >> 4 };
            p[i] = nibble | (fifth[i] >> s & 1) << 4;
        }
    }
}
