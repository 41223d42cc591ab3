//! Sums with AVX-512 and VNNI: for few rows four columns to a register, lanes by chain; for many a row to a lane.

use std::arch::x86_64::*;

use super::activations::{Activations, Row};
use super::panel::{COLUMNS, Panel, RUN};
use super::{Blocks, CHAINS, LANES};

/// What [`super::scalar::add`] does.
///
/// # Safety
/// AVX-512 F, BW, DQ and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
pub(super) unsafe fn few(blocks: Blocks, panel: &Panel, n_groups: usize, x: Row<'_>, chains: &mut [f32; COLUMNS * CHAINS]) {
    let n_blocks = n_groups * CHAINS;
    assert!(n_blocks * blocks.len <= x.bytes.len() && n_blocks <= x.d.len() && n_blocks * blocks.len * COLUMNS <= panel.bytes.len());
    assert!(x.d.len() == x.sums.len() && x.d.len() == x.scaled_sums.len());
    // SAFETY: the caller's contract, and the lengths just checked.
    unsafe {
        match (blocks.len, blocks.offset_bits) {
            (32, None) => add_few::<true, true>(panel, n_groups, x, 0, chains),
            (32, Some(bits)) => add_few::<true, false>(panel, n_groups, x, bits, chains),
            (_, bits) => add_few::<false, false>(panel, n_groups, x, bits.unwrap_or(0), chains),
        }
    }
}

/// `LONG`: blocks of 32 and not 16. `MINIMUMS`: instead of an offset.
///
/// # Safety
/// AVX-512 F, BW, DQ and VNNI; `n_groups` groups in the panel and the row.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
unsafe fn add_few<const LONG: bool, const MINIMUMS: bool>(
    panel: &Panel,
    n_groups: usize,
    x: Row<'_>,
    bits: u32,
    chains: &mut [f32; COLUMNS * CHAINS],
) {
    let runs = if LONG { 2 } else { 1 };
    let count = _mm_cvtsi32_si128(bits as i32);
    // SAFETY: whole arrays, and groups inside the panel and the row.
    unsafe {
        let mut sum = _mm512_loadu_ps(chains.as_ptr());
        for group in 0..n_groups {
            let mut of_block = [_mm512_setzero_si512(); CHAINS];
            for (b, of_block) in of_block.iter_mut().enumerate() {
                for run in 0..runs {
                    let run = (group * CHAINS + b) * runs + run;
                    let w = _mm512_load_si512(panel.bytes.as_ptr().add(COLUMNS * RUN * run).cast());
                    let x = _mm512_broadcast_i32x4(_mm_loadu_si128(x.bytes.as_ptr().add(RUN * run).cast()));
                    *of_block = _mm512_dpbusd_epi32(*of_block, w, x);
                }
            }
            let mut whole = fold_fours(of_block);
            if !MINIMUMS {
                let sums = _mm512_broadcast_i32x4(_mm_loadu_si128(x.sums.as_ptr().add(CHAINS * group).cast()));
                whole = _mm512_sub_epi32(whole, _mm512_sll_epi32(sums, count));
            }
            let at = group * COLUMNS * CHAINS;
            let of_row = |values: &[f32]| _mm512_broadcast_f32x4(_mm_loadu_ps(values.as_ptr().add(CHAINS * group)));
            let scale = _mm512_mul_ps(_mm512_loadu_ps(panel.scales.as_ptr().add(at)), of_row(x.d));
            sum = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(whole), sum);
            if MINIMUMS {
                sum = _mm512_fmadd_ps(_mm512_loadu_ps(panel.minimums.as_ptr().add(at)), of_row(x.scaled_sums), sum);
            }
        }
        _mm512_storeu_ps(chains.as_mut_ptr(), sum);
    }
}

/// In each quarter of the result, the sums of that quarter of the four registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
fn fold_fours([a, b, c, d]: [__m512i; CHAINS]) -> __m512i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
}

