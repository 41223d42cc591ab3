//! Dot products of a few rows with a few columns, both contiguous: the innermost loop of a decoding step.
//!
//! Every product sums in [`LANES`] chains, element `k` in chain `k mod LANES`, which are then folded by halves. That order is the same for any number
//! of rows and columns beside it, so neither the batch nor its neighbours show in a row's bits.

use crate::cpu::Level;

/// Rows met at a time: with [`COLUMNS`] they take 24 of AVX-512's 32 registers, and each loaded vector serves two to eight multiply-adds.
pub(super) const ROWS: usize = 3;

/// Columns met at a time.
pub(super) const COLUMNS: usize = 8;

/// Chains of a dot product.
const LANES: usize = 16;

/// The dot products `[row][column]` of `x` and `w`, which are all equally long. At most [`ROWS`] and [`COLUMNS`] of them.
pub(super) fn dots(level: Level, x: &[&[f32]], w: &[&[f32]]) -> [[f32; COLUMNS]; ROWS] {
    let k = x[0].len();
    assert!((1..=ROWS).contains(&x.len()) && (1..=COLUMNS).contains(&w.len()));
    assert!(x.iter().chain(w).all(|values| values.len() == k), "operands are equally long");
    // What is missing repeats the last: computed with the others and not used.
    let rows: [*const f32; ROWS] = std::array::from_fn(|i| x[i.min(x.len() - 1)].as_ptr());
    let columns: [*const f32; COLUMNS] = std::array::from_fn(|j| w[j.min(w.len() - 1)].as_ptr());
    let mut out = [[0.0; COLUMNS]; ROWS];
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was found on this machine, and every pointer has `k` elements behind it.
        Level::Avx512 => unsafe {
            match x.len() {
                1 => x86::dots_avx512::<1>(k, rows, columns, &mut out),
                2 => x86::dots_avx512::<2>(k, rows, columns, &mut out),
                _ => x86::dots_avx512::<3>(k, rows, columns, &mut out),
            }
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe {
            for (row, out) in rows.into_iter().zip(&mut out).take(x.len()) {
                x86::dots_avx2(k, row, columns, out);
            }
        },
        _ => {
            for (x, out) in x.iter().zip(&mut out) {
                for (w, out) in w.iter().zip(out) {
                    *out = scalar(x, w);
                }
            }
        }
    }
    out
}

