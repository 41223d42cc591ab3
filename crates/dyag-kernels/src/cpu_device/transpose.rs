//! Turning rows into the columns of a packed panel, and panels into halves.

use super::microkernel::{HALF, MAX_ROWS, PANEL};
use crate::cpu::Level;

/// Rows turned at a time.
pub(super) const ROWS: usize = 16;

/// Writes up to [`ROWS`] rows of `len` elements, `step` apart, as columns: `panel[k * PANEL + j] = values[j * step + k]`. Up to [`ROWS`] columns are
/// written; those past the last row get numbers of no meaning.
///
/// # Panics
/// If the rows do not lie inside `values`, or `panel` is shorter than `len` lines less what lies past its last column.
pub(super) fn into_panel(level: Level, values: &[f32], step: usize, rows: usize, len: usize, panel: &mut [f32]) {
    assert!((1..=ROWS).contains(&rows) && values.len() >= (rows - 1) * step + len && (len == 0 || panel.len() >= (len - 1) * PANEL + ROWS));
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        while done + 16 <= len {
            // SAFETY: 16 elements of each row from `done`, and 16 lines of the panel, lie inside both, as asserted.
            unsafe {
                let from = std::array::from_fn(|j| values.as_ptr().add(j.min(rows - 1) * step + done));
                x86::block::<ROWS, PANEL>(from, panel.as_mut_ptr().add(done * PANEL));
            }
            done += 16;
        }
    }
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx2 {
        while done + 8 <= len {
            for half in (0..rows).step_by(8) {
                // SAFETY: 8 elements of each row from `done`, and 8 lines of the panel, lie inside both, as asserted.
                unsafe {
                    let from = std::array::from_fn(|j| values.as_ptr().add((half + j).min(rows - 1) * step + done));
                    x86::block_of_eight::<8, PANEL>(from, panel.as_mut_ptr().add(done * PANEL + half));
                }
            }
            done += 8;
        }
    }
    for k in done..len {
        for j in 0..rows {
            panel[k * PANEL + j] = values[j * step + k];
        }
    }
}

/// Writes up to [`MAX_ROWS`] rows of `len` elements, `step` apart, as lines of a panel of rows: `panel[k * MAX_ROWS + i] = values[i * step + k]`.
/// What lies past the last row is left with numbers of no meaning.
///
/// # Panics
/// If the rows do not lie inside `values`, or the lines inside `panel`.
pub(super) fn into_row_panel(level: Level, values: &[f32], step: usize, rows: usize, len: usize, panel: &mut [f32]) {
    assert!((1..=MAX_ROWS).contains(&rows) && values.len() >= (rows - 1) * step + len && panel.len() >= len * MAX_ROWS);
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        while done + 16 <= len {
            // SAFETY: 16 elements of each row from `done`, and 16 lines of the panel, lie inside both, as asserted.
            unsafe {
                let from = std::array::from_fn(|i| values.as_ptr().add(i.min(rows - 1) * step + done));
                x86::block::<MAX_ROWS, MAX_ROWS>(from, panel.as_mut_ptr().add(done * MAX_ROWS));
            }
            done += 16;
        }
    }
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx2 {
        while done + 8 <= len {
            // SAFETY: 8 elements of each row from `done`, and 8 lines of the panel, lie inside both, as asserted.
            unsafe {
                let from = |first: usize| std::array::from_fn(|i| values.as_ptr().add((first + i).min(rows - 1) * step + done));
                let to = panel.as_mut_ptr().add(done * MAX_ROWS);
                x86::block_of_eight::<8, MAX_ROWS>(from(0), to);
                if rows > 8 {
                    x86::block_of_eight::<{ MAX_ROWS - 8 }, MAX_ROWS>(from(8), to.add(8));
                }
            }
            done += 8;
        }
    }
    for i in 0..rows {
        for k in done..len {
            panel[k * MAX_ROWS + i] = values[i * step + k];
        }
    }
}

/// Writes panels `[panel][k][PANEL]` as `[panel][half][k][HALF]`.
pub(super) fn halve(panels: &[f32], k_len: usize, halves: &mut [f32]) {
    for (panel, out) in panels.chunks_exact(k_len * PANEL).zip(halves.chunks_exact_mut(k_len * PANEL)) {
        let (left, right) = out.split_at_mut(k_len * HALF);
        let lines = left.as_chunks_mut::<HALF>().0.iter_mut().zip(right.as_chunks_mut::<HALF>().0);
        for ((left, right), line) in lines.zip(panel.as_chunks::<PANEL>().0) {
            left.copy_from_slice(&line[..HALF]);
            right.copy_from_slice(&line[HALF..]);
        }
    }
}

/// Transposes 16 x 16 elements.
pub(super) fn square(level: Level, from: &[f32; 256], to: &mut [f32; 256]) {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        // SAFETY: sixteen rows of sixteen elements, as the types say.
        unsafe { x86::block::<16, 16>(std::array::from_fn(|i| from.as_ptr().add(16 * i)), to.as_mut_ptr()) };
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx2 {
        for (row, col) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
            // SAFETY: quarters of the square.
            unsafe {
                let from = std::array::from_fn(|i| from.as_ptr().add(16 * (row + i) + col));
                x86::block_of_eight::<8, 16>(from, to.as_mut_ptr().add(16 * col + row));
            }
        }
        return;
    }
    let _ = level;
    for (i, row) in from.as_chunks::<16>().0.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            to[16 * j + i] = *value;
        }
    }
}

