//! Products with operands in bf16 and sums in f32: on the matrix unit (AMX), or on a vector unit that multiplies pairs of bf16 (AVX-512 BF16).
//!
//! Both read the same packed operands (see [`pack`]) in blocks of 32 by 32 results, [`DEEP`] deep: one operand's block of 16 KB stays in the first-level cache while
//! the other's stream past it from the second. Frozen weights are packed as they are used, activations once for all products that read them. The
//! adapter's low-rank term is one more step of the same sums. An element's chain of additions is cut at fixed places, so it depends on neither the rows
//! beside it nor the number of threads.

mod backward;
mod dots;
#[cfg(all(test, target_os = "linux"))]
pub(super) mod emulator;
mod forward;
mod outer;
mod pack;
mod task;
mod tiles;

use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::pool::{CpuBuffer, Pool};
use super::product::Shared;
use crate::cpu::Level;

pub(super) use backward::{Backward, BackwardPart, BackwardTerm};
pub(super) use forward::{Forward, ForwardPart, ForwardTerm, Squeeze};
pub(super) use tiles::{A_ROUND_FLOPS, MANY_ROUNDS, exercise};

/// bf16 elements of a tile, and of a step's two tiles.
const TILE: usize = 512;
const STEP: usize = 2 * TILE;

/// Lines of a tile, and its columns.
const SIDE: usize = 16;

/// f32 elements of a tile's result.
const RESULT: usize = SIDE * SIDE;

/// Lines or columns of a block: two tiles.
const BLOCK: usize = 2 * SIDE;

/// Length of the sums of one step.
const DEPTH: usize = 32;

/// Length of the sums that a block of an operand holds: 16 KB, half of a first-level cache. A multiple of every block of weights.
const DEEP: usize = 256;

/// bf16 elements of a block of an operand, [`DEEP`] deep.
const PANEL: usize = DEEP / DEPTH * STEP;

/// Panels of weights a task takes: as many columns as the largest block of weights has elements, so that the backward cuts none.
const PANELS_A_TASK: usize = 8;

/// Blocks of rows that a panel of weights meets: with 256 KB of one depth in the second-level cache they pass by at full speed.
const BLOCKS_A_CHUNK: usize = 16;

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The matrix unit.
    Tiles,
    /// `vdpbf16ps`.
    Dots,
}

/// Values of a matrix: f32, rounded as they are packed, or bf16.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    /// As f32.
    F32(&'a [f32]),
    /// As bits of bf16.
    Bf16(&'a [u16]),
}

/// Where results go.
pub(super) enum Target<'a> {
    /// As f32.
    F32(&'a mut [f32]),
    /// Rounded to bf16.
    Bf16(&'a mut [u16]),
}

/// Whether the matrix unit can be used. Asks the system for it, once.
pub(crate) fn tiles_available() -> bool {
    tiles::available()
}

/// Whether the vector unit multiplies pairs of bf16.
pub(crate) fn dots_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bf16")
    })
}

/// What is ready to multiply on this thread.
enum Unit {
    Tiles(tiles::Unit),
    Dots,
}

impl Kind {
    /// What multiplies in bf16 on a rung of the ladder of instruction sets.
    pub(super) fn of(level: Level) -> Option<Self> {
        match level {
            Level::Amx => Some(Self::Tiles),
            Level::Avx512Bf16 => Some(Self::Dots),
            _ => None,
        }
    }

    /// Makes it ready on this thread.
    ///
    /// # Safety
    /// The machine must have it, or something must stand in for it; both need [`dots_available`].
    unsafe fn ready(self) -> Unit {
        match self {
            // SAFETY: the caller's contract.
            Self::Tiles => Unit::Tiles(unsafe { tiles::Unit::configure() }),
            Self::Dots => Unit::Dots,
        }
    }
}

/// One block of results: how much of it is wanted.
#[derive(Clone, Copy)]
struct Extent {
    /// Lines that are looked at, up to [`BLOCK`].
    lines: usize,
    /// Columns that are looked at, up to [`BLOCK`].
    columns: usize,
}

impl Unit {
    /// `sums (+)= lines pairs` over `steps` steps, `sums` being `[half of the lines][half of the columns][16][16]`; when `from_zero`, what it held is not
    /// read. Results outside of `extent` have no meaning.
    fn multiply(&self, extent: Extent, steps: usize, (lines, pairs): (&[u16], &[u16]), sums: &mut [f32; 4 * RESULT], from_zero: bool) {
        let column_tiles = extent.columns.div_ceil(SIDE);
        match self {
            Self::Tiles(unit) => unit.multiply((extent.lines.div_ceil(SIDE), column_tiles), steps, (lines, pairs), sums, from_zero),
            Self::Dots => {
                assert!(lines.len() >= steps * STEP && pairs.len() >= steps * STEP && extent.lines <= BLOCK);
                // SAFETY: the lengths just asserted; `ready` was told that the instructions are there.
                unsafe {
                    dots::multiply((extent.lines, column_tiles), steps, lines.as_ptr(), pairs.as_ptr(), sums.as_mut_ptr(), from_zero);
                }
            }
        }
    }
}

