//! Sums with AVX2: two columns to a register, lanes by chain.

use std::arch::x86_64::*;

use super::activations::Row;
use super::panel::{COLUMNS, Panel};
use super::{Blocks, CHAINS};

/// What [`super::scalar::add`] does.
///
/// # Safety
/// AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn few(blocks: Blocks, panel: &Panel, n_groups: usize, x: Row<'_>, chains: &mut [f32; COLUMNS * CHAINS]) {
    let n_blocks = n_groups * CHAINS;
    assert!(n_blocks * blocks.len <= x.bytes.len() && n_blocks <= x.d.len() && n_blocks * blocks.len * COLUMNS <= panel.bytes.len());
    assert!(x.d.len() == x.sums.len() && x.d.len() == x.scaled_sums.len());
    // SAFETY: the caller's contract, and the lengths just checked.
    unsafe {
        match (blocks.len, blocks.offset_bits) {
            (32, None) => add::<true, true, false>(panel, n_groups, x, 0, chains),
            (32, Some(7)) => add::<true, false, true>(panel, n_groups, x, 0, chains),
            (32, Some(bits)) => add::<true, false, false>(panel, n_groups, x, bits, chains),
            (_, bits) => add::<false, false, false>(panel, n_groups, x, bits.unwrap_or(0), chains),
        }
    }
}

/// `LONG`: blocks of 32 and not 16. `MINIMUMS`: instead of an offset. `SIGNED`: integers of all eight bits, whose offset is taken off before they are multiplied, since pairs of
/// products would not fit 16 bits.
///
/// # Safety
/// AVX2 and FMA; `n_groups` groups in the panel and the row.
#[target_feature(enable = "avx2,fma")]
unsafe fn add<const LONG: bool, const MINIMUMS: bool, const SIGNED: bool>(
    panel: &Panel,
    n_groups: usize,
    x: Row<'_>,
    bits: u32,
    chains: &mut [f32; COLUMNS * CHAINS],
) {
    let runs = if LONG { 2 } else { 1 };
    let count = _mm_cvtsi32_si128(bits as i32);
    for pair in 0..COLUMNS / 2 {
        let chains = chains[8 * pair..].first_chunk_mut::<8>().expect("two columns");
        // SAFETY: whole arrays, and groups inside the panel and the row.
        unsafe {
            let mut sum = _mm256_loadu_ps(chains.as_ptr());
            for group in 0..n_groups {
                let mut of_block = [_mm256_setzero_si256(); CHAINS];
                for (b, of_block) in of_block.iter_mut().enumerate() {
                    let run = (group * CHAINS + b) * runs;
                    let load = |run: usize| {
                        let w = _mm256_load_si256(panel.bytes.as_ptr().add(64 * run + 32 * pair).cast());
                        (w, _mm256_broadcastsi128_si256(_mm_loadu_si128(x.bytes.as_ptr().add(16 * run).cast())))
                    };
                    *of_block = if LONG { products::<SIGNED>([load(run), load(run + 1)]) } else { products::<SIGNED>([load(run)]) };
                }
                let [a, b, c, d] = of_block;
                let mut whole = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
                if !MINIMUMS && !SIGNED {
                    let sums = _mm256_broadcastsi128_si256(_mm_loadu_si128(x.sums.as_ptr().add(CHAINS * group).cast()));
                    whole = _mm256_sub_epi32(whole, _mm256_sll_epi32(sums, count));
                }
                let at = group * COLUMNS * CHAINS + 8 * pair;
                let of_row = |values: &[f32]| {
                    let four = _mm_loadu_ps(values.as_ptr().add(CHAINS * group));
                    _mm256_set_m128(four, four)
                };
                let scale = _mm256_mul_ps(_mm256_loadu_ps(panel.scales.as_ptr().add(at)), of_row(x.d));
                sum = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(whole), sum);
                if MINIMUMS {
                    sum = _mm256_fmadd_ps(_mm256_loadu_ps(panel.minimums.as_ptr().add(at)), of_row(x.scaled_sums), sum);
                }
            }
            _mm256_storeu_ps(chains.as_mut_ptr(), sum);
        }
    }
}

/// Products of weights and activations, four neighbours added, and the runs of a block too.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn products<const SIGNED: bool>(runs: impl IntoIterator<Item = (__m256i, __m256i)>) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let (mut pairs, mut fours) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (w, x) in runs {
        if SIGNED {
            // 128 * 127 twice fits 16 bits, once.
            let w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
            let product = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
            fours = _mm256_add_epi32(fours, _mm256_madd_epi16(product, ones));
        } else {
            // 63 * 127 fits four times.
            pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w, x));
        }
    }
    if SIGNED { fours } else { _mm256_madd_epi16(pairs, ones) }
}
