//! GGUF's blocks of 32 elements with one scale (`_0`) or a scale and a minimum (`_1`).
//!
//! In the 4- and 5-bit ones, byte `i` of the nibbles holds element `i` low and element `i + 16` high; the fifth bits lie in a
//! little-endian `u32`, one a element.

use super::f16_at;

/// `d: f16, nibbles: [u8; 16]`; an element is `d * (q - 8)`.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for i in 0..16 {
        let byte = block[2 + i];
        out[i] = d * (i32::from(byte & 15) - 8) as f32;
        out[i + 16] = d * (i32::from(byte >> 4) - 8) as f32;
    }
}

/// `d: f16, m: f16, nibbles: [u8; 16]`; an element is `d * q + m`.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    for i in 0..16 {
        let byte = block[4 + i];
        out[i] = d * f32::from(byte & 15) + m;
        out[i + 16] = d * f32::from(byte >> 4) + m;
    }
}

/// `d: f16, fifth: u32, nibbles: [u8; 16]`; an element is `d * (q - 16)`.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for i in 0..16 {
        let byte = block[6 + i];
        let (low, high) = five_bits(byte, fifth, i);
        out[i] = d * (i32::from(low) - 16) as f32;
        out[i + 16] = d * (i32::from(high) - 16) as f32;
    }
}

/// `d: f16, m: f16, fifth: u32, nibbles: [u8; 16]`; an element is `d * q + m`.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for i in 0..16 {
        let byte = block[8 + i];
        let (low, high) = five_bits(byte, fifth, i);
        out[i] = d * f32::from(low) + m;
        out[i + 16] = d * f32::from(high) + m;
    }
}

/// Elements `i` and `i + 16` of a 5-bit block, from their byte of nibbles and all fifth bits.
pub(super) fn five_bits(byte: u8, fifth: u32, i: usize) -> (u8, u8) {
    let bit = |at: usize| ((fifth >> at & 1) as u8) << 4;
    (byte & 15 | bit(i), byte >> 4 | bit(i + 16))
}

/// `d: f16, q: [i8; 32]`; an element is `d * q`.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for (o, byte) in out.iter_mut().zip(&block[2..]) {
        *o = d * f32::from(*byte as i8);
    }
}
