//! The backward of [`super::forward`]: `d_x (+)= sum of d_y W + d_u A` with `d_u = s d_y B`, and the gradients `d_b += d_yᵀ u`, `d_a += d_uᵀ x` of the pairs. No
//! gradient of a frozen matrix is formed.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::forward::lines_of;
use super::outer::{Outer, User, add_outer};
use super::task::{Base, Destination, Lie, chunks, extent, square, turned, with_scratch, write};
use super::{BLOCK, DEPTH, Extent, Kind, PANEL, PANELS_A_TASK, Packed, SIDE, STEP, Target, Unit, Values, Writer, pack};
use crate::cpu::Level;
use crate::cpu_device::pool::Pool;
use crate::weight::WeightMatrix;

/// Outputs whose gradients are packed at a time: the head has too many of them.
const SLICE: usize = 1 << 14;

/// One of the matrices.
pub(in crate::cpu_device) struct BackwardPart<'a> {
    /// `[N, K]`.
    pub(in crate::cpu_device) w: &'a WeightMatrix,
    /// `[T, N]`.
    pub(in crate::cpu_device) d_y: Values<'a>,
    /// A low-rank term.
    pub(in crate::cpu_device) term: Option<BackwardTerm<'a>>,
}

/// The low-rank term of a part.
pub(in crate::cpu_device) enum BackwardTerm<'a> {
    /// A pair, whose gradients are added to: `a` and `d_a` are `[R, K]`, `b` and `d_b` `[N, R]`, `u` is the forward's `[T, R]`.
    Pair { a: &'a [f32], b: &'a [f32], rank: usize, scale: f32, u: &'a [f32], d_a: &'a mut [f32], d_b: &'a mut [f32] },
    /// `d_u` `[T, R]` as it is.
    Given { d_u: &'a [f32], a: &'a [f32], rank: usize },
}

/// The products.
pub(in crate::cpu_device) struct Backward<'a> {
    pub(in crate::cpu_device) kind: Kind,
    pub(in crate::cpu_device) level: Level,
    pub(in crate::cpu_device) memory: &'a Arc<Pool>,
    /// The forward's input `[T, K]`; pairs need it.
    pub(in crate::cpu_device) x: Option<Values<'a>>,
    /// T.
    pub(in crate::cpu_device) rows: usize,
}

/// A part while it is computed.
struct Running<'a> {
    w: &'a WeightMatrix,
    d_y: Values<'a>,
    /// The rows of W in question.
    slice: Range<usize>,
    /// `d_y` of the slice as lines.
    lines: Packed,
    term: Option<Term<'a>>,
}

struct Term<'a> {
    a: &'a [f32],
    rank: usize,
    source: Source<'a>,
    /// `d_u` as lines.
    d_u: Packed,
    /// `d_u` and `u` as lines of the ranks, the sums running over T.
    across: Option<[Packed; 2]>,
    gradients: Option<[Destination; 2]>,
}