/// Transposes 16 x 16 elements behind pointers; `to` may be where they are read from.
///
/// # Safety
/// AVX-512; 16 elements behind each of `from`, and 256 behind `to`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn square_at(from: [*const f32; 16], to: *mut f32) {
    // SAFETY: the caller's contract; all rows are read before one is written.
    unsafe { x86::block::<16, 16>(from, to) }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Transposes 8 x 8 elements and writes the first `WIDTH` (8 or 6) of each line, lines `STEP` apart.
    ///
    /// # Safety
    /// AVX2; 8 elements behind each pointer, and the lines writable.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn block_of_eight<const WIDTH: usize, const STEP: usize>(from: [*const f32; 8], to: *mut f32) {
        const { assert!(WIDTH == 8 || WIDTH == 6) };
        // SAFETY: row j of the square.
        let rows: [__m256; 8] = std::array::from_fn(|j| unsafe { _mm256_loadu_ps(from[j]) });
        // Pairs of rows, then fours: each half L of quads[4g + j] holds column 4L + j of rows 4g .. 4g + 4.
        let mut quads = [_mm256_setzero_ps(); 8];
        for g in 0..2 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| rows[4 * g + i]);
            let (low, high) = ([_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)], [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)]);
            quads[4 * g] = _mm256_shuffle_ps::<0x44>(low[0], low[1]);
            quads[4 * g + 1] = _mm256_shuffle_ps::<0xee>(low[0], low[1]);
            quads[4 * g + 2] = _mm256_shuffle_ps::<0x44>(high[0], high[1]);
            quads[4 * g + 3] = _mm256_shuffle_ps::<0xee>(high[0], high[1]);
        }
        for j in 0..4 {
            let columns = [
                (j, _mm256_permute2f128_ps::<0x20>(quads[j], quads[4 + j])),
                (4 + j, _mm256_permute2f128_ps::<0x31>(quads[j], quads[4 + j])),
            ];
            for (k, column) in columns {
                // SAFETY: WIDTH elements of line k.
                unsafe {
                    let line = to.add(k * STEP);
                    if WIDTH == 8 {
                        _mm256_storeu_ps(line, column);
                    } else {
                        // A masked store of this size is slow on some processors.
                        _mm_storeu_ps(line, _mm256_castps256_ps128(column));
                        _mm_storel_pd(line.add(4).cast(), _mm_castps_pd(_mm256_extractf128_ps::<1>(column)));
                    }
                }
            }
        }
    }

    /// Transposes 16 x 16 elements and writes the first `WIDTH` of each line, lines `STEP` apart.
    ///
    /// # Safety
    /// AVX-512; 16 elements behind each pointer, and the lines writable.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn block<const WIDTH: usize, const STEP: usize>(from: [*const f32; 16], to: *mut f32) {
        let mask = (u32::MAX >> (32 - WIDTH)) as u16;
        let zero = _mm512_setzero_ps();
        // SAFETY: row j of the square.
        let rows: [__m512; 16] = std::array::from_fn(|j| unsafe { _mm512_loadu_ps(from[j]) });
        // Pairs of rows, then fours: lane L of quads[4g + j] holds column 4L + j of rows 4g .. 4g + 4.
        let mut pairs = [zero; 16];
        for i in 0..8 {
            pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
        }
        let mut quads = [zero; 16];
        for g in 0..4 {
            let p = [0, 1, 2, 3].map(|i| _mm512_castps_pd(pairs[4 * g + i]));
            quads[4 * g] = _mm512_castpd_ps(_mm512_unpacklo_pd(p[0], p[2]));
            quads[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p[0], p[2]));
            quads[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(p[1], p[3]));
            quads[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(p[1], p[3]));
        }
        for j in 0..4 {
            let even = _mm512_shuffle_f32x4::<0x88>(quads[j], quads[4 + j]);
            let odd = _mm512_shuffle_f32x4::<0xdd>(quads[j], quads[4 + j]);
            let even_high = _mm512_shuffle_f32x4::<0x88>(quads[8 + j], quads[12 + j]);
            let odd_high = _mm512_shuffle_f32x4::<0xdd>(quads[8 + j], quads[12 + j]);
            let columns = [
                (j, _mm512_shuffle_f32x4::<0x88>(even, even_high)),
                (4 + j, _mm512_shuffle_f32x4::<0x88>(odd, odd_high)),
                (8 + j, _mm512_shuffle_f32x4::<0xdd>(even, even_high)),
                (12 + j, _mm512_shuffle_f32x4::<0xdd>(odd, odd_high)),
            ];
            for (k, column) in columns {
                // SAFETY: line k of the square.
                unsafe { _mm512_mask_storeu_ps(to.add(k * STEP), mask, column) };
            }
        }
    }
}
