//! GGUF's "K" super-blocks of 256 elements, whose sub-blocks have integer scales of their own.

use super::f16_at;

/// Scale and minimum of the 8 sub-blocks of Q4_K and Q5_K, from the 12 bytes that hold them in 6 bits each: the first four
/// of both lie in the low bits of bytes 0..4 and 4..8; of the others, the low four bits lie in bytes 8..12 and the high two above the first four.
pub(super) fn scales_and_minimums(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut minimums) = ([0; 8], [0; 8]);
    for i in 0..4 {
        let (s, m, both) = (packed[i], packed[4 + i], packed[8 + i]);
        scales[i] = s & 63;
        minimums[i] = m & 63;
        scales[4 + i] = both & 15 | (s >> 6) << 4;
        minimums[4 + i] = both >> 4 | (m >> 6) << 4;
    }
    (scales, minimums)
}

/// The two lists of [`scales_and_minimums`] multiplied with the super-block's `d` and `dmin` in its first four bytes.
pub(super) fn products(d: f32, dmin: f32, packed: &[u8; 12]) -> ([f32; 8], [f32; 8]) {
    let (scales, minimums) = scales_and_minimums(packed);
    (scales.map(|s| d * f32::from(s)), minimums.map(|m| dmin * f32::from(m)))
}

/// `d: f16, dmin: f16, packed: [u8; 12], nibbles: [u8; 128]`; an element is `d * scale * q - dmin * minimum`.
/// Each 32 bytes of nibbles hold two sub-blocks of 32, low then high.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let packed = block[4..16].try_into().expect("twelve bytes");
    let (scales, minimums) = products(f16_at(block, 0), f16_at(block, 2), packed);
    for pair in 0..4 {
        for i in 0..32 {
            let byte = block[16 + 32 * pair + i];
            let (even, odd) = (2 * pair, 2 * pair + 1);
            out[32 * even + i] = scales[even] * f32::from(byte & 15) - minimums[even];
            out[32 * odd + i] = scales[odd] * f32::from(byte >> 4) - minimums[odd];
        }
    }
}

/// Q4_K with a fifth bit: `d: f16, dmin: f16, packed: [u8; 12], fifth: [u8; 32], nibbles: [u8; 128]`; bit `s` of `fifth[i]` belongs to
/// element `i` of sub-block `s`.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let packed = block[4..16].try_into().expect("twelve bytes");
    let (scales, minimums) = products(f16_at(block, 0), f16_at(block, 2), packed);
    for pair in 0..4 {
        for i in 0..32 {
            let (byte, fifth) = (block[48 + 32 * pair + i], block[16 + i]);
            let (even, odd) = (2 * pair, 2 * pair + 1);
            let low = byte & 15 | (fifth >> even & 1) << 4;
            let high = byte >> 4 | (fifth >> odd & 1) << 4;
            out[32 * even + i] = scales[even] * f32::from(low) - minimums[even];
            out[32 * odd + i] = scales[odd] * f32::from(high) - minimums[odd];
        }
    }
}

/// `low: [u8; 128], high: [u8; 64], scales: [i8; 16], d: f16`; an element is `d * scale * (q - 32)`, a scale for 16 elements.
/// Each half of 128 elements has 64 bytes of nibbles and 32 bytes of upper bit pairs, four groups of 32 elements: nibbles low, low,
/// high, high of bytes 0..32, 32..64, 0..32, 32..64; bit pairs from the lowest up.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at(block, 208);
    let mut integers = [0; 256];
    six_bits(block, &mut integers);
    for (at, (out, q)) in out.iter_mut().zip(integers).enumerate() {
        let scale = d * f32::from(block[192 + at / 16] as i8);
        *out = scale * (i32::from(q) - 32) as f32;
    }
}

/// The integers of a Q6_K block, 32 above what they stand for.
pub(super) fn six_bits(block: &[u8], out: &mut [u8]) {
    for half in 0..2 {
        let (low, high) = (&block[64 * half..][..64], &block[128 + 32 * half..][..32]);
        for group in 0..4 {
            for i in 0..32 {
                let byte = low[32 * (group % 2) + i];
                let nibble = if group < 2 { byte & 15 } else { byte >> 4 };
                out[128 * half + 32 * group + i] = nibble | (high[i] >> (2 * group) & 3) << 4;
            }
        }
    }
}