/// Whether `kind`, whose instructions the machine says it has, multiplies as it should: a unit that does not is not used.
fn multiplies_rightly(kind: Kind) -> bool {
    if !dots_available() {
        return false;
    }
    // Small integers: every sum is exact, in whatever order.
    let value = |seed: usize, i: usize| (i * seed % 7) as f32 - 3.0;
    let bits = |value: f32| (value.to_bits() >> 16) as u16;
    let lines: Vec<u16> = (0..2 * STEP).map(|i| bits(value(5, i))).collect();
    let pairs: Vec<u16> = (0..2 * STEP).map(|i| bits(value(3, i))).collect();
    let mut sums = [1.0; 4 * RESULT];
    let whole = Extent { lines: BLOCK, columns: BLOCK };
    // SAFETY: the caller vouches for the instructions.
    unsafe { kind.ready() }.multiply(whole, 2, (&lines, &pairs), &mut sums, false);
    (0..BLOCK * BLOCK).all(|index| {
        let (i, j) = (index / BLOCK, index % BLOCK);
        let products = (0..2 * DEPTH).map(|k| {
            let step = k / DEPTH * STEP;
            let line = step + i * DEPTH + k % DEPTH;
            let pair = step + j / SIDE * TILE + k % DEPTH / 2 * BLOCK + j % SIDE * 2 + k % 2;
            value(5, line) * value(3, pair)
        });
        sums[(i / SIDE * 2 + j / SIDE) * RESULT + i % SIDE * SIDE + j % SIDE] == 1.0 + products.sum::<f32>()
    })
}

/// An operand in whole steps: `[part of its depth][block of 32 lines or columns][step][2][TILE]`.
struct Packed {
    memory: CpuBuffer,
    depth: usize,
    blocks: usize,
    /// Elements from one block to the next.
    panel: usize,
}

impl Packed {
    /// Room for `blocks` blocks, `depth` deep.
    fn new(memory: &Arc<Pool>, depth: usize, blocks: usize) -> Self {
        let panel = depth.min(DEEP).div_ceil(DEPTH) * STEP;
        Self { memory: memory.take(depth.div_ceil(DEEP) * blocks * panel / 2), depth, blocks, panel }
    }

    /// Parts of the depth.
    fn deeps(&self) -> usize {
        self.depth.div_ceil(DEEP)
    }

    /// Where part `deep` of the depth lies.
    fn range(&self, deep: usize) -> Range<usize> {
        deep * DEEP..((deep + 1) * DEEP).min(self.depth)
    }

    /// Steps of part `deep`.
    fn steps(&self, deep: usize) -> usize {
        self.range(deep).len().div_ceil(DEPTH)
    }

    /// A block of a part.
    fn block(&self, deep: usize, block: usize) -> &[u16] {
        assert!(block < self.blocks);
        &halves(&self.memory)[(deep * self.blocks + block) * self.panel..][..self.steps(deep) * STEP]
    }

    /// For tasks that each write blocks of their own.
    fn writer(&mut self) -> Writer<'_> {
        Writer { memory: Shared(self.memory.as_mut_ptr()), packed: self }
    }

    /// Fills every block: `fill(block, part of the depth, out)`.
    fn filled(memory: &Arc<Pool>, depth: usize, blocks: usize, fill: impl Fn(usize, Range<usize>, &mut [u16]) + Sync) -> Self {
        let mut packed = Self::new(memory, depth, blocks);
        let writer = packed.writer();
        (0..writer.packed.deeps() * blocks).into_par_iter().for_each(|index| {
            let (deep, block) = (index / blocks, index % blocks);
            // SAFETY: one task a block.
            fill(block, writer.packed.range(deep), unsafe { writer.block(deep, block) });
        });
        packed
    }
}

/// [`Packed`] while tasks fill it.
struct Writer<'a> {
    memory: Shared,
    packed: &'a Packed,
}

impl Writer<'_> {
    /// A block of a part, to write.
    ///
    /// # Safety
    /// No other task may have this block.
    #[allow(clippy::mut_from_ref)]
    unsafe fn block(&self, deep: usize, block: usize) -> &mut [u16] {
        let Packed { blocks, panel, .. } = *self.packed;
        assert!(block < blocks && deep < self.packed.deeps());
        // SAFETY: inside the memory as `new` laid it out, and nobody else's, as the caller says.
        unsafe {
            let first = self.memory.get().cast::<u16>().add((deep * blocks + block) * panel);
            std::slice::from_raw_parts_mut(first, self.packed.steps(deep) * STEP)
        }
    }
}

impl Writer<'_> {
    /// One step of a block, counted along the whole depth, to write.
    ///
    /// # Safety
    /// No other task may have this step.
    #[allow(clippy::mut_from_ref)]
    unsafe fn step(&self, block: usize, step: usize) -> &mut [u16] {
        let Packed { blocks, panel, depth, .. } = *self.packed;
        let (deep, within) = (step / (DEEP / DEPTH), step % (DEEP / DEPTH));
        assert!(block < blocks && step < depth.div_ceil(DEPTH));
        // SAFETY: inside the memory as `new` laid it out, and nobody else's, as the caller says.
        unsafe {
            let first = self.memory.get().cast::<u16>().add((deep * blocks + block) * panel + within * STEP);
            std::slice::from_raw_parts_mut(first, STEP)
        }
    }
}

/// The memory of `buffer` as bf16.
fn halves(buffer: &[f32]) -> &[u16] {
    // SAFETY: any bytes are numbers of either kind, and an f32 is aligned for an u16.
    unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), 2 * buffer.len()) }
}
