//! Widening with AVX2: eight elements a register.

use std::arch::x86_64::*;

use super::{nf4, packed_scales};
use crate::weight::Format;

/// Folds eight sums by halves.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn fold(sums: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// Widens whole blocks if there is a kernel for `format`; says whether it did.
///
/// # Safety
/// The machine must have what [`crate::cpu::Level::Avx2`] stands for.
pub(super) unsafe fn widen(format: Format, bytes: &[u8], out: &mut [f32]) -> bool {
    // SAFETY: the caller vouches for the instructions; lengths are checked inside.
    unsafe {
        match format {
            Format::F32 => return false,
            Format::F16 => f16(bytes, out),
            Format::Bf16 => bf16(bytes, out),
            Format::Q4_0 => q4_0(bytes, out),
            Format::Q4_1 => q4_1(bytes, out),
            Format::Q5_0 => q5_0(bytes, out),
            Format::Q5_1 => q5_1(bytes, out),
            Format::Q8_0 => q8_0(bytes, out),
            Format::Q4K => q4_k(bytes, out),
            Format::Q5K => q5_k(bytes, out),
            Format::Q6K => q6_k(bytes, out),
            Format::Nf4 => nf4(bytes, out),
        }
    }
    true
}

/// The 16 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_16(bytes: &[u8], at: usize) -> __m128i {
    let part = &bytes[at..at + 16];
    // SAFETY: `part` has the 16 bytes that are read; the load needs no alignment.
    unsafe { _mm_loadu_si128(part.as_ptr().cast()) }
}

/// The 32 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_32(bytes: &[u8], at: usize) -> __m256i {
    let part = &bytes[at..at + 32];
    // SAFETY: `part` has the 32 bytes that are read; the load needs no alignment.
    unsafe { _mm256_loadu_si256(part.as_ptr().cast()) }
}

/// Writes 8 elements from `at` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store(out: &mut [f32], at: usize, values: __m256) {
    let part = &mut out[at..at + 8];
    // SAFETY: `part` has room for the 8 elements that are written; the store needs no alignment.
    unsafe { _mm256_storeu_ps(part.as_mut_ptr(), values) }
}

/// The f16 at `at`, widened, in all places.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scale(bytes: &[u8], at: usize) -> __m256 {
    _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])))))
}

/// 32 signed bytes as four registers of f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn signed(bytes: __m256i) -> [__m256; 4] {
    let (low, high) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
    [low, _mm_unpackhi_epi64(low, low), high, _mm_unpackhi_epi64(high, high)].map(|eight| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)))
}

/// The 32 nibbles of 16 bytes: first the low ones.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn nibbles(bytes: __m128i) -> __m256i {
    _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes), _mm256_set1_epi8(15))
}

/// Bytes of all ones where a bit of `bits` is set.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn spread_bits(bits: u32) -> __m256i {
    // Byte i of the result takes byte i / 8 of the bits, then keeps bit i % 8.
    let bytes = _mm256_set_epi64x(0x0303_0303_0303_0303, 0x0202_0202_0202_0202, 0x0101_0101_0101_0101, 0);
    let select = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), bytes);
    _mm256_cmpeq_epi8(_mm256_and_si256(spread, select), select)
}

/// `d * q` for 32 signed bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_scaled(out: &mut [f32; 32], d: __m256, q: __m256i) {
    for (i, q) in signed(q).into_iter().enumerate() {
        store(out, 8 * i, _mm256_mul_ps(d, q));
    }
}

/// `d * q + m` for 32 signed bytes, the product rounded before the sum.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_shifted(out: &mut [f32; 32], d: __m256, m: __m256, q: __m256i) {
    for (i, q) in signed(q).into_iter().enumerate() {
        store(out, 8 * i, _mm256_add_ps(_mm256_mul_ps(d, q), m));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn f16(bytes: &[u8], out: &mut [f32]) {
    let ((blocks, rest), (outs, out_rest)) = (bytes.as_chunks::<16>(), out.as_chunks_mut::<8>());
    for (block, out) in blocks.iter().zip(outs) {
        store(out, 0, _mm256_cvtph_ps(load_16(block, 0)));
    }
    super::widen_scalar(Format::F16, rest, out_rest);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn bf16(bytes: &[u8], out: &mut [f32]) {
    let ((blocks, rest), (outs, out_rest)) = (bytes.as_chunks::<16>(), out.as_chunks_mut::<8>());
    for (block, out) in blocks.iter().zip(outs) {
        store(out, 0, _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load_16(block, 0)))));
    }
    super::widen_scalar(Format::Bf16, rest, out_rest);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q4_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<18>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        store_scaled(out, scale(block, 0), _mm256_sub_epi8(nibbles(load_16(block, 2)), _mm256_set1_epi8(8)));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q4_1(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        store_shifted(out, scale(block, 0), scale(block, 2), nibbles(load_16(block, 4)));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q5_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<22>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let set = spread_bits(u32::from_le_bytes([block[2], block[3], block[4], block[5]]));
        // Without its fifth bit an element is nibble - 16, which as a signed byte is the nibble below four ones.
        let q = _mm256_or_si256(nibbles(load_16(block, 6)), _mm256_andnot_si256(set, _mm256_set1_epi8(-16)));
        store_scaled(out, scale(block, 0), q);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q5_1(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<24>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let set = spread_bits(u32::from_le_bytes([block[4], block[5], block[6], block[7]]));
        let q = _mm256_or_si256(nibbles(load_16(block, 8)), _mm256_and_si256(set, _mm256_set1_epi8(16)));
        store_shifted(out, scale(block, 0), scale(block, 2), q);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q8_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<34>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        store_scaled(out, scale(block, 0), load_32(block, 2));
    }
}

