//! Widening with AVX-512: sixteen elements a register, stored or multiplied as they come.
//!
//! Where a sub-block has only sixteen possible values (Q4_K), they are computed once, in the order of operations of the scalar specification, and
//! looked up, as NF4's are.

use std::arch::x86_64::*;

use super::{COLUMNS, nf4, packed_scales};
use crate::weight::Format;

/// Defines, for a format whose blocks `$block` turns into registers, the loop that stores them and the loop that multiplies them.
macro_rules! loops {
    ($block:ident, $bytes:literal, $registers:literal, $widen:ident, $dots:ident) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
        fn $widen(bytes: &[u8], out: &mut [f32]) {
            let ((blocks, _), (outs, _)) = (bytes.as_chunks::<$bytes>(), out.as_chunks_mut::<{ 16 * $registers }>());
            for (block, out) in blocks.iter().zip(outs) {
                for (i, register) in $block(block).into_iter().enumerate() {
                    store(out, 16 * i, register);
                }
            }
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
        fn $dots<const R: usize>(w: [&[u8]; COLUMNS], x: [&[f32]; R]) -> [[f32; COLUMNS]; R] {
            let w = w.map(|bytes| bytes.as_chunks::<$bytes>().0);
            let x = x.map(|row| row.as_chunks::<{ 16 * $registers }>().0);
            let n = w.iter().map(|blocks| blocks.len()).chain(x.iter().map(|blocks| blocks.len())).min().unwrap_or(0);
            let mut sums = [[_mm512_setzero_ps(); R]; COLUMNS];
            for b in 0..n {
                for (sums, blocks) in sums.iter_mut().zip(w) {
                    for (i, register) in $block(&blocks[b]).into_iter().enumerate() {
                        for (sum, row) in sums.iter_mut().zip(x) {
                            *sum = _mm512_fmadd_ps(load_floats(&row[b], 16 * i), register, *sum);
                        }
                    }
                }
            }
            let mut folded = [[0.0; COLUMNS]; R];
            for (j, sums) in sums.into_iter().enumerate() {
                for (i, sum) in sums.into_iter().enumerate() {
                    folded[i][j] = fold(sum);
                }
            }
            folded
        }
    };
}

/// Defines, for a format of blocks, the loop that stores them rounded to bf16.
macro_rules! halves {
    ($block:ident, $bytes:literal, $registers:literal, $halves:ident) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c,avx512bf16")]
        fn $halves(bytes: &[u8], out: &mut [u16]) {
            let ((blocks, _), (outs, _)) = (bytes.as_chunks::<$bytes>(), out.as_chunks_mut::<{ 16 * $registers }>());
            for (block, out) in blocks.iter().zip(outs) {
                for (pair, out) in $block(block).as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<32>().0) {
                    store_halves(out, _mm512_cvtne2ps_pbh(pair[1], pair[0]));
                }
            }
        }
    };
}

halves!(q4_0, 18, 2, halves_q4_0);
halves!(q4_1, 20, 2, halves_q4_1);
halves!(q5_0, 22, 2, halves_q5_0);
halves!(q5_1, 24, 2, halves_q5_1);
halves!(q8_0, 34, 2, halves_q8_0);
halves!(nf4, 34, 4, halves_nf4);
halves!(q5_k, 176, 16, halves_q5_k);
halves!(q6_k, 210, 16, halves_q6_k);

/// Writes 32 elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn store_halves(out: &mut [u16; 32], halves: __m512bh) {
    // SAFETY: 64 bytes, of which any are valid; the store needs no alignment.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), std::mem::transmute::<__m512bh, __m512i>(halves)) };
}

/// Q4_K rounded to bf16: the sixteen values of a sub-block are rounded once, and looked up 32 at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c,avx512bf16")]
fn halves_q4_k(bytes: &[u8], out: &mut [u16]) {
    let count = _mm512_set_ps(15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0);
    let ((blocks, _), (outs, _)) = (bytes.as_chunks::<144>(), out.as_chunks_mut::<256>());
    for (block, out) in blocks.iter().zip(outs) {
        let products = products(block);
        for (pair, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            // Both sub-blocks in one table: the values of the second from 16 on.
            let [even, odd] = [2 * pair, 2 * pair + 1]
                .map(|s| _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(products[s]), count), _mm512_set1_ps(products[8 + s])));
            // SAFETY: the same 512 bits, looked at as sixteen-bit numbers.
            let table = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(odd, even)) };
            let q = _mm512_cvtepu8_epi16(load_32(block, 16 + 32 * pair));
            let low = _mm512_and_si512(q, _mm512_set1_epi16(15));
            let high = _mm512_or_si512(_mm512_srli_epi16::<4>(q), _mm512_set1_epi16(16));
            let (first, second) = out.split_at_mut(32);
            for (out, index) in [(first, low), (second, high)] {
                // SAFETY: 32 elements.
                unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_permutexvar_epi16(index, table)) };
            }
        }
    }
}

