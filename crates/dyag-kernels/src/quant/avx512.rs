//! Widening with AVX-512: sixteen elements a register.
//!
//! Where a sub-block has only sixteen possible values (Q4_K), they are computed once, in the order of operations of the scalar specification, and
//! looked up.

use std::arch::x86_64::*;

use super::packed_scales;
use crate::weight::Format;

/// Widens whole blocks if there is a kernel for `format`; says whether it did.
///
/// # Safety
/// The machine must have what [`crate::cpu::Level::Avx512`] stands for.
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
        }
    }
    true
}

/// The 16 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn load_16(bytes: &[u8], at: usize) -> __m128i {
    let part = &bytes[at..at + 16];
    // SAFETY: `part` has the 16 bytes that are read; the load needs no alignment.
    unsafe { _mm_loadu_si128(part.as_ptr().cast()) }
}

/// The 32 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn load_32(bytes: &[u8], at: usize) -> __m256i {
    let part = &bytes[at..at + 32];
    // SAFETY: `part` has the 32 bytes that are read; the load needs no alignment.
    unsafe { _mm256_loadu_si256(part.as_ptr().cast()) }
}

/// Writes 16 elements from `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn store(out: &mut [f32], at: usize, values: __m512) {
    let part = &mut out[at..at + 16];
    // SAFETY: `part` has room for the 16 elements that are written; the store needs no alignment.
    unsafe { _mm512_storeu_ps(part.as_mut_ptr(), values) }
}

/// The f16 at `at`, widened, in all places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn scale(bytes: &[u8], at: usize) -> __m512 {
    _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])))))
}

/// 16 signed bytes as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn signed(bytes: __m128i) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
}

/// The 32 nibbles of 16 bytes: first the low ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn nibbles(bytes: __m128i) -> __m256i {
    _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes), _mm256_set1_epi8(15))
}

/// `d * q` for 32 signed bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn store_scaled(out: &mut [f32; 32], d: __m512, q: __m256i) {
    store(out, 0, _mm512_mul_ps(d, signed(_mm256_castsi256_si128(q))));
    store(out, 16, _mm512_mul_ps(d, signed(_mm256_extracti128_si256::<1>(q))));
}

/// `d * q + m` for 32 signed bytes, the product rounded before the sum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn store_shifted(out: &mut [f32; 32], d: __m512, m: __m512, q: __m256i) {
    store(out, 0, _mm512_add_ps(_mm512_mul_ps(d, signed(_mm256_castsi256_si128(q))), m));
    store(out, 16, _mm512_add_ps(_mm512_mul_ps(d, signed(_mm256_extracti128_si256::<1>(q))), m));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn f16(bytes: &[u8], out: &mut [f32]) {
    let ((blocks, rest), (outs, out_rest)) = (bytes.as_chunks::<32>(), out.as_chunks_mut::<16>());
    for (block, out) in blocks.iter().zip(outs) {
        store(out, 0, _mm512_cvtph_ps(load_32(block, 0)));
    }
    super::widen_scalar(Format::F16, rest, out_rest);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn bf16(bytes: &[u8], out: &mut [f32]) {
    let ((blocks, rest), (outs, out_rest)) = (bytes.as_chunks::<32>(), out.as_chunks_mut::<16>());
    for (block, out) in blocks.iter().zip(outs) {
        store(out, 0, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(load_32(block, 0)))));
    }
    super::widen_scalar(Format::Bf16, rest, out_rest);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q4_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<18>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        store_scaled(out, scale(block, 0), _mm256_sub_epi8(nibbles(load_16(block, 2)), _mm256_set1_epi8(8)));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q4_1(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<20>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        store_shifted(out, scale(block, 0), scale(block, 2), nibbles(load_16(block, 4)));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q5_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<22>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
        let low = nibbles(load_16(block, 6));
        // Without its fifth bit an element is nibble - 16, which as a signed byte is the nibble below four ones.
        store_scaled(out, scale(block, 0), _mm256_mask_blend_epi8(fifth, _mm256_or_si256(low, _mm256_set1_epi8(-16)), low));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q5_1(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<24>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        let low = nibbles(load_16(block, 8));
        let q = _mm256_mask_blend_epi8(fifth, low, _mm256_or_si256(low, _mm256_set1_epi8(16)));
        store_shifted(out, scale(block, 0), scale(block, 2), q);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q8_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<34>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let d = scale(block, 0);
        store(out, 0, _mm512_mul_ps(d, signed(load_16(block, 2))));
        store(out, 16, _mm512_mul_ps(d, signed(load_16(block, 18))));
    }
}