enum Source<'a> {
    /// B as columns, the scale, and the forward's `u`.
    Pair(Packed, f32, &'a [f32]),
    Given(&'a [f32]),
}

impl<'a> Backward<'a> {
    /// Computes all parts, on the current rayon pool. `d_x` `[T, K]` is overwritten, or added to when its flag says so.
    ///
    /// # Safety
    /// The machine must have `kind`, or something must stand in for it.
    pub(in crate::cpu_device) unsafe fn compute(&self, parts: Vec<BackwardPart<'a>>, d_x: Option<(Target<'_>, bool)>) {
        let k = parts[0].w.cols();
        if self.rows == 0 {
            return;
        }
        let d_x = d_x.map(|(mut target, add)| (Destination::new(&mut target, self.rows, k), add));
        if let [BackwardPart { w, d_y, term: None }] = &parts[..] {
            // SAFETY: the caller's contract, here and below.
            return unsafe { self.in_slices(w, *d_y, d_x) };
        }
        let mut running: Vec<Running<'_>> = parts.into_iter().map(|part| self.start(part, k)).collect();
        // SAFETY: as above.
        unsafe {
            self.pack(&mut running, d_x.is_some());
            if let Some((to, add)) = d_x {
                self.input_gradient(&running, to, add);
            }
            self.pair_gradients(&running, k);
        }
    }

    /// One matrix without a pair: a slice of its outputs at a time.
    ///
    /// # Safety
    /// As [`Backward::compute`].
    unsafe fn in_slices(&self, w: &'a WeightMatrix, d_y: Values<'a>, d_x: Option<(Destination, bool)>) {
        let Some((to, add)) = d_x else { return };
        for first in (0..w.rows()).step_by(SLICE) {
            let slice = first..(first + SLICE).min(w.rows());
            let lines = Packed::new(self.memory, slice.len(), self.rows.div_ceil(BLOCK));
            let mut part = [Running { w, d_y, slice, lines, term: None }];
            // SAFETY: the caller's contract.
            unsafe {
                self.pack(&mut part, true);
                self.input_gradient(&part, to, add || first > 0);
            }
        }
    }

    fn start(&self, part: BackwardPart<'a>, k: usize) -> Running<'a> {
        let BackwardPart { w, d_y, term } = part;
        assert_eq!(w.cols(), k, "all matrices read the same input");
        let (n, rows, blocks) = (w.rows(), self.rows, self.rows.div_ceil(BLOCK));
        let lines = Packed::new(self.memory, n, blocks);
        let term = term.map(|term| match term {
            BackwardTerm::Given { d_u, a, rank } => {
                assert_eq!((d_u.len(), a.len()), (rows * rank, rank * k));
                Term { a, rank, source: Source::Given(d_u), d_u: Packed::new(self.memory, rank, blocks), across: None, gradients: None }
            }
            BackwardTerm::Pair { a, b, rank, scale, u, d_a, d_b } => {
                assert_eq!((a.len(), b.len(), u.len()), (rank * k, n * rank, rows * rank));
                let across = || Packed::new(self.memory, rows, rank.div_ceil(BLOCK));
                let gradients = [Destination::new(&mut Target::F32(d_a), rank, k), Destination::new(&mut Target::F32(d_b), n, rank)];
                Term {
                    a,
                    rank,
                    source: Source::Pair(self.pack_b(b, n, rank), scale, u),
                    d_u: Packed::new(self.memory, rank, blocks),
                    across: Some([across(), across()]),
                    gradients: Some(gradients),
                }
            }
        });
        Running { w, d_y, slice: 0..n, lines, term }
    }

    /// B `[N, R]` as columns, the sums running over N.
    fn pack_b(&self, b: &[f32], n: usize, rank: usize) -> Packed {
        Packed::filled(self.memory, n, rank.div_ceil(BLOCK), |block, depth, out| {
            let columns = block * BLOCK..rank.min((block + 1) * BLOCK);
            for index in 0..depth.len().next_multiple_of(DEPTH) / 2 {
                let row = depth.start + 2 * index;
                let [even, odd] = [row, row + 1].map(|row| Values::F32(b).line(row, (depth.end, rank), columns.clone()));
                pack::pair(even, odd, index, (1, PANEL), out);
            }
        })
    }

    /// Packs `d_y` and, while a block is in the cache, computes and packs `d_u`.
    ///
    /// # Safety
    /// As [`Backward::compute`].
    unsafe fn pack(&self, parts: &mut [Running<'_>], for_input: bool) {
        let rows = self.rows;
        let blocks = rows.div_ceil(BLOCK);
        for Running { w, d_y, slice, lines, term } in parts {
            let of_lines = lines.writer();
            let of_term = term.as_mut().map(|Term { rank, source, d_u, across, .. }| {
                (*rank, &*source, d_u.writer(), across.as_mut().map(|across| across.each_mut().map(Packed::writer)))
            });
            (0..blocks).into_par_iter().for_each(|block| {
                if for_input || of_term.is_some() {
                    for deep in 0..of_lines.packed.deeps() {
                        let range = of_lines.packed.range(deep);
                        let cols = slice.start + range.start..slice.start + range.end;
                        // SAFETY: one task a block, here and below.
                        lines_of(*d_y, (rows, w.rows()), block, &cols, unsafe { of_lines.block(deep, block) });
                    }
                }
                match &of_term {
                    None => {}
                    Some((rank, Source::Given(values), d_u, _)) => {
                        for deep in 0..d_u.packed.deeps() {
                            // SAFETY: as above.
                            lines_of(Values::F32(values), (rows, *rank), block, &d_u.packed.range(deep), unsafe { d_u.block(deep, block) });
                        }
                    }
                    Some((rank, Source::Pair(b, scale, u), d_u, across)) => {
                        // SAFETY: the caller's contract, and as above.
                        unsafe {
                            let unit = self.kind.ready();
                            self.squeeze(&unit, &of_lines, (b, *scale, *rank), (d_u, &across.as_ref().expect("a pair")[0]), block);
                            self.turn_u(u, *rank, &across.as_ref().expect("a pair")[1], block);
                        }
                    }
                }
            });
        }
    }

    /// `d_u = scale d_y B` for one block of rows, as lines along the ranks and as lines along T.
    ///
    /// # Safety
    /// The block of `d_y` is written, those of `d_u` nobody else's.
    unsafe fn squeeze(
        &self,
        unit: &Unit,
        d_y: &Writer<'_>,
        (b, scale, rank): (&Packed, f32, usize),
        (along, across): (&Writer<'_>, &Writer<'_>),
        block: usize,
    ) {
        let rows = extent(block, self.rows);
        with_scratch(1, |_, _, sums| {
            for rank_block in 0..b.blocks {
                let part = extent(rank_block, rank);
                for deep in 0..b.deeps() {
                    // SAFETY: this task wrote the block.
                    let lines = unsafe { d_y.block(deep, block) };
                    let wanted = Extent { lines: rows, columns: part };
                    unit.multiply(wanted, b.steps(deep), (lines, b.block(deep, rank_block)), &mut sums[0], deep == 0);
                }
                let by_row = square(&sums[0], (rows, part), scale);
                // SAFETY: the caller's contract.
                unsafe {
                    put(&by_row, along.step(block, rank_block));
                    put(&turned(self.level, &by_row), across.step(rank_block, block));
                }
            }
        });
    }

    /// One block of rows of `u` as lines along T.
    ///
    /// # Safety
    /// The steps are nobody else's.
    unsafe fn turn_u(&self, u: &[f32], rank: usize, across: &Writer<'_>, block: usize) {
        for rank_block in 0..rank.div_ceil(BLOCK) {
            let mut by_row = [[0.0; BLOCK]; BLOCK];
            for (i, row) in by_row.iter_mut().enumerate().take(extent(block, self.rows)) {
                let part = extent(rank_block, rank);
                row[..part].copy_from_slice(&u[(block * BLOCK + i) * rank + rank_block * BLOCK..][..part]);
            }
            // SAFETY: the caller's contract.
            unsafe { put(&turned(self.level, &by_row), across.step(rank_block, block)) };
        }
    }

    /// `d_x (+)= ...`.
    ///
    /// # Safety
    /// As [`Backward::compute`].
    unsafe fn input_gradient(&self, parts: &[Running<'_>], to: Destination, add: bool) {
        let panels = parts[0].w.cols().div_ceil(BLOCK);
        let mut tasks = Vec::new();
        for blocks in chunks(parts[0].lines.blocks) {
            tasks.extend((0..panels).step_by(PANELS_A_TASK).map(|first| (first..(first + PANELS_A_TASK).min(panels), blocks.clone())));
        }
        tasks.into_par_iter().with_max_len(1).for_each(|(panels, blocks)| {
            // SAFETY: the caller's contract; each task has panels and rows of its own.
            unsafe { self.task(&self.kind.ready(), parts, (to, add), panels, blocks) };
        });
    }

    /// Some panels of `d_x`, and some blocks of its rows.
    ///
    /// # Safety
    /// No other task may have these.
    unsafe fn task(&self, unit: &Unit, parts: &[Running<'_>], (to, add): (Destination, bool), panels: Range<usize>, blocks: Range<usize>) {
        let k = parts[0].w.cols();
        let columns = panels.start * BLOCK..(panels.end * BLOCK).min(k);
        with_scratch(panels.len() * blocks.len(), |widened, room, sums| {
            let mut first = true;
            let mut meet = |lines: &Packed, deep: usize, room: &[u16]| {
                for panel in panels.clone() {
                    let pairs = &room[(panel - panels.start) * PANEL..][..lines.steps(deep) * STEP];
                    for block in blocks.clone() {
                        let wanted = Extent { lines: extent(block, self.rows), columns: extent(panel, k) };
                        let sums = &mut sums[(panel - panels.start) * blocks.len() + block - blocks.start];
                        unit.multiply(wanted, lines.steps(deep), (lines.block(deep, block), pairs), sums, first);
                    }
                }
                first = false;
            };
            for Running { w, slice, lines, term, .. } in parts {
                for deep in 0..lines.deeps() {
                    let range = lines.range(deep);
                    widened.pairs(w, slice.start + range.start..slice.start + range.end, columns.clone(), PANEL, room);
                    meet(lines, deep, room);
                }
                if let Some(Term { a, rank, d_u, .. }) = term {
                    for deep in 0..d_u.deeps() {
                        pairs_of(Values::F32(a), (*rank, k), d_u.range(deep), &columns, room);
                        meet(d_u, deep, room);
                    }
                }
            }
            for panel in panels.clone() {
                for block in blocks.clone() {
                    let sums = &sums[(panel - panels.start) * blocks.len() + block - blocks.start];
                    let base = Base { held: add, ..Base::default() };
                    // SAFETY: the caller's contract.
                    unsafe { write(self.level, to, base, sums, (block * BLOCK, panel * BLOCK), Lie::Along) };
                }
            }
        });
    }

    /// `d_a += d_uᵀ x` and `d_b += d_yᵀ u` of every pair.
    ///
    /// # Safety
    /// As [`Backward::compute`].
    unsafe fn pair_gradients(&self, parts: &[Running<'_>], k: usize) {
        let pairs = || {
            parts.iter().filter_map(|part| {
                let term = part.term.as_ref()?;
                Some((part, term.rank, term.across.as_ref()?, term.gradients?))
            })
        };
        if pairs().next().is_none() {
            return;
        }
        let x = self.x.expect("a pair's gradient needs the input");
        let of_a = pairs().map(|(_, rank, [d_u, _], [d_a, _])| User { lines: d_u, rank, to: d_a, lie: Lie::Along }).collect();
        let mut outers = vec![Outer { y: x, width: k, users: of_a }];
        for (part, rank, [_, u], [_, d_b]) in pairs() {
            outers.push(Outer { y: part.d_y, width: part.w.rows(), users: vec![User { lines: u, rank, to: d_b, lie: Lie::Across }] });
        }
        // SAFETY: the caller's contract.
        unsafe { add_outer(self.kind, self.level, self.rows, &outers) };
    }
}

/// Rows `rows` of a matrix, elements `columns`, as pairs with the sums running over the rows.
pub(super) fn pairs_of(values: Values<'_>, size: (usize, usize), rows: Range<usize>, columns: &Range<usize>, out: &mut [u16]) {
    let panels = (columns.len().div_ceil(BLOCK), PANEL);
    for index in 0..rows.len().next_multiple_of(DEPTH) / 2 {
        let row = rows.start + 2 * index;
        let [even, odd] = [row, row + 1].map(|row| values.line(row, (rows.end, size.1), columns.clone()));
        pack::pair(even, odd, index, panels, out);
    }
}

/// The rows of a square as the lines of a step.
fn put(square: &[[f32; BLOCK]; BLOCK], step: &mut [u16]) {
    for (i, row) in square.iter().enumerate() {
        pack::line(pack::Line::F32(row), i, step);
    }
}

const _: () = assert!(BLOCK == DEPTH && SIDE * 2 == BLOCK);
