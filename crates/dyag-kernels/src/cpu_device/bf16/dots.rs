//! The innermost loop on processors whose vector unit multiplies pairs of bf16 (`vdpbf16ps`): a step's pairs of sixteen columns are one register, and a
//! line's pairs come one by one in all lanes.

use std::arch::x86_64::*;

use super::{DEPTH, RESULT, SIDE, STEP, TILE};

/// Lines computed together: with two registers of columns, sixteen sums hide the latency, and ten loads stay below sixteen multiplications.
const LINES: usize = 8;

/// `sums (+)= lines pairs` over `steps` steps: see [`super::Kind::multiply`].
///
/// # Safety
/// AVX-512 with BF16; `steps` whole steps of both operands, and four results.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn multiply(
    (n_lines, column_tiles): (usize, usize),
    steps: usize,
    lines: *const u16,
    pairs: *const u16,
    sums: *mut f32,
    from_zero: bool,
) {
    for first in (0..n_lines).step_by(LINES) {
        // SAFETY: lines and results `first ..` of the caller's.
        unsafe {
            let lines = lines.add(first * DEPTH);
            let sums = sums.add(first / SIDE * 2 * RESULT + first % SIDE * SIDE);
            match column_tiles {
                1 => eight::<1>(steps, lines, pairs, sums, from_zero),
                _ => eight::<2>(steps, lines, pairs, sums, from_zero),
            }
        }
    }
}

/// Eight lines with `TILES` tiles of columns. The steps are summed from zero, and their sum is added to what was there: shorter chains, smaller errors.
///
/// # Safety
/// As [`multiply`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn eight<const TILES: usize>(steps: usize, lines: *const u16, pairs: *const u16, sums: *mut f32, from_zero: bool) {
    let mut acc = [[_mm512_setzero_ps(); TILES]; LINES];
    for step in 0..steps {
        for pair in 0..SIDE {
            let mut columns = [_mm512_setzero_ps(); TILES];
            for (tile, columns) in columns.iter_mut().enumerate() {
                // SAFETY: pair `pair` of this step's tile.
                *columns = unsafe { _mm512_loadu_ps(pairs.add(step * STEP + tile * TILE + pair * 2 * SIDE).cast()) };
            }
            for (i, acc) in acc.iter_mut().enumerate() {
                // SAFETY: pair `pair` of line `i`.
                let line = _mm512_set1_ps(unsafe { lines.add(step * STEP + i * DEPTH + 2 * pair).cast::<f32>().read_unaligned() });
                for tile in 0..TILES {
                    // SAFETY: the same 512 bits, looked at as pairs.
                    acc[tile] = unsafe { _mm512_dpbf16_ps(acc[tile], as_pairs(line), as_pairs(columns[tile])) };
                }
            }
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        for (tile, acc) in acc.iter().enumerate() {
            // SAFETY: row `i` of the result of this tile of columns.
            unsafe {
                let to = sums.add(tile * RESULT + i * SIDE);
                let sum = if from_zero { *acc } else { _mm512_add_ps(_mm512_loadu_ps(to), *acc) };
                _mm512_storeu_ps(to, sum);
            }
        }
    }
}

/// # Safety
/// None: a change of type.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn as_pairs(register: __m512) -> __m512bh {
    // SAFETY: both are 512 bits of which any are valid.
    unsafe { std::mem::transmute::<__m512, __m512bh>(register) }
}
