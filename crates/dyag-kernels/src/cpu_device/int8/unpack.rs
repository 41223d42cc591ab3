//! Unpacking columns into a panel with AVX2, which AVX-512 machines use too: the bytes and bits of [`Panel::fill_scalar`].

use std::arch::x86_64::*;

use super::CHAINS;
use super::panel::{COLUMNS, Panel, RUN, SPAN};
use crate::quant::packed_scales;
use crate::weight::Format;

/// Bytes ahead of a block that are asked for: rows follow one another in memory, and the sums of four columns take longer than memory takes to answer.
const AHEAD: usize = 4096;

/// Unpacks whole blocks of `format` into `column` of the panel.
///
/// # Safety
/// AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn column(format: Format, bytes: &[u8], column: usize, panel: &mut Panel) {
    assert!(column < COLUMNS && bytes.len() / format.block_bytes() * format.block_len() <= SPAN);
    let out = Column {
        bytes: panel.bytes[column * RUN..].as_mut_ptr(),
        scales: panel.scales[column * CHAINS..].as_mut_ptr(),
        minimums: panel.minimums[column * CHAINS..].as_mut_ptr(),
    };
    // SAFETY: the caller's contract; the panel has room for the blocks, as was just checked.
    unsafe {
        match format {
            Format::F32 | Format::F16 | Format::Bf16 | Format::Nf4 => unreachable!("not made of integers"),
            Format::Q4_0 => each_block(bytes, |i, block| q4_0(block, out, i)),
            Format::Q4_1 => each_block(bytes, |i, block| q4_1(block, out, i)),
            Format::Q5_0 => each_block(bytes, |i, block| q5_0(block, out, i)),
            Format::Q5_1 => each_block(bytes, |i, block| q5_1(block, out, i)),
            Format::Q8_0 => each_block(bytes, |i, block| q8_0(block, out, i)),
            Format::Q4K => each_block(bytes, |i, block| q4_k(block, out, i)),
            Format::Q5K => each_block(bytes, |i, block| q5_k(block, out, i)),
            Format::Q6K => each_block(bytes, |i, block| q6_k(block, out, i)),
        }
    }
}

/// Runs `unpack` over numbered blocks, and asks for those to come.
#[inline(always)]
fn each_block<const BYTES: usize>(bytes: &[u8], unpack: impl Fn(usize, &[u8; BYTES])) {
    for (i, block) in bytes.as_chunks::<BYTES>().0.iter().enumerate() {
        for line in 0..BYTES.div_ceil(64) {
            // SAFETY: a hint, which may name any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().wrapping_add(AHEAD + 64 * line).cast()) };
        }
        unpack(i, block);
    }
}

/// A column of a panel being filled.
#[derive(Clone, Copy)]
struct Column {
    bytes: *mut u8,
    scales: *mut f32,
    minimums: *mut f32,
}

impl Column {
    /// Writes run `run`.
    ///
    /// # Safety
    /// AVX2; the panel must have the run.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn put_run(self, run: usize, values: __m128i) {
        // SAFETY: the caller's contract: runs of one column are this far apart.
        unsafe { _mm_storeu_si128(self.bytes.add(run * COLUMNS * RUN).cast(), values) }
    }

    /// Writes runs `run` and `run + 1`.
    ///
    /// # Safety
    /// AVX2; the panel must have the runs.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn put_runs(self, run: usize, values: __m256i) {
        // SAFETY: the caller's contract.
        unsafe {
            self.put_run(run, _mm256_castsi256_si128(values));
            self.put_run(run + 1, _mm256_extracti128_si256::<1>(values));
        }
    }

    /// Writes one block's scale, and its minimum if it has one.
    ///
    /// # Safety
    /// The panel must have the block.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn put_scale(self, block: usize, scale: f32, minimum: Option<f32>) {
        let at = block / CHAINS * COLUMNS * CHAINS + block % CHAINS;
        // SAFETY: the caller's contract: groups of one column are this far apart.
        unsafe {
            *self.scales.add(at) = scale;
            if let Some(minimum) = minimum {
                *self.minimums.add(at) = minimum;
            }
        }
    }
}

/// Four values of a group.
///
/// # Safety
/// `to` must be a column's scales or minimums of a panel that has the group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn put_group(to: *mut f32, group: usize, values: __m128) {
    // SAFETY: the caller's contract.
    unsafe { _mm_storeu_ps(to.add(group * COLUMNS * CHAINS), values) }
}

/// The f16 at `at`, widened.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn half_at(block: &[u8], at: usize) -> f32 {
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes([block[at], block[at + 1]])))))
}

/// The 16 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_16(block: &[u8], at: usize) -> __m128i {
    let part = &block[at..at + 16];
    // SAFETY: `part` has the 16 bytes that are read; the load needs no alignment.
    unsafe { _mm_loadu_si128(part.as_ptr().cast()) }
}

/// The 32 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_32(block: &[u8], at: usize) -> __m256i {
    let part = &block[at..at + 32];
    // SAFETY: `part` has the 32 bytes that are read; the load needs no alignment.
    unsafe { _mm256_loadu_si256(part.as_ptr().cast()) }
}