/// Widens whole blocks and rounds them to bf16, denormal numbers to zero; `false` for formats without blocks.
///
/// # Safety
/// The machine must have what [`crate::cpu::Level::Avx512Bf16`] stands for.
pub(super) unsafe fn halves(format: Format, bytes: &[u8], out: &mut [u16]) -> bool {
    // SAFETY: the caller vouches for the instructions; lengths are checked inside.
    unsafe {
        match format {
            Format::F32 | Format::F16 | Format::Bf16 => return false,
            Format::Q4_0 => halves_q4_0(bytes, out),
            Format::Q4_1 => halves_q4_1(bytes, out),
            Format::Q5_0 => halves_q5_0(bytes, out),
            Format::Q5_1 => halves_q5_1(bytes, out),
            Format::Q8_0 => halves_q8_0(bytes, out),
            Format::Q4K => halves_q4_k(bytes, out),
            Format::Q5K => halves_q5_k(bytes, out),
            Format::Q6K => halves_q6_k(bytes, out),
            Format::Nf4 => halves_nf4(bytes, out),
        }
    }
    true
}

loops!(f32, 64, 1, widen_f32, dots_f32);
loops!(f16, 32, 1, widen_f16, dots_f16);
loops!(bf16, 32, 1, widen_bf16, dots_bf16);
loops!(q4_0, 18, 2, widen_q4_0, dots_q4_0);
loops!(q4_1, 20, 2, widen_q4_1, dots_q4_1);
loops!(q5_0, 22, 2, widen_q5_0, dots_q5_0);
loops!(q5_1, 24, 2, widen_q5_1, dots_q5_1);
loops!(q8_0, 34, 2, widen_q8_0, dots_q8_0);
loops!(q4_k, 144, 16, widen_q4_k, dots_q4_k);
loops!(q5_k, 176, 16, widen_q5_k, dots_q5_k);
loops!(q6_k, 210, 16, widen_q6_k, dots_q6_k);
loops!(nf4, 34, 4, widen_nf4, dots_nf4);

/// Widens whole blocks.
///
/// # Safety
/// The machine must have what [`crate::cpu::Level::Avx512`] stands for.
pub(super) unsafe fn widen(format: Format, bytes: &[u8], out: &mut [f32]) {
    // SAFETY: the caller vouches for the instructions; lengths are checked inside.
    unsafe {
        match format {
            Format::F32 => widen_f32(bytes, out),
            Format::F16 => widen_f16(bytes, out),
            Format::Bf16 => widen_bf16(bytes, out),
            Format::Q4_0 => widen_q4_0(bytes, out),
            Format::Q4_1 => widen_q4_1(bytes, out),
            Format::Q5_0 => widen_q5_0(bytes, out),
            Format::Q5_1 => widen_q5_1(bytes, out),
            Format::Q8_0 => widen_q8_0(bytes, out),
            Format::Q4K => widen_q4_k(bytes, out),
            Format::Q5K => widen_q5_k(bytes, out),
            Format::Q6K => widen_q6_k(bytes, out),
            Format::Nf4 => widen_nf4(bytes, out),
        }
    }
    if format.block_len() == 1 {
        // What is left of a row of single numbers.
        let done = out.len() / 16 * 16;
        super::widen_scalar(format, &bytes[done * format.block_bytes()..], &mut out[done..]);
    }
}

/// Dot products `[row][column]` of rows of `x` with the widened elements of `w`, which never reach memory: one chain of multiply-adds for each of
/// sixteen lanes, folded by halves.
///
/// # Safety
/// The machine must have what [`crate::cpu::Level::Avx512`] stands for.
pub(super) unsafe fn dots<const R: usize>(format: Format, w: [&[u8]; COLUMNS], x: [&[f32]; R]) -> [[f32; COLUMNS]; R] {
    // SAFETY: the caller vouches for the instructions; lengths are checked inside.
    unsafe {
        match format {
            Format::F32 => dots_f32(w, x),
            Format::F16 => dots_f16(w, x),
            Format::Bf16 => dots_bf16(w, x),
            Format::Q4_0 => dots_q4_0(w, x),
            Format::Q4_1 => dots_q4_1(w, x),
            Format::Q5_0 => dots_q5_0(w, x),
            Format::Q5_1 => dots_q5_1(w, x),
            Format::Q8_0 => dots_q8_0(w, x),
            Format::Q4K => dots_q4_k(w, x),
            Format::Q5K => dots_q5_k(w, x),
            Format::Q6K => dots_q6_k(w, x),
            Format::Nf4 => dots_nf4(w, x),
        }
    }
}

/// Folds sixteen sums by halves.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx2")]
pub(crate) fn fold(sums: __m512) -> f32 {
    let eight = _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps::<1>(sums));
    super::avx2::fold(eight)
}

/// The 16 elements from `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn load_floats(values: &[f32], at: usize) -> __m512 {
    let part = &values[at..at + 16];
    // SAFETY: `part` has the 16 elements that are read; the load needs no alignment.
    unsafe { _mm512_loadu_ps(part.as_ptr()) }
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
fn scaled(d: __m512, q: __m256i) -> [__m512; 2] {
    [_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q)].map(|q| _mm512_mul_ps(d, signed(q)))
}