/// `d * scale` of the eight sub-blocks of Q4_K and Q5_K, then their `dmin * minimum`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn products(block: &[u8]) -> [f32; 16] {
    let (scales, minimums) = packed_scales(block[4..16].first_chunk().expect("twelve bytes"));
    let integers = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_set_epi64x(minimums as i64, scales as i64)));
    let factors = _mm512_mask_blend_ps(0xff00, scale(block, 0), scale(block, 2));
    let mut products = [0.0; 16];
    store(&mut products, 0, _mm512_mul_ps(factors, integers));
    products
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q4_k(bytes: &[u8], out: &mut [f32]) {
    let count = _mm512_set_ps(15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0);
    for (block, out) in bytes.as_chunks::<144>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let products = products(block);
        for pair in 0..4 {
            // All values of a sub-block; a lookup reads only the low four bits of its index.
            let [even, odd] = [2 * pair, 2 * pair + 1]
                .map(|s| _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(products[s]), count), _mm512_set1_ps(products[8 + s])));
            for half in 0..2 {
                let q = _mm512_cvtepu8_epi32(load_16(block, 16 + 32 * pair + 16 * half));
                let at = 64 * pair + 16 * half;
                store(out, at, _mm512_permutexvar_ps(q, even));
                store(out, at + 32, _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(q), odd));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q5_k(bytes: &[u8], out: &mut [f32]) {
    let (fifteen, sixteen) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
    for (block, out) in bytes.as_chunks::<176>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let products = products(block);
        let fifth = load_32(block, 16);
        for pair in 0..4 {
            let both = load_32(block, 48 + 32 * pair);
            let low = _mm256_and_si256(both, fifteen);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen);
            for (s, nibble) in [(2 * pair, low), (2 * pair + 1, high)] {
                let set = _mm256_test_epi8_mask(fifth, _mm256_set1_epi8((1u8 << s) as i8));
                let q = _mm256_mask_blend_epi8(set, nibble, _mm256_or_si256(nibble, sixteen));
                let (d, m) = (_mm512_set1_ps(products[s]), _mm512_set1_ps(products[8 + s]));
                let at = 32 * s;
                store(out, at, _mm512_sub_ps(_mm512_mul_ps(d, signed(_mm256_castsi256_si128(q))), m));
                store(out, at + 16, _mm512_sub_ps(_mm512_mul_ps(d, signed(_mm256_extracti128_si256::<1>(q))), m));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q6_k(bytes: &[u8], out: &mut [f32]) {
    let (fifteen, pair, bias) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30), _mm256_set1_epi8(32));
    for (block, out) in bytes.as_chunks::<210>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let mut scales = [0.0; 16];
        store(&mut scales, 0, _mm512_mul_ps(scale(block, 208), signed(load_16(block, 192))));
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
                let at = 128 * half + 32 * group;
                let (first, second) = (_mm512_set1_ps(scales[at / 16]), _mm512_set1_ps(scales[at / 16 + 1]));
                store(out, at, _mm512_mul_ps(first, signed(_mm256_castsi256_si128(q))));
                store(out, at + 16, _mm512_mul_ps(second, signed(_mm256_extracti128_si256::<1>(q))));
            }
        }
    }
}