/// The 32 nibbles of the 16 bytes from `at` on: first the low ones.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn nibbles(block: &[u8], at: usize) -> __m256i {
    let both = load_16(block, at);
    _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16::<4>(both), both), _mm256_set1_epi8(15))
}

/// 16 where the bit of the `u32` at `at` is set, 0 elsewhere.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fifth_bits(block: &[u8], at: usize) -> __m256i {
    let word = i32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let byte_of = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(word), byte_of), bit);
    _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit), _mm256_set1_epi8(16))
}

/// # Safety
/// AVX2, FMA and F16C; the panel must have block `i`. So for all formats below.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4_0(block: &[u8; 18], out: Column, i: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        out.put_runs(2 * i, nibbles(block, 2));
        out.put_scale(i, half_at(block, 0), None);
    }
}

/// # Safety
/// As [`q4_0`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4_1(block: &[u8; 20], out: Column, i: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        out.put_runs(2 * i, nibbles(block, 4));
        out.put_scale(i, half_at(block, 0), Some(half_at(block, 2)));
    }
}

/// # Safety
/// As [`q4_0`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q5_0(block: &[u8; 22], out: Column, i: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        out.put_runs(2 * i, _mm256_or_si256(nibbles(block, 6), fifth_bits(block, 2)));
        out.put_scale(i, half_at(block, 0), None);
    }
}

/// # Safety
/// As [`q4_0`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q5_1(block: &[u8; 24], out: Column, i: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        out.put_runs(2 * i, _mm256_or_si256(nibbles(block, 8), fifth_bits(block, 4)));
        out.put_scale(i, half_at(block, 0), Some(half_at(block, 2)));
    }
}

/// # Safety
/// As [`q4_0`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q8_0(block: &[u8; 34], out: Column, i: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        out.put_runs(2 * i, _mm256_xor_si256(load_32(block, 2), _mm256_set1_epi8(-128)));
        out.put_scale(i, half_at(block, 0), None);
    }
}

/// Scales and minimums of super-block `i` of Q4_K and Q5_K.
///
/// # Safety
/// As [`q4_0`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn k_scales(block: &[u8], out: Column, i: usize) {
    let (scales, minimums) = packed_scales(block[4..16].first_chunk().expect("twelve bytes"));
    // A minimum is taken off: its sign changes here.
    for (to, factor, integers) in [(out.scales, half_at(block, 0), scales), (out.minimums, -half_at(block, 2), minimums)] {
        let integers = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(integers as i64)));
        let products = _mm256_mul_ps(_mm256_set1_ps(factor), integers);
        // SAFETY: the caller's contract.
        unsafe {
            put_group(to, 2 * i, _mm256_castps256_ps128(products));
            put_group(to, 2 * i + 1, _mm256_extractf128_ps::<1>(products));
        }
    }
}

/// # Safety
/// As [`q4_0`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4_k(block: &[u8; 144], out: Column, i: usize) {
    let fifteen = _mm256_set1_epi8(15);
    // SAFETY: the caller's contract.
    unsafe {
        k_scales(block, out, i);
        for pair in 0..4 {
            let both = load_32(block, 16 + 32 * pair);
            out.put_runs(16 * i + 4 * pair, _mm256_and_si256(both, fifteen));
            out.put_runs(16 * i + 4 * pair + 2, _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen));
        }
    }
}

/// # Safety
/// As [`q4_0`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q5_k(block: &[u8; 176], out: Column, i: usize) {
    let (fifteen, sixteen) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
    let fifth = load_32(block, 16);
    // SAFETY: the caller's contract.
    unsafe {
        k_scales(block, out, i);
        for pair in 0..4 {
            let both = load_32(block, 48 + 32 * pair);
            for (s, nibble) in [(2 * pair, both), (2 * pair + 1, _mm256_srli_epi16::<4>(both))] {
                let bit = _mm256_set1_epi8((1u8 << s) as i8);
                let set = _mm256_cmpeq_epi8(_mm256_and_si256(fifth, bit), bit);
                out.put_runs(16 * i + 2 * s, _mm256_or_si256(_mm256_and_si256(nibble, fifteen), _mm256_and_si256(set, sixteen)));
            }
        }
    }
}

/// # Safety
/// As [`q4_0`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q6_k(block: &[u8; 210], out: Column, i: usize) {
    let (fifteen, upper) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
    // SAFETY: the caller's contract.
    unsafe {
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
                let q = _mm256_or_si256(_mm256_and_si256(low, fifteen), _mm256_and_si256(high, upper));
                out.put_runs(16 * i + 8 * half + 2 * group, q);
            }
        }
        let (d, scales) = (_mm256_set1_ps(half_at(block, 208)), load_16(block, 192));
        for (pair, scales) in [scales, _mm_unpackhi_epi64(scales, scales)].into_iter().enumerate() {
            let products = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(scales)));
            put_group(out.scales, 4 * i + 2 * pair, _mm256_castps256_ps128(products));
            put_group(out.scales, 4 * i + 2 * pair + 1, _mm256_extractf128_ps::<1>(products));
        }
    }
}
