//! `y = x Wᵀ (+ bias) (+ residual) (+ s (x Aᵀ) Bᵀ)` for several matrices that read the same input, which is packed once.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::task::{Base, Destination, Lie, chunks, extent, square, turned, with_scratch, write};
use super::{BLOCK, Extent, Kind, PANELS_A_TASK, Packed, STEP, Target, Unit, Values, Writer, pack};
use crate::cpu::Level;
use crate::cpu_device::pool::Pool;
use crate::cpu_device::product::Shared;
use crate::weight::WeightMatrix;

/// One of the matrices.
pub(in crate::cpu_device) struct ForwardPart<'a> {
    /// `[N, K]`.
    pub(in crate::cpu_device) w: &'a WeightMatrix,
    /// `[N]`.
    pub(in crate::cpu_device) bias: Option<&'a [f32]>,
    /// A low-rank term.
    pub(in crate::cpu_device) term: Option<ForwardTerm<'a>>,
    /// `[T, N]`.
    pub(in crate::cpu_device) out: Target<'a>,
}

/// `u Bᵀ`.
pub(in crate::cpu_device) struct ForwardTerm<'a> {
    /// `[N, R]`.
    pub(in crate::cpu_device) b: &'a [f32],
    /// R.
    pub(in crate::cpu_device) rank: usize,
    /// `[T, R]`.
    pub(in crate::cpu_device) u: Squeeze<'a>,
}

/// The narrow factor of a low-rank term.
pub(in crate::cpu_device) enum Squeeze<'a> {
    /// `u = scale x Aᵀ`, written down for the backward.
    Compute { a: &'a [f32], scale: f32, u: &'a mut [f32] },
    /// As it is.
    Given(&'a [f32]),
}

/// The products.
pub(in crate::cpu_device) struct Forward<'a> {
    pub(in crate::cpu_device) kind: Kind,
    pub(in crate::cpu_device) level: Level,
    pub(in crate::cpu_device) memory: &'a Arc<Pool>,
    /// `[T, K]`.
    pub(in crate::cpu_device) x: Values<'a>,
    /// T.
    pub(in crate::cpu_device) rows: usize,
    /// `[T, N]`, added to every result.
    pub(in crate::cpu_device) residual: Option<&'a [f32]>,
}

/// A part while it is computed.
struct Running<'a> {
    w: &'a WeightMatrix,
    base: Base<'a>,
    to: Destination,
    term: Option<Term<'a>>,
}

struct Term<'a> {
    b: &'a [f32],
    rank: usize,
    /// Where `u` comes from.
    source: Source<'a>,
    /// `u` as columns.
    u: Packed,
}

enum Source<'a> {
    /// The packed lines of A, the scale, and where `u` goes.
    Compute(Packed, f32, Shared),
    Given(&'a [f32]),
}

impl<'a> Forward<'a> {
    /// Computes all parts, on the current rayon pool.
    ///
    /// # Safety
    /// The machine must have `kind`, or something must stand in for it.
    pub(in crate::cpu_device) unsafe fn compute(&self, parts: Vec<ForwardPart<'a>>) {
        let k = parts[0].w.cols();
        if self.rows == 0 {
            return;
        }
        let mut running: Vec<Running<'_>> = parts.into_iter().map(|part| self.start(part, k)).collect();
        // SAFETY: the caller's contract, here and below.
        let x = unsafe { self.pack_input(k, &mut running) };
        let mut tasks = Vec::new();
        for rows in chunks(x.blocks) {
            for part in &running {
                let panels = part.w.rows().div_ceil(BLOCK);
                tasks.extend(
                    (0..panels).step_by(PANELS_A_TASK).map(|first| (part, first..(first + PANELS_A_TASK).min(panels), rows.clone())),
                );
            }
        }
        tasks.into_par_iter().with_max_len(1).for_each(|(part, panels, rows)| {
            // SAFETY: as above; each task has panels and rows of its own.
            unsafe { self.task(&self.kind.ready(), part, &x, panels, rows) };
        });
    }