/// `d * q + m` for 32 signed bytes, the product rounded before the sum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn shifted(d: __m512, m: __m512, q: __m256i) -> [__m512; 2] {
    scaled(d, q).map(|product| _mm512_add_ps(product, m))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn f32(block: &[u8; 64]) -> [__m512; 1] {
    // SAFETY: the 64 bytes of the block; the load needs no alignment.
    [unsafe { _mm512_loadu_ps(block.as_ptr().cast()) }]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn f16(block: &[u8; 32]) -> [__m512; 1] {
    [_mm512_cvtph_ps(load_32(block, 0))]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn bf16(block: &[u8; 32]) -> [__m512; 1] {
    [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(load_32(block, 0))))]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q4_0(block: &[u8; 18]) -> [__m512; 2] {
    scaled(scale(block, 0), _mm256_sub_epi8(nibbles(load_16(block, 2)), _mm256_set1_epi8(8)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q4_1(block: &[u8; 20]) -> [__m512; 2] {
    shifted(scale(block, 0), scale(block, 2), nibbles(load_16(block, 4)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q5_0(block: &[u8; 22]) -> [__m512; 2] {
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    let low = nibbles(load_16(block, 6));
    // Without its fifth bit an element is nibble - 16, which as a signed byte is the nibble below four ones.
    scaled(scale(block, 0), _mm256_mask_blend_epi8(fifth, _mm256_or_si256(low, _mm256_set1_epi8(-16)), low))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q5_1(block: &[u8; 24]) -> [__m512; 2] {
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    let low = nibbles(load_16(block, 8));
    shifted(scale(block, 0), scale(block, 2), _mm256_mask_blend_epi8(fifth, low, _mm256_or_si256(low, _mm256_set1_epi8(16))))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q8_0(block: &[u8; 34]) -> [__m512; 2] {
    let d = scale(block, 0);
    [2, 18].map(|at| _mm512_mul_ps(d, signed(load_16(block, at))))
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

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q4_k(block: &[u8; 144]) -> [__m512; 16] {
    let count = _mm512_set_ps(15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0);
    let products = products(block);
    let mut out = [_mm512_setzero_ps(); 16];
    for pair in 0..4 {
        // All values of a sub-block; a lookup reads only the low four bits of its index.
        let [even, odd] = [2 * pair, 2 * pair + 1]
            .map(|s| _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(products[s]), count), _mm512_set1_ps(products[8 + s])));
        for half in 0..2 {
            let q = _mm512_cvtepu8_epi32(load_16(block, 16 + 32 * pair + 16 * half));
            out[4 * pair + half] = _mm512_permutexvar_ps(q, even);
            out[4 * pair + half + 2] = _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(q), odd);
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q5_k(block: &[u8; 176]) -> [__m512; 16] {
    let (fifteen, sixteen) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
    let products = products(block);
    let fifth = load_32(block, 16);
    let mut out = [_mm512_setzero_ps(); 16];
    for pair in 0..4 {
        let both = load_32(block, 48 + 32 * pair);
        let low = _mm256_and_si256(both, fifteen);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen);
        for (s, nibble) in [(2 * pair, low), (2 * pair + 1, high)] {
            let set = _mm256_test_epi8_mask(fifth, _mm256_set1_epi8((1u8 << s) as i8));
            let q = _mm256_mask_blend_epi8(set, nibble, _mm256_or_si256(nibble, sixteen));
            let (d, m) = (_mm512_set1_ps(products[s]), _mm512_set1_ps(products[8 + s]));
            let [first, second] = scaled(d, q);
            out[2 * s] = _mm512_sub_ps(first, m);
            out[2 * s + 1] = _mm512_sub_ps(second, m);
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn q6_k(block: &[u8; 210]) -> [__m512; 16] {
    let (fifteen, pair, bias) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30), _mm256_set1_epi8(32));
    let mut scales = [0.0; 16];
    store(&mut scales, 0, _mm512_mul_ps(scale(block, 208), signed(load_16(block, 192))));
    let mut out = [_mm512_setzero_ps(); 16];
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
            let at = 8 * half + 2 * group;
            out[at] = _mm512_mul_ps(_mm512_set1_ps(scales[at]), signed(_mm256_castsi256_si128(q)));
            out[at + 1] = _mm512_mul_ps(_mm512_set1_ps(scales[at + 1]), signed(_mm256_extracti128_si256::<1>(q)));
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn nf4(block: &[u8; nf4::BYTES]) -> [__m512; 4] {
    // SAFETY: the table has sixteen elements.
    let table = _mm512_mul_ps(scale(block, 0), unsafe { _mm512_loadu_ps(nf4::VALUES.as_ptr()) });
    let [first, second] = [2, 18].map(|at| _mm512_cvtepu8_epi32(load_16(block, at)));
    // A lookup reads only the low four bits of its index.
    [first, second, _mm512_srli_epi32::<4>(first), _mm512_srli_epi32::<4>(second)].map(|codes| _mm512_permutexvar_ps(codes, table))
}
