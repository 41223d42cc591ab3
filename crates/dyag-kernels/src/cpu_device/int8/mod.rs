//! Products of a few rows with quantised weights in whole numbers: activations become bytes once a product, and meet the stored integers as they are.
//!
//! A row of activations is cut into blocks of 32, each `x ≈ d q` with `d` its largest magnitude over 127 and `q` a byte. Weights come in blocks of 16 or 32
//! with `w = scale * (p - offset) + minimum`, `p` a byte without sign. A block's part of a sum is then
//!
//! ```text
//! (scale * d) * (Σ p q - offset Σ q)  +  minimum * (d Σ q)
//! ```
//!
//! where everything in `Σ` is a whole number and exact. Blocks are added in [`CHAINS`] chains, block `b` in chain `b mod 4`, by fused multiply-adds; chains fold by
//! halves, and a bias comes last. [`scalar`] says all this in plain loops, and every kernel gives its bits, for any number of rows and whatever lies beside them.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod panel;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod unpack;

use std::ops::Range;

use crate::cpu::Level;
use crate::weight::{Format, WeightMatrix};

pub(super) use activations::Activations;
use panel::{COLUMNS, Panel, SPAN};

/// Chains of a sum.
const CHAINS: usize = 4;

/// Elements that share one `d`.
const ACTIVATIONS: usize = 32;

/// Rows of a group in the kernel for many rows, whose lanes are rows.
const LANES: usize = 16;

/// Rows from which on the kernel for many rows takes less time, though it computes whole groups.
const MANY: usize = 6;

/// How the blocks of a format enter the formula above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blocks {
    /// Elements of a block, 16 or 32.
    len: usize,
    /// The offset is `2^offset_bits`; `None`: there is none, but a minimum.
    offset_bits: Option<u32>,
}

impl Blocks {
    /// Of a format; `None` when its elements are not small integers.
    fn of(format: Format) -> Option<Self> {
        let blocks = |len, offset_bits| Some(Self { len, offset_bits });
        match format {
            Format::F32 | Format::F16 | Format::Bf16 | Format::Nf4 => None,
            Format::Q4_0 => blocks(32, Some(3)),
            Format::Q5_0 => blocks(32, Some(4)),
            Format::Q8_0 => blocks(32, Some(7)),
            Format::Q6K => blocks(16, Some(5)),
            Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => blocks(32, None),
        }
    }

    /// Elements of a group: a block of each chain.
    fn group(self) -> usize {
        CHAINS * self.len
    }
}

/// Whether products with this format can be made in whole numbers.
pub(super) fn has(format: Format) -> bool {
    Blocks::of(format).is_some()
}

/// Which instructions multiply bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    Scalar,
    /// AVX2: products of bytes in pairs of 16 bits.
    Avx2,
    /// AVX-512 with VNNI: four products of bytes added to 32 bits.
    Vnni,
}

impl Kernel {
    /// The best of this machine at `level`.
    pub(super) fn at(level: Level) -> Self {
        #[cfg(target_arch = "x86_64")]
        if level >= Level::Avx512 && is_x86_feature_detected!("avx512vnni") {
            return Self::Vnni;
        } else if level >= Level::Avx2 {
            return Self::Avx2;
        }
        let _ = level;
        Self::Scalar
    }

    /// Name in descriptions.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Vnni => "vnni",
        }
    }

    /// Whether this kernel has a form whose lanes are rows, and `rows` are enough for it.
    fn takes_many(self, rows: usize) -> bool {
        self == Self::Vnni && rows >= MANY
    }
}

/// What a task needs for itself.
#[derive(Default)]
pub(super) struct Scratch {
    panel: Box<Panel>,
    /// Chains of the columns of a panel: `[row][column][chain]`, or `[group of rows][chain][column][lane]` for many rows.
    chains: Vec<f32>,
}

/// The products of all rows of `x` with the given rows of `w`, told to `take` as `(row, column, sum)`.
pub(super) fn multiply(
    kernel: Kernel,
    w: &WeightMatrix,
    columns: Range<usize>,
    x: &Activations,
    scratch: &mut Scratch,
    mut take: impl FnMut(usize, usize, f32),
) {
    let blocks = Blocks::of(w.format()).expect("the format is made of integers");
    assert!(columns.end <= w.rows() && x.k() == w.cols());
    let many = x.transposed();
    assert!(!many || kernel == Kernel::Vnni);
    let Scratch { panel, chains } = scratch;
    for first in columns.clone().step_by(COLUMNS) {
        let count = COLUMNS.min(columns.end - first);
        chains.clear();
        chains.resize(x.padded_rows() * COLUMNS * CHAINS, 0.0);
        for from in (0..w.cols()).step_by(SPAN) {
            let len = SPAN.min(w.cols() - from);
            for column in 0..COLUMNS {
                // What is missing repeats the last: computed with the others and not used.
                panel.fill(kernel, w, (first + column.min(count - 1), column), from, len);
            }
            let n_groups = len.div_ceil(blocks.group());
            add_panel(kernel, blocks, panel, n_groups, x, from, chains);
        }
        for column in 0..count {
            if many {
                for (group, chains) in chains.as_chunks::<{ CHAINS * COLUMNS * LANES }>().0.iter().enumerate() {
                    let [a, b, c, d] = std::array::from_fn(|chain| &chains[(chain * COLUMNS + column) * LANES..][..LANES]);
                    let sums: [f32; LANES] = std::array::from_fn(|lane| (a[lane] + c[lane]) + (b[lane] + d[lane]));
                    let rows = group * LANES..x.rows();
                    rows.zip(sums).for_each(|(row, sum)| take(row, first + column, sum));
                }
            } else {
                for (row, chains) in chains.as_chunks::<{ COLUMNS * CHAINS }>().0.iter().enumerate() {
                    let [a, b, c, d] = std::array::from_fn(|chain| chains[column * CHAINS + chain]);
                    take(row, first + column, (a + c) + (b + d));
                }
            }
        }
    }
}

/// Adds the blocks of a panel, whose first element is `from`, to the chains of all rows.
fn add_panel(kernel: Kernel, blocks: Blocks, panel: &Panel, n_groups: usize, x: &Activations, from: usize, chains: &mut [f32]) {
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Vnni if x.transposed() => {
            for first in (0..x.padded_rows() / LANES).step_by(2) {
                let chains = &mut chains[first * LANES * COLUMNS * CHAINS..];
                // SAFETY: the kernel was found on this machine.
                unsafe { avx512::many(blocks, panel, n_groups, x, (first, from), chains) }
            }
        }
        #[cfg(target_arch = "x86_64")]
        Kernel::Vnni => {
            for (row, chains) in chains.as_chunks_mut().0.iter_mut().enumerate() {
                // SAFETY: the kernel was found on this machine.
                unsafe { avx512::few(blocks, panel, n_groups, x.row(row, from, blocks), chains) }
            }
        }
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => {
            for (row, chains) in chains.as_chunks_mut().0.iter_mut().enumerate() {
                // SAFETY: the kernel was found on this machine.
                unsafe { avx2::few(blocks, panel, n_groups, x.row(row, from, blocks), chains) }
            }
        }
        _ => {
            for (row, chains) in chains.as_chunks_mut().0.iter_mut().enumerate() {
                scalar::add(blocks, panel, n_groups, x.row(row, from, blocks), chains);
            }
        }
    }
}
