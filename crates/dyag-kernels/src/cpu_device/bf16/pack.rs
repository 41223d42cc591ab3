//! Operands of bf16 products: rounded to bf16, in whole tiles, zeros past the edges.
//!
//! A tile is 1 KB. As the left operand it holds 16 *lines* of 32 elements along the sums; as the right one 16 *pairs*: pair p holds elements 2p and 2p + 1
//! along the sums of 16 columns, side by side. A *step* of an operand is two tiles: 32 lines or 32 columns, 32 deep.

use std::ops::Range;

use super::{DEPTH, SIDE, STEP, TILE, Values};
use crate::weight::{Format, WeightMatrix};

/// A run of elements, side by side.
#[derive(Clone, Copy)]
pub(super) enum Line<'a> {
    /// Rounded as they are read.
    F32(&'a [f32]),
    /// The bytes of bf16 elements, little-endian.
    Bf16(&'a [u8]),
}

impl Line<'_> {
    /// No elements: zeros.
    pub(super) const EMPTY: Self = Line::F32(&[]);

    fn len(self) -> usize {
        match self {
            Line::F32(values) => values.len(),
            Line::Bf16(bytes) => bytes.len() / 2,
        }
    }
}

impl<'a> Values<'a> {
    /// Elements `cols` of row `row` of a matrix of `rows` rows, `width` wide; past the last row there are none.
    pub(super) fn line(self, row: usize, (rows, width): (usize, usize), cols: Range<usize>) -> Line<'a> {
        if row >= rows {
            return Line::EMPTY;
        }
        let part = row * width + cols.start..row * width + cols.end;
        match self {
            Values::F32(values) => Line::F32(&values[part]),
            Values::Bf16(values) => Line::Bf16(bytes_of(&values[part])),
        }
    }
}

/// The bytes of bf16 elements.
fn bytes_of(halves: &[u16]) -> &[u8] {
    // SAFETY: the same memory; any bytes are bytes.
    unsafe { std::slice::from_raw_parts(halves.as_ptr().cast(), 2 * halves.len()) }
}

/// Writes `line` as line `index` of the steps that `out` has, from the first on.
pub(super) fn line(line: Line<'_>, index: usize, out: &mut [u16]) {
    assert!(index < 2 * SIDE && line.len() <= out.len() / STEP * DEPTH);
    // SAFETY: nothing here runs without the instructions (see `Kind`); offsets stay inside whole steps of `out`.
    unsafe { x86::line(line, out.len() / STEP, out.as_mut_ptr().add(index * DEPTH)) }
}

/// Writes two lines as pair `index` along the sums: their elements `j` become the pair of column `j`. Panels of 32 columns lie `panel_len` apart in `out`.
pub(super) fn pair(even: Line<'_>, odd: Line<'_>, index: usize, (panels, panel_len): (usize, usize), out: &mut [u16]) {
    let first = index / SIDE * STEP + index % SIDE * 2 * SIDE;
    assert!(
        panels > 0 && even.len().max(odd.len()) <= panels * 2 * SIDE && (panels - 1) * panel_len + first + TILE + 2 * SIDE <= out.len()
    );
    // SAFETY: as in `line`; the last element that is written was just asserted to lie in `out`.
    unsafe { x86::pair(even, odd, panels, panel_len, out.as_mut_ptr().add(first)) }
}

/// Turns the lines that lie in `steps` into the columns of pairs: each tile is a square of 16 x 16 pairs.
pub(super) fn turn(steps: &mut [u16]) {
    for tile in steps.as_chunks_mut::<TILE>().0 {
        // SAFETY: as in `line`; a tile is sixteen rows of sixteen pairs.
        unsafe { x86::turn(tile.as_mut_ptr()) }
    }
}

/// Room for the rows of a frozen matrix that are not bf16 as they lie.
#[derive(Default)]
pub(super) struct Widened {
    even: Room,
    odd: Room,
}

#[derive(Default)]
struct Room {
    wide: Vec<f32>,
    narrow: Vec<u16>,
}

