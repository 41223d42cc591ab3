//! The innermost loop of every f32 product: a few rows of `a` against one packed panel of `b`, accumulated into `c`.
//!
//! A call sums its `k` products in one chain of multiply-adds from zero, and adds the sum to what `c` holds or starts from. As the caller cuts long sums at fixed
//! places, the bits of an element depend on neither the rows computed beside it nor the number of threads, and a sum of thousands of products is
//! rounded as a sum of short ones: a tenth of the error of one long chain.

use crate::cpu::Level;

/// Rows a full call takes at most.
pub(super) const MAX_ROWS: usize = 14;

/// Columns of a packed panel.
pub(super) const PANEL: usize = 32;

/// Columns of half a panel, which AVX2 takes at a time.
pub(super) const HALF: usize = PANEL / 2;

/// Where `a` and `c` of one call lie.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Length of the sums.
    pub(super) k: usize,
    /// First element of `a`; element `(i, k)` is at `i * a_row + k * a_col`.
    pub(super) a: *const f32,
    pub(super) a_row: usize,
    pub(super) a_col: usize,
    /// First element of `b`, lines `b_row` apart: a panel where that is [`PANEL`], half a panel where it is [`HALF`], which only AVX2 reads, else a matrix where it lies, which only AVX-512 reads.
    pub(super) b: *const f32,
    pub(super) b_row: usize,
    /// First element of `c`, rows `c_row` apart.
    pub(super) c: *mut f32,
    pub(super) c_row: usize,
    /// What a row of `c` starts from, `cols` elements; `None`: what it holds.
    pub(super) start: Option<*const f32>,
    /// Rows, 1 to [`MAX_ROWS`], and columns, 1 to [`PANEL`].
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// `c[i, j] += sum_k a[i, k] * b[k, j]` over the tile, or `c[i, j] = start[j] + ...`.
///
/// # Safety
/// All elements that the tile names must be readable (`a`, `b`) or writable by this thread alone (`c`), and the machine must have `level`.
pub(super) unsafe fn accumulate(level: Level, tile: Tile) {
    debug_assert!((1..=MAX_ROWS).contains(&tile.rows) && (1..=PANEL).contains(&tile.cols));
    debug_assert!(tile.b_row == PANEL || level == Level::Avx512 || (level == Level::Avx2 && tile.b_row == HALF && tile.cols <= HALF));
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller vouches for the pointers and the level.
        Level::Avx512 => unsafe { x86::dispatch_avx512(tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::dispatch_avx2(tile) },
        // SAFETY: as above.
        _ => unsafe { scalar(tile) },
    }
}