    fn start(&self, part: ForwardPart<'a>, k: usize) -> Running<'a> {
        let ForwardPart { w, bias, term, mut out } = part;
        assert_eq!(w.cols(), k, "all matrices read the same input");
        assert!(self.residual.is_none_or(|residual| residual.len() == self.rows * w.rows()));
        let to = Destination::new(&mut out, self.rows, w.rows());
        let term = term.map(|ForwardTerm { b, rank, u }| {
            assert_eq!(b.len(), w.rows() * rank);
            let source = match u {
                Squeeze::Given(u) => {
                    assert_eq!(u.len(), self.rows * rank);
                    Source::Given(u)
                }
                Squeeze::Compute { a, scale, u } => {
                    assert_eq!((a.len(), u.len()), (rank * k, self.rows * rank));
                    let lines =
                        |block: usize, depth: Range<usize>, out: &mut [u16]| lines_of(Values::F32(a), (rank, k), block, &depth, out);
                    Source::Compute(Packed::filled(self.memory, k, rank.div_ceil(BLOCK), lines), scale, Shared(u.as_mut_ptr()))
                }
            };
            Term { b, rank, source, u: Packed::new(self.memory, rank, self.rows.div_ceil(BLOCK)) }
        });
        Running { w, base: Base { row: bias, matrix: self.residual, held: false }, to, term }
    }

    /// Packs the input as columns, and with it, while a block is in the cache, computes and packs every `u`.
    ///
    /// # Safety
    /// As [`Forward::compute`].
    unsafe fn pack_input(&self, k: usize, parts: &mut [Running<'_>]) -> Packed {
        let blocks = self.rows.div_ceil(BLOCK);
        let mut packed = Packed::new(self.memory, k, blocks);
        let writer = packed.writer();
        let terms: Vec<(&Source<'_>, usize, Writer<'_>)> =
            parts.iter_mut().filter_map(|part| part.term.as_mut()).map(|term| (&term.source, term.rank, term.u.writer())).collect();
        (0..blocks).into_par_iter().for_each(|block| {
            // SAFETY: the caller's contract; one task a block, here and in what follows.
            let unit = unsafe { self.kind.ready() };
            for deep in 0..writer.packed.deeps() {
                // SAFETY: as above.
                let out = unsafe { writer.block(deep, block) };
                lines_of(self.x, (self.rows, k), block, &writer.packed.range(deep), out);
                pack::turn(out);
            }
            for (source, rank, u_writer) in &terms {
                // SAFETY: as above: this block of `u` is read where this task has just written it.
                unsafe {
                    let u = match source {
                        Source::Given(u) => &u[block * BLOCK * rank..],
                        Source::Compute(a, scale, u) => {
                            let u = u.get().add(block * BLOCK * rank);
                            self.squeeze(&unit, a, (*rank, *scale), &writer, block, u);
                            std::slice::from_raw_parts(u.cast_const(), extent(block, self.rows) * rank)
                        }
                    };
                    for deep in 0..u_writer.packed.deeps() {
                        let out = u_writer.block(deep, block);
                        lines_of(Values::F32(u), (extent(block, self.rows), *rank), 0, &u_writer.packed.range(deep), out);
                        pack::turn(out);
                    }
                }
            }
        });
        drop((writer, terms));
        packed
    }

    /// `u = scale x Aᵀ` for one block of rows, written to `u` `[rows of the block, R]`.
    ///
    /// # Safety
    /// The block of `x` is written, and that of `u` nobody else's.
    unsafe fn squeeze(&self, unit: &Unit, a: &Packed, (rank, scale): (usize, f32), x: &Writer<'_>, block: usize, u: *mut f32) {
        let rows = extent(block, self.rows);
        with_scratch(1, |_, _, sums| {
            for rank_block in 0..a.blocks {
                let part = extent(rank_block, rank);
                for deep in 0..a.deeps() {
                    // SAFETY: this task wrote the block.
                    let columns = unsafe { x.block(deep, block) };
                    let whole = Extent { lines: part, columns: rows };
                    unit.multiply(whole, a.steps(deep), (a.block(deep, rank_block), columns), &mut sums[0], deep == 0);
                }
                let by_row = turned(self.level, &square(&sums[0], (part, rows), scale));
                for (i, row) in by_row.iter().enumerate().take(rows) {
                    // SAFETY: the caller's contract.
                    unsafe { row.as_ptr().copy_to_nonoverlapping(u.add(i * rank + rank_block * BLOCK), part) };
                }
            }
        });
    }

    /// The results of some panels of a part's weights and some blocks of rows.
    ///
    /// # Safety
    /// No other task may have these.
    unsafe fn task(&self, unit: &Unit, part: &Running<'_>, x: &Packed, panels: Range<usize>, blocks: Range<usize>) {
        let n = part.w.rows();
        with_scratch(panels.len() * blocks.len(), |widened, room, sums| {
            let mut add = |x: &Packed, deep: usize, panel: usize, lines: &[u16], from_zero: bool| {
                for block in blocks.clone() {
                    let wanted = Extent { lines: extent(panel, n), columns: extent(block, self.rows) };
                    let sums = &mut sums[(panel - panels.start) * blocks.len() + block - blocks.start];
                    unit.multiply(wanted, x.steps(deep), (lines, x.block(deep, block)), sums, from_zero);
                }
            };
            for deep in 0..x.deeps() {
                for panel in panels.clone() {
                    let lines = &mut room[..x.steps(deep) * STEP];
                    widened.lines(part.w, panel * BLOCK, x.range(deep), lines);
                    add(x, deep, panel, lines, deep == 0);
                }
            }
            if let Some(Term { b, rank, u, .. }) = &part.term {
                for deep in 0..u.deeps() {
                    for panel in panels.clone() {
                        let lines = &mut room[..u.steps(deep) * STEP];
                        lines_of(Values::F32(b), (n, *rank), panel, &u.range(deep), lines);
                        add(u, deep, panel, lines, false);
                    }
                }
            }
            for panel in panels.clone() {
                for block in blocks.clone() {
                    let sums = &sums[(panel - panels.start) * blocks.len() + block - blocks.start];
                    // SAFETY: the caller's contract.
                    unsafe { write(self.level, part.to, part.base, sums, (panel * BLOCK, block * BLOCK), Lie::Across) };
                }
            }
        });
    }
}

/// Block `block` of the rows of a matrix as lines, elements `depth` of each.
pub(super) fn lines_of(values: Values<'_>, (rows, width): (usize, usize), block: usize, depth: &Range<usize>, out: &mut [u16]) {
    for i in 0..BLOCK {
        pack::line(values.line(block * BLOCK + i, (rows, width), depth.clone()), i, out);
    }
}