/// Elements `cols` of row `row` of `w`: where they lie, or made into `room`.
fn row_of<'a>(w: &'a WeightMatrix, row: usize, cols: &Range<usize>, room: &'a mut Room) -> Line<'a> {
    if w.format() == Format::Bf16 {
        return Line::Bf16(&w.row_bytes(row)[2 * cols.start..2 * cols.end]);
    }
    let Room { wide, narrow } = room;
    narrow.resize(narrow.len().max(cols.len()), 0);
    let narrow = &mut narrow[..cols.len()];
    if w.row_in_bf16(row, cols.start, narrow) {
        return Line::Bf16(bytes_of(narrow));
    }
    wide.resize(wide.len().max(cols.len()), 0.0);
    let wide = &mut wide[..cols.len()];
    w.widen_row(row, cols.start, wide);
    Line::F32(wide)
}

impl Widened {
    /// Up to 32 rows of `w` from `first`, elements `cols`, as lines.
    pub(super) fn lines(&mut self, w: &WeightMatrix, first: usize, cols: Range<usize>, out: &mut [u16]) {
        for i in 0..2 * SIDE {
            let of_w = if first + i < w.rows() { row_of(w, first + i, &cols, &mut self.even) } else { Line::EMPTY };
            line(of_w, i, out);
        }
    }

    /// Rows `rows` of `w`, elements `cols`, as pairs with the sums running over the rows: panels of 32 columns, `panel_len` apart.
    pub(super) fn pairs(&mut self, w: &WeightMatrix, rows: Range<usize>, cols: Range<usize>, panel_len: usize, out: &mut [u16]) {
        let panels = (cols.len().div_ceil(2 * SIDE), panel_len);
        for index in 0..rows.len().next_multiple_of(DEPTH) / 2 {
            let row = rows.start + 2 * index;
            let even = if row < rows.end { row_of(w, row, &cols, &mut self.even) } else { Line::EMPTY };
            let odd = if row + 1 < rows.end { row_of(w, row + 1, &cols, &mut self.odd) } else { Line::EMPTY };
            pair(even, odd, index, panels, out);
        }
    }
}

mod x86 {
    use std::arch::x86_64::*;

    use super::{DEPTH, Line, SIDE, STEP, TILE};
    use crate::cpu_device::transpose;

    /// Sixteen elements of `line` from `at` on as bf16, zeros past its end. Denormal numbers become zero, as they count in the products.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn sixteen(line: Line<'_>, at: usize) -> __m256i {
        let mask = mask(line.len(), at);
        match line {
            // SAFETY: the mask ends at the end of the slice; nothing of a masked-out element is read.
            Line::F32(values) => unsafe {
                let wide = _mm512_maskz_loadu_ps(mask, values.as_ptr().wrapping_add(at));
                std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(wide))
            },
            // SAFETY: as above; the load needs no alignment.
            Line::Bf16(bytes) => unsafe { _mm256_maskz_loadu_epi16(mask, bytes.as_ptr().wrapping_add(2 * at).cast()) },
        }
    }

    /// The first of 16 elements from `at` on that lie before `len`.
    #[inline]
    fn mask(len: usize, at: usize) -> u16 {
        match len.saturating_sub(at) {
            left if left >= 16 => u16::MAX,
            left => (1 << left) - 1,
        }
    }

    /// # Safety
    /// The instructions; `DEPTH` elements of `out` for each step, steps [`STEP`] apart.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn line(line: Line<'_>, steps: usize, out: *mut u16) {
        for step in 0..steps {
            let (low, high) = (sixteen(line, step * DEPTH), sixteen(line, step * DEPTH + 16));
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            // SAFETY: the caller's contract.
            unsafe { _mm512_storeu_si512(out.add(step * STEP).cast(), both) };
        }
    }

    /// # Safety
    /// The instructions; for each panel, 32 elements of `out` and 32 more a tile behind them.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn pair(even: Line<'_>, odd: Line<'_>, panels: usize, panel_len: usize, out: *mut u16) {
        for piece in 0..2 * panels {
            let at = piece * SIDE;
            let (even, odd) = (_mm512_cvtepu16_epi32(sixteen(even, at)), _mm512_cvtepu16_epi32(sixteen(odd, at)));
            let both = _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd));
            // SAFETY: the caller's contract.
            unsafe { _mm512_storeu_si512(out.add(piece / 2 * panel_len + piece % 2 * TILE).cast(), both) };
        }
    }

    /// # Safety
    /// The instructions; a whole tile behind `tile`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn turn(tile: *mut u16) {
        let pairs = tile.cast::<f32>();
        // SAFETY: sixteen rows of sixteen 32-bit pairs; all are read before one is written.
        unsafe { transpose::square_at(std::array::from_fn(|i| pairs.add(16 * i).cast_const()), pairs) };
    }
}