/// The plain loop, and the specification of the others up to fused rounding.
unsafe fn scalar(t: Tile) {
    for i in 0..t.rows {
        if let Some(start) = t.start {
            // SAFETY: `cols` elements of row i of `c` and of `start`.
            unsafe { start.copy_to_nonoverlapping(t.c.add(i * t.c_row), t.cols) };
        }
        // SAFETY: within the tile.
        let c = unsafe { std::slice::from_raw_parts_mut(t.c.add(i * t.c_row), t.cols) };
        let mut sums = [0.0; PANEL];
        for k in 0..t.k {
            // SAFETY: within the tile; the panel is PANEL wide.
            let (a, b) = unsafe { (*t.a.add(i * t.a_row + k * t.a_col), std::slice::from_raw_parts(t.b.add(k * PANEL), t.cols)) };
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
        for (c, sum) in c.iter_mut().zip(sums) {
            *c += sum;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{MAX_ROWS, PANEL, Tile};

    macro_rules! by_rows {
        ($tile:expr, $kernel:ident, $vectors:literal, $($rows:literal)*) => {
            // SAFETY: the caller's contract.
            match $tile.rows { $($rows => unsafe { $kernel::<$rows, $vectors>($tile) },)* _ => unreachable!("a tile has 1 to 14 rows") }
        };
        ($tile:expr, $kernel:ident, $packed:literal $vectors:literal, $($rows:literal)*) => {
            // SAFETY: the caller's contract.
            match $tile.rows { $($rows => unsafe { $kernel::<$rows, $packed, $vectors>($tile) },)* _ => unreachable!("a tile has 1 to 14 rows") }
        };
    }

    /// # Safety
    /// As [`super::accumulate`], on a machine with AVX-512.
    pub(super) unsafe fn dispatch_avx512(tile: Tile) {
        match (tile.a_row == 1 && tile.a_col == MAX_ROWS && tile.b_row == PANEL, tile.cols > 16) {
            (true, true) => by_rows!(tile, avx512, true 2, 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            (true, false) => by_rows!(tile, avx512, true 1, 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            (false, true) => by_rows!(tile, avx512, false 2, 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            (false, false) => by_rows!(tile, avx512, false 1, 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        }
    }

    /// Iterations that what is read next is fetched ahead of its use.
    const AHEAD: usize = 16;

    /// `PACKED`: both operands lie in panels, so that their addresses are known from one register each.
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512<const ROWS: usize, const PACKED: bool, const VECTORS: usize>(t: Tile) {
        let mut masks = [0u16; VECTORS];
        for (v, mask) in masks.iter_mut().enumerate() {
            let left = t.cols.saturating_sub(v * 16).min(16);
            *mask = ((1u32 << left) - 1) as u16;
        }
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        let (a_row, a_col, b_row) = if PACKED { (1, MAX_ROWS, PANEL) } else { (t.a_row, t.a_col, t.b_row) };
        // Where the rows of `a` lie side by side, a step of k is a leap in memory that nothing foresees.
        let leaps = !PACKED && a_row == 1;
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.k {
            let mut columns = [_mm512_setzero_ps(); VECTORS];
            for (v, column) in columns.iter_mut().enumerate() {
                // SAFETY: a panel is PANEL wide, whatever the tile's columns; elsewhere the mask ends at them.
                *column = unsafe { if PACKED { _mm512_loadu_ps(b.add(v * 16)) } else { _mm512_maskz_loadu_ps(masks[v], b.add(v * 16)) } };
                _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(v * 16 + AHEAD * b_row).cast());
            }
            if leaps {
                _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(AHEAD * a_col).cast());
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row i, column k of `a`.
                let x = _mm512_set1_ps(unsafe { *a.add(i * a_row) });
                for v in 0..VECTORS {
                    sums[v] = _mm512_fmadd_ps(x, columns[v], sums[v]);
                }
            }
            a = a.wrapping_add(a_col);
            b = b.wrapping_add(b_row);
        }
        for (i, sums) in sums.iter().enumerate() {
            for v in 0..VECTORS {
                // SAFETY: masked to the tile's columns.
                unsafe {
                    let c = t.c.add(i * t.c_row + v * 16);
                    let old = t.start.map_or(c.cast_const(), |start| start.add(v * 16));
                    _mm512_mask_storeu_ps(c, masks[v], _mm512_add_ps(_mm512_maskz_loadu_ps(masks[v], old), sums[v]));
                }
            }
        }
    }

    /// Splits the tile into what sixteen registers hold: up to 6 rows of 16 columns, as many rows each time as can be, since a rest of two would wait for its own sums.
    ///
    /// # Safety
    /// As [`super::accumulate`], on a machine with AVX2 and FMA.
    pub(super) unsafe fn dispatch_avx2(tile: Tile) {
        let rows_a_part = tile.rows.div_ceil(tile.rows.div_ceil(6));
        let packed = tile.a_row == 1 && tile.a_col == MAX_ROWS;
        for col in (0..tile.cols).step_by(16) {
            for row in (0..tile.rows).step_by(rows_a_part) {
                // SAFETY: a part of the caller's tile.
                let part = unsafe {
                    Tile {
                        a: tile.a.add(row * tile.a_row),
                        b: tile.b.add(col),
                        c: tile.c.add(row * tile.c_row + col),
                        start: tile.start.map(|start| start.add(col)),
                        rows: (tile.rows - row).min(rows_a_part),
                        cols: (tile.cols - col).min(16),
                        ..tile
                    }
                };
                match (part.cols == 16, packed) {
                    (true, true) => by_rows!(part, avx2, true 2, 1 2 3 4 5 6),
                    (true, false) => by_rows!(part, avx2, false 2, 1 2 3 4 5 6),
                    // SAFETY: the same part, with its result gathered in a full-width copy.
                    (false, _) => unsafe { narrow_avx2(part) },
                }
            }
        }
    }

    /// A part of fewer than 16 columns: computed in a full-width copy of `c`.
    unsafe fn narrow_avx2(part: Tile) {
        let mut wide = [0f32; 6 * 16];
        let copy = Tile { c: wide.as_mut_ptr(), c_row: 16, cols: 16, start: None, ..part };
        for i in 0..part.rows {
            for j in 0..part.cols {
                // SAFETY: within the part.
                wide[i * 16 + j] = unsafe { part.start.map_or(*part.c.add(i * part.c_row + j), |start| *start.add(j)) };
            }
        }
        by_rows!(copy, avx2, false 2, 1 2 3 4 5 6);
        for i in 0..part.rows {
            for j in 0..part.cols {
                // SAFETY: within the part.
                unsafe { *part.c.add(i * part.c_row + j) = wide[i * 16 + j] };
            }
        }
    }

    /// `PACKED`: `a` lies in panels, so that the addresses of all rows are known from one register, and no iteration waits for the sums of the last one's.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2<const ROWS: usize, const PACKED: bool, const VECTORS: usize>(t: Tile) {
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; ROWS];
        let (a_row, a_col) = if PACKED { (1, MAX_ROWS) } else { (t.a_row, t.a_col) };
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.k {
            let mut columns = [_mm256_setzero_ps(); VECTORS];
            for (v, column) in columns.iter_mut().enumerate() {
                // SAFETY: 16 columns of the panel.
                *column = unsafe { _mm256_loadu_ps(b.add(v * 8)) };
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row i, column k of `a`.
                let x = _mm256_set1_ps(unsafe { *a.add(i * a_row) });
                for v in 0..VECTORS {
                    sums[v] = _mm256_fmadd_ps(x, columns[v], sums[v]);
                }
            }
            a = a.wrapping_add(a_col);
            b = b.wrapping_add(t.b_row);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                // SAFETY: 16 columns of row i, and of the start.
                unsafe {
                    let c = t.c.add(i * t.c_row + v * 8);
                    let old = t.start.map_or(c.cast_const(), |start| start.add(v * 8));
                    _mm256_storeu_ps(c, _mm256_add_ps(_mm256_loadu_ps(old), *sum));
                }
            }
        }
    }
}