/// The specification, up to fused rounding.
fn scalar(x: &[f32], w: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    for (x, w) in x.chunks(LANES).zip(w.chunks(LANES)) {
        for (lane, (x, w)) in lanes.iter_mut().zip(x.iter().zip(w)) {
            *lane += x * w;
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{COLUMNS, LANES, ROWS};
    use crate::quant::avx2;

    /// # Safety
    /// AVX-512 F and DQ; `k` elements behind each pointer.
    #[target_feature(enable = "avx512f,avx512dq,avx2")]
    pub(super) unsafe fn dots_avx512<const R: usize>(
        k: usize,
        x: [*const f32; ROWS],
        w: [*const f32; COLUMNS],
        out: &mut [[f32; COLUMNS]; ROWS],
    ) {
        let whole = k / LANES * LANES;
        let mut sums = [[_mm512_setzero_ps(); R]; COLUMNS];
        // SAFETY: `whole` elements behind each pointer.
        unsafe { add_whole(whole, x, w, &mut sums) };
        let mask = (1u16 << (k - whole)) - 1;
        if mask != 0 {
            for (sums, w) in sums.iter_mut().zip(w) {
                for (sum, x) in sums.iter_mut().zip(x) {
                    // SAFETY: the mask ends at `k`.
                    let (row, column) = unsafe { (_mm512_maskz_loadu_ps(mask, x.add(whole)), _mm512_maskz_loadu_ps(mask, w.add(whole))) };
                    *sum = _mm512_fmadd_ps(row, column, *sum);
                }
            }
        }
        for (i, out) in out.iter_mut().enumerate().take(R) {
            let folded = fold_eight(std::array::from_fn(|j| sums[j][i]));
            // SAFETY: eight elements.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), folded) };
        }
    }

    /// Folds eight times sixteen sums by halves, together: the additions of `quant::avx512::fold`, in its order.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx2")]
    fn fold_eight(sums: [__m512; COLUMNS]) -> __m256 {
        // Lane l with l + 8, then l + 4: two columns to a register.
        let eights = sums.map(|sum| _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps::<1>(sum)));
        let fours: [__m256; 4] = std::array::from_fn(|i| {
            let (a, b) = (eights[2 * i], eights[2 * i + 1]);
            _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
        });
        // Lane l with l + 2, then l + 1: columns 0, 2 and 1, 3 in the halves, then 0, 2, 4, 6 and 1, 3, 5, 7.
        let twos: [__m256; 2] = std::array::from_fn(|i| {
            let (a, b) = (_mm256_castps_pd(fours[2 * i]), _mm256_castps_pd(fours[2 * i + 1]));
            _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)))
        });
        let ones = _mm256_add_ps(_mm256_shuffle_ps::<0x88>(twos[0], twos[1]), _mm256_shuffle_ps::<0xdd>(twos[0], twos[1]));
        _mm256_permutevar8x32_ps(ones, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }

    /// The loop proper, apart from all else so that its sums stay in registers.
    ///
    /// # Safety
    /// AVX-512 F; `whole` elements behind each pointer.
    #[inline(never)]
    #[target_feature(enable = "avx512f")]
    unsafe fn add_whole<const R: usize>(whole: usize, x: [*const f32; ROWS], w: [*const f32; COLUMNS], out: &mut [[__m512; R]; COLUMNS]) {
        let mut sums = [[_mm512_setzero_ps(); R]; COLUMNS];
        for from in (0..whole).step_by(LANES) {
            let mut rows = [_mm512_setzero_ps(); R];
            for (i, row) in rows.iter_mut().enumerate() {
                // SAFETY: sixteen elements from `from` lie before the end.
                *row = unsafe { _mm512_loadu_ps(x[i].add(from)) };
            }
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let column = unsafe { _mm512_loadu_ps(w[j].add(from)) };
                for i in 0..R {
                    sums[i] = _mm512_fmadd_ps(rows[i], column, sums[i]);
                }
            }
        }
        *out = sums;
    }

    /// One row with all columns, four at a time: eight of sixteen registers.
    ///
    /// # Safety
    /// AVX2 and FMA; `k` elements behind each pointer.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn dots_avx2(k: usize, x: *const f32, w: [*const f32; COLUMNS], out: &mut [f32; COLUMNS]) {
        let whole = k / LANES * LANES;
        let mut rest = [0f32; LANES];
        // SAFETY: what lies between `whole` and `k`.
        rest[..k - whole].copy_from_slice(unsafe { std::slice::from_raw_parts(x.add(whole), k - whole) });
        for (w, out) in w.chunks_exact(4).zip(out.chunks_exact_mut(4)) {
            let mut sums = [[_mm256_setzero_ps(); 2]; 4];
            for from in (0..whole).step_by(LANES) {
                for (half, from) in [from, from + 8].into_iter().enumerate() {
                    // SAFETY: eight elements from `from` lie before `k`.
                    unsafe {
                        let row = _mm256_loadu_ps(x.add(from));
                        for j in 0..4 {
                            sums[j][half] = _mm256_fmadd_ps(row, _mm256_loadu_ps(w[j].add(from)), sums[j][half]);
                        }
                    }
                }
            }
            for j in 0..4 {
                let [mut low, mut high] = sums[j];
                if whole < k {
                    let mut column = [0f32; LANES];
                    // SAFETY: what lies between `whole` and `k`, and whole arrays.
                    unsafe {
                        column[..k - whole].copy_from_slice(std::slice::from_raw_parts(w[j].add(whole), k - whole));
                        low = _mm256_fmadd_ps(_mm256_loadu_ps(rest.as_ptr()), _mm256_loadu_ps(column.as_ptr()), low);
                        high = _mm256_fmadd_ps(_mm256_loadu_ps(rest.as_ptr().add(8)), _mm256_loadu_ps(column.as_ptr().add(8)), high);
                    }
                }
                out[j] = avx2::fold(_mm256_add_ps(low, high));
            }
        }
    }
}