/// `d * scale` of the eight sub-blocks of Q4_K and Q5_K, then their `dmin * minimum`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn products(block: &[u8]) -> [f32; 16] {
    let (scales, minimums) = packed_scales(block[4..16].first_chunk().expect("twelve bytes"));
    let mut products = [0.0; 16];
    for (i, (factor, integers)) in [(scale(block, 0), scales), (scale(block, 2), minimums)].into_iter().enumerate() {
        let integers = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(integers as i64)));
        store(&mut products, 8 * i, _mm256_mul_ps(factor, integers));
    }
    products
}

/// `d * q - m` for a sub-block of 32 signed bytes, the product rounded before the difference.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_sub_block(out: &mut [f32; 256], s: usize, products: &[f32; 16], q: __m256i) {
    let (d, m) = (_mm256_set1_ps(products[s]), _mm256_set1_ps(products[8 + s]));
    for (i, q) in signed(q).into_iter().enumerate() {
        store(out, 32 * s + 8 * i, _mm256_sub_ps(_mm256_mul_ps(d, q), m));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q4_k(bytes: &[u8], out: &mut [f32]) {
    let fifteen = _mm256_set1_epi8(15);
    for (block, out) in bytes.as_chunks::<144>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let products = products(block);
        for pair in 0..4 {
            let both = load_32(block, 16 + 32 * pair);
            store_sub_block(out, 2 * pair, &products, _mm256_and_si256(both, fifteen));
            store_sub_block(out, 2 * pair + 1, &products, _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen));
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q5_k(bytes: &[u8], out: &mut [f32]) {
    let (fifteen, sixteen) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
    for (block, out) in bytes.as_chunks::<176>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let products = products(block);
        let fifth = load_32(block, 16);
        for pair in 0..4 {
            let both = load_32(block, 48 + 32 * pair);
            let high = _mm256_srli_epi16::<4>(both);
            for (s, nibble) in [(2 * pair, both), (2 * pair + 1, high)] {
                let bit = _mm256_set1_epi8((1u8 << s) as i8);
                let set = _mm256_cmpeq_epi8(_mm256_and_si256(fifth, bit), bit);
                let q = _mm256_or_si256(_mm256_and_si256(nibble, fifteen), _mm256_and_si256(set, sixteen));
                store_sub_block(out, s, &products, q);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q6_k(bytes: &[u8], out: &mut [f32]) {
    let (fifteen, pair, bias) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30), _mm256_set1_epi8(32));
    for (block, out) in bytes.as_chunks::<210>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let d = scale(block, 208);
        let mut scales = [0.0; 16];
        let integers = load_16(block, 192);
        for (i, eight) in [integers, _mm_unpackhi_epi64(integers, integers)].into_iter().enumerate() {
            store(&mut scales, 8 * i, _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight))));
        }
        for half in 0..2 {
            let (first, second) = (load_32(block, 64 * half), load_32(block, 64 * half + 32));
            let high = load_32(block, 128 + 32 * half);
            // Shifts of 16-bit lanes carry bits across bytes; the masks drop them.
            let groups = [
                (first, _mm256_slli_epi16::<4>(high)),
                (second, _mm256_slli_epi16::<2>(high)),
                (_mm256_srli_epi16::<4>(first), high),
                (_mm256_srli_epi16::<4>(second), _mm256_srli_epi16::<2>(high)),
            ];
            for (group, (low, high)) in groups.into_iter().enumerate() {
                let q = _mm256_sub_epi8(_mm256_or_si256(_mm256_and_si256(low, fifteen), _mm256_and_si256(high, pair)), bias);
                for (i, q) in signed(q).into_iter().enumerate() {
                    let at = 128 * half + 32 * group + 8 * i;
                    store(out, at, _mm256_mul_ps(_mm256_set1_ps(scales[at / 16]), q));
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn nf4(bytes: &[u8], out: &mut [f32]) {
    // SAFETY: the halves of the table have eight elements each.
    let (low, high) = unsafe { (_mm256_loadu_ps(nf4::VALUES.as_ptr()), _mm256_loadu_ps(nf4::VALUES[8..].as_ptr())) };
    for (block, out) in bytes.as_chunks::<{ nf4::BYTES }>().0.iter().zip(out.as_chunks_mut::<{ nf4::LEN }>().0) {
        let d = scale(block, 0);
        let (low, high) = (_mm256_mul_ps(d, low), _mm256_mul_ps(d, high));
        for (i, eight) in block[2..].as_chunks::<8>().0.iter().enumerate() {
            let bytes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(*eight)));
            for (half, codes) in [bytes, _mm256_srli_epi32::<4>(bytes)].into_iter().enumerate() {
                // A lookup reads the lower three bits of its index, and the choice between the two the fourth, moved to the sign.
                let choice = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes));
                let [low, high] = [low, high].map(|table| _mm256_permutevar8x32_ps(table, codes));
                store(out, 8 * i + 32 * half, _mm256_blendv_ps(low, high, choice));
            }
        }
    }
}