/// Adds `n_groups` groups of blocks to the chains `[group of rows][chain][column][lane]` of the one or two groups of rows from `first` on; the panel begins
/// at element `from` of the rows.
///
/// # Safety
/// AVX-512 F, BW, DQ and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
pub(super) unsafe fn many(
    blocks: Blocks,
    panel: &Panel,
    n_groups: usize,
    x: &Activations,
    (first, from): (usize, usize),
    chains: &mut [f32],
) {
    let n_blocks = n_groups * CHAINS;
    let second = (first + 1).min(x.padded_rows() / LANES - 1);
    let rows = [first, second].map(|group| x.group(group, from, blocks));
    for rows in &rows {
        assert!(n_blocks * blocks.len * LANES <= rows.bytes.len() && n_blocks * LANES <= rows.d.len());
        assert!(rows.d.len() == rows.sums.len() && rows.d.len() == rows.scaled_sums.len());
    }
    assert!(n_blocks * blocks.len * COLUMNS <= panel.bytes.len());
    let chains = chains.as_chunks_mut::<{ CHAINS * COLUMNS * LANES }>().0;
    // SAFETY: the caller's contract, and the lengths just checked.
    unsafe {
        match (second > first, chains) {
            (true, [one, two, ..]) => many_of(blocks, panel, n_groups, rows, [one, two]),
            (_, [one, ..]) => many_of(blocks, panel, n_groups, [rows[0]], [one]),
            _ => unreachable!("every group of rows has chains"),
        }
    }
}

/// # Safety
/// As [`add_many`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
unsafe fn many_of<const G: usize>(
    blocks: Blocks,
    panel: &Panel,
    n_groups: usize,
    x: [Row<'_>; G],
    mut chains: [&mut [f32; CHAINS * COLUMNS * LANES]; G],
) {
    for chain in 0..CHAINS {
        let sums: [_; G] = chains.each_mut().map(|chains| chains[chain * COLUMNS * LANES..].first_chunk_mut().expect("a chain"));
        // SAFETY: the caller's contract.
        unsafe {
            match blocks.offset_bits {
                None => add_many::<G, true>(panel, (chain, blocks.len / RUN), n_groups, x, 0, sums),
                Some(bits) => add_many::<G, false>(panel, (chain, blocks.len / RUN), n_groups, x, bits, sums),
            }
        }
    }
}

/// One chain of `G` groups of rows, of blocks of `runs` runs. Their number is not known to the compiler, which would otherwise unroll the loop and sum one column after the
/// other, each product waiting for the one before.
///
/// # Safety
/// AVX-512 F, BW, DQ and VNNI; `n_groups` groups of blocks in the panel and the rows.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni")]
unsafe fn add_many<const G: usize, const MINIMUMS: bool>(
    panel: &Panel,
    (chain, runs): (usize, usize),
    n_groups: usize,
    x: [Row<'_>; G],
    bits: u32,
    out: [&mut [f32; COLUMNS * LANES]; G],
) {
    let count = _mm_cvtsi32_si128(bits as i32);
    // SAFETY: whole arrays, and groups inside the panel and the rows.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); COLUMNS]; G];
        for (sums, out) in sums.iter_mut().zip(&out) {
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(out.as_ptr().add(LANES * column));
            }
        }
        for group in 0..n_groups {
            let block = group * CHAINS + chain;
            let mut whole = [[_mm512_setzero_si512(); G]; COLUMNS];
            if !MINIMUMS {
                let offsets = x.map(|x| {
                    let of_bytes = _mm512_loadu_si512(x.sums.as_ptr().add(LANES * block).cast());
                    _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_sll_epi32(of_bytes, count))
                });
                whole = [offsets; COLUMNS];
            }
            for four in block * runs * RUN / 4..(block + 1) * runs * RUN / 4 {
                let of_x = x.map(|x| _mm512_loadu_si512(x.bytes.as_ptr().add(4 * LANES * four).cast()));
                let w = panel.bytes.as_ptr().add(four / 4 * COLUMNS * RUN + four % 4 * 4);
                for (column, whole) in whole.iter_mut().enumerate() {
                    let w = _mm512_set1_epi32(w.add(column * RUN).cast::<i32>().read_unaligned());
                    for (whole, of_x) in whole.iter_mut().zip(of_x) {
                        *whole = _mm512_dpbusd_epi32(*whole, w, of_x);
                    }
                }
            }
            for (g, (sums, x)) in sums.iter_mut().zip(&x).enumerate() {
                let d = _mm512_loadu_ps(x.d.as_ptr().add(LANES * block));
                for (column, sum) in sums.iter_mut().enumerate() {
                    let at = (group * COLUMNS + column) * CHAINS + chain;
                    let scale = _mm512_mul_ps(_mm512_set1_ps(panel.scales[at]), d);
                    *sum = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(whole[column][g]), *sum);
                    if MINIMUMS {
                        let scaled = _mm512_loadu_ps(x.scaled_sums.as_ptr().add(LANES * block));
                        *sum = _mm512_fmadd_ps(_mm512_set1_ps(panel.minimums[at]), scaled, *sum);
                    }
                }
            }
        }
        for (sums, out) in sums.iter().zip(out) {
            for (column, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(out.as_mut_ptr().add(LANES * column), *sum);
            }
        }
    }
}
